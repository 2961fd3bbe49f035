//! [`Known`]: what producers, consumers and operators know at a crash point, and what a start must
//! therefore find.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use mq_env::probe::{Event, Observer};
use mq_store::config::FlushDiskType;

use super::state::State;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The check that says so.
    pub check: &'static str,
    /// What it saw.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.what)
    }
}

/// A violation of `check`.
pub fn violation<T>(check: &'static str, what: impl Into<String>) -> Result<T, Violation> {
    Err(Violation { check, what: what.into() })
}

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Crash {
    /// The process died, the page cache stayed.
    Kill,
    /// The machine lost power.
    PowerLoss,
}

/// What is known at an instant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Known {
    /// Numbers of the messages that were handed to the store, before it had them.
    pub attempted: BTreeSet<u32>,
    /// What the store said that it appended: physical offset, end, number.
    pub appended: BTreeMap<u64, (u64, u32)>,
    /// Physical offsets of what it acknowledged.
    pub acked: BTreeSet<u64>,
    /// Physical offsets of what consumers could see.
    pub seen: BTreeSet<u64>,
    /// Up to where it called its log synced.
    pub synced: u64,
    /// With a transient store pool: up to where it called its log committed.
    pub committed: Option<u64>,
    /// A cut to this offset is under way: what lies above may be there or not.
    pub cutting: Option<u64>,
    /// The oldest files may be going.
    pub is_expiring: bool,
    /// A tail that must be in the log or in quarantine: offset, bytes.
    pub tail: Option<(u64, Arc<Vec<u8>>)>,
    /// Metadata files: versions written and begun.
    pub tables: BTreeMap<&'static str, (u32, u32)>,
}

impl Known {
    /// Holds what a start found against what was known before a crash.
    ///
    /// # Errors
    /// The first promise that is broken.
    pub fn check(&self, found: &State, crash: Crash, mode: FlushDiskType) -> Result<(), Violation> {
        self.check_nothing_unknown(found)?;
        self.check_nothing_missing(found, crash, mode)?;
        self.check_minimum(found)?;
        self.check_tail(found)?;
        self.check_tables(found)
    }

    fn check_nothing_unknown(&self, found: &State) -> Result<(), Violation> {
        for (phy_offset, (_, number)) in &found.records {
            let known = self.appended.get(phy_offset).map(|(_, number)| *number);
            if !self.attempted.contains(number) || known.is_some_and(|known| known != *number) {
                let what = format!("message {number} at {phy_offset}, where {known:?} was put");
                return violation("phantom", what);
            }
        }
        Ok(())
    }

    fn check_nothing_missing(
        &self,
        found: &State,
        crash: Crash,
        mode: FlushDiskType,
    ) -> Result<(), Violation> {
        let committed = self.committed.unwrap_or(u64::MAX);
        let cut = self.cutting.unwrap_or(u64::MAX);
        for (phy_offset, (end, number)) in self.appended.range(found.min_offset..cut) {
            if found.records.contains_key(phy_offset) {
                continue;
            }
            let at = || {
                format!("message {number} at {phy_offset}; the log ends at {}", found.max_offset)
            };
            let survives_kill = crash == Crash::Kill && *end <= committed;
            let is_synced_first = mode == FlushDiskType::SyncFlush;
            if (survives_kill || is_synced_first) && self.acked.contains(phy_offset) {
                return violation("acked-durable", at());
            }
            // Whatever a consumer could see is more than the process's own.
            if (crash == Crash::Kill || is_synced_first) && self.seen.contains(phy_offset) {
                return violation("visible-durable", at());
            }
            if *end <= self.synced {
                return violation("synced-durable", at());
            }
            if survives_kill {
                return violation("kill-costs-nothing", at());
            }
            if *phy_offset < found.max_offset {
                return violation("hole", at());
            }
        }
        Ok(())
    }

    fn check_minimum(&self, found: &State) -> Result<(), Violation> {
        let first = self.appended.keys().next();
        match first.filter(|_| !self.is_expiring && self.cutting.is_none()) {
            Some(first) if found.min_offset > *first => {
                violation("minimum", format!("{} rose from {first}", found.min_offset))
            }
            _ => Ok(()),
        }
    }

    fn check_tail(&self, found: &State) -> Result<(), Violation> {
        let Some((from, bytes)) = &self.tail else { return Ok(()) };
        let is_in_log = found.max_offset >= from + bytes.len() as u64;
        if is_in_log || found.quarantined.iter().any(|(at, it)| at == from && it == &**bytes) {
            return Ok(());
        }
        let what = format!(
            "{} bytes from {from} on are neither in the log, which ends at {}, nor set aside",
            bytes.len(),
            found.max_offset
        );
        violation("quarantined-durable", what)
    }

    /// Metadata files are what was written last, or something newer that was begun.
    ///
    /// # Errors
    /// One that is neither.
    pub fn check_tables(&self, found: &State) -> Result<(), Violation> {
        for (name, (written, begun)) in &self.tables {
            let read = found.tables.get(name).copied().unwrap_or(0);
            if read < *written || read > *begun {
                let what = format!("{name} is version {read}, where {written} was written");
                return violation("metadata", what);
            }
        }
        Ok(())
    }
}

/// What is known, shared by those who learn it.
#[derive(Clone, Default)]
pub struct Knowledge(Arc<Mutex<Known>>);

impl Knowledge {
    /// Something was learned.
    pub fn learn<T>(&self, learn: impl FnOnce(&mut Known) -> T) -> T {
        learn(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is known now.
    #[must_use]
    pub fn now(&self) -> Known {
        self.learn(|known| known.clone())
    }
}

impl Observer for Knowledge {
    fn event(&self, event: &Event<'_>) {
        self.learn(|known| match event {
            Event::Appended { phy_offset, size_bytes, uniq_key, .. } => {
                let number = uniq_key.and_then(|key| key.parse().ok()).unwrap_or(u32::MAX);
                let end = phy_offset + u64::from(*size_bytes);
                known.appended.insert(*phy_offset, (end, number));
            }
            Event::Dispatched { phy_offset, .. } => _ = known.seen.insert(*phy_offset),
            Event::Committed { to, .. } => known.committed = Some(*to),
            Event::Synced { to, .. } => known.synced = known.synced.max(*to),
            Event::Recovered { max_phy_offset, .. } => known.synced = *max_phy_offset,
            Event::Truncated { to, .. } => {
                let _ = known.appended.split_off(to);
                let _ = known.acked.split_off(to);
                let _ = known.seen.split_off(to);
                known.synced = known.synced.min(*to);
                known.cutting = None;
                let numbers = known.appended.values().map(|(_, number)| *number);
                known.attempted = numbers.collect();
            }
            _ => {}
        });
    }
}
