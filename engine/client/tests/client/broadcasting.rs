//! Push consumers that get everything: all queues, offsets of their own, no second delivery.

use mq_client::{ConsumeResult, PushConsumerConfig};
use mq_protocol::body::heartbeat::{ConsumeFromWhere, MessageModel};

use crate::fake_cluster::FakeCluster;
use crate::listening::{SECOND, Seen, config, consumer, owned, success};

fn broadcasting(dir: &tempfile::TempDir) -> PushConsumerConfig {
    PushConsumerConfig {
        message_model: MessageModel::Broadcasting,
        consume_from_where: ConsumeFromWhere::ConsumeFromFirstOffset,
        local_offset_store_dir: dir.path().to_path_buf(),
        ..config()
    }
}

#[tokio::test(start_paused = true)]
async fn every_member_gets_everything_and_tells_no_broker_how_far() {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a"], 2);
    cluster.route("%RETRY%G", &["a"], 1);
    for n in 0..4 {
        cluster.append("a", n % 2, "T", &n.to_string());
    }
    let dir = tempfile::tempdir().unwrap();
    let clients = ["c1", "c2"].map(|name| cluster.client(name));
    let seen = [Seen::default(), Seen::default()];
    // What is consumed in vain is dropped.
    let in_vain = |_: &str| ConsumeResult::ReconsumeLater.into();
    let first = consumer(&clients[0], broadcasting(&dir), seen[0].listener(in_vain)).await;
    let second = consumer(&clients[1], broadcasting(&dir), seen[1].listener(success)).await;
    tokio::time::sleep(30 * SECOND).await;
    assert_eq!((owned(&first), owned(&second)), (vec![0, 1], vec![0, 1]));
    assert_eq!((seen[0].digits(), seen[1].digits()), ("0123".into(), "0123".into()));
    assert_eq!(first.owned_queues()[0].1, Some(2), "it goes on all the same");
    let log = cluster.take_log("");
    let told = |line: &&String| {
        ["14 ", "15 ", "36 ", "38 ", "41 ", "310 "].iter().any(|code| line.starts_with(code))
            || line.contains("RETRY")
            || line.contains("commit")
    };
    assert_eq!(log.iter().find(told), None);
}

#[tokio::test(start_paused = true)]
async fn offsets_are_found_again_in_their_file_also_those_of_a_broker_that_was_away() {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a", "b"], 1);
    for broker in ["a", "b"] {
        cluster.append(broker, 0, "T", broker);
    }
    let dir = tempfile::tempdir().unwrap();
    let seen = Seen::default();
    let client = cluster.client("c");
    let first = consumer(&client, broadcasting(&dir), seen.listener(success)).await;
    assert_eq!(seen.digits(), "ab");
    let file = dir.path().join(client.client_id()).join("G/offsets.json");
    let disk = &cluster.env.disk;
    tokio::time::sleep(9 * SECOND).await;
    assert!(disk.stat(&file).is_err());
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(disk.read(&file).unwrap().iter().filter(|byte| **byte == b':').count(), 9);
    // Nothing of broker b is owned any more.
    cluster.route("T", &["a"], 1);
    cluster.append("a", 0, "T", "c");
    tokio::time::sleep(60 * SECOND).await;
    first.shutdown().await;
    client.shutdown().await;

    cluster.route("T", &["a", "b"], 1);
    cluster.append("b", 0, "T", "d");
    seen.take();
    let client = cluster.client("c");
    let again = consumer(&client, broadcasting(&dir), seen.listener(success)).await;
    tokio::time::sleep(SECOND).await;
    assert_eq!(seen.digits(), "d", "what was consumed does not come again");
    again.shutdown().await;
    client.shutdown().await;

    // A damaged file gives way to the version before; without a sound one there is no start.
    disk.write(&file, b"{").unwrap();
    let client = cluster.client("c");
    let older = consumer(&client, broadcasting(&dir), seen.listener(success)).await;
    tokio::time::sleep(SECOND).await;
    assert_eq!(seen.digits(), "d");
    older.shutdown().await;
    disk.write(&file, b"{").unwrap();
    disk.write(&file.with_extension("json.bak"), b"[").unwrap();
    let refused =
        mq_client::PushConsumer::start(&client, broadcasting(&dir), seen.listener(success));
    let error = refused.await.err().unwrap().to_string();
    assert!(error.contains("offsets.json is damaged"), "{error}");
}
