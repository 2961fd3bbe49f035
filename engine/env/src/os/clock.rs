//! The machine's wall clock and time zone.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::clock::Clock;

/// `gettimeofday` and the system's time zone.
pub(crate) struct OsClock;

impl Clock for OsClock {
    fn now_millis(&self) -> u64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
    }

    fn utc_offset_seconds(&self, at_ms: u64) -> i32 {
        let at =
            i64::try_from(at_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        at.map_or(0, |at| jiff::tz::TimeZone::system().to_offset(at).seconds())
    }
}
