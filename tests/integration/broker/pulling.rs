//! Pulls: filters, long polling, and what is refused.

use std::time::Duration;

use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::header::pull_message::{PullMessageRequestHeader, PullMessageResponseHeader};
use mq_protocol::header::send_message::SendMessageRequestHeader;
use mq_protocol::message_codec::decode_messages;
use mq_protocol::remoting_command::RemotingCommand;
use mq_protocol::sys_flag::PullSysFlag;
use mq_store::config::UpstreamSwitch;
use staticfire_world::world::World;
use tokio::time::Instant;

use super::cluster::{Broker, Cluster, pull_header, send_header, send_request, waiting};

async fn pull(
    cluster: &Cluster,
    broker: &Broker,
    header: &PullMessageRequestHeader,
) -> RemotingCommand {
    cluster.call(&broker.addr, RequestCode::PULL_MESSAGE, header).await
}

async fn send_tagged(cluster: &Cluster, broker: &Broker, tag: &str) {
    let properties = Some(format!("TAGS\u{1}{tag}\u{2}"));
    let header = SendMessageRequestHeader { properties, ..send_header("T") };
    let response = cluster.ask(&broker.addr, send_request(&header, "body")).await;
    assert_eq!(response.code, ResponseCode::SUCCESS);
}

#[test]
fn a_held_pull_is_answered_when_a_message_arrives() {
    World::test(1, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        cluster.send(&broker.addr, "T", "one").await;
        let begin = Instant::now();
        let sending = async {
            tokio::time::sleep(Duration::from_secs(7)).await;
            cluster.send(&broker.addr, "T", "two").await;
        };
        let header = waiting(1, 15_000);
        let (response, ()) = tokio::join!(pull(&cluster, &broker, &header), sending);
        assert_eq!((response.code, response.remark.as_deref()), (0, Some("FOUND")));
        assert_eq!(decode_messages(&response.body)[0].message.body, "two");
        let waited = begin.elapsed();
        assert!(waited >= Duration::from_secs(7), "{waited:?}");
        assert!(waited < Duration::from_millis(7_100), "{waited:?}");
    });
}

#[test]
fn a_held_pull_is_answered_when_its_time_is_over() {
    World::test(2, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        send_tagged(&cluster, &broker, "A").await;
        let begin = Instant::now();
        // A message that is not wanted does not wake it, but moves it on.
        let header =
            PullMessageRequestHeader { subscription: Some("B".to_owned()), ..waiting(1, 15_000) };
        let sending = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            send_tagged(&cluster, &broker, "A").await;
        };
        let (response, ()) = tokio::join!(pull(&cluster, &broker, &header), sending);
        assert_eq!(response.code, ResponseCode::PULL_RETRY_IMMEDIATELY);
        let header: PullMessageResponseHeader = response.header().unwrap();
        assert_eq!((header.next_begin_offset, header.max_offset), (2, 2));
        let waited = begin.elapsed();
        assert!((15_000..15_100).contains(&waited.as_millis()), "{waited:?}");

        let begin = Instant::now();
        let response = pull(&cluster, &broker, &waiting(2, 3_000)).await;
        assert_eq!(response.code, ResponseCode::PULL_NOT_FOUND);
        let waited = begin.elapsed();
        assert!((3_000..3_100).contains(&waited.as_millis()), "{waited:?}");
    });
}

#[test]
fn tags_are_filtered_by_the_broker() {
    World::test(3, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        for tag in ["A", "B", "C", "A"] {
            send_tagged(&cluster, &broker, tag).await;
        }
        let header = PullMessageRequestHeader {
            subscription: Some("A || C".to_owned()),
            ..pull_header("G", "T", 0)
        };
        let response = pull(&cluster, &broker, &header).await;
        let offsets: Vec<_> =
            decode_messages(&response.body).iter().map(|it| it.queue_offset).collect();
        assert_eq!(offsets, [0, 2, 3]);
        let sql = PullMessageRequestHeader {
            expression_type: Some("SQL92".to_owned()),
            subscription: Some("a > 1".to_owned()),
            ..header
        };
        assert_eq!(pull(&cluster, &broker, &sql).await.code, ResponseCode::SYSTEM_ERROR);
    });
}

#[test]
fn only_the_main_port_serves_pulls_and_lite_pulls() {
    World::test(4, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        cluster.send(&broker.fast_addr, "T", "one").await;
        let header = pull_header("G", "T", 0);
        for code in [RequestCode::PULL_MESSAGE, RequestCode::LITE_PULL_MESSAGE] {
            let response = cluster.call(&broker.addr, code, &header).await;
            assert_eq!(response.code, ResponseCode::SUCCESS);
            let response = cluster.call(&broker.fast_addr, code, &header).await;
            assert_eq!(response.code, ResponseCode::REQUEST_CODE_NOT_SUPPORTED);
        }
    });
}

#[test]
fn a_pull_commits_the_offset_that_it_carries() {
    World::test(5, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        cluster.send(&broker.addr, "T", "one").await;
        let header = |commit_offset, commits: bool| PullMessageRequestHeader {
            sys_flag: PullSysFlag::SUBSCRIPTION | i32::from(commits),
            commit_offset,
            ..pull_header("G", "T", 0)
        };
        let committed = async || super::offsets::query(&cluster, &broker.addr, "G", "T").await;
        pull(&cluster, &broker, &header(1, false)).await;
        assert_eq!(committed().await, Some(0), "nothing is committed, the queue begins at 0");
        pull(&cluster, &broker, &header(1, true)).await;
        assert_eq!(committed().await, Some(1));
        assert_eq!(pull(&cluster, &broker, &header(2, true)).await.code, ResponseCode::SUCCESS);
        assert_eq!(committed().await, Some(1), "nothing lies below 2 yet");
    });
}

#[test]
fn without_long_polling_a_pull_waits_for_the_short_time() {
    World::test(6, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|config, store| {
            config.long_polling_enable = false;
            store.upstream.insert(UpstreamSwitch::OffsetsBeyondEnd);
        });
        let broker = broker.await;
        cluster.send(&broker.addr, "T", "one").await;
        let begin = Instant::now();
        let response = pull(&cluster, &broker, &waiting(1, 15_000)).await;
        assert_eq!(response.code, ResponseCode::PULL_NOT_FOUND);
        assert!((1_000..1_100).contains(&begin.elapsed().as_millis()));
    });
}
