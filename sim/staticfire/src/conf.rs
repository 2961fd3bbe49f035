//! [`ClusterConf`]: a directory of `.properties` files, read as one cluster and checked across files.
//!
//! The directory holds one `.properties` or `.conf` file per broker, optionally `hosts` (address, then names)
//! and `placement` (address, then the files that run there, without suffix). Name servers stand at
//! the addresses of `namesrvAddr`; brokers where `brokerIP1` says, else where `placement` says, else
//! each on a machine of its own.
//!
//! Modules in reading order: `source` (what lies in the directory), `overlay` (`--set`), `finding`,
//! `machines` (who runs where), `paths` (where stores lie), `reach` (which slave finds its master), `dledger` (members that
//! elect their master), `group` (masters, slaves and modes), `promise` (what the rows of a group promise), `rules` (what must agree between
//! files), [`cast`] (the same machines in another mode), [`row`] (a row on a group as a plan), [`mirror`] (groups of which one is enough), `render` (what the
//! user sees).

pub mod cast;
mod dledger;
pub mod finding;
mod group;
mod machines;
pub mod mirror;
pub mod overlay;
mod paths;
mod promise;
mod reach;
pub mod render;
pub mod row;
mod rules;
pub mod source;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use mq_broker::config::{BrokerConfig, Severity};
use mq_protocol::properties_file::PropertiesFile;
use mq_store::config::StoreConfig;

pub use cast::Cast;
pub use finding::{Finding, FindingKind, Place};
pub use group::{BrokerGroup, Electors};
pub use overlay::Overlay;
pub use source::DirectorySource;

use crate::plan::{BrokerPlan, ClusterPlan, NamesrvPlan, expand, local_defaults};

/// A cluster as a directory describes it, without errors.
#[derive(Clone, Debug)]
pub struct ClusterConf {
    /// The distinct `brokerClusterName`s, in order.
    pub names: Vec<String>,
    /// The machines, by address.
    pub machines: Vec<Machine>,
    /// The name servers, by address.
    pub namesrvs: Vec<NamesrvConf>,
    /// The brokers, by file stem.
    pub brokers: Vec<BrokerConf>,
    /// The broker groups, by name.
    pub groups: Vec<BrokerGroup>,
    /// Host names and their addresses, in the order of `hosts`.
    pub hosts: Vec<(String, IpAddr)>,
    /// Warnings and notes, the weightiest first.
    pub findings: Vec<Finding>,
}

/// A machine and the processes on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Its address.
    pub address: IpAddr,
    /// Ports of its name servers.
    pub namesrv_ports: Vec<u16>,
    /// Its brokers, masters first: indices into [`ClusterConf::brokers`].
    pub brokers: Vec<usize>,
}

/// A name server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamesrvConf {
    /// Process name: `namesrv-1`, `namesrv-2`, …
    pub name: String,
    /// Address of its machine and its port.
    pub address: SocketAddr,
}

/// One broker.
#[derive(Clone, Debug)]
pub struct BrokerConf {
    /// Process name: the stem of its file.
    pub stem: String,
    /// Name of its file.
    pub file_name: String,
    /// Its entries, `--set` applied.
    pub file: PropertiesFile,
    /// What it obeys; addresses as written.
    pub config: BrokerConfig,
    /// What its store obeys.
    pub store: StoreConfig,
    /// Address of its machine.
    pub address: IpAddr,
    /// Its name servers, resolved.
    pub namesrv_addrs: Vec<SocketAddr>,
    /// Where it sends its slaves, if not to its machine: `brokerIP2`.
    elsewhere: Option<IpAddr>,
    /// Where it looks for its master without asking a name server: `haMasterAddress`.
    told_master: Option<SocketAddr>,
    /// The members of its DLedger group, by `dLegerPeers`.
    peers: Vec<dledger::Peer>,
    /// `dLegerPeers` with the addresses of the simulated machines.
    peers_in_rows: String,
    /// Keys whose values have errors and stand at their defaults.
    bad_keys: Vec<String>,
}

/// Reads and checks the cluster in `dir`, with `overlays` applied as if the files said so.
///
/// # Errors
/// All findings, of which at least one is an error.
pub fn load_dir(dir: &Path, overlays: &[Overlay]) -> Result<ClusterConf, Vec<Finding>> {
    ClusterConf::check(&DirectorySource::read(dir)?, overlays)
}

