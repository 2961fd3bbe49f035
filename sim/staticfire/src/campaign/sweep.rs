//! [`stream`] and [`sweep`]: many runs on all cores, results in the order of the jobs whatever the number of
//! workers.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressStyle};

use crate::lock;

/// How a sweep is carried out.
#[derive(Clone, Debug)]
pub struct SweepOptions {
    /// Worker threads; a world never leaves its thread.
    pub jobs: NonZeroUsize,
    /// Text before the progress bar on stderr; `None` shows no bar.
    pub progress: Option<String>,
}

impl SweepOptions {
    /// One worker per core, with a progress bar.
    #[must_use]
    pub fn all_cores(progress: impl Into<String>) -> Self {
        SweepOptions { jobs: cores(), progress: Some(progress.into()) }
    }

    /// One worker per core, silent.
    #[must_use]
    pub fn quiet() -> Self {
        SweepOptions { jobs: cores(), progress: None }
    }
}

#[expect(clippy::disallowed_methods, reason = "outside of the worlds")]
fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Runs `run` for every job and returns the results in the order of the jobs.
///
/// # Panics
/// When `run` does: a run reports its own failures, so a panic here is a fault of the harness.
pub fn sweep<J: Sync, R: Send>(
    jobs: &[J],
    options: &SweepOptions,
    run: impl Fn(&J) -> R + Sync,
) -> Vec<R> {
    let mut results = Vec::with_capacity(jobs.len());
    stream(jobs.iter(), options, run, |result| results.push(result));
    results
}

/// Runs `run` for every job and hands each result to `take`, in the order of the jobs, as soon as it is its
/// turn. Only results whose turn has not come are kept.
///
/// # Panics
/// When `run` does: a run reports its own failures, so a panic here is a fault of the harness.
#[expect(clippy::disallowed_methods, reason = "each thread runs worlds of its own")]
pub fn stream<J: Send, R: Send>(
    jobs: impl ExactSizeIterator<Item = J> + Send,
    options: &SweepOptions,
    run: impl Fn(J) -> R + Sync,
    take: impl FnMut(R) + Send,
) {
    let bar = progress_bar(jobs.len(), options.progress.as_deref());
    let workers = options.jobs.get().min(jobs.len().max(1));
    let jobs = Mutex::new(jobs.enumerate());
    let turns = Mutex::new(Turns { next: 0, waiting: BTreeMap::new(), take });
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let job = lock(&jobs).next();
                    let Some((index, job)) = job else { return };
                    let result = run(job);
                    lock(&turns).add(index, result);
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
}

/// Results that come in any order and leave in theirs.
struct Turns<R, T> {
    next: usize,
    waiting: BTreeMap<usize, R>,
    take: T,
}

impl<R, T: FnMut(R)> Turns<R, T> {
    fn add(&mut self, index: usize, result: R) {
        self.waiting.insert(index, result);
        while let Some(result) = self.waiting.remove(&self.next) {
            (self.take)(result);
            self.next += 1;
        }
    }
}

fn progress_bar(len: usize, text: Option<&str>) -> ProgressBar {
    let Some(text) = text else { return ProgressBar::hidden() };
    let template = "{prefix} {wide_bar} {pos}/{len} runs, {eta} left";
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(len as u64).with_style(style).with_prefix(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_of_the_jobs() {
        let jobs: Vec<u64> = (0..200).collect();
        for workers in [1, 3] {
            let jobs_count = NonZeroUsize::new(workers).unwrap();
            let options = SweepOptions { jobs: jobs_count, progress: None };
            let squares = sweep(&jobs, &options, |job| job * job);
            assert_eq!(squares, jobs.iter().map(|job| job * job).collect::<Vec<_>>());
        }
        assert!(sweep(&[] as &[u8], &SweepOptions::quiet(), |_| ()).is_empty());
    }
}
