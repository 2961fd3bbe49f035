//! The contract of `Disk::flush` under random schedules: whatever is written, flushed, written back,
//! abandoned and killed in whatever order, after power loss each sector holds a version no older than
//! the last flush that returned `Ok` had promised.

use std::future::poll_fn;
use std::ops::Range;
use std::task::Poll;
use std::time::Duration;

use mq_env::BoxFuture;
use rand::Rng as _;

use super::*;
use crate::disk::SECTOR_SIZE;

const LOG: &str = "/log";
const PAGES: usize = 3;
const SECTORS: usize = PAGES * PAGE_SIZE / SECTOR_SIZE;

/// What the test knows: per sector the versions written, and the oldest that may be found.
struct Model {
    written: Vec<Vec<u8>>,
    promised: Vec<usize>,
}

/// A flush in the air and what its `Ok` promises.
struct Pending<'a> {
    flush: BoxFuture<'a, std::io::Result<()>>,
    sectors: Range<usize>,
    versions: Vec<usize>,
}

impl Model {
    fn new() -> Self {
        Model { written: vec![vec![0]; SECTORS], promised: vec![0; SECTORS] }
    }

    fn latest(&self) -> Vec<usize> {
        self.written.iter().map(|versions| versions.len() - 1).collect()
    }

    fn promise(&mut self, sectors: Range<usize>, versions: &[usize]) {
        for sector in sectors {
            self.promised[sector] = self.promised[sector].max(versions[sector]);
        }
    }

    /// Holds a disk after power loss against the promises.
    fn check(&self, seed: u64, disk: &SimDisk) {
        let bytes = disk.live_bytes(Path::new(LOG), 0..(PAGES * PAGE_SIZE) as u64).unwrap();
        for (sector, found) in bytes.chunks(SECTOR_SIZE).enumerate() {
            assert!(found.iter().all(|byte| *byte == found[0]), "seed {seed}: torn sector");
            let allowed = &self.written[sector][self.promised[sector]..];
            let value = found[0];
            assert!(
                allowed.contains(&value),
                "seed {seed}: sector {sector} holds {value} instead of one of {allowed:?}"
            );
        }
    }
}

async fn end_what_is_due(model: &mut Model, pending: &mut Vec<Pending<'_>>) {
    for mut flying in std::mem::take(pending) {
        match poll_fn(|cx| Poll::Ready(flying.flush.as_mut().poll(cx))).await {
            Poll::Ready(result) => {
                result.unwrap();
                model.promise(flying.sectors, &flying.versions);
            }
            Poll::Pending => pending.push(flying),
        }
    }
}

async fn random_schedule(seed: u64) {
    let mut rng = stream(seed);
    let disk = disk();
    let mut model = Model::new();
    let first = disk.handle("a");
    let region = durable_file(&first, LOG, PAGES).await;
    let (mut handle, mut region) = (first, region);
    disk.set_latency(LatencyProfile::uniform(0..=20));
    for life in 0..3 {
        let mut pending = Vec::new();
        for step in 0..40 {
            match rng.random_range(0..10) {
                0..4 => {
                    let at = rng.random_range(0..SECTORS);
                    let count = rng.random_range(1..=SECTORS - at).min(10);
                    let version = 1 + life * 40 + step;
                    region.write(at * SECTOR_SIZE, &vec![version; count * SECTOR_SIZE]);
                    model.written[at..at + count].iter_mut().for_each(|v| v.push(version));
                }
                4..7 => {
                    let start = rng.random_range(0..SECTORS);
                    let sectors = start..rng.random_range(start..=SECTORS);
                    let bytes = sectors.start * SECTOR_SIZE..sectors.end * SECTOR_SIZE;
                    let flush = handle.flush(&region, bytes);
                    pending.push(Pending { flush, sectors, versions: model.latest() });
                }
                7 => tokio::time::sleep(Duration::from_millis(rng.random_range(1..15))).await,
                8 => disk.writeback(&mut rng),
                _ if rng.random_bool(0.3) && !pending.is_empty() => {
                    drop(pending.remove(rng.random_range(0..pending.len())));
                }
                _ => model.check(seed, &disk.image().after_power_loss(&mut rng).0),
            }
            end_what_is_due(&mut model, &mut pending).await;
        }
        if rng.random_bool(0.5) {
            disk.process_died(handle.epoch());
        } else {
            disk.power_loss(&mut rng);
            model.check(seed, &disk);
            // The next life begins with what was found, which is durable by now.
            let bytes = disk.live_bytes(Path::new(LOG), 0..(PAGES * PAGE_SIZE) as u64).unwrap();
            model.written = bytes.chunks(SECTOR_SIZE).map(|sector| vec![sector[0]]).collect();
            model.promised = vec![0; SECTORS];
        }
        drop(pending);
        handle = disk.handle("a");
        region = handle.map(Path::new(LOG), PAGES * PAGE_SIZE).unwrap();
    }
}

#[test]
fn flushes_keep_their_promises_under_any_schedule() {
    for seed in 0..300 {
        run(random_schedule(seed));
    }
}
