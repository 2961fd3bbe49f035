//! A consumer group is given what its subscription asks for: nothing that its filter does not let pass. (That it
//! is given all of what passes others ask: [`acked_durable`](super::acked_durable), [`offsets`](super::offsets).)

use super::{Checker, Violation};
use crate::history::{Delivery, History};

/// Looks at every delivery to the groups of the story. What came from where `is_damaged` says that a device damaged
/// records tells nothing: tags and properties have no checksum.
#[must_use]
pub fn check(history: &History, is_damaged: impl Fn(&Delivery) -> bool) -> Vec<Violation> {
    if history.unwanted.is_empty() {
        return Vec::new();
    }
    let given = history.deliveries.iter().filter_map(|it| Some((it, it.number?)));
    let unwanted = given.filter(|(it, number)| !history.wants(&it.consumer_group, *number));
    let sound = unwanted.filter(|(it, _)| !is_damaged(it));
    sound.map(|(it, number)| violation(it, number)).collect()
}

fn violation(delivery: &Delivery, number: u32) -> Violation {
    let Delivery { key, consumer, consumer_group, queue, queue_offset, ordinal, .. } = delivery;
    let text = format!(
        "{consumer_group} does not subscribe to {key}, and {consumer} was given it from {queue} offset {queue_offset}"
    );
    Violation::new(Checker::Subscription, text).of(number).at(*ordinal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::a_delivery;

    #[test]
    fn what_a_filter_does_not_let_pass_is_given_to_others_only() {
        let deliveries = vec![a_delivery(1, 0), a_delivery(2, 1)];
        let mut history = History { deliveries, ..History::default() };
        assert_eq!(check(&history, |_| false), vec![], "no group has a filter");
        history.unwanted.insert("g".into(), [3].into());
        history.unwanted.insert("h".into(), [1, 2].into());
        assert_eq!(check(&history, |_| false), vec![], "they are given to g");

        history.unwanted.insert("g".into(), [2].into());
        let found = check(&history, |_| false);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].text.contains("g does not subscribe to k000002"), "{found:?}");
        assert_eq!((found[0].number, found[0].ordinal), (Some(2), Some(5)));
        assert_eq!(check(&history, |it| it.queue_offset == 1), vec![], "a device changed the tag");
    }
}
