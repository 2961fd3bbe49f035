//! Offsets: their file, their bounds, and what others know of them.

use mq_protocol::fastjson::from_slice;

use super::*;

fn load(dir: &std::path::Path) -> ConsumerOffsetManager {
    let config = BrokerConfig::new("a");
    ConsumerOffsetManager::load(&Env::os(), &config, &StoreConfig::at(dir)).unwrap()
}

fn file(dir: &std::path::Path) -> String {
    let path = dir.join("config").join("consumerOffset.json");
    String::from_utf8(Env::os().disk.read(&path).unwrap_or_default()).unwrap()
}

fn wrapper(text: &str) -> ConsumerOffsetSerializeWrapper {
    from_slice(text.as_bytes()).unwrap()
}

fn wrapper_of(manager: &ConsumerOffsetManager) -> ConsumerOffsetSerializeWrapper {
    from_slice(&manager.content()).unwrap()
}

#[tokio::test]
async fn offsets_are_written_in_the_dialect_of_java_and_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let manager = load(dir.path());
    manager.persist().await.unwrap();
    assert_eq!(file(dir.path()), "");
    manager.commit_offset("G", "T", 1, 7).unwrap();
    manager.commit_offset("G", "T", 0, 12).unwrap();
    manager.commit_offset("H", "%RETRY%H", 0, -1).unwrap();
    manager.persist().await.unwrap();
    let text = r#"{"offsetTable":{"%RETRY%H@H":{0:-1},"T@G":{0:12,1:7}}}"#;
    assert_eq!(file(dir.path()), text);

    let again = load(dir.path());
    assert_eq!(again.query_offset("G", "T", 1), Some(7));
    assert_eq!(again.query_offset("G", "T", 2), None);
    assert_eq!(again.content(), text);
}

#[tokio::test(start_paused = true)]
async fn a_change_is_written_after_the_interval() {
    let dir = tempfile::tempdir().unwrap();
    let manager = Arc::new(load(dir.path()));
    let tasks = Env::os().tasks;
    tasks.spawn_until_cancelled("persist", manager.clone().run(Duration::from_secs(5)));
    manager.commit_offset("G", "T", 0, 1).unwrap();
    tokio::time::sleep(Duration::from_millis(4_990)).await;
    assert_eq!(file(dir.path()), "");
    manager.commit_offset("G", "T", 0, 2).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    while file(dir.path()).is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(file(dir.path()), r#"{"offsetTable":{"T@G":{0:2}}}"#);
    tasks.shutdown().await;
}

#[test]
fn offsets_beyond_the_end_are_moved_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let manager = tokio::runtime::Runtime::new().unwrap().block_on(async { load(dir.path()) });
    manager.commit_offset("G", "T", 0, 10).unwrap();
    manager.commit_offset("G", "T", 1, 4).unwrap();
    let clamped = manager.clamp(|topic, _| if topic == "T" { 5 } else { 0 });
    assert_eq!(
        clamped,
        [ClampedOffset {
            group: "G".to_owned(),
            topic: "T".to_owned(),
            queue_id: 0,
            from: 10,
            to: 5,
        }]
    );
    assert_eq!(manager.query_offset("G", "T", 0), Some(5));
    assert_eq!(manager.query_offset("G", "T", 1), Some(4));
    assert_eq!(manager.clamp(|_, _| 5), []);
}

#[tokio::test]
async fn of_two_offsets_the_greater_one_stays() {
    let dir = tempfile::tempdir().unwrap();
    let manager = load(dir.path());
    manager.commit_offset("G", "T", 0, 10).unwrap();
    manager.commit_offset("G", "T", 1, 10).unwrap();
    manager.commit_offset("H", "T", 0, 3).unwrap();
    manager.merge(wrapper(r#"{"offsetTable":{"T@G":{0:4,1:12,2:1},"U@G":{0:2}}}"#));
    let merged = wrapper(r#"{"offsetTable":{"T@G":{0:10,1:12,2:1},"T@H":{0:3},"U@G":{0:2}}}"#);
    assert_eq!(wrapper_of(&manager), merged);
}

#[tokio::test]
async fn what_is_deleted_has_no_offsets() {
    let dir = tempfile::tempdir().unwrap();
    let manager = load(dir.path());
    let kept = r#"{"offsetTable":{"T@G":{0:5}}}"#;
    manager.merge(wrapper(r#"{"offsetTable":{"T@G":{0:5},"T@H":{0:1,1:2},"U@G":{0:3}}}"#));
    manager.remove_topic("U");
    manager.remove_group("H");
    assert_eq!(wrapper_of(&manager), wrapper(kept));
    manager.persist().await.unwrap();
    assert_eq!(file(dir.path()), kept);
    assert_eq!(lock(&manager.state).count, 1);
    manager.remove_topic("none");
    assert_eq!(wrapper_of(&manager), wrapper(kept));
}

#[tokio::test]
async fn offsets_are_bounded_but_for_those_of_other_brokers() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = BrokerConfig::new("a");
    config.limits.consumer_offset_nums = 3;
    let manager =
        ConsumerOffsetManager::load(&Env::os(), &config, &StoreConfig::at(dir.path())).unwrap();
    for queue_id in 0..3 {
        manager.commit_offset("G", "T", queue_id, 5).unwrap();
    }
    let refused = manager.commit_offset("G", "T", 3, 5).unwrap_err().to_string();
    assert!(refused.contains("maxConsumerOffsetNums=3"), "{refused}");
    assert!(manager.commit_offset("H", "T", 0, 5).is_err());
    manager.commit_offset("G", "T", 1, 6).unwrap();
    manager.merge(wrapper(r#"{"offsetTable":{"T@G":{2:9,3:4},"U@G":{0:2}}}"#));
    assert!(manager.commit_offset("H", "T", 0, 5).is_err());
    let text = r#"{"offsetTable":{"T@G":{0:5,1:6,2:9,3:4},"U@G":{0:2}}}"#;
    assert_eq!(wrapper_of(&manager), wrapper(text));
    assert_eq!(lock(&manager.state).count, 5);
}
