//! How brokers come and go.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use mq_broker::{BrokerController, BrokerError};
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::header::namesrv::GetRouteInfoRequestHeader;
use mq_protocol::remoting_command::RemotingCommand;
use mq_store::MessageStore;
use mq_store::config::BrokerRole;
use staticfire_world::trace::TraceEvent;
use staticfire_world::world::{ProcessStatus, World};

use super::cluster::{Cluster, NAMESRV, seconds, waiting};

#[test]
fn a_killed_broker_leaves_no_memory_behind() {
    World::test(1, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.broker("a", 0, BrokerRole::AsyncMaster, |_, _| {});
        let store: Rc<RefCell<Weak<MessageStore>>> = Rc::default();
        let (kept, settings) = (Rc::clone(&store), broker.settings());
        broker.process.set_main(move |context| {
            let (kept, (config, store_config)) = (Rc::clone(&kept), settings.clone());
            async move {
                let broker = BrokerController::start(context.env, config, store_config).await?;
                *kept.borrow_mut() = Arc::downgrade(broker.store());
                context.shutdown.cancelled().await;
                broker.shutdown().await;
                Ok::<(), BrokerError>(())
            }
        });
        broker.start().await;
        let slave = cluster.slave().await;
        cluster.send(&broker.addr, "T", "body").await;
        let held = RemotingCommand::request(RequestCode::PULL_MESSAGE, &waiting(1, 15_000));
        cluster.client.invoke_oneway(&broker.addr, held).unwrap();
        seconds(5).await;
        assert!(store.borrow().upgrade().is_some());
        broker.process.kill();
        assert!(store.borrow().upgrade().is_none());
        slave.process.kill();
    });
}

#[test]
fn a_broker_that_stops_takes_itself_out_of_the_routes() {
    World::test(2, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        cluster.send(&broker.addr, "T", "body").await;
        let route =
            GetRouteInfoRequestHeader { topic: "T".to_owned(), accept_standard_json_only: None };
        let code = RequestCode::GET_ROUTEINFO_BY_TOPIC;
        assert_eq!(cluster.call(NAMESRV, code, &route).await.code, ResponseCode::SUCCESS);
        broker.stop().await;
        assert_eq!(broker.process.status(), ProcessStatus::Exited(Ok(())));
        assert_eq!(cluster.call(NAMESRV, code, &route).await.code, ResponseCode::TOPIC_NOT_EXIST);
        let steps = cluster.events(|event| match event {
            TraceEvent::Life { what } => Some(what.to_string()),
            _ => None,
        });
        assert_eq!(steps[2..], ["starting", "serving", "stopping", "stopped"]);
    });
}

#[test]
fn a_second_broker_on_the_same_store_does_not_start() {
    World::test(3, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        let (mut config, store_config) = broker.settings();
        config.listen_port += 100;
        let second = broker.machine.add_process("second", move |context| {
            let (config, store_config) = (config.clone(), store_config.clone());
            async move {
                BrokerController::start(context.env, config, store_config).await.map(drop)
            }
        });
        second.start();
        let status = second.ended().await;
        assert_eq!(status, ProcessStatus::Exited(Err("Lock failed,MQ already started".into())));
        cluster.send(&broker.addr, "T", "body").await;
    });
}

#[test]
fn without_a_name_server_a_broker_serves_all_the_same() {
    World::test(4, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster
            .master(|config, _| config.namesrv_addrs = vec!["nowhere:9876".to_owned()])
            .await;
        cluster.send(&broker.addr, "T", "body").await;
        seconds(120).await;
        let routes = cluster.events(|event| match event {
            TraceEvent::Route { what } => Some(what.to_string()),
            _ => None,
        });
        // Said once, not every thirty seconds.
        assert_eq!(routes.len(), 1, "{routes:?}");
        assert!(routes[0].starts_with("not registered at nowhere:9876"), "{routes:?}");
    });
}

#[test]
fn a_name_server_that_comes_back_blank_is_told_everything_again() {
    for force_register in [true, false] {
        World::test(5, async |world| {
            let cluster = Cluster::new(world);
            let broker = cluster.master(|config, _| config.force_register = force_register).await;
            cluster.send(&broker.addr, "T", "body").await;
            seconds(60).await;
            cluster.namesrv.restart();
            let route = GetRouteInfoRequestHeader {
                topic: "T".to_owned(),
                accept_standard_json_only: None,
            };
            let code = RequestCode::GET_ROUTEINFO_BY_TOPIC;
            seconds(1).await;
            assert_eq!(
                cluster.call(NAMESRV, code, &route).await.code,
                ResponseCode::TOPIC_NOT_EXIST
            );
            seconds(30).await;
            assert_eq!(cluster.call(NAMESRV, code, &route).await.code, ResponseCode::SUCCESS);
        });
    }
}
