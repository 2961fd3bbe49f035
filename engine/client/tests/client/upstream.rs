//! Behaviours of RocketMQ 4.9's client, each beside what is done without its switch.

use std::time::Duration;

use mq_client::{
    ConsumeResult, Producer, ProducerConfig, PushConsumerConfig, create_reply_message,
};
use mq_protocol::body::heartbeat::ConsumeFromWhere;
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::header::send_message::SendMessageRequestHeader;
use mq_protocol::message::{Message, MessageConst};
use mq_protocol::upstream::UpstreamSwitch;

use crate::fake_cluster::{Answer, FakeCluster, MASTER_A, MASTER_B, SLAVE_A};
use crate::listening::{SECOND, Seen, config, consumer, success};

fn from_first() -> PushConsumerConfig {
    PushConsumerConfig { consume_from_where: ConsumeFromWhere::ConsumeFromFirstOffset, ..config() }
}

/// One queue with messages `0`, `1`, … in it.
async fn cluster_with(count: usize) -> FakeCluster {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a"], 1);
    for n in 0..count {
        cluster.append("a", 0, "T", &n.to_string());
    }
    cluster
}

#[tokio::test(start_paused = true)]
async fn a_refused_offset_is_no_offset_only_upstream() {
    for (upstream, consumed) in
        [(&[][..], ""), (&[UpstreamSwitch::RefusedOffsetIsNone][..], "0123")]
    {
        let cluster = cluster_with(4).await;
        cluster.state().offsets.insert(("G".into(), "T".into(), "a".into(), 0), 3);
        let busy = [Answer::Code(ResponseCode::SYSTEM_BUSY); 2];
        cluster.answer(MASTER_A, RequestCode::QUERY_CONSUMER_OFFSET, &busy);
        let seen = Seen::default();
        let client = cluster.client_with("c", upstream);
        let _consumer = consumer(&client, from_first(), seen.listener(success)).await;
        tokio::time::sleep(SECOND).await;
        assert_eq!(seen.digits(), consumed);
        tokio::time::sleep(45 * SECOND).await;
        let later = if upstream.is_empty() { "3" } else { "" };
        assert_eq!(seen.digits(), later, "at the next rebalance the broker is asked again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slave_is_asked_for_offsets_only_upstream() {
    for (upstream, asked) in [(&[][..], 0), (&[UpstreamSwitch::OffsetsFromSlave][..], 1)] {
        let cluster = FakeCluster::start().await;
        cluster.route("T", &["a-slave"], 1);
        let code = RequestCode::QUERY_CONSUMER_OFFSET;
        cluster.answer(SLAVE_A, code, &[Answer::Code(ResponseCode::QUERY_NOT_FOUND)]);
        let client = cluster.client_with("c", upstream);
        let _consumer = consumer(&client, from_first(), Seen::default().listener(success)).await;
        tokio::time::sleep(SECOND).await;
        let questions = cluster.take_log(&format!("{code} {SLAVE_A}"));
        assert_eq!(questions.len(), asked, "{questions:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_waits_for_the_next_renewal_of_its_lock_only_upstream() {
    let in_order = || PushConsumerConfig { consume_orderly: true, ..from_first() };
    for (upstream, is_late) in [(&[][..], false), (&[UpstreamSwitch::LocksUnnoted][..], true)] {
        let cluster = FakeCluster::start().await;
        let seen = Seen::default();
        let client = cluster.client_with("c", upstream);
        let _consumer = consumer(&client, in_order(), seen.listener(success)).await;
        // The queue is taken at the first rebalance that knows of it, behind the first renewal.
        tokio::time::sleep(5 * SECOND).await;
        cluster.route("T", &["a"], 1);
        cluster.append("a", 0, "T", "0");
        let mut stalled_s = None;
        let mut taken_at = None;
        for second in 0..120 {
            tokio::time::sleep(SECOND).await;
            if taken_at.is_none() && !cluster.state().locks.is_empty() {
                taken_at = Some(second);
            }
            if !seen.take().is_empty() {
                stalled_s = taken_at.map(|taken_at| second - taken_at);
                break;
            }
        }
        let stalled_s = stalled_s.expect("it is consumed in the end");
        assert_eq!(stalled_s > 1, is_late, "{stalled_s} s");
        assert!(stalled_s <= 20);
    }
}

/// The last renewal that is answered is asked for one second after the start, and answered 900 milliseconds later.
#[tokio::test(start_paused = true)]
async fn a_lock_is_trusted_from_the_answer_on_only_upstream() {
    let late = Duration::from_millis(900);
    let in_order = || PushConsumerConfig { consume_orderly: true, ..from_first() };
    for (upstream, is_longer) in
        [(&[][..], false), (&[UpstreamSwitch::LockTrustedFromAnswer][..], true)]
    {
        let cluster = cluster_with(1).await;
        let seen = Seen::default();
        let client = cluster.client_with("c", upstream);
        let _consumer = consumer(&client, in_order(), seen.listener(success)).await;
        assert_eq!(seen.take(), ["0"]);
        let mut renewals = vec![Answer::Silence; 100];
        renewals[0] = Answer::Late(late);
        cluster.answer(MASTER_A, RequestCode::LOCK_BATCH_MQ, &renewals);
        tokio::time::sleep(31 * SECOND + late / 2).await;
        cluster.append("a", 0, "T", "1");
        tokio::time::sleep(late / 4).await;
        assert_eq!(!seen.take().is_empty(), is_longer);
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_waits_for_the_heartbeat_of_another_one_only_upstream() {
    for (upstream, is_late) in [(&[][..], false), (&[UpstreamSwitch::HeartbeatsInTurn][..], true)] {
        let cluster = FakeCluster::start().await;
        cluster.route("T", &["a", "b"], 1);
        let client = cluster.client_with("c", upstream);
        let _consumer = consumer(&client, from_first(), Seen::default().listener(success)).await;
        tokio::time::sleep(40 * SECOND).await;
        cluster.take_log("");
        cluster.answer(MASTER_A, RequestCode::HEART_BEAT, &[Answer::Silence]);
        let _producer = Producer::new(&client, ProducerConfig::new("P"));
        tokio::time::sleep(SECOND).await;
        let told = cluster.take_log(&format!("34 {MASTER_B}"));
        assert_eq!(told.is_empty(), is_late, "{told:?}");
        tokio::time::sleep(3 * SECOND).await;
        assert_eq!(cluster.take_log(&format!("34 {MASTER_B}")).is_empty(), !is_late);
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_allows_one_redelivery_less_only_upstream() {
    for (upstream, times_max) in [(&[][..], 3), (&[UpstreamSwitch::EarlyDeadLetters][..], 2)] {
        let cluster = cluster_with(1).await;
        cluster.route("%RETRY%G", &["b"], 1);
        let refused = [Answer::Code(ResponseCode::SYSTEM_ERROR)];
        cluster.answer(MASTER_A, RequestCode::CONSUMER_SEND_MSG_BACK, &refused);
        let listener = Seen::default().listener(|_| ConsumeResult::ReconsumeLater.into());
        let config = PushConsumerConfig { reconsume_times_max: 2, ..from_first() };
        let _consumer = consumer(&cluster.client_with("c", upstream), config, listener).await;
        tokio::time::sleep(SECOND).await;
        let sends = std::mem::take(&mut cluster.state().sends);
        let [copy] = &sends[..] else { panic!("{} copies", sends.len()) };
        let header: SendMessageRequestHeader = copy.header().unwrap();
        assert_eq!(
            (header.reconsume_times, header.max_reconsume_times),
            (Some(1), Some(times_max))
        );
    }
}

/// What is left of a send's time when a broker is tried that had nothing to do with the first one's silence says nothing of
/// the connection to it, by which others wait for answers.
#[tokio::test(start_paused = true)]
async fn what_others_left_of_a_sends_time_closes_a_connection_only_upstream() {
    for (upstream, is_closed) in
        [(&[][..], false), (&[UpstreamSwitch::EveryTimeoutCloses][..], true)]
    {
        let cluster = FakeCluster::start().await;
        cluster.route("T", &["a"], 1);
        cluster.route("U", &["a", "b"], 1);
        let client = cluster.client_with("c", upstream);
        let _consumer = consumer(&client, from_first(), Seen::default().listener(success)).await;
        let config = ProducerConfig { send_msg_timeout: SECOND, ..ProducerConfig::new("P") };
        let producer = Producer::new(&client, config);
        let send = || producer.send(Message::new("U", "m"));
        // The brokers take turns.
        while send().await.unwrap().message_queue.broker_name == "b" {}
        let silent = |addr, count| {
            let code = RequestCode::SEND_MESSAGE_V2;
            cluster.answer(addr, code, &vec![Answer::Silence; count]);
        };
        silent(MASTER_B, 2);
        let later = async {
            tokio::time::sleep(SECOND * 3 / 10).await;
            assert_eq!(send().await.unwrap().message_queue.broker_name, "a");
            silent(MASTER_A, 1);
            send().await
        };
        cluster.take_log("");
        let (first, second) = tokio::join!(send(), later);
        assert_eq!(first.unwrap_err().attempts, 1);
        assert_eq!(second.unwrap_err().attempts, 2, "the one that b kept waiting goes to a");
        tokio::time::sleep(2 * SECOND).await;
        let pulled_again = cluster.take_log(&format!("{} {MASTER_A}", RequestCode::PULL_MESSAGE));
        assert_eq!(!pulled_again.is_empty(), is_closed, "{pulled_again:?}");
    }
}

/// A broker answers a reply once whoever had asked has it: that one may be gone.
#[tokio::test(start_paused = true)]
async fn a_reply_that_times_out_closes_a_connection_only_upstream() {
    for (upstream, is_closed) in
        [(&[][..], false), (&[UpstreamSwitch::EveryTimeoutCloses][..], true)]
    {
        let cluster = FakeCluster::start().await;
        cluster.route("T", &["a"], 1);
        cluster.route("C_REPLY_TOPIC", &["a"], 1);
        let client = cluster.client_with("c", upstream);
        let _consumer = consumer(&client, from_first(), Seen::default().listener(success)).await;
        let config = ProducerConfig { send_msg_timeout: SECOND, ..ProducerConfig::new("P") };
        let producer = Producer::new(&client, config);
        let mut request = Message::new("T", "ping");
        request.properties.insert(MessageConst::CLUSTER, "C");
        cluster.answer(MASTER_A, RequestCode::SEND_REPLY_MESSAGE_V2, &[Answer::Silence]);
        cluster.take_log("");
        let reply = create_reply_message(&request, "pong").unwrap();
        assert_eq!(producer.send(reply).await.unwrap_err().attempts, 1);
        tokio::time::sleep(2 * SECOND).await;
        let pulled_again = cluster.take_log(&format!("{} {MASTER_A}", RequestCode::PULL_MESSAGE));
        assert_eq!(!pulled_again.is_empty(), is_closed, "{pulled_again:?}");
    }
}
