//! [`FollowState`]: whether a slave follows its master, and why not.

/// Where a slave stands with its master.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FollowState {
    /// Not connected: no slave, no master known, or none reached yet.
    #[default]
    Idle,
    /// Connected, and reporting to the master.
    Following {
        /// The master's HA address.
        master: String,
        /// Whether the log was proven a prefix of the master's. Without (a Java master declines,
        /// or `splice-diverged` is on) 4.9's rules hold.
        is_proven: bool,
    },
    /// The slave keeps its log and does not follow. It asks again every five seconds.
    Refused {
        /// What is the matter, and what an operator should do.
        reason: String,
    },
}

impl FollowState {
    /// Whether the slave is connected to a master that it may follow.
    #[must_use]
    pub fn is_following(&self) -> bool {
        matches!(self, FollowState::Following { .. })
    }

    /// Why the slave refuses to follow, if it does.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        match self {
            FollowState::Refused { reason } => Some(reason),
            _ => None,
        }
    }
}
