//! [`Ledger`]: where each message's bytes are, read off the simulated disks; and what stood where at
//! each acknowledgement, each dispatch, each cut and each fault.
//!
//! The engine's events say *when* to look (an acknowledgement, an append); what is seen comes from
//! the disks (ADR 2).

pub mod custody;
mod deletions;
mod entries;
pub mod expiry;
pub mod log_damage;
pub mod log_view;
mod quorum;
mod redeliveries;
pub mod turning_point;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mq_protocol::ack_rule::{AckRule, Held};
use mq_protocol::message::PropertiesView;
use staticfire_world::trace::{Trace, TraceEvent, TraceRecord};

use self::custody::{Custody, Moment, Record};
use self::log_damage::meets;
use crate::check::Violation;
use crate::check::ack_predicate::{Ack, OtherCopy};
use crate::check::bound::FaultPositions;
use crate::check::truncation::{self, Ending};
use crate::check::visibility::{self, Visible};
use crate::history::DELETION_NUMBER;

pub use deletions::AckedDeletion;
pub use expiry::Retention;
pub use log_damage::LogDamage;
pub use log_view::{FoundRecord, LogView, LogWalk, StoreDirs};
pub use redeliveries::Redelivery;
pub use turning_point::{Processes, Turn};

/// Violations seen at dispatches and cuts that are kept: the first ones say it all.
const OBSERVED_MAX: usize = 20;

/// A broker as the ledger knows it.
#[derive(Clone)]
pub struct BrokerEntry {
    /// `brokerName`.
    pub group: Arc<str>,
    /// Its store.
    pub view: LogView,
    /// It runs as master.
    pub master: bool,
    /// What its acknowledgements rest on: as a master to producers (of messages with `WAIT=true`), as a slave
    /// to its master.
    pub acks: AckRule,
    /// With a transient store pool: for how long at most a record waits there, milliseconds.
    pub uncommitted_ms_max: Option<u64>,
    /// When it may remove files.
    pub retention: Retention,
}

/// An acknowledgement with the record's extent and the facts at that instant.
#[derive(Clone, Debug)]
pub struct AckFact {
    /// First byte behind the record.
    pub end_offset: u64,
    /// Simulated microseconds at which it was appended.
    pub appended_us: u64,
    /// What the disks held.
    pub ack: Ack,
}

/// The ledger of one run; clones share it.
#[derive(Clone, Default)]
pub struct Ledger {
    state: Arc<Mutex<State>>,
}

/// What a slave held when it lost pages: reports that it had sent may still be under way.
struct LastHeld {
    at_us: u64,
    to: u64,
}

/// A record that came into a log.
struct Append {
    at_us: u64,
    size_bytes: u32,
}

/// How long a report may be under way: far above any latency of a plan's links.
const REPORT_UNDER_WAY_US: u64 = 2_000_000;

#[derive(Default)]
struct State {
    brokers: BTreeMap<Arc<str>, BrokerEntry>,
    /// By process, slaves that lost pages.
    last_held: BTreeMap<Arc<str>, LastHeld>,
    /// The last append by group and first byte.
    appended: BTreeMap<Arc<str>, BTreeMap<u64, Append>>,
    /// Facts by group and first byte, in the order of the trace.
    acks: BTreeMap<Arc<str>, BTreeMap<u64, Vec<AckFact>>>,
    /// Groups of which a copy lost pages.
    torn: BTreeSet<Arc<str>>,
    /// What dispatches and cuts broke, in the order of the trace.
    observed: Vec<Violation>,
    /// The files of each log, by process.
    files: BTreeMap<Arc<str>, expiry::Files>,
    /// What each acknowledgement rests on, by group.
    custody: BTreeMap<Arc<str>, Custody>,
    /// Where topics were deleted.
    deletions: deletions::Deletions,
    /// What was stored of messages that were given back.
    redeliveries: redeliveries::Redeliveries,
    /// What devices damaged, by process.
    damaged: BTreeMap<Arc<str>, Vec<NotedDamage>>,
}

/// Damage of a log, and when it was seen first.
struct NotedDamage {
    damage: LogDamage,
    at_us: u64,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").finish_non_exhaustive()
    }
}

impl Ledger {
    /// A ledger that looks at the disks whenever `trace` records an acknowledgement.
    #[must_use]
    pub fn watching(trace: &Trace) -> Self {
        let ledger = Ledger::default();
        let watcher = ledger.clone();
        trace.listen(is_observed, move |record| {
            watcher.observe(record);
            ControlFlow::Continue(())
        });
        ledger
    }

