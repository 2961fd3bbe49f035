//! What name servers keep.

use super::desk::{Desk, at_desk, words};
use crate::broker::cluster::NAMESRV;

#[test]
fn settings_are_changed_and_kept() {
    at_desk(async |_, master, desk| {
        let text = desk.prints("getNamesrvConfig").await;
        assert!(text.starts_with(&format!("============{NAMESRV}============\n")), "{text}");
        assert!(words(&text).contains(&vec!["orderMessageEnable", "=", "false"]), "{text}");

        desk.prints(&format!("updateTopic -b {} -t T", master.addr)).await;
        let conf = "a:4;b:8";
        let text = desk.prints(&format!("updateOrderConf -t T -m put -v {conf}")).await;
        assert_eq!(text, format!("update orderConf success. topic=[T], orderConf=[{conf}]\n"));
        assert!(!desk.prints("topicRoute -t T").await.contains("orderTopicConf"));
        let text = desk.prints("updateNamesrvConfig -k orderMessageEnable -v true").await;
        let said = format!("update name server config success![{NAMESRV}]\n");
        assert_eq!(text, said + "orderMessageEnable : true\n");
        let route = desk.prints("topicRoute -t T").await;
        assert!(route.contains(&format!("\"orderTopicConf\":\"{conf}\"")), "{route}");
        let text = desk.prints("updateOrderConf -t T -m delete").await;
        assert_eq!(text, "delete orderConf success. topic=[T]\n");

        for (change, says) in [
            ("-k kvConfigPath -v /x", "NO_PERMISSION"),
            ("-k orderMessageEnabel -v true", "name servers have no key orderMessageEnabel"),
            ("-k orderMessageEnable -v yes", "true or false"),
        ] {
            let (_, error) = desk.fails(&format!("updateNamesrvConfig {change}")).await;
            let sentence = error.to_string();
            assert!(sentence.contains(says) && sentence.contains(NAMESRV), "{sentence}");
        }
    });
}

#[test]
fn values_and_permissions_are_changed() {
    at_desk(async |_, master, desk| {
        let text = desk.prints("updateKvConfig -s NSX -k K1 -v V1").await;
        assert_eq!(text, "create or update kv config to namespace success.\n");
        let text = desk.prints("deleteKvConfig -s NSX -k K1").await;
        assert_eq!(text, "delete kv config from namespace success.\n");

        desk.prints(&format!("updateTopic -b {} -t T", master.addr)).await;
        let text = desk.prints("wipeWritePerm -b a").await;
        let wiped = format!("wipe write perm of broker[a] in name server[{NAMESRV}] OK, ");
        assert!(text.strip_prefix(&wiped).unwrap().trim().parse::<u32>().unwrap() > 0);
        let perm = async |desk: &Desk| {
            let table = desk.prints("topicRoute -t T -l").await;
            words(&table)[1][5].to_owned()
        };
        assert_eq!(perm(&desk).await, "4");
        let text = desk.prints("addWritePerm -b a").await;
        assert!(
            text.starts_with(&format!("add write perm of broker[a] in name server[{NAMESRV}]"))
        );
        assert_eq!(perm(&desk).await, "6");
    });
}
