//! Clients within a namespace or a unit: what brokers see and what callers see.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mq_client::{
    ClientConfig, ClientInstance, ConsumeResult, Producer, ProducerConfig, PullClient,
    PushConsumer, PushConsumerConfig, SelectMessageQueueByHash,
};
use mq_protocol::body::heartbeat::{ConsumeFromWhere, MessageModel};
use mq_protocol::codes::RequestCode;
use mq_protocol::header::client::ConsumeMessageDirectlyResultRequestHeader;
use mq_protocol::message::{Message, MessageExt};
use mq_protocol::remoting_command::RemotingCommand;
use mq_protocol::topic_validator::RMQ_SYS_BENCHMARK_TOPIC;

use crate::fake_cluster::{FakeCluster, NAMESRV};

fn client(cluster: &FakeCluster) -> ClientInstance {
    let config = ClientConfig {
        namesrv_addrs: vec![NAMESRV.to_owned()],
        instance_name: "c".to_owned(),
        namespace: "ns".to_owned(),
        unit_name: "u".to_owned(),
        unit_mode: true,
        ..ClientConfig::default()
    };
    ClientInstance::start(cluster.env.clone(), config)
}

#[tokio::test(start_paused = true)]
async fn messages_go_into_the_namespace_and_come_out_of_it() {
    let cluster = FakeCluster::start().await;
    cluster.route("ns%T", &["a"], 1);
    cluster.route("%RETRY%ns%G", &["a"], 1);
    let client = client(&cluster);
    let producer = Producer::new(&client, ProducerConfig::new("P"));
    let message = || Message::new("T", "x");
    let queues = producer.fetch_publish_message_queues("T").await.unwrap();
    assert_eq!(queues[0].topic, "T");
    let one = producer.send(message()).await.unwrap();
    assert_eq!(one.message_queue, queues[0]);
    producer.send_to(message(), &queues[0]).await.unwrap();
    producer.send_batch(vec![message(), message()]).await.unwrap();
    producer.send_with_selector(message(), &SelectMessageQueueByHash, "k").await.unwrap();

    let sends = cluster.state().sends.clone();
    assert_eq!(sends.len(), 4);
    for request in sends {
        let field = |name| request.ext_fields.get(name);
        assert_eq!(
            (field("a"), field("b"), field("k")),
            (Some("ns%P"), Some("ns%T"), Some("true"))
        );
        assert!(field("i").unwrap().contains("INSTANCE_ID\u{1}ns"));
    }

    let got: Arc<Mutex<Vec<String>>> = Arc::default();
    let listener = {
        let got = Arc::clone(&got);
        move |messages: &[Arc<MessageExt>]| {
            let mut got = got.lock().unwrap();
            got.extend(messages.iter().map(|message| message.message.topic.clone()));
            // The first one comes again.
            if got.len() == 1 { ConsumeResult::ReconsumeLater } else { ConsumeResult::Success }
                .into()
        }
    };
    let config = PushConsumerConfig {
        consume_from_where: ConsumeFromWhere::ConsumeFromFirstOffset,
        ..PushConsumerConfig::new("G", "T", "*")
    };
    let consumer = PushConsumer::start(&client, config, Arc::new(listener)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(*got.lock().unwrap(), ["T"; 5]);
    assert!(consumer.owned_queues().iter().any(|(queue, _)| queue.topic == "T"));
    let log = cluster.take_log("");
    let has = |start: &str| log.iter().any(|line| line.starts_with(start));
    assert!(has("36 10.0.1.1:10911 ns%T at"), "{log:?}");
    assert!(
        log.iter().any(|line| line.contains("10.0.0.1@c@u") && line.contains("ns%G")),
        "{log:?}"
    );
    assert!(log.iter().any(|line| line.contains("CLIENT_INNER_PRODUCER ns%P")), "{log:?}");

    let pull = PullClient::new(&client, "V");
    let queues = pull.fetch_subscribe_message_queues("T").await.unwrap();
    let result = pull.pull(&queues[0], 0, 32).await.unwrap();
    assert!(result.messages.iter().all(|message| message.message.topic == "T"));
    assert_eq!((result.messages.len(), pull.max_offset(&queues[0]).await), (5, Ok(5)));
    consumer.shutdown().await;
}

/// Brokers ask in the names that they know, and files have those too.
#[tokio::test(start_paused = true)]
async fn what_operators_ask_and_what_is_kept_is_within_the_namespace() {
    let cluster = FakeCluster::start().await;
    cluster.route("ns%T", &["a"], 1);
    cluster.append("a", 0, "ns%T", "x");
    let topics: Arc<Mutex<Vec<String>>> = Arc::default();
    let listener = {
        let topics = Arc::clone(&topics);
        move |messages: &[Arc<MessageExt>]| {
            topics.lock().unwrap().push(messages[0].message.topic.clone());
            ConsumeResult::Success.into()
        }
    };
    let dir = tempfile::tempdir().unwrap();
    let config = PushConsumerConfig {
        message_model: MessageModel::Broadcasting,
        consume_from_where: ConsumeFromWhere::ConsumeFromFirstOffset,
        local_offset_store_dir: dir.path().to_path_buf(),
        ..PushConsumerConfig::new("G", "T", "*")
    };
    let consumer =
        PushConsumer::start(&client(&cluster), config, Arc::new(listener)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let header = ConsumeMessageDirectlyResultRequestHeader {
        consumer_group: "ns%G".to_owned(),
        ..ConsumeMessageDirectlyResultRequestHeader::default()
    };
    let request = RemotingCommand::request(RequestCode::CONSUME_MESSAGE_DIRECTLY, &header);
    let request = request.with_body(cluster.record("a", 0, "ns%T", 0));
    let channel = cluster.producer_channel("CLIENT_INNER_PRODUCER");
    let answer = channel.invoke(request, Duration::from_secs(1)).await.unwrap();
    assert_eq!((answer.code, &**topics.lock().unwrap()), (0, &["T".into(), "T".into()][..]));
    consumer.shutdown().await;
    let file = cluster.env.disk.read(&dir.path().join("10.0.0.1@c@u/ns%G/offsets.json"));
    assert!(String::from_utf8(file.unwrap()).unwrap().contains("\"ns%T\""));
}

#[tokio::test(start_paused = true)]
async fn topics_of_the_system_are_in_no_namespace() {
    let cluster = FakeCluster::start().await;
    cluster.route(RMQ_SYS_BENCHMARK_TOPIC, &["a"], 1);
    let producer = Producer::new(&client(&cluster), ProducerConfig::new("P"));
    producer.send(Message::new(RMQ_SYS_BENCHMARK_TOPIC, "x")).await.unwrap();
    assert!(cluster.take_log("310")[0].starts_with("310 a-0 BenchmarkTest "));
}
