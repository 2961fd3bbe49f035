//! Slaves that get everything: live, late, blank, behind rolled and removed files.

use std::sync::Arc;

use mq_env::Env;
use mq_store::config::{BrokerRole, FlushDiskType, UpstreamSwitch};
use mq_store::ha::HaService;
use mq_store::{MessageStore, PutMessageStatus};

use crate::node::{FILE_BYTES, Group, eventually, message, numbered};

#[tokio::test(start_paused = true)]
async fn a_slave_follows_live_across_files() {
    let mut group = Group::new(|_| {});
    group.start_master().await;
    group.start_slave().await;
    group.caught_up().await;
    group.master().put_all("a", 300, PutMessageStatus::PutOk).await;
    group.caught_up().await;
    assert!(group.slave().log().max_offset() > 3 * FILE_BYTES);
    let slave = group.slave();
    eventually("the slave dispatches", || slave.bodies().len() == 300).await;
    assert_eq!(slave.bodies(), numbered("a", 300));
    assert!(group.slave().ha.refusal().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_slave_that_was_away_catches_up() {
    let mut group = Group::new(|_| {});
    group.start_master().await;
    group.start_slave().await;
    group.master().put_all("a", 100, PutMessageStatus::PutOk).await;
    group.caught_up().await;
    group.kill_slave().await;
    eventually("the master sees it go", || group.master().ha.connection_count() == 0).await;
    group.master().put_all("b", 200, PutMessageStatus::PutOk).await;
    group.start_slave().await;
    group.caught_up().await;
    let slave = group.slave();
    eventually("the slave dispatches", || slave.bodies().len() == 300).await;
    assert_eq!(group.events("SlaveGone").len(), 1);
    assert_eq!(group.events("Quarantined"), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_master_that_was_away_is_found_again() {
    let mut group = Group::new(|_| {});
    group.start_slave().await;
    tokio::time::sleep(std::time::Duration::from_secs(12)).await;
    assert!(!group.slave().ha.is_following());
    group.start_master().await;
    group.master().put_all("a", 10, PutMessageStatus::PutOk).await;
    group.caught_up().await;
    group.kill_master().await;
    eventually("the slave notices", || !group.slave().ha.is_following()).await;
    group.start_master().await;
    group.master().put_all("b", 10, PutMessageStatus::PutOk).await;
    group.caught_up().await;
}

#[tokio::test(start_paused = true)]
async fn a_blank_slave_is_filled_from_the_first_file() {
    let mut group = Group::new(|_| {});
    group.start_master().await;
    group.master().put_all("a", 300, PutMessageStatus::PutOk).await;
    group.start_slave().await;
    group.caught_up().await;
    assert_eq!(group.slave().log().min_offset(), 0);
}

#[tokio::test(start_paused = true)]
async fn v2_upstream_fills_a_blank_slave_from_the_last_file() {
    let switch = UpstreamSwitch::SlaveStartsAtLastFile;
    let mut group = Group::new(|config| config.upstream.extend([switch]));
    group.start_master().await;
    group.master().put_all("a", 300, PutMessageStatus::PutOk).await;
    group.start_slave().await;
    group.caught_up().await;
    let max_offset = group.master().log().max_offset();
    assert_eq!(group.slave().log().min_offset(), max_offset - max_offset % FILE_BYTES);
}

/// A master without its first files.
async fn master_without_first_files(group: &mut Group, files: u64) {
    group.start_master().await;
    group.master().put_all("more", 400, PutMessageStatus::PutOk).await;
    group.stop_master().await;
    let log_dir = group.master_config.commit_log_dir();
    for file in 0..files {
        let path = log_dir.join(format!("{:020}", file * FILE_BYTES));
        Env::os().disk.remove(&path).unwrap();
    }
    group.start_master().await;
    assert_eq!(group.master().log().min_offset(), files * FILE_BYTES);
}

#[tokio::test(start_paused = true)]
async fn a_blank_slave_begins_at_the_masters_minimum() {
    let mut group = Group::new(|_| {});
    master_without_first_files(&mut group, 2).await;
    group.start_slave().await;
    group.caught_up().await;
    assert_eq!(group.slave().log().min_offset(), 2 * FILE_BYTES);
    let slave = group.slave();
    eventually("the slave dispatches", || slave.bodies().last().unwrap() == "more399").await;
    assert_eq!(slave.bodies(), group.master().bodies());
}

/// Files expire on every machine by its own clock and disk.
#[tokio::test(start_paused = true)]
async fn a_slave_follows_whichever_of_the_two_lost_more_files_to_expiry() {
    for (of_master, of_slave) in [(3, 1), (1, 3)] {
        let mut group = Group::new(|_| {});
        group.start_master().await;
        group.start_slave().await;
        group.master().put_all("a", 400, PutMessageStatus::PutOk).await;
        group.caught_up().await;
        // Files go only once the watermark knows them.
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        group.kill_slave().await;
        group.master().put_all("b", 100, PutMessageStatus::PutOk).await;
        group.stop_master().await;
        for (config, files) in [(&group.master_config, of_master), (&group.slave_config, of_slave)]
        {
            for file in 0..files {
                let path = config.commit_log_dir().join(format!("{:020}", file * FILE_BYTES));
                Env::os().disk.remove(&path).unwrap();
            }
        }
        group.start_master().await;
        group.start_slave().await;
        group.caught_up().await;
        assert_eq!(group.slave().log().min_offset(), of_slave * FILE_BYTES);
        assert_eq!(group.slave().ha.refusal(), None);
        assert_eq!(group.events("Quarantined"), [""; 0]);
        let slave = group.slave();
        eventually("the slave dispatches", || slave.bodies().last().unwrap() == "b99").await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_slave_received_survives_its_death_wherever_its_log_begins() {
    let mut group = Group::new(|_| {});
    master_without_first_files(&mut group, 2).await;
    group.start_slave().await;
    let end = group.master().log().max_offset();
    eventually("the slave has all", || group.slave().log().max_offset() == end).await;
    assert!(group.slave().log().flushed_offset() < end);
    group.kill_slave().await;
    group.stop_master().await;
    group.start_slave().await;
    assert_eq!(group.slave().log().min_offset(), 2 * FILE_BYTES);
    assert_eq!(group.slave().log().max_offset(), end);
}

#[tokio::test(start_paused = true)]
async fn a_slave_below_the_masters_minimum_is_refilled() {
    let mut group = Group::new(|_| {});
    group.start_master().await;
    group.start_slave().await;
    group.master().put_all("a", 50, PutMessageStatus::PutOk).await;
    group.caught_up().await;
    let old_end = group.slave().log().max_offset();
    group.kill_slave().await;
    group.stop_master().await;
    master_without_first_files(&mut group, 3).await;
    group.start_slave().await;
    group.caught_up().await;
    assert_eq!(group.slave().log().min_offset(), 3 * FILE_BYTES);
    let quarantines = group.slave().ha.quarantines();
    assert_eq!((quarantines[0].from, quarantines[0].to), (0, old_end));
    assert_eq!(quarantines[0].messages, 50);
    let names = ["00000000000000000000", "quarantine.json"];
    let entries = Env::os().disk.list(&quarantines[0].dir).unwrap();
    assert_eq!(entries.iter().map(|entry| &entry.name).collect::<Vec<_>>(), names);
    let slave = group.slave();
    eventually("the slave dispatches", || slave.bodies().last().unwrap() == "more399").await;
    assert_eq!(slave.bodies(), group.master().bodies());
    // What was refilled is a store like any other.
    group.kill_slave().await;
    group.start_slave().await;
    group.caught_up().await;
}

#[tokio::test(start_paused = true)]
async fn a_refill_that_was_cut_short_begins_anew() {
    let mut group = Group::new(|_| {});
    let config = Arc::new(group.slave_config.clone());
    let store = MessageStore::open(Env::os(), config).await.unwrap();
    store.reset_to(FILE_BYTES, &group.slave_config.store_path_root_dir).await.unwrap();
    store.shutdown().await;
    drop(store);
    master_without_first_files(&mut group, 3).await;
    group.start_slave().await;
    assert_eq!(group.slave().log().max_offset(), FILE_BYTES);
    group.caught_up().await;
    assert_eq!(group.slave().log().min_offset(), 3 * FILE_BYTES);
    assert_eq!(group.slave().ha.quarantines(), []);
}

#[tokio::test(start_paused = true)]
async fn a_slave_may_be_followed_too() {
    let mut group = Group::new(|_| {});
    group.start_master().await;
    group.start_slave().await;
    group.master().put_all("a", 100, PutMessageStatus::PutOk).await;
    group.caught_up().await;
    let mut config = group.slave_config.clone();
    let dir = tempfile::tempdir().unwrap();
    config.store_path_root_dir = dir.path().to_owned();
    config.ha_listen_port = 10_942;
    config.ha_master_address = Some("10.0.0.2:10932".to_owned());
    let env = Env { net: group.net.machine(3), ..Env::os() };
    let store = MessageStore::open(env.clone(), Arc::new(config)).await.unwrap();
    let ha = HaService::new(&env, &store, None);
    ha.start().await.unwrap();
    let end = group.master().log().max_offset();
    eventually("the chain's end has all", || store.commit_log().max_offset() == end).await;
    ha.shutdown().await;
    store.shutdown().await;
}

/// The one test over real sockets and in real time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_loopback_a_sync_master_is_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let config = |name: &str, role| {
        let mut config = mq_store::config::StoreConfig::at(dir.path().join(name)).on_any_disk();
        config.mapped_file_size_commit_log = 1 << 20;
        config.flush_disk_type = FlushDiskType::SyncFlush;
        config.broker_role = role;
        config.ha_listen_port = 0;
        Arc::new(config)
    };
    let env = Env::os();
    let open = async |config| {
        let store = MessageStore::open(env.clone(), config).await.unwrap();
        let ha = HaService::new(&env, &store, None);
        let listens_on = ha.start().await.unwrap();
        (store, ha, listens_on)
    };
    let (master, master_ha, listens_on) = open(config("m", BrokerRole::SyncMaster)).await;
    let (slave, slave_ha, _) = open(config("s", BrokerRole::Slave)).await;
    slave_ha.set_ha_master_address(Some(format!("127.0.0.1:{}", listens_on.port())));
    eventually("the slave follows", || master_ha.is_slave_ok(0)).await;
    let puts: Vec<_> = (0..2_000).map(|n| master.put_message(&message(&format!("{n}")))).collect();
    for put in puts {
        assert_eq!(put.await.status, PutMessageStatus::PutOk);
    }
    crate::node::assert_same_logs(master.commit_log(), slave.commit_log());
    for (store, ha) in [(master, master_ha), (slave, slave_ha)] {
        ha.shutdown().await;
        store.shutdown().await;
    }
}
