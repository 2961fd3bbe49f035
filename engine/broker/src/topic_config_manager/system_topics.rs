//! The topics that every broker has from its start.

use mq_protocol::body::topic_config::TopicConfig;
use mq_protocol::message::reply_topic;
use mq_protocol::sys_flag::PermName;
use mq_protocol::topic_validator::{
    AUTO_CREATE_TOPIC_KEY_TOPIC, RMQ_SYS_BENCHMARK_TOPIC, RMQ_SYS_OFFSET_MOVED_EVENT,
    RMQ_SYS_SCHEDULE_TOPIC, RMQ_SYS_SELF_TEST_TOPIC,
};

use crate::config::BrokerConfig;

const SCHEDULE_TOPIC_QUEUE_NUMS: i32 = 18;
const BENCHMARK_TOPIC_QUEUE_NUMS: i32 = 1024;
const CLUSTER_TOPIC_QUEUE_NUMS: i32 = 16;
const INHERITED: i32 = PermName::READ_WRITE | PermName::INHERIT;

/// What topics are made after that producers need.
pub(super) fn auto_create_pattern(config: &BrokerConfig) -> TopicConfig {
    let queue_nums = config.default_topic_queue_nums as i32;
    TopicConfig::new(AUTO_CREATE_TOPIC_KEY_TOPIC, queue_nums, INHERITED)
}

/// What every broker has from its start.
pub(super) fn system_topics(config: &BrokerConfig) -> Vec<TopicConfig> {
    const READ_WRITE: i32 = PermName::READ_WRITE;
    let perm_if = |is_enabled| if is_enabled { INHERITED } else { PermName::INHERIT };
    let cluster = &config.broker_cluster_name;
    let mut topics = vec![
        TopicConfig::new(RMQ_SYS_SELF_TEST_TOPIC, 1, READ_WRITE),
        TopicConfig::new(RMQ_SYS_BENCHMARK_TOPIC, BENCHMARK_TOPIC_QUEUE_NUMS, READ_WRITE),
        TopicConfig::new(cluster, CLUSTER_TOPIC_QUEUE_NUMS, perm_if(config.cluster_topic_enable)),
        TopicConfig::new(&config.broker_name, 1, perm_if(config.broker_topic_enable)),
        TopicConfig::new(RMQ_SYS_OFFSET_MOVED_EVENT, 1, READ_WRITE),
        TopicConfig::new(RMQ_SYS_SCHEDULE_TOPIC, SCHEDULE_TOPIC_QUEUE_NUMS, READ_WRITE),
        TopicConfig::new(reply_topic(cluster), 1, READ_WRITE),
    ];
    if config.auto_create_topic_enable {
        topics.push(auto_create_pattern(config));
    }
    if config.trace_topic_enable {
        topics.push(TopicConfig::new(&config.msg_trace_topic_name, 1, READ_WRITE));
    }
    topics
}
