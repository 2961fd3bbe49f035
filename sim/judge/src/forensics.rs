//! Why a message is lost: the chain of trace events that ends with its absence.
//!
//! Every link is an event of the trace and cites its ordinal; nothing is said that no event says.
//! Take an event away, and the chain changes (a test does).

use std::fmt;

use staticfire_world::trace::{MachineStep, ProcessStep, TraceEvent, TraceRecord};

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
    /// It was acknowledged while no file held it, only the process (transient store pool).
    pub in_process_memory: bool,
    /// The processes that held copies of the log: the broker's slaves, or its former master.
    pub replicas: &'a [String],
    /// The machines of the broker and of those.
    pub machines: &'a [String],
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

/// What an operation is called by which a message is handed to a consumer. No link of a chain: a message that
/// somebody got may be lost all the same.
pub const DELIVERED: &str = "delivered";

/// Whether a chain may cite such an event. The others are most of a trace. What a verdict reads of it besides,
/// appends and the ends of processes, is among those that it may.
#[must_use]
pub fn may_cite(event: &TraceEvent) -> bool {
    match event {
        TraceEvent::Op { what, .. } => &**what != DELIVERED,
        TraceEvent::Dispatched { .. }
        | TraceEvent::PutDone { .. }
        | TraceEvent::SlaveAcked { .. }
        | TraceEvent::OffsetCommitted { .. }
        | TraceEvent::OffsetQueried { .. }
        | TraceEvent::PullOffset { .. }
        | TraceEvent::QueueGivenUp { .. } => false,
        _ => true,
    }
}

/// Searches the trace for what happened to a message. It may hold no more than what [`may_cite`] says.
#[must_use]
pub fn explain(trace: &[TraceRecord], lost: &LostMessage<'_>) -> Fate {
    let mut search = Search { trace, lost, links: Vec::new() };
    let appended = search.appended();
    search.operation();
    let sent = search.replication(appended);
    let fault = search.fault(lost.acked).or_else(|| search.fault(appended));
    let committed = search.last_commit(appended, fault);
    let synced = search.last_sync(appended, fault);
    let ending = search.ending(appended);
    let damage = search.damage(appended);
    let copies = Copies { committed, synced, received: sent };
    let reason = damage.unwrap_or_else(|| search.reason(fault, &copies, ending));
    search.links.sort_by_key(|link| link.ordinal);
    search.links.dedup_by_key(|link| link.ordinal);
    Fate { links: search.links, reason }
}

struct Search<'a> {
    trace: &'a [TraceRecord],
    lost: &'a LostMessage<'a>,
    links: Vec<Link>,
}

