//! [`Story`]: one disk, and a machine that serves it, reads it back and sends to it until its power is
//! cut. The ledger is out here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mq_env::Env;
use mq_env::rng::Rng;
use mq_store::config::FlushDiskType;
use mq_tests::ledger::{Ack, Ledger, MessageId};
use mq_tests::outcome::{is_whole_json, outcomes};
use mq_tests::read_back::ReadBack;
use rand::Rng as _;

use crate::machine::{Machine, Running};
use crate::simulated::SIZES;

/// Senders of a round; the first one sends to a topic that is new.
const SENDERS: u32 = 6;

/// Topics that exist in all rounds; offsets are committed in these.
const TOPICS: u32 = 2;

/// The group whose offsets are committed.
const GROUP: &str = "power-group";

/// Time for a machine to boot, serve and read back.
const BOOT_WITHIN: Duration = Duration::from_secs(120);

/// Acknowledgements that a round waits for before its cut, and how long it goes on then.
const ACKS: std::ops::Range<usize> = 20..400;
const TRAFFIC_MS: std::ops::Range<u64> = 0..2_500;

/// ASYNC_FLUSH: what was acknowledged earlier than this before the end of traffic is on the disk. It
/// is `flushIntervalCommitLog` (500 ms) and, on a busy host, thrice as much for the running sync.
const ASYNC_BOUND_MS: u64 = 2_000;

/// What a group committed earlier than this before the end of traffic is on the disk: the interval
/// of the guest's broker (500 ms) and three times as much for the writing.
const OFFSETS_BOUND_MS: u64 = 2_000;

/// Messages of a sender, one after the other, that a broker may have refused before a cut.
const REFUSED_MAX: u32 = 8;

/// A disk and what is known of it outside.
pub(crate) struct Story {
    dir: PathBuf,
    machine: Machine,
    flush_disk_type: FlushDiskType,
    ledger: Ledger,
    /// Those with an acknowledged message, be it lost since: a topic is not.
    topics: BTreeSet<String>,
    rounds: u32,
    /// What the last round was told.
    last: LastRound,
    /// The group's offsets as they were found after the last boot, by topic and queue.
    offsets: BTreeMap<(String, i32), i64>,
    /// Every kind of outcome that a cut had.
    pub(crate) outcomes: BTreeSet<String>,
    totals: Totals,
}

#[derive(Default)]
struct LastRound {
    acked: BTreeSet<MessageId>,
    /// Where their records began.
    appended: Vec<u64>,
    ended_at_ms: u64,
    commits: Vec<Commit>,
}

/// A confirmed commit of the group's offset.
struct Commit {
    topic: String,
    queue_id: i32,
    offset: i64,
    at_ms: u64,
}

#[derive(Default)]
struct Totals {
    acked: usize,
    lost: usize,
    cuts_with_loss: u32,
    oldest_lost_ms: u64,
    offsets: u32,
}

impl Story {
    /// A machine with an empty disk, its files in `dir`; says why not where it cannot be had.
    pub(crate) fn begin(dir: &Path, flush_disk_type: FlushDiskType) -> Result<Self, String> {
        Ok(Story {
            dir: dir.to_path_buf(),
            machine: Machine::new(dir)?,
            flush_disk_type,
            ledger: Ledger::default(),
            topics: BTreeSet::new(),
            rounds: 0,
            last: LastRound::default(),
            offsets: BTreeMap::new(),
            outcomes: BTreeSet::new(),
            totals: Totals::default(),
        })
    }

    /// Power on, everything read back and held against the ledger, traffic, power off.
    pub(crate) async fn round(&mut self) {
        let told = self.told();
        let first_sender = self.rounds * SENDERS;
        let topics: Vec<String> = (0..SENDERS).map(|index| self.topic(index)).collect();
        let mut machine = self.boot(&told, Some((first_sender, &topics))).await;
        self.check(&told);

        let mut dice = Rng::from_os().stream("power");
        let acks = told.join("acks");
        let wanted = dice.random_range(ACKS);
        let deadline = tokio::time::Instant::now() + BOOT_WITHIN;
        while lines(&acks).len() < wanted {
            assert!(!machine.is_off(), "the guest gave up: {}", self.machine.said());
            assert!(tokio::time::Instant::now() < deadline, "no traffic: {}", self.machine.said());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(dice.random_range(TRAFFIC_MS))).await;
        machine.cut();
        self.take_in(&told, first_sender, &topics);
        self.rounds += 1;
    }

