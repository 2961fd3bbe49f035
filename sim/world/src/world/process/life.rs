//! The inside of a process: [`ProcessCell`] across its incarnations, and how it is polled and ends.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use futures::future::LocalBoxFuture;
use mq_env::Env;
use mq_env::task::TaskGroup;
use tokio::sync::Notify;
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;

use super::{Main, ProcessContext, ProcessStatus};
use crate::disk::EpochId;
use crate::net::{ClosedSockets, OwnerId};
use crate::trace::{FaultId, FaultKind, Name, ProcessStep, TraceEvent};
use crate::world::core::Core;
use crate::world::machine::MachineCell;
use crate::world::panics;
use crate::world::ready::ProcessWaker;
use crate::world::task::{Inbox, ProcessTask};

/// A process across its incarnations.
pub(in crate::world) struct ProcessCell {
    pub(in crate::world) name: Name,
    pub(in crate::world) machine: Rc<MachineCell>,
    core: Weak<Core>,
    pub(in crate::world) main: RefCell<Option<Main>>,
    waker: Arc<ProcessWaker>,
    task_waker: Waker,
    pub(in crate::world) incarnation: Cell<u32>,
    pub(in crate::world) life: RefCell<Option<Life>>,
    pub(in crate::world) status: RefCell<ProcessStatus>,
    pub(in crate::world) ended: Notify,
    pub(in crate::world) paused: Cell<Option<FaultId>>,
    /// It was woken while paused.
    withheld: Cell<bool>,
    /// The kill that the next start heals.
    killed_by: Cell<Option<FaultId>>,
}

/// One incarnation.
pub(in crate::world) struct Life {
    owner: OwnerId,
    /// Its way to the machine's disk.
    epoch: EpochId,
    pub(in crate::world) env: Env,
    pub(in crate::world) shutdown: CancellationToken,
    inbox: Arc<Inbox>,
    /// Absent while it is being polled.
    tasks: Option<LocalSet>,
    /// Tasks that are not `Send`, not yet in `tasks`.
    local_spawned: Vec<LocalBoxFuture<'static, ()>>,
    /// What the start function returned.
    exit: Rc<Cell<Option<Result<(), String>>>>,
}

impl ProcessCell {
    pub(in crate::world) fn new(
        core: &Rc<Core>,
        index: usize,
        name: Name,
        machine: Rc<MachineCell>,
        main: Main,
    ) -> Rc<Self> {
        let waker = core.process_waker(index);
        Rc::new(ProcessCell {
            name,
            machine,
            core: Rc::downgrade(core),
            main: RefCell::new(Some(main)),
            task_waker: Waker::from(Arc::clone(&waker)),
            waker,
            incarnation: Cell::new(0),
            life: RefCell::new(None),
            status: RefCell::new(ProcessStatus::New),
            ended: Notify::new(),
            paused: Cell::new(None),
            withheld: Cell::new(false),
            killed_by: Cell::new(None),
        })
    }

    /// # Panics
    /// When the world is gone.
    pub(in crate::world) fn core(&self) -> Rc<Core> {
        self.core.upgrade().expect("handles are used while their world runs")
    }

    pub(in crate::world) fn task_polls(&self) -> u64 {
        self.life.borrow().as_ref().map_or(0, |life| life.inbox.polls())
    }

    pub(in crate::world) fn record(&self, event: TraceEvent) {
        self.core().trace.record(&self.name, self.incarnation.get(), event);
    }

    pub(in crate::world) fn is_running(&self) -> bool {
        self.life.borrow().is_some()
    }

    pub(in crate::world) fn start(self: &Rc<Self>) {
        let core = self.core();
        assert!(!self.is_running(), "{} runs already", self.name);
        assert!(self.machine.is_on(), "{}: its machine has no power", self.name);
        let incarnation = self.incarnation.get() + 1;
        self.incarnation.set(incarnation);
        if let Some(fault) = self.killed_by.take() {
            core.trace.fault_healed(fault, "started again");
        }
        let inbox = Inbox::new(Arc::clone(&self.waker), Arc::clone(&core.interrupt));
        let owner = core.fabric.add_owner(self.machine.id);
        let disk = self.machine.disk.handle(&self.name);
        let epoch = disk.epoch();
        let rng_name = format!("{}#{incarnation}", self.name);
        let env = Env {
            disk,
            net: core.fabric.net(owner),
            clock: Arc::clone(&self.machine.clock) as Arc<dyn mq_env::clock::Clock>,
            rng: core.rng.child("process").child(&rng_name),
            tasks: TaskGroup::new(Arc::clone(&inbox) as Arc<dyn mq_env::task::Spawner>),
            probe: core.trace.probe(&self.name, incarnation, Arc::clone(&inbox.alive)),
        };
        let shutdown = CancellationToken::new();
        let exit = Rc::new(Cell::new(None));
        *self.status.borrow_mut() = ProcessStatus::Running;
        *self.life.borrow_mut() = Some(Life {
            owner,
            epoch,
            env: env.clone(),
            shutdown: shutdown.clone(),
            inbox,
            tasks: Some(LocalSet::new()),
            local_spawned: Vec::new(),
            exit: Rc::clone(&exit),
        });
        self.record(TraceEvent::Process(ProcessStep::Started));
        let context = ProcessContext { env, shutdown, name: Name::clone(&self.name), incarnation };
        let main = self.main.borrow().clone().expect("a world that runs has all its processes");
        // The start function is code of the process: it runs when the process is polled.
        self.spawn_local(Box::pin(async move { exit.set(Some(main(context).await)) }));
    }

