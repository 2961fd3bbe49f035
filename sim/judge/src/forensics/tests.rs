//! Chains follow the events, and the events only.

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
    told(trace, master_now, 4, false)
}

fn told(trace: &[TraceRecord], master_now: &str, acked: u64, in_process_memory: bool) -> Fate {
    let replicas = ["a-s", "a-s2"].map(str::to_owned);
    let lost = LostMessage {
        number: 7,
        broker: "a",
        phy_offset: 100,
        end_offset: 200,
        acked,
        in_process_memory,
        replicas: &replicas,
        machines: &["10.0.1.1".to_owned(), "10.0.1.2".to_owned()],
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
    let found = told(&under_way, "a", 5, false);
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
fn what_only_the_process_had_is_named() {
    let mut trace = story();
    let killed = TraceEvent::Process(ProcessStep::Killed);
    trace[4] = record(5, "a", killed);
    let committed = |ordinal, to| record(ordinal, "a", TraceEvent::Committed { from: 0, to });
    trace[1] = committed(2, 100);
    let found = told(&trace, "a", 4, true);
    assert!(found.links.iter().any(|link| link.text.ends_with("(process memory)")));
    assert_eq!(
        found.reason,
        "still in the transient store pool, process memory (commits reached 100, #2), when the \
         process was killed (#5); a ends at 100 (#6)"
    );
    trace.insert(4, committed(4, 250));
    assert!(told(&trace, "a", 4, true).reason.starts_with("never synced"), "it was committed");
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

#[test]
fn only_machines_that_keep_the_log_matter() {
    let mut trace = story();
    trace[4].source = "10.9.0.3".into();
    assert!(fate(&trace, "a").reason.contains("no fault"), "a client's machine lost power");
}

#[test]
fn a_slave_that_had_it_and_was_passed_over_is_named() {
    let mut trace = story();
    trace.insert(4, record(4, "a-s2", TraceEvent::HaReceived { from: 100, to: 250 }));
    let reason = fate(&trace, "a-s").reason;
    assert!(reason.ends_with("; a-s2 had (#4), and was passed over"), "{reason}");
}

#[test]
fn a_refusal_is_told_once_and_only_of_those_that_keep_the_log() {
    let mut trace = story();
    for (ordinal, source) in [(7, "b-s"), (8, "a-s"), (9, "a-s"), (10, "b-s"), (11, "a-s2")] {
        let reason = "no common history".into();
        trace.push(record(ordinal, source, TraceEvent::RefusedToFollow { reason }));
    }
    let links = fate(&trace, "a").links;
    let refusals = links.iter().filter(|link| link.text.starts_with("refuses to follow"));
    let sources: Vec<&str> = refusals.map(|link| &*link.source).collect();
    assert_eq!(sources, ["a-s", "a-s2"]);
}
