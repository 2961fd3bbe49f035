//! `mqload`'s figures are those of the broker.

use std::time::Duration;

use mq_env::Env;
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::header::offset::{OffsetResponseHeader, QueueRequestHeader};
use mq_servers::load::{PullLoad, Report, SendLoad, make_topic, pull, send};
use staticfire_world::world::World;

use super::cluster::{Broker, Cluster, new_machine};

const QUEUES: i32 = 4;

fn sends(connections: usize, in_flight: usize) -> SendLoad {
    SendLoad {
        topic: "Load".to_owned(),
        connections,
        in_flight,
        body_bytes: 100,
        queues: QUEUES,
        warm_up: Duration::ZERO,
        measured: Duration::from_secs(2),
    }
}

async fn pulled(env: &Env, broker: &Broker, connections: usize) -> Report {
    let load = PullLoad { topic: "Load".to_owned(), queues: QUEUES, connections, batch: 10 };
    pull(env, &broker.addr, &load).await.unwrap()
}

async fn stored(cluster: &Cluster, broker: &Broker) -> u64 {
    let mut stored = 0;
    for queue_id in 0..QUEUES {
        let header = QueueRequestHeader { topic: "Load".to_owned(), queue_id };
        let answer = cluster.call(&broker.addr, RequestCode::GET_MAX_OFFSET, &header).await;
        stored += answer.header::<OffsetResponseHeader>().unwrap().offset as u64;
    }
    stored
}

#[test]
fn what_a_load_sends_is_stored_and_pulled() {
    World::test(7, async |world| {
        let cluster = Cluster::new(world.clone());
        let broker = cluster.master(|_, _| {}).await;
        let (_, env) = new_machine(&world, "load");
        make_topic(&env, &broker.addr, "Load", QUEUES).await.unwrap();
        let one = send(&env, &broker.addr, &sends(1, 1)).await.unwrap();
        assert!(one.refused.is_empty(), "{one}");
        let first = stored(&cluster, &broker).await;
        // What is answered after the end counts for nobody.
        assert!(one.messages <= first && first <= one.messages + 1, "{one}, {first} stored");
        let many = send(&env, &broker.addr, &sends(3, 8)).await.unwrap();
        let all = stored(&cluster, &broker).await;
        assert!((many.messages..=many.messages + 24).contains(&(all - first)), "{many}, {all}");
        assert!(many.messages > 3 * one.messages, "{many} beside {one}");
        let each_us = one.took.as_micros() as u64 / one.messages;
        assert!(
            one.latencies.p50_us <= 2 * each_us && each_us <= 2 * one.latencies.p50_us,
            "{one}"
        );
        for connections in [1, 3, 100] {
            assert_eq!(pulled(&env, &broker, connections).await.messages, all);
        }
    });
}

#[test]
fn refusals_are_counted_by_code_and_silence_is_an_error() {
    World::test(8, async |world| {
        let cluster = Cluster::new(world.clone());
        let broker = cluster.master(|config, _| config.auto_create_topic_enable = false).await;
        let (_, env) = new_machine(&world, "load");
        let report = send(&env, &broker.addr, &sends(1, 2)).await.unwrap();
        let codes: Vec<i64> = report.refused.keys().copied().collect();
        assert_eq!((report.messages, codes), (0, vec![i64::from(ResponseCode::TOPIC_NOT_EXIST)]));
        broker.machine.power_loss_worst();
        let error = send(&env, &broker.addr, &sends(1, 2)).await.unwrap_err();
        assert!(error.to_string().contains(&broker.addr), "{error}");
    });
}
