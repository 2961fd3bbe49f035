//! Doctor and start agree: golden stores, and what this engine made of them, are corrupted by seed; what
//! `verify` foretells is held against what a broker does. A broker that refuses has changed nothing, and
//! a recovered copy is sound.
//!
//! `CORRUPTIONS=5000` asks for so many seeds per store.
#![expect(clippy::disallowed_methods, reason = "tests read variables")]

mod damages;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use mq_broker::BrokerController;
use mq_broker::config::BrokerConfig;
use mq_protocol::body::offset_table::ConsumerOffsetSerializeWrapper;
use mq_protocol::body::topic_config::TopicConfigSerializeWrapper;
use mq_protocol::codes::RequestCode;
use mq_protocol::fastjson::from_slice;
use mq_protocol::message_codec::{RecordCheck, RecordRules, check_record};
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{ProcessorTable, RemotingClient, RemotingClientConfig};
use mq_store::DroppedRecord;
use mq_store::doctor::{DoctorError, Recovered, Severity, StoreDir, TableState, Verdict};
use staticfire_world::world::{MachineConfig, MachineHandle, World, WorldConfig};

use super::*;
use damages::corrupt;
use mq_tests::archive::{gunzip, untar};

const ROOT: &str = "/store";
const SEEDS: u64 = 130;

/// The files of a store by their path below the root.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// A store that is corrupted.
struct Base {
    files: Files,
    config: StoreConfig,
}

/// What a broker came to.
struct Started {
    min_phy_offset: u64,
    max_phy_offset: u64,
    end_reason: String,
    dropped: Vec<DroppedRecord>,
    kept: u64,
    queues: BTreeMap<(String, u32), (u64, u64)>,
    topics: TopicConfigSerializeWrapper,
    offsets: ConsumerOffsetSerializeWrapper,
}

fn golden(archive: &[u8], log_file: usize) -> Base {
    let mut config = StoreConfig::at(ROOT).on_any_disk();
    config.mapped_file_size_commit_log = log_file;
    config.mapped_file_size_consume_queue = 6_000;
    (config.max_hash_slot_num, config.max_index_num) = (100, 400);
    let files = untar(&gunzip(archive)).into_iter();
    let files =
        files.map(|(name, content)| (name.trim_start_matches("store/").to_owned(), content));
    Base { files: files.collect(), config }
}

fn plain() -> Base {
    golden(include_bytes!("../../fixtures/golden/plain-store.tar.gz"), 262_144)
}

fn killed() -> Base {
    golden(include_bytes!("../../fixtures/golden/killed-store.tar.gz"), 65_536)
}

/// What our broker leaves of a store: closed in order, or killed.
fn ours(base: Base, is_closed: bool) -> Base {
    let config = base.config.clone();
    let files = in_world(&base.files, async |machine| {
        let started = start(machine, &config, is_closed).await;
        assert!(started.is_ok());
        read_files(machine)
    });
    Base { files, config }
}

/// Runs `body` beside a machine that has the files.
fn in_world<T>(files: &Files, body: impl AsyncFnOnce(&MachineHandle) -> T) -> T {
    let config = WorldConfig { writeback_interval_ms: 0, ..WorldConfig::default() };
    let run = World::run(config, 1, async |world| {
        let machine = world.add_machine("m", MachineConfig::default());
        write_files(&machine, files);
        body(&machine).await
    });
    assert!(run.failures.is_empty(), "{:?}", run.failures);
    run.value.unwrap_or_else(|stopped| panic!("{stopped}"))
}

fn write_files(machine: &MachineHandle, files: &Files) {
    let handle = machine.disk().handle("tar");
    handle.create_dir_all(&Path::new(ROOT).join("commitlog")).unwrap();
    for (name, content) in files {
        let path = Path::new(ROOT).join(name);
        handle.create_dir_all(path.parent().unwrap()).unwrap();
        handle.write(&path, content).unwrap();
    }
    machine.disk().settle();
    machine.disk().process_died(handle.epoch());
}

