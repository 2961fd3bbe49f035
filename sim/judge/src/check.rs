//! The checkers: one property per file, each fed with facts and each with doctored histories that it
//! must reject and clean ones that it must accept (in the tests of its file).
//!
//! | file | property |
//! |---|---|
//! | [`acked_durable`] | an acknowledged message is lost only where the mode permits it |
//! | [`ack_predicate`] | at SEND_OK the mode's condition holds on the simulated disks |
//! | [`no_phantom`] | what is delivered was sent, byte for byte |
//! | [`offsets`] | queues are dense, injective, stable; groups miss nothing they need not miss |
//! | [`commits`] | no group commits what it was not given yet |
//! | [`ownership`] | every queue of a consumer group has one owner, and keeps it while nobody comes or goes |
//! | [`lateness`] | what is delayed comes when it is due; what is there comes at once |
//! | [`order`] | what is sent in order lies in order, and is consumed so |
//! | [`redelivery`] | what a group gives back comes again, or becomes a dead letter |
//! | [`replies`] | a reply answers its request, and comes to whoever asked |
//! | [`replicas`] | logs agree, derived files equal a rebuild, recovery is idempotent |
//! | [`subscription`] | a group is given what its filter lets pass, and nothing else |
//! | [`visibility`] | under SYNC_FLUSH only what is synced is consumable |
//! | [`truncation`] | a cut log ends on the disk, too |
//! | [`transactions`] | what is sent in a transaction is delivered once that is committed, and only then |
//! | [`deletions`] | a topic that is deleted stays so, and nothing else goes with it |
//! | [`duplicates`] | what comes more than once has a cause |
//! | [`effects`] | behind the idempotence kit what is consumed has its effect, once |
//! | [`expiry`] | messages leave a store only by the rules of retention |
//! | [`leadership`] | a term has one leader, and nobody believes for long that it leads when another one does |
//! | [`liveness`] | life goes on in time after the last heal |
//!
//! Facts come from the clients' history and from the simulated disks, never from what the engine
//! claims of itself; the engine's events explain, they do not prove.

pub mod ack_predicate;
pub mod acked_durable;
pub mod bound;
pub mod commits;
pub mod deletions;
pub mod duplicates;
pub mod effects;
pub mod expiry;
pub mod lateness;
pub mod leadership;
pub mod liveness;
pub mod no_phantom;
pub mod offsets;
pub mod order;
pub mod ownership;
pub mod redelivery;
pub mod replicas;
pub mod replies;
pub mod subscription;
pub mod transactions;
pub mod truncation;
pub mod visibility;

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which checker found something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Checker {
    /// [`acked_durable`].
    AckedDurable,
    /// [`ack_predicate`].
    AckPredicate,
    /// [`no_phantom`].
    NoPhantom,
    /// [`offsets`].
    Offsets,
    /// [`order`].
    Order,
    /// [`ownership`].
    Ownership,
    /// [`lateness`].
    Lateness,
    /// [`redelivery`].
    Redelivery,
    /// [`replicas`].
    Replicas,
    /// [`replies`].
    Replies,
    /// [`subscription`].
    Subscription,
    /// [`visibility`].
    Visibility,
    /// [`truncation`].
    Truncation,
    /// [`transactions`].
    Transactions,
    /// [`deletions`].
    Deletions,
    /// [`expiry`].
    Expiry,
    /// [`duplicates`].
    Duplicates,
    /// [`effects`].
    Effects,
    /// [`leadership`].
    Leadership,
    /// [`liveness`].
    Liveness,
    /// A count that the plan names is out of its range.
    Counts,
    /// A process died of a panic.
    Panic,
    /// What the disk holds is served to whoever asks.
    Served,
}

impl fmt::Display for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Checker::AckedDurable => "acked durable",
            Checker::AckPredicate => "ack predicate",
            Checker::NoPhantom => "no phantom",
            Checker::Offsets => "offsets",
            Checker::Order => "order",
            Checker::Ownership => "ownership",
            Checker::Lateness => "lateness",
            Checker::Redelivery => "redelivery",
            Checker::Replicas => "replicas",
            Checker::Replies => "replies",
            Checker::Subscription => "subscription",
            Checker::Visibility => "visibility",
            Checker::Truncation => "truncation",
            Checker::Transactions => "transactions",
            Checker::Deletions => "deletions",
            Checker::Expiry => "expiry",
            Checker::Duplicates => "duplicates",
            Checker::Effects => "effects",
            Checker::Leadership => "leadership",
            Checker::Liveness => "liveness",
            Checker::Counts => "counts",
            Checker::Panic => "panic",
            Checker::Served => "served",
        })
    }
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Who found it.
    pub checker: Checker,
    /// What is wrong, one line.
    pub text: String,
    /// The message it is about, if it is about one.
    pub number: Option<u32>,
    /// The trace event that shows it, if one does.
    pub ordinal: Option<u64>,
}

impl Violation {
    /// A violation without message or event.
    #[must_use]
    pub fn new(checker: Checker, text: impl Into<String>) -> Self {
        Violation { checker, text: text.into(), number: None, ordinal: None }
    }

    /// The same, about message `number`.
    #[must_use]
    pub fn of(mut self, number: u32) -> Self {
        self.number = Some(number);
        self
    }

    /// The same, shown by trace event `ordinal`.
    #[must_use]
    pub fn at(mut self, ordinal: u64) -> Self {
        self.ordinal = Some(ordinal);
        self
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (checker: {}", self.text, self.checker)?;
        if let Some(ordinal) = self.ordinal {
            write!(f, ", event #{ordinal}")?;
        }
        f.write_str(")")
    }
}
