//! Wall clock and time zone. Monotonic time is `tokio::time::Instant`.

/// The wall clock of one machine. It may jump, drift or stand still: use it only for timestamps
/// that are stored or sent, never to measure a duration.
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch.
    fn now_millis(&self) -> u64;

    /// Seconds to add to UTC for the machine's local time at `at_ms` (`deleteWhen` and the names
    /// of index files are local time).
    fn utc_offset_seconds(&self, at_ms: u64) -> i32;
}
