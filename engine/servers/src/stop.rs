//! How a program runs and ends: its runtime, and the signals that ask it to stop.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::Failure;

/// Runs `program` on a runtime of its own. What it leaves behind does not keep the process: a write that hangs, say.
///
/// # Errors
/// What the program ends with.
pub fn block_on(program: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        Failure::new(Failure::OWN_FAULT, format!("the runtime does not start: {error}"))
    })?;
    let result = runtime.block_on(program);
    runtime.shutdown_background();
    result
}

/// ctrl-c and SIGTERM, heard from when this is made.
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

/// How a stop came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// To its end.
    InOrder,
    /// It was asked for again, and left there.
    AskedAgain,
    /// It took too long, and was left there.
    TookTooLong,
}

impl StopSignals {
    /// From now on neither ends the process by itself.
    ///
    /// # Errors
    /// A fault of the program's own: the handlers cannot be set.
    pub fn new() -> Result<Self, Failure> {
        let heard = || {
            Ok(StopSignals {
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
            })
        };
        heard().map_err(|error: std::io::Error| {
            let sentence = format!("the handlers of SIGTERM and SIGINT cannot be set: {error}");
            Failure::new(Failure::OWN_FAULT, sentence)
        })
    }

    /// Resolves when one of them has come.
    pub async fn asked(&mut self) {
        mq_env::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Waits for the end of an orderly stop, for `max` and until one of them comes again.
    pub async fn orderly(&mut self, stop: impl Future<Output = ()>, max: Duration) -> Stopped {
        mq_env::select! {
            () = stop => Stopped::InOrder,
            () = self.asked() => Stopped::AskedAgain,
            () = tokio::time::sleep(max) => Stopped::TookTooLong,
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::Signal;

    use super::{Duration, StopSignals, Stopped};

    #[tokio::test(start_paused = true)]
    async fn a_stop_is_bounded_and_who_asks_again_waits_no_longer() {
        let mut signals = StopSignals::new().unwrap();
        let max = Duration::from_secs(60);
        let quick = tokio::time::sleep(max - Duration::from_millis(1));
        assert_eq!(signals.orderly(quick, max).await, Stopped::InOrder);
        assert_eq!(signals.orderly(std::future::pending(), max).await, Stopped::TookTooLong);
        // Signals do not come faster for a clock that does not wait.
        tokio::time::resume();
        for signal in [Signal::TERM, Signal::INT] {
            rustix::process::kill_process(rustix::process::getpid(), signal).unwrap();
            let stopped = signals.orderly(std::future::pending(), Duration::MAX).await;
            assert_eq!(stopped, Stopped::AskedAgain);
        }
    }
}
