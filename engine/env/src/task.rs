//! Tasks of a process: [`TaskGroup`], through which alone the engine spawns.
//!
//! Groups form a tree; cancelling one cancels its children. Java's `ServiceThread` becomes an
//! `async fn run(self)` spawned here that leaves when [`TaskGroup::cancelled`] resolves. A crash of
//! the process drops the futures at any await, and `Drop` code runs: durability and marker files
//! are therefore the business of `shutdown().await`, never of `Drop`.

use std::sync::Arc;

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;

use crate::BoxFuture;

/// How a backend runs a task. A panic of a task ends the process: the backend's business.
pub trait Spawner: Send + Sync {
    /// Runs `future` as a task called `name`.
    fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>);
}

/// The tasks of a process, or of a part of it.
#[derive(Clone)]
pub struct TaskGroup {
    spawner: Arc<dyn Spawner>,
    token: CancellationToken,
    tracker: TaskTracker,
}

impl TaskGroup {
    /// A root group.
    #[must_use]
    pub fn new(spawner: Arc<dyn Spawner>) -> Self {
        TaskGroup { spawner, token: CancellationToken::new(), tracker: TaskTracker::new() }
    }

    /// A group that ends with this one, or earlier.
    #[must_use]
    pub fn child(&self) -> Self {
        TaskGroup {
            spawner: Arc::clone(&self.spawner),
            token: self.token.child_token(),
            tracker: TaskTracker::new(),
        }
    }

    /// Runs `future` as a task of this group. The group does not abort it: a task watches
    /// [`TaskGroup::cancelled`] where it waits.
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        self.spawner.spawn(name, Box::pin(self.tracker.track_future(future)));
    }

    /// Like [`TaskGroup::spawn`], but the task is dropped at its next await once the group is cancelled.
    pub fn spawn_until_cancelled(
        &self,
        name: &'static str,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        let token = self.token.clone();
        self.spawn(name, async move {
            let _ = token.run_until_cancelled_owned(future).await;
        });
    }

    /// Asks every task of this group and of its children to leave.
    pub fn cancel(&self) {
        self.token.cancel();
    }

    /// Whether [`TaskGroup::cancel`] was called on this group or an ancestor.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Resolves when the group is cancelled.
    pub fn cancelled(&self) -> WaitForCancellationFutureOwned {
        self.token.clone().cancelled_owned()
    }

    /// Cancels and waits until every task spawned on this group (not on its children) has ended.
    pub async fn shutdown(&self) {
        self.token.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}