/// What there was of the record when the fault struck.
struct Copies {
    /// The last commit, of a record that only the process had when it was acknowledged.
    committed: Option<Reach>,
    synced: Option<Reach>,
    /// By replica, the present master first.
    received: Vec<(String, Reach)>,
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
        let place = if lost.in_process_memory { "process memory" } else { "page cache" };
        let text = format!(
            "appended at {}..{}, queue {queue_id} offset {queue_offset} ({place})",
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
                && may_cite(&record.event)
            {
                self.link(record, &**what);
            }
        }
    }

    /// The first time that each replica received the whole record after its append, the present master's
    /// first.
    fn replication(&mut self, appended: u64) -> Vec<(String, Reach)> {
        let lost = *self.lost;
        let trace = self.trace;
        let mut received: Vec<(String, Reach)> = Vec::new();
        for record in trace.iter().filter(|record| record.ordinal > appended) {
            let TraceEvent::HaReceived { from, to } = record.event else { continue };
            let is_replica = lost.replicas.iter().any(|replica| **replica == *record.source);
            let is_new = received.iter().all(|(replica, _)| **replica != *record.source);
            if is_replica && is_new && from < lost.end_offset && to >= lost.end_offset {
                let ordinal = self.link(record, format!("received the log up to {to}"));
                let reach = Reach { ordinal, to, covers: true };
                received.push((record.source.to_string(), reach));
            }
        }
        received.sort_by_key(|(replica, _)| replica != lost.master_now);
        if received.is_empty() {
            self.sent_in_vain(appended);
        }
        received
    }

    /// The record was sent to a slave, and none received it.
    fn sent_in_vain(&mut self, appended: u64) {
        let lost = *self.lost;
        let trace = self.trace;
        let sent = trace.iter().filter(|record| record.ordinal > appended).find(|record| {
            *record.source == *lost.broker
                && matches!(record.event, TraceEvent::HaSent { from, to, .. }
                    if from < lost.end_offset && to >= lost.end_offset)
        });
        if let Some(record) = sent {
            self.link(record, "sent to a slave that never received it");
        }
    }

    /// The first fault after `event` that took a copy. The event is the acknowledgement, or the append
    /// where the acknowledgement was under way when the last fault struck.
    fn fault(&mut self, event: u64) -> Option<&'a TraceRecord> {
        let lost = *self.lost;
        let trace = self.trace;
        let mut first = None;
        for record in trace.iter().filter(|record| record.ordinal > event) {
            let text = match &record.event {
                TraceEvent::Machine(MachineStep::PowerLost) if self.keeps_log(&record.source) => {
                    "power loss"
                }
                TraceEvent::Machine(MachineStep::DiskDestroyed)
                    if self.keeps_log(&record.source) =>
                {
                    "disk destroyed"
                }
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

    /// Whether a copy of the log lies on a machine.
    fn keeps_log(&self, machine: &str) -> bool {
        self.lost.machines.iter().any(|it| it == machine)
    }

    /// The last commit of the broker before the fault, for a record that waited for one.
    fn last_commit(&mut self, appended: u64, fault: Option<&TraceRecord>) -> Option<Reach> {
        let lost = *self.lost;
        if !lost.in_process_memory {
            return None;
        }
        let until = fault.map_or(u64::MAX, |record| record.ordinal);
        let found = self.trace.iter().rev().find_map(|record| match record.event {
            TraceEvent::Committed { to, .. }
                if record.ordinal < until && *record.source == *lost.broker =>
            {
                Some((record, to))
            }
            _ => None,
        });
        let Some((record, to)) = found else {
            return Some(Reach { ordinal: appended, to: 0, covers: false });
        };
        let covers = to >= lost.end_offset && record.ordinal > appended;
        let verdict = if covers { "covers the record" } else { "does not cover the record" };
        let ordinal =
            self.link(record, format!("last commit before the fault: up to {to}, {verdict}"));
        Some(Reach { ordinal, to, covers })
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
        let mut refusing: Vec<&str> = Vec::new();
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
                    if self.holds_log(&record.source)
                        && *from < lost.end_offset
                        && *to >= lost.end_offset =>
                {
                    let text = format!("{messages} messages at {from}..{to} set aside");
                    self.link(record, text);
                }
                // A slave refuses at every attempt; its first word says it all.
                TraceEvent::RefusedToFollow { reason }
                    if self.holds_log(&record.source) && !refusing.contains(&&*record.source) =>
                {
                    refusing.push(&record.source);
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
        copies: &Copies,
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
        if let Some(commit) = copies.committed.filter(|commit| !commit.covers) {
            return format!(
                "still in the transient store pool, process memory (commits reached {}, #{}), when \
                 {fault}{end}",
                commit.to, commit.ordinal
            );
        }
        if lost.master_now == lost.broker {
            return match copies.synced {
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
        match copies.received.first() {
            Some((replica, reach)) if replica == lost.master_now => {
                format!(
                    "{replica} received it (#{}), yet lacks it after {fault}{end}",
                    reach.ordinal
                )
            }
            Some((replica, reach)) => format!(
                "{} had not received it when {fault}{end}; {replica} had (#{}), and was passed over",
                lost.master_now, reach.ordinal
            ),
            None => format!("{} had not received it when {fault}{end}", lost.master_now),
        }
    }
}

#[cfg(test)]
mod tests;
