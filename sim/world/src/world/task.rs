//! Tasks of a process: [`Inbox`], the spawner of its environment, and [`ProcessTask`], the wrapper
//! that ends the process when a task panics.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake};

use mq_env::BoxFuture;
use mq_env::task::Spawner;

use super::panics;
use super::ready::ProcessWaker;

/// What the tasks of one process incarnation share with the driver.
pub(super) struct Inbox {
    /// Cleared at the instant of death; shared with the process's probe.
    pub(super) alive: Arc<AtomicBool>,
    /// Set while the scenario must have its turn before this process goes on.
    interrupt: Arc<AtomicBool>,
    /// Tasks spawned and not yet handed to the `LocalSet`.
    spawned: Mutex<VecDeque<(&'static str, BoxFuture<'static, ()>)>>,
    /// The panic that ends the process.
    panic: Mutex<Option<(&'static str, String)>>,
    waker: Arc<ProcessWaker>,
    polls: AtomicU64,
}

impl Inbox {
    pub(super) fn new(waker: Arc<ProcessWaker>, interrupt: Arc<AtomicBool>) -> Arc<Self> {
        Arc::new(Inbox {
            alive: Arc::new(AtomicBool::new(true)),
            interrupt,
            spawned: Mutex::default(),
            panic: Mutex::default(),
            waker,
            polls: AtomicU64::new(0),
        })
    }

    pub(super) fn next_spawned(&self) -> Option<(&'static str, BoxFuture<'static, ()>)> {
        lock(&self.spawned).pop_front()
    }

    pub(super) fn has_spawned(&self) -> bool {
        !lock(&self.spawned).is_empty()
    }

    pub(super) fn take_panic(&self) -> Option<(&'static str, String)> {
        lock(&self.panic).take()
    }

    pub(super) fn polls(&self) -> u64 {
        self.polls.load(Ordering::Relaxed)
    }

    pub(super) fn die(&self) {
        self.alive.store(false, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Spawner for Inbox {
    /// Queues the task for the driver, so that code outside the process may spawn in it, too. What
    /// a dead process spawns is dropped.
    fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>) {
        if self.alive.load(Ordering::Relaxed) {
            lock(&self.spawned).push_back((name, future));
            self.waker.wake_by_ref();
        }
    }
}

/// A task of a process. Does nothing any more once the process is dead, and nothing yet while the
/// scenario must have its turn.
pub(super) struct ProcessTask<F> {
    name: &'static str,
    inbox: Arc<Inbox>,
    future: F,
}

impl<F> ProcessTask<F> {
    pub(super) fn new(name: &'static str, inbox: Arc<Inbox>, future: F) -> Self {
        ProcessTask { name, inbox, future }
    }
}

impl<F: Future<Output = ()> + Unpin> Future for ProcessTask<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.inbox.alive.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        if self.inbox.interrupt.load(Ordering::Relaxed) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.inbox.polls.fetch_add(1, Ordering::Relaxed);
        let future = Pin::new(&mut self.future);
        match std::panic::catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(poll) => poll,
            Err(_) => {
                let text = panics::take_last().unwrap_or_else(|| "no message".to_owned());
                self.inbox.die();
                lock(&self.inbox.panic).get_or_insert((self.name, text));
                self.inbox.waker.wake_by_ref();
                Poll::Ready(())
            }
        }
    }
}
