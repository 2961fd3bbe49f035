//! Slaves whose log is not a prefix of their master's, and what 4.9 makes of them.

use std::time::Duration;

use mq_env::Env;
use mq_store::PutMessageStatus::{PutOk, SlaveNotAvailable};
use mq_store::config::{BrokerRole, UpstreamSwitch};
use mq_store::ha::follow_state::FollowState;

use crate::node::{FILE_BYTES, Group, MASTER_ADDRESS, eventually, numbered};

/// V5: acknowledged messages `a`, a copy of the master's store, acknowledged messages `b`; then the
/// master's disk goes back to the copy and the master is started again.
async fn master_loses_its_tail(upstream: &[UpstreamSwitch], kept: usize, lost: usize) -> Group {
    let mut group = Group::sync_pair(upstream).await;
    group.master().put_all("a", kept, PutOk).await;
    group.copy_master("copy");
    group.master().put_all("b", lost, PutOk).await;
    group.caught_up().await;
    group.kill_master().await;
    group.put_back_master("copy");
    group.start_master().await;
    group
}

#[tokio::test(start_paused = true)]
async fn v5_the_tail_that_the_master_lost_is_set_aside() {
    let mut group = master_loses_its_tail(&[], 100, 80).await;
    let (common, old_end) = (group.master().log().max_offset(), group.slave().log().max_offset());
    let old_tail = group.slave().log().crc_of(common..old_end).unwrap();
    group.caught_up().await;

    let quarantines = group.slave().ha.quarantines();
    assert_eq!(quarantines.len(), 1);
    let quarantine = &quarantines[0];
    assert_eq!((quarantine.from, quarantine.to, quarantine.messages), (common, old_end, 80));
    let disk = Env::os().disk;
    let mut copied = Vec::new();
    for entry in disk.list(&quarantine.dir).unwrap() {
        if entry.name != "quarantine.json" {
            copied.extend(disk.read(&quarantine.dir.join(entry.name)).unwrap());
        }
    }
    assert_eq!(crc32fast::hash(&copied), old_tail);
    let json = disk.read(&quarantine.dir.join("quarantine.json")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!((&json["from"], &json["messages"]), (&common.into(), &80.into()));
    assert_eq!(json["master"], MASTER_ADDRESS);
    let expected = format!("Quarantined {{ from: {common}, to: {old_end}, messages: 80 }}");
    assert_eq!(group.events("Quarantined"), [expected]);

    group.master().put_all("c", 30, PutOk).await;
    group.caught_up().await;
    let expected = [numbered("a", 100), numbered("c", 30)].concat();
    eventually("the slave has what the master has", || group.slave().bodies() == expected).await;
    // The cut is durable: nothing of the tail comes back.
    group.kill_slave().await;
    group.start_slave().await;
    group.caught_up().await;
    eventually("the slave has it still", || group.slave().bodies() == expected).await;
    assert_eq!(group.slave().ha.quarantines(), []);
}

#[tokio::test(start_paused = true)]
async fn v5_upstream_acknowledges_what_no_slave_has() {
    let upstream = [
        UpstreamSwitch::AckBeyondLogEnd,
        UpstreamSwitch::SpliceDiverged,
        UpstreamSwitch::FirstReportLate,
    ];
    let group = master_loses_its_tail(&upstream, 100, 80).await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    let slave_end = group.slave().log().max_offset();
    group.master().put_all("c", 50, PutOk).await;
    assert_eq!(group.slave().log().max_offset(), slave_end);
    assert_eq!(group.slave().bodies(), [numbered("a", 100), numbered("b", 80)].concat());
    assert_eq!(group.events("Quarantined"), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn without_the_proof_a_slave_ahead_acknowledges_nothing_and_is_spliced_later() {
    let group = master_loses_its_tail(&[UpstreamSwitch::SpliceDiverged], 100, 80).await;
    let (master, slave) = (group.master(), group.slave());
    let (common, slave_end) = (master.log().max_offset(), slave.log().max_offset());
    for number in 0..60 {
        assert_ne!(master.put(&format!("c{number:>100}")).await.status, PutOk);
    }
    assert!(master.log().max_offset() < slave_end);
    while master.log().max_offset() < slave_end + 10_000 {
        master.put(&format!("{:>100}", "d")).await;
    }
    eventually("the slave appends behind its tail", || {
        slave.log().max_offset() == master.log().max_offset()
    })
    .await;
    let crc = |node: &crate::node::Node, range| node.log().crc_of(range).unwrap();
    assert_eq!(crc(master, 0..common), crc(slave, 0..common));
    assert_ne!(crc(master, common..slave_end), crc(slave, common..slave_end));
    let end = slave.log().max_offset();
    assert_eq!(crc(master, slave_end..end), crc(slave, slave_end..end));
}

#[tokio::test(start_paused = true)]
async fn a_slave_that_was_away_keeps_its_sound_copy_of_what_rots_on_the_master() {
    let mut group = Group::sync_pair(&[]).await;
    group.master().put_all("a", 100, PutOk).await;
    group.caught_up().await;
    let end = group.slave().log().max_offset();
    group.kill_slave().await;
    // One bit in the middle of a body.
    let rotten = group.master().log().record_boundary_at_or_below(end / 2).unwrap();
    let record = group.master().log().data(rotten).unwrap();
    let log = group.master_config.store_path_root_dir.join("commitlog/00000000000000000000");
    let log = Env::os().disk.map(&log, FILE_BYTES as usize).unwrap();
    log.write(rotten as usize + 120, &[record[120] ^ 1]);
    group.start_slave().await;
    eventually("the slave refuses", || group.slave().ha.refusal().is_some()).await;
    let reason = group.slave().ha.refusal().unwrap();
    assert!(
        reason.contains(&format!("of the record at {rotten} the master has other bytes")),
        "{reason}"
    );
    assert!(reason.contains("promote it"), "{reason}");
    group.master().put_all("c", 3, SlaveNotAvailable).await;
    assert_eq!(group.slave().log().max_offset(), end);
    assert_eq!(group.slave().bodies(), numbered("a", 100));
    assert_eq!(group.slave().ha.quarantines(), []);
}

#[tokio::test(start_paused = true)]
async fn v6_a_blank_master_is_not_followed() {
    let mut group = Group::sync_pair(&[]).await;
    group.master().put_all("a", 100, PutOk).await;
    group.caught_up().await;
    assert_eq!(group.slave().ha.confirm_master().await, Ok(true));
    group.copy_master("copy");
    group.kill_master().await;
    assert!(group.slave().ha.confirm_master().await.is_err());
    group.wipe_master();
    group.start_master().await;
    eventually("the slave refuses", || group.slave().ha.refusal().is_some()).await;
    assert_eq!(group.slave().ha.confirm_master().await, Ok(false));
    tokio::time::sleep(Duration::from_secs(20)).await;
    let reason = group.slave().ha.refusal().unwrap();
    assert!(reason.contains("blank") && reason.contains("promote it"), "{reason}");
    assert_eq!(group.events("RefusedToFollow").len(), 1);
    assert_eq!(group.master().ha.connection_count(), 0);
    group.master().put_all("c", 100, SlaveNotAvailable).await;
    // Blank no longer, but of another history.
    tokio::time::sleep(Duration::from_secs(20)).await;
    let reason = group.slave().ha.refusal().unwrap();
    assert!(reason.contains("no common history"), "{reason}");
    assert_eq!(group.slave().ha.confirm_master().await, Ok(false));
    assert_eq!(group.slave().bodies(), numbered("a", 100));
    // The operator brings back the right disk.
    group.kill_master().await;
    group.put_back_master("copy");
    group.start_master().await;
    group.caught_up().await;
    assert_eq!(group.slave().ha.refusal(), None);
}

#[tokio::test(start_paused = true)]
async fn v6_upstream_acknowledges_on_a_blank_master() {
    let upstream = [
        UpstreamSwitch::AckBeyondLogEnd,
        UpstreamSwitch::SpliceDiverged,
        UpstreamSwitch::FirstReportLate,
    ];
    let mut group = Group::sync_pair(&upstream).await;
    group.master().put_all("a", 200, PutOk).await;
    group.caught_up().await;
    group.kill_master().await;
    group.wipe_master();
    group.start_master().await;
    tokio::time::sleep(Duration::from_secs(14)).await;
    group.master().put_all("c", 100, PutOk).await;
    assert_eq!(group.slave().bodies(), numbered("a", 200));
}

#[tokio::test(start_paused = true)]
async fn a_tail_beyond_the_limit_is_kept() {
    let mut group = Group::sync_pair(&[]).await;
    group.master().put_all("a", 100, PutOk).await;
    group.copy_master("copy");
    group.master().put_all("b", 150, PutOk).await;
    group.caught_up().await;
    group.kill_master().await;
    group.kill_slave().await;
    group.slave_config.ha_max_diverged_bytes = Some(FILE_BYTES);
    group.start_slave().await;
    group.put_back_master("copy");
    group.start_master().await;
    let tail_bytes = group.slave().log().max_offset() - group.master().log().max_offset();
    assert!(tail_bytes > FILE_BYTES);
    eventually("the slave refuses", || group.slave().ha.refusal().is_some()).await;
    let reason = group.slave().ha.refusal().unwrap();
    assert!(reason.contains("haMaxDivergedBytes"), "{reason}");
    assert_eq!(group.slave().bodies().len(), 250);
    // The operator allows for it.
    group.kill_slave().await;
    group.slave_config.ha_max_diverged_bytes = Some(tail_bytes);
    group.start_slave().await;
    group.caught_up().await;
    assert_eq!(group.slave().ha.quarantines()[0].messages, 150);
}

#[tokio::test(start_paused = true)]
async fn an_old_master_that_comes_back_as_slave_gives_up_its_tail() {
    let mut group = Group::new(|_| {});
    group.start_master().await;
    group.start_slave().await;
    group.master().put_all("a", 100, PutOk).await;
    group.caught_up().await;
    group.kill_slave().await;
    group.master().put_all("unreplicated", 20, PutOk).await;
    group.kill_master().await;
    // The slave is promoted, the old master comes back behind it.
    let Group { master_config, slave_config, .. } = &mut group;
    std::mem::swap(&mut master_config.store_path_root_dir, &mut slave_config.store_path_root_dir);
    master_config.broker_role = BrokerRole::SyncMaster;
    group.start_master().await;
    group.master().put_all("b", 5, SlaveNotAvailable).await;
    group.start_slave().await;
    group.caught_up().await;
    let quarantines = group.slave().ha.quarantines();
    assert_eq!(quarantines.iter().map(|it| it.messages).collect::<Vec<_>>(), [20]);
    group.master().put_all("c", 5, PutOk).await;
    let expected = [numbered("a", 100), numbered("b", 5), numbered("c", 5)].concat();
    eventually("both have the same", || {
        group.slave().bodies() == expected && group.master().bodies() == expected
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_same_range_may_be_set_aside_twice() {
    let mut group = master_loses_its_tail(&[], 50, 30).await;
    group.caught_up().await;
    let first = group.slave().ha.quarantines().remove(0);
    group.master().put_all("b", 30, PutOk).await;
    group.caught_up().await;
    group.kill_master().await;
    group.put_back_master("copy");
    group.start_master().await;
    group.caught_up().await;
    let second = group.slave().ha.quarantines().remove(1);
    assert_eq!((second.from, second.to, second.messages), (first.from, first.to, 30));
    assert_ne!(second.dir, first.dir);
}

#[tokio::test(start_paused = true)]
async fn a_java_master_is_followed_without_a_proof() {
    let mut group = Group::new(|_| {});
    group.is_master_java = true;
    group.start_master().await;
    group.start_slave().await;
    group.master().put_all("a", 20, PutOk).await;
    group.caught_up().await;
    group.kill_slave().await;
    group.start_slave().await;
    group.caught_up().await;
    let master = MASTER_ADDRESS.to_owned();
    let expected = FollowState::Following { master, is_proven: false };
    assert_eq!(group.slave().ha.watch_follow_state().get(), expected);
    assert_eq!(group.slave().ha.confirm_master().await, Ok(true));
}
