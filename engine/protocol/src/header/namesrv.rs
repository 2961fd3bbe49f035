//! What name servers are asked: 100 to 105, 205, 216, 219, 224, 322, 327.

custom_header! {
    /// Header of REGISTER_BROKER (103).
    RegisterBrokerRequestHeader {
        /// Broker name.
        broker_name: String = "brokerName",
        /// Address for clients, `host:port`.
        broker_addr: String = "brokerAddr",
        /// Cluster.
        cluster_name: String = "clusterName",
        /// Address for slaves, `host:port`.
        ha_server_addr: String = "haServerAddr",
        /// Broker id; 0 is the master.
        broker_id: i64 = "brokerId",
        /// Whether the body has the compressed form.
        compressed: bool = "compressed" or false,
        /// CRC-32 of the body, 31 bits; 0 for unchecked.
        body_crc32: i32 = "bodyCrc32" or 0,
    }

    /// Header of the response to REGISTER_BROKER.
    RegisterBrokerResponseHeader {
        /// Address of the master for slaves, told to slaves only.
        ha_server_addr: Option<String> = "haServerAddr",
        /// Address of the master for clients, told to slaves only.
        master_addr: Option<String> = "masterAddr",
    }

    /// Header of UNREGISTER_BROKER (104) and QUERY_DATA_VERSION (322).
    BrokerIdentityRequestHeader {
        /// Broker name.
        broker_name: String = "brokerName",
        /// Address for clients, `host:port`.
        broker_addr: String = "brokerAddr",
        /// Cluster.
        cluster_name: String = "clusterName",
        /// Broker id; 0 is the master.
        broker_id: i64 = "brokerId",
    }

    /// Header of the response to QUERY_DATA_VERSION.
    QueryDataVersionResponseHeader {
        /// Whether the broker has to register again.
        changed: bool = "changed",
    }

    /// Header of GET_ROUTEINFO_BY_TOPIC (105).
    GetRouteInfoRequestHeader {
        /// Topic.
        topic: String = "topic",
        /// Whether the body has to be standard JSON.
        accept_standard_json_only: Option<bool> = "acceptStandardJsonOnly",
    }

    /// Header of PUT_KV_CONFIG (100).
    PutKvConfigRequestHeader {
        /// Namespace.
        namespace: String = "namespace",
        /// Key.
        key: String = "key",
        /// Value.
        value: String = "value",
    }

    /// Header of GET_KV_CONFIG (101) and DELETE_KV_CONFIG (102).
    KvConfigRequestHeader {
        /// Namespace.
        namespace: String = "namespace",
        /// Key.
        key: String = "key",
    }

    /// Header of the response to GET_KV_CONFIG.
    GetKvConfigResponseHeader {
        /// Value.
        value: Option<String> = "value",
    }

    /// Header of GET_KVLIST_BY_NAMESPACE (219).
    GetKvListByNamespaceRequestHeader {
        /// Namespace.
        namespace: String = "namespace",
    }

    /// Header of WIPE_WRITE_PERM_OF_BROKER (205) and ADD_WRITE_PERM_OF_BROKER (327).
    WritePermOfBrokerRequestHeader {
        /// Broker name.
        broker_name: String = "brokerName",
    }

    /// Header of the response to WIPE_WRITE_PERM_OF_BROKER.
    WipeWritePermOfBrokerResponseHeader {
        /// Topics changed.
        wipe_topic_count: i32 = "wipeTopicCount",
    }

    /// Header of the response to ADD_WRITE_PERM_OF_BROKER.
    AddWritePermOfBrokerResponseHeader {
        /// Topics changed.
        add_topic_count: i32 = "addTopicCount",
    }

    /// Header of DELETE_TOPIC_IN_NAMESRV (216) and DELETE_TOPIC_IN_BROKER (215).
    DeleteTopicRequestHeader {
        /// Topic.
        topic: String = "topic",
        /// Cluster; name servers forget the topic everywhere without one.
        cluster_name: Option<String> = "clusterName",
    }

    /// Header of GET_TOPICS_BY_CLUSTER (224).
    GetTopicsByClusterRequestHeader {
        /// Cluster.
        cluster: String = "cluster",
    }
}
