//! Access control over the wire: who gets in, what of the files counts when, and what operators change.

mod topics;

use std::path::Path;
use std::time::Duration;

use mq_acl::{AclFile, AclRules};
use mq_env::Env;
use mq_env::disk::replaced_file::replace_file;
use mq_protocol::acl::{ACCESS_KEY, SIGNATURE, signature};
use mq_protocol::body::acl::GetBrokerClusterAclConfigResponseBody;
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::fastjson::from_slice;
use mq_protocol::header::acl::{
    CreateAccessConfigRequestHeader, DeleteAccessConfigRequestHeader,
    GetBrokerAclConfigResponseHeader, UpdateGlobalWhiteAddrsConfigRequestHeader,
};
use mq_protocol::header::admin::CreateTopicRequestHeader;
use mq_protocol::remoting_command::RemotingCommand;
use mq_store::config::BrokerRole;
use staticfire_world::world::{ProcessContext, ProcessStatus, World};

use super::cluster::{Broker, Cluster, pull_header, seconds, send_header, send_request};
use super::recorded::exchanges;

/// What 4.9 writes before a refusal.
const EXCEPTION: &str = "org.apache.rocketmq.acl.common.AclException: ";
const DEFAULT_FILE: &str = "/mq/conf/plain_acl.yml";

/// The file of the Java broker that was recorded, as its answer to 54 has it.
const RECORDED: &str = "accounts:\n- accessKey: RocketMQ\n  secretKey: 12345678\n  admin: false\n  defaultTopicPerm: DENY\n  \
                        defaultGroupPerm: SUB\n  topicPerms:\n  - AclTopic=PUB|SUB\n  - AclPubOnly=PUB\n  groupPerms:\n  \
                        - CG_acl=SUB\n  - CG_onsacl=SUB\n  - PG_java=PUB|SUB\n- accessKey: rocketmq2\n  secretKey: \
                        12345678\n  admin: true\n";

/// A broker with access control that does not run yet, and a hand on its machine.
struct Guarded {
    cluster: Cluster,
    broker: Broker,
    hand: Env,
}

impl Guarded {
    async fn new(cluster: Cluster, role: BrokerRole, files: &[(&str, &str)]) -> Self {
        let broker_id = u64::from(role == BrokerRole::Slave);
        let broker = cluster.broker("a", broker_id, role, |config, _| {
            config.acl_enable = true;
            config.rocketmq_home = Some("/mq".into());
        });
        let hand = broker.machine.add_process("hand", |context: ProcessContext| async move {
            context.shutdown.cancelled().await;
        });
        hand.start();
        let guarded = Guarded { cluster, broker, hand: hand.env().unwrap() };
        for (path, text) in files {
            guarded.write(path, text).await;
        }
        guarded
    }

    /// A running master with these accounts.
    async fn started(cluster: Cluster, text: &str) -> Self {
        let guarded = Guarded::new(cluster, BrokerRole::AsyncMaster, &[(DEFAULT_FILE, text)]).await;
        guarded.broker.start().await;
        guarded
    }

    async fn write(&self, path: &str, text: &str) {
        let written = replace_file(&*self.hand.disk, Path::new(path), |_| false, text.as_bytes());
        written.await.unwrap();
    }

    /// The code and the remark, without what 4.9 writes before it.
    async fn said(&self, request: RemotingCommand) -> (i32, String) {
        let response = self.cluster.ask(&self.broker.addr, request).await;
        let remark = response.remark.unwrap_or_default();
        (response.code, remark.strip_prefix(EXCEPTION).unwrap_or(&remark).to_owned())
    }

    /// Whether a send to `topic` by `access_key` passes.
    async fn sends(&self, access_key: &str, topic: &str) -> bool {
        let request = send_request(&send_header(topic), "body");
        self.said(signed(request, access_key, "12345678")).await.0 == ResponseCode::SUCCESS
    }
}

fn signed(mut request: RemotingCommand, access_key: &str, secret_key: &str) -> RemotingCommand {
    request.ext_fields.insert(ACCESS_KEY, access_key);
    let signature = signature(&request.ext_fields, &request.body, secret_key);
    request.ext_fields.insert(SIGNATURE, &signature);
    request
}

