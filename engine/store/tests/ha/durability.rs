//! Synced or not: what a SYNC_FLUSH master sends and a SYNC_FLUSH slave reports.

use std::time::Duration;

use mq_store::PutMessageStatus::{self, FlushDiskTimeout, FlushSlaveTimeout, PutOk};
use mq_store::config::{BrokerRole, FlushDiskType, UpstreamSwitch};

use crate::node::{Group, eventually};

/// A connected pair of a SYNC_MASTER and its slave.
async fn pair(master: FlushDiskType, slave: FlushDiskType, upstream: &[UpstreamSwitch]) -> Group {
    let mut group = Group::new(|config| config.upstream.extend(upstream));
    group.master_config.broker_role = BrokerRole::SyncMaster;
    group.master_config.flush_disk_type = master;
    group.slave_config.flush_disk_type = slave;
    group.start_master().await;
    group.start_slave().await;
    group.caught_up().await;
    group.master().put_all("a", 10, PutOk).await;
    group.caught_up().await;
    group
}

#[tokio::test(start_paused = true)]
async fn a_sync_flush_master_sends_what_it_has_synced() {
    let group = pair(FlushDiskType::SyncFlush, FlushDiskType::AsyncFlush, &[]).await;
    let end = group.master().log().max_offset();
    group.master_disk.hold(true);
    let put = group.master().put("held");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(group.master().log().max_offset() > end);
    assert_eq!(group.slave().log().max_offset(), end);
    group.master_disk.hold(false);
    assert_eq!(put.await.status, PutOk);
    group.caught_up().await;
}

#[tokio::test(start_paused = true)]
async fn upstream_a_sync_flush_master_sends_what_it_may_lose() {
    let upstream = [UpstreamSwitch::SendUnflushed];
    let group = pair(FlushDiskType::SyncFlush, FlushDiskType::AsyncFlush, &upstream).await;
    group.master_disk.hold(true);
    let put = group.master().put("held");
    group.caught_up().await;
    assert!(group.master().log().flushed_offset() < group.slave().log().max_offset());
    assert_eq!(put.await.status, FlushDiskTimeout);
    group.master_disk.hold(false);
}

#[tokio::test(start_paused = true)]
async fn a_sync_flush_slave_reports_what_it_has_synced() {
    let group = pair(FlushDiskType::AsyncFlush, FlushDiskType::SyncFlush, &[]).await;
    let acked = group.master().ha.push2_slave_max_offset();
    group.slave_disk.hold(true);
    assert_eq!(group.master().put("held").await.status, FlushSlaveTimeout);
    assert_eq!(group.slave().log().max_offset(), group.master().log().max_offset());
    assert_eq!(group.master().ha.push2_slave_max_offset(), acked);
    group.slave_disk.hold(false);
    group.caught_up().await;
    assert_eq!(group.master().put("free").await.status, PutOk);
}

#[tokio::test(start_paused = true)]
async fn upstream_a_sync_flush_slave_reports_its_page_cache() {
    let upstream = [UpstreamSwitch::SlaveAcksPageCache];
    let group = pair(FlushDiskType::AsyncFlush, FlushDiskType::SyncFlush, &upstream).await;
    group.slave_disk.hold(true);
    assert_eq!(group.master().put("held").await.status, PutOk);
    let slave = group.slave().log();
    assert!(slave.flushed_offset() < slave.max_offset());
    group.slave_disk.hold(false);
}

#[tokio::test(start_paused = true)]
async fn a_sync_flush_slave_syncs_before_it_reports_first() {
    let mut group = pair(FlushDiskType::AsyncFlush, FlushDiskType::SyncFlush, &[]).await;
    group.slave_disk.hold(true);
    let put = group.master().put("held");
    eventually("the slave has it", || {
        group.slave().log().max_offset() == group.master().log().max_offset()
    })
    .await;
    assert_eq!(put.await.status, FlushSlaveTimeout);
    group.kill_master().await;
    group.start_master().await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(group.master().ha.push2_slave_max_offset(), 0);
    group.slave_disk.hold(false);
    group.caught_up().await;
}

#[tokio::test(start_paused = true)]
async fn a_slave_whose_sync_failed_follows_no_more() {
    for flush_disk_type in FlushDiskType::ALL {
        let group = pair(FlushDiskType::AsyncFlush, flush_disk_type, &[]).await;
        group.slave_disk.fail();
        group.master().put("lost").await;
        eventually("the slave refuses", || {
            // The sync fails in the background; the next slice meets a poisoned log.
            drop(group.master().put("more"));
            group.slave().ha.refusal().is_some()
        })
        .await;
        let reason = group.slave().ha.refusal().unwrap();
        assert!(reason.contains("restart it"), "{reason}");
        let acked = group.master().ha.push2_slave_max_offset();
        let put = group.master().put("unconfirmed").await;
        assert_eq!(put.status, PutMessageStatus::SlaveNotAvailable);
        assert_eq!(group.master().ha.push2_slave_max_offset(), acked);
    }
}
