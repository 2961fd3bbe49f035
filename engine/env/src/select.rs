//! [`select!`](crate::select!): waits for the first of several futures, in the order in which they are written.

/// `tokio::select!` that always tries its branches from the first to the last. Without `biased` tokio draws
/// where to begin, which no seed decides; `tests/tidy.rs` therefore bans the original. A branch that is ready
/// again and again starves those below it: what must not starve stands first.
#[macro_export]
macro_rules! select {
    ($($branches:tt)*) => {
        $crate::tokio::select! {
            biased;
            $($branches)*
        }
    };
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    #[tokio::test]
    async fn the_first_that_is_ready_wins() {
        for _ in 0..64 {
            let which = crate::select! {
                () = std::future::pending() => 1,
                () = ready(()) => 2,
                () = ready(()) => 3,
            };
            assert_eq!(which, 2);
        }
    }
}
