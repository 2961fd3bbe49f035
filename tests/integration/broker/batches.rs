//! Batches of a producer, end to end.

use std::collections::BTreeSet;

use mq_client::{ClientError, Producer, ProducerConfig, SendStatus, split_messages};
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::message::{Message, MessageConst};
use mq_protocol::message_codec::decode_messages;
use mq_store::config::FlushDiskType;
use staticfire_world::world::World;

use super::cluster::{Cluster, new_instance, pull_header, test_without_writeback};

fn message(number: usize, len: usize) -> Message {
    let mut message = Message::new("T", vec![number as u8; len]);
    message.properties.insert(MessageConst::KEYS, &format!("k{number}"));
    message
}

#[test]
fn the_messages_of_a_batch_lie_one_behind_the_other() {
    World::test(1, async |world| {
        let cluster = Cluster::new(world.clone());
        let broker = cluster.master(|_, _| {}).await;
        cluster.create_topic(&broker, "T").await;
        let (_, client) = new_instance(&world, "producer");
        let producer = Producer::new(&client, ProducerConfig::new("P"));
        let mut sent = 0;
        let messages = (0..40).map(|number| message(number, 100 * number + 1)).collect();
        for batch in split_messages(messages, 20_000) {
            let result = producer.send_batch(batch.clone()).await.unwrap();
            assert_eq!(result.send_status, SendStatus::SendOk);
            let header = mq_protocol::header::pull_message::PullMessageRequestHeader {
                queue_id: result.message_queue.queue_id,
                ..pull_header("reader", "T", result.queue_offset)
            };
            let code = RequestCode::PULL_MESSAGE;
            let stored = decode_messages(&cluster.call(&broker.addr, code, &header).await.body);
            assert_eq!(stored.len(), batch.len());
            let ids: Vec<_> = stored.iter().map(|it| it.msg_id()).collect();
            assert_eq!(ids.join(","), result.msg_id);
            let ids: Vec<_> = stored.iter().map(|it| it.offset_msg_id().to_string()).collect();
            assert_eq!(ids.join(","), result.offset_msg_id);
            for (stored, sent) in stored.iter().zip(&batch) {
                assert_eq!(stored.message.body, sent.body);
                let key = |it: &Message| it.keys().map(str::to_owned).collect::<Vec<_>>();
                assert_eq!(key(&stored.message), key(sent));
            }
            let begins: BTreeSet<_> = stored.iter().map(|it| it.phy_offset).collect();
            let end =
                |it: &mq_protocol::message::MessageExt| it.phy_offset + i64::from(it.store_size);
            let gaps = stored.iter().map(end).filter(|end| !begins.contains(end)).count();
            assert_eq!(gaps, 1, "nothing lies between them");
            sent += batch.len();
        }
        assert_eq!(sent, 40);
    });
}

#[test]
fn a_batch_is_stored_as_a_whole_or_not_at_all() {
    test_without_writeback(2, async |world| {
        let cluster = Cluster::new(world.clone());
        let broker = cluster
            .master(|_, store| {
                store.flush_disk_type = FlushDiskType::SyncFlush;
                store.max_message_size = 10_000;
            })
            .await;
        cluster.create_topic(&broker, "T").await;
        let (_, client) = new_instance(&world, "producer");
        let producer = Producer::new(&client, ProducerConfig::new("P"));
        let whole = producer.send_batch(vec![message(1, 100), message(2, 100)]).await.unwrap();
        let too_long = (0..20).map(|number| message(number, 1_000)).collect();
        let error = producer.send_batch_to(too_long, &whole.message_queue).await.unwrap_err();
        let illegal = ResponseCode::MESSAGE_ILLEGAL;
        assert!(matches!(&error.cause, ClientError::Broker { code, .. } if *code == illegal));
        assert!(!error.maybe_stored);
        cluster.power_cycle(&broker);
        broker.start().await;
        let header = mq_protocol::header::pull_message::PullMessageRequestHeader {
            queue_id: whole.message_queue.queue_id,
            ..pull_header("reader", "T", 0)
        };
        let stored = cluster.call(&broker.addr, RequestCode::PULL_MESSAGE, &header).await;
        assert_eq!(decode_messages(&stored.body).len(), 2);
    });
}
