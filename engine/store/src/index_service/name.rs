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
    let digits = format!("{:017}", next_number(clock, 0));
    let part = |range: std::ops::Range<usize>| digits.get(range).unwrap_or_default();
    let [year, month, day] = [part(0..4), part(4..6), part(6..8)];
    let [hour, minute, second] = [part(8..10), part(10..12), part(12..14)];
    format!("{year}-{month}-{day} {hour}:{minute}:{second}")
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
