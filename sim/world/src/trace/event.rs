//! [`TraceEvent`]: what a trace records, owned and comparable.
//!
//! The first part mirrors `mq_env::probe::Event`; offsets are physical CommitLog offsets in bytes
//! unless named otherwise. The second part is the world's own.

use std::fmt;

use super::fault::{FaultId, FaultKind};
use super::{Name, render};

/// Something that happened in a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the fields are those of mq_env::probe::Event, documented there")]
pub enum TraceEvent {
    /// A record was copied into the CommitLog.
    Appended {
        phy_offset: u64,
        size_bytes: u32,
        topic: Name,
        queue_id: u32,
        queue_offset: u64,
        uniq_key: Option<UniqKey>,
    },
    /// What waited in the transient store pool went into the file.
    Committed { from: u64, to: u64 },
    /// A CommitLog sync completed.
    Synced { from: u64, to: u64 },
    /// A CommitLog sync failed.
    SyncFailed { from: u64, to: u64, error: Name },
    /// A record became visible to consumers.
    Dispatched { phy_offset: u64, topic: Name, queue_id: u32, queue_offset: u64 },
    /// The put path decided on a status.
    PutDone { phy_offset: Option<u64>, end_offset: Option<u64>, status: Name },
    /// Start-up recovery of the CommitLog ended.
    Recovered { min_phy_offset: u64, max_phy_offset: u64, dropped_bytes: u64, reason: Name },
    /// The log was cut.
    Truncated { from: u64, to: u64, reason: Name },
    /// A file was removed because it had expired.
    Expired { file: Name, reason: Name },
    /// A diverged tail was copied aside.
    Quarantined { from: u64, to: u64, messages: u64 },
    /// A slave refuses to follow its master.
    RefusedToFollow { reason: Name },
    /// The master accepted an HA connection.
    SlaveConnected { slave: Name },
    /// An HA connection ended, seen from the master.
    SlaveGone { slave: Name, reason: Name },
    /// The master sent a slice of its log.
    HaSent { slave: Name, from: u64, to: u64 },
    /// The slave appended a slice to its log.
    HaReceived { from: u64, to: u64 },
    /// The master counted a slave's report.
    SlaveAcked { slave: Name, offset: u64 },
    /// A group's offset was moved by the broker.
    OffsetClamped { group: Name, topic: Name, queue_id: u32, from: u64, to: u64 },
    /// A group committed an offset.
    OffsetCommitted { group: Name, topic: Name, broker_name: Name, queue_id: u32, offset: u64 },
    /// A broker told where a group stands.
    OffsetQueried { group: Name, topic: Name, broker_name: Name, queue_id: u32, offset: u64 },
    /// A consumer's position in a queue was set.
    PullOffset { group: Name, topic: Name, broker_name: Name, queue_id: u32, offset: u64 },
    /// A consumer gave a queue up.
    QueueGivenUp { group: Name, topic: Name, broker_name: Name, queue_id: u32 },
    /// A registration, or a change of a name server's tables.
    Route { what: Name },
    /// A step of a process's life, as the process tells it.
    Life { what: Name },
    /// An event of the engine that this table does not know.
    Other { what: Name },

    /// What the world did with a process.
    Process(ProcessStep),
    /// What the world did with a machine.
    Machine(MachineStep),
    /// A fault was injected; it has not necessarily done anything yet.
    FaultStarted { fault: FaultId, kind: FaultKind, detail: Name },
    /// A fault took effect for the first time.
    FaultBit { fault: FaultId, kind: FaultKind, what: Name },
    /// A fault was taken away.
    FaultHealed { fault: FaultId, kind: FaultKind, effect: Name },
    /// A connection was established; `from` and `to` are machines.
    Connected { conn: u64, from: Name, to: Name, port: u16 },
    /// A connection was not established.
    ConnectFailed { conn: u64, from: Name, to: Name, port: u16, error: &'static str },
    /// The side of a connection on machine `at` was reset by its peer.
    ConnectionReset { conn: u64, at: Name },
    /// The side of a connection on machine `at` gave up on unanswered bytes.
    ConnectionTimedOut { conn: u64, at: Name },
    /// The device damaged bytes of a CommitLog; the source is the process that keeps it.
    Damaged { from: u64, to: u64, what: Name },
    /// What became of a disk at a crash, and other news of it.
    Disk { what: Name },
    /// A client's operation started or ended; `op` is its number.
    Op { op: u64, what: Name },
    /// A remark of the scenario.
    Note { what: Name },
    /// A broker of a DLedger group serves as its master. Behind the others, whose places digests rest on.
    BecameMaster { term: u64 },
    /// It does so no longer.
    CeasedMaster { term: u64 },
}

/// A step in the life of a process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ProcessStep {
    /// Its start function was called.
    Started,
    /// It was asked to stop.
    StopRequested,
    /// Its start function returned.
    Exited,
    /// Its start function returned an error.
    Failed {
        /// The error.
        error: Name,
    },
    /// It was killed.
    Killed,
    /// Its machine lost power under it.
    LostPower,
    /// A task panicked, which ended the process.
    Panicked {
        /// Name of the task.
        task: &'static str,
        /// Message and place of the panic.
        text: Name,
    },
}

/// A step in the life of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MachineStep {
    /// Power is gone.
    PowerLost,
    /// Power is back; no process runs yet.
    PoweredOn,
    /// Its disk was replaced by an empty one.
    DiskDestroyed,
}

/// A message's `UNIQ_KEY`. RocketMQ's are 16 bytes in upper-case hexadecimal, kept without allocating.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum UniqKey {
    /// 32 upper-case hexadecimal digits.
    Hex([u8; 16]),
    /// Anything else.
    Text(Name),
}

impl UniqKey {
    /// The bytes of a key of RocketMQ's form.
    #[must_use]
    pub fn parse_hex(text: &str) -> Option<UniqKey> {
        let digits: &[u8; 32] = text.as_bytes().try_into().ok()?;
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = (hex_value(pair[0])? << 4) | hex_value(pair[1])?;
        }
        Some(UniqKey::Hex(bytes))
    }
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

impl fmt::Display for UniqKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UniqKey::Hex(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02X}")),
            UniqKey::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for UniqKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UniqKey({self})")
    }
}

impl fmt::Display for TraceEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        render::event(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_rocketmqs_form_needs_no_text() {
        let key = "7F000001ABCD18B4AAC2000000000A0F";
        assert_eq!(UniqKey::parse_hex(key).unwrap().to_string(), key);
        assert_eq!(UniqKey::parse_hex("7f000001ABCD18B4AAC2000000000A0F"), None);
        assert_eq!(UniqKey::parse_hex("7F"), None);
    }
}
