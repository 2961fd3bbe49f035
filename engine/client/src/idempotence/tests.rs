//! The deduplicator and the listener behind it, without a consumer.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use mq_env::Env;
use mq_protocol::message::{Message, MessageConst, MessageExt};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn message(key: &str, body: &str) -> Arc<MessageExt> {
    let mut message = Message::new("T", body.to_owned());
    if !key.is_empty() {
        message.properties.insert(MessageConst::KEYS, key);
    }
    let host = ([10, 0, 0, 1], 1).into();
    Arc::new(MessageExt {
        message,
        broker_name: "a".to_owned(),
        queue_id: 0,
        store_size: 1,
        queue_offset: 0,
        sys_flag: 0,
        born_timestamp: 1,
        born_host: host,
        store_timestamp: 1,
        store_host: host,
        phy_offset: 0,
        body_crc: 0,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
    })
}

fn deduplicator() -> Arc<Deduplicator> {
    Arc::new(Deduplicator::new(DeduplicatorConfig::default()))
}

/// Consumes a key; whether nothing was known of it.
fn consume(deduplicator: &Deduplicator, key: &str) -> bool {
    match deduplicator.claim(key) {
        Claim::Granted(claim) => {
            claim.done();
            true
        }
        Claim::UnderWay => panic!("{key} is under way"),
        Claim::Done => false,
    }
}

/// What a listener saw, batch by batch, and what it answers.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn listener(&self, answer: fn() -> Consumption) -> MessageListener {
        let seen = self.clone();
        Arc::new(move |messages| {
            let bodies = messages.iter().map(|it| std::str::from_utf8(&it.message.body).unwrap());
            seen.0.lock().unwrap().push(bodies.collect::<Vec<_>>().concat());
            answer()
        })
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn success() -> Consumption {
    ConsumeResult::Success.into()
}

fn in_vain() -> Consumption {
    ConsumeResult::ReconsumeLater.into()
}

fn never() -> Consumption {
    Consumption::Later(Box::pin(std::future::pending()))
}

/// What a listener answers at once.
fn answer(listener: &MessageListener, batch: &[Arc<MessageExt>]) -> ConsumeResult {
    listener(batch).result().now_or_never().unwrap()
}

