//! A consumer while a master is away: it goes on at the slave, and nothing comes again when the master is back.

use std::sync::{Arc, Mutex};

use mq_client::{
    ClientConfig, ClientInstance, ConsumeResult, MessageListener, PushConsumer, PushConsumerConfig,
};
use mq_protocol::body::heartbeat::ConsumeFromWhere;
use staticfire_world::world::{MachineConfig, World};

use super::cluster::{Cluster, NAMESRV, seconds};
use super::offsets::query;

#[test]
fn what_was_read_at_the_slave_does_not_come_again_from_the_master() {
    World::test(1, async |world| {
        let cluster = Cluster::new(world.clone());
        let broker = cluster.master(|_, _| {}).await;
        let slave = cluster.slave().await;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let listener: MessageListener = {
            let seen = Arc::clone(&seen);
            Arc::new(move |messages| {
                seen.lock().unwrap().push(messages[0].queue_offset);
                ConsumeResult::Success.into()
            })
        };
        let machine = world.add_machine("member", MachineConfig::default());
        let process = machine.add_process("member", move |context| {
            let listener = Arc::clone(&listener);
            async move {
                let config = ClientConfig {
                    namesrv_addrs: vec![NAMESRV.to_owned()],
                    instance_name: "member".to_owned(),
                    ..ClientConfig::default()
                };
                let client = ClientInstance::start(context.env.clone(), config);
                let config = PushConsumerConfig {
                    consume_from_where: ConsumeFromWhere::ConsumeFromFirstOffset,
                    // Little at a time: something is left to be read when the master goes.
                    pull_batch_size: 1,
                    ..PushConsumerConfig::new("G", "T", "*")
                };
                let _consumer = PushConsumer::start(&client, config, listener).await.unwrap();
                context.shutdown.cancelled().await;
            }
        });
        for _ in 0..3 {
            cluster.send(&broker.addr, "T", "body").await;
        }
        // The slave has the messages, and the name server has the topic.
        seconds(40).await;
        process.start();
        seconds(15).await;
        assert_eq!(*seen.lock().unwrap(), [0, 1, 2]);
        process.pause();
        for _ in 0..4 {
            cluster.send(&broker.addr, "T", "body").await;
        }
        seconds(5).await;
        broker.process.kill();
        process.resume();
        seconds(60).await;
        assert_eq!(*seen.lock().unwrap(), [0, 1, 2, 3, 4, 5, 6], "from the slave");
        assert_eq!(query(&cluster, &slave.addr, "G", "T").await, Some(7));
        cluster.client.close(&broker.addr);
        broker.start().await;
        seconds(60).await;
        cluster.send(&broker.addr, "T", "body").await;
        seconds(20).await;
        assert_eq!(*seen.lock().unwrap(), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(query(&cluster, &broker.addr, "G", "T").await, Some(8));
    });
}
