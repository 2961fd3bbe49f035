//! What is counted under which name and key.

use mq_store::{AppendMessageResult, PutMessageStatus};

use super::*;

fn stored(messages: usize, wrote_bytes: u32) -> PutMessageResult {
    let append = AppendMessageResult {
        phy_offset: 0,
        wrote_bytes,
        store_timestamp_ms: 0,
        queue_offset: 0,
        batch_phy_offsets: if messages > 1 { vec![0; messages] } else { Vec::new() },
    };
    PutMessageResult { status: PutMessageStatus::FlushDiskTimeout, append: Some(append) }
}

fn handed_out(messages: u64, bytes: u64) -> HandedOut {
    HandedOut { messages, bytes, latency: Duration::from_millis(7) }
}

fn manager(stats_item_nums: usize) -> BrokerStatsManager {
    let limits = BrokerLimits { stats_item_nums, ..BrokerLimits::default() };
    BrokerStatsManager::new("C", &limits)
}

/// Sum and average of the last minute.
fn minute(stats: &BrokerStatsManager, name: &str, key: &str) -> Option<(i64, f64)> {
    stats.view(name, key).map(|view| (view.stats_minute.sum, view.stats_minute.avgpt))
}

#[tokio::test(start_paused = true)]
async fn every_name_has_its_keys() {
    let stats = manager(100);
    stats.put("T", 3, &stored(1, 100));
    stats.put("T", 4, &stored(3, 500));
    let refused = PutMessageStatus::ServiceNotAvailable;
    stats.put("T", 4, &PutMessageResult { status: refused, append: None });
    stats.get("G", "T", 3, handed_out(2, 300));
    stats.sent_back("G", "T");
    tokio::time::advance(Duration::from_secs(10)).await;
    let expected = [
        ("TOPIC_PUT_NUMS", "T", 4, 2.0),
        ("TOPIC_PUT_SIZE", "T", 600, 300.0),
        ("QUEUE_PUT_NUMS", "T@4", 3, 3.0),
        ("QUEUE_PUT_SIZE", "T@3", 100, 100.0),
        ("GROUP_GET_NUMS", "T@G", 2, 2.0),
        ("GROUP_GET_SIZE", "T@G", 300, 300.0),
        ("QUEUE_GET_NUMS", "T@3@G", 2, 2.0),
        ("QUEUE_GET_SIZE", "T@3@G", 300, 300.0),
        ("GROUP_GET_LATENCY", "3@T@G", 7, 7.0),
        ("SNDBCK_PUT_NUMS", "T@G", 1, 1.0),
        ("BROKER_PUT_NUMS", "C", 4, 0.0),
        ("BROKER_GET_NUMS", "C", 2, 0.0),
    ];
    for (name, key, sum, average) in expected {
        assert_eq!(minute(&stats, name, key), Some((sum, average)), "{name} {key}");
    }
    assert_eq!(stats.tps_group_get_nums("G", "T"), 0.2);
    assert_eq!(stats.tps_group_get_nums("H", "T"), 0.0);
    let absent = [
        ("TOPIC_PUT_NUMS", "U"),
        ("QUEUE_PUT_NUMS", "T@x"),
        ("QUEUE_GET_NUMS", "T@G"),
        ("GROUP_GET_NUMS", "T"),
        ("SNDBCK_PUT_NUMS", "T@H"),
        ("BROKER_PUT_NUMS", "D"),
        ("GROUP_GET_FALL_SIZE", "3@T@G"),
        ("no such name", "T"),
    ];
    for (name, key) in absent {
        assert_eq!(minute(&stats, name, key), None, "{name} {key}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_deleted_goes() {
    let stats = manager(100);
    for topic in ["T", "U"] {
        stats.put(topic, 0, &stored(1, 100));
        for group in ["G", "H"] {
            stats.get(group, topic, 0, handed_out(1, 100));
            stats.sent_back(group, topic);
        }
    }
    stats.sent_back("G", "only");
    assert_eq!(lock(&stats.table).used(), 2 * (2 + 2 * 3) + 1);
    stats.topic_deleted("T");
    assert_eq!(lock(&stats.table).used(), 2 + 2 * 3 + 1);
    assert!(stats.view("TOPIC_PUT_NUMS", "T").is_none());
    stats.group_deleted("G");
    assert_eq!(lock(&stats.table).used(), 2 + 3);
    assert!(stats.view("SNDBCK_PUT_NUMS", "only@G").is_none());
    assert!(stats.view("GROUP_GET_NUMS", "U@H").is_some());
}

#[tokio::test(start_paused = true)]
async fn there_are_no_more_keys_than_there_may_be() {
    let stats = manager(5);
    for nth in 0..100 {
        stats.put(&format!("T{nth}"), nth, &stored(1, 100));
        stats.get("G", &format!("T{nth}"), nth, handed_out(1, 100));
        stats.sent_back("G", &format!("U{nth}"));
    }
    assert_eq!(lock(&stats.table).used(), 5);
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(minute(&stats, "BROKER_PUT_NUMS", "C"), Some((100, 0.0)), "the whole is known");
}
