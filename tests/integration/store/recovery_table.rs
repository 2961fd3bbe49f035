//! Damaged stores of RocketMQ 4.9.7: what Java's recovery made of each, and what ours makes of it. Every
//! difference stands in the table, with its reason; none may be to the disadvantage of a message.

use std::collections::{BTreeMap, BTreeSet};

use mq_protocol::message_codec::body_crc;
use mq_store::doctor::StoreDir;
use serde_json::Value;

use super::java_stores::{damage, disk_with};
use super::*;

const RECOVERY: &str = include_str!("../../fixtures/golden/recovery.json");

/// What our recovery comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ours {
    /// What Java's comes to.
    SameAsJava,
    /// The set before the damage, but for so many messages of a queue.
    Undamaged { left_out: Option<(&'static str, u32, u64)> },
}

const WHOLE: Ours = Ours::Undamaged { left_out: None };

/// Case, our outcome, and why.
const TABLE: [(&str, Ours, &str); 14] = [
    ("killed", Ours::SameAsJava, "nothing is damaged"),
    ("all-queues-deleted-clean", Ours::SameAsJava, "both make all queues again from the log"),
    (
        "bitflip-clean-old",
        Ours::SameAsJava,
        "neither looks at files before the last three when the broker was stopped in order; `store \
         verify` does",
    ),
    (
        "bitflip-clean-recent",
        Ours::Undamaged { left_out: Some(("GoldenB", 0, 1)) },
        "Java takes the flipped bit for the end of the log and drops 381 messages of all queues. The \
         broker was stopped in order and sound records follow: it is damage, and one message is left \
         out",
    ),
    ("empty-last-file-abort", WHOLE, "Java does not start. A file without bytes is a fresh one"),
    ("empty-last-file-clean", WHOLE, "Java does not start. A file without bytes is a fresh one"),
    ("no-checkpoint", Ours::SameAsJava, "both walk the log from its start"),
    ("offsets-empty", Ours::SameAsJava, "the store does not read consumer offsets"),
    ("offsets-torn", Ours::SameAsJava, "the store does not read consumer offsets"),
    (
        "queue-deleted-abort",
        WHOLE,
        "Java makes the queue again from where its walk begins: 18 messages stay lost behind fillers, \
         and one filler is read as a message. Ours sees that units are missing and walks the log",
    ),
    (
        "queue-deleted-clean",
        WHOLE,
        "Java does not miss the queue: 182 messages stay lost, and its numbers begin at 0 again. Ours \
         sees that units are missing and walks the log",
    ),
    ("torn-body", Ours::SameAsJava, "the torn record was the last one and not known to be synced"),
    (
        "torn-body-only",
        Ours::SameAsJava,
        "the torn record was the last one and not known to be synced",
    ),
    ("zero-tail", Ours::SameAsJava, "what became zero was the tail and not known to be synced"),
];

/// What a store holds for consumers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Held {
    min_phy_offset: u64,
    max_phy_offset: u64,
    queues: BTreeMap<(String, u32), Queue>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Queue {
    min: u64,
    max: u64,
    readable: u64,
    /// Answers that are not the message asked for, whole.
    odd: u64,
}

impl Held {
    fn of(store: &MessageStore) -> Held {
        let log = store.commit_log();
        let queue = |queue: &mq_store::ConsumeQueue| {
            let (topic, id) = (queue.topic().to_owned(), queue.queue_id());
            let held = read_queue(store, &topic, id);
            ((topic, id), held)
        };
        Held {
            min_phy_offset: log.min_offset(),
            max_phy_offset: log.max_offset(),
            queues: store.consume_queues().all().iter().map(|it| queue(it)).collect(),
        }
    }

    fn of_java(case: &Value) -> Held {
        let number = |value: &Value| value.as_u64().unwrap();
        let queue = |queue: &Value| {
            let [_, _, min, max, readable, odd] = queue.as_array().unwrap().as_slice() else {
                panic!("{queue}")
            };
            let (min, max) = (number(min), number(max));
            let (readable, odd) = (number(readable), number(odd));
            let id = (queue[0].as_str().unwrap().to_owned(), number(&queue[1]) as u32);
            (id, Queue { min, max, readable, odd })
        };
        Held {
            min_phy_offset: number(&case["minPhyOffset"]),
            max_phy_offset: number(&case["maxPhyOffset"]),
            queues: case["queues"].as_array().unwrap().iter().map(queue).collect(),
        }
    }
}

/// What the doctor says that a started copy holds: it does not look for odd answers.
fn recovered_copy(disk: &Arc<SimDisk>) -> Held {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let handle: Arc<DiskHandle> = disk.handle("doctor");
    let (epoch, disk_of) = (handle.epoch(), Arc::clone(&handle) as Arc<dyn Disk>);
    let recovered = runtime.block_on(async {
        let env = Env { disk: Arc::clone(&disk_of), probe: Probe::silent(), ..Env::os() };
        let dir = StoreDir::open(disk_of, Path::new("/machine/store"), None).unwrap();
        dir.recover(env, Path::new("/machine/copy"), false, &mut |_| {}).await.unwrap()
    });
    disk.process_died(epoch);
    let queue = |queue: mq_store::doctor::RecoveredQueue| {
        let held = Queue { min: queue.min, max: queue.max, readable: queue.readable, odd: 0 };
        ((queue.topic, queue.queue_id), held)
    };
    Held {
        min_phy_offset: recovered.min_phy_offset,
        max_phy_offset: recovered.max_phy_offset,
        queues: recovered.queues.into_iter().map(queue).collect(),
    }
}

/// What a consumer gets that reads one message after the other.
fn read_queue(store: &MessageStore, topic: &str, queue_id: u32) -> Queue {
    let (min, max) =
        (store.min_offset_in_queue(topic, queue_id), store.max_offset_in_queue(topic, queue_id));
    let (mut readable, mut odd, mut offset) = (0, 0, min);
    while offset < max {
        let result = store.get_message(topic, queue_id, offset, 1, &MessageFilter::All);
        for record in &result.messages {
            let record = decode_record(record).unwrap();
            readable += 1;
            let is_it = record.topic() == topic
                && record.queue_id() as u32 == queue_id
                && record.queue_offset() as u64 == offset
                && record.body_crc()
                    == if record.body().is_empty() { 0 } else { body_crc(record.body()) };
            odd += u64::from(!is_it);
        }
        assert!(result.next_begin_offset > offset);
        offset = result.next_begin_offset;
    }
    Queue { min, max, readable, odd }
}

fn expected(ours: Ours, case: &Value, undamaged: &Held) -> Held {
    match ours {
        Ours::SameAsJava => Held::of_java(case),
        Ours::Undamaged { left_out } => {
            let mut held = undamaged.clone();
            if let Some((topic, id, count)) = left_out {
                held.queues.get_mut(&(topic.to_owned(), id)).unwrap().readable -= count;
            }
            held
        }
    }
}

/// The rules that hold whatever the table says.
fn check_rules(name: &str, ours: &Held, java: Option<&Held>, undamaged: &Held) {
    let Some(java) = java else { return assert!(!ours.queues.is_empty(), "{name} starts") };
    assert!(ours.min_phy_offset <= java.min_phy_offset, "{name}");
    assert!(ours.max_phy_offset >= java.max_phy_offset, "{name}");
    for (id, javas) in &java.queues {
        let own = ours.queues[id];
        assert!(own.readable >= javas.readable - javas.odd, "{name}: fewer messages of {id:?}");
        assert!(own.odd <= javas.odd, "{name}: more odd answers of {id:?}");
        assert!(own.max >= javas.max, "{name}: {id:?} ends earlier");
    }
    for id in undamaged.queues.keys() {
        assert!(ours.queues.contains_key(id), "{name}: {id:?} stays lost");
    }
}

/// Every message that Java finds by key is found, unless newer ones take the places.
fn check_queries(name: &str, store: &MessageStore, case: &Value) {
    for query in case["queries"].as_array().unwrap() {
        let [topic, key] = [0, 1].map(|index| query[index].as_str().unwrap());
        let javas: BTreeSet<u64> =
            query[2].as_array().unwrap().iter().map(|at| at.as_u64().unwrap()).collect();
        let found = store.query_message(topic, key, 64, 0, i64::MAX);
        let ours: BTreeSet<u64> = found.messages.iter().map(|it| it.start_offset()).collect();
        let oldest = if ours.len() == 64 { *ours.first().unwrap() } else { 0 };
        let missing: Vec<_> = javas.difference(&ours).filter(|at| **at >= oldest).collect();
        assert!(missing.is_empty(), "{name}: {topic} {key} {missing:?}");
    }
}

/// A queue's next message gets the number behind its last one.
async fn check_numbers(name: &str, store: &MessageStore, held: &Held) {
    for ((topic, queue_id), queue) in &held.queues {
        let message = MessageInner { topic: topic.clone(), queue_id: *queue_id, ..message(1) };
        let put = store.put_message(&message).await;
        assert_eq!(put.append.unwrap().queue_offset, queue.max, "{name}: {topic} {queue_id}");
    }
}

#[test]
fn recovery_is_nowhere_worse_than_javas() {
    let cases: Vec<Value> = serde_json::from_str(RECOVERY).unwrap();
    let undamaged = ["killed", "plain"].map(|base| {
        let (disk, config) = disk_with(base);
        (base, live(&disk, &config, async |store| Held::of(store)).unwrap())
    });
    let undamaged = BTreeMap::from(undamaged);
    let mut seen = BTreeSet::new();
    for case in &cases {
        let (name, base) = (case["case"].as_str().unwrap(), case["base"].as_str().unwrap());
        let (_, ours, why) = TABLE.iter().find(|row| row.0 == name).expect(name);
        seen.insert(name);
        let starts = case["initializeOk"].as_bool().unwrap();
        let java = starts.then(|| Held::of_java(case));
        let expected = expected(*ours, case, &undamaged[base]);
        assert_eq!(*ours == Ours::SameAsJava, java.as_ref() == Some(&expected), "{name}: {why}");
        let (disk, config) = disk_with(base);
        damage(&disk, &case["ops"]);
        let mut copied = expected.clone();
        copied.queues.values_mut().for_each(|queue| queue.odd = 0);
        if name == "bitflip-clean-old" {
            // A copy is looked at everywhere, and leaves out what a start would not look at.
            copied.queues.get_mut(&("GoldenA".to_owned(), 2)).unwrap().readable -= 1;
        }
        assert_eq!(recovered_copy(&disk), copied, "{name}: {why}");
        // What was found is found again, also after a power loss.
        for start in ["first start", "second start"] {
            let what = format!("{name}, {start}: {why}");
            let opened = live(&disk, &config, async |store| {
                let held = Held::of(store);
                assert_eq!(held, expected, "{what}");
                check_rules(&what, &held, java.as_ref(), &undamaged[base]);
                check_queries(&what, store, case);
                if start == "second start" {
                    check_numbers(&what, store, &held).await;
                }
            });
            opened.unwrap_or_else(|error| panic!("{what}: {error}"));
            disk.power_loss_worst();
        }
    }
    assert_eq!(seen.len(), TABLE.len());
}