    /// Adds a broker, or replaces what is known of its role.
    pub fn set_broker(&self, process: &str, entry: BrokerEntry) {
        let (mut state, process) = (self.lock(), Arc::<str>::from(process));
        if entry.acks.any_copies {
            state.custody.entry(Arc::clone(&entry.group)).or_default().votes(&process);
        }
        state.brokers.insert(process, entry);
    }

    /// The store of a broker.
    ///
    /// # Panics
    /// When there is no such broker.
    #[must_use]
    pub fn view(&self, process: &str) -> LogView {
        self.lock().brokers[process].view.clone()
    }

    /// The facts of the acknowledgement that a producer got for the record at `phy_offset`: those of
    /// the last one before its trace event `ordinal`.
    #[must_use]
    pub fn ack_fact(&self, group: &str, phy_offset: u64, ordinal: u64) -> Option<AckFact> {
        let state = self.lock();
        let facts = state.acks.get(group)?.get(&phy_offset)?;
        facts.iter().rev().find(|fact| fact.ack.ordinal < ordinal).cloned()
    }

    /// The promises that dispatches and cuts broke, the first ones.
    #[must_use]
    pub fn observed(&self) -> Vec<Violation> {
        self.lock().observed.clone()
    }

    /// Whether `record` is the acknowledgement of a record of `group` that no slave holds now.
    #[must_use]
    pub fn is_unreplicated_ack(&self, group: &str, record: &TraceRecord) -> bool {
        let Some(range) = acknowledged_range(record) else { return false };
        let state = self.lock();
        let Some(broker) = state.brokers.get(&record.source) else { return false };
        // What is not even committed is nowhere.
        let is_committed =
            || broker.uncommitted_ms_max.is_none() || broker.view.has_record(range.start);
        &*broker.group == group
            && !(is_committed()
                && state
                    .others(&record.source, broker)
                    .any(|(_, slave)| broker.view.same_bytes(&slave.view, range.clone())))
    }

    /// Notes what devices have damaged of the logs since the last time, and records it in `trace`.
    pub fn note_damage(&self, trace: &Trace) {
        let at = Moment { ordinal: trace.len() as u64, at_us: trace.now_us() };
        for (process, damage) in self.new_damage(at.at_us) {
            self.lock().damage_takes(&process, &damage, at);
            let (from, to) = (damage.range.start, damage.range.end);
            let what = trace.name(&damage.kind.to_string());
            trace.record(&process, 0, TraceEvent::Damaged { from, to, what });
        }
    }

    fn new_damage(&self, at_us: u64) -> Vec<(Arc<str>, LogDamage)> {
        let mut state = self.lock();
        let State { brokers, damaged, .. } = &mut *state;
        let mut news = Vec::new();
        for (process, broker) in brokers {
            let known = damaged.entry(Arc::clone(process)).or_default();
            for damage in broker.view.damage() {
                if !known.iter().any(|noted| noted.damage == damage) {
                    news.push((Arc::clone(process), damage.clone()));
                    known.push(NotedDamage { damage, at_us });
                }
            }
        }
        news
    }

    /// Whether a device damaged bytes of `range` of a broker's log after they were appended.
    #[must_use]
    pub fn is_rotten(&self, process: &str, range: &Range<u64>, appended_us: u64) -> bool {
        let state = self.lock();
        let Some(noted) = state.damaged.get(process) else { return false };
        noted.iter().any(|it| appended_us <= it.at_us && meets(&it.damage.range, range))
    }

    /// Whether a device damaged anything of a broker's log.
    #[must_use]
    pub fn has_damage(&self, process: &str) -> bool {
        self.lock().damaged.get(process).is_some_and(|noted| !noted.is_empty())
    }

    /// Where the copies of a group end now, seen from `master`; `slave` is the one that would be
    /// promoted. Time and ordinal are the caller's to fill in.
    ///
    /// # Panics
    /// When there is no such master.
    #[must_use]
    pub fn positions(&self, master: &str, slave: Option<&str>) -> FaultPositions {
        let state = self.lock();
        let BrokerEntry { view, uncommitted_ms_max, .. } = &state.brokers[master];
        let walk = view.walk();
        let slave = slave.and_then(|slave| state.brokers.get(slave));
        // The slave removes old files by itself.
        let from = slave.and_then(|slave| slave.view.min()).unwrap_or_default();
        let from = from.max(walk.min).min(walk.end);
        let received = slave.map(|slave| view.common_end(&slave.view, from..walk.end));
        let synced = slave.zip(received).map(|(slave, to)| slave.view.durable_end(from..to));
        FaultPositions {
            at_us: 0,
            ordinal: 0,
            master_synced_to: Some(view.durable_end(walk.min..walk.end)),
            master_committed_to: uncommitted_ms_max.map(|_| walk.end),
            uncommitted_us_max: uncommitted_ms_max.unwrap_or_default() * 1_000,
            slave_received_to: received,
            slave_synced_to: synced,
        }
    }

