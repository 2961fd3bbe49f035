//! Clients of RocketMQ in other languages at our servers and, where Java's are there, the same programs at those:
//! what is sent, given and refused is the same. All of it:
//! `STATICFIRE_PEERS=fetch STATICFIRE_JAVA=fetch cargo test -p mq-tests --test interop`.
#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]
#![expect(clippy::print_stdout, reason = "figures are read by people")]

mod clients;
mod guarded;
mod killed;
mod seen;

use mq_tests::peers::{Cluster, Peer};
use mq_tests::rocketmq::RocketMq;
use mq_tests::skip::skipped;

use crate::clients::Client;
use crate::seen::{Seen, assert_in_order, expected, seen};

/// Short delays, so that what is delayed or given back comes soon; short checks of transactions; a machine that is
/// busy is no reason to refuse.
const SETTINGS: [&str; 5] = [
    "waitTimeMillsInSendQueue=60000",
    "messageDelayLevel=1s 1s 1s 1s 1s 1s 1s",
    "transactionTimeOut=1000",
    "transactionCheckInterval=1000",
    "transactionCheckMax=100",
];

/// Starts the program of `client` for `features`.
fn start(cluster: &Cluster, client: Client, features: &[&str], more: &[String]) -> Peer {
    let mut command = client.command(cluster.dir());
    command.arg(format!("namesrv={}", cluster.namesrv_addr));
    command.arg(format!("features={}", features.join(",")));
    command.args(["topic=T", "group=G", "instance=I"]).args(more);
    let make = cluster.broker_language;
    Peer::run(command, &format!("{client:?}-at-{make:?}-{}", features[0]), cluster.dir())
}

async fn create_topics(cluster: &Cluster, features: &[&str]) {
    for feature in features {
        cluster.create_topic(&format!("T-{feature}"), 2).await;
    }
}

/// What `client` sees at servers of Java's, or ours.
async fn at(rocketmq: Option<&RocketMq>, client: Client, features: &[&str]) -> Seen {
    let cluster = Cluster::of(rocketmq, &SETTINGS).await;
    create_topics(&cluster, features).await;
    let mut peer = start(&cluster, client, features, &[]);
    peer.leave().await;
    assert_in_order(&peer);
    let seen = seen(&peer);
    drop(peer);
    cluster.stop().await;
    seen
}

async fn features_are_those_of_java(client: Client, features: &[&str]) {
    if let Err(reason) = client.get() {
        return skipped(&format!("{client:?} client"), &reason);
    }
    let ours = at(None, client, features);
    let rocketmq = RocketMq::get();
    let (ours, java) = match &rocketmq {
        Ok(rocketmq) => {
            let (ours, java) = tokio::join!(ours, at(Some(rocketmq), client, features));
            (ours, Some(java))
        }
        Err(reason) => {
            skipped(&format!("{client:?} client at Apache RocketMQ"), reason);
            (ours.await, None)
        }
    };
    if let Some(java) = java {
        assert_eq!(ours, java, "left: at our servers, right: at Java's");
    }
    assert_eq!(ours, expected(features));
    println!("{client:?}: {} lines of {}", ours.len(), features.join(", "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn go() {
    let sends = ["send", "oneway", "batch", "delayed", "ordered", "transaction", "request"];
    let consumes = ["broadcast", "pull", "retry"];
    features_are_those_of_java(Client::Go, &[&sends[..], &consumes].concat()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ali_ons() {
    let features = ["send", "delayed", "broadcast", "retry"];
    features_are_those_of_java(Client::AliOns, &features).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn npm_rocketmq() {
    features_are_those_of_java(Client::NpmRocketmq, &["send", "delayed"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pypi_rocketmq() {
    let features = ["send", "oneway", "batch", "delayed", "retry"];
    features_are_those_of_java(Client::PypiRocketmq, &features).await;
}