fn read_files(machine: &MachineHandle) -> Files {
    fn read(disk: &dyn Disk, dir: &Path, files: &mut Files) {
        for entry in disk.list(dir).unwrap() {
            let path = dir.join(entry.name);
            if entry.is_dir {
                read(disk, &path, files);
            } else {
                let name = path.strip_prefix(ROOT).unwrap().display().to_string();
                files.insert(name, disk.read(&path).unwrap());
            }
        }
    }
    let handle = machine.disk().handle("reader");
    let mut files = Files::new();
    read(&*handle, Path::new(ROOT), &mut files);
    machine.disk().process_died(handle.epoch());
    files
}

/// One life of a broker, ended in order or by a kill once it serves.
async fn start(
    machine: &MachineHandle,
    config: &StoreConfig,
    is_closed: bool,
) -> Result<Started, String> {
    let outcome: Rc<RefCell<Option<Result<Started, String>>>> = Rc::default();
    let (told, store_config) = (Rc::clone(&outcome), config.clone());
    let process = machine.add_process("broker", move |context| {
        let (told, store_config) = (Rc::clone(&told), store_config.clone());
        async move {
            let env = context.env.clone();
            let config = BrokerConfig::new("a");
            match BrokerController::start(env, config, store_config).await {
                Err(error) => *told.borrow_mut() = Some(Err(error.to_string())),
                Ok(broker) => {
                    let started = look(&context.env, &broker).await;
                    *told.borrow_mut() = Some(Ok(started));
                    if is_closed {
                        broker.shutdown().await;
                    } else {
                        context.shutdown.cancelled().await;
                    }
                }
            }
        }
    });
    process.start();
    while outcome.borrow().is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(process.is_running() || outcome.borrow().is_some(), "{:?}", process.status());
    }
    if is_closed {
        process.ended().await;
    } else if process.is_running() {
        process.kill();
    }
    outcome.take().unwrap()
}

async fn look(env: &Env, broker: &BrokerController) -> Started {
    let store = broker.store();
    let log = store.commit_log();
    let recovery = store.recovery();
    let queues = store.consume_queues().all().into_iter().map(|queue| {
        let range = (queue.min_offset_in_queue(), queue.max_offset_in_queue());
        ((queue.topic().to_owned(), queue.queue_id()), range)
    });
    let mut started = Started {
        min_phy_offset: log.min_offset(),
        max_phy_offset: log.max_offset(),
        end_reason: recovery.end_reason,
        dropped: recovery.dropped,
        kept: records(store),
        queues: queues.collect(),
        topics: TopicConfigSerializeWrapper::default(),
        offsets: ConsumerOffsetSerializeWrapper::default(),
    };
    let client = RemotingClient::new(
        env.clone(),
        RemotingClientConfig::default(),
        ProcessorTable::default(),
    );
    let ask = async |code| {
        let request = RemotingCommand::request(code, &());
        let limit = Duration::from_secs(60);
        client.invoke_async(broker.broker_addr(), request, limit).await.unwrap().body
    };
    started.topics = from_slice(&ask(RequestCode::GET_ALL_TOPIC_CONFIG).await).unwrap();
    started.offsets = from_slice(&ask(RequestCode::GET_ALL_CONSUMER_OFFSET).await).unwrap();
    started
}

/// Counts the records of a log from its start to its end, but for what it leaves out.
fn records(store: &MessageStore) -> u64 {
    let log = store.commit_log();
    let damaged = log.damaged_ranges();
    let (mut at, mut count) = (log.min_offset(), 0);
    while at < log.max_offset() {
        if let Some(range) = damaged.iter().find(|range| (range.from..range.to).contains(&at)) {
            at = range.to;
            continue;
        }
        match check_record(&log.data(at).unwrap(), &RecordRules::upstream(false)) {
            RecordCheck::Valid(record) => {
                count += 1;
                at += record.size() as u64;
            }
            RecordCheck::Blank { .. } => at = log.roll_next_file(at),
            _ => break,
        }
    }
    count
}

fn open(
    machine: &MachineHandle,
    root: &str,
    config: &StoreConfig,
) -> Result<StoreDir, DoctorError> {
    let handle = machine.disk().handle("doctor") as Arc<dyn Disk>;
    StoreDir::open(handle, Path::new(root), Some(config))
}

/// What is foretold, what is done, and what both have to say of each other.
struct Case<'a> {
    files: &'a Files,
    verdict: &'a Verdict,
    /// What does not agree.
    complaints: Vec<String>,
}

