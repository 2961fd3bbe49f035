//! [`Account`]: what a file says of one access key, ready to be asked.

use std::collections::BTreeMap;
use std::fmt;

use mq_protocol::body::acl::PlainAccessConfig;
use mq_protocol::message::retry_topic;

use crate::KEY_CHARS_MIN;
use crate::address::RemoteAddresses;
use crate::permission::Permission;

/// One account.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    /// From where its requests need no signature.
    pub(crate) white: RemoteAddresses,
    pub(crate) is_admin: bool,
    pub(crate) default_topic_perm: Permission,
    pub(crate) default_group_perm: Permission,
    /// By topic; a group is found by its retry topic, as in 4.9.
    pub(crate) perms: BTreeMap<String, Permission>,
}

/// The secret is in no log.
impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

impl Account {
    /// Reads what an operator wrote. `warn` hears of what is taken otherwise than it may be meant.
    ///
    /// # Errors
    /// A sentence that names the value, but never a secret.
    pub(crate) fn new(
        config: &PlainAccessConfig,
        warn: &mut impl FnMut(String),
    ) -> Result<Self, String> {
        let name = &config.access_key;
        check_key("accessKey", name, name)?;
        check_key("secretKey", name, &config.secret_key)?;
        let mut perms = BTreeMap::new();
        for line in config.group_perms.iter().flatten() {
            let (group, perm) = resource(line)?;
            perms.insert(retry_topic(group), permission(name, line, perm, warn));
        }
        for line in config.topic_perms.iter().flatten() {
            let (topic, perm) = resource(line)?;
            perms.insert(topic.to_owned(), permission(name, line, perm, warn));
        }
        let mut default = |key: &str, text: &Option<String>| match text.as_deref() {
            None => Permission::DENY,
            Some(text) => permission(name, &format!("{key}: {text}"), text, warn),
        };
        let white = config.white_remote_address.as_deref().unwrap_or_default();
        Ok(Account {
            access_key: name.clone(),
            secret_key: config.secret_key.clone(),
            white: RemoteAddresses::parse(white)
                .map_err(|error| format!("whiteRemoteAddress of {name}: {error}"))?,
            is_admin: config.admin,
            default_topic_perm: default("defaultTopicPerm", &config.default_topic_perm),
            default_group_perm: default("defaultGroupPerm", &config.default_group_perm),
            perms,
        })
    }

    /// What it may do with `resource`, a topic or the retry topic of a group.
    pub(crate) fn permission(&self, resource: &str, is_group: bool) -> Permission {
        let default = if is_group { self.default_group_perm } else { self.default_topic_perm };
        self.perms.get(resource).copied().unwrap_or(default)
    }
}

fn check_key(what: &str, name: &str, value: &str) -> Result<(), String> {
    if value.chars().count() >= KEY_CHARS_MIN {
        return Ok(());
    }
    Err(format!(
        "the {what} of account {name:?} is missing or has fewer than {KEY_CHARS_MIN} characters"
    ))
}

/// The two sides of `resource=permission`.
pub(crate) fn resource(line: &str) -> Result<(&str, &str), String> {
    let mut sides = line.split('=').filter(|side| !side.is_empty());
    match (sides.next(), sides.next(), sides.next()) {
        (Some(resource), Some(perm), None) => Ok((resource.trim(), perm.trim())),
        _ => Err(format!(
            "Parse Resource format error for {line}.\nThe expected resource format is 'Res=Perm'. For example: \
             topicA=SUB"
        )),
    }
}

/// As in 4.9 what is no permission denies; there nobody hears of it.
fn permission(name: &str, line: &str, text: &str, warn: &mut impl FnMut(String)) -> Permission {
    Permission::parse(text).unwrap_or_else(|| {
        warn(format!(
            "{line} of {name} is no permission and denies; allowed: PUB, SUB, PUB|SUB, DENY"
        ));
        Permission::DENY
    })
}
