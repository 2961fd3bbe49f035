//! [`BrokerGroup`]: a master and its slaves, and the mode they run in.

use std::collections::BTreeMap;

use mq_broker::config::nearest;
use mq_store::config::{BrokerRole, FlushDiskType, StoreConfig};

use crate::conf::finding::{Finding, FindingKind};
use crate::conf::{BrokerConf, dledger, promise, reach};
use crate::stories::elected::Electorate;
use crate::stories::matrix_rows::{Flush, MatrixRow, Replication};

/// The keys that decide who belongs to which group.
const GROUP_KEYS: [&str; 3] = ["brokerName", "brokerId", "brokerRole"];

/// Those of a DLedger group who elect its master: all of its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Electors {
    /// How many they are.
    pub members: usize,
    /// The most of them that stand on one machine.
    pub on_one_machine: usize,
}

impl Electors {
    /// The same, as stories know the group.
    #[must_use]
    pub fn electorate(self, group: &str) -> Electorate<'_> {
        let Electors { members, on_one_machine } = self;
        Electorate { group, members, on_one_machine, is_patient: false }
    }
}

/// The brokers of one `brokerName`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerGroup {
    /// `brokerName`.
    pub name: String,
    /// The master: index into the cluster's brokers. Of a DLedger group its first member, whoever leads.
    pub master: usize,
    /// The slaves that find their master, by id: indices into the cluster's brokers. Of a DLedger group all other
    /// members.
    pub slaves: Vec<usize>,
    /// Set of a DLedger group.
    pub electors: Option<Electors>,
    /// The slaves that do not: they replicate nothing.
    pub cut_off: Vec<usize>,
    /// How many of `slaves` stand on the master's machine.
    pub beside_master: usize,
    /// The effective mode, such as `SYNC_MASTER + SYNC_FLUSH, slave ASYNC_FLUSH`.
    pub mode: String,
    /// How the master flushes.
    pub flush: Flush,
    /// Whether its master acknowledges what only its process has: a transient store pool in force, and no
    /// slave that has to confirm.
    pub acks_from_pool: bool,
    /// How it replicates: by its role and by whether it has slaves.
    pub replication: Replication,
    /// How the slaves flush; of several the weakest.
    pub slave_flush: Option<Flush>,
}

impl BrokerGroup {
    /// The rows of the expected matrix that fit the group, with what they promise there.
    #[must_use]
    pub fn rows(&self) -> Vec<MatrixRow> {
        promise::rows(self)
    }

    /// All brokers but for slaves that are cut off.
    pub(super) fn members(&self) -> impl Iterator<Item = usize> {
        std::iter::once(self.master).chain(self.slaves.iter().copied())
    }

    /// A DLedger group of these members, of whom there is one at least; `flush` is the weakest of theirs.
    pub(super) fn of_electors(
        name: &str,
        members: &[usize],
        electors: Electors,
        flush: FlushDiskType,
    ) -> BrokerGroup {
        BrokerGroup {
            name: name.to_owned(),
            master: members[0],
            slaves: members[1..].to_vec(),
            electors: Some(electors),
            cut_off: Vec::new(),
            beside_master: 0,
            mode: format!("DLEDGER of {} + {}", members.len(), flush.name()),
            flush: self::flush(flush),
            acks_from_pool: false,
            replication: Replication::DLedger,
            slave_flush: None,
        }
    }

    fn new(name: &str, master: usize, slaves: Vec<usize>, brokers: &[BrokerConf]) -> BrokerGroup {
        let finds = |slave: &usize| reach::finds(&brokers[*slave], &brokers[master]);
        let (slaves, cut_off): (Vec<usize>, Vec<usize>) = slaves.into_iter().partition(finds);
        let is_beside = |slave: &&usize| brokers[**slave].address == brokers[master].address;
        let store = &brokers[master].store;
        let flushes: Vec<FlushDiskType> =
            slaves.iter().map(|slave| brokers[*slave].store.flush_disk_type).collect();
        let replication = match store.broker_role {
            _ if slaves.is_empty() => Replication::None,
            BrokerRole::SyncMaster => Replication::Sync,
            BrokerRole::AsyncMaster | BrokerRole::Slave => Replication::Async,
        };
        BrokerGroup {
            name: name.to_owned(),
            master,
            electors: None,
            beside_master: slaves.iter().filter(is_beside).count(),
            mode: mode(store, &flushes) + &where_slaves_are(&slaves, &cut_off, brokers, master),
            acks_from_pool: store.is_transient_store_pool_enable()
                && replication != Replication::Sync,
            flush: flush(store.flush_disk_type),
            replication,
            // ASYNC_FLUSH is the greater one and the weaker promise.
            slave_flush: flushes.into_iter().max().map(flush),
            slaves,
            cut_off,
        }
    }
}

