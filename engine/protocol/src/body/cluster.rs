//! Brokers by cluster (response to 106) and lists of topics and groups.

use super::OrderedMap;
use super::topic_route::BrokerData;

json_body! {
    /// Response to GET_BROKER_CLUSTER_INFO (106); broker ids within are never quoted.
    #[derive(Eq)]
    ClusterInfo {
        /// Addresses per broker name.
        broker_addr_table: OrderedMap<String, BrokerData> = "brokerAddrTable",
        /// Broker names per cluster.
        cluster_addr_table: OrderedMap<String, Vec<String>> = "clusterAddrTable",
    }

    /// Response to 206, 224, 304, 305 and 311 to 313.
    #[derive(Eq)]
    TopicList {
        /// Address of a broker to ask for more (304).
        broker_addr: Option<String> = "brokerAddr",
        /// Topics.
        topic_list: Vec<String> = "topicList",
    }

    /// Response to QUERY_TOPIC_CONSUME_BY_WHO (300).
    #[derive(Eq)]
    GroupList {
        /// Consumer groups.
        group_list: Vec<String> = "groupList",
    }
}
