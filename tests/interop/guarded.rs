//! Brokers with access control, and clients that sign, with good and with wrong credentials.

use mq_client::SessionCredentials;
use mq_tests::peers::Cluster;
use mq_tests::rocketmq::RocketMq;
use mq_tests::skip::skipped;

use crate::clients::Client;
use crate::seen::{expected, seen};
use crate::{SETTINGS, create_topics, start};

const ACCOUNTS: &str = "accounts:\n\
- accessKey: member1\n  secretKey: 12345678\n  defaultTopicPerm: PUB|SUB\n  defaultGroupPerm: PUB|SUB\n\
- accessKey: reader1\n  secretKey: 12345678\n  defaultTopicPerm: SUB\n  defaultGroupPerm: SUB\n";

/// The features that clients do with an account, and without one.
const FEATURES: [&str; 2] = ["send", "denied"];

/// Wrong credentials, and what a client is told that uses them.
const WRONG: [(&str, &str, &str); 3] = [
    ("member1", "87654321", "Check signature failed for accessKey=member1"),
    ("nobody1", "12345678", "No acl config for nobody1"),
    ("reader1", "12345678", "No default permission for topic:T-denied"),
];

/// Asserts what `client` sees at servers of Java's, or ours.
async fn at(rocketmq: Option<&RocketMq>, client: Client) {
    let mut cluster = Cluster::of(rocketmq, &SETTINGS).await;
    create_topics(&cluster, &FEATURES).await;
    let own = SessionCredentials {
        access_key: "member1".to_owned(),
        secret_key: "12345678".to_owned(),
        security_token: None,
    };
    cluster.guard(ACCOUNTS, own).await;
    let keys = |access_key: &str, secret_key: &str| {
        [format!("access_key={access_key}"), format!("secret_key={secret_key}")]
    };
    let mut peer = start(&cluster, client, &["send"], &keys("member1", "12345678"));
    peer.leave().await;
    assert_eq!(seen(&peer), expected(&["send"]));
    for (access_key, secret_key, why) in WRONG {
        let mut peer = start(&cluster, client, &["denied"], &keys(access_key, secret_key));
        peer.leave().await;
        let (sent, errors) = (peer.said_of("sent"), peer.said_of("error"));
        assert!(sent.is_empty() && !errors.is_empty(), "{:?}", peer.said());
        // The others tell that it failed, not what the broker said.
        let says_why =
            client != Client::Go || errors.iter().any(|said| said.fields[1].contains(why));
        assert!(says_why, "{why}: {errors:?}");
    }
    cluster.stop().await;
}

async fn credentials_are_looked_at(client: Client) {
    if let Err(reason) = client.get() {
        return skipped(&format!("{client:?} client that signs"), &reason);
    }
    match RocketMq::get() {
        Ok(rocketmq) => {
            tokio::join!(at(None, client), at(Some(&rocketmq), client));
        }
        Err(reason) => {
            skipped(&format!("{client:?} client that signs at Apache RocketMQ"), reason);
            at(None, client).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn go_signs() {
    credentials_are_looked_at(Client::Go).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ali_ons_signs() {
    credentials_are_looked_at(Client::AliOns).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pypi_rocketmq_signs() {
    credentials_are_looked_at(Client::PypiRocketmq).await;
}
