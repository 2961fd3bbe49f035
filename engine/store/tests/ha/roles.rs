//! Stores that become master and slave while they run.

use std::sync::Arc;
use std::time::Duration;

use mq_store::PutMessageStatus::{FlushSlaveTimeout, PutOk, ServiceNotAvailable};
use mq_store::config::{BrokerRole, FlushDiskType};
use mq_store::ha::prefix::{PrefixOracle, answer_prefix_query};
use tokio::time::Instant;

use crate::node::{FILE_BYTES, Group, MASTER_ADDRESS, SLAVE_PORT, eventually, follows, numbered};

const SLAVE_ADDRESS: &str = "10.0.0.2:10932";

/// Both run, and either may ask the other about its log.
async fn pair(change: impl Fn(&mut mq_store::config::StoreConfig)) -> Group {
    let mut group = Group::new(change);
    group.start_slave().await;
    let store = Arc::clone(&group.slave().store);
    let oracle: PrefixOracle = Arc::new(move |query| {
        let store = Arc::clone(&store);
        Box::pin(async move { Ok(answer_prefix_query(store.commit_log(), &query)) })
    });
    group.start_master_asking(Some(oracle)).await;
    group.caught_up().await;
    group
}

/// The slave becomes master and the master its slave.
async fn swap(group: &Group) {
    let (old, new) = (group.master(), group.slave());
    old.store.change_role(BrokerRole::Slave).await.unwrap();
    new.ha.set_ha_master_address(None);
    new.store.change_role(BrokerRole::SyncMaster).await.unwrap();
    old.ha.set_ha_master_address(Some(SLAVE_ADDRESS.to_owned()));
}

#[tokio::test(start_paused = true)]
async fn roles_change_and_the_log_is_replicated_the_other_way() {
    assert_eq!(SLAVE_PORT, 10_932);
    let group = pair(|_| {}).await;
    group.master().put_all("a", 200, PutOk).await;
    group.caught_up().await;
    assert!(group.slave().log().max_offset() > FILE_BYTES);
    swap(&group).await;
    let (old, new) = (group.master(), group.slave());
    assert_eq!(old.put("refused").await.status, ServiceNotAvailable);
    follows(old, new).await;
    let put = new.put(&format!("b{:>100}", 0)).await;
    assert_eq!((put.status, put.append.unwrap().queue_offset), (PutOk, 200));
    follows(old, new).await;
    eventually("the new slave dispatches", || old.bodies().len() == 201).await;
    assert_eq!(old.bodies().last().unwrap(), "b0");
    assert_eq!(group.events("Quarantined"), [""; 0]);

    // And back.
    new.store.change_role(BrokerRole::Slave).await.unwrap();
    old.ha.set_ha_master_address(None);
    old.store.change_role(BrokerRole::SyncMaster).await.unwrap();
    new.ha.set_ha_master_address(Some(MASTER_ADDRESS.to_owned()));
    follows(new, old).await;
    old.put_all("c", 20, PutOk).await;
    follows(new, old).await;
    let all = [numbered("a", 200), numbered("b", 1), numbered("c", 20)].concat();
    eventually("the slave dispatches", || new.bodies() == all).await;
    assert_eq!(old.bodies(), all);
}

#[tokio::test(start_paused = true)]
async fn a_put_that_waits_for_a_slave_is_answered_when_its_master_becomes_one() {
    let mut group = Group::new(|_| {});
    group.master_config.broker_role = BrokerRole::SyncMaster;
    group.master_config.slave_timeout_ms = 3_600_000;
    group.slave_config.flush_disk_type = FlushDiskType::SyncFlush;
    group.start_master().await;
    group.start_slave().await;
    group.caught_up().await;
    group.slave_disk.hold(true);
    let put = group.master().put("waits");
    let begin = Instant::now();
    group.master().store.change_role(BrokerRole::Slave).await.unwrap();
    assert_eq!(put.await.status, FlushSlaveTimeout);
    // The clock jumps while disks work; it does not jump over a timer.
    assert!(begin.elapsed() < Duration::from_secs(3_600), "before slaveTimeout");
    group.slave_disk.hold(false);
}

#[tokio::test(start_paused = true)]
async fn what_a_slave_confirmed_to_a_former_master_is_void() {
    let group = pair(|_| {}).await;
    group.master().store.change_role(BrokerRole::SyncMaster).await.unwrap();
    group.master().put_all("a", 10, PutOk).await;
    let confirmed = group.master().ha.push2_slave_max_offset();
    assert_eq!(confirmed, group.master().log().max_offset());
    swap(&group).await;
    assert_eq!(group.master().ha.push2_slave_max_offset(), 0);
    assert_eq!(group.slave().ha.push2_slave_max_offset(), 0);
    assert_eq!(group.master().ha.connection_count(), 0);
}
