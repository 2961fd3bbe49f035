//! What a broker's metrics port answers: figures by the grammar of OpenMetrics, equal to what was sent; health; readiness.

use std::collections::BTreeMap;

use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_store::config::{BrokerRole, FlushDiskType};
use mq_tests::openmetrics::{Figures, parse};
use staticfire_world::disk::{FlushErrorMode, FlushFault};
use staticfire_world::world::{MachineConfig, ProcessContext, ProcessHandle, World, WorldHandle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::cluster::{Broker, Cluster, pull_header, seconds, waiting};
use super::dledger::{group, send_to_master};
use super::offsets::commit;

const METRICS: u16 = 5_557;

/// Somebody who watches, on a machine of his own.
struct Watcher(ProcessHandle);

impl Watcher {
    fn new(world: &WorldHandle) -> Self {
        let machine = world.add_machine("watcher", MachineConfig::default());
        let process = machine.add_process("watcher", |context: ProcessContext| async move {
            context.shutdown.cancelled().await;
        });
        process.start();
        Watcher(process)
    }

    /// Status and body.
    async fn get(&self, broker: &Broker, path: &str) -> (u16, String) {
        let addr = format!("{}:{METRICS}", broker.machine.ip());
        let mut stream = self.0.env().unwrap().net.connect(&addr).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|head| head.get(..3)).unwrap();
        (status.parse().unwrap(), body.to_owned())
    }

    async fn figures(&self, broker: &Broker) -> Figures {
        let (status, text) = self.get(broker, "/metrics").await;
        assert_eq!(status, 200);
        parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }
}

/// The figures named so.
fn assert_figures(figures: &Figures, wanted: &[(&str, f64)]) {
    let named: BTreeMap<&str, Option<f64>> =
        wanted.iter().map(|(name, _)| (*name, figures.get(*name).copied())).collect();
    let wanted = wanted.iter().map(|(name, value)| (*name, Some(*value))).collect();
    assert_eq!(named, wanted, "{figures:#?}");
}

#[test]
fn figures_are_those_of_what_was_sent() {
    World::test(61, async |world| {
        let watcher = Watcher::new(&world);
        let cluster = Cluster::new(world);
        let broker = cluster
            .master(|config, store| {
                config.metrics_listen_port = METRICS;
                store.flush_disk_type = FlushDiskType::SyncFlush;
            })
            .await;
        assert_eq!(watcher.get(&broker, "/health").await.0, 200);
        for (topic, count) in [("T", 5), ("U", 2)] {
            for _ in 0..count {
                cluster.send(&broker.addr, topic, "body").await;
            }
        }
        let pull = pull_header("G", "T", 0);
        let pulled = cluster.call(&broker.addr, RequestCode::PULL_MESSAGE, &pull).await;
        assert_eq!(pulled.code, ResponseCode::SUCCESS);
        // Asks for all five once more.
        assert_eq!(commit(&cluster, &broker.addr, "G", "T", 2).await, ResponseCode::SUCCESS);
        seconds(1).await;

        let figures = watcher.figures(&broker).await;
        let role = "rocketmq_broker_role{cluster=\"DefaultCluster\",broker_name=\"a\",broker_id=\"0\",role=\"ASYNC_MASTER\"}";
        assert_figures(
            &figures,
            &[
                (role, 1.0),
                ("rocketmq_store_put_messages_total", 7.0),
                ("rocketmq_store_put_failed_total", 0.0),
                ("rocketmq_store_put_latency_seconds_count", 7.0),
                ("rocketmq_messages_in_total{topic=\"T\"}", 5.0),
                ("rocketmq_messages_in_total{topic=\"U\"}", 2.0),
                ("rocketmq_messages_out_total{topic=\"T\",consumer_group=\"G\"}", 10.0),
                ("rocketmq_store_get_messages_total", 10.0),
                ("rocketmq_consumer_lag_messages{topic=\"T\",consumer_group=\"G\"}", 3.0),
                ("rocketmq_consumer_lag_rest_messages", 0.0),
                ("rocketmq_series_left_out{family=\"rocketmq_messages_in\"}", 0.0),
                ("rocketmq_storage_flush_behind_bytes", 0.0),
                ("rocketmq_storage_dispatch_behind_bytes", 0.0),
                ("rocketmq_slaves", 0.0),
                ("rocketmq_store_writeable", 1.0),
                ("rocketmq_resource_limit{resource=\"held_pulls\"}", 300_000.0),
                ("rocketmq_resource_used{resource=\"held_pulls\"}", 0.0),
                ("rocketmq_resource_used{resource=\"connections\"}", 1.0),
                ("rocketmq_name_server_registered{address=\"ns:9876\"}", 1.0),
            ],
        );
        let bytes = figures["rocketmq_throughput_in_total{topic=\"T\"}"]
            + figures["rocketmq_throughput_in_total{topic=\"U\"}"];
        assert_eq!(bytes, figures["rocketmq_store_put_bytes_total"]);
        assert_eq!(figures["rocketmq_commitlog_max_offset"], bytes, "nothing else is in the log");
        // Each of them was synced, at times two at once.
        let syncs = figures["rocketmq_store_flush_latency_seconds_count"];
        assert!((1.0..=7.0).contains(&syncs), "{syncs} syncs");

        let waiting = waiting(5, 15_000);
        let held = cluster.call(&broker.addr, RequestCode::PULL_MESSAGE, &waiting);
        let looked = async {
            seconds(1).await;
            watcher.figures(&broker).await
        };
        let (_, figures) = tokio::join!(held, looked);
        assert_figures(&figures, &[("rocketmq_resource_used{resource=\"held_pulls\"}", 1.0)]);
    });
}

