//! [`DeleteWhen`]: the hours at which expired files go.

use mq_env::clock::Clock;

const HOUR_MS: i64 = 3_600_000;

/// Hours of the local day (`deleteWhen`; RocketMQ 4.9 `UtilAll.isItTimeToDo`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DeleteWhen(Vec<i64>);

impl DeleteWhen {
    /// Reads hours split by `;`. What is no number names no hour.
    pub(super) fn parse(text: &str) -> Self {
        DeleteWhen(text.split(';').filter_map(|hour| hour.trim().parse().ok()).collect())
    }

    /// Whether it is one of the hours where the clock stands.
    pub(super) fn is_time(&self, clock: &dyn Clock) -> bool {
        let now_ms = clock.now_millis();
        let local_ms = now_ms as i64 + i64::from(clock.utc_offset_seconds(now_ms)) * 1_000;
        self.0.contains(&(local_ms.div_euclid(HOUR_MS).rem_euclid(24)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::At;

    #[test]
    fn hours_are_those_of_the_machines_zone() {
        let when = DeleteWhen::parse("04;16");
        // 2023-11-14T22:33:20Z.
        let at = |hours: u64, offset_seconds| {
            when.is_time(&At(1_700_001_200_000 + hours * HOUR_MS as u64, offset_seconds))
        };
        let true_at = |offset| (0..24).filter(|hours| at(*hours, offset)).collect::<Vec<_>>();
        assert_eq!(true_at(0), [6, 18]);
        assert_eq!(true_at(3_600), [5, 17]);
        // Nepal: 04:18:20.
        assert_eq!(true_at(20_700), [0, 12]);
        assert_eq!(true_at(-18_000), [11, 23]);
    }

    #[test]
    fn what_is_no_hour_is_never() {
        for text in ["", "x", "24;-1"] {
            let when = DeleteWhen::parse(text);
            assert!((0..24).all(|hour| !when.is_time(&At(hour * HOUR_MS as u64, 0))), "{text:?}");
        }
    }
}