impl ClusterConf {
    /// Checks what was read from a directory.
    ///
    /// # Errors
    /// All findings, of which at least one is an error.
    pub fn check(
        source: &DirectorySource,
        overlays: &[Overlay],
    ) -> Result<ClusterConf, Vec<Finding>> {
        let mut findings = Vec::new();
        let mut files = source.parse_files(&mut findings);
        overlay::apply(overlays, &mut files, &mut findings);
        ClusterConf::of_files(source, files, findings)
    }

    /// Checks files that were read, beside the `hosts` and `placement` of `source`.
    fn of_files(
        source: &DirectorySource,
        files: Vec<source::ParsedFile>,
        mut findings: Vec<Finding>,
    ) -> Result<ClusterConf, Vec<Finding>> {
        let mut brokers: Vec<BrokerConf> =
            files.into_iter().map(|file| BrokerConf::parse(file, &mut findings)).collect();
        let hosts = source.parse_hosts(&mut findings);
        machines::place(source, &hosts, &mut brokers, &mut findings);
        let namesrvs = machines::namesrvs(&brokers);
        let machines = machines::gather(&brokers, &namesrvs);
        paths::check(&brokers, &mut findings);
        let groups = group::gather(&mut brokers, &mut findings);
        reach::check(&brokers, &groups, &mut findings);
        rules::check(&brokers, &groups, &machines, &mut findings);

        finding::merge_set_findings(&mut findings);
        findings.sort_by_key(Finding::order);
        if findings.iter().any(|finding| finding.severity == Severity::Error) {
            return Err(findings);
        }
        let mut names: Vec<String> =
            brokers.iter().map(|broker| broker.config.broker_cluster_name.clone()).collect();
        names.sort();
        names.dedup();
        Ok(ClusterConf { names, machines, namesrvs, brokers, groups, hosts, findings })
    }

    /// The broker that runs the group as its master.
    #[must_use]
    pub fn master(&self, group: &BrokerGroup) -> &BrokerConf {
        &self.brokers[group.master]
    }

    /// The slaves of a group that find their master, by id.
    pub fn slaves<'a>(&'a self, group: &'a BrokerGroup) -> impl Iterator<Item = &'a BrokerConf> {
        group.slaves.iter().map(|slave| &self.brokers[*slave])
    }

    /// Everybody who is a master, or may be elected one.
    fn masters(&self) -> impl Iterator<Item = &BrokerConf> {
        group::masters(&self.groups).map(|index| &self.brokers[index])
    }

    /// The brokers but for slaves that do not find their master: they would do nothing.
    fn in_service(&self) -> impl Iterator<Item = &BrokerConf> {
        let is_cut_off = |index: &usize| self.groups.iter().any(|it| it.cut_off.contains(index));
        (0..self.brokers.len()).filter(move |index| !is_cut_off(index)).map(|it| &self.brokers[it])
    }

    /// The name servers that know every master, or all where none does: clients ask them.
    fn namesrvs_of_clients(&self) -> impl Iterator<Item = &NamesrvConf> {
        let masters = || self.masters();
        let is_known =
            move |it: &NamesrvConf| masters().all(|m| m.namesrv_addrs.contains(&it.address));
        let any = self.namesrvs.iter().any(&is_known);
        self.namesrvs.iter().filter(move |it| !any || is_known(it))
    }

    /// The cluster as part of a plan. Every process gets the addresses of the simulated machines:
    /// host names are resolved, and a machine has one address, so `brokerIP1` and `brokerIP2` are
    /// both that one.
    #[must_use]
    pub fn plan(&self) -> ClusterPlan {
        let namesrvs = self.namesrvs_of_clients().map(|namesrv| NamesrvPlan {
            name: namesrv.name.clone(),
            address: namesrv.address.ip().to_string(),
            port: namesrv.address.port(),
        });
        let hosts = self.hosts.iter().map(|(name, address)| (name.clone(), address.to_string()));
        ClusterPlan {
            namesrvs: namesrvs.collect(),
            brokers: self.in_service().map(BrokerConf::plan).collect(),
            hosts: hosts.collect(),
            ..ClusterPlan::default()
        }
    }

