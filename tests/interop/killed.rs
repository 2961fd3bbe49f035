//! Our broker is killed and started again while a client sends and consumes.

use std::collections::BTreeSet;

use mq_tests::peers::{Cluster, Peer, Said};
use mq_tests::skip::skipped;

use crate::clients::Client;
use crate::{SETTINGS, create_topics, start};

/// Messages acknowledged before the broker is killed, and after it is there again.
const SENT_BETWEEN: usize = 100;

const KILLS: usize = 2;

fn acknowledged(peer: &Peer) -> BTreeSet<String> {
    let sent = peer.said_of("sent").into_iter();
    sent.filter(|said| said.fields[2] == "SEND_OK").map(|said| said.fields[1].clone()).collect()
}

async fn until_more_is_acknowledged(peer: &mut Peer) {
    let enough = acknowledged(peer).len() + SENT_BETWEEN;
    peer.until("acknowledged", |peer| acknowledged(peer).len() >= enough).await;
}

async fn what_was_acknowledged_is_given(client: Client) {
    if let Err(reason) = client.get() {
        return skipped(&format!("{client:?} client at a broker that is killed"), &reason);
    }
    let mut cluster = Cluster::of(None, &SETTINGS).await;
    create_topics(&cluster, &["hold"]).await;
    let mut peer = start(&cluster, client, &["hold"], &[]);
    until_more_is_acknowledged(&mut peer).await;
    for _ in 0..KILLS {
        cluster.kill_and_restart().await;
        until_more_is_acknowledged(&mut peer).await;
    }
    let given = |peer: &Peer| -> BTreeSet<String> {
        peer.said_of("got").iter().map(|said: &Said| said.fields[1].clone()).collect()
    };
    peer.leave().await;
    let (acknowledged, given) = (acknowledged(&peer), given(&peer));
    let missing: Vec<&String> = acknowledged.difference(&given).collect();
    assert!(missing.is_empty(), "acknowledged, never given: {missing:?}");
    let failed = peer.said_of("error").len();
    let (acknowledged, given) = (acknowledged.len(), given.len());
    println!(
        "{client:?}: {KILLS} kills, {acknowledged} acknowledged, {given} given, {failed} failed"
    );
    drop(peer);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn go_is_given_what_a_killed_broker_acknowledged() {
    what_was_acknowledged_is_given(Client::Go).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ali_ons_is_given_what_a_killed_broker_acknowledged() {
    what_was_acknowledged_is_given(Client::AliOns).await;
}
