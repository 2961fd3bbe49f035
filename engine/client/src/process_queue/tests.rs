//! What is cached of one queue.

use mq_protocol::message::Message;

use super::*;

fn message(queue_offset: i64, len: usize) -> Arc<MessageExt> {
    let host = ([10, 0, 0, 1], 1).into();
    Arc::new(MessageExt {
        message: Message::new("T".to_owned(), vec![0; len]),
        broker_name: "a".to_owned(),
        queue_id: 0,
        store_size: len as i32,
        queue_offset,
        sys_flag: 0,
        born_timestamp: 1,
        born_host: host,
        store_timestamp: 1,
        store_host: host,
        phy_offset: queue_offset,
        body_crc: 0,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
    })
}

#[tokio::test(start_paused = true)]
async fn a_pull_that_does_not_end_is_noticed() {
    let queue = ProcessQueue::default();
    tokio::time::advance(2 * PULL_MAX_IDLE_TIME).await;
    assert!(!queue.is_pull_expired(), "it waits for room, or for a lock");
    queue.pull_started();
    tokio::time::advance(PULL_MAX_IDLE_TIME).await;
    assert!(!queue.is_pull_expired());
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(queue.is_pull_expired());
    queue.pull_ended();
    assert!(!queue.is_pull_expired());
}

/// A broker that sends messages out of order, or once more, does not get them handed out so.
#[tokio::test(start_paused = true)]
async fn in_order_nothing_comes_behind_what_is_higher() {
    let queue = ProcessQueue::locked(Instant::now());
    let taken = |count| {
        let taken = queue.take_in_order(count);
        let batch = taken.map(|(_, batch)| batch).unwrap_or_default();
        batch.iter().map(|it| it.queue_offset).collect::<Vec<_>>()
    };
    queue.put_in_order([7, 5, 6, 6].map(|offset| message(offset, 1)).to_vec());
    assert_eq!(taken(2), [5, 6]);
    queue.put_in_order([6, 8].map(|offset| message(offset, 1)).to_vec());
    queue.put_back_in_order([5, 6].map(|offset| message(offset, 1)).to_vec());
    assert_eq!(taken(9), [5, 6, 7, 8]);
    queue.put_in_order(vec![message(9, 1)]);
    queue.lock_lost();
    assert_eq!(taken(1), [0; 0]);
    queue.lock_given(Instant::now());
    assert_eq!(taken(1), [0; 0], "pulled before");
    queue.start_over(2);
    queue.put_in_order(vec![message(5, 1)]);
    assert_eq!(taken(1), [5]);
}

#[test]
fn a_message_that_comes_twice_takes_its_room_once() {
    let queue = ProcessQueue::default();
    let limits = FlowControl { size_bytes_max: 100, ..FlowControl::default() };
    for _ in 0..3 {
        queue.put(vec![message(5, 60)]);
    }
    assert!(queue.has_room(limits), "sixty bytes are here");
    queue.put(vec![message(6, 60)]);
    assert!(!queue.has_room(limits));
    assert_eq!(queue.remove(&[message(5, 60)]), Some(6));
    queue.put_back(vec![message(6, 60)]);
    assert_eq!(queue.remove(&[message(6, 60)]), Some(7));
    assert_eq!(queue.state().size_bytes, 0);
}
