//! Processes: [`ProcessHandle`], their life and death.

mod life;

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use mq_env::Env;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::machine::MachineHandle;
use crate::trace::{FaultId, Name, ProcessStep, TraceEvent};

pub(super) use life::ProcessCell;

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
pub type Main = Rc<dyn Fn(ProcessContext) -> LocalBoxFuture<'static, Result<(), String>>>;

/// Turns any fitting closure into a start function.
pub fn boxed_main<F, Fut>(main: F) -> Main
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

    /// Runs `code` as a task of the process, which drops it when it ends.
    ///
    /// # Errors
    /// [`ProcessGone`] when the process does not run.
    pub fn spawn<Fut>(&self, code: impl FnOnce(Env) -> Fut) -> Result<(), ProcessGone>
    where
        Fut: Future<Output = ()> + 'static,
    {
        let env = self.env().ok_or(ProcessGone)?;
        self.cell.spawn_local(Box::pin(code(env)));
        Ok(())
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
        self.spawn(|env| {
            let running = code(env);
            async move {
                let _ = done.send(running.await);
            }
        })?;
        result.await.map_err(|_| ProcessGone)
    }
}

impl fmt::Debug for ProcessHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Process({}, {:?})", self.cell.name, self.status())
    }
}
