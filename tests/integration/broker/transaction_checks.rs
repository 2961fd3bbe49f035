//! Half messages that nobody ends: who is asked about them, how often, and that each ends once.

use std::sync::{Arc, Mutex};

use mq_protocol::body::heartbeat::{HeartbeatData, ProducerData};
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::header::transaction::{
    CheckTransactionStateRequestHeader, EndTransactionRequestHeader,
    ResumeCheckHalfMessageRequestHeader,
};
use mq_protocol::message::MessageExt;
use mq_protocol::message_codec::decode_message;
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{
    Channel, ProcessOutcome, ProcessResult, ProcessorTable, RemotingClient, RequestProcessor,
};
use mq_store::config::{FlushDiskType, UpstreamSwitch};
use staticfire_world::world::World;

use super::cluster::{Broker, Cluster, heartbeat, new_client, seconds, test_without_writeback};
use super::transactions::{
    COMMIT, HALF_TOPIC, ROLLBACK, counts, end, half_header, read, send_half_as,
};

const CHECK_MAX_TOPIC: &str = "TRANS_CHECK_MAX_TIME_TOPIC";

type Question = (CheckTransactionStateRequestHeader, MessageExt);

/// A member of the producer group, and what it was asked.
struct Producer {
    client: RemotingClient,
    client_id: &'static str,
    asked: Arc<Asked>,
}

#[derive(Default)]
struct Asked(Mutex<Vec<Question>>);

impl RequestProcessor for Asked {
    fn process(&self, _: &Channel, request: RemotingCommand) -> ProcessResult {
        assert_eq!(request.code, RequestCode::CHECK_TRANSACTION_STATE);
        assert!(request.is_oneway());
        let message = decode_message(&request.body).expect("a record");
        self.0.lock().unwrap().push((request.header()?, message));
        Ok(ProcessOutcome::Silent)
    }
}

impl Producer {
    fn new(cluster: &Cluster, client_id: &'static str) -> Self {
        let asked = Arc::<Asked>::default();
        let table = ProcessorTable::default().register_default(Arc::clone(&asked) as Arc<_>);
        Producer { client: new_client(&cluster.world, client_id, table), client_id, asked }
    }

    async fn heartbeat(&self, broker: &Broker) {
        let body = HeartbeatData {
            client_id: self.client_id.to_owned(),
            producer_data_set: vec![ProducerData { group_name: "P".to_owned() }],
            ..HeartbeatData::default()
        };
        let reply = heartbeat(&self.client, broker, &body).await;
        assert_eq!(reply.code, ResponseCode::SUCCESS);
    }

    /// Beats its heart for so many seconds; what it was asked meanwhile.
    async fn listen(&self, broker: &Broker, count: u64) -> Vec<Question> {
        for _ in 0..count {
            self.heartbeat(broker).await;
            seconds(1).await;
        }
        std::mem::take(&mut self.asked.0.lock().unwrap())
    }
}

/// Sends a half message that is new, with more properties.
async fn send_new_half(
    cluster: &Cluster,
    broker: &Broker,
    more: &str,
) -> EndTransactionRequestHeader {
    let mut header = half_header();
    let clock = broker.process.env().unwrap().clock;
    header.born_timestamp = clock.now_millis() as i64;
    header.properties = header.properties.map(|it| it + "UNIQ_KEY\u{1}unique\u{2}" + more);
    send_half_as(cluster, broker, header).await
}

