//! Clients of both languages at brokers of both: retries and dead letters, transactions, requests and their
//! replies, batches, compressed bodies, filters, order. What one wrote the other reads, and all four combinations
//! give the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mq_protocol::message::{MessageConst, Properties, dlq_topic};
use mq_tests::skip::skipped;

use mq_tests::peers::{Cluster, Got, Language, Peer, Said};
use mq_tests::rocketmq::RocketMq;

/// Short delays, so that retries come soon; short checks; filters are allowed.
const SETTINGS: [&str; 5] = [
    "messageDelayLevel=1s 1s 1s 1s 1s 1s 1s",
    "transactionTimeOut=1000",
    "transactionCheckInterval=1000",
    "transactionCheckMax=100",
    "enablePropertyFilter=true",
];

/// A send-back is on its way when the listener has answered.
const SENT_BACK_WITHIN: Duration = Duration::from_millis(700);

/// What names a place or a time of one run, and differs between any two.
const OF_ONE_RUN: [&str; 11] = [
    MessageConst::REAL_QID,
    MessageConst::UNIQ_KEY,
    MessageConst::ORIGIN_MESSAGE_ID,
    MessageConst::MIN_OFFSET,
    MessageConst::MAX_OFFSET,
    MessageConst::CORRELATION_ID,
    MessageConst::REPLY_TO_CLIENT,
    MessageConst::PUSH_REPLY_TIME,
    MessageConst::ARRIVE_TIME,
    MessageConst::TRANSACTION_ID,
    MessageConst::TRAN_PREPARED_QUEUE_OFFSET,
];

/// A broker of each language.
async fn clusters() -> Option<[Cluster; 2]> {
    match RocketMq::get_nightly() {
        Ok(rocketmq) => Some([
            Cluster::start(&rocketmq, Language::Java, &SETTINGS).await,
            Cluster::start(&rocketmq, Language::Rust, &SETTINGS).await,
        ]),
        Err(reason) => {
            skipped("Apache RocketMQ", reason);
            None
        }
    }
}

fn properties(got: &Got) -> Properties {
    Properties::parse(&got.properties)
}

/// The properties that do not depend on the run, those that do without their values; `names` are of groups and
/// topics of one combination.
fn lasting(text: &str, names: &[&str]) -> BTreeMap<String, String> {
    let lasting = |(name, value): (&str, &str)| {
        let mut value = value.to_owned();
        for (index, of_one) in names.iter().enumerate() {
            value = value.replace(of_one, &format!("<name {index}>"));
        }
        let value = if OF_ONE_RUN.contains(&name) { "<of one run>".to_owned() } else { value };
        (name.to_owned(), value)
    };
    Properties::parse(text).iter().filter(is_of_both).map(lasting).collect()
}

/// Java's clients say that a message waits for the broker's promise, which it does without a word, and note in it
/// when its listener began.
fn is_of_both(&(name, value): &(&str, &str)) -> bool {
    name != MessageConst::CONSUME_START_TIME && (name, value) != (MessageConst::WAIT, "true")
}

/// What the combinations gave; all must have given the same.
struct Same<T> {
    given: Vec<(String, T)>,
}

impl<T: std::fmt::Debug + PartialEq> Same<T> {
    fn new() -> Self {
        Same { given: Vec::new() }
    }

    fn give(&mut self, by: String, given: T) {
        self.given.push((by, given));
    }

    fn assert(&self) {
        let (reference, expected) = &self.given[0];
        for (by, given) in &self.given[1..] {
            assert_eq!(given, expected, "{by} differs from {reference}");
            println!("{by}: as {reference}");
        }
    }
}

