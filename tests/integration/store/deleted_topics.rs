//! A topic that is deleted, step by step: the doctor foretells what a start makes of it, and nothing of the topic is in a
//! copy that it recovers.

use std::time::Duration;

use mq_protocol::message_codec::{RecordCheck, RecordRules, check_record};
use mq_protocol::topic_deletion::is_topic_deletion;
use mq_store::doctor::{ForetoldQueue, StoreDir, Verdict};

use super::crash_points::imaged_life;
use super::*;

fn verify(disk: &Arc<SimDisk>, config: &StoreConfig) -> Verdict {
    let disk = disk.handle("doctor") as Arc<dyn Disk>;
    let dir = StoreDir::open(disk, &config.store_path_root_dir, Some(config)).unwrap();
    dir.verify(&mut |_| {}).unwrap()
}

fn queues(store: &MessageStore) -> Vec<ForetoldQueue> {
    let foretold = |queue: Arc<mq_store::ConsumeQueue>| ForetoldQueue {
        topic: queue.topic().to_owned(),
        queue_id: queue.queue_id(),
        min: queue.min_offset_in_queue(),
        max: queue.max_offset_in_queue(),
    };
    store.consume_queues().all().into_iter().map(foretold).collect()
}

/// The messages that the log has behind the last deletion.
fn logged(store: &MessageStore) -> Vec<u32> {
    let (mut at, mut numbers) = (store.commit_log().min_offset(), Vec::new());
    while let Some(data) = store.commit_log().data(at) {
        match check_record(&data, &RecordRules::own(at)) {
            RecordCheck::Valid(record) => {
                match is_topic_deletion(&record) {
                    true => numbers.clear(),
                    false => {
                        numbers.push(u32::from_be_bytes(*record.body().first_chunk().unwrap()))
                    }
                }
                at += record.size() as u64;
            }
            RecordCheck::Blank { size } => at += size as u64,
            _ => break,
        }
    }
    numbers
}

async fn delete(store: &Arc<MessageStore>) {
    let status = store.delete_topic("T", message(0).store_host).await;
    assert_eq!(status, PutMessageStatus::PutOk);
}

/// Holds what the doctor says against the next start, and looks again afterwards.
fn check(disk: &Arc<SimDisk>, config: &StoreConfig, at: &str) {
    let foretold = verify(disk, config);
    let found = live(disk, config, async |store| {
        let found = (queues(store), read_all(store), logged(store));
        store.shutdown().await;
        found
    });
    let (found, numbers, logged) = found.unwrap_or_else(|error| panic!("{at}: {error}"));
    assert_eq!(numbers, logged, "{at}: what the log has of the topic as it is can be read");
    assert_eq!(foretold.queues, found, "{at}");
    let is_whole =
        numbers.iter().all(|number| *number < 100) || numbers.iter().all(|it| *it >= 100);
    assert!(is_whole, "{at}: of both topics: {numbers:?}");
    let after = verify(disk, config);
    assert!(after.is_sound(), "{at}: {:?}", after.findings);
    assert_eq!(after.queues, found, "{at}: once more");
}

#[test]
fn every_step_of_a_deletion_is_foretold() {
    for mode in [FlushDiskType::SyncFlush, FlushDiskType::AsyncFlush] {
        let config = small_config(mode);
        let (disk, ledger, begun) = (new_disk(5), Ledger::default(), AtomicU64::new(0));
        let points = imaged_life(&disk, &ledger, 1, || {
            let life = live(&disk, &config, async |store| {
                put_numbers(store, &ledger, 0..40).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
                begun.store(disk.micro_ops(), Ordering::Relaxed);
                delete(store).await;
                put_numbers(store, &ledger, 100..110).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            });
            life.unwrap();
        });
        let during = points.iter().filter(|it| it.number >= begun.load(Ordering::Relaxed));
        let mut count = 0;
        for point in during {
            let at = format!("{mode:?}, micro-operation {}", point.number);
            check(&point.image.after_kill(), &config, &format!("{at}, kill"));
            let mut rng = Rng::from_seed(point.number).stream("power");
            check(&point.image.after_power_loss(&mut rng).0, &config, &format!("{at}, power loss"));
            count += 1;
        }
        assert!(count > 30, "{count} steps");
    }
}

#[test]
fn a_deleted_topic_stays_deleted_where_all_queues_are_made_again() {
    let config = small_config(FlushDiskType::SyncFlush);
    let (disk, ledger) = (new_disk(6), Ledger::default());
    live(&disk, &config, async |store| {
        put_numbers(store, &ledger, 0..30).await;
        delete(store).await;
        put_numbers(store, &ledger, 100..105).await;
        store.shutdown().await;
    })
    .unwrap();
    let numbers: Vec<u32> = (100..105).collect();
    let reader = disk.handle("operator");
    let queue = Path::new("/machine/store/consumequeue/T/0");
    for file in reader.list(queue).unwrap() {
        reader.remove(&queue.join(file.name)).unwrap();
    }
    let foretold = verify(&disk, &config);
    let found = live(&disk, &config, async |store| {
        assert!(store.recovery().queues_rebuilt.is_some(), "units are missing");
        assert_eq!(read_all(store), numbers);
        queues(store)
    });
    assert_eq!(foretold.queues, found.unwrap());
    // What consumers could read before, and cannot, is in the log for those who know where.
    let found = live(&disk, &config, async |store| store.query_message("T", "7", 32, 0, i64::MAX));
    assert_eq!(found.unwrap().messages.len(), 1);
}
