//! [`Trace`]: everything that happened in a run, in order, with its simulated time.
//!
//! The trace is where a run is looked at from outside: checkers and forensics read it, scenarios
//! wait for events in it ([`Trace::on`]), and its digest says whether two runs of one seed were the
//! same. Recording costs no allocation for the frequent events: names are shared.
//!
//! Besides the recorded events the digest covers every delivered segment ([`Trace::fold`]), and each
//! record carries the digest up to itself: the first record whose digest differs bounds where two
//! runs parted. A trace that nobody will read as a whole need not keep everything
//! ([`Trace::keeping`]): what it drops is counted, digested and told to listeners all the same.
//!
//! Modules: [`event`] (what is recorded), [`fault`] (the stories of faults), `convert` (from probe
//! events), `render` (one line per event), [`digest`].

mod convert;
pub mod digest;
pub mod event;
pub mod fault;
mod render;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use mq_env::collections::HashSet;
use mq_env::probe::{Event, Observer, Probe};

use crate::clock::WorldTime;

pub use digest::Digest;
pub use event::{MachineStep, ProcessStep, TraceEvent, UniqKey};
pub use fault::{FaultId, FaultKind, FaultSummary};

/// A shared text: a process, machine, topic, group or reason.
pub type Name = Arc<str>;

/// One event with its time and origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceRecord {
    /// Its place in the trace, from 0.
    pub ordinal: u64,
    /// Simulated microseconds since the world began.
    pub at_us: u64,
    /// The process it happened in, else the machine, else `net` or `world`.
    pub source: Name,
    /// The incarnation of the process, from 1; 0 where there is no process.
    pub incarnation: u32,
    /// The digest of the run up to and including this event.
    pub digest: u64,
    /// What happened.
    pub event: TraceEvent,
}

impl fmt::Display for TraceRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        render::record(self, f)
    }
}

/// A handle to the trace of a run; clones share it. It outlives the world.
#[derive(Clone)]
pub struct Trace {
    time: WorldTime,
    state: Arc<Mutex<State>>,
    interrupt: Arc<AtomicBool>,
}

/// Events for which there is room from the start: most runs have fewer, and untouched room costs
/// nothing, while a growing trace is copied.
const RECORDS_AT_FIRST: usize = 1 << 20;

/// Who is told of events, and of which.
struct Listener {
    wants: fn(&TraceEvent) -> bool,
    tell: Box<Tell>,
}

type Tell = dyn FnMut(&TraceRecord) -> ControlFlow<()> + Send;

/// Which events a trace keeps.
pub type Keeps = fn(&TraceEvent) -> bool;

struct State {
    keeps: Keeps,
    records: Vec<TraceRecord>,
    /// Events so far, kept or not.
    count: u64,
    digest: Digest,
    names: Names,
    faults: Vec<FaultSummary>,
    listeners: Vec<Listener>,
}

/// The texts that occurred so far.
#[derive(Default)]
struct Names(HashSet<Name>);

impl Names {
    fn get(&mut self, text: &str) -> Name {
        if let Some(name) = self.0.get(text) {
            return Arc::clone(name);
        }
        let name = Name::from(text);
        self.0.insert(Arc::clone(&name));
        name
    }
}

impl Trace {
    /// An empty trace that takes its times from `time` and keeps everything.
    #[must_use]
    pub fn new(time: WorldTime) -> Self {
        Trace::keeping(time, |_| true)
    }

    /// An empty trace that takes its times from `time` and keeps what `keeps` says.
    #[must_use]
    pub fn keeping(time: WorldTime, keeps: Keeps) -> Self {
        let state = State {
            keeps,
            records: Vec::with_capacity(RECORDS_AT_FIRST),
            count: 0,
            digest: Digest::default(),
            names: Names::default(),
            faults: Vec::new(),
            listeners: Vec::new(),
        };
        Trace { time, state: Arc::new(Mutex::new(state)), interrupt: Arc::default() }
    }

