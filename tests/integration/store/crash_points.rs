//! A run is imaged after each of its persistence micro-operations; from each image a store is opened
//! as after a kill and as after power losses of several kinds.

use std::sync::Weak;
use std::time::Duration;

use mq_store::config::BrokerRole;
use mq_store::doctor::{StoreDir, Verdict};
use staticfire_world::disk::DiskImage;

use super::*;

/// The disk after a micro-operation, and what producers knew then.
pub(super) struct CrashPoint {
    pub(super) number: u64,
    pub(super) image: DiskImage,
    sent: Sent,
}

/// Runs `body` as one life on `disk` with an image after every `every`-th micro-operation.
fn imaged(
    disk: &Arc<SimDisk>,
    config: &StoreConfig,
    ledger: &Ledger,
    every: u64,
    body: impl AsyncFnOnce(&Arc<MessageStore>),
) -> Vec<CrashPoint> {
    imaged_life(disk, ledger, every, || live(disk, config, body).unwrap())
}

/// The same for any life on `disk`.
pub(super) fn imaged_life(
    disk: &Arc<SimDisk>,
    ledger: &Ledger,
    every: u64,
    life: impl FnOnce(),
) -> Vec<CrashPoint> {
    let points = Arc::new(Mutex::new(Vec::new()));
    let (weak, ledger, noted): (Weak<SimDisk>, _, _) =
        (Arc::downgrade(disk), ledger.clone(), Arc::clone(&points));
    disk.observe_micro_ops(Some(Arc::new(move |number, _| {
        if let Some(disk) = weak.upgrade().filter(|_| number % every == 0) {
            let point = CrashPoint { number, image: disk.image(), sent: ledger.now() };
            noted.lock().unwrap().push(point);
        }
    })));
    life();
    disk.observe_micro_ops(None);
    std::mem::take(&mut *points.lock().unwrap())
}

/// What a crash may leave of what was sent.
#[derive(Clone, Copy)]
enum Promise {
    /// Every acked message.
    Acked,
    /// Any prefix.
    Prefix,
}

/// Opens a store on `disk`, checks the promise, puts more, and opens it again.
fn check(disk: &Arc<SimDisk>, config: &StoreConfig, sent: &Sent, promise: Promise, at: &str) {
    let ledger = Ledger::default();
    let foretold = verify(disk, config);
    let first = live(disk, config, async |store| {
        if let Some(foretold) = &foretold {
            assert_eq!(store.commit_log().max_offset(), foretold.max_phy_offset, "{at}: foretold");
            let dropped = store.recovery().dropped;
            assert_eq!(dropped, foretold.dropped, "{at}: foretold to be dropped");
        }
        let found = read_all(store);
        let kept = found.len();
        assert_eq!(found, sent.stored[..kept], "{at}: a prefix of what was sent");
        if let Promise::Acked = promise {
            let missing: Vec<_> =
                sent.acked.iter().filter(|number| !found.contains(number)).collect();
            assert!(missing.is_empty(), "{at}: acked and lost: {missing:?}");
        }
        ledger.change(|sent| sent.stored.clone_from(&found));
        put_numbers(store, &ledger, 5000..5003).await;
    });
    first.unwrap_or_else(|error| panic!("{at}: {error}"));
    let expected = ledger.now().stored;
    let second = live(disk, config, async |store| {
        assert_eq!(read_all(store), expected, "{at}: after a kill of the second life");
    });
    second.unwrap_or_else(|error| panic!("{at}: {error}"));
    check_index(disk, config, at);
}

/// What the doctor says of a store; nothing, of none.
fn verify(disk: &Arc<SimDisk>, config: &StoreConfig) -> Option<Verdict> {
    let disk = disk.handle("doctor") as Arc<dyn Disk>;
    let dir = StoreDir::open(disk, &config.store_path_root_dir, Some(config)).ok()?;
    Some(dir.verify(&mut |_| {}).unwrap())
}

