//! Why a message is lost: the chain of trace events that ends with its absence.
//!
//! Every link is an event of the trace and cites its ordinal; nothing is said that no event says.
//! Take an event away, and the chain changes (a test does).

use std::fmt;

use crate::trace::{MachineStep, ProcessStep, TraceEvent, TraceRecord};

/// A lost message, as far as the search needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostMessage<'a> {
    /// Its number, which is the number of the producer's operation.
    pub number: u32,
    /// The process whose acknowledgement the producer got.
    pub broker: &'a str,
    /// First byte of its record there.
    pub phy_offset: u64,
    /// First byte behind it.
    pub end_offset: u64,
    /// Ordinal of the producer's outcome.
    pub acked: u64,
    /// The processes that held copies of the log: the broker's slaves, or its former master.
    pub replicas: &'a [String],
    /// The process that is master now.
    pub master_now: &'a str,
}

/// One link: an event and what it means for the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Ordinal of the event.
    pub ordinal: u64,
    /// Its simulated time in microseconds.
    pub at_us: u64,
    /// Where it happened.
    pub source: String,
    /// What it means.
    pub text: String,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.at_us as f64 / 1_000_000.0;
        write!(f, "#{:<7} {seconds:>8.3} s  {:<12} {}", self.ordinal, self.source, self.text)
    }
}

/// The chain, and its point in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate {
    /// The links in the order of the trace.
    pub links: Vec<Link>,
    /// Why the message is gone, with the ordinals that show it.
    pub reason: String,
}

/// Searches the trace for what happened to a message.
#[must_use]
pub fn explain(trace: &[TraceRecord], lost: &LostMessage<'_>) -> Fate {
    let mut search = Search { trace, lost, links: Vec::new() };
    let appended = search.appended();
    search.operation();
    let sent = search.replication(appended);
    let fault = search.fault(lost.acked).or_else(|| search.fault(appended));
    let synced = search.last_sync(appended, fault);
    let ending = search.ending(appended);
    let damage = search.damage(appended);
    let reason = damage.unwrap_or_else(|| search.reason(fault, synced, sent, ending));
    search.links.sort_by_key(|link| link.ordinal);
    search.links.dedup_by_key(|link| link.ordinal);
    Fate { links: search.links, reason }
}

struct Search<'a> {
    trace: &'a [TraceRecord],
    lost: &'a LostMessage<'a>,
    links: Vec<Link>,
}

/// How far the log of a process reached, and the event that says so.
#[derive(Clone, Copy)]
struct Reach {
    ordinal: u64,
    to: u64,
    /// The record lies below it, and was there at the time.
    covers: bool,
}

impl<'a> Search<'a> {
    fn link(&mut self, record: &TraceRecord, text: impl Into<String>) -> u64 {
        self.links.push(Link {
            ordinal: record.ordinal,
            at_us: record.at_us,
            source: record.source.to_string(),
            text: text.into(),
        });
        record.ordinal
    }

    /// The last append of the record before its acknowledgement.
    fn appended(&mut self) -> u64 {
        let lost = *self.lost;
        let found = self.trace.iter().rev().find(|record| {
            record.ordinal <= lost.acked
                && *record.source == *lost.broker
                && matches!(record.event, TraceEvent::Appended { phy_offset, .. }
                    if phy_offset == lost.phy_offset)
        });
        let Some(record) = found else { return 0 };
        let TraceEvent::Appended { queue_id, queue_offset, .. } = &record.event else { return 0 };
        let text = format!(
            "appended at {}..{}, queue {queue_id} offset {queue_offset} (page cache)",
            lost.phy_offset, lost.end_offset
        );
        self.link(record, text)
    }

    /// Start and outcome of the producer's send.
    fn operation(&mut self) {
        let lost = *self.lost;
        let trace = self.trace;
        let ops = trace.iter().take_while(|record| record.ordinal <= lost.acked);
        for record in ops {
            if let TraceEvent::Op { op, what } = &record.event
                && *op == u64::from(lost.number)
            {
                self.link(record, &**what);
            }
        }
    }

