//! Requests and their replies: from a client to its broker to a client, and back.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mq_client::{
    ClientError, ClientInstance, ConsumeResult, Consumption, Producer, ProducerConfig,
    PushConsumer, PushConsumerConfig, RequestError, SendError, SendResult, create_reply_message,
};
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::message::{Message, MessageConst, MessageExt};
use mq_protocol::message_codec::decode_messages;
use staticfire_world::world::{MachineHandle, World, WorldHandle};
use tokio::time::Instant;

use super::cluster::{Broker, Cluster, new_instance, pull_header, seconds};

const SECOND: Duration = Duration::from_secs(1);

/// What became of replies.
type Outcomes = Arc<Mutex<Vec<Result<SendResult, SendError>>>>;

/// A broker with topic T, somebody who asks, and somebody who answers after some time.
struct Story {
    cluster: Cluster,
    broker: Broker,
    asking: (MachineHandle, ClientInstance),
    requester: Producer,
    outcomes: Outcomes,
    _answering: (ClientInstance, PushConsumer),
}

impl Story {
    async fn start(world: &WorldHandle, answers_after: Duration) -> Story {
        let cluster = Cluster::new(world.clone());
        let broker = cluster.master(|_, _| {}).await;
        cluster.create_topic(&broker, "T").await;
        let asking = new_instance(world, "asking");
        let requester = Producer::new(&asking.1, ProducerConfig::new("REQUESTS"));
        let (_, answering) = new_instance(world, "answering");
        let outcomes = Outcomes::default();
        let consumer = answer(&answering, answers_after, &outcomes).await;
        seconds(2).await;
        let _answering = (answering, consumer);
        Story { cluster, broker, asking, requester, outcomes, _answering }
    }

    /// What the broker keeps of the replies.
    async fn stored(&self) -> Vec<MessageExt> {
        let header = pull_header("reader", "DefaultCluster_REPLY_TOPIC", 0);
        let (addr, code) = (&self.broker.addr, RequestCode::PULL_MESSAGE);
        decode_messages(&self.cluster.call(addr, code, &header).await.body)
    }

    /// The only reply's outcome.
    fn outcome(&self) -> Result<SendResult, SendError> {
        let outcomes = self.outcomes.lock().unwrap();
        assert_eq!(outcomes.len(), 1);
        outcomes[0].clone()
    }
}

/// Answers every message of T.
async fn answer(client: &ClientInstance, after: Duration, outcomes: &Outcomes) -> PushConsumer {
    let producer = Producer::new(client, ProducerConfig::new("REPLIES"));
    let outcomes = Arc::clone(outcomes);
    let listener = move |messages: &[Arc<MessageExt>]| {
        let body = [b"reply to ", &messages[0].message.body[..]].concat();
        let reply = create_reply_message(&messages[0].message, body).unwrap();
        let (producer, outcomes) = (producer.clone(), Arc::clone(&outcomes));
        Consumption::Later(Box::pin(async move {
            tokio::time::sleep(after).await;
            let outcome = producer.send(reply).await;
            outcomes.lock().unwrap().push(outcome);
            ConsumeResult::Success
        }))
    };
    let config = PushConsumerConfig::new("G", "T", "*");
    PushConsumer::start(client, config, Arc::new(listener)).await.unwrap()
}

#[test]
fn whoever_asks_is_answered() {
    World::test(1, async |world| {
        let story = Story::start(&world, SECOND).await;
        let begin = Instant::now();
        let asked = ["one", "two", "three"].map(|body| {
            let request = Message::new("T", body);
            story.requester.request(request, 5 * SECOND)
        });
        let replies = futures::future::try_join_all(asked).await.unwrap();
        let bodies: Vec<_> = replies.iter().map(|it| it.message.body.clone()).collect();
        assert_eq!(bodies, ["reply to one", "reply to two", "reply to three"]);
        assert!(begin.elapsed() < 2 * SECOND);
        let stored = story.stored().await;
        assert_eq!(stored.len(), 3);
        for message in stored {
            let properties = &message.message.properties;
            assert_eq!(properties.get(MessageConst::MSG_TYPE), Some("reply"));
            assert_eq!(properties.get(MessageConst::PUSH_REPLY_TIME), None);
        }
    });
}

