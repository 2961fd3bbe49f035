//! DLedger below the broker: the log on its disk, and groups of nodes in the simulated world.
#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]

mod crash;
mod golden;
mod group;
mod held_up;
mod log;
mod rig;

use std::path::Path;
use std::sync::Arc;

use mq_dledger_log::{DLedgerLog, LogConfig, LogError, OpenedLog};
use mq_env::Env;
use mq_env::disk::Disk;
use mq_env::probe::Probe;
use mq_protocol::message_codec::RecordFields;
use mq_tests::crash::stage::{HandClock, body, new_disk, run};
use staticfire_world::disk::{DiskHandle, SimDisk};

/// Where the store is.
const ROOT: &str = "/machine/store";

/// Two pages, so that entries tear across pages and files roll often.
const DATA_FILE: usize = 8 << 10;

/// Records of so many entries are in an index file.
const INDEX_FILE_ENTRIES: usize = 16;

/// Small files under the node `n0`.
fn config() -> LogConfig {
    LogConfig {
        data_file_bytes: DATA_FILE,
        index_file_bytes: 32 * INDEX_FILE_ENTRIES,
        ..LogConfig::of_node(Path::new(ROOT), "n0")
    }
}

/// A message, of a length that varies.
fn record(number: u32) -> Vec<u8> {
    let mut record = Vec::new();
    let (body, host) = (body(number), ([10, 0, 0, 1], 10911).into());
    RecordFields::plain("T", &body, host, 1_700_000_000_000).encode(&mut record).unwrap();
    record
}

/// The handles of one life of a process.
fn env(disk: Arc<DiskHandle>, life: u64) -> Env {
    Env {
        disk: disk as Arc<dyn Disk>,
        clock: HandClock::of_life(life),
        probe: Probe::silent(),
        ..Env::os()
    }
}

/// One life of a log on `disk`: opened, `body` run, killed.
fn live<T>(
    disk: &Arc<SimDisk>,
    config: &LogConfig,
    body: impl AsyncFnOnce(OpenedLog) -> T,
) -> Result<T, LogError> {
    run(async {
        let handle = disk.handle("node");
        let epoch = handle.epoch();
        let env = env(handle, 1);
        let outcome = match DLedgerLog::open(&env, config.clone()).await {
            Ok(opened) => Ok(body(opened).await),
            Err(error) => Err(error),
        };
        disk.process_died(epoch);
        outcome
    })
}

/// A disk with nothing but the store's root, which whoever holds its lock has made durable.
fn disk() -> Arc<SimDisk> {
    let disk = new_disk(7);
    let handle = disk.handle("lock");
    handle.create_dir_all(Path::new(ROOT)).unwrap();
    disk.settle();
    disk.process_died(handle.epoch());
    disk
}