/// The groups by name; brokers whose group is in doubt are in none.
pub(super) fn gather(brokers: &mut [BrokerConf], findings: &mut Vec<Finding>) -> Vec<BrokerGroup> {
    let mut groups = dledger::gather(brokers, findings);
    let brokers = &*brokers;
    let mut by_name: BTreeMap<&str, BTreeMap<u64, usize>> = BTreeMap::new();
    let has_master = |broker: &BrokerConf| is_sound(broker) && broker.store.dledger.is_none();
    for (index, broker) in brokers.iter().enumerate().filter(|(_, broker)| has_master(broker)) {
        if broker.file.get("brokerName").is_none() {
            let text = format!("brokerName is not written; {:?} is used", broker.stem);
            let places = vec![broker.place("brokerName", &broker.stem)];
            findings.push(
                Finding::note(FindingKind::NoBrokerName, text, places)
                    .upstream("use the host name"),
            );
        }
        let ids = by_name.entry(&broker.config.broker_name).or_default();
        if let Some(earlier) = ids.get(&broker.config.broker_id) {
            findings.push(same_name_and_id(&brokers[*earlier], broker));
        } else {
            ids.insert(broker.config.broker_id, index);
        }
    }
    let masters: Vec<&str> =
        by_name.iter().filter(|(_, ids)| ids.contains_key(&0)).map(|(name, _)| *name).collect();
    let complete = is_complete(brokers);
    for (name, ids) in &by_name {
        let slaves: Vec<usize> = ids.range(1..).map(|(_, index)| *index).collect();
        match ids.get(&0) {
            Some(master) => groups.push(BrokerGroup::new(name, *master, slaves, brokers)),
            None if complete => findings.extend(
                slaves.iter().map(|slave| without_master(&brokers[*slave], name, &masters)),
            ),
            None => {}
        }
    }
    groups.sort_by(|one, other| one.name.cmp(&other.name));
    groups
}

/// Everybody who is a master of one of `groups`, or may be elected one: indices into the cluster's brokers.
pub(super) fn masters(groups: &[BrokerGroup]) -> impl Iterator<Item = usize> {
    groups.iter().flat_map(|group| {
        group.members().take(if group.electors.is_some() { usize::MAX } else { 1 })
    })
}

/// Whether every broker's group is known: a broken file may be the missing master or slave.
pub(super) fn is_complete(brokers: &[BrokerConf]) -> bool {
    brokers.iter().all(is_sound)
}

fn is_sound(broker: &BrokerConf) -> bool {
    broker.is_sound(&GROUP_KEYS) && broker.is_sound(&dledger::KEYS)
}

fn same_name_and_id(earlier: &BrokerConf, broker: &BrokerConf) -> Finding {
    let (name, id) = (&broker.config.broker_name, broker.config.broker_id);
    let text = format!("two brokers are {name} with brokerId {id}");
    let place = |broker: &BrokerConf| broker.place("brokerId", &id.to_string());
    Finding::error(FindingKind::SameNameAndId, text, vec![place(earlier), place(broker)])
        .upstream("give clients the address of whichever registered last")
}

fn without_master(slave: &BrokerConf, name: &str, masters: &[&str]) -> Finding {
    let text = format!("{} has no master: no broker {name} with brokerId 0", slave.stem);
    let places = vec![slave.place("brokerName", name), slave.place("brokerRole", "SLAVE")];
    Finding::error(FindingKind::SlaveWithoutMaster, text, places)
        .allowed(format!("the brokerName of a master: {}", masters.join(", ")))
        .suggestion(nearest(name, masters.iter().copied()))
        .upstream("replicate nothing, without a word")
}

fn flush(flush: FlushDiskType) -> Flush {
    match flush {
        FlushDiskType::SyncFlush => Flush::Sync,
        FlushDiskType::AsyncFlush => Flush::Async,
    }
}

/// What the mode's text says of slaves that share the master's machine or do not find it.
fn where_slaves_are(
    slaves: &[usize],
    cut_off: &[usize],
    brokers: &[BrokerConf],
    master: usize,
) -> String {
    let names = |of: &mut dyn Iterator<Item = &usize>| -> String {
        of.map(|slave| brokers[*slave].stem.as_str()).collect::<Vec<_>>().join(" and ")
    };
    let is_beside = |slave: &&usize| brokers[**slave].address == brokers[master].address;
    let mut text = String::new();
    if slaves.iter().any(|slave| is_beside(&slave)) {
        let beside = names(&mut slaves.iter().filter(is_beside));
        text += &format!(", {beside} on its master's machine");
    }
    if !cut_off.is_empty() {
        text += &format!(", {} out of reach", names(&mut cut_off.iter()));
    }
    text
}

fn mode(store: &StoreConfig, slaves: &[FlushDiskType]) -> String {
    let pool = if store.is_transient_store_pool_enable() { " + transient store pool" } else { "" };
    let (role, flush) = (store.broker_role.name(), store.flush_disk_type.name());
    let master = format!("{role} + {flush}{pool}");
    match slaves {
        [] => format!("{master}, no slave"),
        [slave] => format!("{master}, slave {}", slave.name()),
        [first, rest @ ..] if rest.iter().all(|slave| slave == first) => {
            format!("{master}, {} slaves {}", slaves.len(), first.name())
        }
        _ => {
            let names: Vec<&str> = slaves.iter().map(|slave| slave.name()).collect();
            format!("{master}, slaves {}", names.join(" and "))
        }
    }
}
