//! SYSTEM_BUSY: what waits for its turn is refused and not stored, what has begun is neither cut short nor refused.

use futures::future::join_all;
use mq_protocol::codes::ResponseCode;
use mq_protocol::remoting_command::RemotingCommand;
use staticfire_world::world::World;

use super::cluster::{Broker, Cluster, send_header, send_request};
use super::transactions::read;

/// Sends so many messages at once to a topic that is not there yet.
async fn burst(
    cluster: &Cluster,
    broker: &Broker,
    topic: &str,
    count: usize,
) -> Vec<RemotingCommand> {
    let send = |_| cluster.ask(&broker.addr, send_request(&send_header(topic), "body"));
    join_all((0..count).map(send)).await
}

fn with_code(answers: &[RemotingCommand], code: i32) -> Vec<&str> {
    let answers = answers.iter().filter(|answer| answer.code == code);
    answers.map(|answer| answer.remark.as_deref().unwrap_or_default()).collect()
}

#[test]
fn who_waits_for_a_slow_disk_is_refused_and_not_stored() {
    World::test(1, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        broker.machine.disk().set_latency_scale(200.0);
        let answers = burst(&cluster, &broker, "N", 12).await;
        let refused = with_code(&answers, ResponseCode::SYSTEM_BUSY);
        assert_eq!(with_code(&answers, ResponseCode::SUCCESS).len(), 4, "they had begun");
        assert_eq!(refused.len(), 8);
        for (index, remark) in refused.into_iter().enumerate() {
            let words = "[TIMEOUT_CLEAN_QUEUE]broker busy, start flow control for a while, \
                         period in queue: 200ms, size of queue: ";
            assert_eq!(remark, format!("{words}{}", 7 - index));
        }
        assert_eq!(read(&cluster, &broker, "N", 0).await.len(), 4);
        // The topic is there: nothing waits.
        let answers = burst(&cluster, &broker, "N", 12).await;
        assert_eq!(with_code(&answers, ResponseCode::SUCCESS).len(), 12);
    });
}

#[test]
fn without_fast_failure_only_a_full_queue_refuses() {
    World::test(2, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster
            .master(|config, _| {
                config.broker_fast_failure_enable = false;
                config.send_thread_pool_queue_capacity = 5;
            })
            .await;
        broker.machine.disk().set_latency_scale(200.0);
        let answers = burst(&cluster, &broker, "N", 12).await;
        let overload = "[OVERLOAD]system busy, start flow control for a while";
        assert_eq!(with_code(&answers, ResponseCode::SYSTEM_BUSY), [overload; 3]);
        assert_eq!(read(&cluster, &broker, "N", 0).await.len(), 9);
    });
}