    /// Notes what a slave holds of its master's log just before a fault takes pages of it. An
    /// acknowledgement that its report earned is true even if it arrives after the fault.
    ///
    /// # Panics
    /// When there is no such broker.
    pub fn slave_will_lose_pages(&self, slave: &str, master: &str, at_us: u64) {
        let held = self.positions(master, Some(slave));
        let mut state = self.lock();
        let to = match state.brokers[slave].acks.own {
            Held::Platter => held.slave_synced_to,
            Held::Process | Held::PageCache => held.slave_received_to,
        };
        state.last_held.insert(Arc::from(slave), LastHeld { at_us, to: to.unwrap_or_default() });
    }

    fn observe(&self, record: &TraceRecord) {
        match &record.event {
            TraceEvent::Appended { phy_offset, size_bytes, .. } => {
                self.observe_append(record, *phy_offset, *size_bytes);
            }
            TraceEvent::HaReceived { to, .. } => self.lock().wrote(record, *to),
            TraceEvent::Expired { file, .. } => self.observe_expired(record, file),
            TraceEvent::PutDone { .. } => self.observe_ack(record),
            TraceEvent::Dispatched { phy_offset, .. } => {
                self.observe_broken(record, |state, process, broker| {
                    match broker.acks.any_copies {
                        true => state.judge_shown(process, broker, record, *phy_offset),
                        false => judge_dispatch(broker, record, *phy_offset),
                    }
                });
            }
            TraceEvent::Recovered { max_phy_offset: end, .. }
            | TraceEvent::Truncated { to: end, .. } => {
                // Above its committed end a node of a DLedger group may have more.
                self.observe_broken(record, |_, _, broker| {
                    (!broker.view.has_entries()).then(|| judge_cut(broker, record, *end)).flatten()
                });
            }
            _ => {}
        }
    }

    fn observe_broken(
        &self,
        record: &TraceRecord,
        judge: impl FnOnce(&State, &Arc<str>, &BrokerEntry) -> Option<Violation>,
    ) {
        let mut state = self.lock();
        if state.observed.len() == OBSERVED_MAX {
            return;
        }
        let broker = state.brokers.get(&record.source);
        let violation = broker.and_then(|broker| judge(&state, &record.source, broker));
        state.observed.extend(violation);
    }

    fn observe_append(&self, record: &TraceRecord, phy_offset: u64, size_bytes: u32) {
        let mut state = self.lock();
        state.wrote(record, phy_offset + 1);
        let Some(broker) = state.brokers.get(&record.source) else { return };
        let group = Arc::clone(&broker.group);
        let append = Append { at_us: record.at_us, size_bytes };
        state.appended.entry(group).or_default().insert(phy_offset, append);
    }

