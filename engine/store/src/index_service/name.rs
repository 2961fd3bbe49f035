//! Names of index files: the local time of their creation as `yyyyMMddHHmmssSSS`, here as a number.

use mq_env::clock::Clock;

const DAY_MS: i64 = 86_400_000;

/// The name of a file that is created now, greater than `newest`: files are in the order of their
/// names, also when the clock goes back or two are made in one millisecond.
pub(super) fn next_number(clock: &dyn Clock, newest: u64) -> u64 {
    let now_ms = clock.now_millis();
    let local_ms = now_ms as i64 + i64::from(clock.utc_offset_seconds(now_ms)) * 1000;
    match number_of(local_ms) {
        number if number > newest => number,
        _ => number_of(local_ms_of(newest) + 1).max(newest + 1),
    }
}

/// The local time, as people write it.
pub(crate) fn local_time(clock: &dyn Clock) -> String {
    let [year, month, day, hour, minute, second, _] = parts(next_number(clock, 0));
    format!("{year}-{month}-{day} {hour}:{minute}:{second}")
}

/// A time in milliseconds as tools of RocketMQ 4.9 read it, local (`UtilAll.timeMillisToHumanString2`):
/// `yyyy-MM-dd#HH:mm:ss:SSS`.
#[must_use]
pub fn human_time(clock: &dyn Clock, at_ms: i64) -> String {
    let offset_seconds = clock.utc_offset_seconds(u64::try_from(at_ms).unwrap_or(0));
    let local_ms = at_ms.saturating_add(i64::from(offset_seconds) * 1_000);
    let [year, month, day, hour, minute, second, ms] = parts(number_of(local_ms));
    format!("{year}-{month}-{day}#{hour}:{minute}:{second}:{ms}")
}

/// Year, month, day, hour, minute, second and millisecond of a number.
fn parts(number: u64) -> [String; 7] {
    let digits = format!("{number:017}");
    [0..4, 4..6, 6..8, 8..10, 10..12, 12..14, 14..17]
        .map(|range| digits.get(range).unwrap_or_default().to_owned())
}

/// The number that a file name of 17 digits stands for.
pub(super) fn parse_number(name: &str) -> Option<u64> {
    (name.len() == 17 && name.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| name.parse().ok())
        .flatten()
}

fn number_of(local_ms: i64) -> u64 {
    let (days, ms) = (local_ms.div_euclid(DAY_MS), local_ms.rem_euclid(DAY_MS));
    // Days since 0000-03-01 in years that begin in March (after Howard Hinnant's civil_from_days).
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (seconds, ms) = (ms / 1000, ms % 1000);
    let fields = [(month, 100), (day_of_month, 100), (seconds / 3600, 100)];
    let fields =
        fields.into_iter().chain([(seconds / 60 % 60, 100), (seconds % 60, 100), (ms, 1000)]);
    fields.fold(year, |number, (field, base)| number * base + field).max(0) as u64
}

/// The local time that a name says.
fn local_ms_of(number: u64) -> i64 {
    let mut rest = number as i64;
    let mut field = |base: i64| {
        let field = rest % base;
        rest /= base;
        field
    };
    let (ms, second, minute, hour) = (field(1000), field(100), field(100), field(100));
    let (day, month) = (field(100), field(100));
    let year = rest - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    days * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1000 + ms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::At;

    #[test]
    fn a_name_is_the_local_time() {
        assert_eq!(next_number(&At(1_795_248_322_265, 0), 0), 20_261_121_080_522_265);
        assert_eq!(next_number(&At(1_795_248_322_265, 3600), 0), 20_261_121_090_522_265);
        // A leap day, and the last millisecond of a year.
        assert_eq!(number_of(1_709_164_800_000), 20_240_229_000_000_000);
        assert_eq!(number_of(1_704_067_199_999), 20_231_231_235_959_999);
        for local_ms in (0..4_000_000_000_000).step_by(7_777_777_777) {
            assert_eq!(local_ms_of(number_of(local_ms)), local_ms);
        }
    }

    #[test]
    fn tools_read_a_time_with_its_milliseconds() {
        let time = |at_ms, offset| human_time(&At(0, offset), at_ms);
        assert_eq!(time(1_795_246_754_326, 0), "2026-11-21#07:39:14:326");
        assert_eq!(time(1_795_246_754_326, 20_700), "2026-11-21#13:24:14:326");
        assert_eq!(time(-1, 0), "1969-12-31#23:59:59:999");
    }

    #[test]
    fn names_ascend_whatever_the_clock_does() {
        let first = next_number(&At(1_704_067_199_999, 0), 0);
        let second = next_number(&At(1_704_067_199_999, 0), first);
        assert_eq!(second, 20_240_101_000_000_000);
        assert_eq!(next_number(&At(5, 0), second), 20_240_101_000_000_001);
        assert!(next_number(&At(5, 0), 99_999_999_999_999_999) > 99_999_999_999_999_999);
    }

    #[test]
    fn other_names_are_no_index_files() {
        assert_eq!(parse_number("20261121080522265"), Some(20_261_121_080_522_265));
        for name in ["2026112108052226", "202611210805222650", "2026112108052226x", ""] {
            assert_eq!(parse_number(name), None, "{name}");
        }
    }
}
