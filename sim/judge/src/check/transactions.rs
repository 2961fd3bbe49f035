//! A message that was sent in a transaction is delivered only after its local transaction was committed.

use super::{Checker, Violation};
use crate::history::{Delivery, History, LocalTransaction};

/// Looks at every delivery, to the groups of the story and to the fresh one.
#[must_use]
pub fn check(history: &History) -> Vec<Violation> {
    let read = history.read_back.values().flat_map(|queue| &queue.messages);
    let all = history.deliveries.iter().chain(read);
    all.filter_map(|delivery| judge(history, delivery)).collect()
}

fn judge(history: &History, delivery: &Delivery) -> Option<Violation> {
    let number = delivery.number?;
    let why = match history.transactions.get(&number)? {
        LocalTransaction::Committed { ordinal } if *ordinal < delivery.ordinal => return None,
        LocalTransaction::Committed { .. } => "before its transaction was committed",
        LocalTransaction::Running => "whose transaction is not committed",
        LocalTransaction::RolledBack => "whose transaction was rolled back",
    };
    let Delivery { key, queue, queue_offset, .. } = delivery;
    let text = format!("delivered {key} from {queue} offset {queue_offset}, {why}");
    Some(Violation::new(Checker::Transactions, text).of(number).at(delivery.ordinal))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::a_delivery;

    fn delivery(number: u32, ordinal: u64) -> Delivery {
        Delivery { ordinal, ..a_delivery(number, 0) }
    }

    #[test]
    fn half_messages_are_seen_only_once_they_are_committed() {
        let mut history = History::default();
        history.transactions.insert(1, LocalTransaction::Committed { ordinal: 5 });
        history.deliveries = vec![delivery(1, 6), delivery(2, 3)];
        assert_eq!(check(&history), vec![], "2 was sent in no transaction");

        history.transactions.insert(2, LocalTransaction::RolledBack);
        history.transactions.insert(3, LocalTransaction::Running);
        history.deliveries.push(delivery(1, 4));
        let queue = history.deliveries[0].queue.clone();
        history.read_back.entry(queue).or_default().messages.push(delivery(3, 9));
        let found = check(&history);
        let texts = ["rolled back", "before its", "not committed"];
        assert_eq!(found.len(), texts.len());
        for (found, text) in found.iter().zip(texts) {
            assert!(found.text.contains(text), "{found}");
        }
    }
}