fn texts(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

/// A consumer, once it has joined.
async fn consumer(
    cluster: &Cluster,
    language: Language,
    group: &str,
    topic: &str,
    more: &[&str],
) -> Peer {
    let name = format!("{language:?}-of-{}-{more:?}", group.replace('%', ""));
    let name = name.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
    let args = [format!("group={group}"), format!("topic={topic}")];
    let args: Vec<&str> = texts(&args).into_iter().chain(more.iter().copied()).collect();
    let mut peer = cluster.peer(language, "consume", &name, &args);
    peer.until_said("ready", 1).await;
    peer
}

/// Has a client send; what it says of that.
async fn send(cluster: &Cluster, language: Language, topic: &str, more: &[&str]) -> Vec<Said> {
    let args = [format!("group=senders-{topic}"), format!("topic={topic}")];
    let args: Vec<&str> = texts(&args).into_iter().chain(more.iter().copied()).collect();
    let mut peer = cluster.peer(language, "send", &format!("{language:?}-to-{topic}"), &args);
    peer.leave().await;
    let sent = peer.said_of("sent");
    assert!(sent.iter().all(|said| said.fields[0] == "SEND_OK"), "{sent:?}");
    sent
}

/// What the redelivery and the dead letter of one combination look like.
type Retried = Vec<(i32, String, BTreeMap<String, String>)>;

/// A member in one language gives messages back, one in the other until they are dead letters, which the first
/// language reads.
async fn retries(cluster: &Cluster, first: Language) -> Retried {
    let (topic, group) = (format!("Retried{first:?}"), format!("retrying-{first:?}"));
    cluster.create_topic(&topic, 1).await;
    let fails = ["fail=3", "max=2"];
    let mut one = consumer(cluster, first, &group, &topic, &fails).await;
    let sent = send(cluster, first.other(), &topic, &["prefix=retried", "count=2"]).await;
    one.until_said("got", 2).await;
    tokio::time::sleep(SENT_BACK_WITHIN).await;
    one.leave().await;
    let mut other = consumer(cluster, first.other(), &group, &topic, &fails).await;
    other
        .until("both given back twice", |peer| {
            peer.got().iter().filter(|got| got.reconsume_times == 2).count() >= 2
        })
        .await;
    let mut dead_letters =
        consumer(cluster, first, &format!("{group}-dead"), &dlq_topic(&group), &[]).await;
    dead_letters.until_said("got", 2).await;
    tokio::time::sleep(SENT_BACK_WITHIN).await;

    let mut retried = Retried::new();
    for (got, is_dead) in [(one.got(), false), (other.got(), false), (dead_letters.got(), true)] {
        assert!(!is_dead || got.len() == 2, "dead letters twice: {got:?}");
        for got in got {
            let properties = properties(&got);
            let sent = sent.iter().find(|sent| sent.fields[5] == got.body).unwrap();
            assert_eq!(properties.get(MessageConst::UNIQ_KEY), Some(sent.fields[1].as_str()));
            if got.reconsume_times > 0 {
                let origin = properties.get(MessageConst::ORIGIN_MESSAGE_ID);
                assert_eq!(origin, Some(sent.fields[2].as_str()), "{got:?}");
            }
            let names = [topic.as_str(), group.as_str()];
            let topic = got.topic.replace(&topic, "<name 0>").replace(&group, "<name 1>");
            let what = (got.reconsume_times, topic, lasting(&got.properties, &names));
            retried.push(what);
        }
    }
    other.leave().await;
    dead_letters.leave().await;
    retried.sort();
    retried.dedup();
    retried
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_gives_back_the_other_gets_again_until_it_is_a_dead_letter() {
    let Some(clusters) = clusters().await else { return };
    let mut same = Same::new();
    for cluster in clusters {
        for first in Language::BOTH {
            let by = format!("{:?}'s broker, {first:?} first", cluster.broker_language);
            same.give(by, retries(&cluster, first).await);
        }
        cluster.stop().await;
    }
    same.assert();
}

/// Transactions of a producer in one language, whose questions another process of its group answers when it is
/// gone; what the other language is given, and what brokers asked.
async fn transactions(
    cluster: &Cluster,
    producer: Language,
) -> (BTreeSet<String>, Vec<(String, BTreeMap<String, String>)>) {
    let (topic, group) = (format!("Transacted{producer:?}"), format!("transacting-{producer:?}"));
    cluster.create_topic(&topic, 2).await;
    let mut consumer =
        consumer(cluster, producer.other(), &format!("{group}-read"), &topic, &[]).await;
    let transact = |name: &str, bodies: &str, check: &str| {
        let args = [
            format!("group={group}"),
            format!("topic={topic}"),
            format!("bodies={bodies}"),
            format!("check={check}"),
        ];
        cluster.peer(producer, "transact", &format!("{producer:?}-{name}"), &texts(&args))
    };
    let mut one = transact("one", "commit-0,rollback-0,unknown-0", "commit");
    one.until_said("checked", 1).await;
    consumer.until_said("got", 2).await;
    one.leave().await;
    let mut lost = transact("lost", "gone-0", "unknown");
    lost.until_said("checked", 2).await;
    lost.kill();
    let mut heir = transact("heir", "commit-1", "commit");
    heir.until_said("checked", 1).await;
    consumer.until_said("got", 4).await;
    // What was rolled back would have been asked for or shown by now.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (one_checked, heir_checked) = (one.said_of("checked"), heir.said_of("checked"));
    assert!(one_checked.iter().all(|said| said.fields[0] == "unknown-0"), "{one_checked:?}");
    assert!(heir_checked.iter().all(|said| said.fields[0] == "gone-0"), "{heir_checked:?}");
    let sent: Vec<Said> =
        [&one, &lost, &heir].into_iter().flat_map(|peer| peer.said_of("sent")).collect();
    for said in [one_checked, heir_checked].concat() {
        let sent = sent.iter().find(|sent| sent.fields[5] == said.fields[0]).unwrap();
        assert_eq!(said.fields[1], sent.fields[1], "the id of a transaction that is asked for");
    }
    heir.leave().await;
    consumer.leave().await;
    let names = [topic.as_str(), group.as_str()];
    let got: Vec<_> = consumer
        .got()
        .iter()
        .map(|got| (got.body.clone(), lasting(&got.properties, &names)))
        .collect();
    let bodies: BTreeSet<String> = got.iter().map(|(body, _)| body.clone()).collect();
    let committed = ["commit-0", "commit-1", "gone-0", "unknown-0"].map(str::to_owned);
    assert_eq!(bodies, BTreeSet::from(committed));
    let mut got: Vec<_> = got.into_iter().filter(|(body, _)| body.starts_with("commit")).collect();
    got.sort();
    (bodies, got)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_of_one_are_checked_by_the_other() {
    let Some(clusters) = clusters().await else { return };
    let mut same = Same::new();
    for cluster in clusters {
        for producer in Language::BOTH {
            let by = format!("{:?}'s broker, {producer:?} produces", cluster.broker_language);
            same.give(by, transactions(&cluster, producer).await);
        }
        cluster.stop().await;
    }
    same.assert();
}

/// Requests of one language, answered by the other.
async fn requests(cluster: &Cluster, asking: Language) {
    let topic = format!("Asked{asking:?}");
    cluster.create_topic(&topic, 2).await;
    let group = format!("answering-{asking:?}");
    let mut answers = consumer(cluster, asking.other(), &group, &topic, &["reply=true"]).await;
    let args = [format!("group=asking-{asking:?}"), format!("topic={topic}")];
    let args: Vec<&str> = texts(&args).into_iter().chain(["prefix=ask", "count=5"]).collect();
    let mut asks = cluster.peer(asking, "request", &format!("{asking:?}-asks"), &args);
    asks.leave().await;
    let replies: Vec<String> =
        asks.said_of("replied").into_iter().map(|said| said.fields[0].clone()).collect();
    let expected: Vec<String> = (0..5).map(|number| format!("re: ask{number}")).collect();
    assert_eq!(replies, expected);
    answers.leave().await;
}

/// A batch of one language, read by the other, once as it is and once through filters.
async fn batches_and_filters(
    cluster: &Cluster,
    sending: Language,
) -> Vec<BTreeMap<String, String>> {
    let topic = format!("Batch{sending:?}");
    cluster.create_topic(&topic, 1).await;
    let sent = send(cluster, sending, &topic, &["prefix=b", "count=10", "batch=true"]).await;
    let uniq_keys: Vec<&str> = sent[0].fields[1].split(',').collect();
    assert_eq!((uniq_keys.len(), sent[0].fields[2].split(',').count()), (10, 10), "{sent:?}");

    let reading = sending.other();
    let group = |what: &str| format!("{what}-{sending:?}");
    let mut all = consumer(cluster, reading, &group("all"), &topic, &[]).await;
    let sql = ["sql=number >= 3 AND number < 8 AND TAGS = 'Tag1'"];
    let mut by_sql = consumer(cluster, reading, &group("sql"), &topic, &sql).await;
    let mut by_tag =
        consumer(cluster, reading, &group("tag"), &topic, &["tags=Tag0 || Tag7"]).await;
    all.until_said("got", 10).await;
    by_sql.until_said("got", 3).await;
    by_tag.until_said("got", 5).await;
    for peer in [&mut all, &mut by_sql, &mut by_tag] {
        peer.leave().await;
    }
    let mut got = all.got();
    got.sort_by_key(|got| got.queue_offset);
    for (got, uniq_key) in got.iter().zip(&uniq_keys) {
        assert_eq!(properties(got).get(MessageConst::UNIQ_KEY), Some(*uniq_key));
    }
    let bodies = |peer: &Peer| {
        let mut bodies: Vec<String> = peer.got().into_iter().map(|got| got.body).collect();
        bodies.sort();
        bodies
    };
    assert_eq!(bodies(&by_sql), ["b3", "b5", "b7"]);
    assert_eq!(bodies(&by_tag), ["b0", "b2", "b4", "b6", "b8"]);
    got.iter().map(|got| lasting(&got.properties, &[&topic])).collect()
}

/// Bodies that are worth compressing, in each way that the sender knows, read by the other language.
async fn compressed(cluster: &Cluster, sending: Language) {
    let ways: &[&str] =
        if sending == Language::Java { &["ZLIB", "LZ4", "ZSTD"] } else { &["ZLIB"] };
    let topic = format!("Compressed{sending:?}");
    cluster.create_topic(&topic, 1).await;
    for way in ways {
        let (prefix, way) = (format!("prefix={way}"), format!("compress={way}"));
        send(cluster, sending, &topic, &[&prefix, "pad=5000", "count=2", &way]).await;
    }
    let group = format!("decompressing-{sending:?}");
    let mut reads = consumer(cluster, sending.other(), &group, &topic, &[]).await;
    reads.until_said("got", 2 * ways.len()).await;
    reads.leave().await;
    let mut got = reads.got();
    got.sort_by_key(|got| got.queue_offset);
    let bodies: Vec<String> = got.into_iter().map(|got| got.body).collect();
    let numbers = ways.iter().flat_map(|way| (0..2).map(move |number| (way, number)));
    let pad = "x".repeat(5_000);
    let expected: Vec<String> =
        numbers.map(|(way, number)| format!("{way}{number}{pad}")).collect();
    assert_eq!(bodies, expected);
}

/// Messages of one language by the hash of a key, consumed in order by the other, some of them only at the
/// second try. The queue of each message, and what was given for how manieth time.
async fn in_order(cluster: &Cluster, sending: Language) -> Vec<(String, i32, Vec<i32>)> {
    let topic = format!("Ordered{sending:?}");
    cluster.create_topic(&topic, 4).await;
    let (reading, group) = (sending.other(), format!("orderly-{sending:?}"));
    let orderly = ["orderly=true", "fail=1"];
    let mut ordered = consumer(cluster, reading, &group, &topic, &orderly).await;
    let sent = send(cluster, sending, &topic, &["prefix=o", "count=12", "keys=3"]).await;
    ordered
        .until("all at the second try", |peer| {
            let consumed = peer.got().into_iter().filter(|got| got.reconsume_times == 1);
            consumed.count() == 12
        })
        .await;
    ordered.leave().await;
    let mut last = BTreeMap::<i32, (i64, i32)>::new();
    for got in ordered.got() {
        let this = (got.queue_offset, got.reconsume_times);
        let before = last.insert(got.queue_id, this);
        assert!(before < Some(this), "queue {}: {before:?} and then {this:?}", got.queue_id);
    }
    let given = |said: &Said| {
        let queue_id = said.fields[3].parse().unwrap();
        let of_it = ordered.got().into_iter().filter(|got| got.body == said.fields[5]);
        (said.fields[5].clone(), queue_id, of_it.map(|got| got.reconsume_times).collect())
    };
    sent.iter().map(given).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_batches_compression_filters_and_order_are_of_both() {
    let Some(clusters) = clusters().await else { return };
    let (mut batches, mut orders) = (Same::new(), Same::new());
    for cluster in clusters {
        for language in Language::BOTH {
            let by = format!("{:?}'s broker, {language:?} sends", cluster.broker_language);
            requests(&cluster, language).await;
            compressed(&cluster, language).await;
            batches.give(by.clone(), batches_and_filters(&cluster, language).await);
            orders.give(by, in_order(&cluster, language).await);
        }
        cluster.stop().await;
    }
    batches.assert();
    orders.assert();
}
