//! What expires, what a full disk means, and files that readers hold.

use std::time::Duration;

use mq_env::probe::{Event, Observer};
use mq_protocol::message_codec::decode_record;
use mq_store::GetMessageStatus;

use super::crash_points::imaged_life;
use super::*;

const HOUR_MS: u64 = 3_600_000;
/// 2023-11-14T00:00:00Z.
const MIDNIGHT_MS: u64 = 1_699_920_000_000;

/// A machine whose wall clock and tokio's run together.
struct Machine {
    clock: Arc<HandClock>,
    disk: Arc<SimDisk>,
    config: StoreConfig,
    log: Arc<Mutex<Vec<(u64, String)>>>,
}

/// Notes removals and news of the disk with the hour of the clock.
struct Watcher(Arc<HandClock>, Arc<Mutex<Vec<(u64, String)>>>);

impl Observer for Watcher {
    fn event(&self, event: &Event<'_>) {
        let text = match event {
            Event::Expired { file, reason } => {
                let name = file.trim_start_matches("/machine/store/");
                format!("{name}: {reason}")
            }
            Event::DiskFull { full, .. } => format!("full: {full}"),
            _ => return,
        };
        self.1.lock().unwrap().push((self.0.now_millis(), text));
    }
}

impl Machine {
    fn new(offset_seconds: i32, change: impl FnOnce(&mut StoreConfig)) -> Self {
        let now_ms = AtomicU64::new(MIDNIGHT_MS);
        let clock = Arc::new(HandClock { now_ms, offset_seconds });
        let latency = LatencyProfile::uniform(0..=0);
        let disk_config = SimDiskConfig { latency, capacity_bytes: 100 << 20 };
        let mut config = small_config(FlushDiskType::SyncFlush);
        config.file_reserved_time_hours = 2;
        change(&mut config);
        let disk = SimDisk::new(disk_config, Arc::clone(&clock) as _, Rng::from_seed(1));
        // Somebody else's, so that the store's pages are fractions of a percent.
        disk.handle("other").map(Path::new("/ballast"), 400 << 10).unwrap();
        Machine { disk, clock, config, log: Arc::default() }
    }

    fn live<T>(&self, body: impl AsyncFnOnce(&Arc<MessageStore>) -> T) -> T {
        let probe =
            Probe::to(Arc::new(Watcher(Arc::clone(&self.clock), Arc::clone(&self.log))) as _);
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        live_by(&self.disk, &self.config, clock, probe, body).unwrap()
    }

    /// Lets time pass.
    async fn pass(&self, duration_ms: u64) {
        let step_ms = (duration_ms / 100).clamp(1, 20_000);
        let mut left = duration_ms;
        while left > 0 {
            let step_ms = step_ms.min(left);
            self.clock.now_ms.fetch_add(step_ms, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(step_ms)).await;
            left -= step_ms;
        }
    }

    /// Names of the files in a directory of the store.
    fn files(&self, dir: &str) -> Vec<String> {
        let handle = self.disk.handle("reader");
        let entries = handle.list(&Path::new("/machine/store").join(dir)).unwrap_or_default();
        entries.into_iter().map(|entry| entry.name).collect()
    }

    /// The files of the log, which must stand in a row, as offsets divided by their size.
    fn log_files(&self) -> Vec<u64> {
        let offset = |name: &String| name.parse::<u64>().unwrap() / LOG_FILE as u64;
        let files: Vec<u64> = self.files("commitlog").iter().map(offset).collect();
        assert!(files.windows(2).all(|pair| pair[1] == pair[0] + 1), "a gap: {files:?}");
        files
    }

    /// Sets the capacity so that a little less than `percent` is used: the engine rounds up.
    fn set_used_percent(&self, percent: u64) {
        self.disk.set_capacity((self.disk.used_bytes() + 4096) * 100 / percent);
    }

    fn events(&self) -> Vec<String> {
        self.log.lock().unwrap().iter().map(|(_, text)| text.clone()).collect()
    }

    fn count(&self, part: &str) -> usize {
        self.events().iter().filter(|event| event.contains(part)).count()
    }
}

/// Everything readable is the end of what was sent, from the minimum on, and can be found by key.
fn check_readable(store: &MessageStore, sent: u32) -> Vec<u32> {
    let found = read_all(store);
    let first = found.first().copied().unwrap_or(sent);
    assert_eq!(found, (first..sent).collect::<Vec<_>>());
    for number in [first, sent - 1] {
        let key = number.to_string();
        let by_key = store.query_message("T", &key, 32, 0, i64::MAX);
        assert_eq!(by_key.messages.len(), 1, "key {key}");
    }
    found
}

