//! One line per event, made for reading: `#1042     1.204 s  broker-a      appended 71 320..71 580 …`.

use std::fmt;

use super::TraceRecord;
use super::event::{MachineStep, ProcessStep, TraceEvent};

/// Writes a record as one line without its end.
pub(super) fn record(record: &TraceRecord, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (seconds, millis) = (record.at_us / 1_000_000, record.at_us / 1_000 % 1_000);
    write!(f, "#{:<6} {seconds:>5}.{millis:03} s  {:<12}  ", record.ordinal, record.source)?;
    event(&record.event, f)
}

/// A number with its thousands apart.
struct Grouped(u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1_000 {
            return write!(f, "{}", self.0);
        }
        write!(f, "{} {:03}", Grouped(self.0 / 1_000), self.0 % 1_000)
    }
}

/// `from..to`, grouped.
struct Span(u64, u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", Grouped(self.0), Grouped(self.1))
    }
}

/// Writes what happened, without time and place.
pub(super) fn event(event: &TraceEvent, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match event {
        TraceEvent::Appended {
            phy_offset,
            size_bytes,
            topic,
            queue_id,
            queue_offset,
            uniq_key,
        } => {
            let end = phy_offset + u64::from(*size_bytes);
            write!(f, "appended {} {topic}-{queue_id} #{queue_offset}", Span(*phy_offset, end))?;
            uniq_key.as_ref().map_or(Ok(()), |key| write!(f, " {key}"))
        }
        TraceEvent::Committed { from, to } => write!(f, "committed {}", Span(*from, *to)),
        TraceEvent::Synced { from, to } => write!(f, "synced {}", Span(*from, *to)),
        TraceEvent::SyncFailed { from, to, error } => {
            write!(f, "sync of {} failed: {error}", Span(*from, *to))
        }
        TraceEvent::Dispatched { phy_offset, topic, queue_id, queue_offset } => {
            write!(f, "dispatched {} {topic}-{queue_id} #{queue_offset}", Grouped(*phy_offset))
        }
        TraceEvent::PutDone { phy_offset, end_offset, status } => {
            write!(f, "put {status}")?;
            match (phy_offset, end_offset) {
                (Some(from), Some(to)) => write!(f, " {}", Span(*from, *to)),
                (Some(from), None) => write!(f, " {}", Grouped(*from)),
                _ => Ok(()),
            }
        }
        TraceEvent::Recovered { min_phy_offset, max_phy_offset, dropped_bytes, reason } => {
            let (log, dropped) = (Span(*min_phy_offset, *max_phy_offset), Grouped(*dropped_bytes));
            write!(f, "recovered {log}, {dropped} bytes dropped: {reason}")
        }
        TraceEvent::Truncated { from, to, reason } => {
            write!(f, "truncated from {} to {}: {reason}", Grouped(*from), Grouped(*to))
        }
        TraceEvent::Quarantined { from, to, messages } => {
            write!(f, "quarantined {}, {messages} messages", Span(*from, *to))
        }
        other => replication(other, f),
    }
}

fn replication(event: &TraceEvent, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match event {
        TraceEvent::Expired { file, reason } => write!(f, "removed {file}: {reason}"),
        TraceEvent::RefusedToFollow { reason } => write!(f, "refuses to follow: {reason}"),
        TraceEvent::SlaveConnected { slave } => write!(f, "slave {slave} connected"),
        TraceEvent::SlaveGone { slave, reason } => write!(f, "slave {slave} gone: {reason}"),
        TraceEvent::HaSent { slave, from, to } => write!(f, "sent {} to {slave}", Span(*from, *to)),
        TraceEvent::HaReceived { from, to } => write!(f, "received {}", Span(*from, *to)),
        TraceEvent::SlaveAcked { slave, offset } => {
            write!(f, "slave {slave} acked {}", Grouped(*offset))
        }
        TraceEvent::OffsetClamped { group, topic, queue_id, from, to } => {
            write!(f, "{group} on {topic}-{queue_id} moved from #{from} to #{to}")
        }
        TraceEvent::OffsetCommitted { group, topic, queue_id, offset, .. } => {
            write!(f, "{group} on {topic}-{queue_id} committed #{offset}")
        }
        TraceEvent::OffsetQueried { group, topic, queue_id, offset, .. } => {
            write!(f, "{group} on {topic}-{queue_id} was told #{offset}")
        }
        TraceEvent::PullOffset { group, topic, broker_name, queue_id, offset } => {
            write!(f, "{group} reads {broker_name} {topic}-{queue_id} from #{offset}")
        }
        TraceEvent::QueueGivenUp { group, topic, broker_name, queue_id } => {
            write!(f, "{group} gives up {broker_name} {topic}-{queue_id}")
        }
        TraceEvent::BecameMaster { term } => write!(f, "is the group's master in term {term}"),
        TraceEvent::CeasedMaster { term } => write!(f, "is no master any more in term {term}"),
        TraceEvent::Route { what }
        | TraceEvent::Life { what }
        | TraceEvent::Other { what }
        | TraceEvent::Note { what } => f.write_str(what),
        other => world(other, f),
    }
}