#[test]
fn a_slave_is_seen_from_both_sides_and_serves_without_its_master() {
    World::test(62, async |world| {
        let watcher = Watcher::new(&world);
        let cluster = Cluster::new(world);
        let with_metrics = |role| {
            let id = u64::from(role == BrokerRole::Slave);
            cluster.broker("a", id, role, |config, _| config.metrics_listen_port = METRICS)
        };
        let (master, slave) =
            (with_metrics(BrokerRole::SyncMaster), with_metrics(BrokerRole::Slave));
        master.start().await;
        slave.start().await;
        seconds(5).await;
        for _ in 0..4 {
            cluster.send(&master.addr, "T", "body").await;
        }
        let figures = watcher.figures(&master).await;
        let end = figures["rocketmq_commitlog_max_offset"];
        assert_figures(
            &figures,
            &[("rocketmq_replication_latency_seconds_count", 4.0), ("rocketmq_slaves", 1.0)],
        );
        let behind =
            figures.iter().find(|(name, _)| name.starts_with("rocketmq_slave_behind_bytes"));
        assert_eq!(behind.map(|(_, bytes)| *bytes), Some(0.0));
        let of_slave = watcher.figures(&slave).await;
        assert_figures(
            &of_slave,
            &[("rocketmq_slave_following", 1.0), ("rocketmq_commitlog_max_offset", end)],
        );
        let ready = (200, "{\"ok\":true,\"role\":\"SLAVE\",\"reasons\":[]}\n".to_owned());
        assert_eq!(watcher.get(&slave, "/ready").await, ready);
        master.process.kill();
        seconds(60).await;
        assert_figures(&watcher.figures(&slave).await, &[("rocketmq_slave_following", 0.0)]);
        assert_eq!(watcher.get(&slave, "/ready").await, ready);
        cluster.namesrv.kill();
        seconds(60).await;
        let (status, reasons) = watcher.get(&slave, "/ready").await;
        assert!(status == 503 && reasons.contains("not registered at ns:9876"), "{reasons}");
    });
}

#[test]
fn a_broker_whose_disk_fails_to_sync_is_ill() {
    World::test(63, async |world| {
        let watcher = Watcher::new(&world);
        let cluster = Cluster::new(world);
        let broker = cluster.master(|config, _| config.metrics_listen_port = METRICS).await;
        broker.machine.disk().fail_flushes(FlushFault {
            path_contains: "commitlog".to_owned(),
            times: Some(1),
            mode: FlushErrorMode::Clean,
        });
        cluster.send(&broker.addr, "T", "body").await;
        seconds(15).await;
        for path in ["/health", "/ready"] {
            let (status, reasons) = watcher.get(&broker, path).await;
            assert!(status == 503 && reasons.contains("refused to sync"), "{status} {reasons}");
        }
        assert_figures(&watcher.figures(&broker).await, &[("rocketmq_store_writeable", 0.0)]);
    });
}

#[test]
fn who_leads_a_group_is_told_and_who_knows_no_leader_is_not_ready() {
    World::test(64, async |world| {
        let watcher = Watcher::new(&world);
        let cluster = Cluster::new(world);
        let brokers = group(&cluster, |config, _| config.metrics_listen_port = METRICS).await;
        let (_, leader) = send_to_master(&cluster, &brokers).await;
        // The third member was not needed for that, and may hear of its leader later.
        seconds(5).await;
        for (index, broker) in brokers.iter().enumerate() {
            let role = if index == leader { "LEADER" } else { "FOLLOWER" };
            let figures = watcher.figures(broker).await;
            let name = format!(
                "rocketmq_dledger_role{{self_id=\"n{index}\",role=\"{role}\",leader_id=\"n{leader}\"}}"
            );
            assert_figures(&figures, &[(&name, 1.0)]);
            assert!(figures["rocketmq_dledger_term"] >= 1.0, "{figures:?}");
            assert_eq!(watcher.get(broker, "/ready").await.0, 200);
        }
        let survivor = (leader + 1) % 3;
        for (index, broker) in brokers.iter().enumerate() {
            if index != survivor {
                broker.process.kill();
            }
        }
        seconds(60).await;
        let (status, reasons) = watcher.get(&brokers[survivor], "/ready").await;
        assert!(status == 503 && reasons.contains("has no leader"), "{status} {reasons}");
        assert_eq!(watcher.get(&brokers[survivor], "/health").await.0, 200);
    });
}
