//! Faults at random moments; what every seed has to show afterwards.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use mq_store::PutMessageStatus;
use mq_store::config::{FlushDiskType, StoreConfig, UpstreamSwitch};
use rand::Rng;
use staticfire_world::world::{Partition, World, WorldConfig, WorldHandle};

use super::rig::{Node, Rig};

/// Messages of one story and which of them were acknowledged.
#[derive(Clone, Default)]
struct Producer {
    sent: Rc<Cell<usize>>,
    acked: Rc<RefCell<BTreeSet<String>>>,
}

impl Producer {
    /// Sends one message and waits for its answer; what it was, if the master lived to give it.
    async fn send(&self, master: &Node) -> Option<PutMessageStatus> {
        self.sent.set(self.sent.get() + 1);
        let body = format!("m{:05}{:>200}", self.sent.get(), "");
        let status = master.put(&body).await.ok();
        if status == Some(PutMessageStatus::PutOk) {
            self.acked.borrow_mut().insert(body);
        }
        status
    }

    /// Sends in the background, to whoever runs, until the story ends.
    fn send_always(&self, world: &WorldHandle, master: &Node) {
        let (producer, master) = (self.clone(), master.clone());
        world.spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(7)).await;
                producer.send(&master).await;
            }
        });
    }

    /// Acknowledged messages that `node` does not have.
    fn missing_on(&self, node: &Node) -> Vec<String> {
        let bodies = node.bodies();
        self.acked.borrow().iter().filter(|body| !bodies.contains_key(*body)).cloned().collect()
    }
}

