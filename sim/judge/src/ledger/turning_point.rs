//! What is about to be done to machines and processes, told to the custody of every group that it
//! touches, with what the disks show at that instant.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::custody::{Custody, Moment, Owed, Record, TakenBy};
use super::log_damage::meets;
use super::{BrokerEntry, Ledger, LogDamage, LogWalk, State};

/// What is done to brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Their processes are killed.
    Kill,
    /// Their machines lose power.
    PowerLoss,
    /// Their machines lose their disks.
    DiskDestroyed,
    /// They are started as masters.
    Leads,
}

/// What is known of processes beside their disks.
pub trait Processes {
    /// Whether the process runs.
    fn is_running(&self, process: &str) -> bool;

    /// For how long it was not scheduled so far, in microseconds.
    fn paused_us(&self, process: &str) -> u64;
}

/// The log of a copy: numbers and ends of its records, by first byte.
type Found = BTreeMap<u64, (u64, Option<u32>)>;

impl Ledger {
    /// Tells custody that `turn` is about to be done to `processes`; others are left out.
    pub fn turn(&self, turn: Turn, processes: &[String], at: Moment, known: &dyn Processes) {
        let mut state = self.lock();
        let names: Vec<Arc<str>> = processes.iter().map(|it| Arc::from(&**it)).collect();
        let groups: BTreeSet<Arc<str>> = names
            .iter()
            .filter_map(|name| state.brokers.get(name))
            .map(|broker| Arc::clone(&broker.group))
            .collect();
        let looked = groups.iter().flat_map(|group| state.look_at_copies(group, known));
        let extents: BTreeMap<Arc<str>, Range<u64>> = looked.collect();
        for name in &names {
            state.turn_one(turn, name, &extents, at, known);
            if turn == Turn::DiskDestroyed {
                state.log_gone(name);
            }
        }
        if matches!(turn, Turn::PowerLoss | Turn::DiskDestroyed) {
            state.torn.extend(groups);
        }
        for custody in state.custody.values_mut() {
            custody.weigh(at.ordinal);
        }
    }

    /// What the acknowledgement of a record at `phy_offset`, before the producer heard of it at `ordinal`,
    /// rests on.
    #[must_use]
    pub fn owed(&self, group: &str, phy_offset: u64, ordinal: u64) -> Option<Owed> {
        self.lock().custody.get(group)?.of(phy_offset, ordinal).cloned()
    }
}

impl State {
    /// Takes the copies of a group as they are, the group's log first; where each begins and ends.
    fn look_at_copies(
        &mut self,
        group: &Arc<str>,
        known: &dyn Processes,
    ) -> Vec<(Arc<str>, Range<u64>)> {
        let State { brokers, custody, .. } = self;
        let custody = custody.entry(Arc::clone(group)).or_default();
        let leader = custody.leader().cloned();
        let mut copies: Vec<_> =
            brokers.iter().filter(|(_, broker)| broker.group == *group).collect();
        copies.sort_by_key(|(name, _)| Some(*name) != leader.as_ref());
        let look = |(name, broker): (&Arc<str>, &BrokerEntry)| {
            let walk = broker.view.walk();
            let extent = walk.min..walk.end;
            let found = found(walk);
            custody.seen(name, known.is_running(name), |record| at_place(&found, record));
            (Arc::clone(name), extent)
        };
        copies.into_iter().map(look).collect()
    }

    fn turn_one(
        &mut self,
        turn: Turn,
        name: &Arc<str>,
        extents: &BTreeMap<Arc<str>, Range<u64>>,
        at: Moment,
        known: &dyn Processes,
    ) {
        let State { brokers, custody, .. } = self;
        let Some(broker) = brokers.get(name) else { return };
        let custody = custody.entry(Arc::clone(&broker.group)).or_default();
        match turn {
            Turn::Leads => custody.leads(name, at),
            Turn::DiskDestroyed => custody.taken(name, TakenBy::DiskDestroyed, at, |_| true),
            Turn::PowerLoss => {
                let waited = waited_us(broker, known.paused_us(name));
                let extent = extents[name].clone();
                // A log survives up to its first byte that does not.
                let durable_end = broker.view.durable_end(extent.clone());
                custody.taken(name, TakenBy::PowerLoss, at, |record| {
                    let is_in_file = record.end_offset <= extent.end;
                    let is_durable = record.end_offset <= durable_end;
                    !is_durable && (is_in_file || may_be_in_memory(record, at, waited))
                });
            }
            Turn::Kill => {
                let waited = waited_us(broker, known.paused_us(name));
                custody.taken(name, TakenBy::Kill, at, |record| {
                    !broker.view.has_record(record.phy_offset)
                        && may_be_in_memory(record, at, waited)
                });
            }
        }
    }

    /// Tells custody that a device damaged a log.
    pub(super) fn damage_takes(&mut self, name: &Arc<str>, damage: &LogDamage, at: Moment) {
        let Some(broker) = self.brokers.get(name) else { return };
        let custody: &mut Custody = self.custody.entry(Arc::clone(&broker.group)).or_default();
        custody.taken(name, TakenBy::Damage, at, |record| {
            record.appended_us <= at.at_us
                && meets(&damage.range, &(record.phy_offset..record.end_offset))
        });
    }
}

/// The records of a copy as its disk has them.
fn found(walk: LogWalk) -> Found {
    let records = walk.records.into_iter().chain(walk.deleted).chain(walk.deletions);
    records.map(|it| (it.indexed.unit.phy_offset, (it.end_offset(), it.number))).collect()
}

/// The number of the record that lies just where `record` lay.
fn at_place(found: &Found, record: &Record) -> Option<u32> {
    let (end_offset, number) = found.get(&record.phy_offset)?;
    number.filter(|_| *end_offset == record.end_offset)
}

/// For how long at most a record may wait in the memory of the broker's process, if at all.
fn waited_us(broker: &BrokerEntry, paused_us: u64) -> Option<u64> {
    broker.uncommitted_ms_max.map(|ms| ms * 1_000 + paused_us)
}

/// Whether the settings let a record wait in process memory for as long as it has been there.
fn may_be_in_memory(record: &Record, at: Moment, waited_us: Option<u64>) -> bool {
    waited_us.is_some_and(|waited_us| at.at_us.saturating_sub(record.appended_us) <= waited_us)
}
