//! The disk against its promises.

mod crash;
mod damage;
mod flushing;
mod images;
mod promises;
mod space;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mq_env::clock::Clock;
use mq_env::disk::{Disk, MappedRegion, PAGE_SIZE, was_attempted};
use mq_env::rng::Rng;
use rand_chacha::ChaCha8Rng;

use super::{DescriptorFault, DiskHandle, LatencyProfile, SimDisk, SimDiskConfig};

/// A clock that a test sets.
#[derive(Default)]
struct HandClock(AtomicU64);

impl Clock for HandClock {
    fn now_millis(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn utc_offset_seconds(&self, _at_ms: u64) -> i32 {
        0
    }
}

/// A disk of 1 MiB, or more where a test says so, whose syncs take exactly 10 ms.
fn disk_of(capacity_bytes: u64) -> Arc<SimDisk> {
    let config = SimDiskConfig { capacity_bytes, latency: LatencyProfile::uniform(10..=10) };
    SimDisk::new(config, Arc::new(HandClock::default()), Rng::from_seed(1))
}

fn disk() -> Arc<SimDisk> {
    disk_of(1 << 20)
}

fn stream(seed: u64) -> ChaCha8Rng {
    Rng::from_seed(seed).stream("test")
}

/// Runs a future in simulated time.
fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(future)
}

/// Maps `pages` pages and makes the file's name and size durable.
async fn durable_file(handle: &DiskHandle, path: &str, pages: usize) -> MappedRegion {
    let path = Path::new(path);
    let region = handle.map(path, pages * PAGE_SIZE).unwrap();
    handle.sync(path).await.unwrap();
    handle.sync(path.parent().unwrap()).await.unwrap();
    region
}

/// Fills page `page` with `byte`.
fn fill(region: &MappedRegion, page: usize, byte: u8) {
    region.write(page * PAGE_SIZE, &[byte; PAGE_SIZE]);
}

/// The one value that fills page `page` of what a power loss is certain to leave; `None` if mixed.
fn durable_fill(disk: &SimDisk, path: &str, page: u64) -> Option<u8> {
    let start = page * PAGE_SIZE as u64;
    let bytes = disk.durable_bytes(Path::new(path), start..start + PAGE_SIZE as u64).unwrap();
    bytes.iter().all(|byte| *byte == bytes[0]).then_some(bytes[0])
}
