//! Recorded streams of RocketMQ 4.9.7 played to our slave, and its log served by our master.

use std::sync::Arc;
use std::time::Duration;

use mq_env::Env;
use mq_env::net::Stream;
use mq_protocol::ha_frame::encode_report;
use mq_store::config::{BrokerRole, StoreConfig};
use mq_store::ha::HaService;
use mq_store::{CommitLog, MessageStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::vectors::fixture::replication_streams;

const PATIENCE: Duration = Duration::from_secs(20);

async fn open(
    env: &Env,
    dir: &std::path::Path,
    role: BrokerRole,
) -> (Arc<MessageStore>, Arc<HaService>, u16) {
    let mut config = StoreConfig::at(dir).on_any_disk();
    config.mapped_file_size_commit_log = 1 << 20;
    config.broker_role = role;
    config.ha_listen_port = 0;
    let store = MessageStore::open(env.clone(), Arc::new(config)).await.unwrap();
    let ha = HaService::new(env, &store, None);
    let port = ha.start().await.unwrap().port();
    (store, ha, port)
}

async fn read_reports(slave: &mut Stream, until: u64) -> Vec<u64> {
    let mut reports = Vec::new();
    while reports.last() != Some(&until) {
        reports.push(timeout(PATIENCE, slave.read_u64()).await.unwrap().unwrap());
    }
    reports
}

fn bytes_of(log: &CommitLog) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(data) = log.data(log.min_offset() + bytes.len() as u64) {
        bytes.extend_from_slice(&data);
    }
    bytes
}

#[tokio::test]
async fn a_recorded_master_fills_a_slave_and_our_master_serves_the_same() {
    let env = Env::os();
    let dir = tempfile::tempdir().unwrap();
    let (_, (recorded_reports, from_master)) = replication_streams()
        .into_iter()
        .find(|(name, _)| name.starts_with("slave-empty-log"))
        .unwrap();
    let recorded_reports: Vec<u64> = recorded_reports
        .chunks(8)
        .map(|report| u64::from_be_bytes(report.try_into().unwrap()))
        .collect();
    let end = *recorded_reports.last().unwrap();

    let (store, ha, _) = open(&env, dir.path(), BrokerRole::Slave).await;
    let listener = env.net.bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    ha.set_ha_master_address(Some(listener.local_addr().unwrap().to_string()));
    let mut slave = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    assert_eq!(slave.read_u64().await.unwrap(), 0);
    let mut reports = vec![0];
    for piece in from_master.chunks(10_007) {
        slave.write_all(piece).await.unwrap();
    }
    reports.extend(read_reports(&mut slave, end).await);
    // The recorded slave repeated its last report when it had nothing to say for five seconds.
    let mut expected = recorded_reports.clone();
    expected.dedup();
    assert_eq!(reports, expected);
    while store.dispatch_behind_bytes() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let log = bytes_of(store.commit_log());
    assert_eq!(log.len() as u64, end);
    assert!(store.max_offset_in_queue("WireTopic", 0) > 0);
    ha.shutdown().await;
    store.shutdown().await;
    drop((store, ha));

    let (store, ha, port) = open(&env, dir.path(), BrokerRole::AsyncMaster).await;
    let mut master = env.net.connect(&format!("127.0.0.1:{port}")).await.unwrap();
    master.write_all(&encode_report(0)).await.unwrap();
    let (mut received, mut frames) = (Vec::new(), Vec::new());
    while (received.len() as u64) < end {
        let phy_offset = timeout(PATIENCE, master.read_u64()).await.unwrap().unwrap();
        let mut body = vec![0; master.read_u32().await.unwrap() as usize];
        master.read_exact(&mut body).await.unwrap();
        frames.push((phy_offset, body.len()));
        received.extend(body);
    }
    assert!(received == log);
    // The stream begins as the recorded one: a heartbeat at once, then slices of 32 KiB.
    assert_eq!(frames[..3], [(0, 0), (0, 32_768), (32_768, 32_768)]);
    ha.shutdown().await;
    store.shutdown().await;
}