#[test]
fn files_expire_at_their_hour_in_the_machines_zone() {
    // Nepal: midnight UTC is 05:45.
    let machine = Machine::new(20_700, |config| config.delete_when = "04;13".to_owned());
    let ledger = Ledger::default();
    machine.live(async |store| {
        put_numbers(store, &ledger, 0..80).await;
        let files = machine.log_files().len();
        assert!(files >= 5, "{files} files");
        machine.pass(7 * HOUR_MS).await;
        assert_eq!(machine.events(), [""; 0], "not before 13:00");
        machine.pass(HOUR_MS).await;
        assert_eq!(machine.log_files(), [files as u64 - 1], "the last one stays");
        assert!(store.min_offset_in_queue("T", 0) > 20);
        let too_small = store.get_message("T", 0, 3, 32, &MessageFilter::All);
        assert_eq!(too_small.status, GetMessageStatus::OffsetTooSmall);
        assert_eq!(too_small.next_begin_offset, store.min_offset_in_queue("T", 0));
        check_readable(store, 80);
        assert_eq!(machine.files("consumequeue/T/0").len(), 1);
        assert!(machine.files("index").len() < 3, "{:?}", machine.files("index"));

        // What comes now is too young at 04:00 of the night.
        machine.pass(13 * HOUR_MS).await;
        put_numbers(store, &ledger, 80..120).await;
        machine.pass(2 * HOUR_MS).await;
        assert!(check_readable(store, 120).len() > 40);
        machine.pass(9 * HOUR_MS).await;
        assert!(check_readable(store, 120).len() < 20);
    });
    let local_hour = |at_ms: u64| (at_ms + 20_700_000) / HOUR_MS % 24;
    let log = machine.log.lock().unwrap().clone();
    for (at_ms, text) in &log {
        assert!([4, 13].contains(&local_hour(*at_ms)), "{text} at {}", local_hour(*at_ms));
    }
    assert!(log.len() > 14, "{} events: {log:?}", log.len());
}

#[test]
fn a_disk_that_fills_up_makes_expired_files_go_at_any_hour() {
    let machine = Machine::new(0, |config| config.delete_when = "23".to_owned());
    let ledger = Ledger::default();
    machine.live(async |store| {
        put_numbers(store, &ledger, 0..80).await;
        machine.set_used_percent(80);
        machine.pass(HOUR_MS).await;
        assert_eq!(machine.events(), [""; 0], "nothing has expired, and 85 % are free to use");
        machine.pass(2 * HOUR_MS).await;
        assert_eq!(machine.log_files().len(), 1);
        check_readable(store, 80);
    });
    assert_eq!(machine.count("older than fileReservedTime"), machine.count("commitlog"));
}

