//! The route of a topic (response to 105).

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::codes::MqVersion;
use crate::fastjson::{Json, JsonStyle, JsonWriter};

/// Broker id of a master.
pub const MASTER_ID: i64 = 0;

json_body! {
    /// Where a topic's queues are.
    #[derive(Eq)]
    TopicRouteData {
        /// Brokers that have the topic.
        broker_datas: Vec<BrokerData> = "brokerDatas",
        /// Filter servers per broker address; a dead feature, always empty.
        filter_server_table: BTreeMap<String, Vec<String>> = "filterServerTable",
        /// `broker:queues;…` of an ordered topic.
        order_topic_conf: Option<String> = "orderTopicConf",
        /// Queues per broker.
        queue_datas: Vec<QueueData> = "queueDatas",
    }

    /// The addresses of one broker name: a master and its slaves.
    #[derive(Eq)]
    BrokerData {
        /// `host:port` per broker id; 0 is the master.
        broker_addrs: BTreeMap<i64, String> = "brokerAddrs",
        /// Broker name.
        broker_name: String = "brokerName",
        /// Cluster.
        cluster: String = "cluster",
    }

    /// The queues of a topic on one broker name.
    #[derive(Eq)]
    QueueData {
        /// Broker name.
        broker_name: String = "brokerName",
        /// [`PermName`](crate::sys_flag::PermName) bits.
        perm: i32 = "perm",
        /// Queues to read.
        read_queue_nums: i32 = "readQueueNums",
        /// Unit bits.
        topic_sys_flag: i32 = "topicSysFlag",
        /// Queues to write.
        write_queue_nums: i32 = "writeQueueNums",
    }
}

impl TopicRouteData {
    /// The body for a client of `version`. From 4.9.4 on, or if `accept_standard_json_only`, the
    /// text is standard JSON; older clients need broker ids without quotes.
    #[must_use]
    pub fn encode_for(&self, version: i32, accept_standard_json_only: bool) -> Bytes {
        let is_standard = accept_standard_json_only || version >= MqVersion::V4_9_4;
        let style = if is_standard { JsonStyle::Standard } else { JsonStyle::Compact };
        let mut writer = JsonWriter::new(style);
        self.write(&mut writer);
        writer.finish()
    }
}

impl BrokerData {
    /// Address of the master, if there is one.
    #[must_use]
    pub fn master_addr(&self) -> Option<&str> {
        self.broker_addrs.get(&MASTER_ID).map(String::as_str)
    }
}
