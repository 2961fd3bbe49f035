//! The expected matrix (`scenarios/expected-matrix.csv`) as typed rows: what each mode promises under
//! each fault and recovery, what 4.9 does, and why.

use std::fmt;
use std::str::FromStr;

use mq_store::config::UpstreamSwitch;
use serde::Deserialize;
use staticfire_judge::check::bound::Bound;

/// The table itself.
const CSV: &str = include_str!("../../../../scenarios/expected-matrix.csv");

/// `flushDiskType` in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Flush {
    /// The acknowledgement waits for the sync.
    #[serde(rename = "SYNC_FLUSH")]
    Sync,
    /// It does not.
    #[serde(rename = "ASYNC_FLUSH")]
    Async,
}

impl fmt::Display for Flush {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Flush::Sync => "SYNC_FLUSH",
            Flush::Async => "ASYNC_FLUSH",
        })
    }
}

/// Replication of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Replication {
    /// No slave.
    None,
    /// ASYNC_MASTER and a slave.
    Async,
    /// SYNC_MASTER and a slave.
    Sync,
    /// A DLedger group, of three in a row's own cluster: its members elect who is the master.
    #[serde(rename = "DLEDGER")]
    DLedger,
}

impl fmt::Display for Replication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Replication::None => "none",
            Replication::Async => "async",
            Replication::Sync => "sync",
            Replication::DLedger => "DLEDGER",
        })
    }
}

/// One step of a row's fault. In a DLedger group the master is whoever leads when the story begins, the slave one of those who
/// follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultStep {
    /// The master's process is killed.
    KillMaster,
    /// The master's machine loses power.
    PowerMaster,
    /// All machines of the group lose power at one instant.
    PowerAll,
    /// The master's disk is destroyed.
    DiskMaster,
    /// The master is not scheduled.
    PauseMaster,
    /// A sync of the master's CommitLog fails.
    FlushErrorMaster,
    /// The slave's process is killed.
    KillSlave,
    /// The slave's machine loses power.
    PowerSlave,
    /// The slave's disk is destroyed.
    DiskSlave,
    /// The link to the slave is slow.
    LagSlave,
    /// Master and slave cannot reach each other.
    PartitionMasterSlave,
    /// A sync of the slave's CommitLog fails.
    FlushErrorSlave,
    /// The master is started again in place.
    Restart,
    /// The slave is promoted.
    Promote,
    /// The former master comes back as slave.
    OldMasterReturnsAsSlave,
    /// The leader and the others of its group cannot reach each other; clients still reach it. This and what follows
    /// befalls DLedger groups alone.
    IsolateMaster,
    /// The others do not hear the leader; it hears them.
    MuteMaster,
    /// The leader does not hear the others; they hear it.
    DeafenMaster,
    /// The processes of as many members as make a quorum are killed.
    KillMajority,
    /// The machines of as many lose power at one instant.
    PowerMajority,
    /// One member after the other is stopped in order and started, the leader last.
    RollingRestart,
    /// The wall clock of the leader's machine is set.
    ClockMaster,
}

impl FaultStep {
    /// The step in words, for tables.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            FaultStep::KillMaster => "process kill of master",
            FaultStep::PowerMaster => "power loss of master",
            FaultStep::PowerAll => "power loss of everything",
            FaultStep::DiskMaster => "disk of master destroyed",
            FaultStep::PauseMaster => "pause of master",
            FaultStep::FlushErrorMaster => "sync error on master",
            FaultStep::KillSlave => "process kill of slave",
            FaultStep::PowerSlave => "power loss of slave",
            FaultStep::DiskSlave => "disk of slave destroyed",
            FaultStep::LagSlave => "slave lags",
            FaultStep::PartitionMasterSlave => "partition master | slave",
            FaultStep::FlushErrorSlave => "sync error on slave",
            FaultStep::Restart => "restart",
            FaultStep::Promote => "promotion",
            FaultStep::OldMasterReturnsAsSlave => "old master returns as slave",
            FaultStep::IsolateMaster => "leader isolated",
            FaultStep::MuteMaster => "leader heard by nobody",
            FaultStep::DeafenMaster => "leader hears nobody",
            FaultStep::KillMajority => "process kill of a majority",
            FaultStep::PowerMajority => "power loss of a majority",
            FaultStep::RollingRestart => "rolling restart",
            FaultStep::ClockMaster => "clock jump of leader",
        }
    }

    /// The same of a DLedger group.
    fn words_of_dledger(self) -> &'static str {
        match self {
            FaultStep::KillMaster => "process kill of leader",
            FaultStep::PowerMaster => "power loss of leader",
            FaultStep::DiskMaster => "disk of leader destroyed",
            FaultStep::PauseMaster => "pause of leader",
            FaultStep::KillSlave => "process kill of a follower",
            FaultStep::PowerSlave => "power loss of a follower",
            FaultStep::DiskSlave => "disk of a follower destroyed",
            FaultStep::PartitionMasterSlave => "partition leader | follower",
            other => other.words(),
        }
    }
}

