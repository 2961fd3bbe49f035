//! Processes: [`ProcessHandle`], their life and death.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use futures::future::LocalBoxFuture;
use mq_env::Env;
use mq_env::task::TaskGroup;
use tokio::sync::{Notify, oneshot};
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;

use super::core::Core;
use super::machine::{MachineCell, MachineHandle};
use super::panics;
use super::ready::ProcessWaker;
use super::task::{Inbox, ProcessTask};
use crate::env::net::{ClosedSockets, OwnerId};
use crate::trace::{FaultId, FaultKind, Name, ProcessStep, TraceEvent};

/// What a start function is given.
pub struct ProcessContext {
    /// Disk, network, clock, randomness, tasks and probe of this incarnation.
    pub env: Env,
    /// Cancelled when the process is asked to stop; the start function then shuts down in order and
    /// returns. The tasks of `env` are not cancelled by it.
    pub shutdown: CancellationToken,
    /// The name of the process.
    pub name: Name,
    /// 1 for the first start.
    pub incarnation: u32,
}

/// What a start function may return: nothing, or a `Result` whose error is recorded as the reason.
pub trait Exit {
    /// The reason why the process failed, if it did.
    fn into_result(self) -> Result<(), String>;
}

impl Exit for () {
    fn into_result(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: fmt::Display> Exit for Result<(), E> {
    fn into_result(self) -> Result<(), String> {
        self.map_err(|error| error.to_string())
    }
}

/// How a process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessStatus {
    /// It was never started.
    New,
    /// It runs, or would if it were not paused.
    Running,
    /// Its start function returned: `Err` with the reason of a failure.
    Exited(Result<(), Name>),
    /// It was killed.
    Killed,
    /// Its machine lost power under it.
    LostPower,
    /// A task panicked.
    Panicked(Name),
}

/// How [`ProcessHandle::stop`] ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopOutcome {
    /// The process ended in time; this is its status.
    Ended(ProcessStatus),
    /// It did not, and was killed.
    Killed,
}

/// The process is not running, or died before it could answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessGone;

impl fmt::Display for ProcessGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the process is not running")
    }
}

impl std::error::Error for ProcessGone {}

/// A start function.
pub(super) type Main = Rc<dyn Fn(ProcessContext) -> LocalBoxFuture<'static, Result<(), String>>>;

/// Turns any fitting closure into a start function.
pub(super) fn boxed_main<F, Fut>(main: F) -> Main
where
    F: Fn(ProcessContext) -> Fut + 'static,
    Fut: Future<Output: Exit> + 'static,
{
    Rc::new(move |context| {
        let running = main(context);
        Box::pin(async move { running.await.into_result() })
    })
}

/// A process of a world: clones name the same process, across its incarnations.
#[derive(Clone)]
pub struct ProcessHandle {
    pub(super) cell: Rc<ProcessCell>,
}

impl ProcessHandle {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.cell.name
    }

    /// The machine it runs on.
    #[must_use]
    pub fn machine(&self) -> MachineHandle {
        MachineHandle { cell: Rc::clone(&self.cell.machine), core: self.cell.core() }
    }

    /// How it is.
    #[must_use]
    pub fn status(&self) -> ProcessStatus {
        self.cell.status.borrow().clone()
    }

    /// Whether it runs, paused or not.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.cell.life.borrow().is_some()
    }

    /// How often it was started.
    #[must_use]
    pub fn incarnation(&self) -> u32 {
        self.cell.incarnation.get()
    }

    /// The environment of the running incarnation.
    #[must_use]
    pub fn env(&self) -> Option<Env> {
        self.cell.life.borrow().as_ref().map(|life| life.env.clone())
    }

    /// Starts it, with the start function it was added with or last given.
    ///
    /// # Panics
    /// When it runs, or its machine has no power.
    pub fn start(&self) {
        self.cell.start();
    }

    /// Exchanges its start function, from the next start on (an edited configuration, another
    /// version).
    pub fn set_main<F, Fut>(&self, main: F)
    where
        F: Fn(ProcessContext) -> Fut + 'static,
        Fut: Future<Output: Exit> + 'static,
    {
        *self.cell.main.borrow_mut() = Some(boxed_main(main));
    }

    /// Kills it, as `kill -9` does: its heap is gone, what reached the page cache stays, its
    /// sockets are closed by the kernel. A process that does not run gives a fault without effect.
    pub fn kill(&self) -> FaultId {
        self.cell.kill()
    }

    /// Kills it if it runs, and starts it.
    ///
    /// # Panics
    /// When its machine has no power.
    pub fn restart(&self) {
        if self.is_running() {
            self.kill();
        }
        self.start();
    }

    /// Asks it to stop and waits until it ends; after `deadline` it is killed.
    pub async fn stop(&self, deadline: Duration) -> StopOutcome {
        self.request_stop();
        match tokio::time::timeout(deadline, self.ended()).await {
            Ok(status) => StopOutcome::Ended(status),
            Err(_) => {
                self.kill();
                StopOutcome::Killed
            }
        }
    }

    /// Asks it to stop and does not wait.
    pub fn request_stop(&self) {
        if let Some(life) = &*self.cell.life.borrow() {
            self.cell.record(TraceEvent::Process(ProcessStep::StopRequested));
            life.shutdown.cancel();
        }
    }

    /// Resolves when it does not run (any more), with how it ended.
    pub async fn ended(&self) -> ProcessStatus {
        loop {
            let changed = self.cell.ended.notified();
            if !self.is_running() {
                return self.status();
            }
            changed.await;
        }
    }

    /// Stops scheduling it (SIGSTOP, a long garbage collection). Its timers fire late; its sockets
    /// stay open and accept bytes up to the window. Does nothing to a process that is paused.
    pub fn pause(&self) -> FaultId {
        self.cell.pause()
    }

    /// Schedules it again.
    pub fn resume(&self) {
        self.cell.resume("resumed");
    }

    /// Whether it is paused.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.cell.paused.get().is_some()
    }

    /// Runs `code` as a task of the process and waits for what it returns.
    ///
    /// # Errors
    /// [`ProcessGone`] when the process does not run, or ends first.
    pub async fn run<T, Fut>(&self, code: impl FnOnce(Env) -> Fut) -> Result<T, ProcessGone>
    where
        T: 'static,
        Fut: Future<Output = T> + 'static,
    {
        let (done, result) = oneshot::channel();
        let env = self.env().ok_or(ProcessGone)?;
        let running = code(env);
        self.cell.spawn_local(Box::pin(async move {
            let _ = done.send(running.await);
        }));
        result.await.map_err(|_| ProcessGone)
    }
}