/// The index is the one that the log alone gives.
fn check_index(disk: &Arc<SimDisk>, config: &StoreConfig, at: &str) {
    let index = Path::new("/machine/store/index");
    let read = |disk: &Arc<SimDisk>| -> Vec<Vec<u8>> {
        let handle = disk.handle("reader");
        let entries = handle.list(index).unwrap_or_default();
        entries.iter().map(|entry| handle.read(&index.join(&entry.name)).unwrap()).collect()
    };
    let verdict = verify(disk, config).unwrap();
    assert!(verdict.is_sound(), "{at}: {:?}", verdict.findings);
    let found = read(disk);
    let copy = disk.image().after_kill();
    let operator = copy.handle("operator");
    for entry in operator.list(index).unwrap_or_default() {
        operator.remove(&index.join(entry.name)).unwrap();
    }
    live(&copy, config, async |_| {}).unwrap();
    let rebuilt = read(&copy);
    assert!(found == rebuilt, "{at}: {} index files, rebuilt {}", found.len(), rebuilt.len());
}

fn check_point(point: &CrashPoint, config: &StoreConfig, seeds: Range<u64>, worst: bool) {
    let at = |what: String| format!("micro-operation {}, {what}", point.number);
    check(&point.image.after_kill(), config, &point.sent, Promise::Acked, &at("kill".into()));
    let promise = match config.flush_disk_type {
        FlushDiskType::SyncFlush => Promise::Acked,
        FlushDiskType::AsyncFlush => Promise::Prefix,
    };
    for seed in seeds {
        let mut rng = Rng::from_seed(seed).stream("power");
        let (disk, _) = point.image.after_power_loss(&mut rng);
        check(&disk, config, &point.sent, promise, &at(format!("power loss {seed}")));
    }
    if worst {
        let disk = point.image.after_kill();
        disk.power_loss_worst();
        check(&disk, config, &point.sent, promise, &at("worst power loss".into()));
    }
}

/// Two lives: the second starts from what a kill of the first left.
fn run(flush_disk_type: FlushDiskType, seed: u64) -> (StoreConfig, Vec<CrashPoint>) {
    let config = small_config(flush_disk_type);
    let (disk, ledger) = (new_disk(seed), Ledger::default());
    let mut points = imaged(&disk, &config, &ledger, 1, async |store| {
        put_numbers(store, &ledger, 0..40).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        put_numbers(store, &ledger, 40..50).await;
    });
    points.extend(imaged(&disk, &config, &ledger, 1, async |store| {
        put_numbers(store, &ledger, 50..60).await;
        store.shutdown().await;
    }));
    assert!(points.len() > 150, "{} crash points", points.len());
    (config, points)
}

#[test]
fn sync_flush_keeps_every_acked_message() {
    let (config, points) = run(FlushDiskType::SyncFlush, 1);
    assert!(points.last().unwrap().sent.acked.len() >= 58);
    for point in &points {
        check_point(point, &config, point.number..point.number + 2, true);
    }
}

#[test]
fn async_flush_keeps_a_prefix_and_a_kill_costs_nothing() {
    let (config, points) = run(FlushDiskType::AsyncFlush, 2);
    for point in &points {
        check_point(point, &config, point.number..point.number + 2, true);
    }
}

/// A crash within recovery leaves nothing that a second recovery could not handle.
#[test]
fn recovery_may_crash_at_any_step() {
    for flush_disk_type in [FlushDiskType::SyncFlush, FlushDiskType::AsyncFlush] {
        let (config, points) = run(flush_disk_type, 3);
        for point in points.iter().step_by(23) {
            let mut rng = Rng::from_seed(point.number).stream("power");
            let (disk, _) = point.image.after_power_loss(&mut rng);
            let ledger = Ledger::default();
            ledger.change(|sent| {
                sent.clone_from(&point.sent);
                if flush_disk_type == FlushDiskType::AsyncFlush {
                    // The power loss may have cost them.
                    sent.acked.clear();
                }
            });
            for inner in imaged(&disk, &config, &ledger, 3, async |_| {}) {
                let seeds = inner.number..inner.number + 1;
                check_point(&inner, &config, seeds, inner.number % 2 == 0);
            }
        }
    }
}

