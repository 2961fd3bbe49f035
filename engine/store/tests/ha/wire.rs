//! The streams byte by byte, against a peer that the test plays.

use std::time::Duration;

use mq_env::net::{Listener, Stream};
use mq_protocol::ha_frame::{TransferHeader, encode_report};
use mq_store::PutMessageStatus::PutOk;
use mq_store::config::UpstreamSwitch;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use crate::node::{FILE_BYTES, Group, MASTER_ADDRESS, eventually};

/// A master with a log, and a slave that the test plays.
async fn played_slave(first_report: Option<u64>) -> (Group, Stream) {
    let mut group = Group::new(|_| {});
    group.start_master().await;
    group.master().put_all("a", 300, PutOk).await;
    let mut slave = group.net.machine(7).connect(MASTER_ADDRESS).await.unwrap();
    if let Some(offset) = first_report {
        slave.write_all(&encode_report(offset)).await.unwrap();
    }
    (group, slave)
}

async fn read_frame(master: &mut Stream) -> (u64, Vec<u8>) {
    let phy_offset = master.read_u64().await.unwrap();
    let mut body = vec![0; master.read_u32().await.unwrap() as usize];
    master.read_exact(&mut body).await.unwrap();
    (phy_offset, body)
}

#[tokio::test(start_paused = true)]
async fn a_master_answers_with_a_heartbeat_then_slices_then_heartbeats() {
    let (group, mut slave) = played_slave(Some(0)).await;
    assert_eq!(read_frame(&mut slave).await, (0, Vec::new()));
    let end = group.master().log().max_offset();
    let mut received = Vec::new();
    while (received.len() as u64) < end {
        let (phy_offset, body) = read_frame(&mut slave).await;
        assert_eq!(phy_offset, received.len() as u64);
        assert!((1..=5_000).contains(&body.len()));
        let last = phy_offset + body.len() as u64 - 1;
        assert_eq!(phy_offset / FILE_BYTES, last / FILE_BYTES, "crosses a file");
        received.extend(body);
    }
    assert_eq!(Some(crc32fast::hash(&received)), group.master().log().crc_of(0..end));
    for _ in 0..3 {
        let start = Instant::now();
        assert_eq!(read_frame(&mut slave).await, (end, Vec::new()));
        assert_eq!(start.elapsed().as_secs(), 5);
        slave.write_all(&encode_report(end)).await.unwrap();
    }
    group.master().put_all("b", 1, PutOk).await;
    let start = Instant::now();
    assert_eq!(read_frame(&mut slave).await.0, end);
    assert!(start.elapsed() < Duration::from_millis(5), "woken by the append");
}