    /// Adds a task to the running incarnation.
    pub(in crate::world) fn spawn_local(&self, task: LocalBoxFuture<'static, ()>) {
        if let Some(life) = &mut *self.life.borrow_mut() {
            life.local_spawned.push(task);
            self.waker.wake_by_ref();
        }
    }

    /// Lets the process run until nothing in it is ready.
    pub(in crate::world) fn poll(self: &Rc<Self>) {
        self.waker.taken();
        let core = self.core();
        if let Some(fault) = self.paused.get() {
            self.withheld.set(true);
            core.trace.fault_bit(fault, "the process had something to do");
            return;
        }
        let Some((owner, inbox, mut tasks)) = self.take_tasks() else { return };
        core.process_polls.set(core.process_polls.get() + 1);
        while let Some((name, future)) = inbox.next_spawned() {
            tasks.spawn_local(ProcessTask::new(name, Arc::clone(&inbox), future));
        }
        let mut cx = Context::from_waker(&self.task_waker);
        let _ = panics::inside(|| Pin::new(&mut tasks).poll(&mut cx));
        self.after_poll(owner, &inbox, tasks);
    }

    /// Takes the tasks out for a poll, so that the process's own code may use the world.
    fn take_tasks(&self) -> Option<(OwnerId, Arc<Inbox>, LocalSet)> {
        let mut life = self.life.borrow_mut();
        let life = life.as_mut()?;
        let tasks = life.tasks.take()?;
        for future in std::mem::take(&mut life.local_spawned) {
            let task = ProcessTask::new("main", Arc::clone(&life.inbox), future);
            tasks.spawn_local(task);
        }
        Some((life.owner, Arc::clone(&life.inbox), tasks))
    }

    fn after_poll(self: &Rc<Self>, owner: OwnerId, inbox: &Arc<Inbox>, tasks: LocalSet) {
        let mut life = self.life.borrow_mut();
        let Some(current) = life.as_mut().filter(|life| life.owner == owner) else {
            // It ended itself, by way of the world.
            drop(life);
            return self.drop_tasks(tasks);
        };
        current.tasks = Some(tasks);
        let exit = current.exit.take();
        let more = inbox.has_spawned() || !current.local_spawned.is_empty();
        drop(life);
        if let Some((task, text)) = inbox.take_panic() {
            self.core().fail(&self.name, task, text.clone());
            let text = self.core().trace.name(&text);
            self.end(ProcessStep::Panicked { task, text });
        } else if let Some(exit) = exit {
            self.end(match exit {
                Ok(()) => ProcessStep::Exited,
                Err(error) => ProcessStep::Failed { error: self.core().trace.name(&error) },
            });
        } else if more {
            self.waker.wake_by_ref();
        }
    }

    pub(in crate::world) fn kill(&self) -> FaultId {
        let core = self.core();
        let fault = core.trace.fault_started(FaultKind::Kill, &self.name, "");
        if let Some(closed) = self.end(ProcessStep::Killed) {
            let ClosedSockets { connections, listeners } = closed;
            let what = format!("{connections} connections and {listeners} listeners closed");
            core.trace.fault_bit(fault, &what);
            self.killed_by.set(Some(fault));
        }
        fault
    }

    /// Ends the running incarnation: first the kernel forgets it, then its memory is freed.
    /// Returns what sockets it left, or `None` if it did not run.
    pub(in crate::world) fn end(&self, step: ProcessStep) -> Option<ClosedSockets> {
        let life = self.life.borrow_mut().take()?;
        let core = self.core();
        life.inbox.die();
        self.machine.disk.process_died(life.epoch);
        let closed = core.fabric.process_died(life.owner);
        *self.status.borrow_mut() = match &step {
            ProcessStep::Failed { error } => ProcessStatus::Exited(Err(Name::clone(error))),
            ProcessStep::Killed => ProcessStatus::Killed,
            ProcessStep::LostPower => ProcessStatus::LostPower,
            ProcessStep::Panicked { text, .. } => ProcessStatus::Panicked(Name::clone(text)),
            ProcessStep::Exited | ProcessStep::Started | ProcessStep::StopRequested => {
                ProcessStatus::Exited(Ok(()))
            }
        };
        self.record(TraceEvent::Process(step));
        self.resume("the process ended");
        core.task_polls.set(core.task_polls.get() + life.inbox.polls());
        self.free(life);
        self.ended.notify_waiters();
        Some(closed)
    }

    /// Drops what an incarnation had on its heap.
    fn free(&self, mut life: Life) {
        let tasks = life.tasks.take();
        while life.inbox.next_spawned().is_some() {}
        panics::inside(|| drop(life));
        if let Some(tasks) = tasks {
            self.drop_tasks(tasks);
        }
    }

    /// Drops the tasks of a dead incarnation. Its `Drop` code can do no harm, but must not panic.
    fn drop_tasks(&self, tasks: LocalSet) {
        panics::inside(|| drop(tasks));
        if let Some(text) = panics::take_last() {
            self.core().fail(&self.name, "drop", text);
        }
    }

    pub(in crate::world) fn pause(&self) -> FaultId {
        if let Some(fault) = self.paused.get() {
            return fault;
        }
        let fault = self.core().trace.fault_started(FaultKind::Pause, &self.name, "");
        if self.is_running() {
            self.paused.set(Some(fault));
        }
        fault
    }

    pub(in crate::world) fn resume(&self, effect: &str) {
        let Some(fault) = self.paused.take() else { return };
        self.core().trace.fault_healed(fault, effect);
        if self.withheld.take() {
            self.waker.wake_by_ref();
        }
    }

    /// Ends it without a word, because its world ends.
    pub(in crate::world) fn discard(&self) {
        let life = self.life.borrow_mut().take();
        self.main.take();
        if let Some(life) = life {
            life.inbox.die();
            self.free(life);
        }
    }
}
