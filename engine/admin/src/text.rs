//! Texts as RocketMQ's tools print them: local times, permissions, permitted lengths.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use mq_env::clock::Clock;
use mq_protocol::sys_flag::PermName;

use crate::error::AdminError;

/// `2026-11-29 11:41:06,696`
pub(crate) const WITH_MS: &str = "%Y-%m-%d %H:%M:%S,%3f";

/// `2026-11-29 11:41:06`
pub(crate) const WITH_SECONDS: &str = "%Y-%m-%d %H:%M:%S";

/// How times are given as arguments, beside milliseconds.
const GIVEN: &str = "yyyy-MM-dd#HH:mm:ss:SSS";

/// Times of day in the zone of a machine.
#[derive(Clone)]
pub(crate) struct LocalTime(Arc<dyn Clock>);

impl LocalTime {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        LocalTime(clock)
    }

    /// Milliseconds since the epoch.
    pub(crate) fn now_ms(&self) -> i64 {
        i64::try_from(self.0.now_millis()).unwrap_or(i64::MAX)
    }

    /// The time `at_ms` laid out as `format` says; one that no calendar has as its number.
    pub(crate) fn text(&self, at_ms: i64, format: &str) -> String {
        let offset = Offset::from_seconds(self.offset_seconds(at_ms)).unwrap_or(Offset::UTC);
        match Timestamp::from_millisecond(at_ms) {
            Ok(at) => offset.to_datetime(at).strftime(format).to_string(),
            Err(_) => at_ms.to_string(),
        }
    }

    /// The time that an argument says: milliseconds since the epoch or `yyyy-MM-dd#HH:mm:ss:SSS`.
    pub(crate) fn parse(&self, text: &str) -> Result<i64, AdminError> {
        if let Ok(at_ms) = text.parse() {
            return Ok(at_ms);
        }
        self.parse_date(text).ok_or_else(|| {
            AdminError::Input(format!(
                "{text} is no time; allowed: milliseconds since 1970 or {GIVEN}"
            ))
        })
    }

    fn parse_date(&self, text: &str) -> Option<i64> {
        let (to_second, ms) = text.rsplit_once(':')?;
        let ms: i64 = ms.parse().ok().filter(|ms| (0..1000).contains(ms))?;
        let date = DateTime::strptime("%Y-%m-%d#%H:%M:%S", to_second).ok()?;
        let as_if_utc = Offset::UTC.to_timestamp(date).ok()?.as_millisecond() + ms;
        // The offset of the zone at that local time: exact but for the hours around a change.
        let guess = as_if_utc - i64::from(self.offset_seconds(as_if_utc)) * 1000;
        Some(as_if_utc - i64::from(self.offset_seconds(guess)) * 1000)
    }

    fn offset_seconds(&self, at_ms: i64) -> i32 {
        self.0.utc_offset_seconds(u64::try_from(at_ms).unwrap_or(0))
    }
}

/// At most the first `chars` of a text, so that a column holds it.
pub(crate) fn front(text: &str, chars: usize) -> &str {
    text.char_indices().nth(chars).map_or(text, |(end, _)| &text[..end])
}

/// `RW-`, `R--`, `RWX` (RocketMQ 4.9 `PermName.perm2String`).
pub(crate) fn perm_text(perm: i32) -> String {
    let bit = |is_set: bool, letter| if is_set { letter } else { '-' };
    [
        bit(PermName::is_readable(perm), 'R'),
        bit(PermName::is_writeable(perm), 'W'),
        bit(PermName::is_inherited(perm), 'X'),
    ]
    .iter()
    .collect()
}

/// A value that may be absent, as Java prints it.
pub(crate) fn or_null<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "null".to_owned(), |value| value.to_string())
}

/// `{a=1, b=2}`, as Java prints a map.
pub(crate) fn java_map<'a>(entries: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let entries: Vec<String> = entries.map(|(key, value)| format!("{key}={value}")).collect();
    format!("{{{}}}", entries.join(", "))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A clock of a machine whose zone is so far ahead of UTC, and at which it is the epoch.
    struct Zone(i32);

    impl Clock for Zone {
        fn now_millis(&self) -> u64 {
            0
        }

        fn utc_offset_seconds(&self, _: u64) -> i32 {
            self.0
        }
    }

    /// Times in UTC.
    pub(crate) fn utc() -> LocalTime {
        LocalTime::new(Arc::new(Zone(0)))
    }

    #[test]
    fn times_are_local_and_come_back() {
        assert_eq!(utc().text(1_795_952_425_432, WITH_MS), "2026-11-29 11:40:25,432");
        let shanghai = LocalTime::new(Arc::new(Zone(8 * 3600)));
        assert_eq!(shanghai.text(1_795_952_425_432, WITH_SECONDS), "2026-11-29 19:40:25");
        let given = "2026-11-29#19:40:25:432";
        assert_eq!(shanghai.parse(given).unwrap(), 1_795_952_425_432);
        assert_eq!(shanghai.parse("12").unwrap(), 12);
        for bad in ["", "now", "2026-11-29", "2026-13-29#19:40:25:432", "2026-11-29#19:40:25:4320"]
        {
            assert!(shanghai.parse(bad).unwrap_err().to_string().contains(GIVEN), "{bad}");
        }
        assert_eq!(utc().text(i64::MAX, WITH_MS), i64::MAX.to_string());
    }

    #[test]
    fn permissions_and_columns() {
        assert_eq!([2, 4, 6, 7, 0].map(perm_text), ["-W-", "R--", "RW-", "RWX", "---"]);
        assert_eq!((front("größe", 3), front("ab", 3)), ("grö", "ab"));
    }
}