/// A request of the administrator.
fn by_admin(request: RemotingCommand) -> RemotingCommand {
    signed(request, "rocketmq2", "12345678")
}

fn account(access_key: &str, topic: &str) -> String {
    format!(
        "accounts:\n- accessKey: {access_key}\n  secretKey: 12345678\n  topicPerms: [{topic}=PUB]\n"
    )
}

#[test]
fn every_recorded_request_is_judged_as_by_rocketmq() {
    let file = AclFile::parse(RECORDED.as_bytes()).unwrap();
    let rules = AclRules::new([("plain_acl.yml", &file)]);
    let (mut refused, mut passed) = (0, 0);
    for (row, response) in
        exchanges("acl-enforced").into_iter().chain(exchanges("acl-config-50-54"))
    {
        if !row.from_client {
            continue;
        }
        let remark = response.remark.as_deref().unwrap_or_default();
        let recorded = remark.strip_prefix(EXCEPTION);
        // Behind the sentence stands the line of Java's code.
        let recorded = recorded.map(|text| text.split(", org.apache.").next().unwrap_or_default());
        let ours =
            rules.check(&row.command(), [127, 0, 0, 1].into()).err().map(|it| it.to_string());
        assert_eq!(ours.as_deref(), recorded, "{}", row.label());
        refused += u32::from(recorded.is_some());
        passed += u32::from(recorded.is_none());
    }
    assert_eq!((refused, passed), (44, 74));
}

#[test]
fn who_is_not_known_gets_nothing() {
    World::test(1, async |world| {
        let guarded = Guarded::started(Cluster::new(world), RECORDED).await;
        let send = || send_request(&send_header("AclTopic"), "body");
        let refused = |why: &str| (ResponseCode::SYSTEM_ERROR, why.to_owned());
        assert_eq!(guarded.said(send()).await, refused("No accessKey is configured"));
        let wrong = guarded.said(signed(send(), "RocketMQ", "87654321")).await;
        assert_eq!(wrong, refused("Check signature failed for accessKey=RocketMQ"));
        assert_eq!(
            guarded.said(signed(send(), "RocketMQ", "12345678")).await.0,
            ResponseCode::SUCCESS
        );
        let pull =
            RemotingCommand::request(RequestCode::PULL_MESSAGE, &pull_header("G", "AclTopic", 0));
        assert_eq!(guarded.said(pull.clone()).await, refused("No accessKey is configured"));
        assert_eq!(
            guarded.said(signed(pull, "RocketMQ", "12345678")).await.0,
            ResponseCode::SUCCESS
        );
        let header = CreateTopicRequestHeader::new("Made", 4);
        let create = RemotingCommand::request(RequestCode::UPDATE_AND_CREATE_TOPIC, &header);
        let not_admin = "Need admin permission for request code=17, but accessKey=RocketMQ is not";
        assert_eq!(
            guarded.said(signed(create.clone(), "RocketMQ", "12345678")).await,
            refused(not_admin)
        );
        assert_eq!(guarded.said(by_admin(create)).await.0, ResponseCode::SUCCESS);
        // Codes that nobody answers, and the other port, are guarded as well.
        let unknown = RemotingCommand::request(9_999, &());
        assert_eq!(guarded.said(unknown.clone()).await, refused("No accessKey is configured"));
        assert_eq!(
            guarded.said(by_admin(unknown)).await.0,
            ResponseCode::REQUEST_CODE_NOT_SUPPORTED
        );
        let fast = guarded.cluster.ask(&guarded.broker.fast_addr, send()).await;
        assert_eq!((fast.code, fast.ext_fields.is_present()), (ResponseCode::SYSTEM_ERROR, false));
    });
}

