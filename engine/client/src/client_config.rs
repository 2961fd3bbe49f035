//! [`ClientConfig`]: what a client obeys (RocketMQ 4.9 `ClientConfig`).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use mq_protocol::upstream::UpstreamSwitch;
use mq_remoting::RemotingClientConfig;

use crate::rpc_hooks::SessionCredentials;

/// Settings of a [`ClientInstance`](crate::ClientInstance), with RocketMQ's defaults.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Name servers, `host:port` each (`namesrvAddr`).
    pub namesrv_addrs: Vec<String>,
    /// What tells apart the clients of one address: the client id begins with `ip@instanceName`. Empty lets
    /// the instance draw a name, as Java does for `DEFAULT`.
    pub instance_name: String,
    /// The unit of the client, the next part of its client id; empty for none (`unitName`).
    pub unit_name: String,
    /// Whether topics that its sends create belong to a unit (`unitMode`).
    pub unit_mode: bool,
    /// The namespace of its topics and groups; empty for none. What callers name and get has no namespace.
    pub namespace: String,
    /// Whether the client says that it reads streams, in its client id and in every request
    /// (`enableStreamRequestType`): lite pull consumers of RocketMQ do.
    pub enable_stream_request_type: bool,
    /// What requests are signed with; servers without access control do not look at it.
    pub session_credentials: Option<SessionCredentials>,
    /// `pollNameServerInterval`.
    pub poll_name_server_interval: Duration,
    /// `heartbeatBrokerInterval`.
    pub heartbeat_broker_interval: Duration,
    /// `persistConsumerOffsetInterval`.
    pub persist_consumer_offset_interval: Duration,
    /// Settings of the connections.
    pub remoting: RemotingClientConfig,
    /// Upstream behaviours switched on; those of brokers mean nothing here.
    pub upstream: BTreeSet<UpstreamSwitch>,
}

impl Default for ClientConfig {
    fn default() -> Self {
        ClientConfig {
            namesrv_addrs: Vec::new(),
            instance_name: String::new(),
            unit_name: String::new(),
            unit_mode: false,
            namespace: String::new(),
            enable_stream_request_type: false,
            session_credentials: None,
            poll_name_server_interval: Duration::from_secs(30),
            heartbeat_broker_interval: Duration::from_secs(30),
            persist_consumer_offset_interval: Duration::from_secs(5),
            remoting: RemotingClientConfig::default(),
            upstream: BTreeSet::new(),
        }
    }
}

impl ClientConfig {
    /// Whether an upstream behaviour is switched on.
    #[must_use]
    pub fn upstream(&self, switch: UpstreamSwitch) -> bool {
        self.upstream.contains(&switch)
    }

    /// `ip@instanceName`, with `@unitName` and `@STREAM` where they apply.
    pub(crate) fn build_mq_client_id(&self, ip: IpAddr, instance_name: &str) -> String {
        let mut client_id = format!("{ip}@{instance_name}");
        if !self.unit_name.trim().is_empty() {
            client_id.push('@');
            client_id.push_str(&self.unit_name);
        }
        if self.enable_stream_request_type {
            client_id.push_str("@STREAM");
        }
        client_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_id_tells_of_unit_and_stream() {
        let ip = [10, 0, 0, 1].into();
        let plain = ClientConfig::default();
        assert_eq!(plain.build_mq_client_id(ip, "i"), "10.0.0.1@i");
        let config = ClientConfig { unit_name: "u".into(), ..plain };
        assert_eq!(config.build_mq_client_id(ip, "i"), "10.0.0.1@i@u");
        let config = ClientConfig { enable_stream_request_type: true, ..config };
        assert_eq!(config.build_mq_client_id(ip, "i"), "10.0.0.1@i@u@STREAM");
    }
}
