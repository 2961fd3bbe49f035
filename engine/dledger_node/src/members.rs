//! [`Members`]: what the core calls by number has a name on the wire and on disk, and an address.

use mq_dledger::NodeId;

use crate::config::NodeConfig;

/// The members of a group, as this node knows them.
#[derive(Clone, Debug)]
pub(crate) struct Members {
    pub(crate) group: String,
    pub(crate) self_id: NodeId,
    /// Name and address, by number.
    members: Vec<(String, String)>,
}

impl Members {
    pub(crate) fn of(config: &NodeConfig) -> Self {
        let named = |peer: &crate::config::PeerConfig| (peer.id.clone(), peer.addr.clone());
        Members {
            group: config.group.clone(),
            self_id: config.settings.self_id,
            members: config.peers.iter().map(named).collect(),
        }
    }

    /// Every member, in the order of their numbers.
    pub(crate) fn all(&self) -> impl Iterator<Item = (NodeId, &str, &str)> {
        (0..).map(NodeId).zip(&self.members).map(|(id, (name, addr))| (id, &name[..], &addr[..]))
    }

    pub(crate) fn id_of(&self, name: &str) -> Option<NodeId> {
        self.all().find(|(_, known, _)| *known == name).map(|(id, _, _)| id)
    }

    /// # Panics
    /// For a number that nobody has.
    pub(crate) fn name_of(&self, id: NodeId) -> &str {
        &self.members[usize::from(id.0)].0
    }

    pub(crate) fn addr_of(&self, id: NodeId) -> &str {
        &self.members[usize::from(id.0)].1
    }
}
