//! Division by a ring of hashes (RocketMQ 4.9 `AllocateMessageQueueConsistentHash`, `ConsistentHashRouter`).

use std::collections::BTreeMap;

use mq_protocol::message::MessageQueue;

/// The queues whose hash is followed on the ring by a virtual node of `client_id`.
pub(super) fn allocate_by_consistent_hash(
    virtual_node_cnt: usize,
    client_id: &str,
    queues: &[MessageQueue],
    client_ids: &[String],
) -> Vec<MessageQueue> {
    let ring = ring(virtual_node_cnt, client_ids);
    let is_mine = |queue: &&MessageQueue| {
        let hash = hash(&java_text(queue));
        let next = ring.range(hash..).next().or_else(|| ring.first_key_value());
        next.is_some_and(|(_, owner)| *owner == client_id)
    };
    queues.iter().filter(is_mine).cloned().collect()
}

/// The virtual nodes of all members by their hash. One that is named twice has twice as many.
fn ring(virtual_node_cnt: usize, client_ids: &[String]) -> BTreeMap<u32, &str> {
    let (mut ring, mut replicas) = (BTreeMap::new(), BTreeMap::<&str, usize>::new());
    for id in client_ids {
        let existing = replicas.entry(id).or_default();
        for _ in 0..virtual_node_cnt {
            ring.insert(hash(&format!("{id}-{existing}")), id.as_str());
            *existing += 1;
        }
    }
    ring
}

/// The first four bytes of the MD5 sum.
fn hash(key: &str) -> u32 {
    let [a, b, c, d, ..] = md5::compute(key).0;
    u32::from_be_bytes([a, b, c, d])
}

/// What Java's `MessageQueue.toString` says.
fn java_text(queue: &MessageQueue) -> String {
    let MessageQueue { topic, broker_name, queue_id } = queue;
    format!("MessageQueue [topic={topic}, brokerName={broker_name}, queueId={queue_id}]")
}

#[cfg(test)]
mod tests {
    use super::super::VIRTUAL_NODE_CNT;
    use super::*;

    fn shares(
        virtual_node_cnt: usize,
        broker_name: &str,
        topic: &str,
        count: i32,
        client_ids: &[String],
    ) -> Vec<Vec<i32>> {
        let queue = |queue_id| MessageQueue {
            topic: topic.to_owned(),
            broker_name: broker_name.to_owned(),
            queue_id,
        };
        let queues: Vec<_> = (0..count).map(queue).collect();
        let share =
            |id: &String| allocate_by_consistent_hash(virtual_node_cnt, id, &queues, client_ids);
        client_ids.iter().map(|id| share(id).iter().map(|it| it.queue_id).collect()).collect()
    }

    /// Computed by a program of its own, in Python with hashlib's MD5, from the steps of `ConsistentHashRouter`:
    /// keys `clientId-replica`, the first four bytes of the digest as a number from the highest byte on,
    /// `tailMap` with the bound itself, and else the first key.
    #[test]
    fn shares_are_those_of_java() {
        let prefixed: Vec<_> = (0..3).map(|n| format!("CID_PREFIX{n}")).collect();
        assert_eq!(
            shares(VIRTUAL_NODE_CNT, "brokerName", "topic_test", 10, &prefixed),
            [vec![0, 1, 4], vec![3], vec![2, 5, 6, 7, 8, 9]]
        );
        let clients: Vec<_> = (1..5).map(|n| format!("10.0.0.{n}@c")).collect();
        assert_eq!(
            shares(VIRTUAL_NODE_CNT, "broker-a", "T", 16, &clients),
            [vec![2, 3, 4, 8, 10, 11, 14], vec![1, 7, 13], vec![0, 5, 6, 12, 15], vec![9]]
        );
        assert_eq!(
            shares(1, "broker-a", "T", 16, &clients),
            [vec![2, 3, 8], vec![13], vec![0, 5, 7, 12], vec![1, 4, 6, 9, 10, 11, 14, 15]]
        );
        assert_eq!(hash("10.0.0.1@c-0"), 9_772_682);
    }

    #[test]
    fn without_virtual_nodes_nobody_gets_anything() {
        assert_eq!(shares(0, "a", "T", 2, &["c".to_owned()]), [Vec::<i32>::new()]);
    }
}
