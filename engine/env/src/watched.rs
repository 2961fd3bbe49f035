//! [`Watched`]: a value that one side changes and others wait for.
//!
//! A `tokio::sync::watch` channel wakes its receivers in an order that a random number of the runtime
//! draws, so that a run would not repeat. Here they wake in the order in which they began to wait.

use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// A value under watch; clones share it. Whoever waits sees where it is, not each place where it was.
pub struct Watched<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    value: Mutex<T>,
    changed: Notify,
}

impl<T> Watched<T> {
    /// Begins with `value`.
    #[must_use]
    pub fn new(value: T) -> Self {
        Watched { shared: Arc::new(Shared { value: Mutex::new(value), changed: Notify::new() }) }
    }

    /// Replaces the value and wakes who waits. Returns the one before.
    pub fn set(&self, value: T) -> T {
        self.modify(|present| std::mem::replace(present, value))
    }

    /// Changes the value and wakes who waits. Returns what `change` returns.
    pub fn modify<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = change(&mut self.value());
        self.shared.changed.notify_waiters();
        result
    }

    /// Looks at the value without copying it.
    pub fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.value())
    }

    fn value(&self) -> MutexGuard<'_, T> {
        self.shared.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> Watched<T> {
    /// The value now.
    #[must_use]
    pub fn get(&self) -> T {
        self.value().clone()
    }

    /// Resolves to the value once it is as `is_wanted` says, at once if it is already. Cancel safe.
    pub async fn wait_for(&self, mut is_wanted: impl FnMut(&T) -> bool) -> T {
        loop {
            let mut changed = pin!(self.shared.changed.notified());
            // Before the look: a change between the two would be missed.
            changed.as_mut().enable();
            let value = self.get();
            if is_wanted(&value) {
                return value;
            }
            changed.await;
        }
    }
}

impl<T> Clone for Watched<T> {
    fn clone(&self) -> Self {
        Watched { shared: Arc::clone(&self.shared) }
    }
}

impl<T: Default> Default for Watched<T> {
    fn default() -> Self {
        Watched::new(T::default())
    }
}

impl<T: fmt::Debug> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched").field(&*self.value()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Wake, Waker};

    use super::*;

    /// Notes the place in which it was woken.
    struct Place {
        next: Arc<AtomicUsize>,
        mine: AtomicUsize,
    }

    impl Wake for Place {
        fn wake(self: Arc<Self>) {
            let place = self.next.fetch_add(1, Ordering::Relaxed);
            self.mine.store(place, Ordering::Relaxed);
        }
    }

    #[test]
    fn those_who_wait_wake_in_the_order_in_which_they_began() {
        let watched = Watched::new(0_u32);
        let next = Arc::new(AtomicUsize::new(0));
        let mut waiting = Vec::new();
        for _ in 0..50 {
            let place = Arc::new(Place { next: Arc::clone(&next), mine: AtomicUsize::new(99) });
            let watched = watched.clone();
            let mut future = Box::pin(async move { watched.wait_for(|value| *value == 7).await });
            let waker = Waker::from(Arc::clone(&place));
            assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            waiting.push((future, place));
        }
        watched.set(7);
        for (index, (future, place)) in waiting.iter_mut().enumerate() {
            assert_eq!(place.mine.load(Ordering::Relaxed), index);
            let ready = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert_eq!(ready, Poll::Ready(7));
        }
    }

    #[tokio::test]
    async fn a_change_between_the_look_and_the_wait_is_seen() {
        let watched = Watched::new(1_u32);
        let mut looks = 0;
        let waiting = watched.wait_for(|value| {
            looks += 1;
            if looks == 1 {
                // As another thread would do it.
                let watched = watched.clone();
                #[expect(
                    clippy::disallowed_methods,
                    reason = "a thread of the test's, not of the engine"
                )]
                std::thread::scope(|scope| {
                    let _ = scope.spawn(move || watched.set(2)).join();
                });
            }
            *value == 2
        });
        assert_eq!(waiting.await, 2);
    }

    #[tokio::test]
    async fn values_are_read_and_changed_in_place() {
        let watched = Watched::new(vec![1_u32]);
        watched.modify(|values| values.push(2));
        assert_eq!(watched.read(Vec::len), 2);
        assert_eq!(watched.set(Vec::new()), [1, 2]);
        let mut waiting = pin!(watched.wait_for(|values| !values.is_empty()));
        let is_pending = poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_pending())).await;
        assert!(is_pending, "nothing changed");
    }
}
