//! Transactional messages: half messages, their ends, and what crashes leave of them.

use std::time::Duration;

use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::header::send_message::{SendMessageRequestHeader, SendMessageResponseHeader};
use mq_protocol::header::transaction::EndTransactionRequestHeader;
use mq_protocol::message::{MessageExt, OffsetMessageId};
use mq_protocol::message_codec::decode_messages;
use mq_protocol::remoting_command::RemotingCommand;
use mq_store::config::FlushDiskType;
use staticfire_world::world::World;

use super::cluster::{
    Broker, Cluster, pull_header, seconds, send_header, send_request, test_without_writeback,
};

pub(super) const HALF_TOPIC: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
const OP_TOPIC: &str = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
pub(super) const COMMIT: i32 = 8;
pub(super) const ROLLBACK: i32 = 12;

pub(super) fn half_header() -> SendMessageRequestHeader {
    let properties = "KEYS\u{1}k\u{2}TRAN_MSG\u{1}true\u{2}PGROUP\u{1}P\u{2}WAIT\u{1}true\u{2}";
    SendMessageRequestHeader {
        queue_id: 2,
        sys_flag: 4,
        flag: 7,
        properties: Some(properties.to_owned()),
        ..send_header("T")
    }
}

/// Sends a half message; what a producer says to end it.
async fn send_half(cluster: &Cluster, broker: &Broker) -> EndTransactionRequestHeader {
    send_half_as(cluster, broker, half_header()).await
}

/// As [`send_half`], with a header of its own.
pub(super) async fn send_half_as(
    cluster: &Cluster,
    broker: &Broker,
    header: SendMessageRequestHeader,
) -> EndTransactionRequestHeader {
    let response = cluster.ask(&broker.addr, send_request(&header, "body")).await;
    assert_eq!(response.code, ResponseCode::SUCCESS, "{:?}", response.remark);
    let sent: SendMessageResponseHeader = response.header().unwrap();
    assert_eq!(sent.queue_id, 2);
    let id: OffsetMessageId = sent.msg_id.parse().unwrap();
    EndTransactionRequestHeader {
        producer_group: "P".to_owned(),
        tran_state_table_offset: sent.queue_offset,
        commit_log_offset: id.phy_offset,
        msg_id: "unique".to_owned(),
        ..EndTransactionRequestHeader::default()
    }
}

pub(super) async fn end(
    cluster: &Cluster,
    broker: &Broker,
    half: &EndTransactionRequestHeader,
    commit_or_rollback: i32,
) -> RemotingCommand {
    let header = EndTransactionRequestHeader { commit_or_rollback, ..half.clone() };
    cluster.call(&broker.addr, RequestCode::END_TRANSACTION, &header).await
}

pub(super) async fn read(
    cluster: &Cluster,
    broker: &Broker,
    topic: &str,
    queue_id: i32,
) -> Vec<MessageExt> {
    let mut header = pull_header("reader", topic, 0);
    header.queue_id = queue_id;
    let response = cluster.call(&broker.addr, RequestCode::PULL_MESSAGE, &header).await;
    decode_messages(&response.body)
}

/// How many messages of the topic, of the half topic and of the op topic there are.
pub(super) async fn counts(cluster: &Cluster, broker: &Broker) -> [usize; 3] {
    [
        read(cluster, broker, "T", 2).await.len(),
        read(cluster, broker, HALF_TOPIC, 0).await.len(),
        read(cluster, broker, OP_TOPIC, 0).await.len(),
    ]
}

fn properties(message: &MessageExt) -> Vec<(&str, &str)> {
    message.message.properties.iter().collect()
}

/// Every property as it is stored.
const STORED: [(&str, &str); 7] = [
    ("KEYS", "k"),
    ("TRAN_MSG", "true"),
    ("PGROUP", "P"),
    ("WAIT", "true"),
    ("CLUSTER", "DefaultCluster"),
    ("REAL_TOPIC", "T"),
    ("REAL_QID", "2"),
];

#[test]
fn a_half_message_is_seen_once_it_is_committed() {
    World::test(1, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        cluster.send(&broker.addr, "T", "before").await;
        let half = send_half(&cluster, &broker).await;
        assert_eq!(counts(&cluster, &broker).await, [0, 1, 0]);
        let [waiting] = &read(&cluster, &broker, HALF_TOPIC, 0).await[..] else { panic!("one") };
        assert_eq!(properties(waiting), STORED);
        assert_eq!((waiting.sys_flag, waiting.queue_id, waiting.queue_offset), (0, 0, 0));

        let ended = end(&cluster, &broker, &half, COMMIT).await;
        assert_eq!((ended.code, ended.remark.as_deref()), (ResponseCode::SUCCESS, None));
        let [message] = &read(&cluster, &broker, "T", 2).await[..] else { panic!("one") };
        // As Java stores it: what marked the half message stays.
        assert_eq!(properties(message), STORED);
        assert_eq!((message.sys_flag, message.queue_offset, message.message.flag), (8, 0, 7));
        assert_eq!(message.prepared_transaction_offset, half.commit_log_offset);
        assert_eq!(&message.message.body[..], b"body");
        assert_eq!((message.born_timestamp, message.born_host), (1, waiting.born_host));
        let [op] = &read(&cluster, &broker, OP_TOPIC, 0).await[..] else { panic!("one") };
        assert_eq!(properties(op), [("WAIT", "true"), ("TAGS", "d")]);
        assert_eq!((&op.message.body[..], op.sys_flag, op.queue_id), (&b"0"[..], 0, 0));
        assert_eq!(op.born_host, op.store_host);
        assert!(op.phy_offset > message.phy_offset, "the message comes before its end");
    });
}