    /// Everything is read back a last time, and the machine turns itself off.
    pub(crate) async fn end(&mut self) {
        let told = self.told();
        let mut machine = self.boot(&told, None).await;
        self.check(&told);
        let off = async {
            while !machine.is_off() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(BOOT_WITHIN, off).await.unwrap();
        let Totals { acked, lost, cuts_with_loss, oldest_lost_ms, offsets } = self.totals;
        println!(
            "{}: {} cuts, {acked} acked, {lost} lost in {cuts_with_loss} of the cuts, the oldest \
             acked {oldest_lost_ms} ms before the end of traffic; {offsets} group offsets found \
             again",
            self.flush_disk_type.name(),
            self.rounds
        );
        self.outcomes.iter().for_each(|outcome| println!("seen: {outcome}"));
    }

    async fn boot(&self, told: &Path, traffic: Option<(u32, &[String])>) -> Running {
        Env::os().disk.create_dir_all(told).unwrap();
        let guest = env!("CARGO_BIN_EXE_power-guest");
        let mut command = vec![guest.to_owned()];
        let mut add = |name: &str, value: &dyn std::fmt::Display| {
            command.push(format!("--{name}={value}"));
        };
        add("told", &told.display());
        add("store", &self.machine.store().display());
        add("broker", &env!("CARGO_BIN_EXE_mqbroker-under-test"));
        add("flush", &self.flush_disk_type.name());
        for topic in &self.topics {
            add("read", topic);
        }
        if let Some((first_sender, topics)) = traffic {
            add("first-sender", &first_sender);
            topics.iter().for_each(|topic| add("send-to", topic));
        }
        let mut machine = self.machine.start(&told.join("store"), &command);
        let deadline = tokio::time::Instant::now() + BOOT_WITHIN;
        while Env::os().disk.stat(&told.join("told")).is_err() {
            assert!(!machine.is_off(), "the guest gave up: {}", self.machine.said());
            assert!(tokio::time::Instant::now() < deadline, "no boot: {}", self.machine.said());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        machine
    }

    /// Holds what the machine told after its boot against what is known.
    fn check(&mut self, told: &Path) {
        let (disk, store) = (Env::os().disk, told.join("store"));
        self.outcomes.extend(outcomes(&*disk, &store, SIZES, &self.last.appended));
        let read_back: ReadBack = text(&told.join("messages")).parse().unwrap();
        let found = read_back.compare(&self.ledger);
        assert!(found.strange.is_empty(), "{:?}", found.strange);
        self.check_lost(&found.lost);
        self.check_metadata(&told.join("store/config"));
        self.check_offsets(&told.join("offsets"));
    }

    fn check_lost(&mut self, lost: &[Ack]) {
        let ended_at_ms = self.last.ended_at_ms;
        let age_ms = lost.iter().map(|ack| ended_at_ms - ack.acked_at_ms).max().unwrap_or(0);
        if self.rounds > 0 {
            println!(
                "{} cut {}: {} acked, {} lost, the oldest acked {age_ms} ms before the end",
                self.flush_disk_type.name(),
                self.rounds,
                self.last.acked.len(),
                lost.len()
            );
        }
        for ack in lost {
            assert_eq!(self.flush_disk_type, FlushDiskType::AsyncFlush, "acked and lost: {ack}");
            assert!(self.last.acked.contains(&ack.message), "it had survived a cut: {ack}");
            assert!(age_ms <= ASYNC_BOUND_MS, "lost, though acked {age_ms} ms before the end");
            self.ledger.forget(ack.message);
        }
        self.totals.lost += lost.len();
        self.totals.cuts_with_loss += u32::from(!lost.is_empty());
        self.totals.oldest_lost_ms = self.totals.oldest_lost_ms.max(age_ms);
    }

    /// Topics and groups are in the files as the cut left them.
    fn check_metadata(&self, config: &Path) {
        let topics = metadata(&config.join("topics.json"));
        for topic in &self.topics {
            assert!(topics.contains(&format!("\"{topic}\"")), "topic {topic} is lost: {topics}");
        }
        if !self.last.commits.is_empty() {
            let groups = metadata(&config.join("subscriptionGroup.json"));
            assert!(groups.contains(&format!("\"{GROUP}\"")), "the group is lost: {groups}");
        }
    }

    /// What was found after the last boot is there, and what was committed long enough ago.
    fn check_offsets(&mut self, offsets: &Path) {
        let durable_at_ms = self.last.ended_at_ms.saturating_sub(OFFSETS_BOUND_MS);
        let mut wanted = std::mem::take(&mut self.offsets);
        for Commit { topic, queue_id, offset, at_ms } in std::mem::take(&mut self.last.commits) {
            if at_ms < durable_at_ms {
                let wanted = wanted.entry((topic, queue_id)).or_default();
                *wanted = offset.max(*wanted);
            }
        }
        for line in lines(offsets) {
            let [topic, queue_id, offset, max]: [&str; 4] =
                line.split(' ').collect::<Vec<_>>().try_into().unwrap();
            let (offset, max): (i64, i64) = (offset.parse().unwrap(), max.parse().unwrap());
            assert!(offset <= max, "beyond the end: {line}");
            let queue = (topic.to_owned(), queue_id.parse().unwrap());
            if let Some(wanted) = wanted.remove(&queue) {
                assert!(offset >= wanted.min(max), "{line}: the offset was {wanted}");
                self.totals.offsets += u32::from(wanted > 0);
            }
            self.offsets.insert(queue, offset);
        }
        assert!(wanted.is_empty(), "queues with offsets are gone: {wanted:?}");
    }

    /// Takes in what a round told until its cut.
    fn take_in(&mut self, told: &Path, first_sender: u32, topics: &[String]) {
        let mut last = LastRound::default();
        let mut next: BTreeMap<u32, u32> = BTreeMap::new();
        for line in lines(&told.join("acks")) {
            let ack: Ack = line.parse().unwrap();
            last.acked.insert(ack.message);
            last.appended.push(u64::try_from(ack.phy_offset).unwrap());
            last.ended_at_ms = last.ended_at_ms.max(ack.acked_at_ms);
            next.insert(ack.message.sender, ack.message.number + 1);
            self.topics.insert(ack.topic.clone());
            self.ledger.ack(ack);
        }
        // Each sender had one more message in the air, and some that were refused, perhaps.
        for (sender, topic) in (first_sender..).zip(topics) {
            let number = next.get(&sender).copied().unwrap_or(0) + REFUSED_MAX;
            self.ledger.attempt(MessageId { sender, number }, topic);
        }
        for line in lines(&told.join("commits")) {
            let [topic, queue_id, offset, at_ms]: [&str; 4] =
                line.split(' ').collect::<Vec<_>>().try_into().unwrap();
            last.commits.push(Commit {
                topic: topic.to_owned(),
                queue_id: queue_id.parse().unwrap(),
                offset: offset.parse().unwrap(),
                at_ms: at_ms.parse().unwrap(),
            });
        }
        self.totals.acked += last.acked.len();
        self.last = last;
    }

    fn topic(&self, index: u32) -> String {
        match index {
            0 => format!("Round{}", self.rounds),
            _ => format!("Power{}", index % TOPICS),
        }
    }

    fn told(&self) -> PathBuf {
        self.dir.join(format!("round-{}", self.rounds))
    }
}

/// A metadata file as the broker will read it: the file, or the version before if that is not whole.
fn metadata(path: &Path) -> String {
    let is_whole = |text: &String| is_whole_json(text.as_bytes());
    let before = path.with_extension("json.bak");
    [path, &before].map(text).into_iter().find(is_whole).unwrap_or_default()
}

fn text(path: &Path) -> String {
    String::from_utf8(Env::os().disk.read(path).unwrap_or_default()).unwrap()
}

/// Whole lines; the last one may have been cut off.
fn lines(path: &Path) -> Vec<String> {
    let text = text(path);
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(str::to_owned).collect()
}
