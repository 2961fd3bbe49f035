//! Ledgers of brokers that nobody runs.

use std::path::Path;
use std::sync::Arc;

use mq_env::disk::Disk;
use mq_protocol::ack_rule::{AckRule, Held};
use mq_protocol::message_codec::RecordFields;
use staticfire_judge::ledger::{BrokerEntry, LogView, Processes, Retention, StoreDirs};
use staticfire_world::clock::SimClock;
use staticfire_world::disk::{SimDisk, SimDiskConfig};
use staticfire_world::trace::TraceEvent;

use super::*;

const DIR: &str = "/store/commitlog";
const FILE_BYTES: u64 = 1 << 16;

/// Nobody runs.
pub(super) struct Nobody;

impl Processes for Nobody {
    fn is_running(&self, _process: &str) -> bool {
        false
    }

    fn paused_us(&self, _process: &str) -> u64 {
        0
    }
}

/// A ledger of brokers whose disks are empty, to which `a` said PUT_OK of every message of the story.
pub(super) fn owing(names: &[&str]) -> Ledger {
    let trace = Trace::new(WorldTime::default());
    let ledger = Ledger::watching(&trace);
    for name in names {
        add_broker(&ledger, name);
    }
    acknowledge_all(&trace);
    ledger
}

/// The same of `a` alone, which leads and has stored message `number` once more for a group, after everything else.
pub(super) fn owing_again(number: u32, consumer_group: &str) -> Ledger {
    let trace = Trace::new(WorldTime::default());
    let ledger = Ledger::watching(&trace);
    let disk = add_broker(&ledger, "a");
    ledger.turn(Turn::Leads, &["a".to_owned()], Moment { ordinal: 0, at_us: 0 }, &Nobody);
    acknowledge_all(&trace);
    pass_time(&trace, 100);
    let from: u64 = 400;
    let topic = format!("%RETRY%{consumer_group}");
    let properties = format!("KEYS\u{1}{}", message_key(number));
    let host = ([10, 0, 0, 1], 1).into();
    let fields = RecordFields {
        phy_offset: i64::try_from(from).unwrap(),
        properties: &properties,
        ..RecordFields::plain(&topic, b"body", host, 1)
    };
    let mut bytes = Vec::new();
    fields.encode(&mut bytes).unwrap();
    let handle = disk.handle("a");
    handle.create_dir_all(Path::new(DIR)).unwrap();
    let path = Path::new(DIR).join("00000000000000000000");
    let file = handle.map(&path, usize::try_from(FILE_BYTES).unwrap()).unwrap();
    file.write(usize::try_from(from).unwrap(), &bytes);
    acknowledge(&trace, from, bytes.len() as u64);
    ledger
}

/// The same of `a` alone, whose disk is destroyed at `lost`; what lies then at the place of message 2 is acknowledged at
/// `again`.
pub(super) fn owing_another(lost: u64, again: u64) -> Ledger {
    let trace = Trace::new(WorldTime::default());
    let ledger = Ledger::watching(&trace);
    add_broker(&ledger, "a");
    acknowledge_all(&trace);
    let (at, disk) = (Moment { ordinal: lost, at_us: lost }, ["a".to_owned()]);
    ledger.turn(Turn::DiskDestroyed, &disk, at, &Nobody);
    pass_time(&trace, again);
    acknowledge(&trace, 200, 100);
    ledger
}

/// Has the next event of a trace be the one at `ordinal`.
fn pass_time(trace: &Trace, ordinal: u64) {
    while (trace.len() as u64) < ordinal {
        trace.record(&trace.name("a"), 1, TraceEvent::Life { what: trace.name("serving") });
    }
}

/// A broker of group `a` whose disk is empty.
fn add_broker(ledger: &Ledger, name: &str) -> Arc<SimDisk> {
    let clock = Arc::new(SimClock::new(WorldTime::default(), 0, 0));
    let rng = mq_env::rng::Rng::from_seed(1);
    let disk = SimDisk::new(SimDiskConfig::default(), clock, rng);
    let dirs = StoreDirs {
        commit_log: DIR.into(),
        has_entries: false,
        commit_log_file_bytes: FILE_BYTES,
        consume_queue: "/store/consumequeue".into(),
        consume_queue_file_bytes: 400,
        delay_levels_ms: Vec::new(),
    };
    let entry = BrokerEntry {
        group: "a".into(),
        view: LogView::new(Arc::clone(&disk), dirs),
        master: name == "a",
        acks: AckRule { own: Held::PageCache, other_copies: 0, any_copies: false },
        uncommitted_ms_max: None,
        retention: Retention::default(),
    };
    ledger.set_broker(name, entry);
    disk
}

fn acknowledge_all(trace: &Trace) {
    (0..3).for_each(|number| acknowledge(trace, number * 100, 100));
}

/// `a` says PUT_OK of what lies there.
fn acknowledge(trace: &Trace, from: u64, bytes: u64) {
    let (phy_offset, end_offset) = (Some(from), Some(from + bytes));
    let acked = TraceEvent::PutDone { phy_offset, end_offset, status: "PUT_OK".into() };
    trace.record(&trace.name("a"), 1, acked);
}
