//! Clusters, brokers, topics and groups.

use mq_protocol::codes::MqVersion;
use staticfire_world::world::World;

use super::desk::{Desk, at_desk, words};
use crate::broker::cluster::{Cluster, seconds};

#[test]
fn clusters_and_brokers_are_listed() {
    World::test(1, async |world| {
        let cluster = Cluster::new(world);
        let (master, slave) = (cluster.master(|_, _| {}).await, cluster.slave().await);
        let desk = Desk::new(&cluster.world);
        cluster.send(&master.addr, "TBW102", "x").await;
        seconds(2).await;

        let text = desk.prints("clusterList").await;
        let rows = words(&text);
        assert_eq!(rows.len(), 3, "{text}");
        let version = MqVersion::CURRENT_NAME;
        assert_eq!(rows[1][..5], ["DefaultCluster", "a", "0", &master.addr, version]);
        assert_eq!(rows[2][..5], ["DefaultCluster", "a", "1", &slave.addr, version]);
        let more = desk.prints("clusterlist -m -n ns:9876").await;
        assert!(more.starts_with("#Cluster Name     #Broker Name "), "{more}");
        assert_eq!(words(&more).len(), 3);

        let status = desk.prints(&format!("brokerStatus -b {}", master.addr)).await;
        let name = words(&status).into_iter().find(|it| it[0] == "brokerVersionDesc").unwrap();
        assert_eq!(name[2], version);
        let status = desk.prints("brokerStatus -c DefaultCluster").await;
        let addrs: Vec<_> = words(&status).iter().map(|row| row[0].to_owned()).collect();
        assert!(addrs.contains(&master.addr) && addrs.contains(&slave.addr));

        let config = desk.prints(&format!("getBrokerConfig -b {}", master.addr)).await;
        assert!(config.starts_with(&format!("============{}============\n", master.addr)));
        assert!(config.contains("\nbrokerName                                        =  a\n"));
        let config = desk.prints("getBrokerConfig -c DefaultCluster").await;
        assert!(config.contains(&format!("============Master: {}====", master.addr)));
        assert!(config.contains(&format!("=====Slave: {}====", slave.addr)), "{config}");

        // The slave has what its master has.
        seconds(30).await;
        let text = desk.prints(&format!("haStatus -b {}", slave.addr)).await;
        let diffs: Vec<_> =
            words(&text).iter().map(|row| (*row.last().unwrap()).to_owned()).collect();
        assert_eq!(diffs, ["#Diff", "0", "0"], "{text}");
        assert_eq!(desk.prints("haStatus -c DefaultCluster").await, text);

        let text = desk.prints(&format!("deleteExpiredCommitLog -b {}", master.addr)).await;
        assert_eq!(text, "success\n");
    });
}