#[test]
fn a_file_that_changes_counts_once_it_rests() {
    World::test(2, async |world| {
        let guarded = Guarded::started(Cluster::new(world), &account("first67", "T")).await;
        assert!(guarded.sends("first67", "T").await && !guarded.sends("second7", "T").await);
        guarded.write(DEFAULT_FILE, &account("second7", "T")).await;
        assert!(guarded.sends("first67", "T").await, "nobody has looked");
        seconds(2).await;
        assert!(!guarded.sends("first67", "T").await && guarded.sends("second7", "T").await);

        for broken in ["accounts: [", "accounts:\n- accessKey: x\n"] {
            guarded.write(DEFAULT_FILE, broken).await;
            seconds(5).await;
            assert!(guarded.sends("second7", "T").await, "{broken}");
        }
        guarded.hand.disk.remove(Path::new(DEFAULT_FILE)).unwrap();
        seconds(5).await;
        assert!(
            guarded.sends("second7", "T").await,
            "a file that is gone is no file without accounts"
        );

        // What never rests never counts.
        for n in 0..10 {
            guarded.write(DEFAULT_FILE, &format!("{}# {n}\n", account("third67", "T"))).await;
            tokio::time::sleep(Duration::from_millis(450)).await;
        }
        assert!(!guarded.sends("third67", "T").await);
        seconds(2).await;
        assert!(guarded.sends("third67", "T").await && !guarded.sends("second7", "T").await);
    });
}

#[test]
fn several_files_count_together() {
    World::test(3, async |world| {
        let files = [
            (DEFAULT_FILE, &*account("default", "T")),
            ("/mq/conf/acl/one.yml", &account("onefile", "T")),
            ("/mq/conf/acl/team/two.yaml", &account("twofile", "T")),
            ("/mq/conf/acl/notes.txt", "no accounts"),
        ];
        let cluster = Cluster::new(world);
        let guarded = Guarded::new(cluster, BrokerRole::AsyncMaster, &files).await;
        guarded.broker.start().await;
        for access_key in ["default", "onefile", "twofile"] {
            assert!(guarded.sends(access_key, "T").await, "{access_key}");
        }
        guarded.hand.disk.remove(Path::new("/mq/conf/acl/one.yml")).unwrap();
        guarded.write("/mq/conf/acl/three.yml", &account("three67", "T")).await;
        seconds(2).await;
        assert!(!guarded.sends("onefile", "T").await && guarded.sends("three67", "T").await);
    });
}