#[test]
fn the_first_key_counts_then_the_unique_one() {
    let plain = MessageExt::clone(&message("", ""));
    let mut unique = plain.message.clone();
    unique.properties.insert(MessageConst::UNIQ_KEY, "id");
    let with = |message| MessageExt { message, ..plain.clone() };
    assert_eq!(business_key(&with(unique.clone())), Some("id"));
    unique.properties.insert(MessageConst::KEYS, " order 7");
    assert_eq!(business_key(&with(unique)), Some("order"));
    assert_eq!(business_key(&plain), None);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_unknown_then_under_way_then_done() {
    let deduplicator = deduplicator();
    let Claim::Granted(claim) = deduplicator.claim("k") else { panic!("nothing is known") };
    assert!(matches!(deduplicator.claim("k"), Claim::UnderWay));
    drop(claim);
    let Claim::Granted(claim) = deduplicator.claim("k") else { panic!("it was released") };
    claim.done();
    assert!(matches!(deduplicator.claim("k"), Claim::Done));
    assert!(consume(&deduplicator, "another"));
}

#[tokio::test(start_paused = true)]
async fn the_oldest_are_forgotten_by_count_size_and_age() {
    let config = DeduplicatorConfig { capacity: 2, key_bytes_max: 5, retention: 10 * SECOND };
    let deduplicator = Deduplicator::new(config);
    assert!(["z", "b", "c"].iter().all(|key| consume(&deduplicator, key)));
    assert!(!consume(&deduplicator, "b"));
    assert!(consume(&deduplicator, "z"), "b and c were two already");
    assert!(consume(&deduplicator, "long!"), "no room for another one");
    assert_eq!(deduplicator.done_count(), 1);
    tokio::time::sleep(10 * SECOND).await;
    assert!(!consume(&deduplicator, "long!"));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(deduplicator.done_count(), 0);
    assert!(consume(&deduplicator, "long!"));
    // What cannot be remembered at all is nobody's afterwards.
    assert!(consume(&deduplicator, "longer") && consume(&deduplicator, "longer"));
}

#[tokio::test(start_paused = true)]
async fn duplicates_are_answered_with_success_and_without_the_listener() {
    let (deduplicator, seen) = (deduplicator(), Seen::default());
    let listener = idempotent(Arc::clone(&deduplicator), seen.listener(success));
    for body in ["a", "b"] {
        assert_eq!(answer(&listener, &[message("k", body)]), ConsumeResult::Success);
    }
    assert_eq!(seen.take(), ["a"]);
    // Without a key each one passes, and so does the key in another topic.
    for body in ["c", "d"] {
        answer(&listener, &[message("", body)]);
    }
    let mut other = MessageExt::clone(&message("k", "e"));
    other.message.topic = "U".to_owned();
    answer(&listener, &[Arc::new(other)]);
    assert_eq!(seen.take(), ["c", "d", "e"]);
}

#[tokio::test(start_paused = true)]
async fn what_failed_panicked_or_was_cut_off_may_be_tried_again() {
    let (deduplicator, seen) = (deduplicator(), Seen::default());
    let of = |answer| idempotent(Arc::clone(&deduplicator), seen.listener(answer));
    let batch = [message("k", "a")];
    assert_eq!(answer(&of(in_vain), &batch), ConsumeResult::ReconsumeLater);
    let panics = of(|| panic!("as told"));
    let call = std::panic::AssertUnwindSafe(|| panics(&batch));
    assert!(std::panic::catch_unwind(call).is_err());
    let panics_later = of(|| Consumption::Later(Box::pin(async { panic!("as told, later") })));
    assert_eq!(answer(&panics_later, &batch), ConsumeResult::ReconsumeLater);
    let at_work = of(never)(&batch);
    assert_eq!(answer(&of(success), &batch), ConsumeResult::ReconsumeLater, "it is under way");
    assert_eq!(seen.take().len(), 4);
    drop(at_work);
    assert_eq!(answer(&of(success), &batch), ConsumeResult::Success);
    assert_eq!(answer(&of(success), &batch), ConsumeResult::Success);
    assert_eq!(seen.take(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn of_a_batch_the_listener_gets_what_is_fresh() {
    let (deduplicator, seen) = (deduplicator(), Seen::default());
    let listener = idempotent(Arc::clone(&deduplicator), seen.listener(success));
    let batch = |keys: &str| -> Vec<_> {
        keys.chars().map(|key| message(&key.to_string(), &key.to_string())).collect()
    };
    answer(&listener, &batch("b"));
    // Duplicates within a batch are one message.
    assert_eq!(answer(&listener, &batch("abac")), ConsumeResult::Success);
    assert_eq!(seen.take(), ["b", "ac"]);
    // Nothing overtakes a message that is under way.
    let Claim::Granted(claim) = deduplicator.claim("T#x") else { panic!("nothing is known") };
    assert_eq!(answer(&listener, &batch("dxe")), ConsumeResult::ReconsumeLater);
    assert_eq!(answer(&listener, &batch("x")), ConsumeResult::ReconsumeLater);
    claim.done();
    assert_eq!(answer(&listener, &batch("dxe")), ConsumeResult::Success);
    assert_eq!(seen.take(), ["d", "e"]);
    // One failure is that of the batch.
    let fails = idempotent(Arc::clone(&deduplicator), seen.listener(in_vain));
    assert_eq!(answer(&fails, &batch("fg")), ConsumeResult::ReconsumeLater);
    assert_eq!(answer(&listener, &batch("fg")), ConsumeResult::Success);
    assert_eq!(seen.take(), ["fg", "fg"]);
}

/// An environment and the path of a file in a directory that goes with the first.
fn place() -> (tempfile::TempDir, Env, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/er/done.json");
    (dir, Env::os(), path)
}

async fn open(env: &Env, path: &std::path::Path) -> Result<Deduplicator, DeduplicatorError> {
    Deduplicator::open(env, path, DeduplicatorConfig::default()).await
}

#[tokio::test(start_paused = true)]
async fn a_restarted_consumer_knows_what_was_consumed() {
    let (_dir, env, path) = place();
    let first = open(&env, &path).await.unwrap();
    assert!(consume(&first, "T#\"1\"\n") && consume(&first, "T#2"));
    let refused = open(&env, &path).await.err().unwrap().to_string();
    assert!(refused.ends_with("give each consumer a file of its own"), "{refused}");
    first.flush().await.unwrap();
    let Claim::Granted(under_way) = first.claim("T#3") else { panic!("nothing is known") };
    first.shutdown().await.unwrap();
    under_way.done();
    let refused = first.flush().await.err().unwrap().to_string();
    assert!(refused.starts_with("keys that were done after the shutdown"), "{refused}");

    let again = open(&env, &path).await.unwrap();
    assert!(!consume(&again, "T#\"1\"\n") && !consume(&again, "T#2"));
    assert!(consume(&again, "T#3"), "at least once");
    again.shutdown().await.unwrap();
    // The bounds hold for what is read as well, and the oldest go first.
    let little = DeduplicatorConfig { capacity: 1, ..DeduplicatorConfig::default() };
    let small = Deduplicator::open(&env, &path, little).await.unwrap();
    assert_eq!(small.done_count(), 1);
    assert!(!consume(&small, "T#3"));
}

#[tokio::test(start_paused = true)]
async fn keys_age_while_the_process_does_not_run() {
    let (_dir, env, path) = place();
    let now_ms = env.clock.now_millis();
    let hour_ms = 60 * 60 * 1_000;
    env.disk.create_dir_all(path.parent().unwrap()).unwrap();
    let content = format!(
        "{{\"ahead\":{},\"fresh\":{},\"old\":{},\"bad\":{}}}",
        now_ms + hour_ms,
        now_ms - 23 * hour_ms,
        now_ms - 25 * hour_ms,
        i64::MIN
    );
    env.disk.write(&path, content.as_bytes()).unwrap();
    let deduplicator = open(&env, &path).await.unwrap();
    assert!(consume(&deduplicator, "old") && consume(&deduplicator, "bad"));
    assert!(!consume(&deduplicator, "fresh") && !consume(&deduplicator, "ahead"));
    tokio::time::sleep(Duration::from_secs(2 * 60 * 60)).await;
    assert!(consume(&deduplicator, "fresh"));
    assert!(!consume(&deduplicator, "ahead"));
}

#[tokio::test(start_paused = true)]
async fn a_torn_file_gives_way_to_the_version_before() {
    let (_dir, env, path) = place();
    for key in ["1", "2"] {
        let deduplicator = open(&env, &path).await.unwrap();
        assert!(consume(&deduplicator, key));
        deduplicator.shutdown().await.unwrap();
    }
    let content = env.disk.read(&path).unwrap();
    env.disk.write(&path, &content[..content.len() - 1]).unwrap();
    let deduplicator = open(&env, &path).await.unwrap();
    assert!(!consume(&deduplicator, "1"));
    assert!(consume(&deduplicator, "2"), "at least once");
    drop(deduplicator);
    let backup = mq_env::disk::replaced_file::backup_of(&path);
    for path in [&path, &backup] {
        env.disk.write(path, b"{").unwrap();
    }
    // The task that writes has to see that its deduplicator is gone.
    tokio::time::sleep(SECOND).await;
    let refused = open(&env, &path).await.err().unwrap().to_string();
    assert!(refused.contains("done.json is damaged"), "{refused}");
}

/// Versions of the file are told apart by what they hold.
#[tokio::test(start_paused = true)]
async fn the_file_is_written_once_a_second_and_not_without_news() {
    let (_dir, env, path) = place();
    let deduplicator = open(&env, &path).await.unwrap();
    let keys = || env.disk.read(&path).map_or(0, |it| it.iter().filter(|b| **b == b':').count());
    let wait = async |ms| tokio::time::sleep(Duration::from_millis(ms)).await;
    wait(5_000).await;
    assert_eq!(keys(), 0);
    assert!(consume(&deduplicator, "1"));
    wait(1).await;
    deduplicator.flush().await.unwrap();
    assert_eq!(keys(), 1);
    for n in 2..10 {
        assert!(consume(&deduplicator, &n.to_string()));
        wait(100).await;
        assert_eq!(keys(), 1, "only a second after the first");
    }
    wait(300).await;
    // A sync is real: the flush waits for the write that has begun, and finds nothing new.
    deduplicator.flush().await.unwrap();
    assert_eq!(keys(), 9);
    env.disk.remove(&path).unwrap();
    wait(5_000).await;
    deduplicator.flush().await.unwrap();
    assert_eq!(keys(), 0, "nothing is new");
}

#[tokio::test(start_paused = true)]
async fn a_name_alone_is_no_place_for_a_file() {
    let refused = open(&Env::os(), std::path::Path::new("done.json")).await.err().unwrap();
    let refused = refused.to_string();
    assert!(refused.ends_with("put it into a directory of its own"), "{refused}");
}