impl Case<'_> {
    fn same<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, foretold: T, done: T) {
        if foretold != done {
            self.complaints.push(format!("{what}: foretold {foretold:?}, done {done:?}"));
        }
    }

    fn compare(&mut self, started: &Started) {
        let verdict = self.verdict;
        self.same("refusal", verdict.refusal.as_deref(), None);
        self.same("log begin", verdict.min_phy_offset, started.min_phy_offset);
        self.same("log end", verdict.max_phy_offset, started.max_phy_offset);
        self.same("end reason", &verdict.end_reason, &started.end_reason);
        self.same("dropped", &verdict.dropped, &started.dropped);
        // A start does not look into old files: what is damaged there it keeps.
        let is_seen = |text: &str| !text.contains("does not look there");
        if verdict.findings.iter().all(|finding| is_seen(&finding.text)) {
            self.same("records", verdict.kept, started.kept);
        }
        let foretold = verdict.queues.iter();
        let foretold = foretold.map(|it| ((it.topic.clone(), it.queue_id), (it.min, it.max)));
        self.same("queues", &foretold.collect(), &started.queues);
        let topics = self.table::<TopicConfigSerializeWrapper>("topics.json");
        for topic in topics.unwrap_or_default().topic_config_table.keys() {
            let is_there = started.topics.topic_config_table.contains_key(topic);
            self.same(topic, true, is_there);
        }
        let offsets = self.table::<ConsumerOffsetSerializeWrapper>("consumerOffset.json");
        let mut offsets = offsets.unwrap_or_default();
        for moved in verdict.moved_offsets.iter() {
            let Some(group) = &moved.group else { continue };
            let key = format!("{}@{group}", moved.topic);
            let place = offsets.offset_table.get_mut(&key).unwrap();
            place.insert(moved.queue_id, moved.to);
        }
        offsets.offset_table.retain(|key, _| key.contains('@'));
        let sorted = |it: &ConsumerOffsetSerializeWrapper| -> BTreeMap<String, BTreeMap<i32, i64>> {
            it.offset_table.iter().map(|(key, queues)| (key.clone(), queues.clone())).collect()
        };
        self.same("offsets", sorted(&offsets), sorted(&started.offsets));
    }

    /// The version of a table that is foretold to be taken.
    fn table<T: mq_protocol::fastjson::Json>(&self, name: &str) -> Option<T> {
        let found = self.verdict.tables.iter().find(|table| table.name == name);
        let file = match found.unwrap().state {
            TableState::Json => format!("config/{name}"),
            TableState::Bak => format!("config/{name}.bak"),
            TableState::Empty | TableState::Refused => return None,
        };
        Some(from_slice(&self.files[&file]).unwrap())
    }
}

/// What was done, of how many.
#[derive(Debug, Default)]
struct Tally {
    started: usize,
    refused: usize,
    unsound: usize,
    recovered: usize,
}

fn corrupt_by_seed(name: &str, base: &Base) {
    let seeds = std::env::var("CORRUPTIONS").map_or(SEEDS, |count| count.parse().unwrap());
    let mut tally = Tally::default();
    for seed in 0..seeds {
        let mut rng = Rng::from_seed(seed).stream(name);
        let (mut files, mut config) = (base.files.clone(), base.config.clone());
        let what = corrupt(&mut rng, &mut files, &mut config);
        let complaints = in_world(&files, async |machine| {
            examine(machine, &files, &config, seed, &mut tally).await
        });
        let complaints = complaints.join("\n");
        assert!(complaints.is_empty(), "{name}, seed {seed}: {what}\n{complaints}");
    }
    let expected = seeds as usize / 10;
    assert!(tally.started > expected && tally.refused > expected / 2, "{tally:?}");
    assert!(tally.unsound > 3 * expected && tally.recovered > expected, "{tally:?}");
}