async fn sleep_ms(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

fn sync_flush(config: &mut StoreConfig) {
    config.flush_disk_type = FlushDiskType::SyncFlush;
}

/// Random faults for a while: power loss or kill of either, partitions. Then everything is mended.
async fn torment(rig: &Rig, slave_may_lose_power: bool) {
    let mut rng = rig.world.rng().stream("torment");
    for _ in 0..8 {
        sleep_ms(rng.random_range(200..4_000)).await;
        let node = &rig.nodes[rng.random_range(0..2)];
        let is_slave = node.process.name() == rig.slave().process.name();
        match rng.random_range(0..3) {
            0 if !is_slave || slave_may_lose_power => {
                node.machine.power_loss();
                sleep_ms(rng.random_range(100..3_000)).await;
                node.machine.power_on();
            }
            0 | 1 => {
                node.process.kill();
                sleep_ms(rng.random_range(1..3_000)).await;
            }
            _ => {
                let [a, b] = [rig.nodes[0].machine.id(), rig.nodes[1].machine.id()];
                let partition = rig.world.partition(&Partition::between(&[a], &[b]));
                sleep_ms(rng.random_range(100..25_000)).await;
                rig.world.heal(partition);
            }
        }
        node.machine.start_all();
    }
}

/// Whatever happens to either machine, what both had synced before the answer is on both.
#[test]
fn with_sync_flush_on_both_nothing_acknowledged_is_lost_and_nothing_diverges() {
    for seed in 0..12 {
        World::test(seed, async |world| {
            let rig = Rig::start(&world, sync_flush);
            rig.converge().await;
            let producer = Producer::default();
            producer.send_always(&world, rig.master());
            torment(&rig, true).await;
            rig.converge().await;
            assert_eq!(rig.quarantined(), 0, "seed {seed}");
            for node in &rig.nodes {
                assert_eq!(producer.missing_on(node), [""; 0], "seed {seed}");
            }
            assert!(producer.acked.borrow().len() > 100, "seed {seed}: nothing was shown");
        });
    }
}

/// With ASYNC_FLUSH a master's power loss takes its tail. The slave has what was acknowledged, gives
/// it up visibly, and both go on with one history.
#[test]
fn with_async_flush_every_lost_message_is_in_quarantine() {
    let (mut lost, mut set_aside) = (0, 0);
    for seed in 0..12 {
        World::test(seed, async |world| {
            let rig = Rig::start(&world, |config| config.ha_max_diverged_bytes = Some(1 << 20));
            rig.converge().await;
            let producer = Producer::default();
            // Enough that a power loss leaves something.
            for _ in 0..50 {
                producer.send(rig.master()).await;
            }
            sleep_ms(2_000).await;
            producer.send_always(&world, rig.master());
            torment(&rig, false).await;
            rig.converge().await;
            let missing = producer.missing_on(rig.master());
            assert_eq!(missing, producer.missing_on(rig.slave()), "seed {seed}");
            assert!(missing.len() as u64 <= rig.quarantined(), "seed {seed}: {missing:?}");
            lost += missing.len();
            set_aside += rig.quarantined();
        });
    }
    assert!(lost > 0 && set_aside > 0, "{lost} lost, {set_aside} set aside: nothing was shown");
}

/// The slave loses power while it sets its tail aside, cuts, and resyncs, over and over.
#[test]
fn a_cut_that_is_interrupted_does_not_come_back() {
    for seed in 0..20 {
        World::test(seed, async |world| {
            let mut rig = Rig::start(&world, |_| {});
            rig.slave().config.borrow_mut().flush_disk_type = FlushDiskType::SyncFlush;
            rig.slave().process.restart();
            rig.converge().await;
            let producer = Producer::default();
            for _ in 0..60 {
                assert_eq!(producer.send(rig.master()).await, Some(PutMessageStatus::PutOk));
            }
            sleep_ms(1_000).await;
            for _ in 0..30 {
                producer.send(rig.master()).await;
            }
            rig.converge().await;
            // The master's unsynced tail goes; the slave has synced it.
            rig.master().machine.power_loss_worst();
            rig.master().machine.power_on();
            rig.master().machine.start_all();
            let mut rng = world.rng().stream("interruptions");
            for _ in 0..3 {
                rig.eventually("the master runs", || rig.master().running().is_some()).await;
                sleep_ms(rng.random_range(0..40)).await;
                rig.slave().machine.power_loss();
                rig.slave().machine.power_on();
                rig.slave().machine.start_all();
                // The slave asks every five seconds, the first time when it starts.
                sleep_ms(rng.random_range(0..30)).await;
            }
            rig.converge().await;
            let after = Producer::default();
            after.sent.set(1_000);
            for _ in 0..20 {
                after.send(rig.master()).await;
            }
            rig.converge().await;
            for _ in 0..2 {
                rig.slave().machine.power_loss_worst();
                rig.slave().machine.power_on();
                rig.slave().machine.start_all();
                rig.converge().await;
            }
            assert_eq!(after.missing_on(rig.slave()), [""; 0], "seed {seed}");
            // Even as a master it has the one history.
            let master_bodies = rig.master().bodies();
            for node in &rig.nodes {
                node.process.stop(Duration::from_secs(30)).await;
            }
            rig.promote_slave();
            rig.nodes.iter().for_each(|node| node.process.start());
            rig.converge().await;
            assert_eq!(rig.master().bodies(), master_bodies, "seed {seed}");
        });
    }
}

/// The master's machine is lost, perhaps for good; the slave is promoted; what comes back follows it.
#[test]
fn after_a_promotion_everything_acknowledged_is_there() {
    for seed in 0..10 {
        World::test(seed, async |world| {
            let mut rig = Rig::start(&world, sync_flush);
            rig.converge().await;
            let producer = Producer::default();
            producer.send_always(&world, rig.master());
            let mut rng = world.rng().stream("when");
            sleep_ms(rng.random_range(1_000..5_000)).await;
            let comes_back = rng.random_bool(0.5);
            if comes_back {
                rig.master().machine.power_loss();
            } else {
                rig.master().machine.destroy_disk();
            }
            // In half of the stories it was the power of both.
            if rng.random_bool(0.5) {
                rig.slave().machine.power_loss_worst();
                rig.slave().machine.power_on();
            } else {
                rig.slave().process.stop(Duration::from_secs(30)).await;
            }
            rig.promote_slave();
            rig.master().process.start();
            rig.eventually("the new master runs", || rig.master().running().is_some()).await;
            assert_eq!(producer.missing_on(rig.master()), [""; 0], "seed {seed}");
            let after = Producer::default();
            after.sent.set(10_000);
            for _ in 0..20 {
                after.send(rig.master()).await;
            }
            rig.slave().machine.power_on();
            rig.slave().process.start();
            rig.converge().await;
            for _ in 0..20 {
                assert_eq!(after.send(rig.master()).await, Some(PutMessageStatus::PutOk));
            }
            assert_eq!(producer.missing_on(rig.slave()), [""; 0], "seed {seed}");
            assert_eq!(after.missing_on(rig.slave()), [""; 0], "seed {seed}");
        });
    }
}

#[test]
fn a_story_is_the_same_whenever_it_is_told() {
    let tell = || {
        World::run(WorldConfig::default(), 5, async |world| {
            let rig = Rig::start(&world, |_| {});
            rig.converge().await;
            Producer::default().send_always(&world, rig.master());
            torment(&rig, true).await;
            rig.eventually("both run", || rig.nodes.iter().all(|node| node.running().is_some()))
                .await;
        })
    };
    let [once, twice] = [tell(), tell()];
    assert!(once.trace.len() > 1_000);
    assert_eq!(once.trace.digest(), twice.trace.digest());
}

/// V5 with everything of 4.9 switched on: acknowledged, and on no slave.
#[test]
fn upstream_acknowledges_what_only_the_master_has() {
    World::test(1, async |world| {
        let upstream = [
            UpstreamSwitch::AckBeyondLogEnd,
            UpstreamSwitch::SpliceDiverged,
            UpstreamSwitch::FirstReportLate,
        ];
        let rig = Rig::start(&world, |config| config.upstream.extend(upstream));
        rig.eventually("the slave reports", || {
            rig.master().running().is_some_and(|(_, ha)| {
                ha.slaves().iter().any(|slave| slave.push_ack_offset.is_some())
            })
        })
        .await;
        let producer = Producer::default();
        for _ in 0..50 {
            producer.send(rig.master()).await;
        }
        sleep_ms(2_000).await;
        for _ in 0..50 {
            producer.send(rig.master()).await;
        }
        rig.master().machine.power_loss_worst();
        rig.master().machine.power_on();
        rig.master().machine.start_all();
        sleep_ms(15_000).await;
        let late = Producer::default();
        late.sent.set(1_000);
        for _ in 0..20 {
            assert_eq!(late.send(rig.master()).await, Some(PutMessageStatus::PutOk));
        }
        assert_eq!(late.missing_on(rig.slave()).len(), 20);
        assert_eq!(producer.missing_on(rig.slave()), [""; 0]);
        assert!(!producer.missing_on(rig.master()).is_empty());
    });
}

/// A slave behind a partition: the master answers by 4.9's table, and all is copied afterwards.
#[test]
fn a_partition_costs_timeouts_then_no_slave_then_nothing() {
    World::test(2, async |world| {
        let rig = Rig::start(&world, |_| {});
        rig.converge().await;
        let producer = Producer::default();
        assert_eq!(producer.send(rig.master()).await, Some(PutMessageStatus::PutOk));
        let [a, b] = [rig.nodes[0].machine.id(), rig.nodes[1].machine.id()];
        let partition = world.partition(&Partition::between(&[a], &[b]));
        let mut statuses = Vec::new();
        for _ in 0..8 {
            statuses.push(producer.send(rig.master()).await.unwrap().name());
        }
        assert_eq!(statuses[..5], ["FLUSH_SLAVE_TIMEOUT"; 5]);
        assert_eq!(statuses[7], "SLAVE_NOT_AVAILABLE");
        sleep_ms(10_000).await;
        assert!(!rig.slave().ha().is_following());
        world.heal(partition);
        rig.converge().await;
        assert_eq!(producer.send(rig.master()).await, Some(PutMessageStatus::PutOk));
        assert_eq!(rig.slave().bodies(), rig.master().bodies());
    });
}
