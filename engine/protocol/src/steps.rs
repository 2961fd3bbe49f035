//! Counts what decoders do, for the tests that assert how their work grows with what a peer sends.

/// `count` more keys were compared, or bytes looked at.
#[inline]
pub(crate) fn count(#[cfg_attr(not(test), expect(unused_variables))] count: usize) {
    #[cfg(test)]
    STEPS.with(|steps| steps.set(steps.get() + count));
}

/// A key whose comparisons are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Counted<T>(pub(crate) T);

impl<T: Ord> Ord for Counted<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        count(1);
        self.0.cmp(&other.0)
    }
}

impl<T: Ord> PartialOrd for Counted<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
thread_local! {
    static STEPS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// How many steps `work` takes.
#[cfg(test)]
pub(crate) fn of<R>(work: impl FnOnce() -> R) -> usize {
    let before = STEPS.with(std::cell::Cell::get);
    drop(work());
    STEPS.with(std::cell::Cell::get) - before
}

/// Asserts that `work` at four times the size takes at most as many steps as n log n allows, at sizes
/// where n² would take sixteen times as many.
#[cfg(test)]
#[track_caller]
pub(crate) fn assert_n_log_n<I, R>(input: impl Fn(usize) -> I, work: impl Fn(&I) -> R) {
    let [small, large] = [2_000, 8_000].map(|size| {
        let input = input(size);
        of(|| work(&input))
    });
    assert!(small > 0, "nothing was counted");
    assert!(large <= 6 * small, "{small} steps became {large} at four times the size");
}
