//! [`NodeConfig`]: who is in the group, and how the node behaves. Names and defaults are RocketMQ 4.9's.

use std::net::SocketAddr;

use mq_dledger::{NodeId, Peer, Settings};
use mq_dledger_log::LogConfig;

use crate::error::NodeError;

/// A member of a group, as in `dLegerPeers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerConfig {
    /// `n0`.
    pub id: String,
    /// `host:port`.
    pub addr: String,
    /// It runs Java's library.
    pub is_java: bool,
}

/// Settings of a node. Times in milliseconds.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// `dLegerGroup`.
    pub group: String,
    /// All members, this node included, in the order of `dLegerPeers`.
    pub peers: Vec<PeerConfig>,
    /// `dLegerSelfId`.
    pub self_id: String,
    /// Where the log is.
    pub log: LogConfig,
    /// Of the consensus core; members are numbered as `peers` lists them.
    pub settings: Settings,
    /// `maxWaitAckTimeMs`: how long who appends waits for the commit.
    pub max_wait_ack_time_ms: u64,
    /// How long a request to a peer waits for its answer.
    pub rpc_timeout_ms: u64,
    /// `flushFileInterval`: under ASYNC_FLUSH entries are synced so long after they were appended.
    pub flush_file_interval_ms: u64,
    /// `checkPointInterval`.
    pub check_point_interval_ms: u64,
    /// Bytes of proposals that wait for the core; more are refused as LEADER_PENDING_FULL.
    pub max_queued_bytes: usize,
    /// Bytes of pushed entries that wait for the core; more are refused as PUSH_REQUEST_IS_FULL.
    pub max_received_bytes: usize,
    /// The node was a member before, and its disk is gone: with an empty directory it does not vote before it has caught up.
    pub has_lost_its_disk: bool,
    /// The address that the entries of a leader state as their `storeHost`.
    pub store_host: SocketAddr,
}

impl NodeConfig {
    /// The node `self_id` of a group, with the defaults.
    ///
    /// # Errors
    /// When it is not among the peers, or there are too many of them.
    pub fn new(
        group: &str,
        peers: Vec<PeerConfig>,
        self_id: &str,
        log: LogConfig,
    ) -> Result<Self, NodeError> {
        let number = peers.iter().position(|peer| peer.id == self_id);
        let number = number.and_then(|number| u16::try_from(number).ok());
        let (Some(number), Ok(size)) = (number, u16::try_from(peers.len())) else {
            let what = format!("dLegerSelfId={self_id} is not among the dLegerPeers");
            return Err(NodeError::Config(what));
        };
        let members = (0..size).map(NodeId).zip(&peers).filter(|(id, _)| id.0 != number);
        let members = members.map(|(id, peer)| Peer { id, is_java: peer.is_java }).collect();
        Ok(NodeConfig {
            group: group.to_owned(),
            self_id: self_id.to_owned(),
            settings: Settings { peers: members, ..Settings::of_group(NodeId(number), size) },
            peers,
            log,
            max_wait_ack_time_ms: 2_500,
            rpc_timeout_ms: 3_000,
            flush_file_interval_ms: 10,
            check_point_interval_ms: 3_000,
            max_queued_bytes: 64 << 20,
            max_received_bytes: 64 << 20,
            has_lost_its_disk: false,
            store_host: SocketAddr::from(([127, 0, 0, 1], 10_911)),
        })
    }
}

/// The members that `dLegerPeers` names: `n0-host:port;n1-host:port;…`.
///
/// # Errors
/// Says which part is not so, and what is allowed.
pub fn parse_peers(text: &str) -> Result<Vec<PeerConfig>, NodeError> {
    let mut peers: Vec<PeerConfig> = Vec::new();
    for part in text.split(';').filter(|part| !part.trim().is_empty()) {
        let refused = |why: &str| {
            NodeError::Config(format!(
                "dLegerPeers: {part:?} {why}; peers are written n0-host:port;n1-host:port"
            ))
        };
        let (id, addr) = part.trim().split_once('-').ok_or_else(|| refused("has no '-'"))?;
        let digits = id.chars().skip(1).collect::<String>();
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refused("must have an id of a letter and digits"));
        }
        let port = addr.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(1..))) {
            return Err(refused("has no port"));
        }
        if peers.iter().any(|peer| peer.id == id || peer.addr == addr) {
            return Err(refused("has the id or the address of another"));
        }
        peers.push(PeerConfig { id: id.to_owned(), addr: addr.to_owned(), is_java: false });
    }
    if peers.is_empty() {
        return Err(NodeError::Config("dLegerPeers names nobody".to_owned()));
    }
    Ok(peers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_read_or_refused_with_a_reason() {
        let peers =
            parse_peers("n0-127.0.0.1:40911;n1-broker-1.example:40912; n2-[::1]:40913;").unwrap();
        let read: Vec<_> = peers.iter().map(|peer| (&peer.id[..], &peer.addr[..])).collect();
        let expected =
            [("n0", "127.0.0.1:40911"), ("n1", "broker-1.example:40912"), ("n2", "[::1]:40913")];
        assert_eq!(read, expected);
        for (text, why) in [
            ("", "names nobody"),
            ("n0", "has no '-'"),
            ("nx-a:1", "an id of a letter and digits"),
            ("n-a:1", "an id of a letter and digits"),
            ("n0-a", "has no port"),
            ("n0-a:0", "has no port"),
            ("n0-a:1;n0-b:1", "of another"),
            ("n0-a:1;n1-a:1", "of another"),
        ] {
            let said = parse_peers(text).unwrap_err().to_string();
            assert!(said.contains(why), "{text}: {said}");
        }
    }
}
