//! The table of topics over real files: creation, limits, adoption, shared writes.

use futures::future::join_all;

use mq_store::config::BrokerRole;
use mq_store::role::RoleWatch;

use super::*;
use crate::persisted_table::tests::Counting;

struct Fixture {
    env: Env,
    config: BrokerConfig,
    store_config: StoreConfig,
    _dir: tempfile::TempDir,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    Fixture {
        env: Env::os(),
        config: BrokerConfig::new("broker-a"),
        store_config: StoreConfig::at(dir.path()),
        _dir: dir,
    }
}

impl Fixture {
    fn load(&self) -> TopicConfigManager {
        let role = RoleWatch::new(self.store_config.broker_role);
        TopicConfigManager::load(&self.env, &self.config, &self.store_config, &role).unwrap()
    }
}

fn retry_topic() -> GroupTopic {
    GroupTopic { name: "%RETRY%G".to_owned(), queue_nums: 1, is_unit: false }
}

async fn auto_create(manager: &TopicConfigManager, topic: &str) -> Option<FoundTopic> {
    manager.create_topic_in_send_message_method(topic, "TBW102", 4, 0).await.unwrap()
}

#[tokio::test]
async fn a_broker_starts_with_the_topics_of_the_system() {
    let manager = fixture().load();
    let topics: Vec<_> = manager
        .wrapper()
        .topic_config_table
        .values()
        .map(|t| format!("{} {} {}", t.topic_name, t.write_queue_nums, t.perm))
        .collect();
    assert_eq!(
        topics,
        [
            "BenchmarkTest 1024 6",
            "DefaultCluster 16 7",
            "DefaultCluster_REPLY_TOPIC 1 6",
            "OFFSET_MOVED_EVENT 1 6",
            "SCHEDULE_TOPIC_XXXX 18 6",
            "SELF_TEST_TOPIC 1 6",
            "TBW102 8 7",
            "broker-a 1 7",
        ]
    );
    assert_eq!(manager.data_version().counter, 0);
    assert!(manager.is_system_topic("DefaultCluster") && !manager.is_system_topic("T"));
}

#[tokio::test]
async fn a_topic_created_by_a_send_survives_a_restart() {
    let fixture = fixture();
    let manager = fixture.load();
    let found = auto_create(&manager, "T").await.unwrap();
    assert!(found.is_new);
    assert_eq!(*found.config, TopicConfig::new("T", 4, 6));
    assert!(!auto_create(&manager, "T").await.unwrap().is_new);

    let again = fixture.load();
    assert_eq!(again.select_topic_config("T"), Some(found.config));
    assert_eq!(again.data_version(), manager.data_version());
    assert_eq!(again.data_version().counter, 1);
}

#[tokio::test]
async fn the_pattern_decides_whether_a_topic_is_created() {
    let mut fixture = fixture();
    assert_eq!(
        fixture.load().create_topic_in_send_message_method("T", "no", 4, 0).await.unwrap(),
        None
    );
    fixture.config.auto_create_topic_enable = false;
    let manager = fixture.load();
    assert_eq!(auto_create(&manager, "T").await, None);
    let retry = manager.create_topic_in_send_message_back_method(retry_topic());
    assert!(retry.await.unwrap().is_new);
    // Other patterns stay allowed.
    let found = manager.create_topic_in_send_message_method("T", "broker-a", 4, 0);
    assert_eq!(found.await.unwrap().unwrap().config.write_queue_nums, 1);
}

#[tokio::test]
async fn the_register_body_shows_what_the_broker_permits() {
    let manager = fixture().load();
    auto_create(&manager, "T").await;
    let body = manager.register_body(6, Some("T")).topic_config_serialize_wrapper;
    assert_eq!(body.topic_config_table.len(), 1);
    assert_eq!(body.topic_config_table["T"].perm, 6);
    let body = manager.register_body(4, None).topic_config_serialize_wrapper;
    assert!(body.topic_config_table.values().all(|topic| topic.perm == 4));
    assert_eq!(body.topic_config_table.len(), 9);
}

