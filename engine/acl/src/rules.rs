//! [`AclRules`]: several files together, and whether a request passes them (RocketMQ 4.9
//! `PlainPermissionManager.validate`).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;

use mq_protocol::acl::{ACCESS_KEY, SIGNATURE, is_signed_by};
use mq_protocol::message::reply_topic;
use mq_protocol::remoting_command::RemotingCommand;
use mq_protocol::topic_validator::RMQ_SYS_TRACE_TOPIC;

use crate::account::Account;
use crate::address::RemoteAddresses;
use crate::file::AclFile;
use crate::permission::Permission;
use crate::resources::{Needed, needed, needs_admin};

/// Why a request is refused, in 4.9's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AclDenied {
    /// Nobody is named.
    #[error("No accessKey is configured")]
    NoAccessKey,
    /// Nobody of this name is known.
    #[error("No acl config for {0}")]
    NoAccount(String),
    /// The name is not proven.
    #[error("Check signature failed for accessKey={0}")]
    Signature(String),
    /// It takes an administrator.
    #[error("Need admin permission for request code={code}, but accessKey={access_key} is not")]
    NotAdmin {
        /// The request.
        code: i32,
        /// Who asked.
        access_key: String,
    },
    /// A topic or a group may not be used so.
    #[error("No default permission for {0}")]
    Permission(String),
    /// What it asks for cannot be read.
    #[error("{0}")]
    Unreadable(String),
}

/// What all files of a broker say together.
#[derive(Debug, Default)]
pub struct AclRules {
    global_white_addrs: Vec<RemoteAddresses>,
    accounts: BTreeMap<String, Account>,
    /// To where everybody may reply.
    reply_topic: Option<String>,
    warnings: Vec<String>,
}

impl AclRules {
    /// The rules of `files`, each with its path. An account that is there twice is what it was first.
    pub fn new<'a>(files: impl IntoIterator<Item = (&'a str, &'a AclFile)>) -> Self {
        let mut rules = AclRules::default();
        for (path, file) in files {
            let warnings = file.warnings.iter().map(|text| format!("{path}: {text}"));
            rules.warnings.extend(warnings);
            rules
                .global_white_addrs
                .extend(file.white_addrs.iter().map(|(_, addrs)| addrs.clone()));
            for (_, account) in &file.accounts {
                match rules.accounts.entry(account.access_key.clone()) {
                    Entry::Vacant(vacant) => drop(vacant.insert(account.clone())),
                    Entry::Occupied(there) => rules.warnings.push(format!(
                        "{path}: accessKey {} is there a second time; the first one counts",
                        there.key()
                    )),
                }
            }
        }
        rules
    }

    /// The same rules for a broker of `cluster`: to its own reply topic everybody may reply.
    #[must_use]
    pub fn of_cluster(self, cluster: &str) -> Self {
        AclRules { reply_topic: Some(reply_topic(cluster)), ..self }
    }

    /// What is taken otherwise than it may be meant, in sentences.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// How many accounts there are.
    #[must_use]
    pub fn account_count(&self) -> usize {
        self.accounts.len()
    }

    /// Whether `request`, which came from `addr`, may be answered.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, request: &RemotingCommand, addr: IpAddr) -> Result<(), AclDenied> {
        let Some(account) = self.asking(request, addr)? else { return Ok(()) };
        if needs_admin(request.code) && !account.is_admin {
            let (code, access_key) = (request.code, account.access_key.clone());
            return Err(AclDenied::NotAdmin { code, access_key });
        }
        let needed = needed(request, self.reply_topic.as_deref()).map_err(AclDenied::Unreadable)?;
        needed.iter().try_for_each(|needed| account.check(needed))
    }

    /// Whether who sent `request` from `addr` may read a message of `topic`, which the request names by where it lies.
    ///
    /// # Errors
    /// Why not.
    pub fn check_read(
        &self,
        request: &RemotingCommand,
        addr: IpAddr,
        topic: &str,
    ) -> Result<(), AclDenied> {
        let Some(account) = self.asking(request, addr)? else { return Ok(()) };
        account.check(&Needed { resource: Cow::Borrowed(topic), permission: Permission::SUB })
    }

    /// Who sent `request`, proven; nobody in particular where the address stands for everything.
    fn asking(
        &self,
        request: &RemotingCommand,
        addr: IpAddr,
    ) -> Result<Option<&Account>, AclDenied> {
        if self.global_white_addrs.iter().any(|addrs| addrs.contain(addr)) {
            return Ok(None);
        }
        let access_key = request.ext_fields.get(ACCESS_KEY).ok_or(AclDenied::NoAccessKey)?;
        let account = self.accounts.get(access_key);
        let account = account.ok_or_else(|| AclDenied::NoAccount(access_key.to_owned()))?;
        if account.white.contain(addr) {
            return Ok(None);
        }
        let signature = request.ext_fields.get(SIGNATURE).unwrap_or_default();
        if !is_signed_by(request, &account.secret_key, signature) {
            return Err(AclDenied::Signature(access_key.to_owned()));
        }
        Ok(Some(account))
    }
}

impl Account {
    fn check(&self, needed: &Needed<'_>) -> Result<(), AclDenied> {
        let is_trace =
            needed.resource == RMQ_SYS_TRACE_TOPIC && needed.permission == Permission::PUB;
        let may_all = self.is_admin && self.perms.is_empty();
        let group = needed.group();
        let owned = self.permission(&needed.resource, group.is_some());
        if is_trace || may_all || owned.allows(needed.permission) {
            return Ok(());
        }
        Err(AclDenied::Permission(match group {
            Some(group) => format!("group:{group}"),
            None => format!("topic:{}", needed.resource),
        }))
    }
}

#[cfg(test)]
mod tests;
