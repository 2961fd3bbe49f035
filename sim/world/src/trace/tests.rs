//! What a trace keeps, tells listeners, and digests.

use super::*;

fn trace() -> (WorldTime, Trace) {
    let time = WorldTime::default();
    (time.clone(), Trace::new(time))
}

#[test]
fn equal_runs_have_equal_digests() {
    let run = |text: &str, word: u64| {
        let (time, trace) = trace();
        trace.note("first");
        time.set_ms(5);
        trace.fold(word);
        trace.note(text);
        trace.digest()
    };
    assert_eq!(run("second", 1), run("second", 1));
    assert_ne!(run("second", 1), run("third", 1));
    assert_ne!(run("second", 1), run("second", 2));
}

#[test]
fn what_is_not_kept_is_counted_digested_and_told_all_the_same() {
    let told = |trace: &Trace| {
        let told = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&told);
        trace.listen(
            |_| true,
            move |record| {
                into.lock().unwrap().push(record.ordinal);
                ControlFlow::Continue(())
            },
        );
        trace.note("first");
        trace.op(&trace.name("producer"), 1, "send");
        trace.note("last");
        let told = told.lock().unwrap().clone();
        (told, trace.len(), trace.digest())
    };
    let (_, all) = trace();
    let notes = Trace::keeping(WorldTime::default(), |it| matches!(it, TraceEvent::Note { .. }));
    assert_eq!(told(&all), told(&notes));
    assert_eq!(notes.len(), 3);
    let ordinals = notes.read(|records| records.iter().map(|it| it.ordinal).collect::<Vec<_>>());
    assert_eq!(ordinals, [0, 2]);
}

#[test]
fn a_fault_bites_and_heals_once() {
    let (time, trace) = trace();
    let target = trace.name("m1");
    let fault = trace.fault_started(FaultKind::Partition, &target, "m1 | m2");
    time.set_ms(1);
    trace.fault_bit(fault, "held");
    time.set_ms(2);
    trace.fault_bit(fault, "held again");
    trace.fault_healed(fault, "1 segment");
    trace.fault_healed(fault, "again");
    let faults = trace.faults();
    assert_eq!((faults[0].bitten_us, faults[0].healed_us), (Some(1_000), Some(2_000)));
    assert_eq!(trace.len(), 3);
}

#[test]
fn events_of_a_dead_process_are_not_recorded() {
    let (_, trace) = trace();
    let alive = Arc::new(AtomicBool::new(true));
    let probe = trace.probe(&trace.name("p"), 1, Arc::clone(&alive));
    probe.emit(&Event::Synced { from: 0, to: 1 });
    alive.store(false, Ordering::Relaxed);
    probe.emit(&Event::Synced { from: 1, to: 2 });
    assert_eq!(trace.read(|records| records.len()), 1);
}

#[test]
fn a_listener_sees_the_event_inside_itself_and_may_look_at_the_trace() {
    let (_, trace) = trace();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (inner, into) = (trace.clone(), Arc::clone(&seen));
    let wants = |event: &TraceEvent| matches!(event, TraceEvent::Note { .. });
    trace.listen(wants, move |record| {
        into.lock().unwrap().push((record.ordinal, inner.len()));
        if record.ordinal == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    trace.note("x");
    trace.op(&trace.name("producer"), 1, "is not wanted");
    trace.note("y");
    trace.note("is behind the break");
    assert_eq!(*seen.lock().unwrap(), [(0, 1), (2, 3)]);
}

#[test]
fn a_trigger_resolves_with_the_first_match_after_its_creation() {
    let (_, trace) = trace();
    trace.note("wanted");
    let mut trigger = trace
        .on(|record| matches!(&record.event, TraceEvent::Note { what } if &**what == "wanted"));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut trigger).poll(&mut cx).is_pending());
    trace.note("other");
    assert!(!trace.interrupt().load(Ordering::Relaxed));
    trace.note("wanted");
    trace.note("wanted");
    assert!(trace.interrupt().load(Ordering::Relaxed));
    let Poll::Ready(record) = Pin::new(&mut trigger).poll(&mut cx) else { panic!("not hit") };
    assert_eq!(record.ordinal, 2);
}