impl fmt::Debug for ProcessHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Process({}, {:?})", self.cell.name, self.status())
    }
}

/// A process across its incarnations.
pub(super) struct ProcessCell {
    pub(super) name: Name,
    pub(super) machine: Rc<MachineCell>,
    core: Weak<Core>,
    main: RefCell<Option<Main>>,
    waker: Arc<ProcessWaker>,
    task_waker: Waker,
    incarnation: Cell<u32>,
    life: RefCell<Option<Life>>,
    status: RefCell<ProcessStatus>,
    ended: Notify,
    paused: Cell<Option<FaultId>>,
    /// It was woken while paused.
    withheld: Cell<bool>,
    /// The kill that the next start heals.
    killed_by: Cell<Option<FaultId>>,
}

/// One incarnation.
struct Life {
    owner: OwnerId,
    env: Env,
    shutdown: CancellationToken,
    inbox: Arc<Inbox>,
    /// Absent while it is being polled.
    tasks: Option<LocalSet>,
    /// Tasks that are not `Send`, not yet in `tasks`.
    local_spawned: Vec<LocalBoxFuture<'static, ()>>,
    /// What the start function returned.
    exit: Rc<Cell<Option<Result<(), String>>>>,
}

impl ProcessCell {
    pub(super) fn new(
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
    pub(super) fn core(&self) -> Rc<Core> {
        self.core.upgrade().expect("handles are used while their world runs")
    }

    pub(super) fn task_polls(&self) -> u64 {
        self.life.borrow().as_ref().map_or(0, |life| life.inbox.polls())
    }

    fn record(&self, event: TraceEvent) {
        self.core().trace.record(&self.name, self.incarnation.get(), event);
    }

    pub(super) fn is_running(&self) -> bool {
        self.life.borrow().is_some()
    }

    pub(super) fn start(self: &Rc<Self>) {
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
        let rng_name = format!("{}#{incarnation}", self.name);
        let env = Env {
            disk: self.machine.disk_handle(&self.name),
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
    fn spawn_local(&self, task: LocalBoxFuture<'static, ()>) {
        if let Some(life) = &mut *self.life.borrow_mut() {
            life.local_spawned.push(task);
            self.waker.wake_by_ref();
        }
    }

    /// Lets the process run until nothing in it is ready.
    pub(super) fn poll(self: &Rc<Self>) {
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

    fn kill(&self) -> FaultId {
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
    pub(super) fn end(&self, step: ProcessStep) -> Option<ClosedSockets> {
        let life = self.life.borrow_mut().take()?;
        let core = self.core();
        life.inbox.die();
        self.machine.process_died(&life.env);
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

    pub(super) fn pause(&self) -> FaultId {
        if let Some(fault) = self.paused.get() {
            return fault;
        }
        let fault = self.core().trace.fault_started(FaultKind::Pause, &self.name, "");
        if self.is_running() {
            self.paused.set(Some(fault));
        }
        fault
    }

    pub(super) fn resume(&self, effect: &str) {
        let Some(fault) = self.paused.take() else { return };
        self.core().trace.fault_healed(fault, effect);
        if self.withheld.take() {
            self.waker.wake_by_ref();
        }
    }

    /// Ends it without a word, because its world ends.
    pub(super) fn discard(&self) {
        let life = self.life.borrow_mut().take();
        self.main.take();
        if let Some(life) = life {
            life.inbox.die();
            self.free(life);
        }
    }
}