#[test]
fn what_operators_change_counts_at_once_and_outlives_a_power_loss() {
    World::test(4, async |world| {
        let guarded = Guarded::started(Cluster::new(world), RECORDED).await;
        let created = CreateAccessConfigRequestHeader {
            access_key: Some("newKey1".to_owned()),
            secret_key: Some("12345678".to_owned()),
            topic_perms: Some("TopicX=PUB|SUB,TopicY=DENY".to_owned()),
            ..CreateAccessConfigRequestHeader::default()
        };
        let create = RemotingCommand::request(RequestCode::UPDATE_AND_CREATE_ACL_CONFIG, &created);
        let denied = guarded.said(signed(create.clone(), "RocketMQ", "12345678")).await;
        assert!(denied.1.starts_with("Need admin permission for request code=50"), "{denied:?}");
        assert_eq!(guarded.said(by_admin(create)).await, (ResponseCode::SUCCESS, String::new()));
        assert!(
            guarded.sends("newKey1", "TopicX").await && !guarded.sends("newKey1", "TopicY").await
        );

        let header = UpdateGlobalWhiteAddrsConfigRequestHeader {
            global_white_addrs: "10.99.0.*,192.168.0.1".to_owned(),
            acl_file_full_path: None,
        };
        let code = RequestCode::UPDATE_GLOBAL_WHITE_ADDRS_CONFIG;
        let white = RemotingCommand::request(code, &header);
        assert_eq!(guarded.said(by_admin(white)).await.0, ResponseCode::SUCCESS);
        let elsewhere = UpdateGlobalWhiteAddrsConfigRequestHeader {
            acl_file_full_path: Some("/mq/conf/../../etc/passwd".to_owned()),
            ..header
        };
        let refused = guarded.said(by_admin(RemotingCommand::request(code, &elsewhere))).await;
        let wanted = "The globalWhiteAddresses[10.99.0.*,192.168.0.1] has been updated failed.";
        assert_eq!(
            refused,
            (ResponseCode::UPDATE_GLOBAL_WHITE_ADDRS_CONFIG_FAILED, wanted.to_owned())
        );

        guarded.cluster.power_cycle(&guarded.broker);
        guarded.broker.start().await;
        assert!(
            guarded.sends("newKey1", "TopicX").await && guarded.sends("RocketMQ", "AclTopic").await
        );
        let versions = RemotingCommand::request(RequestCode::GET_BROKER_CLUSTER_ACL_INFO, &());
        let versions = guarded.cluster.ask(&guarded.broker.addr, by_admin(versions)).await;
        let versions: GetBrokerAclConfigResponseHeader = versions.header().unwrap();
        assert!(versions.version.starts_with("{\"counter\":2,\"timestamp\":"), "{versions:?}");
        assert_eq!(
            versions.all_acl_file_version,
            format!("{{\"{DEFAULT_FILE}\":{}}}", versions.version)
        );
        assert_eq!((&*versions.broker_name, &*versions.cluster_name), ("a", "DefaultCluster"));

        let shown = RemotingCommand::request(RequestCode::GET_BROKER_CLUSTER_ACL_CONFIG, &());
        let shown = guarded.cluster.ask(&guarded.broker.addr, by_admin(shown)).await;
        let shown: GetBrokerClusterAclConfigResponseBody = from_slice(&shown.body).unwrap();
        assert_eq!(shown.global_white_addrs, ["10.99.0.*", "192.168.0.1"]);
        let names: Vec<_> = shown.plain_access_configs.iter().map(|it| &*it.access_key).collect();
        assert_eq!(names, ["RocketMQ", "rocketmq2", "newKey1"]);

        let header = DeleteAccessConfigRequestHeader { access_key: "newKey1".to_owned() };
        let delete = || by_admin(RemotingCommand::request(RequestCode::DELETE_ACL_CONFIG, &header));
        assert_eq!(guarded.said(delete()).await, (ResponseCode::SUCCESS, String::new()));
        assert!(!guarded.sends("newKey1", "TopicX").await);
        let again = "The accesskey[newKey1] corresponding to accessConfig has been deleted failed.";
        assert_eq!(
            guarded.said(delete()).await,
            (ResponseCode::DELETE_ACL_CONFIG_FAILED, again.to_owned())
        );
    });
}

#[test]
fn a_slave_is_let_in_by_its_address() {
    World::test(5, async |world| {
        let cluster = Cluster::new(world);
        let slave = cluster.broker("a", 1, BrokerRole::Slave, |_, _| {});
        let white = format!("globalWhiteRemoteAddresses:\n- {}\n{RECORDED}", slave.machine.ip());
        let guarded = Guarded::started(cluster, &white).await;
        slave.start().await;
        assert!(guarded.sends("RocketMQ", "AclTopic").await);
        seconds(20).await;
        let pull =
            RemotingCommand::request(RequestCode::PULL_MESSAGE, &pull_header("G", "AclTopic", 0));
        let pulled = guarded.cluster.ask(&slave.addr, pull).await;
        assert_eq!(pulled.code, ResponseCode::SUCCESS, "{:?}", pulled.remark);
    });
}

#[test]
fn without_sound_files_there_is_no_start() {
    let ends = |seed, files: &'static [(&'static str, &'static str)], wanted: &'static str| {
        World::test(seed, async |world| {
            let guarded = Guarded::new(Cluster::new(world), BrokerRole::AsyncMaster, files).await;
            guarded.broker.process.start();
            let ProcessStatus::Exited(Err(why)) = guarded.broker.process.ended().await else {
                panic!("it runs")
            };
            let why = why.to_string();
            assert!(why.starts_with("aclEnable=true, but ") && why.contains(wanted), "{why}");
        });
    };
    ends(6, &[], "/mq/conf/plain_acl.yml cannot be read: ");
    ends(7, &[("/mq/conf/acl/one.yml", "accounts: []")], "/mq/conf/plain_acl.yml cannot be read: ");
    ends(
        8,
        &[(DEFAULT_FILE, "accounts:\n- x: 1\n")],
        "plain_acl.yml cannot be used: line 2: x is nothing that",
    );
    ends(
        9,
        &[(DEFAULT_FILE, "a: 1\n"), ("/mq/conf/acl/b.yml", "- 1\n")],
        "conf/acl/b.yml cannot be used: line 1: ",
    );
}

