//! The engine on the operating system: real files, real sockets, real time. Everything else is
//! tested in simulated worlds; this shows that the pieces stand on real ground, too.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mq_broker::config::BrokerConfig;
use mq_broker::{BrokerController, BrokerError};
use mq_client::{
    ClientConfig, ClientInstance, ConsumeResult, Producer, ProducerConfig, PushConsumer,
    PushConsumerConfig, SendStatus,
};
use mq_env::Env;
use mq_namesrv::{NamesrvConfig, NamesrvController};
use mq_protocol::message::Message;
use mq_store::config::{BrokerRole, FlushDiskType, StoreConfig};

const TOPIC: &str = "OsTopic";

/// A broker's settings over `dir`; the port is chosen when it starts.
fn settings(dir: &Path, namesrv: &str, id: u64, role: BrokerRole) -> (BrokerConfig, StoreConfig) {
    let mut config = BrokerConfig::new("broker-a");
    config.broker_id = id;
    config.broker_ip1 = Some("127.0.0.1".to_owned());
    config.broker_ip2 = Some("127.0.0.1".to_owned());
    config.namesrv_addrs = vec![namesrv.to_owned()];
    let mut store_config = StoreConfig::at(dir).on_any_disk();
    store_config.broker_role = role;
    store_config.flush_disk_type = FlushDiskType::SyncFlush;
    store_config.mapped_file_size_commit_log = 1 << 20;
    store_config.mapped_file_size_consume_queue = 20 * 1_000;
    (config, store_config)
}

/// Starts a broker on three free ports, which its settings keep.
async fn start(config: &mut BrokerConfig, store_config: &StoreConfig) -> Arc<BrokerController> {
    loop {
        let env = Env::os();
        let any_port = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        config.listen_port = env.net.bind(any_port).await.unwrap().local_addr().unwrap().port();
        match BrokerController::start(env, config.clone(), store_config.clone()).await {
            Err(BrokerError::Listen { .. }) => {}
            started => return started.unwrap(),
        }
    }
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within ten seconds: {what}");
}

async fn send(client: &ClientInstance, bodies: std::ops::Range<u32>) {
    let producer = Producer::new(client, ProducerConfig::new("producers"));
    for body in bodies {
        let sent = producer.send(Message::new(TOPIC, format!("message {body}"))).await.unwrap();
        assert_eq!(sent.send_status, SendStatus::SendOk);
    }
}

/// Consumes `count` messages as the group `consumers` and returns their bodies in order.
async fn consume(client: &ClientInstance, count: usize) -> Vec<String> {
    let consumed = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&consumed);
    let config = PushConsumerConfig::new("consumers", TOPIC, "*");
    let consumer = PushConsumer::start(
        client,
        config,
        Arc::new(move |messages| {
            let bodies = messages.iter().map(|it| String::from_utf8_lossy(&it.message.body).into());
            sink.lock().unwrap().extend(bodies);
            ConsumeResult::Success.into()
        }),
    );
    let consumer = consumer.await.unwrap();
    until("everything is consumed", || consumed.lock().unwrap().len() >= count).await;
    consumer.shutdown().await;
    let mut bodies: Vec<String> = consumed.lock().unwrap().clone();
    bodies.sort();
    bodies
}

fn expected(bodies: std::ops::Range<u32>) -> Vec<String> {
    bodies.map(|body| format!("message {body}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_replicated_and_survive_a_restart() {
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let kv_config_path = dirs[2].path().join("kvConfig.json");
    let namesrv_config =
        NamesrvConfig { listen_port: 0, kv_config_path, ..NamesrvConfig::default() };
    let namesrv = NamesrvController::start(Env::os(), namesrv_config).await.unwrap();
    let namesrv_addr = format!("127.0.0.1:{}", namesrv.local_addr().port());

    let (mut config, store_config) =
        settings(dirs[0].path(), &namesrv_addr, 0, BrokerRole::SyncMaster);
    let master = start(&mut config, &store_config).await;
    let (mut slave_config, slave_store_config) =
        settings(dirs[1].path(), &namesrv_addr, 1, BrokerRole::Slave);
    let slave = start(&mut slave_config, &slave_store_config).await;
    assert_eq!(slave.master_addr().as_deref(), Some(master.broker_addr()));
    until("the slave reports", || {
        master.ha().slaves().iter().any(|slave| slave.push_ack_offset.is_some())
    })
    .await;

    let client_config =
        ClientConfig { namesrv_addrs: vec![namesrv_addr], ..ClientConfig::default() };
    let client = ClientInstance::start(Env::os(), client_config);
    send(&client, 100..120).await;
    // The sends were acknowledged, so the slave has them.
    let log_end = master.store().commit_log().max_offset();
    assert!(log_end > 0);
    assert_eq!(slave.store().commit_log().max_offset(), log_end);
    assert_eq!(consume(&client, 20).await, expected(100..120));

    master.shutdown().await;
    let master = BrokerController::start(Env::os(), config, store_config).await.unwrap();
    assert_eq!(master.store().commit_log().max_offset(), log_end);
    until("the slave follows the new master", || {
        master.ha().slaves().iter().any(|slave| slave.push_ack_offset.is_some())
    })
    .await;
    send(&client, 120..130).await;
    // The group's offsets are those of before.
    assert_eq!(consume(&client, 10).await, expected(120..130));
    assert_eq!(slave.store().commit_log().max_offset(), master.store().commit_log().max_offset());

    client.shutdown().await;
    slave.shutdown().await;
    master.shutdown().await;
    namesrv.shutdown().await;
}
