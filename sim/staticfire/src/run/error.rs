//! [`StandError`]: why a story cannot be told to its end, and which verdict that is.

use super::report::{Finding, Verdict};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StandError {
    /// The stage cannot tell such a plan.
    #[error("{0}")]
    Refused(String),
    /// A machine or a host has no address.
    #[error("{0:?} is no address")]
    Address(String),
    /// An entry of a broker's file makes no sense.
    #[error("{process}: {key}={value}: {why}")]
    Property {
        /// The broker's process.
        process: String,
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// No upstream switch and no plant has the name.
    #[error("{0}")]
    Name(String),
    /// A group of which no slave is left cannot promote one.
    #[error("{0} has no slave left that could be promoted")]
    NoSlave(String),
    /// A process of the story's own is gone.
    #[error("the {0}'s process ended")]
    ProcessGone(&'static str),
    /// A broker does not make a topic or a consumer group.
    #[error("{what} cannot be created at {address}: {last}")]
    NotMade {
        /// What, with its name.
        what: String,
        /// The broker.
        address: String,
        /// Its last refusal.
        last: String,
    },
    /// An operator did not come to do it.
    #[error("{0}")]
    NotDone(String),
    /// The messages before the story cannot be sent.
    #[error("history: {0}")]
    History(String),
    /// The slaves of a group are not where their master is before anything has happened.
    #[error("the slaves of {0} did not catch up before the workload")]
    NotReplicated(String),
    /// A DLedger group has no leader before anything has happened.
    #[error("nobody leads {0} before the workload")]
    NoLeader(String),
    /// A limit of a broker keeps clients of the story away.
    #[error(
        "{process}: {key}={value} has no room for the clients of this story, which take up to {needed}"
    )]
    TooNarrow {
        /// The broker's process.
        process: String,
        /// The key.
        key: &'static str,
        /// Its value.
        value: usize,
        /// What the story may take.
        needed: usize,
    },
    /// Clients may not send to a master, or not read from it.
    #[error(
        "{process}: brokerPermission={perm} lets no client {what}: what becomes of messages cannot be seen; 6 allows both"
    )]
    KeptOut {
        /// The master's process.
        process: String,
        /// `brokerPermission`.
        perm: u32,
        /// What clients may not do.
        what: &'static str,
    },
    /// A request of the fresh group kept failing.
    #[error("{0}")]
    Unread(String),
}

impl StandError {
    /// What a run that ends so is: a plan that makes no sense, or a run that shows nothing.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self {
            StandError::Refused(_)
            | StandError::Address(_)
            | StandError::Property { .. }
            | StandError::Name(_) => Verdict::BadInput,
            StandError::NoSlave(_) => Verdict::Vacuous,
            StandError::ProcessGone(_)
            | StandError::NotMade { .. }
            | StandError::NotDone(_)
            | StandError::History(_)
            | StandError::NotReplicated(_)
            | StandError::NoLeader(_)
            | StandError::TooNarrow { .. }
            | StandError::KeptOut { .. }
            | StandError::Unread(_) => Verdict::Undecided,
        }
    }
}

impl From<StandError> for Finding {
    fn from(error: StandError) -> Finding {
        Finding::new(error.verdict(), error.to_string())
    }
}
