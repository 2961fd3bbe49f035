//! A reply answers the request that it is taken for, and comes to whoever asked, from somebody who had been given the
//! request. That none comes is no loss; but where nothing was ever disturbed, one that a broker acknowledged in
//! time arrives.

use std::collections::BTreeMap;

use super::{Checker, Violation};
use crate::history::{History, Reply};

/// A reply that is acknowledged so long before its request ends is there in time.
const UNDER_WAY_US: u64 = 1_000_000;

/// Looks at every reply, and, if the run `is_calm`, at every request without one.
#[must_use]
pub fn check(history: &History, is_calm: bool) -> Vec<Violation> {
    let mut violations: Vec<_> =
        history.replies.iter().filter_map(|it| judge(history, it)).collect();
    if is_calm {
        violations.extend(missing(history));
    }
    violations
}

fn judge(history: &History, reply: &Reply) -> Option<Violation> {
    let Reply { number, producer, answers, asker, consumer, ordinal } = reply;
    let was_given = || {
        history.deliveries.iter().any(|it| {
            it.number == Some(*number) && it.consumer == *consumer && it.ordinal < *ordinal
        })
    };
    let what = match answers {
        Some(other) if other != number => format!("the reply to request {other}"),
        None => "something that is no reply".to_owned(),
        _ if asker != producer => format!("a reply that was meant for {asker}"),
        _ if !was_given() => format!("a reply of {consumer}, who was never given it"),
        _ => return None,
    };
    let text = format!("{producer} got for request {number} {what}");
    Some(Violation::new(Checker::Replies, text).of(*number).at(*ordinal))
}

fn missing(history: &History) -> impl Iterator<Item = Violation> + '_ {
    let acked = history.answers.iter().filter(|it| it.is_acked);
    let acked: BTreeMap<u32, _> = acked.map(|it| (it.number, it)).collect();
    history.unanswered.iter().filter_map(move |(number, deadline_us)| {
        let answer = acked.get(number)?;
        (answer.ended_us + UNDER_WAY_US <= *deadline_us).then(|| {
            let text = format!(
                "request {number} ended without the reply of {}, which a broker had acknowledged in time",
                answer.consumer
            );
            Violation::new(Checker::Replies, text).of(*number)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Answer, a_delivery};

    fn reply() -> Reply {
        Reply {
            number: 1,
            producer: "p".into(),
            answers: Some(1),
            asker: "p".into(),
            consumer: "c".into(),
            ordinal: 9,
        }
    }

    fn found(doctor: impl FnOnce(&mut Reply, &mut History)) -> Vec<String> {
        let mut history = History { deliveries: vec![a_delivery(1, 0)], ..History::default() };
        let mut reply = reply();
        doctor(&mut reply, &mut history);
        history.replies.push(reply);
        check(&history, true).into_iter().map(|it| it.text).collect()
    }

    #[test]
    fn a_reply_is_taken_for_the_right_request_by_the_right_producer() {
        assert_eq!(found(|_, _| {}), [] as [&str; 0]);
        for (text, doctor) in [
            ("the reply to request 2", (|it| it.answers = Some(2)) as fn(&mut Reply)),
            ("no reply", |it| it.answers = None),
            ("meant for q", |it| it.asker = "q".into()),
            ("of d, who was never", |it| it.consumer = "d".into()),
            ("of c, who was never", |it| it.ordinal = 4),
        ] {
            let found = found(|reply, _| doctor(reply));
            assert!(found.len() == 1 && found[0].contains(text), "{text}: {found:?}");
        }
    }

    #[test]
    fn where_nothing_was_disturbed_an_acknowledged_reply_arrives() {
        let answer =
            Answer { number: 2, consumer: "c".into(), ended_us: 1_000_000, is_acked: true };
        let judge = |deadline_us: u64, is_acked: bool, is_calm: bool| {
            let mut history = History::default();
            history.answers.push(Answer { is_acked, ..answer.clone() });
            history.unanswered.insert(2, deadline_us);
            history.unanswered.insert(3, deadline_us);
            check(&history, is_calm).len()
        };
        assert_eq!(judge(2_000_000, true, true), 1);
        assert_eq!(judge(1_999_999, true, true), 0, "it may be under way");
        assert_eq!(judge(2_000_000, false, true), 0);
        assert_eq!(judge(2_000_000, true, false), 0, "a broken connection takes it");
    }
}
