//! Doctored disks: what the ledger sees at acknowledgements, dispatches, cuts, removals and faults, and what
//! it must not take for it.

mod entries;
mod observed;
mod seen;
mod turns;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use mq_env::disk::{Disk, MappedRegion};
use mq_env::rng::Rng;
use mq_protocol::message_codec::RecordFields;
use staticfire_world::clock::{SimClock, WorldTime};
use staticfire_world::disk::{DiskHandle, SimDisk, SimDiskConfig};
use staticfire_world::trace::Name;

use super::*;
use crate::history::message_key;

/// Master and slaves.
const M: &str = "a";
const S: &str = "a-s";
const S2: &str = "a-s2";

const DIR: &str = "/store/commitlog";
const FILE_BYTES: u64 = 16 << 10;
/// Disks have room for sixteen files.
const DISK_BYTES: u64 = 16 * FILE_BYTES;

/// Every record of these tests has this size.
const RECORD_BYTES: u64 = 256;

/// A broker's disk, with the first file of its log.
struct Store {
    clock: Arc<SimClock>,
    disk: Arc<SimDisk>,
    handle: Arc<DiskHandle>,
    file: MappedRegion,
}

/// A master and two slaves whose disks the test writes, and a trace that it tells.
struct Stand {
    time: WorldTime,
    trace: Trace,
    ledger: Ledger,
    stores: BTreeMap<&'static str, Store>,
    running: BTreeSet<&'static str>,
    paused_us: u64,
}

impl Processes for Stand {
    fn is_running(&self, process: &str) -> bool {
        self.running.contains(process)
    }

    fn paused_us(&self, _process: &str) -> u64 {
        self.paused_us
    }
}

/// Bytes of the `number`th place of a log.
fn place(number: u32) -> Range<u64> {
    let from = u64::from(number) * RECORD_BYTES;
    from..from + RECORD_BYTES
}

/// Message `number` as it is stored at `place`.
fn record_at(place: u32, number: u32) -> Vec<u8> {
    let properties = format!("KEYS\u{1}{}", message_key(number));
    let body = vec![7; RECORD_BYTES as usize - 91 - 1 - properties.len()];
    let host = ([10, 0, 0, 1], 1).into();
    let fields = RecordFields {
        queue_offset: i64::from(place),
        phy_offset: (u64::from(place) * RECORD_BYTES) as i64,
        properties: &properties,
        ..RecordFields::plain("T", &body, host, 1)
    };
    let mut bytes = Vec::new();
    let size = fields.encode(&mut bytes).unwrap();
    assert_eq!(size as u64, RECORD_BYTES);
    bytes
}

fn path(from: u64) -> PathBuf {
    Path::new(DIR).join(mq_mapped_file::file_name(from))
}

fn store(name: &str, time: &WorldTime) -> Store {
    let config = SimDiskConfig { capacity_bytes: DISK_BYTES, ..SimDiskConfig::default() };
    let clock = Arc::new(SimClock::new(time.clone(), 0, 0));
    let disk = SimDisk::new(config, clock.clone(), Rng::from_seed(1));
    let handle = disk.handle(name);
    handle.create_dir_all(Path::new(DIR)).unwrap();
    let file = handle.map(&path(0), FILE_BYTES as usize).unwrap();
    disk.settle();
    Store { disk, clock, handle, file }
}

impl Stand {
    /// An ASYNC_MASTER and two slaves, all with ASYNC_FLUSH, and their logs empty.
    fn new() -> Self {
        let time = WorldTime::default();
        let trace = Trace::new(time.clone());
        let ledger = Ledger::watching(&trace);
        let stores: BTreeMap<_, _> = [M, S, S2].map(|name| (name, store(name, &time))).into();
        let running = BTreeSet::from([M, S, S2]);
        let stand = Stand { time, trace, ledger, stores, running, paused_us: 0 };
        for name in [M, S, S2] {
            stand.set(name, |_| {});
        }
        stand.turn(Turn::Leads, M);
        stand
    }

    fn disk(&self, name: &str) -> &Arc<SimDisk> {
        &self.stores[name].disk
    }

    /// Tells the ledger of a broker that is as usual but for `change`.
    fn set(&self, name: &str, change: impl FnOnce(&mut BrokerEntry)) {
        let dirs = StoreDirs {
            commit_log: DIR.into(),
            commit_log_file_bytes: FILE_BYTES,
            has_entries: false,
            consume_queue: "/store/consumequeue".into(),
            consume_queue_file_bytes: 400,
            delay_levels_ms: Vec::new(),
        };
        let mut entry = BrokerEntry {
            group: "a".into(),
            view: LogView::new(Arc::clone(self.disk(name)), dirs),
            master: name == M,
            acks: AckRule { own: Held::PageCache, other_copies: 0, any_copies: false },
            uncommitted_ms_max: None,
            retention: Retention::default(),
        };
        change(&mut entry);
        self.ledger.set_broker(name, entry);
    }

    fn at_ms(&self, ms: u64) {
        self.time.set_ms(ms);
    }

    fn tell(&self, source: &str, event: TraceEvent) -> u64 {
        let source: Name = self.trace.name(source);
        self.trace.record(&source, 1, event)
    }

    /// Message `number` stands at the place of that number in the log of each of `names`.
    fn write(&self, names: &[&str], number: u32) {
        self.write_at(names, number, number);
    }

    fn write_at(&self, names: &[&str], place: u32, number: u32) {
        for name in names {
            let from = self::place(place).start as usize;
            self.stores[name].file.write(from, &record_at(place, number));
        }
    }

    fn sync(&self, names: &[&str]) {
        names.iter().for_each(|name| self.disk(name).settle());
    }

    /// The master's process says that it appended at a place.
    fn appended(&self, place: u32) {
        let at = self::place(place);
        self.tell(
            M,
            TraceEvent::Appended {
                phy_offset: at.start,
                size_bytes: RECORD_BYTES as u32,
                topic: "T".into(),
                queue_id: 0,
                queue_offset: u64::from(place),
                uniq_key: None,
            },
        );
    }

    /// The master says PUT_OK of a place; what the ledger saw at that instant.
    fn acked(&self, place: u32) -> AckFact {
        let (at, status) = (self::place(place), "PUT_OK".into());
        let (phy_offset, end_offset) = (Some(at.start), Some(at.end));
        let ordinal = self.tell(M, TraceEvent::PutDone { phy_offset, end_offset, status });
        self.ledger.ack_fact("a", at.start, ordinal + 1).expect("it was acknowledged")
    }

    fn turn(&self, turn: Turn, process: &str) {
        let at = Moment { ordinal: self.trace.len() as u64, at_us: self.trace.now_us() };
        self.ledger.turn(turn, &[process.to_owned()], at, self);
    }

    /// Places whose last acknowledgement `process` owes.
    fn owed_by(&self, process: &str) -> Vec<u32> {
        let owes = |place: &u32| {
            let owed = self.ledger.owed("a", self::place(*place).start, u64::MAX);
            owed.is_some_and(|owed| owed.is_owed_by(process))
        };
        (0..8).filter(owes).collect()
    }

    /// A device damages a byte in the middle of a place that is synced.
    fn damage(&self, name: &str, place: u32) {
        assert!(self.disk(name).rot(&path(0), self::place(place).start + 100, 1));
        self.ledger.note_damage(&self.trace);
    }

    fn observed(&self) -> Vec<String> {
        self.ledger.observed().iter().map(ToString::to_string).collect()
    }
}
