//! `kill -9` of a real broker under traffic, again and again over one store. The page cache outlives
//! a process, so neither flush type may lose anything.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use mq_env::rng::Rng;
use mq_env::watched::Watched;
use mq_store::config::FlushDiskType;
use mq_tests::broker_process::{BrokerProcess, BrokerSettings};
use mq_tests::ledger::{Ack, Ledger};
use mq_tests::read_back::{ReadBack, client_of_started};
use mq_tests::senders::{AckSink, SenderPlan, Senders, lock};
use rand::Rng as _;

use mq_tests::rig::{mqbroker, name_server};

/// Kills per flush type.
const KILLS: u32 = 50;

/// Senders at the moment of a kill; one of them sends to a topic that is new in each round.
const SENDERS: u32 = 6;

/// Topics that exist in all rounds.
const TOPICS: u32 = 2;

/// Acknowledgements before the kill: a round has traffic for more than a file of the log, on whatever machine.
const ACKS: std::ops::Range<u64> = 20..600;

/// One store, killed and served again.
struct Story {
    settings: BrokerSettings,
    ledger: Arc<Mutex<Ledger>>,
}

impl Story {
    /// A round: serve, read everything back, traffic, kill.
    async fn round(&mut self, round: u32, acks: u64) {
        let mut broker = BrokerProcess::start(mqbroker(), &self.settings);
        let client = client_of_started(&mut broker, &self.settings.namesrv_addr).await;
        self.read_back(&client).await;

        let acked_before = lock(&self.ledger).acks().len();
        let plans: Vec<SenderPlan> = (0..SENDERS).map(|index| plan(round, index)).collect();
        let acked = Watched::new(0);
        let counted = acked.clone();
        let sink: AckSink = Arc::new(move |_: &Ack| counted.modify(|acked| *acked += 1));
        let senders = Senders::start(&client, &self.ledger, plans, &sink);
        acked.wait_for(|acked| *acked >= acks).await;
        senders.pull_plug();
        broker.kill();
        senders.ended().await;
        client.shutdown().await;
        assert!(lock(&self.ledger).acks().len() > acked_before, "there was no traffic");
    }

    async fn read_back(&self, client: &mq_client::ClientInstance) -> ReadBack {
        let ledger = lock(&self.ledger).clone();
        let topics: BTreeSet<String> = ledger.acks().map(|ack| ack.topic.clone()).collect();
        let read_back = ReadBack::of(client, &topics).await;
        let found = read_back.compare(&ledger);
        let (acked, lost) = (ledger.acks().len(), found.lost.len());
        assert!(found.lost.is_empty(), "{lost} of {acked} lost, first {:?}", found.lost[0]);
        assert!(found.strange.is_empty(), "{:?}", found.strange);
        read_back
    }
}

fn plan(round: u32, index: u32) -> SenderPlan {
    let topic = match index {
        0 => format!("Round{round}"),
        _ => format!("Kill{}", index % TOPICS),
    };
    SenderPlan { sender: round * SENDERS + index, topic }
}

#[expect(clippy::disallowed_methods, reason = "tests look at files")]
fn files(dir: &Path) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}

async fn killed_again_and_again(flush_disk_type: FlushDiskType) {
    let dir = tempfile::tempdir().unwrap();
    let (namesrv, namesrv_addr) = name_server(dir.path()).await;
    let settings = BrokerSettings::small(dir.path(), &namesrv_addr, flush_disk_type);
    let mut story = Story { settings, ledger: Arc::default() };
    let mut dice = Rng::from_os().stream("kill");
    for round in 0..KILLS {
        story.round(round, dice.random_range(ACKS)).await;
    }

    let mut broker = BrokerProcess::start(mqbroker(), &story.settings);
    let client = client_of_started(&mut broker, &namesrv_addr).await;
    let read_back = story.read_back(&client).await;
    client.shutdown().await;
    broker.stop();
    namesrv.shutdown().await;
    let log_files = files(&story.settings.store_dir.join("commitlog"));
    let (acked, held) = (lock(&story.ledger).acks().len(), read_back.len());
    println!(
        "{}: {KILLS} kills, {acked} acked, all of them among the {held} held, {log_files} files of the log",
        flush_disk_type.name()
    );
    assert!(log_files > KILLS as usize, "the log rolled {log_files} times only");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_killed_under_async_flush_loses_nothing() {
    killed_again_and_again(FlushDiskType::AsyncFlush).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_killed_under_sync_flush_loses_nothing() {
    killed_again_and_again(FlushDiskType::SyncFlush).await;
}