/// What an operator does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recovery {
    /// What fell is started again in place.
    Restart,
    /// The slave is promoted.
    Promote,
    /// The members of a DLedger group elect another master; what fell comes back as one of them.
    Elect,
    /// Nothing: the fault passes.
    None,
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Recovery::Restart => "restart",
            Recovery::Promote => "promote",
            Recovery::Elect => "elect",
            Recovery::None => "none",
        })
    }
}

/// Our promise in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ours {
    /// No acknowledged message is lost.
    Never,
    /// Acknowledged messages inside the bound may be lost.
    May,
    /// Everything is lost: the only readable copy is gone.
    All,
    /// What the group's log owes in the end is not lost: which copies count is known only in the run.
    Owed,
}

impl fmt::Display for Ours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ours::Never => "never",
            Ours::May => "may",
            Ours::All => "all",
            Ours::Owed => "owed",
        })
    }
}

/// Rules of the engine, by which `never` rows hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Defence {
    /// Under SYNC_FLUSH a put is answered after its sync.
    AnsweredAfterSync,
    /// A SYNC_MASTER answers after a slave has the record.
    AnsweredAfterReplica,
    /// A promoted slave recomputes its queue offsets.
    QueueOffsetsRecomputed,
    /// ConsumeQueues are what a rebuild from the log gives.
    QueuesLikeARebuild,
}

impl Defence {
    /// The planted bug that takes the rule away, in words: its name exists in test builds only.
    #[must_use]
    pub fn planted_in_words(self) -> &'static str {
        match self {
            Defence::AnsweredAfterSync => "plant: answers before the sync",
            Defence::AnsweredAfterReplica => "plant: answers before the slave has it",
            Defence::QueueOffsetsRecomputed => "plant: promotion keeps old queue offsets",
            Defence::QueuesLikeARebuild => "plant: queues unlike the log",
        }
    }
}

/// One row.
#[derive(Clone, Debug)]
pub struct MatrixRow {
    /// `flush/replication/slave_flush/fault/recovery`.
    pub id: String,
    /// Flush mode of the master; of every member of a DLedger group.
    pub flush: Flush,
    /// Replication mode.
    pub replication: Replication,
    /// Flush mode of the slave, where there is one.
    pub slave_flush: Option<Flush>,
    /// The fault, step by step.
    pub fault: Vec<FaultStep>,
    /// The recovery.
    pub recovery: Recovery,
    /// Our promise.
    pub ours: Ours,
    /// The bound of a `may`; empty otherwise.
    pub bound: Bound,
    /// What 4.9 does: `same` or in words.
    pub upstream: String,
    /// Why.
    pub why: String,
}

#[derive(Deserialize)]
struct RawRow {
    id: String,
    flush: Flush,
    replication: Replication,
    slave_flush: String,
    fault: String,
    recovery: Recovery,
    ours: Ours,
    bound: String,
    upstream: String,
    why: String,
}

impl MatrixRow {
    fn from_raw(raw: RawRow) -> Result<Self, String> {
        let slave_flush = match raw.slave_flush.as_str() {
            "-" => None,
            "SYNC_FLUSH" => Some(Flush::Sync),
            "ASYNC_FLUSH" => Some(Flush::Async),
            other => return Err(format!("{}: slave_flush {other:?}", raw.id)),
        };
        let bound = if raw.ours == Ours::May { raw.bound.parse()? } else { Bound::default() };
        Ok(MatrixRow {
            fault: parse_fault(&raw.fault)?,
            id: raw.id,
            flush: raw.flush,
            replication: raw.replication,
            slave_flush,
            recovery: raw.recovery,
            ours: raw.ours,
            bound,
            upstream: raw.upstream,
            why: raw.why,
        })
    }