#[tokio::test]
async fn a_slave_takes_over_its_masters_topics_but_not_a_blank_masters() {
    let (master, mut slave) = (fixture(), fixture());
    slave.store_config.broker_role = BrokerRole::Slave;
    let (master_topics, slave_topics) = (master.load(), slave.load());
    auto_create(&master_topics, "T").await;
    let retry = slave_topics.create_topic_in_send_message_back_method(retry_topic());
    retry.await.unwrap();
    assert_eq!(slave_topics.data_version().counter, 0);

    assert!(slave_topics.adopt(master_topics.wrapper(), |_| true).await.unwrap());
    assert_eq!(slave_topics.wrapper(), master_topics.wrapper());
    let blank = fixture().load().wrapper();
    assert!(!slave_topics.adopt(blank.clone(), |_| true).await.unwrap());
    assert_eq!(slave.load().wrapper(), master_topics.wrapper());
    // Nothing is left of the topics that it lacks: they were deleted.
    assert!(slave_topics.adopt(blank.clone(), |_| false).await.unwrap());
    assert_eq!(slave_topics.wrapper(), blank);
}

#[tokio::test]
async fn a_queue_without_a_topic_gets_one() {
    let fixture = fixture();
    let manager = fixture.load();
    auto_create(&manager, "Known").await;
    let queues = [("Known", 3), ("Grown", 9), ("Lost", 6)];
    auto_create(&manager, "Grown").await;
    let queues = queues.map(|(topic, nums)| (topic.to_owned(), nums)).into();
    assert_eq!(manager.make_for_queues(&queues).await, ["Grown", "Lost"]);
    assert_eq!(manager.make_for_queues(&queues).await, [] as [&str; 0]);
    let again = fixture.load();
    let nums = |topic| {
        let config = again.select_topic_config(topic);
        config.map(|it| (it.read_queue_nums, it.write_queue_nums, it.perm))
    };
    assert_eq!(nums("Known"), Some((4, 4, 6)));
    assert_eq!((nums("Grown"), nums("Lost")), (Some((9, 9, 6)), Some((6, 6, 6))));
}

/// An operator who takes queues away leaves what lies in them: that is no reason to bring them back.
#[tokio::test]
async fn what_was_stored_after_the_tables_last_change_tells_of_more_queues() {
    let fixture = fixture();
    let manager = fixture.load();
    auto_create(&manager, "T").await;
    let changed_ms = u64::try_from(manager.data_version().timestamp).unwrap();
    let told = |topic, queue_ids: &[u32], newest: &[(u32, u64)]| {
        let stored_ms = |id| newest.iter().find(|it| it.0 == id).map(|it| changed_ms + it.1);
        manager.queue_nums_told(topic, queue_ids, stored_ms)
    };
    let all = [0, 1, 2, 3, 4, 5, 6];
    assert_eq!(told("T", &all, &[(3, 9), (4, 0), (5, 0)]), None);
    assert_eq!(told("T", &all, &[(3, 9), (4, 1), (5, 1), (6, 0)]), Some(6));
    assert_eq!(told("Unknown", &[0, 2], &[]), Some(3));
    assert_eq!(told("Unknown", &[u32::MAX], &[]), None, "no topic has so many");
}

#[tokio::test]
async fn the_topic_of_a_queue_is_there_although_the_disk_is_full() {
    let (mut fixture, disk) = (fixture(), Counting::new());
    fixture.env.disk = disk.clone();
    let manager = fixture.load();
    disk.fail(true);
    manager.make_for_queues(&[("Lost".to_owned(), 2)].into()).await;
    assert_eq!(manager.select_topic_config("Lost").unwrap().read_queue_nums, 2);
    assert_eq!(fixture.load().select_topic_config("Lost"), None);
    // The next change takes it along.
    disk.fail(false);
    auto_create(&manager, "T").await;
    assert_eq!(fixture.load().wrapper(), manager.wrapper());
}

#[tokio::test]
async fn a_queue_that_a_message_goes_to_can_be_read() {
    let fixture = fixture();
    let manager = fixture.load();
    let nums = |manager: &TopicConfigManager, topic| {
        manager.select_topic_config(topic).map(|it| (it.read_queue_nums, it.write_queue_nums))
    };
    assert!(manager.make_readable("Lost", 1).await && manager.make_readable("Lost", 3).await);
    assert!(!manager.make_readable("Lost", 0).await);
    assert_eq!(
        nums(&manager, "Lost"),
        Some((4, 2)),
        "producers get no queue that nobody asked for"
    );
    auto_create(&manager, "Known").await;
    assert!(!manager.make_readable("Known", 3).await && manager.make_readable("Known", 5).await);
    assert_eq!(nums(&manager, "Known"), Some((6, 4)));
    assert!(!manager.make_readable("Known", u32::MAX).await, "no topic has so many");
    assert_eq!(fixture.load().wrapper(), manager.wrapper());
}