    fn observe_ack(&self, record: &TraceRecord) {
        let Some(range) = acknowledged_range(record) else { return };
        let mut state = self.lock();
        for range in state.records_of(&record.source, range) {
            state.acknowledge(record, range);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// `record` acknowledges the one that lies at `range`.
    fn acknowledge(&mut self, record: &TraceRecord, range: Range<u64>) {
        let Some(broker) = self.brokers.get(&record.source) else { return };
        let bytes = broker.view.read(range.clone());
        let sound = log_view::sound_record(range.start, &bytes);
        let number =
            sound.and_then(|it| log_view::number_of(PropertiesView::new(&it.properties())));
        let mut holders = vec![Arc::clone(&record.source)];
        let mut copies = Vec::new();
        // No fault of the engine's where the device has changed the bytes meanwhile.
        let is_live = sound.is_some() || broker.view.is_damaged(&range);
        // What waits in process memory is nowhere: its place in the file is blank, there as on a slave.
        let is_in_file = is_live || broker.uncommitted_ms_max.is_none();
        for (name, slave) in self.others(&record.source, broker) {
            let now = copy_on(broker, slave, &bytes, range.clone()).filter(|_| is_in_file);
            if now.is_some() {
                holders.push(Arc::clone(name));
            }
            let had = self.last_held.get(name).is_some_and(|had| {
                record.at_us <= had.at_us + REPORT_UNDER_WAY_US && range.end <= had.to
            });
            let held = if had { Some(Held::Platter) } else { now };
            copies.push(OtherCopy { held, reports: slave.acks.own });
        }
        let is_durable = || broker.view.is_durable(range.clone());
        let ack = Ack {
            phy_offset: range.start,
            ordinal: record.ordinal,
            broker: record.source.to_string(),
            rule: broker.acks,
            held: held(is_live, is_durable),
            copies,
        };
        let group = Arc::clone(&broker.group);
        if let Some(deletion) = sound.filter(|_| number == Some(DELETION_NUMBER)) {
            let (topic, ordinal) = (Arc::from(&*deletion.topic()), record.ordinal);
            let noted = AckedDeletion { topic, phy_offset: range.start, ordinal };
            self.deletions.entry(Arc::clone(&group)).or_default().push(noted);
        }
        let again = sound.zip(number);
        let again =
            again.and_then(|(view, number)| Some((redeliveries::consumer_group(&view)?, number)));
        if let Some(place) = again {
            let (group, stored) = (Arc::clone(&group), record.ordinal);
            let record = Redelivery { group, phy_offset: range.start, stored };
            self.redeliveries.entry(place).or_default().push(record);
        }
        let appended = self.appended.get(&group).and_then(|times| times.get(&range.start));
        let appended_us = appended.map_or(record.at_us, |append| append.at_us);
        let owed = Record { phy_offset: range.start, end_offset: range.end, number, appended_us };
        let custody = self.custody.entry(Arc::clone(&group)).or_default();
        custody.acknowledged(owed, record.ordinal, holders.iter());
        let fact = AckFact { end_offset: range.end, appended_us, ack };
        let here = self.acks.entry(group).or_default().entry(range.start).or_default();
        here.reserve_exact(1);
        here.push(fact);
    }

    /// The slaves of a broker's group; of a DLedger group's broker the others.
    fn others<'a>(
        &'a self,
        process: &'a Arc<str>,
        broker: &'a BrokerEntry,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a BrokerEntry)> {
        self.brokers.iter().filter(move |(name, entry)| {
            entry.group == broker.group && !entry.master && *name != process
        })
    }
}

/// The events at which the ledger looks at the disks.
fn is_observed(event: &TraceEvent) -> bool {
    matches!(
        event,
        TraceEvent::Appended { .. }
            | TraceEvent::PutDone { .. }
            | TraceEvent::Dispatched { .. }
            | TraceEvent::Recovered { .. }
            | TraceEvent::Truncated { .. }
            | TraceEvent::HaReceived { .. }
            | TraceEvent::Expired { .. }
    )
}

/// The extent of the record that `record` acknowledges, if it is an acknowledgement.
fn acknowledged_range(record: &TraceRecord) -> Option<Range<u64>> {
    match &record.event {
        TraceEvent::PutDone { phy_offset: Some(at), end_offset: Some(end), status }
            if &**status == "PUT_OK" =>
        {
            Some(*at..*end)
        }
        _ => None,
    }
}

fn judge_dispatch(
    broker: &BrokerEntry,
    record: &TraceRecord,
    phy_offset: u64,
) -> Option<Violation> {
    // The disk is looked at only where something is promised.
    let promised = broker.acks.own;
    let is_live = broker.uncommitted_ms_max.is_none() || broker.view.has_record(phy_offset);
    let is_durable = || promised < Held::Platter || broker.view.is_record_durable(phy_offset);
    visibility::check(&Visible {
        phy_offset,
        ordinal: record.ordinal,
        broker: record.source.to_string(),
        promised,
        held: held(is_live, is_durable),
    })
}

fn judge_cut(broker: &BrokerEntry, record: &TraceRecord, end_offset: u64) -> Option<Violation> {
    truncation::check(&Ending {
        end_offset,
        ordinal: record.ordinal,
        broker: record.source.to_string(),
        leftover: broker.view.leftover_behind(end_offset),
    })
}

/// How a slave holds the record of its master's that has `bytes`, if it does.
fn copy_on(
    broker: &BrokerEntry,
    slave: &BrokerEntry,
    bytes: &[u8],
    range: Range<u64>,
) -> Option<Held> {
    let is_live = slave.view.holds(range.start, bytes)
        || slave.view.same_sound_bytes(&broker.view, range.clone());
    let is_durable = || slave.view.is_durable(range);
    is_live.then(|| held(true, is_durable))
}

/// How a copy holds what its page cache has (`is_live`) or its process alone.
fn held(is_live: bool, is_durable: impl FnOnce() -> bool) -> Held {
    match is_live {
        true if is_durable() => Held::Platter,
        true => Held::PageCache,
        false => Held::Process,
    }
}

#[cfg(test)]
mod tests;
