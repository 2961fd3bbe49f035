//! What is tried at a scripted server in `scripted.rs`, at a broker of ours: what it answers is what commands show.

use mq_client::{ClientInstance, Producer, ProducerConfig, PushConsumer};
use mq_protocol::codes::MqVersion;
use mq_protocol::message::Message;
use staticfire_world::world::MachineHandle;

use super::desk::{Desk, at_desk, consumer, words};
use crate::broker::cluster::{Broker, Cluster, new_instance, seconds};

/// A topic T of one queue, five messages in it, and the group G, which has consumed them.
struct Traffic {
    _machine: MachineHandle,
    instance: ClientInstance,
    member: PushConsumer,
    _producer: Producer,
}

impl Traffic {
    async fn new(cluster: &Cluster, master: &Broker, desk: &Desk) -> Self {
        desk.prints(&format!("updateTopic -b {} -t T -r 1 -w 1", master.addr)).await;
        let (machine, instance) = new_instance(&cluster.world, "member");
        let (member, _) = consumer(&instance, "G", "T").await;
        let producer = Producer::new(&instance, ProducerConfig::new("P"));
        for _ in 0..5 {
            let mut message = Message::new("T", "x");
            message.properties.insert("TAGS", "TagA");
            producer.send(message).await.unwrap();
        }
        // Heartbeats, which tell of producers, and statistics of a minute.
        seconds(90).await;
        Traffic { _machine: machine, instance, member, _producer: producer }
    }
}

#[test]
fn who_is_connected_is_shown() {
    at_desk(async |cluster, master, desk| {
        let traffic = Traffic::new(&cluster, &master, &desk).await;
        let id = traffic.instance.client_id().to_owned();
        let version = MqVersion::CURRENT_NAME;
        let text = desk.prints("consumerConnection -g G").await;
        let rows = words(&text);
        assert_eq!((rows[1][0], &rows[1][2..]), (&*id, &["RUST", version][..]), "{text}");
        assert!(rows.contains(&vec!["T", "*"]) && rows.contains(&vec!["%RETRY%G", "*"]), "{text}");
        assert!(text.ends_with(
            "\nConsumeType: CONSUME_PASSIVELY\nMessageModel: CLUSTERING\n\
             ConsumeFromWhere: CONSUME_FROM_FIRST_OFFSET\n"
        ));
        assert_eq!(desk.prints(&format!("consumerConnection -g G -b {}", master.addr)).await, text);

        let text = desk.prints("producerConnection -g P -t T").await;
        let rows = words(&text);
        assert_eq!((rows.len(), rows[0][0], rows[0][1]), (1, "0001", &*id), "{text}");
        assert_eq!(rows[0][3..], ["RUST", version], "{text}");
        let text = desk.prints(&format!("producer -b {}", master.addr)).await;
        let line = format!("producer group (P) instance : clientId={id},remoteIP=/");
        assert!(text.contains(&line), "{text}");

        traffic.member.shutdown().await;
        seconds(1).await;
        let (_, error) = desk.fails("consumerConnection -g G").await;
        assert!(error.to_string().contains("(code 206, CONSUMER_NOT_ONLINE)"), "{error}");
        let (_, error) = desk.fails("producerConnection -g Nobody -t T").await;
        assert!(error.to_string().contains("Nobody"), "{error}");
    });
}

#[test]
fn how_far_queues_and_groups_are_is_shown() {
    at_desk(async |cluster, master, desk| {
        let traffic = Traffic::new(&cluster, &master, &desk).await;
        let text = desk.prints("topicStatus -t T").await;
        let rows = words(&text);
        assert_eq!((rows.len(), &rows[1][..4]), (2, &["a", "0", "0", "5"][..]), "{text}");
        assert!(rows[1].len() == 6, "the time of the last message is missing: {text}");
        traffic.member.shutdown().await;
        desk.prints("sendMessage -t T -p more").await;
        let text = desk.prints(&format!("brokerConsumeStats -b {} -l 0", master.addr)).await;
        let row = words(&text).into_iter().find(|row| row[..1] == ["T"]).unwrap();
        assert_eq!(row[..6], ["T", "G", "a", "0", "6", "5"], "{text}");
        assert!(text.ends_with("\nDiff Total: 1\n"), "{text}");

        let text = desk.prints("statsAll").await;
        let row = words(&text).into_iter().find(|row| row[0] == "T").unwrap();
        assert_eq!((row[1], row[2]), ("G", "1"), "{text}");
        assert_eq!(row.len(), 7, "{text}");

        let text = desk.prints("queryCq -t T -q 0 -i 3 -c 2").await;
        assert!(text.contains("\nidx: 3\nConsumeQueueData{physicOffset="), "{text}");
        assert!(text.contains("\nidx: 4\n") && !text.contains("\nidx: 5\n"), "{text}");
    });
}

#[test]
fn offsets_are_cloned() {
    at_desk(async |cluster, master, desk| {
        let traffic = Traffic::new(&cluster, &master, &desk).await;
        traffic.member.shutdown().await;
        seconds(1).await;
        let text = desk.prints("cloneGroupOffset -s G -d H -t T -o true").await;
        assert!(
            text.starts_with("clone group offset success. srcGroup[G], destGroup=[H]"),
            "{text}"
        );
        // A group that takes up what was cloned is given nothing again.
        let (member, given) = consumer(&traffic.instance, "H", "T").await;
        seconds(30).await;
        assert_eq!(given.lock().unwrap().len(), 0);
        desk.prints("sendMessage -t T -p more").await;
        seconds(5).await;
        assert_eq!(*given.lock().unwrap(), ["more"]);
        member.shutdown().await;
    });
}

#[test]
fn settings_and_housekeeping_are_obeyed() {
    at_desk(async |_, master, desk| {
        let addr = &master.addr;
        let text =
            desk.prints(&format!("updateBrokerConfig -b {addr} -k fileReservedTime -v 71")).await;
        assert_eq!(text, format!("update broker config success, {addr}\n"));
        let config = desk.prints(&format!("getBrokerConfig -b {addr}")).await;
        let line = words(&config).into_iter().find(|row| row[0] == "fileReservedTime").unwrap();
        assert_eq!(line, ["fileReservedTime", "=", "71"]);
        let (_, error) =
            desk.fails(&format!("updateBrokerConfig -b {addr} -k brokerName -v b")).await;
        assert!(error.to_string().contains("brokerName"), "{error}");

        for line in ["cleanExpiredCQ", "cleanUnusedTopic -c DefaultCluster"] {
            assert_eq!(desk.prints(line).await, "success\n", "{line}");
        }
        for line in ["cleanExpiredCQ", "cleanUnusedTopic", "deleteExpiredCommitLog"] {
            assert_eq!(desk.prints(&format!("{line} -b {addr}")).await, "success\n", "{line}");
        }
    });
}
