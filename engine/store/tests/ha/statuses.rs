//! What the producer of a SYNC_MASTER sees.

use std::time::Duration;

use mq_protocol::ha_frame::encode_report;
use mq_store::PutMessageStatus::{FlushSlaveTimeout, PutOk, SlaveNotAvailable};
use mq_store::config::{BrokerRole, UpstreamSwitch};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::node::{Group, MASTER_ADDRESS, eventually, numbered};

async fn sync_master() -> Group {
    let mut group = Group::new(|_| {});
    group.master_config.broker_role = BrokerRole::SyncMaster;
    group.start_master().await;
    group
}

#[tokio::test(start_paused = true)]
async fn v1_without_a_slave_messages_are_stored_and_not_acknowledged() {
    let group = sync_master().await;
    let start = Instant::now();
    group.master().put_all("a", 20, SlaveNotAvailable).await;
    assert!(start.elapsed() < Duration::from_secs(1));
    eventually("all are readable", || group.master().bodies() == numbered("a", 20)).await;
}

#[tokio::test(start_paused = true)]
async fn with_a_slave_every_acknowledged_message_is_on_it() {
    let group = Group::sync_pair(&[]).await;
    for number in 0..50 {
        let put = group.master().put(&format!("{number}")).await;
        assert_eq!(put.status, PutOk);
        let end = put.append.unwrap().end_offset();
        assert!(group.slave().log().max_offset() >= end);
        assert!(group.master().ha.push2_slave_max_offset() >= end);
    }
    group.caught_up().await;
}

#[tokio::test(start_paused = true)]
async fn v3_after_a_restart_the_slave_reports_at_once() {
    let mut group = Group::sync_pair(&[]).await;
    group.master().put_all("a", 10, PutOk).await;
    group.kill_master().await;
    group.start_master().await;
    eventually("the slave connects", || group.master().ha.connection_count() == 1).await;
    let start = Instant::now();
    group.master().put_all("b", 8, PutOk).await;
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn v3_upstream_the_first_send_after_a_restart_times_out() {
    let mut group = Group::sync_pair(&[UpstreamSwitch::FirstReportLate]).await;
    group.master().put_all("a", 10, PutOk).await;
    group.kill_master().await;
    group.start_master().await;
    eventually("the slave connects", || group.master().ha.connection_count() == 1).await;
    let start = Instant::now();
    group.master().put_all("b", 1, FlushSlaveTimeout).await;
    assert_eq!(start.elapsed().as_secs(), 3);
    group.master().put_all("b", 7, PutOk).await;
}

#[tokio::test(start_paused = true)]
async fn v4_a_stalled_slave_costs_timeouts_until_it_is_dropped() {
    let group = sync_master().await;
    // A slave that reported once and then stopped.
    let mut stalled = group.net.machine(7).connect(MASTER_ADDRESS).await.unwrap();
    stalled.write_all(&encode_report(0)).await.unwrap();
    eventually("it counts", || group.master().ha.is_slave_ok(0)).await;
    let start = Instant::now();
    group.master().put_all("a", 6, FlushSlaveTimeout).await;
    assert_eq!(start.elapsed().as_secs(), 18);
    tokio::time::sleep(Duration::from_secs(3)).await;
    group.master().put_all("b", 3, SlaveNotAvailable).await;
    assert_eq!(group.events("SlaveGone").len(), 1);
    eventually("all are readable", || group.master().bodies().len() == 9).await;
}

#[tokio::test(start_paused = true)]
async fn waiting_puts_do_not_delay_each_other() {
    let group = sync_master().await;
    let mut slave = group.net.machine(7).connect(MASTER_ADDRESS).await.unwrap();
    slave.write_all(&encode_report(0)).await.unwrap();
    eventually("it counts", || group.master().ha.is_slave_ok(0)).await;
    let start = Instant::now();
    let (first, second) = (group.master().put("first"), group.master().put("second"));
    let slow_slave = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let second = group.master().put("third");
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let end = group.master().log().max_offset();
        slave.write_all(&encode_report(end)).await.unwrap();
        (second.await.status, start.elapsed().as_millis())
    };
    let (first, second, third) = tokio::join!(first, second, slow_slave);
    assert_eq!((first.status, second.status), (FlushSlaveTimeout, FlushSlaveTimeout));
    assert_eq!(third.0, PutOk);
    assert!((3_500..3_600).contains(&third.1), "{}", third.1);
}

#[tokio::test(start_paused = true)]
async fn a_slave_that_lags_too_far_is_not_available() {
    let mut group = Group::new(|config| config.ha_slave_fallbehind_max = 1_000);
    group.master_config.broker_role = BrokerRole::SyncMaster;
    group.start_master().await;
    let mut slave = group.net.machine(7).connect(MASTER_ADDRESS).await.unwrap();
    slave.write_all(&encode_report(0)).await.unwrap();
    eventually("it counts", || group.master().ha.is_slave_ok(0)).await;
    group.master().put_all("a", 5, FlushSlaveTimeout).await;
    group.master().put_all("b", 5, SlaveNotAvailable).await;
    let end = group.master().log().max_offset();
    slave.write_all(&encode_report(end)).await.unwrap();
    eventually("it is near again", || group.master().ha.is_slave_ok(end)).await;
    assert_eq!(slave.read_u64().await.unwrap(), 0);
}
