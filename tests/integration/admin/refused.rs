//! What cannot be done is said, with the address that refused, and fails.

use staticfire_world::world::World;

use super::desk::Desk;
use crate::broker::cluster::{Cluster, seconds};

#[test]
fn who_does_not_answer_is_named() {
    World::test(1, async |world| {
        let cluster = Cluster::new(world);
        let desk = Desk::new(&cluster.world);
        for (line, addr) in [
            ("topicList -n ns:1", "ns:1"),
            ("updateKvConfig -s N -k K -v V -n ns:1;ns:9876", "ns:1"),
            ("getNamesrvConfig -n ns:1", "ns:1"),
            ("brokerStatus -b ns:2", "ns:2"),
            ("producer -b nowhere:2", "nowhere:2"),
        ] {
            let (text, error) = desk.fails(line).await;
            assert!(!error.is_input() && error.to_string().contains(addr), "{line}: {error}");
            assert_eq!(text, "", "{line}");
        }
    });
}

#[test]
fn what_is_not_there_is_named() {
    World::test(1, async |world| {
        let cluster = Cluster::new(world);
        let master = cluster.master(|_, _| {}).await;
        let slave = cluster.slave().await;
        let desk = Desk::new(&cluster.world);
        seconds(1).await;
        let on_slave = format!("updateTopic -b {} -t T", slave.addr);
        let by_offset = "queryMsgByOffset -t TBW102 -b a -i 0 -o 7";
        for (line, says) in [
            ("brokerStatus -c Nowhere", "knows no cluster Nowhere; it knows: DefaultCluster"),
            ("topicRoute -t Nothing", "no route of the topic Nothing"),
            ("consumerProgress -g Nobody", "no route of the topic %RETRY%Nobody"),
            ("queryMsgById -i 00000000000000000000000000000000", "connect to 0.0.0.0:0 failed"),
            (by_offset, "has no message at the offset 7"),
            (&on_slave, &slave.addr),
        ] {
            let (_, error) = desk.fails(line).await;
            assert!(!error.is_input(), "{line}: {error}");
            assert!(error.to_string().contains(says), "{line}: {error}");
        }
        // A broker that is silent keeps none of the others from being listed.
        slave.machine.power_loss_worst();
        let (text, error) = desk.fails("clusterList").await;
        assert!(text.contains(&master.addr) && error.to_string().contains(&slave.addr), "{error}");
    });
}

#[test]
fn what_makes_no_sense_is_told_before_anybody_is_asked() {
    World::test(1, async |world| {
        let cluster = Cluster::new(world);
        let mut desk = Desk::new(&cluster.world);
        for line in [
            "topicList -n ns",
            "updateTopic -b ns:2 -t a/b",
            "updateSubGroup -b ns:2 -g a/b",
            "printMsg -t T -c GBK",
            "resetOffsetByTime -g G -t T -s yesterday",
            "queryMsgById -i x",
            "sendMessage -t T -p x -m true",
            "updateOrderConf -t T -m put -v a",
            "consumeMessage -t T -s 99999999999999",
            "consumeMessage -t T -s 5 -e 4",
        ] {
            let (_, error) = desk.fails(line).await;
            assert!(error.is_input(), "{line}: {error}");
        }
        desk.surroundings.namesrv_addr = None;
        for line in ["topicList", "getNamesrvConfig", "updateKvConfig -s N -k K -v V"] {
            let (_, error) = desk.fails(line).await;
            assert!(error.is_input() && error.to_string().contains("NAMESRV_ADDR"), "{error}");
        }
    });
}