#[test]
fn a_producer_is_asked_until_it_ends_the_transaction() {
    World::test(1, async |world| {
        let cluster = Cluster::new(world);
        let broker =
            cluster.master(|config, _| config.transaction_check_interval_ms = 10_000).await;
        let producer = Producer::new(&cluster, "p1");
        seconds(5).await;
        let half = send_new_half(&cluster, &broker, "").await;
        assert_eq!(producer.listen(&broker, 9).await, [], "at the first look it is too young");
        let asked = producer.listen(&broker, 20).await;
        let [first, second] = &asked[..] else { panic!("{asked:?}") };
        let (header, message) = first;
        assert_eq!(header.tran_state_table_offset, half.tran_state_table_offset);
        assert_eq!(header.commit_log_offset, half.commit_log_offset);
        assert_eq!(header.msg_id.as_deref(), Some("unique"));
        assert_eq!(header.transaction_id.as_deref(), Some("unique"));
        assert_eq!((&*message.message.topic, message.queue_id), ("T", 2), "as it was sent");
        assert_eq!(&message.message.body[..], b"body");
        assert_eq!(Some(message.offset_msg_id().to_string()), header.offset_msg_id);
        let times = |(_, message): &Question| {
            message.message.properties.get("TRANSACTION_CHECK_TIMES").map(str::to_owned)
        };
        assert_eq!([first, second].map(times), ["1", "2"].map(|it| Some(it.to_owned())));

        let answer = EndTransactionRequestHeader { from_transaction_check: true, ..half };
        assert_eq!(end(&cluster, &broker, &answer, COMMIT).await.code, ResponseCode::SUCCESS);
        assert_eq!(
            counts(&cluster, &broker).await,
            [1, 1, 1],
            "the half message stayed where it was"
        );
        assert_eq!(producer.listen(&broker, 30).await, []);
    });
}

#[test]
fn a_half_message_that_nobody_ends_is_given_up() {
    World::test(2, async |world| {
        let cluster = Cluster::new(world);
        let edit = |config: &mut mq_broker::config::BrokerConfig| {
            (config.transaction_check_interval_ms, config.transaction_check_max) = (10_000, 2);
        };
        let broker = cluster.master(|config, _| edit(config)).await;
        let producer = Producer::new(&cluster, "p1");
        let half = send_new_half(&cluster, &broker, "").await;
        let other = send_new_half(&cluster, &broker, "").await;
        assert_eq!(end(&cluster, &broker, &other, ROLLBACK).await.code, ResponseCode::SUCCESS);
        assert_eq!(producer.listen(&broker, 60).await.len(), 2);
        let [given_up] = &read(&cluster, &broker, CHECK_MAX_TOPIC, 0).await[..] else {
            panic!("one");
        };
        assert_eq!(given_up.message.properties.get("REAL_TOPIC"), Some("T"));
        // It has ended: what comes now comes too late, before a restart and after it.
        assert_eq!(end(&cluster, &broker, &half, COMMIT).await.code, ResponseCode::SUCCESS);
        assert_eq!(counts(&cluster, &broker).await, [0, 2, 2]);
        broker.stop().await;
        broker.start().await;
        assert_eq!(end(&cluster, &broker, &half, COMMIT).await.code, ResponseCode::SUCCESS);
        assert_eq!(producer.listen(&broker, 30).await, []);
        assert_eq!(counts(&cluster, &broker).await, [0, 2, 2]);
        assert_eq!(read(&cluster, &broker, CHECK_MAX_TOPIC, 0).await.len(), 1);
    });
}

#[test]
fn a_half_message_may_ask_for_more_time() {
    World::test(3, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|config, _| config.transaction_check_interval_ms = 1_000).await;
        let producer = Producer::new(&cluster, "p1");
        send_new_half(&cluster, &broker, "CHECK_IMMUNITY_TIME_IN_SECONDS\u{1}100\u{2}").await;
        assert_eq!(producer.listen(&broker, 95).await, []);
        assert!(!producer.listen(&broker, 10).await.is_empty());
    });
}

