//! [`LogEnd`]: an offset that moves, and [`LogEndWatch`] for those who wait until it does.
//!
//! The log's ends move at every append and every sync, mostly while nobody waits. Moving one that
//! nobody waits for is a store and a load; a channel would take its locks each time.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The end of something in bytes, which its owner moves.
#[derive(Debug, Default)]
pub(crate) struct LogEnd {
    shared: Arc<Shared>,
}

/// Follows an end of the log. Sees where it is, not each place where it was.
#[derive(Clone, Debug)]
pub struct LogEndWatch {
    shared: Arc<Shared>,
    seen_moves: u64,
}

#[derive(Debug, Default)]
struct Shared {
    offset: AtomicU64,
    /// Counts the moves: an end may be lowered and come back to where it was.
    moves: AtomicU64,
    waiters: AtomicUsize,
    moved: Notify,
}

impl LogEnd {
    pub(crate) fn get(&self) -> u64 {
        self.shared.offset.load(Ordering::Acquire)
    }

    /// Moves the end forward, or leaves it. Whoever sees it there sees the bytes below, too.
    pub(crate) fn advance_to(&self, offset: u64) {
        let before = self.shared.offset.swap(offset, Ordering::AcqRel);
        assert!(offset >= before, "an end that only advances goes from {before} to {offset}");
        self.tell();
    }

    /// Moves the end back, or leaves it: what lay behind is gone.
    pub(crate) fn cut_to(&self, offset: u64) {
        let before = self.shared.offset.swap(offset, Ordering::AcqRel);
        assert!(offset <= before, "a cut moves an end from {before} to {offset}");
        self.tell();
    }

    fn tell(&self) {
        // Sequentially consistent with `Waiter`: either this sees the waiter, or the waiter this.
        self.shared.moves.fetch_add(1, Ordering::SeqCst);
        if self.shared.waiters.load(Ordering::SeqCst) > 0 {
            self.shared.moved.notify_waiters();
        }
    }

    pub(crate) fn watch(&self) -> LogEndWatch {
        let seen_moves = self.shared.moves.load(Ordering::SeqCst);
        LogEndWatch { shared: Arc::clone(&self.shared), seen_moves }
    }
}

impl LogEndWatch {
    /// Where the end is now; [`LogEndWatch::changed`] waits for moves after this.
    pub fn see(&mut self) -> u64 {
        self.seen_moves = self.shared.moves.load(Ordering::SeqCst);
        self.shared.offset.load(Ordering::Acquire)
    }

    /// Resolves to the end once it has moved since it was last seen. Cancel safe.
    pub async fn changed(&mut self) -> u64 {
        while self.shared.moves.load(Ordering::SeqCst) == self.seen_moves {
            let _waiter = Waiter::of(&self.shared);
            let mut moved = pin!(self.shared.moved.notified());
            moved.as_mut().enable();
            if self.shared.moves.load(Ordering::SeqCst) == self.seen_moves {
                moved.await;
            }
        }
        self.see()
    }

    /// Resolves to the end once it is where `is_wanted` says. Cancel safe.
    pub async fn wait_for(&mut self, mut is_wanted: impl FnMut(u64) -> bool) -> u64 {
        let mut end = self.see();
        while !is_wanted(end) {
            end = self.changed().await;
        }
        end
    }
}

/// Counts somebody who waits for as long as it lives.
struct Waiter<'a>(&'a Shared);

impl<'a> Waiter<'a> {
    fn of(shared: &'a Shared) -> Self {
        shared.waiters.fetch_add(1, Ordering::SeqCst);
        Waiter(shared)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let before = self.0.waiters.fetch_sub(1, Ordering::SeqCst);
        assert!(before > 0, "who waits was counted");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mq_env::Env;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_watch_wakes_when_the_end_has_moved() {
        let end = LogEnd::default();
        let mut watch = end.watch();
        let hour = Duration::from_secs(3600);
        assert!(tokio::time::timeout(hour, watch.changed()).await.is_err(), "it has not moved");
        end.advance_to(10);
        assert_eq!(watch.changed().await, 10);
        assert_eq!(end.shared.waiters.load(Ordering::SeqCst), 0, "a wait that was given up counts");

        let mut late = end.watch();
        let (lowered, reached, ()) =
            tokio::join!(watch.changed(), late.wait_for(|offset| offset >= 30), async {
                tokio::time::sleep(hour).await;
                end.cut_to(4);
                for offset in [20, 30] {
                    tokio::time::sleep(hour).await;
                    end.advance_to(offset);
                }
            });
        assert_eq!((lowered, reached, watch.see()), (4, 30, 30));
        end.cut_to(4);
        end.advance_to(30);
        assert_eq!(watch.changed().await, 30, "it was lowered and came back");
    }

    #[test]
    #[should_panic(expected = "only advances goes from 7 to 6")]
    fn an_end_does_not_move_back_unnoticed() {
        let end = LogEnd::default();
        end.advance_to(7);
        end.advance_to(6);
    }

    #[test]
    #[should_panic(expected = "a cut moves an end from 7 to 8")]
    fn a_cut_does_not_move_an_end_forward() {
        let end = LogEnd::default();
        end.advance_to(7);
        end.cut_to(8);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_move_is_missed_by_a_waiter_on_another_thread() {
        const MOVES: u64 = 20_000;
        let (there, back) = (LogEnd::default(), LogEnd::default());
        let (mut heard_there, mut heard_back) = (there.watch(), back.watch());
        Env::os().tasks.spawn("echo", async move {
            for turn in 1..=MOVES {
                heard_there.wait_for(|offset| offset == turn).await;
                back.advance_to(turn);
            }
        });
        for turn in 1..=MOVES {
            there.advance_to(turn);
            assert_eq!(heard_back.changed().await, turn);
        }
    }
}
