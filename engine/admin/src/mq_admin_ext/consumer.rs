//! Requests about consumer groups, their members and offsets.

use mq_protocol::body::OrderedMap;
use mq_protocol::body::connection::{ConsumerConnection, ProducerConnection};
use mq_protocol::body::consume_stats::ConsumeStats;
use mq_protocol::body::offset_table::{GetConsumerStatusBody, ResetOffsetBody};
use mq_protocol::body::running_info::ConsumerRunningInfo;
use mq_protocol::body::subscription_group::{SubscriptionGroupConfig, SubscriptionGroupWrapper};
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::fastjson::to_bytes;
use mq_protocol::header::admin::{
    CloneGroupOffsetRequestHeader, DeleteSubscriptionGroupRequestHeader,
    GetConsumeStatsRequestHeader, GetProducerConnectionListRequestHeader,
};
use mq_protocol::header::client::{
    ConsumerGroupRequestHeader, GetConsumerRunningInfoRequestHeader,
    GetConsumerStatusRequestHeader, ResetOffsetRequestHeader,
};
use mq_protocol::header::offset::UpdateConsumerOffsetRequestHeader;
use mq_protocol::message::MessageQueue;

use super::MqAdminExt;
use super::cluster::select_broker_addrs;
use crate::error::AdminError;

impl MqAdminExt {
    /// Makes or changes a group on a broker (200).
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn create_and_update_subscription_group_config(
        &self,
        addr: &str,
        config: &SubscriptionGroupConfig,
    ) -> Result<(), AdminError> {
        let code = RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP;
        self.tell_body(addr, code, &(), to_bytes(config)).await
    }

    /// Deletes a group on a broker (207).
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn delete_subscription_group(
        &self,
        addr: &str,
        group: &str,
        remove_offset: bool,
    ) -> Result<(), AdminError> {
        let header =
            DeleteSubscriptionGroupRequestHeader { group_name: group.to_owned(), remove_offset };
        self.tell(addr, RequestCode::DELETE_SUBSCRIPTIONGROUP, &header).await
    }

    /// Every group of a broker (201).
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn get_all_subscription_group(
        &self,
        addr: &str,
    ) -> Result<SubscriptionGroupWrapper, AdminError> {
        self.ask_body(addr, RequestCode::GET_ALL_SUBSCRIPTIONGROUP_CONFIG, &()).await
    }

    /// How far a group is (208), in one topic or all, on all brokers that have its retry topic.
    ///
    /// # Errors
    /// When the retry topic has no route, a broker does not answer, or none has an offset of the group.
    pub async fn examine_consume_stats(
        &self,
        group: &str,
        topic: Option<&str>,
    ) -> Result<ConsumeStats, AdminError> {
        let mut all = ConsumeStats::default();
        for addr in self.addrs_of_group(group).await? {
            let stats = self.consume_stats_of(&addr, group, topic).await?;
            all.consume_tps += stats.consume_tps;
            all.offset_table.extend(stats.offset_table);
        }
        if all.offset_table.is_empty() {
            let sentence = format!("no broker has an offset of the consumer group {group}");
            return Err(AdminError::Failed(sentence));
        }
        Ok(all)
    }

    /// How far a group is on one broker (208).
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn consume_stats_of(
        &self,
        addr: &str,
        group: &str,
        topic: Option<&str>,
    ) -> Result<ConsumeStats, AdminError> {
        let header = GetConsumeStatsRequestHeader {
            consumer_group: group.to_owned(),
            topic: topic.map(str::to_owned),
        };
        self.ask_body(addr, RequestCode::GET_CONSUME_STATS, &header).await
    }