#[test]
fn a_transaction_ends_once() {
    World::test(4, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        let [committed, rolled_back] = [
            send_new_half(&cluster, &broker, "").await,
            send_new_half(&cluster, &broker, "").await,
        ];
        let ends = [(&committed, COMMIT), (&rolled_back, ROLLBACK)];
        let again = [(&committed, COMMIT), (&committed, ROLLBACK), (&rolled_back, COMMIT)];
        for (half, how) in ends.into_iter().chain(again) {
            assert_eq!(end(&cluster, &broker, half, how).await.code, ResponseCode::SUCCESS);
        }
        assert_eq!(counts(&cluster, &broker).await, [1, 2, 2]);
        broker.process.kill();
        cluster.client.close(&broker.addr);
        broker.start().await;
        for (half, how) in again {
            assert_eq!(end(&cluster, &broker, half, how).await.code, ResponseCode::SUCCESS);
        }
        assert_eq!(counts(&cluster, &broker).await, [1, 2, 2]);
    });
}

#[test]
fn a_commit_whose_end_was_lost_is_not_repeated() {
    test_without_writeback(5, async |world| {
        let cluster = Cluster::new(world);
        let sync = |_: &mut _, store: &mut mq_store::config::StoreConfig| {
            store.flush_disk_type = FlushDiskType::SyncFlush;
        };
        let broker = cluster.master(sync).await;
        let half = send_new_half(&cluster, &broker, "").await;
        assert_eq!(end(&cluster, &broker, &half, COMMIT).await.code, ResponseCode::SUCCESS);
        cluster.power_cycle(&broker);
        broker.start().await;
        assert_eq!(counts(&cluster, &broker).await, [1, 1, 0], "nobody waits for an op message");
        assert_eq!(end(&cluster, &broker, &half, COMMIT).await.code, ResponseCode::SUCCESS);
        assert_eq!(counts(&cluster, &broker).await, [1, 1, 1]);
        assert_eq!(read(&cluster, &broker, HALF_TOPIC, 0).await.len(), 1);
    });
}

#[test]
fn questions_are_counted_over_restarts() {
    World::test(6, async |world| {
        let cluster = Cluster::new(world);
        let edit = |config: &mut mq_broker::config::BrokerConfig| {
            (config.transaction_check_interval_ms, config.transaction_check_max) = (10_000, 3);
        };
        let broker = cluster.master(|config, _| edit(config)).await;
        let producer = Producer::new(&cluster, "p1");
        send_new_half(&cluster, &broker, "").await;
        assert_eq!(producer.listen(&broker, 25).await.len(), 2);
        broker.process.kill();
        cluster.client.close(&broker.addr);
        producer.client.close(&broker.addr);
        broker.start().await;
        let asked = producer.listen(&broker, 60).await;
        let [(_, message)] = &asked[..] else { panic!("{asked:?}") };
        let times = message.message.properties.get("TRANSACTION_CHECK_TIMES");
        assert_eq!(times, Some("3"), "the third and last question");
        assert_eq!(read(&cluster, &broker, CHECK_MAX_TOPIC, 0).await.len(), 1);
        assert_eq!(counts(&cluster, &broker).await, [0, 1, 1]);
    });
}