#[test]
fn above_the_forced_ratio_the_oldest_go_until_there_is_room() {
    for (enabled, percent) in [(false, 88), (true, 84), (true, 88)] {
        let machine = Machine::new(0, |config| {
            config.delete_when = "23".to_owned();
            config.clean_file_forcibly_enable = enabled;
        });
        let ledger = Ledger::default();
        machine.live(async |store| {
            put_numbers(store, &ledger, 0..200).await;
            machine.set_used_percent(percent);
            let before = machine.log_files().len();
            machine.pass(59_000).await;
            assert_eq!(machine.log_files().len(), before, "not in the first minute");
            machine.pass(60_000).await;
            let removed = before - machine.log_files().len();
            assert_eq!(removed > 0, enabled && percent > 85, "{removed} of {before}");
            assert!(removed < before / 2, "no more than needed: {removed} of {before}");
            let put = store.put_message(&message(200)).await;
            assert_eq!(put.status, PutMessageStatus::PutOk);
        });
        assert_eq!(machine.count("full"), 0);
    }
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_space() {
    let machine = Machine::new(0, |config| config.clean_file_forcibly_enable = false);
    let ledger = Ledger::default();
    machine.live(async |store| {
        put_numbers(store, &ledger, 0..40).await;
        machine.set_used_percent(91);
        machine.pass(61_000).await;
        let status = async || store.put_message(&message(40)).await.status;
        assert_eq!(status().await, PutMessageStatus::ServiceNotAvailable);
        assert!(!store.is_writeable());
        assert_eq!(check_readable(store, 40).len(), 40, "reads go on");
        machine.set_used_percent(89);
        machine.pass(11_000).await;
        assert_eq!(status().await, PutMessageStatus::PutOk);
    });
    assert_eq!(machine.events(), ["full: true", "full: false"]);
    // A start looks at once.
    machine.set_used_percent(95);
    machine.live(async |store| {
        machine.pass(1).await;
        let status = store.put_message(&message(41)).await.status;
        assert_eq!(status, PutMessageStatus::ServiceNotAvailable);
    });
}

#[test]
fn a_disk_that_is_filled_by_others_costs_the_oldest_and_then_nothing() {
    let machine = Machine::new(0, |_| {});
    let ledger = Ledger::default();
    machine.live(async |store| {
        put_numbers(store, &ledger, 0..100).await;
        machine.pass(61_000).await;
        machine.set_used_percent(97);
        machine.pass(61_000).await;
        assert!(store.is_writeable(), "files had to go, and then there was room");
        assert!(!check_readable(store, 100).is_empty());
    });
    assert_eq!(machine.count("full: true"), 1);
    assert_eq!(machine.count("full: false"), 1);
    assert!(machine.count("diskSpaceCleanForciblyRatio") > 0);
}

#[test]
fn readers_keep_what_they_hold() {
    let machine = Machine::new(0, |config| config.delete_when = "02".to_owned());
    let ledger = Ledger::default();
    machine.live(async |store| {
        put_numbers(store, &ledger, 0..80).await;
        let held = store.look_message_by_offset(0).unwrap();
        let second = LOG_FILE as u64;
        let also_held = store.commit_log().data(second).unwrap();
        let before = machine.log_files();
        machine.pass(2 * HOUR_MS + 30_000).await;
        assert_eq!(machine.log_files(), before, "nothing goes from behind the one that is held");
        assert_eq!(store.commit_log().min_offset(), second, "nobody finds it any more");
        assert!(store.look_message_by_offset(0).is_none());
        machine.pass(60_000).await;
        assert_eq!(machine.log_files(), before);
        drop(also_held);
        drop(held);
        machine.pass(20_000).await;
        assert_eq!(machine.log_files(), before, "tried again after redeleteHangedFileInterval");
        machine.pass(60_000).await;
        assert_eq!(machine.log_files().len(), 1);
    });
    assert_eq!(machine.count("commitlog/00000000000000000000"), 1);
}

#[test]
fn readers_hold_a_file_for_two_minutes_at_most() {
    let machine = Machine::new(0, |config| {
        config.delete_when = "02".to_owned();
        config.redelete_hanged_file_interval_ms = 50_000;
    });
    let ledger = Ledger::default();
    machine.live(async |store| {
        put_numbers(store, &ledger, 0..80).await;
        let held = store.look_message_by_offset(0).unwrap();
        machine.pass(2 * HOUR_MS + 130_000).await;
        assert_eq!(machine.log_files()[0], 0, "two tries, both in vain");
        machine.pass(60_000).await;
        assert_eq!(machine.log_files().len(), 1);
        let record = decode_record(&held).unwrap();
        assert_eq!(record.body(), message(0).body, "its bytes are still there");
    });
}

#[test]
fn an_operator_need_not_wait_for_the_hour() {
    let machine = Machine::new(0, |config| config.delete_when = "23".to_owned());
    let ledger = Ledger::default();
    machine.live(async |store| {
        put_numbers(store, &ledger, 0..80).await;
        store.execute_delete_files_manually();
        machine.pass(HOUR_MS).await;
        assert!(machine.log_files().len() > 4, "only what has expired goes");
        machine.pass(2 * HOUR_MS).await;
        store.execute_delete_files_manually();
        machine.pass(2_000).await;
        assert_eq!(machine.log_files().len(), 1);
    });
}

/// A life that ends between the log's files and the queues' leaves those to the next one, whose first pass comes after a
/// minute; who asks need not wait for it.
#[test]
fn queue_files_go_when_an_operator_says_so() {
    let machine = Machine::new(0, |config| config.delete_when = "23".to_owned());
    let ledger = Ledger::default();
    let first_queue_file = |machine: &Machine| machine.files("consumequeue/T/0").first().cloned();
    machine.live(async |store| {
        put_numbers(store, &ledger, 0..80).await;
        machine.pass(3 * HOUR_MS).await;
        store.execute_delete_files_manually();
        machine.pass(250).await;
    });
    let (log_files, first) = (machine.log_files(), first_queue_file(&machine));
    assert!(log_files[0] > 1, "files of the log are gone: {log_files:?}");
    machine.live(async |store| {
        machine.pass(10_000).await;
        assert_eq!(first_queue_file(&machine), first);
        store.clean_expired_consume_queues();
        machine.pass(1_000).await;
        assert!(first_queue_file(&machine) > first, "{first:?}");
        assert_eq!(machine.log_files(), log_files, "nothing else goes");
        check_readable(store, 80);
    });
}

/// The removal of files may be interrupted at any step: what a start then finds is the log as far as it
/// still goes, whole, and a second start finds the same. The files that were left behind go later.
#[test]
fn a_removal_may_crash_at_any_step() {
    let machine = Machine::new(0, |config| config.delete_when = "03".to_owned());
    let (ledger, begun) = (Ledger::default(), Arc::new(AtomicU64::new(0)));
    let mut placed = Vec::new();
    let points = imaged_life(&machine.disk, &ledger, 1, || {
        machine.live(async |store| {
            for number in 0..80 {
                let put = store.put_message(&message(number)).await;
                placed.push(put.append.unwrap().phy_offset);
            }
            machine.pass(2 * HOUR_MS).await;
            begun.store(machine.disk.micro_ops(), Ordering::Relaxed);
            machine.pass(2 * HOUR_MS).await;
        });
    });
    let begun = begun.load(Ordering::Relaxed);
    let points: Vec<_> = points.iter().filter(|point| point.number > begun).collect();
    assert!(points.len() > 15, "{} crash points", points.len());
    let mut minima = BTreeSet::new();
    for point in points {
        let mut rng = Rng::from_seed(point.number).stream("power");
        let worst = point.image.after_kill();
        worst.power_loss_worst();
        let kill = point.image.after_kill();
        let drawn = point.image.after_power_loss(&mut rng).0;
        for (what, disk) in [("kill", kill), ("power loss", drawn), ("worst", worst)] {
            let at = format!("micro-operation {}, {what}", point.number);
            minima.insert(check_interrupted(&machine, disk, &placed, &at));
        }
    }
    assert!(minima.len() > 5, "{minima:?}");
}

/// Units and index entries of what is removed are durable first: no recovery asks for it again.
#[test]
fn nothing_goes_that_a_recovery_would_need() {
    for flush_disk_type in [FlushDiskType::SyncFlush, FlushDiskType::AsyncFlush] {
        let machine = Machine::new(0, |config| {
            config.flush_disk_type = flush_disk_type;
            config.flush_interval_consume_queue_ms = HOUR_MS;
            config.flush_consume_queue_thorough_interval_ms = HOUR_MS;
        });
        let ledger = Ledger::default();
        let min_offset = machine.live(async |store| {
            machine.pass(61_000).await;
            machine.set_used_percent(60);
            put_numbers(store, &ledger, 0..80).await;
            machine.set_used_percent(87);
            machine.pass(10_000).await;
            assert_eq!(store.durable_mark().logics_end, 0);
            machine.pass(60_000).await;
            let min_offset = store.commit_log().min_offset();
            assert!(min_offset > 0 && store.durable_mark().logics_end >= min_offset);
            min_offset
        });
        machine.disk.power_loss_worst();
        machine.live(async |store| {
            assert_eq!(store.commit_log().min_offset(), min_offset);
            assert_eq!(store.recovery().queues_rebuilt, None);
            check_readable(store, 80);
            assert_eq!(store.max_offset_in_queue("T", 0), 40);
        });
    }
}

/// Starts twice, then lets the removal go on. Returns the minimum of the log that was found.
fn check_interrupted(of: &Machine, disk: Arc<SimDisk>, placed: &[u64], at: &str) -> u64 {
    let now_ms = AtomicU64::new(MIDNIGHT_MS + 4 * HOUR_MS);
    let clock = Arc::new(HandClock { now_ms, offset_seconds: 0 });
    let (config, log) = (of.config.clone(), Arc::default());
    let machine = Machine { clock, disk, config, log };
    let state = |store: &Arc<MessageStore>| {
        let min = store.commit_log().min_offset();
        let first = placed.partition_point(|phy_offset| *phy_offset < min) as u32;
        assert_eq!(read_all(store), (first..80).collect::<Vec<_>>(), "{at}");
        for number in first..80 {
            let found = store.query_message("T", &number.to_string(), 32, 0, i64::MAX);
            assert_eq!(found.messages.len(), 1, "{at}: key {number}");
        }
        let bounds = [0, 1].map(|queue_id| {
            (store.min_offset_in_queue("T", queue_id), store.max_offset_in_queue("T", queue_id))
        });
        (min, bounds)
    };
    let first = machine.live(async |store| state(store));
    let second = machine.live(async |store| state(store));
    assert_eq!(first, second, "{at}");
    assert_eq!(first.1.map(|bounds| bounds.1), [40, 40], "{at}");
    machine.live(async |store| {
        machine.pass(24 * HOUR_MS).await;
        assert_eq!(machine.log_files().len(), 1, "{at}");
        for queue in ["consumequeue/T/0", "consumequeue/T/1"] {
            assert_eq!(machine.files(queue).len(), 1, "{at}");
        }
        check_readable(store, 80);
    });
    first.0
}

/// A queue without new messages outlives its messages: the next one gets the next offset.
#[test]
fn a_queue_whose_messages_are_all_gone_keeps_its_end() {
    let machine = Machine::new(0, |config| config.delete_when = "03".to_owned());
    let ledger = Ledger::default();
    let idle = |number| MessageInner { topic: "Idle".to_owned(), queue_id: 7, ..message(number) };
    machine.live(async |store| {
        for number in 0..45 {
            store.put_message(&idle(number)).await;
        }
        put_numbers(store, &ledger, 0..40).await;
        machine.pass(4 * HOUR_MS).await;
        let bounds = (store.min_offset_in_queue("Idle", 7), store.max_offset_in_queue("Idle", 7));
        assert_eq!(bounds, (45, 45));
    });
    machine.disk.power_loss_worst();
    // A queue file is lost: all queues are made again from the log, which knows nothing of the idle one.
    let handle = machine.disk.handle("operator");
    let name = &machine.files("consumequeue/T/1")[0];
    handle.remove(&Path::new("/machine/store/consumequeue/T/1").join(name)).unwrap();
    machine.live(async |store| {
        assert!(store.recovery().queues_rebuilt.is_some());
        check_readable(store, 40);
        let bounds = (store.min_offset_in_queue("Idle", 7), store.max_offset_in_queue("Idle", 7));
        assert_eq!(bounds, (45, 45));
        let next = store.put_message(&idle(45)).await.append.unwrap();
        assert_eq!(next.queue_offset, 45);
    });
}

/// Dead letters wait for people: the file that holds one stays, and with it whatever is behind it in the log, until
/// `deadLetterReservedTime` is over. The files before it go as ever, and a full disk knows no mercy.
#[test]
fn files_with_dead_letters_are_kept_longer() {
    let dead_letter =
        |number| MessageInner { topic: "%DLQ%g".to_owned(), queue_id: 0, ..message(number) };
    let machine = Machine::new(0, |config| {
        config.delete_when = "03".to_owned();
        config.dead_letter_reserved_time_hours = 30;
    });
    let ledger = Ledger::default();
    machine.live(async |store| {
        put_numbers(store, &ledger, 0..40).await;
        let put = store.put_message(&dead_letter(40)).await.append.unwrap();
        let held = put.phy_offset / LOG_FILE as u64;
        assert!(held > 1, "{put:?}");
        put_numbers(store, &ledger, 41..80).await;
        assert!(machine.log_files().len() as u64 > held + 2, "{:?}", machine.log_files());
        machine.pass(5 * HOUR_MS).await;
        assert_eq!(machine.log_files()[0], held, "up to the dead letter");
        assert!(machine.log_files().len() > 2, "and with it all that came later");
        assert_eq!(store.min_offset_in_queue("%DLQ%g", 0), 0);
        let read = store.get_message("%DLQ%g", 0, 0, 32, &MessageFilter::All);
        assert_eq!(read.messages.len(), 1);

        // From 03:00 of the day after the next on it is old enough.
        machine.pass(47 * HOUR_MS).await;
        assert_eq!(machine.log_files().len(), 1);
        assert_eq!(store.min_offset_in_queue("%DLQ%g", 0), 1);
    });

    let full = Machine::new(0, |config| config.delete_when = "23".to_owned());
    full.live(async |store| {
        store.put_message(&dead_letter(0)).await.append.unwrap();
        put_numbers(store, &Ledger::default(), 1..80).await;
        full.set_used_percent(88);
        full.pass(HOUR_MS).await;
        assert!(full.log_files()[0] > 0, "space goes before age");
    });
}
