//! Who can run: [`Ready`], and the wakers that fill it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

/// The processes that were woken, and whether the scenario was.
#[derive(Default)]
pub(super) struct Ready {
    processes: Mutex<Vec<usize>>,
    scenario: AtomicBool,
    /// The driver is at work and will look here again before it sleeps.
    driving: AtomicBool,
    driver: Mutex<Option<Waker>>,
}

impl Ready {
    /// The driver starts to work.
    pub(super) fn begin(&self, driver: &Waker) {
        self.driving.store(true, Ordering::Relaxed);
        let mut known = lock(&self.driver);
        match known.as_mut() {
            Some(known) => known.clone_from(driver),
            None => *known = Some(driver.clone()),
        }
    }

    /// The driver goes to sleep.
    pub(super) fn end(&self) {
        self.driving.store(false, Ordering::Relaxed);
    }

    /// Whether the scenario was woken since this was last asked.
    pub(super) fn take_scenario(&self) -> bool {
        self.scenario.swap(false, Ordering::Relaxed)
    }

    /// The next process to poll: any with `rng`, else the first woken.
    pub(super) fn next_process(&self, rng: Option<&mut ChaCha8Rng>) -> Option<usize> {
        let mut processes = lock(&self.processes);
        match (processes.len(), rng) {
            (0, _) => None,
            (1, _) => processes.pop(),
            (len, Some(rng)) => Some(processes.swap_remove(rng.random_range(0..len))),
            (_, None) => Some(processes.remove(0)),
        }
    }

    fn wake_driver(&self) {
        if self.driving.load(Ordering::Relaxed) {
            return;
        }
        let driver = lock(&self.driver).clone();
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wakes one process, whatever its incarnation.
pub(super) struct ProcessWaker {
    ready: Arc<Ready>,
    index: usize,
    queued: AtomicBool,
}

impl ProcessWaker {
    pub(super) fn new(ready: Arc<Ready>, index: usize) -> Arc<Self> {
        Arc::new(ProcessWaker { ready, index, queued: AtomicBool::new(false) })
    }

    /// The process is about to be polled: the next wake counts.
    pub(super) fn taken(&self) {
        self.queued.store(false, Ordering::Relaxed);
    }
}

impl Wake for ProcessWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            lock(&self.ready.processes).push(self.index);
            self.ready.wake_driver();
        }
    }
}

/// Wakes the scenario.
pub(super) struct ScenarioWaker(pub(super) Arc<Ready>);

impl Wake for ScenarioWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.scenario.store(true, Ordering::Relaxed);
        self.0.wake_driver();
    }
}
