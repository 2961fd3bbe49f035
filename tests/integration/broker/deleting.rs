//! Topics and consumer groups that an operator deletes (215, 207).

use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::header::admin::DeleteSubscriptionGroupRequestHeader;
use mq_protocol::header::namesrv::DeleteTopicRequestHeader;
use mq_protocol::message_codec::decode_messages;
use mq_protocol::remoting_command::RemotingCommand;
use mq_protocol::sys_flag::MessageSysFlag;
use mq_protocol::topic_deletion::{DELETION_SYS_FLAG, deletion_properties};
use mq_store::config::{BrokerRole, StoreConfig};
use staticfire_world::world::World;

use super::cluster::{Broker, Cluster, pull_header, seconds, send_header, send_request, waiting};
use super::offsets::{commit, query};

const SLAVE_REMARK: &str = "Can't modify topic or subscription group from slave broker, please execute it from master broker.";

async fn delete_topic(cluster: &Cluster, broker: &Broker, topic: &str) -> RemotingCommand {
    let header = DeleteTopicRequestHeader { topic: topic.to_owned(), cluster_name: None };
    cluster.call(&broker.addr, RequestCode::DELETE_TOPIC_IN_BROKER, &header).await
}

async fn delete_group(cluster: &Cluster, broker: &Broker, remove_offset: bool) -> i32 {
    let header = DeleteSubscriptionGroupRequestHeader { group_name: "G".to_owned(), remove_offset };
    cluster.call(&broker.addr, RequestCode::DELETE_SUBSCRIPTIONGROUP, &header).await.code
}

/// The code of a pull of queue 0 from its begin on, and how many messages came.
async fn pull(cluster: &Cluster, broker: &Broker, topic: &str) -> (i32, usize) {
    let header = pull_header("G", topic, 0);
    let response = cluster.call(&broker.addr, RequestCode::PULL_MESSAGE, &header).await;
    (response.code, decode_messages(&response.body).len())
}

fn by_hand(config: &mut mq_broker::config::BrokerConfig, _: &mut StoreConfig) {
    config.auto_create_topic_enable = false;
}

#[test]
fn a_deleted_topic_is_gone_with_its_queues_and_offsets_and_stays_so() {
    World::test(1, async |world| {
        let cluster = Cluster::new(world);
        let master = cluster.master(by_hand).await;
        for topic in ["T", "U"] {
            cluster.create_topic(&master, topic).await;
            for _ in 0..5 {
                cluster.send(&master.addr, topic, "body").await;
            }
            commit(&cluster, &master.addr, "G", topic, 4).await;
        }
        let deleted = delete_topic(&cluster, &master, "T").await;
        assert_eq!((deleted.code, deleted.remark), (ResponseCode::SUCCESS, None));
        assert_eq!(pull(&cluster, &master, "T").await, (ResponseCode::TOPIC_NOT_EXIST, 0));
        // Nothing is committed: there is nothing that a group could begin behind.
        assert_eq!(query(&cluster, &master.addr, "G", "T").await, Some(0));
        let refused = cluster.ask(&master.addr, send_request(&send_header("T"), "body")).await;
        assert_eq!(refused.code, ResponseCode::TOPIC_NOT_EXIST);
        cluster.power_cycle(&master);
        master.start().await;
        assert_eq!(pull(&cluster, &master, "T").await, (ResponseCode::TOPIC_NOT_EXIST, 0));
        // Nothing is committed: there is nothing that a group could begin behind.
        assert_eq!(query(&cluster, &master.addr, "G", "T").await, Some(0));

        cluster.create_topic(&master, "T").await;
        assert_eq!(cluster.send(&master.addr, "T", "anew").await, 0);
        assert_eq!(cluster.send(&master.addr, "T", "anew").await, 1);
        assert_eq!(pull(&cluster, &master, "T").await, (ResponseCode::SUCCESS, 2));
        master.stop().await;
        master.start().await;
        assert_eq!(pull(&cluster, &master, "T").await, (ResponseCode::SUCCESS, 2));
        assert_eq!(pull(&cluster, &master, "U").await, (ResponseCode::SUCCESS, 5));
        assert_eq!(query(&cluster, &master.addr, "G", "U").await, Some(4));
        assert_eq!(delete_topic(&cluster, &master, "none").await.code, ResponseCode::SUCCESS);
    });
}

#[test]
fn topics_of_the_system_and_of_a_slave_are_not_deleted() {
    World::test(2, async |world| {
        let cluster = Cluster::new(world);
        let master = cluster.master(|_, _| {}).await;
        let slave = cluster.slave().await;
        for topic in ["SCHEDULE_TOPIC_XXXX", "TBW102", "RMQ_SYS_TRANS_HALF_TOPIC", "a"] {
            let refused = delete_topic(&cluster, &master, topic).await;
            let remark = format!("The topic[{topic}] is conflict with system topic.");
            assert_eq!((refused.code, refused.remark), (ResponseCode::SYSTEM_ERROR, Some(remark)));
        }
        assert_eq!(delete_topic(&cluster, &master, "a b").await.code, ResponseCode::SYSTEM_ERROR);
        let refused = delete_topic(&cluster, &slave, "T").await;
        assert_eq!(refused.code, ResponseCode::SYSTEM_ERROR);
        assert_eq!(refused.remark.as_deref(), Some(SLAVE_REMARK));
        assert_eq!(delete_group(&cluster, &slave, true).await, ResponseCode::SYSTEM_ERROR);
    });
}