    /// The members of a group (203), as the broker at `addr` knows them, or the first one that knows any.
    ///
    /// # Errors
    /// When no broker knows a member (206), or none answers.
    pub async fn examine_consumer_connection_info(
        &self,
        group: &str,
        addr: Option<&str>,
    ) -> Result<ConsumerConnection, AdminError> {
        let addrs = match addr {
            Some(addr) => vec![addr.to_owned()],
            None => self.addrs_of_group(group).await?,
        };
        let mut outcome = Err(AdminError::Failed(format!("no broker knows the group {group}")));
        for addr in addrs {
            outcome = self.consumer_connections_of(&addr, group).await;
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    /// The members of a group that one broker knows (203).
    ///
    /// # Errors
    /// When it knows none (206), or does not answer.
    pub async fn consumer_connections_of(
        &self,
        addr: &str,
        group: &str,
    ) -> Result<ConsumerConnection, AdminError> {
        let header = ConsumerGroupRequestHeader { consumer_group: group.to_owned() };
        self.ask_body(addr, RequestCode::GET_CONSUMER_CONNECTION_LIST, &header).await
    }

    /// The producers of a group (204), as the first broker of the topic tells that knows any.
    ///
    /// # Errors
    /// When none knows one, or none answers.
    pub async fn examine_producer_connection_info(
        &self,
        group: &str,
        topic: &str,
    ) -> Result<ProducerConnection, AdminError> {
        let header = GetProducerConnectionListRequestHeader { producer_group: group.to_owned() };
        let route = self.examine_topic_route_info(topic).await?;
        let code = RequestCode::GET_PRODUCER_CONNECTION_LIST;
        let mut outcome = Err(AdminError::Failed(format!("no broker has the topic {topic}")));
        for addr in select_broker_addrs(&route) {
            outcome = self.ask_body(&addr, code, &header).await;
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    /// What a member tells of itself (307), by a broker that knows it.
    ///
    /// # Errors
    /// When no broker knows it, or it does not answer.
    pub async fn get_consumer_running_info(
        &self,
        group: &str,
        client_id: &str,
        jstack: bool,
    ) -> Result<ConsumerRunningInfo, AdminError> {
        let header = GetConsumerRunningInfoRequestHeader {
            consumer_group: group.to_owned(),
            client_id: client_id.to_owned(),
            jstack_enable: jstack,
        };
        let mut outcome = Err(AdminError::Failed(format!("no broker knows the group {group}")));
        for addr in self.addrs_of_group(group).await? {
            outcome = self.ask_body(&addr, RequestCode::GET_CONSUMER_RUNNING_INFO, &header).await;
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    /// Has the members of a group go to a store time (222; −1: the end); gives the offsets they are sent to.
    ///
    /// # Errors
    /// When the topic has no route, or a broker does not answer or refuses: 206 where nobody is online.
    pub async fn reset_offset_by_timestamp(
        &self,
        group: &str,
        topic: &str,
        timestamp_ms: i64,
        is_force: bool,
    ) -> Result<OrderedMap<MessageQueue, i64>, AdminError> {
        let header = ResetOffsetRequestHeader {
            topic: topic.to_owned(),
            group: group.to_owned(),
            timestamp: timestamp_ms,
            is_force,
        };
        let route = self.examine_topic_route_info(topic).await?;
        let mut offsets = OrderedMap::default();
        for addr in select_broker_addrs(&route) {
            let code = RequestCode::INVOKE_BROKER_TO_RESET_OFFSET;
            let body: ResetOffsetBody = self.ask_body(&addr, code, &header).await?;
            offsets.extend(body.offset_table);
        }
        Ok(offsets)
    }

    /// Sets a group's offset in a queue (15).
    ///
    /// # Errors
    /// When the broker does not answer, or refuses.
    pub async fn update_consume_offset(
        &self,
        addr: &str,
        group: &str,
        queue: &MessageQueue,
        offset: i64,
    ) -> Result<(), AdminError> {
        let header = UpdateConsumerOffsetRequestHeader {
            consumer_group: group.to_owned(),
            topic: queue.topic.clone(),
            queue_id: queue.queue_id,
            commit_offset: offset,
        };
        self.tell(addr, RequestCode::UPDATE_CONSUMER_OFFSET, &header).await
    }

    /// How far the members of a group are by their own account (223).
    ///
    /// # Errors
    /// When the topic has no route, or the broker does not answer or refuses.
    pub async fn get_consume_status(
        &self,
        group: &str,
        topic: &str,
        client_id: Option<&str>,
    ) -> Result<GetConsumerStatusBody, AdminError> {
        let header = GetConsumerStatusRequestHeader {
            topic: topic.to_owned(),
            group: group.to_owned(),
            client_addr: client_id.map(str::to_owned),
        };
        let route = self.examine_topic_route_info(topic).await?;
        let mut all = GetConsumerStatusBody::default();
        for addr in select_broker_addrs(&route) {
            let code = RequestCode::INVOKE_BROKER_TO_GET_CONSUMER_STATUS;
            let body: GetConsumerStatusBody = self.ask_body(&addr, code, &header).await?;
            for (client_id, queues) in body.consumer_table {
                all.consumer_table.entry(client_id).or_default().extend(queues);
            }
        }
        Ok(all)
    }

    /// Copies the offsets of one group to another one (314) on all brokers that have its retry topic.
    ///
    /// # Errors
    /// When that topic has no route, or a broker does not answer or refuses.
    pub async fn clone_group_offset(
        &self,
        header: &CloneGroupOffsetRequestHeader,
    ) -> Result<(), AdminError> {
        for addr in self.addrs_of_group(&header.src_group).await? {
            self.tell(&addr, RequestCode::CLONE_GROUP_OFFSET, header).await?;
        }
        Ok(())
    }
}

/// Whether nobody of the group is online, as a broker says.
pub(crate) fn is_not_online(error: &AdminError) -> bool {
    error.response_code() == Some(ResponseCode::CONSUMER_NOT_ONLINE)
}