#[test]
fn without_access_control_its_requests_are_answered_all_the_same() {
    World::test(10, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        let header = DeleteAccessConfigRequestHeader { access_key: "any".to_owned() };
        let white = UpdateGlobalWhiteAddrsConfigRequestHeader::default();
        let asked = [
            RemotingCommand::request(50, &CreateAccessConfigRequestHeader::default()),
            RemotingCommand::request(51, &header),
            RemotingCommand::request(52, &()),
            RemotingCommand::request(53, &white),
            RemotingCommand::request(54, &()),
        ];
        let mut codes = Vec::new();
        for request in asked {
            let response = cluster.ask(&broker.addr, request).await;
            let remark = response.remark.as_deref();
            assert_eq!(remark, Some("the broker has no access control: aclEnable is false"));
            codes.push(response.code);
        }
        assert_eq!(codes, [209, 210, 1, 211, 1]);
    });
}

/// What an operator changes while somebody writes a file by hand takes no half of it for the whole.
#[test]
fn an_operator_waits_for_files_that_are_being_written() {
    World::test(13, async |world| {
        let guarded = Guarded::started(Cluster::new(world), RECORDED).await;
        let asked = CreateAccessConfigRequestHeader {
            access_key: Some("newKey1".to_owned()),
            secret_key: Some("12345678".to_owned()),
            topic_perms: Some("TopicX=PUB".to_owned()),
            ..CreateAccessConfigRequestHeader::default()
        };
        let create = || {
            let code = RequestCode::UPDATE_AND_CREATE_ACL_CONFIG;
            guarded.said(by_admin(RemotingCommand::request(code, &asked)))
        };
        let whole = format!("{RECORDED}- accessKey: byhand1\n  secretKey: 12345678\n");
        let half = whole.split("- accessKey: byhand1").next().unwrap().to_owned() + "note: half\n";
        guarded.write(DEFAULT_FILE, &half).await;
        let finish = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            guarded.write(DEFAULT_FILE, &whole).await;
        };
        let (refused, ()) = futures::future::join(create(), finish).await;
        let why = "the files of accounts are being written; ask again once that is done".to_owned();
        let failed = ResponseCode::UPDATE_AND_CREATE_ACL_CONFIG_FAILED;
        assert_eq!(refused, (failed, why));
        let there = guarded.hand.disk.read(Path::new(DEFAULT_FILE)).unwrap();
        assert_eq!(String::from_utf8(there).unwrap(), whole);
        assert_eq!(create().await, (ResponseCode::SUCCESS, String::new()), "at rest by now");
        let there = guarded.hand.disk.read(Path::new(DEFAULT_FILE)).unwrap();
        let there = String::from_utf8(there).unwrap();
        assert!(there.contains("byhand1") && there.contains("newKey1"), "{there}");
    });
}

#[test]
fn a_deleted_account_is_in_no_file_any_more() {
    World::test(14, async |world| {
        let one = account("RocketMQ", "AclTopic");
        let files = [(DEFAULT_FILE, RECORDED), ("/mq/conf/acl/one.yml", &*one)];
        let cluster = Cluster::new(world);
        let guarded = Guarded::new(cluster, BrokerRole::AsyncMaster, &files).await;
        guarded.broker.start().await;
        assert!(guarded.sends("RocketMQ", "AclTopic").await);
        let header = DeleteAccessConfigRequestHeader { access_key: "RocketMQ".to_owned() };
        let delete = by_admin(RemotingCommand::request(RequestCode::DELETE_ACL_CONFIG, &header));
        assert_eq!(guarded.said(delete).await, (ResponseCode::SUCCESS, String::new()));
        assert!(!guarded.sends("RocketMQ", "AclTopic").await, "no second one takes its place");
        guarded.cluster.power_cycle(&guarded.broker);
        guarded.broker.start().await;
        assert!(!guarded.sends("RocketMQ", "AclTopic").await);
    });
}
