//! How the queues of a topic are divided among the members of a consumer group.

use mq_protocol::message::MessageQueue;

/// The queues of `client_id` (RocketMQ 4.9 `AllocateMessageQueueAveragely`): consecutive runs whose
/// lengths differ by at most one, the longer ones first. Both lists must be sorted; who is not
/// among `client_ids` gets none.
#[must_use]
pub fn allocate_averagely(
    client_id: &str,
    queues: &[MessageQueue],
    client_ids: &[String],
) -> Vec<MessageQueue> {
    let Some(index) = client_ids.iter().position(|id| id == client_id) else {
        return Vec::new();
    };
    let (share, longer) = (queues.len() / client_ids.len(), queues.len() % client_ids.len());
    let start = index * share + index.min(longer);
    let len = share + usize::from(index < longer);
    queues[start..start + len].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Queue ids by member, for `queue_count` queues and `member_count` members.
    fn shares(queue_count: i32, member_count: usize) -> Vec<Vec<i32>> {
        let queues: Vec<_> = (0..queue_count)
            .map(|queue_id| MessageQueue { queue_id, ..MessageQueue::default() })
            .collect();
        let ids: Vec<_> = (0..member_count).map(|member| format!("c{member}")).collect();
        let share = |id: &String| allocate_averagely(id, &queues, &ids);
        ids.iter().map(|id| share(id).iter().map(|queue| queue.queue_id).collect()).collect()
    }

    #[test]
    fn shares_are_those_of_java() {
        assert_eq!(shares(4, 1), [vec![0, 1, 2, 3]]);
        assert_eq!(shares(8, 3), [vec![0, 1, 2], vec![3, 4, 5], vec![6, 7]]);
        assert_eq!(shares(4, 2), [vec![0, 1], vec![2, 3]]);
        assert_eq!(shares(2, 3), [vec![0], vec![1], vec![]]);
        assert_eq!(shares(0, 2), [Vec::<i32>::new(), vec![]]);
    }

    #[test]
    fn a_stranger_gets_nothing() {
        let queues = [MessageQueue::default()];
        assert!(allocate_averagely("x", &queues, &["a".into(), "b".into()]).is_empty());
    }
}
