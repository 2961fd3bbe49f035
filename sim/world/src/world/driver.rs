//! [`Driver`]: the one future that the runtime runs. It polls whatever is ready, in this order:
//! due network events; the scenario if it was woken, or if a trigger fired; one process. When
//! nothing is ready it sleeps until the next network event, and tokio moves the time.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::StreamExt;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use rand_chacha::ChaCha8Rng;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Stopped;
use super::core::Core;
use crate::trace::Name;

/// Runs a world until its scenario ends.
pub(super) struct Driver<'a, F> {
    core: Rc<Core>,
    scenario: Pin<&'a mut F>,
    scenario_waker: Waker,
    helpers: FuturesUnordered<LocalBoxFuture<'static, ()>>,
    schedule: Option<ChaCha8Rng>,
    began: Instant,
    /// Fires at the next network event; the time it is set to.
    timer: Pin<Box<Sleep>>,
    timer_ms: Option<u64>,
    limit: Pin<Box<Sleep>>,
    /// Polls of tasks at this instant, and in the simulated second that began at `second_ms`.
    polls_at_instant: u64,
    polls_in_second: u64,
    second_ms: u64,
}

impl<'a, F: Future> Driver<'a, F> {
    pub(super) fn new(core: Rc<Core>, scenario: Pin<&'a mut F>) -> Self {
        let began = Instant::now();
        let limit = began + Duration::from_millis(core.config.limit_ms);
        let scenario_waker = core.scenario_waker();
        scenario_waker.wake_by_ref();
        Driver {
            scenario,
            scenario_waker,
            helpers: FuturesUnordered::new(),
            schedule: core.config.shuffle.then(|| core.rng.stream("schedule")),
            began,
            timer: Box::pin(sleep_until(began)),
            timer_ms: None,
            limit: Box::pin(sleep_until(limit)),
            polls_at_instant: 0,
            polls_in_second: 0,
            second_ms: 0,
            core,
        }
    }

    /// Runs everything that can run at this instant.
    fn run_instant(&mut self) -> Poll<Result<F::Output, Stopped>> {
        loop {
            self.core.fabric.deliver_due();
            let woken = self.core.ready.take_scenario();
            if self.core.take_interrupt() || woken {
                self.count(1);
                if let Poll::Ready(value) = self.poll_scenario() {
                    return Poll::Ready(Ok(value));
                }
            } else {
                let Some(index) = self.core.ready.next_process(self.schedule.as_mut()) else {
                    return Poll::Pending;
                };
                let Some(process) = self.core.process(index) else { continue };
                let before = process.task_polls();
                process.poll();
                // One that ended meanwhile has none any more.
                self.count(process.task_polls().saturating_sub(before).max(1));
                if let Some(stopped) = self.spins(&process.name) {
                    return Poll::Ready(Err(stopped));
                }
            }
        }
    }

    fn count(&mut self, polls: u64) {
        self.polls_at_instant += polls;
        self.polls_in_second += polls;
    }

    /// Whether processes do so much that the run would never end; `process` ran last.
    fn spins(&self, process: &Name) -> Option<Stopped> {
        let config = &self.core.config;
        if self.polls_at_instant > config.polls_per_instant_max {
            return Some(Stopped::Livelock(process.clone()));
        }
        (self.polls_in_second > config.polls_per_second_max)
            .then(|| Stopped::Overrun { process: process.clone(), polls: self.polls_in_second })
    }

    fn time_passed(&mut self, now_ms: u64) {
        self.core.time.set_ms(now_ms);
        self.polls_at_instant = 0;
        if now_ms - self.second_ms >= 1_000 {
            (self.polls_in_second, self.second_ms) = (0, now_ms);
        }
    }

    fn poll_scenario(&mut self) -> Poll<F::Output> {
        let mut cx = Context::from_waker(&self.scenario_waker);
        if let Poll::Ready(value) = self.scenario.as_mut().poll(&mut cx) {
            return Poll::Ready(value);
        }
        loop {
            self.helpers.extend(self.core.helpers.take());
            match self.helpers.poll_next_unpin(&mut cx) {
                Poll::Ready(Some(())) => {}
                Poll::Ready(None) | Poll::Pending if self.core.helpers.borrow().is_empty() => {
                    return Poll::Pending;
                }
                Poll::Ready(None) | Poll::Pending => {}
            }
        }
    }

    /// Sets the timer to the next network event.
    fn set_timer(&mut self, cx: &mut Context<'_>) {
        let next_ms = self.core.fabric.next_event_ms();
        if let Some(at_ms) = next_ms {
            if self.timer_ms != next_ms {
                self.timer.as_mut().reset(self.began + Duration::from_millis(at_ms));
            }
            // Only a timer that was polled wakes.
            if self.timer.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        self.timer_ms = next_ms;
    }
}

impl<F: Future> Future for Driver<'_, F> {
    type Output = Result<F::Output, Stopped>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.core.ready.begin(cx.waker());
        this.core.world_polls.set(this.core.world_polls.get() + 1);
        let elapsed_ms = (Instant::now() - this.began).as_millis();
        let now_ms = u64::try_from(elapsed_ms).unwrap_or(u64::MAX);
        if now_ms != this.core.time.now_ms() {
            this.time_passed(now_ms);
        }
        if this.limit.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(Stopped::TimeLimit));
        }
        let result = this.run_instant();
        this.core.ready.end();
        if result.is_pending() {
            this.set_timer(cx);
        }
        result
    }
}
