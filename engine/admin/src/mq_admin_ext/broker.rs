//! Requests about a broker itself.

use mq_protocol::body::connection::ProducerTableInfo;
use mq_protocol::body::consume_stats::{BrokerStatsData, ConsumeStatsList};
use mq_protocol::codes::RequestCode;
use mq_protocol::header::admin::{GetConsumeStatsInBrokerHeader, ViewBrokerStatsDataRequestHeader};

use super::MqAdminExt;
use crate::error::AdminError;
use crate::runtime_stats::RuntimeStats;

impl MqAdminExt {
    /// How a broker is doing (28).
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn fetch_broker_runtime_stats(&self, addr: &str) -> Result<RuntimeStats, AdminError> {
        self.ask_body(addr, RequestCode::GET_BROKER_RUNTIME_INFO, &()).await.map(RuntimeStats)
    }

    /// Its settings, as lines of a `.properties` file (26).
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn get_broker_config(&self, addr: &str) -> Result<String, AdminError> {
        self.ask_text(addr, RequestCode::GET_BROKER_CONFIG).await
    }

    /// Changes settings (25).
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn update_broker_config(
        &self,
        addr: &str,
        properties: String,
    ) -> Result<(), AdminError> {
        self.tell_body(addr, RequestCode::UPDATE_BROKER_CONFIG, &(), properties).await
    }

    /// Has a broker do a piece of housekeeping at once: 306, 316 or 329.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn clean(&self, addr: &str, code: i32) -> Result<(), AdminError> {
        self.tell(addr, code, &()).await
    }

    /// Its producers (328).
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn get_all_producer_info(&self, addr: &str) -> Result<ProducerTableInfo, AdminError> {
        self.ask_body(addr, RequestCode::GET_ALL_PRODUCER_INFO, &()).await
    }

    /// How far all groups are (317).
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn fetch_consume_stats_in_broker(
        &self,
        addr: &str,
        is_order: bool,
    ) -> Result<ConsumeStatsList, AdminError> {
        let header = GetConsumeStatsInBrokerHeader { is_order };
        self.ask_body(addr, RequestCode::GET_BROKER_CONSUME_STATS, &header).await
    }

    /// One statistic (315).
    ///
    /// # Errors
    /// When it does not answer, or has no such statistic.
    pub async fn view_broker_stats_data(
        &self,
        addr: &str,
        stats_name: &str,
        stats_key: &str,
    ) -> Result<BrokerStatsData, AdminError> {
        let header = ViewBrokerStatsDataRequestHeader {
            stats_name: stats_name.to_owned(),
            stats_key: stats_key.to_owned(),
        };
        self.ask_body(addr, RequestCode::VIEW_BROKER_STATS_DATA, &header).await
    }
}