/// What was given up is asked about once more, and ends as any other; what is not ended yet is asked about from the
/// beginning, and what has ended stays so.
#[test]
fn an_operator_has_a_half_message_asked_about_again() {
    World::test(8, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster
            .master(|config, _| {
                (config.transaction_check_interval_ms, config.transaction_check_max) = (10_000, 2);
            })
            .await;
        let producer = Producer::new(&cluster, "p1");
        let resume = async |topic: &str, nth: usize| {
            let message = &read(&cluster, &broker, topic, 0).await[nth];
            let msg_id = Some(message.offset_msg_id().to_string());
            let header = ResumeCheckHalfMessageRequestHeader { msg_id };
            let code = RequestCode::RESUME_CHECK_HALF_MESSAGE;
            let reply = cluster.call(&broker.addr, code, &header).await;
            (reply.code, reply.remark.unwrap_or_default())
        };
        let half = send_new_half(&cluster, &broker, "").await;
        assert_eq!(producer.listen(&broker, 15).await.len(), 1);
        assert_eq!(resume(HALF_TOPIC, 0).await.0, ResponseCode::SUCCESS);
        assert_eq!(producer.listen(&broker, 60).await.len(), 2, "two more, not one");
        assert_eq!(counts(&cluster, &broker).await, [0, 1, 1]);
        let (code, remark) = resume(HALF_TOPIC, 0).await;
        assert_eq!(code, ResponseCode::SYSTEM_ERROR);
        assert!(remark.ends_with("Its transaction has ended."), "{remark}");

        assert_eq!(resume(CHECK_MAX_TOPIC, 0).await.0, ResponseCode::SUCCESS);
        assert_eq!(counts(&cluster, &broker).await, [0, 2, 1], "a half message once more");
        let asked = producer.listen(&broker, 15).await;
        let (header, message) = &asked[0];
        assert_eq!((&*message.message.topic, header.tran_state_table_offset), ("T", 1));
        let answer = EndTransactionRequestHeader {
            tran_state_table_offset: header.tran_state_table_offset,
            commit_log_offset: header.commit_log_offset,
            from_transaction_check: true,
            ..half
        };
        assert_eq!(end(&cluster, &broker, &answer, COMMIT).await.code, ResponseCode::SUCCESS);
        assert_eq!(read(&cluster, &broker, "T", 2).await.len(), 1);

        cluster.send(&broker.addr, "plain", "body").await;
        let (code, remark) = resume("plain", 0).await;
        assert_eq!(code, ResponseCode::SYSTEM_ERROR);
        assert!(remark.ends_with("It is a message of plain."), "{remark}");
        let header = ResumeCheckHalfMessageRequestHeader::default();
        let code = RequestCode::RESUME_CHECK_HALF_MESSAGE;
        let reply = cluster.call(&broker.addr, code, &header).await;
        let exception =
            "Exception was thrown when putting message back to RMQ_SYS_TRANS_HALF_TOPIC.";
        assert_eq!(reply.remark.as_deref(), Some(exception));
    });
}

/// Every question makes another half message, and every end another message, also one that comes after the last question.
#[test]
fn upstream_puts_half_messages_back_and_counts_every_end() {
    World::test(7, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster
            .master(|config, store| {
                (config.transaction_check_interval_ms, config.transaction_check_max) = (10_000, 2);
                store.upstream.insert(UpstreamSwitch::PutBackHalfMessages);
            })
            .await;
        let producer = Producer::new(&cluster, "p1");
        let half = send_new_half(&cluster, &broker, "").await;
        let asked = producer.listen(&broker, 60).await;
        let place = |(header, message): &Question| {
            let id = Some(message.offset_msg_id().to_string());
            assert_eq!(id, header.offset_msg_id, "what it is asked about says where it lies");
            assert_eq!(message.phy_offset, header.commit_log_offset);
            header.tran_state_table_offset
        };
        let [first, second] = &asked[..] else { panic!("{asked:?}") };
        assert_eq!([place(first), place(second)], [1, 2]);
        let times = second.1.message.properties.get("TRANSACTION_CHECK_TIMES");
        assert_eq!(times, Some("2"));
        assert_eq!(read(&cluster, &broker, CHECK_MAX_TOPIC, 0).await.len(), 1, "given up");
        let answer = |(header, _): &Question| EndTransactionRequestHeader {
            tran_state_table_offset: header.tran_state_table_offset,
            commit_log_offset: header.commit_log_offset,
            from_transaction_check: true,
            ..half.clone()
        };
        for (half, how) in [
            (answer(first), ROLLBACK),
            (half.clone(), COMMIT),
            (answer(first), COMMIT),
            (answer(second), COMMIT),
        ] {
            assert_eq!(end(&cluster, &broker, &half, how).await.code, ResponseCode::SUCCESS);
        }
        assert_eq!(counts(&cluster, &broker).await, [3, 3, 4]);
        assert_eq!(producer.listen(&broker, 30).await, [], "all were passed over");
    });
}