#[tokio::test]
async fn the_order_flag_follows_the_name_servers() {
    let manager = fixture().load();
    auto_create(&manager, "T").await;
    let ordered: OrderedMap<_, _> =
        [("T".to_owned(), "broker-a:4".to_owned())].into_iter().collect();
    for _ in 0..2 {
        manager.update_order_topic_config(&ordered).await.unwrap();
        assert!(manager.select_topic_config("T").unwrap().order);
        assert_eq!(manager.data_version().counter, 2);
    }
    manager.update_order_topic_config(&OrderedMap::default()).await.unwrap();
    assert!(!manager.select_topic_config("T").unwrap().order);
}
#[tokio::test]
async fn however_many_topics_appear_at_once_the_file_is_written_a_few_times() {
    for count in [10, 2_000] {
        let (mut fixture, disk) = (fixture(), Counting::new());
        fixture.env.disk = disk.clone();
        let manager = fixture.load();
        let retry_topics: Vec<_> = (0..count)
            .map(|n| GroupTopic { name: format!("%RETRY%{n}"), ..retry_topic() })
            .collect();
        manager.create_topics_in_send_message_back_method(&retry_topics).await.unwrap();
        assert_eq!(disk.files_written(), 1);
        let names: Vec<String> = (0..count).map(|n| format!("topic-{n}")).collect();
        let sent = names.iter().map(|topic| auto_create(&manager, topic));
        assert!(join_all(sent).await.into_iter().all(|found| found.unwrap().is_new));
        assert!(disk.files_written() <= 4, "{} writes", disk.files_written());
        assert_eq!(fixture.load().topic_nums(), manager.topic_nums());
    }
}

#[tokio::test]
async fn topics_and_their_queues_are_bounded() {
    let mut fixture = fixture();
    fixture.config.limits.topic_nums = 10;
    fixture.config.limits.queue_nums_per_topic = 20;
    fixture.config.limits.queue_nums = 1_100;
    let manager = fixture.load();
    let update = async |topic: &str, read, write, perm| {
        let mut config = TopicConfig::new(topic, read, perm);
        config.write_queue_nums = write;
        let updated = manager.update_topic_config(config).await;
        updated.map_err(|error| error.to_string()).err().unwrap_or_default()
    };
    assert!(update("T", 0, 0, 6).await.contains("readQueueNums=0 and writeQueueNums=0"));
    assert!(update("T", -5, 8, 6).await.contains("makes no sense"));
    assert!(update("T", 8, 8, -1).await.contains("perm=-1"));
    assert!(update("T", i32::MAX, 8, 6).await.contains("maxQueueNumsPerTopic=20"));
    // The system's topics have 1,054 queues.
    assert_eq!(update("T", 0, 20, 6).await, "");
    assert!(update("U", 20, 20, 6).await.contains("maxQueueNums=1100"));
    assert_eq!(update("U", 8, 8, 6).await, "");
    assert_eq!(update("T", 4, 4, 6).await, "");
    assert!(update("V", 1, 1, 6).await.contains("maxTopicNums=10"));
    let retry = manager.create_topic_in_send_message_back_method(retry_topic()).await;
    assert!(retry.unwrap_err().to_string().contains("maxTopicNums=10"));
    let sent = manager.create_topic_in_send_message_method("V", "TBW102", 4, 0).await;
    assert!(sent.unwrap_err().to_string().contains("maxTopicNums=10"));
    assert_eq!(fixture.load().topic_nums(), 10);
}

#[tokio::test]
async fn the_version_follows_the_role() {
    let mut fixture = fixture();
    fixture.store_config.broker_role = BrokerRole::Slave;
    let store = mq_store::MessageStore::open(
        fixture.env.clone(),
        std::sync::Arc::new(fixture.store_config.clone()),
    );
    let store = store.await.unwrap();
    let (env, config) = (&fixture.env, &fixture.config);
    let topics =
        TopicConfigManager::load(env, config, &fixture.store_config, store.role()).unwrap();
    topics.create_topic_in_send_message_back_method(retry_topic()).await.unwrap();
    assert_eq!(topics.data_version().counter, 0, "a slave's own");
    store.change_role(BrokerRole::AsyncMaster).await.unwrap();
    let other = GroupTopic { name: "%RETRY%H".to_owned(), ..retry_topic() };
    topics.create_topic_in_send_message_back_method(other).await.unwrap();
    assert_eq!(topics.data_version().counter, 1);
    store.shutdown().await;
}