    /// `brokerRole` of the row's master, or `DLEDGER`, as a plan's group has it.
    #[must_use]
    pub fn master_role(&self) -> &'static str {
        match self.replication {
            Replication::None | Replication::Async => "ASYNC_MASTER",
            Replication::Sync => "SYNC_MASTER",
            Replication::DLedger => "DLEDGER",
        }
    }

    /// Whether it is about a DLedger group.
    #[must_use]
    pub fn is_dledger(&self) -> bool {
        self.replication == Replication::DLedger
    }

    /// The upstream behaviours that break this row's promise when they are switched on together;
    /// none where 4.9 keeps it, or loses no more than we do.
    #[must_use]
    pub fn turned_red_by(&self) -> &'static [UpstreamSwitch] {
        use FaultStep::{
            DiskMaster, DiskSlave, FlushErrorMaster, KillMaster, OldMasterReturnsAsSlave, PowerAll,
            PowerMaster, PowerSlave, Promote, Restart,
        };
        if self.is_dledger() {
            return self.dledger_turned_red_by();
        }
        let is_sync = self.replication == Replication::Sync;
        match (self.fault.as_slice(), self.recovery) {
            ([PowerSlave, DiskMaster] | [PowerAll], Recovery::Promote)
                if is_sync && self.slave_flush == Some(Flush::Sync) =>
            {
                &[UpstreamSwitch::SlaveAcksPageCache]
            }
            // A SYNC_FLUSH master loses nothing that its slave could be ahead by.
            ([PowerMaster, Restart, DiskMaster], Recovery::Promote)
                if is_sync && self.flush == Flush::Async =>
            {
                &[UpstreamSwitch::AckBeyondLogEnd, UpstreamSwitch::SpliceDiverged]
            }
            ([FlushErrorMaster, PowerMaster], Recovery::Restart) if self.flush == Flush::Sync => {
                &[UpstreamSwitch::FlushErrorCountsAsDone]
            }
            // A SYNC_MASTER that dies leaves little that its slave does not receive in the end.
            ([KillMaster, Promote, OldMasterReturnsAsSlave], Recovery::Promote)
                if !is_sync && self.slave_flush == Some(Flush::Async) =>
            {
                &[UpstreamSwitch::AckBeyondLogEnd, UpstreamSwitch::SpliceDiverged]
            }
            ([DiskSlave], Recovery::Restart) => &[UpstreamSwitch::SlaveStartsAtLastFile],
            _ => &[],
        }
    }

    fn dledger_turned_red_by(&self) -> &'static [UpstreamSwitch] {
        use FaultStep::{DiskMaster, PartitionMasterSlave, PowerAll, PowerMajority, PowerMaster};
        match *self.fault {
            [PowerAll | PowerMajority] | [PartitionMasterSlave, PowerMaster]
                if self.flush == Flush::Sync =>
            {
                &[UpstreamSwitch::DLedgerAcksPageCache]
            }
            [PartitionMasterSlave, DiskMaster] => &[UpstreamSwitch::DLedgerBlankNodeVotes],
            _ => &[],
        }
    }

    /// The rule of the engine that keeps this row's promise and that a planted bug takes away to turn
    /// the row red; `None` where an upstream behaviour does, where loss is promised, and of DLedger groups.
    #[must_use]
    pub fn defence(&self) -> Option<Defence> {
        if self.ours != Ours::Never || !self.turned_red_by().is_empty() {
            return None;
        }
        Some(match (self.flush, self.replication, self.recovery) {
            // No planted bug is in DLedger's consensus.
            (_, Replication::DLedger, _) => return None,
            (_, Replication::Sync, _) => Defence::AnsweredAfterReplica,
            (Flush::Sync, ..) => Defence::AnsweredAfterSync,
            (.., Recovery::Promote) => Defence::QueueOffsetsRecomputed,
            _ => Defence::QueuesLikeARebuild,
        })
    }

    /// The fault as written in the table: steps joined by `+`.
    #[must_use]
    pub fn fault_name(&self) -> &str {
        self.id.split('/').nth(3).unwrap_or_default()
    }

    /// The fault in words.
    #[must_use]
    pub fn fault_words(&self) -> String {
        let of = if self.is_dledger() { FaultStep::words_of_dledger } else { FaultStep::words };
        let words: Vec<_> = self.fault.iter().map(|step| of(*step)).collect();
        words.join(", ")
    }
}