    /// What a fault of `group` can reach of [the cluster](ClusterConf::plan), and the name servers: its own
    /// brokers, and those of groups that share a machine with it, or with one that does. Others stand by, and
    /// would only cost time.
    #[must_use]
    pub fn plan_around(&self, group: &BrokerGroup) -> ClusterPlan {
        let mut plan = self.plan();
        let mut groups = BTreeSet::from([group.name.clone()]);
        loop {
            let is_reached = |it: &&BrokerPlan| groups.contains(expand::group_of(&it.properties));
            let reached = plan.brokers.iter().filter(is_reached);
            let machines: BTreeSet<&str> = reached.map(|it| &*it.address).collect();
            let beside = plan.brokers.iter().filter(|it| machines.contains(&*it.address));
            let beside: BTreeSet<String> =
                beside.map(|it| expand::group_of(&it.properties).to_owned()).collect();
            if beside.is_subset(&groups) {
                break;
            }
            groups.extend(beside);
        }
        plan.brokers.retain(|it| groups.contains(expand::group_of(&it.properties)));
        plan
    }
}

impl BrokerConf {
    fn parse(file: source::ParsedFile, findings: &mut Vec<Finding>) -> BrokerConf {
        let (config, store, found) =
            BrokerConfig::parse(&file.properties, &local_defaults(&file.stem));
        let errors = found.iter().filter(|finding| finding.severity == Severity::Error);
        let bad_keys = errors.map(|finding| finding.key.clone()).collect();
        findings.extend(found.into_iter().map(|finding| Finding::of_key(&file.name, finding)));
        if let Some(entry) = file.properties.get("aclEnable").filter(|_| config.acl_enable) {
            let text = "aclEnable = true: no client of the runs has an account, so that they are told without access \
                        control";
            let place = Place::of_entry(&file.name, entry.line, &entry.key, &entry.value);
            findings.push(Finding::warning(FindingKind::WithoutAccessControl, text, vec![place]));
        }
        BrokerConf {
            stem: file.stem,
            file_name: file.name,
            file: file.properties,
            config,
            store,
            address: machines::UNPLACED,
            namesrv_addrs: Vec::new(),
            elsewhere: None,
            told_master: None,
            peers: Vec::new(),
            peers_in_rows: String::new(),
            bad_keys,
        }
    }

    /// Whether none of `keys` has an error, so that rules about them make sense.
    fn is_sound(&self, keys: &[&str]) -> bool {
        !self.bad_keys.iter().any(|bad| keys.contains(&bad.as_str()))
    }

    /// Where `key` is written; `default` says what holds when it is not.
    fn place(&self, key: &str, default: &str) -> Place {
        match self.file.get(key) {
            Some(entry) => Place::of_entry(&self.file_name, entry.line, key, &entry.value),
            None => Place::of_file(&self.file_name, format!("{key}={default} (default)")),
        }
    }

    fn plan(&self) -> BrokerPlan {
        let address = self.address.to_string();
        let namesrvs: Vec<String> = self.namesrv_addrs.iter().map(SocketAddr::to_string).collect();
        let root = paths::absolute(&self.store.store_path_root_dir);
        let log = paths::absolute(&self.store.commit_log_dir());
        let log_key = paths::log_key(self);
        let mut properties: std::collections::BTreeMap<String, String> = self
            .file
            .entries()
            .iter()
            .map(|entry| (entry.key.clone(), entry.value.trim_end().to_owned()))
            .collect();
        for (key, value) in [
            ("brokerName", &self.config.broker_name),
            ("brokerIP1", &address),
            ("brokerIP2", &address),
            ("namesrvAddr", &namesrvs.join(";")),
            ("storePathRootDir", &root),
            (log_key, &log),
        ] {
            properties.insert(key.to_owned(), value.clone());
        }
        if self.store.dledger.is_some() {
            properties.insert("dLegerPeers".to_owned(), self.peers_in_rows.clone());
        }
        expand::make_index_small(&mut properties);
        BrokerPlan { name: self.stem.clone(), address, properties }
    }
}

#[cfg(test)]
mod tests;
