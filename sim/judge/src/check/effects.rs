//! Behind the idempotence kit what a group has consumed has had its effect, once.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Checker, Violation};
use crate::history::History;

/// Judges the effects of all groups whose listeners stand behind the kit.
#[must_use]
pub fn check(history: &History) -> Vec<Violation> {
    let mut violations = again(history);
    violations.extend(missing(history));
    violations
}

/// Messages whose effect the kit let happen more than once.
fn again(history: &History) -> Vec<Violation> {
    let again = history.effects.iter().filter(|(_, times)| **times > 1);
    let violations = again.map(|((group, number), times)| {
        let text = format!(
            "message {number} had its effect {times} times in {group}, behind the idempotence kit"
        );
        Violation::new(Checker::Effects, text).of(*number)
    });
    violations.collect()
}

/// Messages that the kit kept away, although nothing had come of them: to brokers they are consumed.
fn missing(history: &History) -> Vec<Violation> {
    let behind_kit =
        history.consumed().filter(|it| history.behind_kit.contains(&it.consumer_group));
    let mut told: BTreeSet<(&str, u32)> = BTreeSet::new();
    let without = behind_kit.filter(|it| {
        let Some(number) = it.number else { return false };
        let effect = (Arc::clone(&it.consumer_group), number);
        !history.effects.contains_key(&effect) && told.insert((&it.consumer_group, number))
    });
    let violations = without.map(|it| {
        let number = it.number.unwrap_or_default();
        let text = format!(
            "message {number} was consumed by {} of {}, and had no effect: the idempotence kit kept it away",
            it.consumer, it.consumer_group
        );
        Violation::new(Checker::Effects, text).of(number).at(it.ordinal)
    });
    violations.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Delivery, GivenBack, a_delivery};

    fn found(doctor: impl FnOnce(&mut History)) -> Vec<String> {
        let mut history = History::default();
        history.behind_kit.insert("g".into());
        history.deliveries.push(Delivery { ordinal: 10, ..a_delivery(1, 5) });
        history.effects.insert(("g".into(), 1), 1);
        doctor(&mut history);
        check(&history).into_iter().map(|it| it.text).collect()
    }

    const NOTHING: [&str; 0] = [];

    #[test]
    fn an_effect_is_had_once() {
        assert_eq!(found(|_| ()), NOTHING);
        let twice = found(|history| *history.effects.values_mut().next().unwrap() = 2);
        assert!(twice[0].contains("message 1 had its effect 2 times in g"), "{twice:?}");
    }

    #[test]
    fn what_is_consumed_has_had_its_effect() {
        let none = |doctor: &dyn Fn(&mut History)| {
            found(|history| {
                history.effects.clear();
                doctor(history);
            })
        };
        let text = &none(&|_| ())[0];
        assert!(text.starts_with("message 1 was consumed by c of g, and had no effect"), "{text}");
        let of_another = |history: &mut History| {
            history.effects.insert(("h".into(), 1), 1);
        };
        assert_eq!(none(&of_another).len(), 1);
        assert_eq!(none(&|history| history.behind_kit.clear()), NOTHING);
        let died = |history: &mut History| {
            history.cut_short.insert(10);
        };
        assert_eq!(none(&died), NOTHING);
        let failed = |history: &mut History| {
            history.given_back.push(GivenBack {
                number: 1,
                consumer: "c".into(),
                consumer_group: "g".into(),
                group: "a".into(),
                delivered: 10,
                is_last: false,
                ordinal: 11,
            });
        };
        assert_eq!(none(&failed), NOTHING);
        let again = |history: &mut History| {
            failed(history);
            history.deliveries.push(Delivery { ordinal: 20, ..a_delivery(1, 5) });
            history.deliveries.push(Delivery { ordinal: 30, ..a_delivery(1, 5) });
        };
        assert_eq!(none(&again).len(), 1, "once is enough to say it");
    }
}