/// Parses a fault as written in the table and on the command line: steps joined by `+`.
///
/// # Errors
/// Names the step that does not exist.
pub fn parse_fault(text: &str) -> Result<Vec<FaultStep>, String> {
    text.split('+').map(str::parse).collect()
}

impl FromStr for FaultStep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let from_name = serde::de::value::StrDeserializer::<serde::de::value::Error>::new(text);
        FaultStep::deserialize(from_name).map_err(|_| format!("{text:?} is no fault"))
    }
}

/// All rows, in the order of the table.
///
/// # Panics
/// When the embedded table is malformed, which a test excludes.
#[must_use]
pub fn all() -> Vec<MatrixRow> {
    csv::Reader::from_reader(CSV.as_bytes())
        .deserialize()
        .map(|raw: Result<RawRow, _>| {
            let raw = raw.expect("the embedded table is well-formed");
            MatrixRow::from_raw(raw).expect("the embedded table is well-formed")
        })
        .collect()
}

/// The rows that fit a group's mode.
#[must_use]
pub fn rows_for(
    flush: Flush,
    replication: Replication,
    slave_flush: Option<Flush>,
) -> Vec<MatrixRow> {
    let fits = |row: &MatrixRow| {
        row.flush == flush && row.replication == replication && row.slave_flush == slave_flush
    };
    all().into_iter().filter(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_row_parses_and_ids_are_unique() {
        let rows = all();
        assert_eq!(rows.len(), CSV.lines().count() - 1);
        let ids: BTreeSet<_> = rows.iter().map(|row| &row.id).collect();
        assert_eq!(ids.len(), rows.len());
        for row in &rows {
            assert_eq!(row.ours == Ours::May, !row.bound.is_empty(), "{}", row.id);
            let has_slave = matches!(row.replication, Replication::Async | Replication::Sync);
            assert_eq!(row.slave_flush.is_some(), has_slave, "{}", row.id);
            let named = format!("{}/{}/", row.flush, row.replication);
            assert!(row.id.starts_with(&named), "{}", row.id);
            // The bound terms of a `may` speak of a master and a slave.
            assert!(!row.is_dledger() || row.ours != Ours::May, "{}", row.id);
            assert!(row.id.ends_with(&format!("/{}", row.recovery)), "{}", row.id);
        }
    }

    #[test]
    fn switches_turn_red_only_rows_that_promise_something() {
        let rows = all();
        let red: Vec<_> = rows.iter().filter(|row| !row.turned_red_by().is_empty()).collect();
        assert!(red.iter().all(|row| row.ours != Ours::All));
        let with = |switch| red.iter().filter(|row| row.turned_red_by().contains(&switch)).count();
        assert_eq!(with(UpstreamSwitch::SlaveAcksPageCache), 4);
        assert_eq!(with(UpstreamSwitch::FlushErrorCountsAsDone), 5);
        assert_eq!(with(UpstreamSwitch::DLedgerAcksPageCache), 3);
        assert_eq!(with(UpstreamSwitch::DLedgerBlankNodeVotes), 2);
    }

    #[test]
    fn rows_are_found_by_mode() {
        assert_eq!(rows_for(Flush::Sync, Replication::None, None).len(), 7);
        assert!(rows_for(Flush::Async, Replication::None, Some(Flush::Sync)).is_empty());
        let both = rows_for(Flush::Sync, Replication::Sync, Some(Flush::Sync));
        assert!(
            both.iter().any(|row| row.fault == [FaultStep::PowerAll] && row.ours == Ours::Never)
        );
        assert_eq!(
            parse_fault("power_master+restart+disk_master"),
            Ok(vec![FaultStep::PowerMaster, FaultStep::Restart, FaultStep::DiskMaster])
        );
        assert!(parse_fault("kill_maste").is_err());
    }
}
