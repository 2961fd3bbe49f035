//! Brokers that become master and slave while they run.

use std::sync::{Arc, Mutex};

use mq_broker::{BrokerController, RoleError};
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::message_codec::decode_messages;
use mq_store::config::BrokerRole;
use staticfire_world::world::{ProcessContext, World};
use tokio::time::Instant;

use super::cluster::{Broker, Cluster, pull_header, seconds, send_header, send_request, waiting};
use super::offsets::{commit, query};

/// The controllers of brokers that run, for the test to speak to.
type Running = Arc<Mutex<Option<Arc<BrokerController>>>>;

/// Has the broker show its controller from its next start on.
fn show(broker: &Broker) -> Running {
    let (config, store_config) = broker.settings();
    let running = Running::default();
    let shown = Arc::clone(&running);
    broker.process.set_main(move |context: ProcessContext| {
        let (config, store_config) = (config.clone(), store_config.clone());
        let shown = Arc::clone(&shown);
        async move {
            let broker = BrokerController::start(context.env, config, store_config).await?;
            *shown.lock().unwrap() = Some(Arc::clone(&broker));
            context.shutdown.cancelled().await;
            shown.lock().unwrap().take();
            broker.shutdown().await;
            Ok::<(), mq_broker::BrokerError>(())
        }
    });
    running
}

fn controller(running: &Running) -> Arc<BrokerController> {
    running.lock().unwrap().clone().unwrap()
}

async fn bodies(cluster: &Cluster, broker: &Broker) -> usize {
    let header = pull_header("reader", "T", 0);
    let response = cluster.call(&broker.addr, RequestCode::PULL_MESSAGE, &header).await;
    decode_messages(&response.body).len()
}

#[test]
fn master_and_slave_change_places_while_they_run() {
    World::test(21, async |world| {
        let cluster = Cluster::new(world);
        let master = cluster.broker("a", 0, BrokerRole::AsyncMaster, |_, _| {});
        let slave = cluster.broker("a", 1, BrokerRole::Slave, |_, _| {});
        let (old, new) = (show(&master), show(&slave));
        master.start().await;
        slave.start().await;
        for _ in 0..3 {
            cluster.send(&master.addr, "T", "body").await;
        }
        commit(&cluster, &master.addr, "G", "T", 2).await;
        seconds(15).await;

        let (old, new) = (controller(&old), controller(&new));
        let refused = new.change_role(BrokerRole::AsyncMaster, 1).await;
        assert!(matches!(refused, Err(RoleError::BrokerId { broker_id: 1, .. })), "{refused:?}");
        old.change_role(BrokerRole::Slave, 1).await.unwrap();
        let refused = cluster.ask(&master.addr, send_request(&send_header("T"), "body")).await;
        assert_eq!(refused.code, ResponseCode::SERVICE_NOT_AVAILABLE);
        new.change_role(BrokerRole::AsyncMaster, 0).await.unwrap();
        assert_eq!(cluster.send(&slave.addr, "T", "body").await, 3);
        assert_eq!(query(&cluster, &slave.addr, "G", "T").await, Some(2));

        // The old master finds the new one by the name servers, and copies messages and tables.
        seconds(15).await;
        assert!(old.ha().is_following(), "{:?}", old.ha().refusal());
        assert_eq!(old.master_addr().as_deref(), Some(&*slave.addr));
        cluster.send(&slave.addr, "T", "body").await;
        commit(&cluster, &slave.addr, "G", "T", 4).await;
        seconds(15).await;
        assert_eq!(bodies(&cluster, &master).await, 5);
        assert_eq!(query(&cluster, &master.addr, "G", "T").await, Some(4));
        drop((old, new));
    });
}

#[test]
fn a_pull_that_a_slave_holds_hears_of_what_came_while_it_became_master() {
    World::test(22, async |world| {
        let cluster = Cluster::new(world);
        let master = cluster.master(|_, _| {}).await;
        let slave = cluster.broker("a", 1, BrokerRole::Slave, |_, _| {});
        let running = show(&slave);
        slave.start().await;
        cluster.send(&master.addr, "T", "body").await;
        seconds(15).await;
        let held = waiting(1, 15_000);
        let begin = Instant::now();
        let promoting = async {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            cluster.send(&master.addr, "T", "body").await;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            let slave = controller(&running);
            slave.change_role(BrokerRole::AsyncMaster, 0).await.unwrap();
        };
        let pulling = cluster.call(&slave.addr, RequestCode::PULL_MESSAGE, &held);
        let (response, ()) = tokio::join!(pulling, promoting);
        assert_eq!(response.code, ResponseCode::SUCCESS);
        let waited_ms = begin.elapsed().as_millis();
        assert!(waited_ms < 1_000, "{waited_ms} ms");
    });
}

#[test]
fn delayed_messages_fall_due_on_a_new_master_and_not_on_a_new_slave() {
    World::test(23, async |world| {
        let cluster = Cluster::new(world);
        let master = cluster.broker("a", 0, BrokerRole::AsyncMaster, |_, _| {});
        let slave = cluster.broker("a", 1, BrokerRole::Slave, |_, _| {});
        let (old, new) = (show(&master), show(&slave));
        master.start().await;
        slave.start().await;
        seconds(5).await;
        let mut header = send_header("T");
        // Level 4: thirty seconds.
        header.properties = Some("DELAY\u{1}4\u{2}".to_owned());
        let sent = cluster.ask(&master.addr, send_request(&header, "body")).await;
        assert_eq!(sent.code, ResponseCode::SUCCESS, "{:?}", sent.remark);
        seconds(10).await;
        controller(&old).change_role(BrokerRole::Slave, 1).await.unwrap();
        controller(&new).change_role(BrokerRole::AsyncMaster, 0).await.unwrap();
        assert_eq!(bodies(&cluster, &slave).await, 0);
        seconds(40).await;
        assert_eq!(bodies(&cluster, &slave).await, 1);
        assert_eq!(bodies(&cluster, &master).await, 1, "by replication, once");
    });
}