#[test]
fn a_slave_that_becomes_master_has_nothing_of_a_deleted_topic() {
    World::test(3, async |world| {
        let cluster = Cluster::new(world);
        let master = cluster.master(by_hand).await;
        let mut slave = cluster.broker("a", 1, BrokerRole::Slave, by_hand);
        slave.start().await;
        cluster.create_topic(&master, "T").await;
        for _ in 0..5 {
            cluster.send(&master.addr, "T", "body").await;
        }
        commit(&cluster, &master.addr, "G", "T", 4).await;
        seconds(15).await;
        assert_eq!(query(&cluster, &slave.addr, "G", "T").await, Some(4));
        assert_eq!(pull(&cluster, &slave, "T").await, (ResponseCode::SUCCESS, 5));
        assert_eq!(delete_topic(&cluster, &master, "T").await.code, ResponseCode::SUCCESS);
        seconds(1).await;
        // The table of topics is copied every ten seconds; queues and offsets go with the log.
        assert_eq!(pull(&cluster, &slave, "T").await.1, 0);
        assert_eq!(query(&cluster, &slave.addr, "G", "T").await, Some(0));
        // T was the only topic of any user but the group's retry topic.
        seconds(12).await;
        assert_eq!(pull(&cluster, &slave, "T").await, (ResponseCode::TOPIC_NOT_EXIST, 0));
        master.machine.power_loss_worst();
        slave.stop().await;
        slave.edit(|config, store| {
            config.broker_id = 0;
            store.broker_role = BrokerRole::AsyncMaster;
        });
        slave.start().await;
        assert_eq!(pull(&cluster, &slave, "T").await, (ResponseCode::TOPIC_NOT_EXIST, 0));
    });
}

#[test]
fn a_deleted_group_keeps_or_loses_what_it_had_committed() {
    World::test(4, async |world| {
        let cluster = Cluster::new(world);
        let master = cluster.master(|_, _| {}).await;
        let slave = cluster.slave().await;
        for _ in 0..5 {
            cluster.send(&master.addr, "T", "body").await;
        }
        commit(&cluster, &master.addr, "G", "T", 4).await;
        seconds(15).await;
        assert_eq!(delete_group(&cluster, &master, false).await, ResponseCode::SUCCESS);
        assert_eq!(query(&cluster, &master.addr, "G", "T").await, Some(4));
        assert_eq!(delete_group(&cluster, &master, true).await, ResponseCode::SUCCESS);
        assert_eq!(query(&cluster, &slave.addr, "G", "T").await, Some(4));
        seconds(12).await;
        // Nobody has committed: the messages begin the queue, so that a new group begins there.
        assert_eq!(query(&cluster, &master.addr, "G", "T").await, Some(0));
        assert_eq!(query(&cluster, &slave.addr, "G", "T").await, Some(0));
    });
}

/// A member that waits makes its group again as one that asks does: it is not sent away.
#[test]
fn who_waits_when_a_group_is_deleted_is_given_what_comes() {
    World::test(6, async |world| {
        let cluster = Cluster::new(world);
        let master = cluster.master(|_, _| {}).await;
        cluster.send(&master.addr, "T", "one").await;
        let meanwhile = async {
            seconds(3).await;
            assert_eq!(delete_group(&cluster, &master, true).await, ResponseCode::SUCCESS);
            cluster.send(&master.addr, "T", "two").await;
        };
        let header = waiting(1, 15_000);
        let held = cluster.call(&master.addr, RequestCode::PULL_MESSAGE, &header);
        let (response, ()) = tokio::join!(held, meanwhile);
        assert_eq!((response.code, response.remark.as_deref()), (0, Some("FOUND")));
        assert_eq!(decode_messages(&response.body)[0].message.body, "two");
    });
}

#[test]
fn no_producer_deletes_a_topic_by_what_it_writes_on_a_message() {
    World::test(5, async |world| {
        let cluster = Cluster::new(world);
        let master = cluster.master(|_, _| {}).await;
        cluster.send(&master.addr, "T", "body").await;
        let mut header = send_header("T");
        header.sys_flag = DELETION_SYS_FLAG;
        header.properties = Some(deletion_properties());
        let refused = cluster.ask(&master.addr, send_request(&header, "")).await;
        assert_eq!(refused.code, ResponseCode::MESSAGE_ILLEGAL);
        header.sys_flag = MessageSysFlag::TRANSACTION_NOT;
        let taken = cluster.ask(&master.addr, send_request(&header, "body")).await;
        assert_eq!(taken.code, ResponseCode::SUCCESS);
        assert_eq!(pull(&cluster, &master, "T").await, (ResponseCode::SUCCESS, 2));
    });
}