/// At every step of a truncation the log is the old one or the cut one, and what is put after it
/// never stands beside what was cut.
#[test]
fn a_truncation_may_crash_at_any_step() {
    let config = small_config(FlushDiskType::SyncFlush);
    for kept in [3, 17] {
        let (disk, ledger) = (new_disk(4), Ledger::default());
        let is_cut = Arc::new(Mutex::new(Vec::new()));
        let cut = Arc::clone(&is_cut);
        let points = imaged(&disk, &config, &ledger, 1, async |store| {
            put_numbers(store, &ledger, 0..40).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            let end = offset_of(store, kept);
            cut.lock().unwrap().push(disk.micro_ops());
            store.truncate_to(end, "test").await.unwrap();
            cut.lock().unwrap().push(disk.micro_ops());
            ledger.change(|sent| {
                sent.stored.truncate(kept as usize);
                sent.acked.retain(|number| *number < kept);
            });
            put_numbers(store, &ledger, 100..120).await;
        });
        let is_cut = is_cut.lock().unwrap();
        let (begun, done) = (is_cut[0], is_cut[1]);
        assert!(done > begun + 5);
        for point in points.iter().filter(|point| point.number > begun) {
            let during = point.number <= done;
            let mut sent = point.sent.clone();
            if during {
                sent.acked.retain(|number| *number < kept);
            }
            let after_kill = point.image.after_kill();
            let at = format!("micro-operation {} of {begun}..{done}", point.number);
            check(&after_kill, &config, &sent, Promise::Acked, &at);
            for seed in 0..2 {
                let mut rng = Rng::from_seed(seed).stream("power");
                let (disk, _) = point.image.after_power_loss(&mut rng);
                check(&disk, &config, &sent, Promise::Acked, &at);
            }
        }
    }
}

/// A SYNC_FLUSH slave, fed in pieces that cut records anywhere, keeps what it has synced, and is
/// always a prefix of its master.
#[test]
fn a_slave_keeps_what_it_has_synced() {
    let (master_disk, sent) = (new_disk(12), Ledger::default());
    let config = small_config(FlushDiskType::AsyncFlush);
    let bytes = live(&master_disk, &config, async |store| {
        put_numbers(store, &sent, 0..40).await;
        let log = store.commit_log();
        let mut bytes = Vec::new();
        while let Some(data) = log.data(bytes.len() as u64) {
            bytes.extend_from_slice(&data);
        }
        assert!(bytes.len() > 2 * LOG_FILE);
        bytes
    });
    let bytes = bytes.unwrap();
    let mut config = small_config(FlushDiskType::SyncFlush);
    config.broker_role = BrokerRole::Slave;
    let (disk, synced) = (new_disk(13), Ledger::default());
    let points = imaged(&disk, &config, &synced, 1, async |store| {
        let log = store.commit_log();
        let mut flushed = log.watch_flushed_offset();
        while log.max_offset() < bytes.len() as u64 {
            let at = log.max_offset() as usize;
            let end = (at + 700).min(at - at % LOG_FILE + LOG_FILE).min(bytes.len());
            log.append_raw(at as u64, &bytes[at..end]).unwrap();
            flushed.wait_for(|flushed| flushed == end as u64).await;
            synced.change(|sent| sent.stored = vec![end as u32]);
        }
    });
    for point in &points {
        let mut rng = Rng::from_seed(point.number).stream("power");
        let (disk, _) = point.image.after_power_loss(&mut rng);
        let acked = point.sent.stored.first().copied().unwrap_or(0) as usize;
        let after = live(&disk, &config, async |store| {
            let end = store.commit_log().max_offset() as usize;
            let data = |at: usize| store.commit_log().data(at as u64).unwrap();
            for at in (0..end).step_by(LOG_FILE) {
                assert_eq!(*data(at), bytes[at..(at + LOG_FILE).min(end)], "a prefix");
            }
            let lost = bytes[end.min(acked)..acked].len();
            assert!(lost < 1100, "at most a part of a record: {lost} of {acked}");
            let numbers = read_all(store);
            assert_eq!(numbers, sent.now().stored[..numbers.len()]);
        });
        after.unwrap_or_else(|error| panic!("micro-operation {}: {error}", point.number));
    }
}

/// Physical offset of a message.
fn offset_of(store: &MessageStore, number: u32) -> u64 {
    let queue = store.consume_queues().find("T", number % 2).unwrap();
    queue.unit(u64::from(number / 2)).unwrap().phy_offset as u64
}
