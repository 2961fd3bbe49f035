//! The access control of brokers, by an operator who has an account.

use mq_admin::Surroundings;
use mq_store::config::BrokerRole;
use staticfire_world::world::{ProcessContext, World};

use super::desk::{Desk, words};
use crate::broker::cluster::{Cluster, seconds};

const ACCOUNTS: &str = "accounts:\n- accessKey: operator\n  secretKey: 12345678\n  admin: true\n";

#[test]
fn accounts_are_made_shown_and_deleted() {
    World::test(1, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.broker("a", 0, BrokerRole::AsyncMaster, |config, _| {
            config.acl_enable = true;
            config.rocketmq_home = Some("/mq".into());
        });
        let hand = broker.machine.add_process("hand", |context: ProcessContext| async move {
            context.shutdown.cancelled().await;
        });
        hand.start();
        let disk = hand.env().unwrap().disk;
        disk.create_dir_all("/mq/conf".as_ref()).unwrap();
        disk.write("/mq/conf/plain_acl.yml".as_ref(), ACCOUNTS.as_bytes()).unwrap();
        broker.start().await;
        seconds(1).await;
        let mut desk = Desk::new(&cluster.world);
        let addr = &broker.addr;

        let (_, error) = desk.fails(&format!("brokerStatus -b {addr}")).await;
        assert!(error.to_string().contains(addr), "{error}");
        desk.env().disk.create_dir_all("/home/conf".as_ref()).unwrap();
        let tools = b"accessKey: operator\nsecretKey: 12345678\n";
        desk.env().disk.write("/home/conf/tools.yml".as_ref(), tools).unwrap();
        let namesrv_addr = desk.surroundings.namesrv_addr.clone();
        let home = Some("/home".as_ref());
        desk.surroundings = Surroundings::new(&*desk.env().disk, namesrv_addr, home).unwrap();

        let line = format!("updateAclConfig -b {addr} -a admuser -s 87654321 -t T=PUB,U=SUB");
        let text = desk.prints(&line).await;
        let made = format!("create or update plain access config to {addr} success.\n");
        assert!(text.starts_with(&made) && text.contains("topicPerms=[T=PUB, U=SUB]"), "{text}");
        let line = format!("updateGlobalWhiteAddr -b {addr} -g 10.99.0.1");
        let text = desk.prints(&line).await;
        assert_eq!(text, format!("update global white remote addresses to {addr} success.\n"));
        let text = desk.prints(&format!("getAccessConfigSubCommand -b {addr}")).await;
        assert!(text.contains("accessKey         : admuser\n"), "{text}");
        assert!(text.contains(": [10.99.0.1]\n"), "{text}");
        let text = desk.prints(&format!("clusterAclConfigVersion -b {addr}")).await;
        assert_eq!(words(&text)[1][1..4], ["a", addr, "/mq/conf/plain_acl.yml"], "{text}");
        let text = desk.prints(&format!("deleteAccessConfig -b {addr} -a admuser")).await;
        assert!(text.ends_with("success.\naccount's accesskey is:admuser\n"), "{text}");
        let text = desk.prints(&format!("getAclConfig -b {addr}")).await;
        assert!(!text.contains("admuser"), "{text}");
    });
}
