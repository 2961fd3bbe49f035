//! Requests about topics.

use mq_protocol::body::OrderedMap;
use mq_protocol::body::cluster::GroupList;
use mq_protocol::body::consume_stats::{
    QueryConsumeQueueResponseBody, TopicOffset, TopicStatsTable,
};
use mq_protocol::body::topic_config::{TopicConfig, TopicConfigSerializeWrapper};
use mq_protocol::codes::RequestCode;
use mq_protocol::header::admin::{CreateTopicRequestHeader, TopicRequestHeader};
use mq_protocol::header::namesrv::DeleteTopicRequestHeader;
use mq_protocol::header::query_message::QueryConsumeQueueRequestHeader;
use mq_protocol::message::MessageQueue;
use mq_protocol::topic_validator::AUTO_CREATE_TOPIC_KEY_TOPIC;

use super::MqAdminExt;
use super::cluster::select_broker_addrs;
use crate::error::AdminError;

impl MqAdminExt {
    /// Makes or changes a topic on a broker (17).
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn create_and_update_topic_config(
        &self,
        addr: &str,
        config: &TopicConfig,
    ) -> Result<(), AdminError> {
        let header = CreateTopicRequestHeader {
            topic: config.topic_name.clone(),
            default_topic: AUTO_CREATE_TOPIC_KEY_TOPIC.to_owned(),
            read_queue_nums: config.read_queue_nums,
            write_queue_nums: config.write_queue_nums,
            perm: config.perm,
            topic_filter_type: config.topic_filter_type.name().to_owned(),
            topic_sys_flag: Some(config.topic_sys_flag),
            order: config.order,
        };
        self.tell(addr, RequestCode::UPDATE_AND_CREATE_TOPIC, &header).await
    }

    /// Every topic of a broker (21).
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn get_all_topic_config(
        &self,
        addr: &str,
    ) -> Result<TopicConfigSerializeWrapper, AdminError> {
        self.ask_body(addr, RequestCode::GET_ALL_TOPIC_CONFIG, &()).await
    }

    /// One topic of a broker.
    ///
    /// # Errors
    /// When it does not answer, or has no such topic.
    pub async fn examine_topic_config(
        &self,
        addr: &str,
        topic: &str,
    ) -> Result<TopicConfig, AdminError> {
        let all = self.get_all_topic_config(addr).await?;
        let config = all.topic_config_table.get(topic).cloned();
        config.ok_or_else(|| AdminError::Failed(format!("{addr} has no topic {topic}")))
    }

    /// Deletes a topic on a broker (215).
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn delete_topic_in_broker(&self, addr: &str, topic: &str) -> Result<(), AdminError> {
        let header = DeleteTopicRequestHeader { topic: topic.to_owned(), cluster_name: None };
        self.tell(addr, RequestCode::DELETE_TOPIC_IN_BROKER, &header).await
    }

    /// The ends of a topic's queues (202), of all brokers that have it, in the order of queues.
    ///
    /// # Errors
    /// When the topic has no route, or a broker does not answer.
    pub async fn examine_topic_stats(
        &self,
        topic: &str,
    ) -> Result<OrderedMap<MessageQueue, TopicOffset>, AdminError> {
        let route = self.examine_topic_route_info(topic).await?;
        let mut queues = OrderedMap::default();
        for addr in select_broker_addrs(&route) {
            queues.extend(self.topic_stats_of(&addr, topic).await?);
        }
        queues.sort_keys();
        Ok(queues)
    }

    /// The ends of a topic's queues on one broker (202).
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn topic_stats_of(
        &self,
        addr: &str,
        topic: &str,
    ) -> Result<OrderedMap<MessageQueue, TopicOffset>, AdminError> {
        let header = TopicRequestHeader { topic: topic.to_owned() };
        let stats: TopicStatsTable =
            self.ask_body(addr, RequestCode::GET_TOPIC_STATS_INFO, &header).await?;
        Ok(stats.offset_table)
    }

    /// The groups that consume a topic (300), of all brokers that have it, each once.
    ///
    /// # Errors
    /// When the topic has no route, or a broker does not answer.
    pub async fn query_topic_consume_by_who(&self, topic: &str) -> Result<Vec<String>, AdminError> {
        let route = self.examine_topic_route_info(topic).await?;
        let mut groups = OrderedMap::default();
        for addr in select_broker_addrs(&route) {
            let known = self.consume_by_who_of(&addr, topic).await?;
            groups.extend(known.into_iter().map(|group| (group, ())));
        }
        Ok(groups.into_keys().collect())
    }

    /// The groups that consume a topic of one broker (300).
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn consume_by_who_of(
        &self,
        addr: &str,
        topic: &str,
    ) -> Result<Vec<String>, AdminError> {
        let header = TopicRequestHeader { topic: topic.to_owned() };
        let list: GroupList =
            self.ask_body(addr, RequestCode::QUERY_TOPIC_CONSUME_BY_WHO, &header).await?;
        Ok(list.group_list)
    }

    /// Units of a queue (321).
    ///
    /// # Errors
    /// When the broker does not answer, or refuses.
    pub async fn query_consume_queue(
        &self,
        addr: &str,
        header: &QueryConsumeQueueRequestHeader,
    ) -> Result<QueryConsumeQueueResponseBody, AdminError> {
        self.ask_body(addr, RequestCode::QUERY_CONSUME_QUEUE, header).await
    }
}
