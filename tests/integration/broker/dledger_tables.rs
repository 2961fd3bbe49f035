//! Tables of a DLedger group that are larger than a message may be.

use std::io::Write;
use std::sync::{Arc, Mutex};

use mq_protocol::body::topic_config::TopicConfigSerializeWrapper;
use mq_protocol::codes::RequestCode;
use mq_protocol::fastjson::from_slice;
use staticfire_world::world::World;

use super::cluster::{Broker, Cluster, seconds};
use super::dledger::{TOPIC, group, send_to_master};
use super::offsets::{commit, query};

/// `maxMessageSize` of the brokers.
const MESSAGE_BYTES: usize = 16 << 10;

/// The topics of a broker, and how many bytes they take.
async fn topics(cluster: &Cluster, broker: &Broker) -> (TopicConfigSerializeWrapper, usize) {
    let answer = cluster.call(&broker.addr, RequestCode::GET_ALL_TOPIC_CONFIG, &()).await;
    (from_slice(&answer.body).unwrap(), answer.body.len())
}

/// A name of a hundred bytes.
fn name(what: &str, number: usize) -> String {
    format!("{what}{number:0>width$}", width = 100 - what.len())
}

#[test]
fn a_new_master_has_tables_that_took_many_messages() {
    World::test(57, async |world| {
        let cluster = Cluster::new(world);
        let brokers = group(&cluster, |_, store| store.max_message_size = MESSAGE_BYTES).await;
        let (_, leader) = send_to_master(&cluster, &brokers).await;
        let old = &brokers[leader];
        for number in 0..300 {
            cluster.create_topic(old, &name("topic", number)).await;
        }
        for number in 0..60 {
            commit(&cluster, &old.addr, &name("group", number), TOPIC, 1).await;
        }
        seconds(3).await;
        let (made, bytes) = topics(&cluster, old).await;
        assert!(bytes > 5 * MESSAGE_BYTES, "{bytes} bytes are too few to show anything");
        old.process.kill();

        let (_, next) = send_to_master(&cluster, &brokers).await;
        assert_ne!(next, leader);
        let new = &brokers[next];
        let (found, _) = topics(&cluster, new).await;
        for topic in made.topic_config_table.keys() {
            assert!(found.topic_config_table.contains_key(topic), "{topic} is not there");
        }
        for number in 0..60 {
            let group = name("group", number);
            assert_eq!(query(&cluster, &new.addr, &group, TOPIC).await, Some(1), "{group}");
        }
        // It goes on with them, and who comes back takes them over.
        cluster.create_topic(new, &name("later", 0)).await;
        old.start().await;
        seconds(15).await;
        let (found, _) = topics(&cluster, old).await;
        assert!(found.topic_config_table.contains_key(&name("later", 0)));
        assert!(found.topic_config_table.contains_key(&name("topic", 299)));
    });
}

/// Log lines.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_table_that_no_messages_can_carry_is_named_once() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::ERROR)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        World::test(58, async |world| {
            let cluster = Cluster::new(world);
            // A byte of a table in each message: a kibibyte in all.
            let brokers = group(&cluster, |_, store| store.max_message_size = 17).await;
            let (_, leader) = send_to_master(&cluster, &brokers).await;
            for topic in ["One", "Two", "Three"] {
                cluster.create_topic(&brokers[leader], topic).await;
                seconds(3).await;
            }
        });
    });
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let said: Vec<&str> = text.lines().filter(|line| line.contains("table=\"topics\"")).collect();
    assert_eq!(said.len(), 1, "{text}");
    for part in ["ERROR", "a table is too large for the group's log", "max_bytes=1024", "bytes="] {
        assert!(said[0].contains(part), "{part} not in {}", said[0]);
    }
}