#[test]
fn topics_are_made_changed_and_deleted() {
    at_desk(async |_, master, desk| {
        let addr = &master.addr;

        let config = |perm: &str, order: bool| {
            format!(
                "TopicConfig [topicName=T, readQueueNums=4, writeQueueNums=2, perm={perm}, \
                 topicFilterType=SINGLE_TAG, topicSysFlag=0, order={order}]"
            )
        };
        let text = desk.prints(&format!("updateTopic -b {addr} -t T -r 4 -w 2")).await;
        assert_eq!(text, format!("create topic to {addr} success.\n{}\n", config("RW-", false)));
        assert!(desk.prints("topicList").await.lines().any(|topic| topic == "T"));
        let route = desk.prints("topicRoute -t T").await;
        assert!(route.contains("\"readQueueNums\":4,") && route.contains("\"writeQueueNums\":2\n"));
        let table = desk.prints("topicRoute -t T -l").await;
        let rows = words(&table);
        assert_eq!(rows[1], ["DefaultCluster", "a", &format!("{{0={addr}}}"), "4", "2", "6"]);
        assert_eq!(rows[3], ["Total:", "1", "4", "2"]);
        assert_eq!(desk.prints("topicClusterList -t T").await, "DefaultCluster\n");
        let rows = desk.prints("topicList -c").await;
        assert!(words(&rows).contains(&vec!["DefaultCluster", "T"]), "{rows}");
        let shares = desk.prints("allocateMQ -t T -i ip1,ip2").await;
        assert!(shares.starts_with(r#"{"result":{"ip1":[{"brokerName":"a","queueId":0,"#));

        let text = desk.prints(&format!("updateTopicPerm -b {addr} -t T -p 4")).await;
        let expected = config("R--", false);
        assert_eq!(
            text,
            format!("update topic perm from 6 to 4 in {addr} success.\n{expected}.\n")
        );
        let text = desk.prints("updateTopicPerm -c DefaultCluster -t T -p 4").await;
        assert_eq!(text, format!("new perm equals to the old one in {addr}!\n"));

        let text = desk.prints("updateTopic -c DefaultCluster -t T -r 4 -w 2 -o true").await;
        assert!(text.ends_with(&format!("orderConf=[a:2]{}\n", config("RW-", true))), "{text}");
        let text = desk.prints("updateOrderConf -t T -m get").await;
        assert_eq!(text, "get orderConf success. topic=[T], orderConf=[a:2] \n");
        desk.prints(&format!("updateTopic -b {addr} -t T -r 4 -w 3 -o true")).await;
        assert!(desk.prints("updateOrderConf -t T -m get").await.contains("[a:3]"));

        let text = desk.prints("deleteTopic -c DefaultCluster -t T").await;
        let [broker, namesrv] = ["cluster [DefaultCluster]", "NameServer"];
        let deleted = |from| format!("delete topic [T] from {from} success.\n");
        assert_eq!(text, deleted(broker) + &deleted(namesrv));
        assert!(!desk.prints("topicList").await.lines().any(|topic| topic == "T"));
        let (_, error) = desk.fails("updateOrderConf -t T -m get").await;
        assert!(error.to_string().contains("QUERY_NOT_FOUND"), "{error}");
    });
}

#[test]
fn groups_are_made_shown_and_deleted() {
    at_desk(async |_, master, desk| {
        let addr = &master.addr;

        let text = desk.prints(&format!("updateSubGroup -b {addr} -g G -r 3")).await;
        let made = format!("create subscription group to {addr} success.\n");
        assert!(text.starts_with(&made) && text.contains("retryMaxTimes=3,"), "{text}");
        desk.prints("updateSubGroup -c DefaultCluster -g G -r 4 -d true").await;
        let text = desk.prints("getConsumerConfig -g G").await;
        let rows = words(&text);
        assert!(rows[0][0].ends_with("=DefaultCluster:a============================="));
        assert!(rows.contains(&vec!["retryMaxTimes", "=", "4"]), "{text}");
        assert!(rows.contains(&vec!["consumeBroadcastEnable", "=", "true"]), "{text}");

        let text = desk.prints("exportMetadata -c DefaultCluster -f /exp").await;
        assert_eq!(text, "export /exp/metadata.json success\n");
        let exported = desk.env().disk.read("/exp/metadata.json".as_ref()).unwrap();
        let exported = String::from_utf8(exported).unwrap();
        assert!(exported.contains("\"retryMaxTimes\":4") && !exported.contains("TOOLS_CONSUMER"));
        desk.prints("exportMetadata -c DefaultCluster -f /exp -g").await;
        assert!(desk.env().disk.stat("/exp/subscriptionGroup.json".as_ref()).is_ok());
        desk.prints("exportConfigs -c DefaultCluster -f /exp").await;
        let exported = desk.env().disk.read("/exp/configs.json".as_ref()).unwrap();
        assert!(String::from_utf8(exported).unwrap().contains("\"masterBrokerSize\":1"));
        desk.prints("exportMetrics -c DefaultCluster -f /exp").await;
        let exported = desk.env().disk.read("/exp/metrics.json".as_ref()).unwrap();
        assert!(String::from_utf8(exported).unwrap().contains("\"groupSize\":1"));

        let text = desk.prints(&format!("deleteSubGroup -b {addr} -g G")).await;
        assert_eq!(text, format!("delete subscription group [G] from broker [{addr}] success.\n"));
        let (_, error) = desk.fails("getConsumerConfig -g G").await;
        assert_eq!(error.to_string(), "no master has the consumer group G");
    });
}
