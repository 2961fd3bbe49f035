//! The ports of a broker: which, and what for.

use mq_store::config::StoreConfig;

use crate::config::BrokerConfig;
use crate::error::BrokerError;

pub(crate) const CLIENTS: &str = "clients (listenPort)";
pub(crate) const VIP_CHANNEL: &str = "clients that ask for the VIP channel (listenPort - 2)";
pub(crate) const REPLICATION: &str = "replication (listenPort + 1)";
const DLEDGER: &str = "the other members of the DLedger group (dLegerPeers)";
const METRICS: &str = "metrics (metricsListenPort)";

/// A port that a broker listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortUse {
    /// The port.
    pub port: u16,
    /// What for, and the key that sets it.
    pub purpose: &'static str,
}

/// Every port that a broker with these settings listens on, at all addresses of the machine.
///
/// # Errors
/// [`BrokerError::ListenPort`].
pub fn ports(
    config: &BrokerConfig,
    store_config: &StoreConfig,
) -> Result<Vec<PortUse>, BrokerError> {
    check_listen_port(config)?;
    let port = config.listen_port;
    let mut ports = vec![(port, CLIENTS), (config.vip_port(), VIP_CHANNEL)];
    match &store_config.dledger {
        None => ports.push((port + 1, REPLICATION)),
        Some(dledger) => ports.extend(dledger.self_port().map(|port| (port, DLEDGER))),
    }
    if config.metrics_listen_port != 0 {
        ports.push((config.metrics_listen_port, METRICS));
    }
    Ok(ports.into_iter().map(|(port, purpose)| PortUse { port, purpose }).collect())
}

/// Whether there is room for the ports 2 below and 1 above `listenPort`.
pub(crate) fn check_listen_port(config: &BrokerConfig) -> Result<(), BrokerError> {
    match config.listen_port {
        0..3 | u16::MAX => Err(BrokerError::ListenPort(config.listen_port)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use mq_store::config::DLedgerConfig;

    use super::*;

    #[test]
    fn each_port_is_named_with_its_key() {
        let mut config = BrokerConfig::new("broker-a");
        let mut store = StoreConfig::at("unused");
        let of = |config: &BrokerConfig, store: &StoreConfig| {
            let ports = ports(config, store).unwrap();
            ports.iter().map(|it| it.port).collect::<Vec<_>>()
        };
        assert_eq!(of(&config, &store), [10_911, 10_909, 10_912]);
        config.metrics_listen_port = 5_557;
        store.dledger = Some(DLedgerConfig {
            group: "g".to_owned(),
            peers: "n0-h:40911; n1-h:40912".to_owned(),
            self_id: "n1".to_owned(),
            preferred_leader_ids: Vec::new(),
            java_peers: Vec::new(),
            store_path: None,
        });
        assert_eq!(of(&config, &store), [10_911, 10_909, 40_912, 5_557]);
        config.listen_port = 2;
        assert!(matches!(ports(&config, &store), Err(BrokerError::ListenPort(2))));
    }
}