    /// Whether a replica received the whole record between its append and the story's end.
    fn replication(&mut self, appended: u64) -> Option<Reach> {
        let lost = *self.lost;
        let trace = self.trace;
        let after = |record: &&TraceRecord| record.ordinal > appended;
        let received = trace.iter().filter(after).find_map(|record| match record.event {
            TraceEvent::HaReceived { from, to }
                if from < lost.end_offset
                    && to >= lost.end_offset
                    && lost.replicas.iter().any(|replica| **replica == *record.source) =>
            {
                Some((record, to))
            }
            _ => None,
        });
        if let Some((record, to)) = received {
            let ordinal = self.link(record, format!("received the log up to {to}"));
            return Some(Reach { ordinal, to, covers: true });
        }
        let sent = trace.iter().filter(after).find(|record| {
            *record.source == *lost.broker
                && matches!(record.event, TraceEvent::HaSent { from, to, .. }
                    if from < lost.end_offset && to >= lost.end_offset)
        });
        if let Some(record) = sent {
            self.link(record, "sent to a slave that never received it");
        }
        None
    }

    /// The first fault after `event` that took a copy. The event is the acknowledgement, or the append
    /// where the acknowledgement was under way when the last fault struck.
    fn fault(&mut self, event: u64) -> Option<&'a TraceRecord> {
        let lost = *self.lost;
        let trace = self.trace;
        let mut first = None;
        for record in trace.iter().filter(|record| record.ordinal > event) {
            let text = match &record.event {
                TraceEvent::Machine(MachineStep::PowerLost) => "power loss",
                TraceEvent::Machine(MachineStep::DiskDestroyed) => "disk destroyed",
                TraceEvent::Process(ProcessStep::Killed) if self.holds_log(&record.source) => {
                    "process killed"
                }
                TraceEvent::Process(ProcessStep::LostPower) if self.holds_log(&record.source) => {
                    "lost power"
                }
                TraceEvent::Process(ProcessStep::StopRequested)
                    if *record.source == *lost.broker && first.is_none() =>
                {
                    "stopped by the operator"
                }
                _ => continue,
            };
            self.link(record, text);
            let first = first.get_or_insert(record);
            // A destroyed disk comes with a power loss, which is told first.
            if record.event == TraceEvent::Machine(MachineStep::DiskDestroyed)
                && first.at_us == record.at_us
            {
                *first = record;
            }
        }
        first
    }

    fn holds_log(&self, process: &str) -> bool {
        process == self.lost.broker || self.lost.replicas.iter().any(|replica| replica == process)
    }

    /// The last completed sync of the broker before the fault.
    fn last_sync(&mut self, appended: u64, fault: Option<&TraceRecord>) -> Option<Reach> {
        let lost = *self.lost;
        let until = fault.map_or(u64::MAX, |record| record.ordinal);
        let trace = self.trace;
        let found = trace.iter().rev().find_map(|record| match record.event {
            TraceEvent::Synced { to, .. }
                if record.ordinal < until && *record.source == *lost.broker =>
            {
                Some((record, to))
            }
            _ => None,
        });
        let (record, to) = found?;
        let covers = to >= lost.end_offset && record.ordinal > appended;
        let verdict = if covers { "covers the record" } else { "does not cover the record" };
        let ordinal =
            self.link(record, format!("last sync before the fault: up to {to}, {verdict}"));
        Some(Reach { ordinal, to, covers })
    }

    /// What a device did to the record on the present master's disk, as the reason of its loss.
    fn damage(&mut self, appended: u64) -> Option<String> {
        let lost = *self.lost;
        let mut reason = None;
        for record in self.trace.iter().filter(|record| record.ordinal > appended) {
            if let TraceEvent::Damaged { from, to, what } = &record.event
                && *record.source == *lost.master_now
                && *from < lost.end_offset
                && lost.phy_offset < *to
            {
                let ordinal = self.link(record, format!("the disk damaged {from}..{to}: {what}"));
                let text = format!("{what} on the disk of {} (#{ordinal})", lost.master_now);
                reason.get_or_insert(text);
            }
        }
        reason
    }

    /// What the present master's log came to be: a recovery, a cut, or a promotion short of the record.
    fn ending(&mut self, appended: u64) -> Option<Reach> {
        let lost = *self.lost;
        let trace = self.trace;
        let mut ending = None;
        for record in trace.iter().filter(|record| record.ordinal > appended) {
            let here = *record.source == *lost.master_now;
            match &record.event {
                TraceEvent::Recovered { max_phy_offset, .. } if here => {
                    let to = *max_phy_offset;
                    let ordinal = self.link(record, format!("recovered to {to}"));
                    if to < lost.end_offset {
                        ending.get_or_insert(Reach { ordinal, to, covers: false });
                    }
                }
                TraceEvent::Truncated { from, to, reason } if here && *to < lost.end_offset => {
                    let text = format!("log cut from {from} to {to}: {reason}");
                    let ordinal = self.link(record, text);
                    ending.get_or_insert(Reach { ordinal, to: *to, covers: false });
                }
                TraceEvent::Quarantined { from, to, messages }
                    if *from < lost.end_offset && *to >= lost.end_offset =>
                {
                    let text = format!("{messages} messages at {from}..{to} set aside");
                    self.link(record, text);
                }
                TraceEvent::RefusedToFollow { reason } => {
                    self.link(record, format!("refuses to follow: {reason}"));
                }
                _ => {}
            }
        }
        ending
    }

    fn reason(
        &self,
        fault: Option<&TraceRecord>,
        synced: Option<Reach>,
        received: Option<Reach>,
        ending: Option<Reach>,
    ) -> String {
        let lost = self.lost;
        let Some(fault) = fault else {
            return "no fault after the acknowledgement explains it".to_owned();
        };
        let what = match &fault.event {
            TraceEvent::Machine(MachineStep::DiskDestroyed) => "the disk was destroyed",
            TraceEvent::Machine(_) | TraceEvent::Process(ProcessStep::LostPower) => {
                "power was lost"
            }
            TraceEvent::Process(ProcessStep::Killed) => "the process was killed",
            _ => "the broker was stopped",
        };
        let fault = format!("{what} (#{})", fault.ordinal);
        let end = ending.map_or_else(String::new, |ending| {
            format!("; {} ends at {} (#{})", lost.master_now, ending.to, ending.ordinal)
        });
        if lost.master_now == lost.broker {
            return match synced {
                Some(sync) if sync.covers => {
                    format!(
                        "synced up to {} (#{}), yet gone after {fault}{end}",
                        sync.to, sync.ordinal
                    )
                }
                Some(sync) => {
                    format!("not synced (#{} reached {}) when {fault}{end}", sync.ordinal, sync.to)
                }
                None => format!("never synced when {fault}{end}"),
            };
        }
        match received {
            Some(reach) => {
                format!(
                    "{} received it (#{}), yet lacks it after {fault}{end}",
                    lost.master_now, reach.ordinal
                )
            }
            None => format!("{} had not received it when {fault}{end}", lost.master_now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn record(ordinal: u64, source: &str, event: TraceEvent) -> TraceRecord {
        let source = Arc::from(source);
        TraceRecord { ordinal, at_us: ordinal * 1_000, source, incarnation: 1, digest: 0, event }
    }

    /// A message appended at 100..200 on `a`, acknowledged, and lost to a power loss.
    fn story() -> Vec<TraceRecord> {
        let appended = TraceEvent::Appended {
            phy_offset: 100,
            size_bytes: 100,
            topic: "T".into(),
            queue_id: 2,
            queue_offset: 8,
            uniq_key: None,
        };
        let (min_phy_offset, max_phy_offset) = (0, 100);
        let recovered = TraceEvent::Recovered {
            min_phy_offset,
            max_phy_offset,
            dropped_bytes: 0,
            reason: "torn".into(),
        };
        vec![
            record(1, "producer-1", TraceEvent::Op { op: 7, what: "send k000007".into() }),
            record(2, "a", TraceEvent::Synced { from: 0, to: 90 }),
            record(3, "a", appended),
            record(4, "producer-1", TraceEvent::Op { op: 7, what: "SEND_OK".into() }),
            record(5, "10.0.1.1", TraceEvent::Machine(MachineStep::PowerLost)),
            record(6, "a", recovered),
        ]
    }

    fn fate(trace: &[TraceRecord], master_now: &str) -> Fate {
        told(trace, master_now, 4)
    }

    fn told(trace: &[TraceRecord], master_now: &str, acked: u64) -> Fate {
        let replicas = ["a-s".to_owned()];
        let lost = LostMessage {
            number: 7,
            broker: "a",
            phy_offset: 100,
            end_offset: 200,
            acked,
            replicas: &replicas,
            master_now,
        };
        explain(trace, &lost)
    }

    #[test]
    fn the_chain_cites_the_events_and_follows_them() {
        let trace = story();
        let found = fate(&trace, "a");
        let ordinals: Vec<_> = found.links.iter().map(|link| link.ordinal).collect();
        assert_eq!(ordinals, [1, 2, 3, 4, 5, 6]);
        assert_eq!(
            found.reason,
            "not synced (#2 reached 90) when power was lost (#5); a ends at 100 (#6)"
        );

        let mut synced = trace.clone();
        synced[3].event = TraceEvent::Synced { from: 90, to: 250 };
        synced[3].source = "a".into();
        assert!(fate(&synced, "a").reason.starts_with("synced up to 250 (#4), yet gone"));

        let mut under_way = trace.clone();
        under_way.swap(3, 4);
        (under_way[3].ordinal, under_way[4].ordinal) = (4, 5);
        let found = told(&under_way, "a", 5);
        assert_eq!(found.links[3].text, "power loss");
        assert!(found.reason.starts_with("not synced (#2 reached 90) when power was lost (#4)"));

        let mut destroyed = trace.clone();
        let gone = TraceEvent::Machine(MachineStep::DiskDestroyed);
        destroyed.insert(5, TraceRecord { at_us: 5_000, ..record(5, "10.0.1.1", gone) });
        assert!(fate(&destroyed, "a").reason.contains("when the disk was destroyed (#5)"));

        let without_fault: Vec<_> = trace.iter().filter(|r| r.ordinal != 5).cloned().collect();
        assert!(fate(&without_fault, "a").reason.contains("no fault"));
    }

    #[test]
    fn what_the_disk_did_to_the_record_is_the_reason() {
        let damaged = |from, to| TraceEvent::Damaged { from, to, what: "bits rotted".into() };
        let mut trace = story();
        trace.push(record(7, "a", damaged(150, 151)));
        let found = fate(&trace, "a");
        assert_eq!(found.reason, "bits rotted on the disk of a (#7)");
        assert_eq!(found.links.last().unwrap().ordinal, 7);
        trace[6].event = damaged(200, 201);
        assert!(fate(&trace, "a").reason.starts_with("not synced"), "beside the record");
        trace[6] = record(7, "a-s", damaged(150, 151));
        assert!(fate(&trace, "a").reason.starts_with("not synced"), "another copy");
    }

    #[test]
    fn a_promotion_asks_what_the_slave_received() {
        let mut trace = story();
        assert!(fate(&trace, "a-s").reason.starts_with("a-s had not received it when power"));
        trace[1] = record(2, "a-s", TraceEvent::HaReceived { from: 100, to: 250 });
        assert!(fate(&trace, "a-s").reason.contains("had not received"), "before the append");
        trace.insert(4, record(4, "a-s", TraceEvent::HaReceived { from: 100, to: 250 }));
        assert!(fate(&trace, "a-s").reason.starts_with("a-s received it (#4), yet lacks it"));
    }
}