fn world(event: &TraceEvent, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match event {
        TraceEvent::Process(step) => process(step, f),
        TraceEvent::Machine(step) => f.write_str(match step {
            MachineStep::PowerLost => "power lost",
            MachineStep::PoweredOn => "powered on",
            MachineStep::DiskDestroyed => "disk destroyed",
        }),
        TraceEvent::FaultStarted { fault, kind, detail } => {
            write!(f, "fault {fault}: {kind} {detail}")
        }
        TraceEvent::FaultBit { fault, kind, what } => write!(f, "{kind} {fault} bit: {what}"),
        TraceEvent::FaultHealed { fault, kind, effect } => {
            write!(f, "{kind} {fault} healed: {effect}")
        }
        TraceEvent::Connected { conn, from, to, port } => {
            write!(f, "c{conn} connected: {from} to {to}:{port}")
        }
        TraceEvent::ConnectFailed { conn, from, to, port, error } => {
            write!(f, "c{conn} not connected: {from} to {to}:{port}: {error}")
        }
        TraceEvent::ConnectionReset { conn, at } => write!(f, "c{conn} reset at {at}"),
        TraceEvent::ConnectionTimedOut { conn, at } => write!(f, "c{conn} timed out at {at}"),
        TraceEvent::Damaged { from, to, what } => {
            write!(f, "damaged by the disk {}: {what}", Span(*from, *to))
        }
        TraceEvent::Disk { what } => write!(f, "disk: {what}"),
        TraceEvent::Op { op, what } => write!(f, "op {op}: {what}"),
        other => write!(f, "{other:?}"),
    }
}

fn process(step: &ProcessStep, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match step {
        ProcessStep::Started => f.write_str("process started"),
        ProcessStep::StopRequested => f.write_str("process asked to stop"),
        ProcessStep::Exited => f.write_str("process exited"),
        ProcessStep::Failed { error } => write!(f, "process exited with an error: {error}"),
        ProcessStep::Killed => f.write_str("process killed"),
        ProcessStep::LostPower => f.write_str("process lost power"),
        ProcessStep::Panicked { task, text } => write!(f, "task {task} panicked: {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::event::UniqKey;

    #[test]
    fn an_event_is_one_readable_line() {
        let record = TraceRecord {
            ordinal: 1_042,
            at_us: 1_204_000,
            source: "broker-a".into(),
            incarnation: 1,
            digest: 0,
            event: TraceEvent::Appended {
                phy_offset: 71_320,
                size_bytes: 260,
                topic: "Orders".into(),
                queue_id: 3,
                queue_offset: 17,
                uniq_key: Some(UniqKey::Text("k1".into())),
            },
        };
        let line = "#1042       1.204 s  broker-a      appended 71 320..71 580 Orders-3 #17 k1";
        assert_eq!(record.to_string(), line);
    }

    #[test]
    fn numbers_are_grouped() {
        let text = |number| Grouped(number).to_string();
        assert_eq!(
            (text(7), text(1_007), text(12_345_678)),
            ("7".into(), "1 007".into(), "12 345 678".into())
        );
    }
}
