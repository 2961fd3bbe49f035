//! How far a group has come (208).

use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::header::admin::GetConsumeStatsRequestHeader;
use staticfire_world::world::World;

use super::cluster::Cluster;
use super::offsets::commit;
use super::transactions::read;

#[test]
fn a_groups_progress_is_told_queue_by_queue() {
    World::test(1, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        cluster.create_topic(&broker, "T").await;
        cluster.create_topic(&broker, "U").await;
        for _ in 0..3 {
            cluster.send(&broker.addr, "T", "body").await;
        }
        assert_eq!(commit(&cluster, &broker.addr, "G", "T", 2).await, ResponseCode::SUCCESS);
        let ask = async |group: &str, topic: Option<&str>| {
            let header = GetConsumeStatsRequestHeader {
                consumer_group: group.to_owned(),
                topic: topic.map(str::to_owned),
            };
            let answer = cluster.call(&broker.addr, RequestCode::GET_CONSUME_STATS, &header).await;
            assert_eq!(answer.code, ResponseCode::SUCCESS);
            String::from_utf8(answer.body.to_vec()).unwrap()
        };
        let progress = |topic: &str, queue_id: u32, end: u32, consumed: u32, stored_ms: i64| {
            let name = broker.settings().0.broker_name;
            format!(
                "{{\"brokerName\":\"{name}\",\"queueId\":{queue_id},\"topic\":\"{topic}\"}}:\
                 {{\"brokerOffset\":{end},\"consumerOffset\":{consumed},\
                 \"lastTimestamp\":{stored_ms}}}"
            )
        };
        let table = |rows: &[String]| {
            format!("{{\"consumeTps\":0.0,\"offsetTable\":{{{}}}}}", rows.join(","))
        };
        let stored_ms = read(&cluster, &broker, "T", 0).await[1].store_timestamp;
        let mut of_t = vec![progress("T", 0, 3, 2, stored_ms)];
        of_t.extend((1..4).map(|queue_id| progress("T", queue_id, 0, 0, 0)));
        assert_eq!(ask("G", None).await, table(&of_t));
        assert_eq!(ask("G", Some("T")).await, table(&of_t));
        let of_u: Vec<_> = (0..4).map(|queue_id| progress("U", queue_id, 0, 0, 0)).collect();
        assert_eq!(ask("G", Some("U")).await, table(&of_u), "asked for, whoever reads it");
        assert_eq!(ask("nobody", None).await, table(&[]));
        assert_eq!(ask("G", Some("no such topic")).await, table(&[]));
    });
}