#[tokio::test(start_paused = true)]
async fn a_master_counts_a_connection_before_its_first_report() {
    let (group, mut slave) = played_slave(None).await;
    eventually("it counts", || group.master().ha.connection_count() == 1).await;
    assert_eq!(group.master().ha.slaves()[0].push_ack_offset, None);
    let silence = timeout(Duration::from_secs(19), slave.read_u8()).await;
    assert!(silence.is_err(), "no byte before the first report");
    assert!(slave.read_u8().await.is_err());
    assert_eq!(group.master().ha.connection_count(), 0);
    let reason = group.events("SlaveGone").remove(0);
    assert!(reason.contains("no report for 20s"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_report_beyond_the_end_closes_the_connection() {
    let (group, _) = played_slave(None).await;
    let end = group.master().log().max_offset();
    for bad in [end + 1, u64::MAX] {
        let mut slave = group.net.machine(7).connect(MASTER_ADDRESS).await.unwrap();
        slave.write_all(&encode_report(bad)).await.unwrap();
        assert!(slave.read_u8().await.is_err());
        assert_eq!(group.master().ha.push2_slave_max_offset(), 0);
    }
    let mut slave = group.net.machine(7).connect(MASTER_ADDRESS).await.unwrap();
    slave.write_all(&encode_report(end)).await.unwrap();
    assert_eq!(read_frame(&mut slave).await, (end, Vec::new()));
    slave.write_all(&encode_report(end + 1)).await.unwrap();
    assert!(slave.read_u8().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_slave_below_the_minimum_is_served_from_there() {
    let (mut group, _) = played_slave(None).await;
    group.stop_master().await;
    let first = group.master_config.commit_log_dir().join(format!("{:020}", 0));
    mq_env::Env::os().disk.remove(&first).unwrap();
    group.start_master().await;
    for request in [0, 500] {
        let mut slave = group.net.machine(7).connect(MASTER_ADDRESS).await.unwrap();
        slave.write_all(&encode_report(request)).await.unwrap();
        while {
            let (phy_offset, body) = read_frame(&mut slave).await;
            assert!(phy_offset == FILE_BYTES || phy_offset == 500);
            body.is_empty()
        } {}
    }
}

/// A slave, and a master that the test plays, connected.
async fn played_master(upstream: &[UpstreamSwitch]) -> (Group, Box<dyn Listener>, Stream) {
    let mut group = Group::new(|config| config.upstream.extend(upstream));
    group.is_master_java = true;
    let listener = group.net.machine(1).bind(MASTER_ADDRESS.parse().unwrap()).await.unwrap();
    group.start_slave().await;
    let slave = listener.accept().await.unwrap();
    (group, listener, slave)
}

async fn send_frame(slave: &mut Stream, phy_offset: u64, body: &[u8]) {
    let header = TransferHeader { phy_offset, body_bytes: body.len() as u32 };
    slave.write_all(&header.encode()).await.unwrap();
    slave.write_all(body).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_slave_reports_at_once_after_every_frame_and_every_five_seconds() {
    let (group, _listener, mut slave) = played_master(&[]).await;
    let start = Instant::now();
    assert_eq!(slave.read_u64().await.unwrap(), 0);
    assert!(start.elapsed() < Duration::from_millis(5));
    send_frame(&mut slave, 0, &[1; 100]).await;
    assert_eq!(slave.read_u64().await.unwrap(), 100);
    send_frame(&mut slave, 100, &[2; 50]).await;
    assert_eq!(slave.read_u64().await.unwrap(), 150);
    for _ in 0..3 {
        let start = Instant::now();
        assert_eq!(slave.read_u64().await.unwrap(), 150);
        assert_eq!(start.elapsed().as_secs(), 5);
        send_frame(&mut slave, 150, &[]).await;
    }
    assert_eq!(group.slave().log().max_offset(), 150);
}

#[tokio::test(start_paused = true)]
async fn upstream_a_slave_is_silent_at_first() {
    let (_group, _listener, mut slave) = played_master(&[UpstreamSwitch::FirstReportLate]).await;
    let start = Instant::now();
    assert_eq!(slave.read_u64().await.unwrap(), 0);
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_slave_closes_on_frames_that_do_not_fit() {
    let (group, listener, mut slave) = played_master(&[]).await;
    slave.read_u64().await.unwrap();
    send_frame(&mut slave, 0, &[1; 100]).await;
    assert_eq!(slave.read_u64().await.unwrap(), 100);
    let header =
        |phy_offset: i64, size: i32| [&phy_offset.to_be_bytes()[..], &size.to_be_bytes()].concat();
    // The header of a heartbeat counts as well, and no body is waited for.
    for bad in [header(101, 0), header(99, 10), header(100, -1), header(100, 1 << 20)] {
        slave.write_all(&bad).await.unwrap();
        assert!(slave.read_u64().await.is_err());
        slave = listener.accept().await.unwrap();
        assert_eq!(slave.read_u64().await.unwrap(), 100);
    }
    send_frame(&mut slave, 100, &vec![3; FILE_BYTES as usize - 100]).await;
    assert_eq!(slave.read_u64().await.unwrap(), FILE_BYTES);
    send_frame(&mut slave, FILE_BYTES, &[3; 1_000]).await;
    assert_eq!(slave.read_u64().await.unwrap(), FILE_BYTES + 1_000);
    // Longer than what is left of the file.
    let crossing = vec![3; FILE_BYTES as usize - 999];
    send_frame(&mut slave, FILE_BYTES + 1_000, &crossing).await;
    assert!(slave.read_u64().await.is_err());
    assert_eq!(group.slave().log().max_offset(), FILE_BYTES + 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_blank_slave_begins_only_where_its_master_can_have_a_file() {
    let (group, listener, mut slave) = played_master(&[]).await;
    slave.read_u64().await.unwrap();
    // Heartbeats count as well. The master could have rolled once since it was asked.
    for bad in [1 << 62, FILE_BYTES << 20, 100, 4 * FILE_BYTES] {
        send_frame(&mut slave, bad, &[]).await;
        assert!(slave.read_u64().await.is_err(), "{bad}");
        slave = listener.accept().await.unwrap();
        assert_eq!(slave.read_u64().await.unwrap(), 0);
    }
    send_frame(&mut slave, 2 * FILE_BYTES, &[1; 100]).await;
    assert_eq!(slave.read_u64().await.unwrap(), 2 * FILE_BYTES + 100);
    assert_eq!(group.slave().log().min_offset(), 2 * FILE_BYTES);
}

#[tokio::test(start_paused = true)]
async fn a_master_that_comes_back_is_followed_within_two_seconds() {
    let (_group, listener, slave) = played_master(&[]).await;
    drop((slave, listener.accept()));
    for _ in 0..3 {
        let start = Instant::now();
        let slave = listener.accept().await.unwrap();
        assert!(start.elapsed() <= Duration::from_secs(2), "{:?}", start.elapsed());
        drop(slave);
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_master_is_left() {
    let (group, listener, mut slave) = played_master(&[]).await;
    let start = Instant::now();
    let mut heartbeats = Vec::new();
    slave.read_to_end(&mut heartbeats).await.unwrap();
    assert_eq!((start.elapsed().as_secs(), heartbeats.len()), (20, 5 * 8));
    listener.accept().await.unwrap();
    assert!(group.slave().log().max_offset() == 0);
}

#[tokio::test(start_paused = true)]
async fn upstream_a_silent_master_is_kept() {
    let switch = UpstreamSwitch::MasterSilenceUnnoticed;
    let (_group, _listener, mut slave) = played_master(&[switch]).await;
    let mut heartbeats = Vec::new();
    let silence = slave.read_to_end(&mut heartbeats);
    assert!(timeout(Duration::from_secs(120), silence).await.is_err());
}