#[test]
fn a_long_reply_comes_whole() {
    World::test(2, async |world| {
        let story = Story::start(&world, Duration::ZERO).await;
        let long = "x".repeat(20_000);
        let reply = story.requester.request(Message::new("T", long.clone()), 5 * SECOND).await;
        let reply = reply.unwrap();
        assert_eq!(reply.message.body, format!("reply to {long}"));
        assert_eq!(story.stored().await[0].message.body, reply.message.body);
    });
}

#[test]
fn a_reply_that_comes_late_is_confirmed_and_dropped() {
    World::test(3, async |world| {
        let story = Story::start(&world, 3 * SECOND).await;
        let error = story.requester.request(Message::new("T", "x"), SECOND).await.unwrap_err();
        assert_eq!(error, RequestError::Timeout { timeout: SECOND });
        seconds(5).await;
        assert!(story.outcome().is_ok());
        // The client is as good as before.
        let reply = story.requester.request(Message::new("T", "y"), 5 * SECOND).await;
        assert_eq!(reply.unwrap().message.body, "reply to y");
    });
}

#[test]
fn a_requester_that_took_its_leave_is_not_found() {
    World::test(4, async |world| {
        let story = Story::start(&world, 3 * SECOND).await;
        story.requester.request(Message::new("T", "x"), SECOND).await.unwrap_err();
        story.asking.1.shutdown().await;
        seconds(5).await;
        let error = story.outcome().unwrap_err();
        let ClientError::Broker { code, remark, .. } = &error.cause else { panic!("{error}") };
        let client_id = story.asking.1.client_id();
        assert_eq!(*code, ResponseCode::SYSTEM_ERROR);
        assert_eq!(
            *remark,
            format!("push reply message fail, channel of <{client_id}> not found.")
        );
        // As with 4.9, each attempt is stored.
        assert_eq!((error.attempts, story.stored().await.len()), (3, 3));
    });
}

#[test]
fn a_requester_that_is_silent_holds_nothing_up() {
    World::test(5, async |world| {
        let story = Story::start(&world, 3 * SECOND).await;
        story.requester.request(Message::new("T", "x"), SECOND).await.unwrap_err();
        story.asking.0.power_loss_worst();
        seconds(6).await;
        // Who answers does not wait as long as the broker.
        let error = story.outcome().unwrap_err();
        assert!(error.maybe_stored, "{error}");
        assert_eq!(story.stored().await.len(), 0, "it is stored when it was pushed, or not");
        story.cluster.send(&story.broker.addr, "T", "the broker serves").await;
        let begin = Instant::now();
        story.broker.stop().await;
        assert!(begin.elapsed() < 5 * SECOND, "a stop does not wait: {:?}", begin.elapsed());
    });
}

#[test]
fn a_broker_may_push_replies_without_storing_them() {
    World::test(6, async |world| {
        let cluster = Cluster::new(world.clone());
        let broker = cluster.master(|config, _| config.store_reply_message_enable = false).await;
        cluster.create_topic(&broker, "T").await;
        let (_, asking) = new_instance(&world, "asking");
        let (_, answering) = new_instance(&world, "answering");
        let outcomes = Outcomes::default();
        let _consumer = answer(&answering, Duration::ZERO, &outcomes).await;
        seconds(2).await;
        let requester = Producer::new(&asking, ProducerConfig::new("REQUESTS"));
        requester.request(Message::new("T", "x"), 5 * SECOND).await.unwrap();
        seconds(1).await;
        let outcome = outcomes.lock().unwrap()[0].clone().unwrap();
        assert_eq!((&*outcome.offset_msg_id, outcome.queue_offset), ("0", 0));
        let max = cluster.call(&broker.addr, RequestCode::GET_MAX_OFFSET, &reply_queue()).await;
        assert_eq!(max.ext_fields.get("offset"), Some("0"));
    });
}

fn reply_queue() -> mq_protocol::header::offset::QueueRequestHeader {
    let topic = "DefaultCluster_REPLY_TOPIC".to_owned();
    mq_protocol::header::offset::QueueRequestHeader { topic, queue_id: 0 }
}
