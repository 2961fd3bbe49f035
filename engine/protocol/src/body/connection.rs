//! Who is connected (responses to 203, 204, 328).

use super::OrderedMap;
use super::heartbeat::{ConsumeFromWhere, ConsumeType, MessageModel, SubscriptionData};

json_body! {
    /// One connection of a group.
    #[derive(Eq)]
    Connection {
        /// Address of the client, `ip:port`.
        client_addr: String = "clientAddr",
        /// Client id.
        client_id: String = "clientId",
        /// Name of a [`LanguageCode`](crate::codes::LanguageCode).
        language: String = "language",
        /// Release number of the client.
        version: i32 = "version",
    }

    /// Response to GET_CONSUMER_CONNECTION_LIST (203).
    #[derive(Eq)]
    ConsumerConnection {
        /// Connections.
        connection_set: Vec<Connection> = "connectionSet",
        /// Where the group begins.
        consume_from_where: ConsumeFromWhere = "consumeFromWhere",
        /// Push or pull.
        consume_type: ConsumeType = "consumeType",
        /// Whether the group shares.
        message_model: MessageModel = "messageModel",
        /// Subscriptions by topic.
        subscription_table: OrderedMap<String, SubscriptionData> = "subscriptionTable",
    }

    /// Response to GET_PRODUCER_CONNECTION_LIST (204).
    #[derive(Eq)]
    ProducerConnection {
        /// Connections.
        connection_set: Vec<Connection> = "connectionSet",
    }

    /// Response to GET_ALL_PRODUCER_INFO (328).
    #[derive(Eq)]
    ProducerTableInfo {
        /// Connections by group.
        data: OrderedMap<String, Vec<ProducerInfo>> = "data",
    }

    /// One connection of a producer group.
    #[derive(Eq)]
    ProducerInfo {
        /// Client id.
        client_id: String = "clientId",
        /// Name of a [`LanguageCode`](crate::codes::LanguageCode).
        language: String = "language",
        /// When the last heartbeat came, in ms.
        last_update_timestamp: i64 = "lastUpdateTimestamp",
        /// Address of the client, `/ip:port`.
        remote_ip: String = "remoteIP",
        /// Release number of the client.
        version: i32 = "version",
    }
}