#[test]
fn a_message_that_is_rolled_back_or_left_alone_is_never_seen() {
    World::test(2, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        let mut halves = Vec::new();
        for _ in 0..3 {
            halves.push(send_half(&cluster, &broker).await);
        }
        assert_eq!(end(&cluster, &broker, &halves[1], ROLLBACK).await.code, 0);
        let unknown = RemotingCommand::request(RequestCode::END_TRANSACTION, &halves[2]);
        let asked = cluster.client.invoke_async(&broker.addr, unknown, Duration::from_secs(3));
        assert!(asked.await.is_err(), "who does not know gets no answer");
        let ops = read(&cluster, &broker, OP_TOPIC, 0).await;
        assert_eq!(ops.iter().map(|op| &op.message.body[..]).collect::<Vec<_>>(), [b"1"]);
        // Neither a restart nor a kill shows it to anybody.
        broker.stop().await;
        broker.start().await;
        assert_eq!(counts(&cluster, &broker).await, [0, 3, 1]);
        broker.process.kill();
        cluster.client.close(&broker.addr);
        broker.start().await;
        assert_eq!(counts(&cluster, &broker).await, [0, 3, 1]);
        assert_eq!(end(&cluster, &broker, &halves[2], COMMIT).await.code, 0);
        assert_eq!(counts(&cluster, &broker).await, [1, 3, 2]);
    });
}

#[test]
fn an_end_that_fits_no_half_message_changes_nothing() {
    World::test(3, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        let slave = cluster.slave().await;
        let plain = cluster.send(&broker.addr, "T", "body").await;
        let half = send_half(&cluster, &broker).await;
        let other = |change: fn(&mut EndTransactionRequestHeader)| {
            let mut other = half.clone();
            change(&mut other);
            other
        };
        let missing = "Find prepared transaction message failed";
        for (wrong, remark) in [
            (other(|it| it.producer_group = "Q".to_owned()), "The producer group wrong"),
            (
                other(|it| it.tran_state_table_offset = 9),
                "The transaction state table offset wrong",
            ),
            (other(|it| it.commit_log_offset += 1), missing),
            (other(|it| it.commit_log_offset = -1), missing),
            (other(|it| it.commit_log_offset = 1 << 40), missing),
            // The plain message.
            (other(|it| it.commit_log_offset = 0), missing),
        ] {
            let answer = end(&cluster, &broker, &wrong, COMMIT).await;
            assert_eq!(answer.code, ResponseCode::SYSTEM_ERROR);
            assert_eq!(answer.remark.as_deref(), Some(remark));
        }
        seconds(15).await;
        let answer = end(&cluster, &slave, &half, COMMIT).await;
        assert_eq!(answer.code, ResponseCode::SLAVE_NOT_AVAILABLE);
        assert_eq!((plain, counts(&cluster, &broker).await), (0, [0, 1, 0]));
    });
}

#[test]
fn a_broker_may_refuse_transactions() {
    World::test(4, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|config, _| config.reject_transaction_message = true).await;
        let response = cluster.ask(&broker.addr, send_request(&half_header(), "body")).await;
        assert_eq!(response.code, ResponseCode::NO_PERMISSION);
        assert_eq!(counts(&cluster, &broker).await, [0, 0, 0]);
    });
}

#[test]
fn a_half_message_has_no_delay() {
    World::test(5, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        let mut header = half_header();
        header.properties = header.properties.map(|it| it + "DELAY\u{1}2\u{2}");
        cluster.ask(&broker.addr, send_request(&header, "body")).await;
        assert_eq!(counts(&cluster, &broker).await, [0, 1, 0]);
        let [half] = &read(&cluster, &broker, HALF_TOPIC, 0).await[..] else { panic!("one") };
        assert_eq!(properties(half), STORED);
    });
}

#[test]
fn acknowledged_halves_and_ends_survive_power_losses() {
    test_without_writeback(6, async |world| {
        let cluster = Cluster::new(world);
        let broker =
            cluster.master(|_, store| store.flush_disk_type = FlushDiskType::SyncFlush).await;
        let half = send_half(&cluster, &broker).await;
        cluster.power_cycle(&broker);
        broker.start().await;
        assert_eq!(counts(&cluster, &broker).await, [0, 1, 0]);
        assert_eq!(end(&cluster, &broker, &half, COMMIT).await.code, 0);
        cluster.power_cycle(&broker);
        broker.start().await;
        let [message, _, op] = counts(&cluster, &broker).await;
        assert_eq!(message, 1);
        // Nobody waits for an op message; without it the producer is asked again.
        assert!(op <= 1);
    });
}