    /// Simulated microseconds since the world began.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        self.time.now_us()
    }

    /// The shared form of `text`.
    #[must_use]
    pub fn name(&self, text: &str) -> Name {
        self.lock().names.get(text)
    }

    /// Records an event of `source` now; returns its ordinal.
    pub fn record(&self, source: &Name, incarnation: u32, event: TraceEvent) -> u64 {
        self.add(self.lock(), source, incarnation, event)
    }

    /// Records a remark of the scenario; returns its ordinal.
    pub fn note(&self, what: &str) -> u64 {
        let (world, what) = (self.name("world"), self.name(what));
        self.record(&world, 0, TraceEvent::Note { what })
    }

    /// Records the start or the end of client operation `op` of process `source`, in words.
    pub fn op(&self, source: &Name, op: u64, what: &str) -> u64 {
        let what = self.name(what);
        self.record(source, 0, TraceEvent::Op { op, what })
    }

    /// Mixes a value into the digest without recording an event.
    pub fn fold(&self, word: u64) {
        self.lock().digest.write_u64(word);
    }

    /// A probe whose events become records of `source`, for as long as `alive` is set: what runs
    /// while a dead process is torn down never happened.
    #[must_use]
    pub fn probe(&self, source: &Name, incarnation: u32, alive: Arc<AtomicBool>) -> Probe {
        let source = Arc::clone(source);
        Probe::to(Arc::new(ProcessObserver { trace: self.clone(), source, incarnation, alive }))
    }

    /// Resolves with the first event recorded from now on that `matches`. The process that caused
    /// it does not run beyond its current await before the scenario had its turn, so a fault
    /// injected on an event strikes at that event.
    ///
    /// `matches` runs inside the event, on whatever task caused it: it may look at disks and at the
    /// trace, and must not touch the world or the network.
    pub fn on(
        &self,
        mut matches: impl FnMut(&TraceRecord) -> bool + Send + 'static,
    ) -> TriggerFuture {
        let shared = Arc::new(Mutex::new(TriggerState::default()));
        let weak = Arc::downgrade(&shared);
        let interrupt = Arc::clone(&self.interrupt);
        self.listen(
            |_| true,
            move |record| {
                let Some(shared) = weak.upgrade() else { return ControlFlow::Break(()) };
                if !matches(record) {
                    return ControlFlow::Continue(());
                }
                interrupt.store(true, Ordering::Relaxed);
                let mut trigger = shared.lock().unwrap_or_else(PoisonError::into_inner);
                trigger.hit = Some(record.clone());
                if let Some(waker) = trigger.waker.take() {
                    waker.wake();
                }
                ControlFlow::Break(())
            },
        );
        TriggerFuture { shared }
    }

    /// Calls `tell` with every event recorded from now on that it `wants`, inside the event and before
    /// anything else runs, until it breaks. Events that a listener itself records are not announced.
    /// It must not touch the world or the network.
    pub fn listen(
        &self,
        wants: fn(&TraceEvent) -> bool,
        tell: impl FnMut(&TraceRecord) -> ControlFlow<()> + Send + 'static,
    ) {
        self.lock().listeners.push(Listener { wants, tell: Box::new(tell) });
    }

    /// Number of events, kept or not.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.lock().count).unwrap_or(usize::MAX)
    }

    /// Whether nothing happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The digest of the run so far.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.lock().digest.finish()
    }

    /// Looks at the events kept so far without copying them. `look` must not use the trace.
    pub fn read<R>(&self, look: impl FnOnce(&[TraceRecord]) -> R) -> R {
        look(&self.lock().records)
    }

    /// A copy of the events kept so far.
    #[must_use]
    pub fn records(&self) -> Vec<TraceRecord> {
        self.lock().records.clone()
    }

    /// The faults so far, in the order of their injection.
    #[must_use]
    pub fn faults(&self) -> Vec<FaultSummary> {
        self.lock().faults.clone()
    }

    /// Records that a fault was injected.
    pub fn fault_started(&self, kind: FaultKind, target: &Name, detail: &str) -> FaultId {
        self.started(kind, target, detail, Vec::new())
    }

    /// Records that a fault of links was injected, with the machines at the ends of each.
    pub fn link_fault_started(
        &self,
        kind: FaultKind,
        links: Vec<[Name; 2]>,
        detail: &str,
    ) -> FaultId {
        self.started(kind, &self.name("net"), detail, links)
    }

    fn started(
        &self,
        kind: FaultKind,
        target: &Name,
        detail: &str,
        links: Vec<[Name; 2]>,
    ) -> FaultId {
        let mut state = self.lock();
        let at_us = self.time.now_us();
        let fault = FaultId(u32::try_from(state.faults.len()).unwrap_or(u32::MAX));
        let detail = state.names.get(detail);
        state.faults.push(FaultSummary {
            id: fault,
            kind,
            target: Arc::clone(target),
            detail: Arc::clone(&detail),
            links,
            started_us: at_us,
            bitten_us: None,
            healed_us: None,
        });
        self.add(state, target, 0, TraceEvent::FaultStarted { fault, kind, detail });
        fault
    }

    /// Records that a fault took effect, the first time it is told so.
    pub fn fault_bit(&self, fault: FaultId, what: &str) {
        let mut state = self.lock();
        let at_us = self.time.now_us();
        let Some(summary) = state.faults.get_mut(fault.0 as usize) else { return };
        if summary.bitten_us.is_some() {
            return;
        }
        summary.bitten_us = Some(at_us);
        let (kind, target) = (summary.kind, Arc::clone(&summary.target));
        let what = state.names.get(what);
        self.add(state, &target, 0, TraceEvent::FaultBit { fault, kind, what });
    }

    /// Records that a fault was taken away, the first time it is told so.
    pub fn fault_healed(&self, fault: FaultId, effect: &str) {
        let mut state = self.lock();
        let at_us = self.time.now_us();
        let Some(summary) = state.faults.get_mut(fault.0 as usize) else { return };
        if summary.healed_us.is_some() {
            return;
        }
        summary.healed_us = Some(at_us);
        let (kind, target) = (summary.kind, Arc::clone(&summary.target));
        let effect = state.names.get(effect);
        self.add(state, &target, 0, TraceEvent::FaultHealed { fault, kind, effect });
    }

    /// The flag that is set while a trigger has fired and the scenario has not had its turn.
    pub(crate) fn interrupt(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.interrupt)
    }

    /// Forgets all listeners (they may hold what holds the trace).
    pub fn forget_listeners(&self) {
        let listeners = std::mem::take(&mut self.lock().listeners);
        drop(listeners);
    }

    /// Digests an event, keeps it if it is one to keep, and announces it; listeners run without the lock.
    /// Returns its ordinal.
    fn add(
        &self,
        mut state: MutexGuard<'_, State>,
        source: &Name,
        incarnation: u32,
        event: TraceEvent,
    ) -> u64 {
        let record = state.digested(self.time.now_us(), source, incarnation, event);
        let ordinal = record.ordinal;
        let is_kept = (state.keeps)(&record.event);
        if !state.listeners.iter().any(|who| (who.wants)(&record.event)) {
            if is_kept {
                state.records.push(record);
            }
            return ordinal;
        }
        if is_kept {
            state.records.push(record.clone());
        }
        let mut listeners = std::mem::take(&mut state.listeners);
        drop(state);
        listeners
            .retain_mut(|who| !(who.wants)(&record.event) || (who.tell)(&record).is_continue());
        let mut state = self.lock();
        listeners.append(&mut state.listeners);
        state.listeners = listeners;
        ordinal
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The next record.
    fn digested(
        &mut self,
        at_us: u64,
        source: &Name,
        incarnation: u32,
        event: TraceEvent,
    ) -> TraceRecord {
        (at_us, source, incarnation, &event).hash(&mut self.digest);
        let (source, digest, ordinal) = (Arc::clone(source), self.digest.finish(), self.count);
        self.count += 1;
        TraceRecord { ordinal, at_us, source, incarnation, digest, event }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lock().records.iter().try_for_each(|record| writeln!(f, "{record}"))
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trace({} events, digest {:016x})", self.len(), self.digest())
    }
}

struct ProcessObserver {
    trace: Trace,
    source: Name,
    incarnation: u32,
    alive: Arc<AtomicBool>,
}

impl Observer for ProcessObserver {
    fn event(&self, event: &Event<'_>) {
        if !self.alive.load(Ordering::Relaxed) {
            return;
        }
        let mut state = self.trace.lock();
        let event = convert::owned(event, &mut state.names);
        self.trace.add(state, &self.source, self.incarnation, event);
    }
}

/// Waits for an event; see [`Trace::on`]. Dropping it gives up waiting.
pub struct TriggerFuture {
    shared: Arc<Mutex<TriggerState>>,
}

#[derive(Default)]
struct TriggerState {
    hit: Option<TraceRecord>,
    waker: Option<Waker>,
}

impl Future for TriggerFuture {
    type Output = TraceRecord;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TraceRecord> {
        let mut trigger = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        match trigger.hit.take() {
            Some(record) => Poll::Ready(record),
            None => {
                trigger.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests;