/// Foretells, starts and compares; some stores are recovered before.
async fn examine(
    machine: &MachineHandle,
    files: &Files,
    config: &StoreConfig,
    seed: u64,
    tally: &mut Tally,
) -> Vec<String> {
    let dir = open(machine, ROOT, config).unwrap();
    let verdict = dir.verify(&mut |_| {}).unwrap();
    drop(dir);
    let before = read_files(machine);
    let mut case = Case { files, verdict: &verdict, complaints: Vec::new() };
    if before != *files {
        case.complaints.push("verify changed the store".to_owned());
    }
    tally.unsound += usize::from(!verdict.is_sound());
    if seed.is_multiple_of(3) {
        case.complaints.extend(recover(machine, config, &verdict).await);
        tally.recovered += 1;
    }
    match start(machine, config, false).await {
        Ok(started) => {
            tally.started += 1;
            case.compare(&started);
        }
        Err(refusal) => {
            tally.refused += 1;
            case.same("refusal", verdict.refusal.as_deref(), Some(refusal.as_str()));
            case.complaints.extend(differences(&before, &read_files(machine)));
        }
    }
    let mut complaints = case.complaints;
    if !complaints.is_empty() {
        complaints.push(super::doctor::say(&verdict));
    }
    complaints
}

/// What of a store is not as it was. The lock is what tells that somebody looks at it.
fn differences(before: &Files, after: &Files) -> Vec<String> {
    let names = before.keys().chain(after.keys()).filter(|name| *name != "lock");
    let is_changed = |name: &&String| before.get(*name) != after.get(*name);
    names.filter(is_changed).map(|name| format!("a refused start changed {name}")).collect()
}

/// Recovers a copy, which has to be sound.
async fn recover(machine: &MachineHandle, config: &StoreConfig, verdict: &Verdict) -> Vec<String> {
    const COPY: &str = "/copy";
    let outcome: Rc<RefCell<Option<Result<Recovered, String>>>> = Rc::default();
    let (told, of, salvage) = (Rc::clone(&outcome), config.clone(), verdict.refusal.is_some());
    let process = machine.add_process("doctor", move |context| {
        let (told, of) = (Rc::clone(&told), of.clone());
        async move {
            let disk = Arc::clone(&context.env.disk);
            let dir = StoreDir::open(disk, Path::new(ROOT), Some(&of)).unwrap();
            let recovered = dir.recover(context.env, Path::new(COPY), salvage, &mut |_| {}).await;
            *told.borrow_mut() = Some(recovered.map_err(|error| error.to_string()));
        }
    });
    process.start();
    process.ended().await;
    let recovered = match outcome.take().unwrap() {
        Ok(recovered) => recovered,
        Err(_) if !verdict.is_salvageable => return Vec::new(),
        Err(error) => return vec![format!("no copy: {error}")],
    };
    let dir = open(machine, COPY, config).unwrap();
    let copied = dir.verify(&mut |_| {}).unwrap();
    let mut complaints = Vec::new();
    if !copied.is_sound() || copied.refusal.is_some() {
        complaints.push(format!("the copy is not sound:\n{}", super::doctor::say(&copied)));
    }
    if copied.max_phy_offset != recovered.max_phy_offset {
        complaints.push("the copy ends elsewhere".to_owned());
    }
    // Nothing but what records state of themselves is kept as it is.
    let is_of_records =
        |place: &str| place.starts_with("commitlog") || place.starts_with("consumequeue");
    complaints.extend(
        recovered
            .kept
            .iter()
            .filter(|kept| kept.severity == Severity::Damage && !is_of_records(&kept.place))
            .map(|kept| format!("kept on purpose: {}: {}", kept.place, kept.text)),
    );
    complaints
}

#[test]
fn a_store_that_java_closed() {
    corrupt_by_seed("plain", &plain());
}

#[test]
fn a_store_that_java_left() {
    corrupt_by_seed("killed", &killed());
}

#[test]
fn a_store_that_we_closed() {
    corrupt_by_seed("closed", &ours(plain(), true));
}

#[test]
fn a_store_that_we_left() {
    corrupt_by_seed("left", &ours(killed(), false));
}

#[test]
fn what_is_not_corrupted_is_sound_and_starts() {
    for base in [plain(), killed(), ours(plain(), true), ours(killed(), false)] {
        let mut tally = Tally::default();
        let complaints = in_world(&base.files, async |machine| {
            examine(machine, &base.files, &base.config, 0, &mut tally).await
        });
        assert_eq!(complaints, Vec::<String>::new());
        assert_eq!((tally.started, tally.unsound, tally.recovered), (1, 0, 1));
    }
}
