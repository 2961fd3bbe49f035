//! Planted bugs: single lines that are wrong on purpose, to prove that the simulator finds them.
//!
//! [`Plant::ROWS`] is the one table of them: names, the rules that they take away, where they sit, and who
//! must find them. A crate arms them by its settings, or with `plant_on_this_thread`. That needs the
//! feature `plants`, which no shipped build turns on: without it the wrong lines vanish, nothing refers to
//! the table, and the names stand in no binary, so that a shipped one can be searched for them.

#[cfg(feature = "plants")]
use std::cell::RefCell;
#[cfg(feature = "plants")]
use std::collections::BTreeSet;
#[cfg(feature = "plants")]
use std::fmt;
#[cfg(feature = "plants")]
use std::str::FromStr;

/// What is known of a plant.
#[derive(Clone, Copy)]
pub struct PlantRow {
    /// The plant.
    pub plant: Plant,
    /// Its name in plans and on the command line.
    pub name: &'static str,
    /// The crate and module with the wrong line.
    pub place: &'static str,
    /// The rule that it takes away.
    pub defence: &'static str,
    /// Each of them must find it.
    pub finders: &'static [Finder],
}

/// Who must find a plant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finder {
    /// The plans that the generator makes, and the checkers.
    Fuzz,
    /// Every row of the matrix that holds by the defence of this name.
    Matrix(&'static str),
    /// The enumeration of crash points.
    Enumerator,
    /// The reference model of the store.
    Model,
    /// A story, by its path.
    Story(&'static str),
    /// The plans of the swarm, and no row of the matrix: it takes two faults, or two broker groups.
    Swarm,
}

use Finder::{Enumerator, Fuzz, Matrix, Model, Story, Swarm};

macro_rules! plants {
    ($($plant:ident = $name:literal in $place:literal, without $defence:literal, by [$($finder:expr),+];)+) => {
        /// A bug that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Plant {
            $(#[doc = concat!("Takes away: ", $defence, ".")] $plant,)+
        }

        impl Plant {
            /// Every plant with what is known of it.
            pub const ROWS: &'static [PlantRow] = &[$(PlantRow {
                plant: Plant::$plant,
                name: $name,
                place: $place,
                defence: $defence,
                finders: &[$($finder),+],
            },)+];
        }
    };
}

plants! {
    SendOkBeforeFlush = "send-ok-before-flush" in "mq-store, message_store/put",
        without "under SYNC_FLUSH a put is answered after its sync",
        by [Fuzz, Matrix("AnsweredAfterSync")];
    SyncedOnFlushError = "synced-on-flush-error" in "mq-store, commit_log",
        without "a failed sync is final", by [Fuzz];
    DispatchAboveSynced = "dispatch-above-synced" in "mq-store, dispatch",
        without "under SYNC_FLUSH only what is synced is consumable", by [Fuzz, Enumerator];
    TruncateInMemoryOnly = "truncate-in-memory-only" in "mq-store, commit_log",
        without "truncation is durable", by [Fuzz, Enumerator];
    // A slave that has proven its log a prefix never makes such a report, so this plant takes the proof away
    // as well: either defence alone keeps the promise.
    AckBeyondLogEnd = "ack-beyond-log-end" in "mq-store, ha/replicas and ha/joining",
        without "a report counts up to the master's own end, of a proven prefix", by [Fuzz];
    StaleQueueOffsetsOnPromotion = "stale-queue-offsets-on-promotion" in "mq-store, message_store/open",
        without "a promoted slave recomputes its queue offsets",
        by [Fuzz, Matrix("QueueOffsetsRecomputed")];
    SendOkBeforeReplica = "send-ok-before-replica" in "mq-store, message_store/put",
        without "a SYNC_MASTER answers after a slave has the record",
        by [Fuzz, Matrix("AnsweredAfterReplica")];
    SendOkAfterSlaveTimeout = "send-ok-after-slave-timeout" in "mq-store, ha/group_transfer",
        without "what no slave confirms within slaveTimeout is answered FLUSH_SLAVE_TIMEOUT",
        by [Story("scenarios/ha/patient-producer-cut-slave.toml")];
    GarbledTagsCode = "garbled-tags-code" in "mq-store, dispatch",
        without "ConsumeQueues are what a rebuild from the log gives",
        by [Fuzz, Matrix("QueuesLikeARebuild")];
    QueueOffsetBeforeAppend = "queue-offset-before-append" in "mq-store, commit_log/append",
        without "a refused message takes no queue offset", by [Model];
    MarksBeforeSync = "marks-before-sync" in "mq-store, marks",
        without "marks speak of what was synced", by [Enumerator];
    DispatchFromLogEnd = "dispatch-from-log-end" in "mq-store, message_store/open",
        without "a start dispatches from where the queues end", by [Enumerator];
    QueuesNotCut = "queues-not-cut" in "mq-store, message_store/open",
        without "units beyond what is durable are made again", by [Enumerator];
    EmptyFileRefused = "empty-file-refused" in "mq-store, commit_log/recover",
        without "a file without a record is the log's end", by [Enumerator];
    QueueMinimumNotMoved = "queue-minimum-not-moved" in "mq-store, message_store/open and retention",
        without "queues begin where the log does", by [Enumerator];
    MetadataRenamedBeforeSync = "metadata-renamed-before-sync" in "mq-env, disk/replaced_file",
        without "metadata is synced before it is renamed", by [Enumerator];
    MetadataRemovedFirst = "metadata-removed-first" in "mq-env, disk/replaced_file",
        without "metadata is replaced, not removed", by [Enumerator];
    DelayCursorWithoutPut = "delay-cursor-without-put" in "mq-broker, schedule_message_service",
        without "a delay level goes on only behind a message that the store took",
        by [Story("scenarios/store/delayed-messages-fall-due-on-a-full-disk.toml")];
    QueueWithoutTopic = "queue-without-topic" in "mq-broker, controller/role and context",
        without "a master has a topic wherever it has a queue", by [Swarm];
    GivenBackAndForgotten = "given-back-and-forgotten" in "mq-broker, processor/consumer_send_back",
        without "what is given back is stored before that is confirmed",
        by [Story("scenarios/consume/retry-twice.toml")];
    DeadOneTooEarly = "dead-one-too-early" in "mq-broker, processor/consumer_send_back",
        without "a message is redelivered as often as its group wants before it is a dead letter",
        by [Story("scenarios/consume/dead-letters.toml")];
    DueAndDueAgain = "due-and-due-again" in "mq-broker, schedule_message_service",
        without "what is due is stored once", by [Story("scenarios/consume/retry-twice.toml")];
    LockedForEverybody = "locked-for-everybody" in "mq-broker, rebalance_lock_manager",
        without "the lock of a queue has one holder", by [Story("scenarios/order/scale-out-slow.toml")];
    SuspendedAndPassed = "suspended-and-passed" in "mq-client, consume_in_order",
        without "a queue in order waits for what could not be consumed",
        by [Story("scenarios/order/suspended.toml")];
    OffsetBeforeListener = "offset-before-listener" in "mq-client, process_queue",
        without "the offset stays in front of what listeners are at work on",
        by [Story("scenarios/consume/member-killed.toml")];
    LastQueueForgotten = "last-queue-forgotten" in "mq-client, consumer_group",
        without "every queue of a topic is some member's", by [Story("scenarios/consume/scale-out.toml")];
    NothingGivenUp = "nothing-given-up" in "mq-client, rebalance",
        without "a member gives up what is another's share",
        by [Story("scenarios/consume/scale-out.toml")];
    SharesShuffled = "shares-shuffled" in "mq-client, consumer_group",
        without "members that stay keep their shares",
        by [Story("scenarios/consume/members-at-rest.toml")];
    HeldPullNotWoken = "held-pull-not-woken" in "mq-broker, pull_request_hold",
        without "a message wakes the pulls that wait for it",
        by [Story("scenarios/consume/several-groups.toml")];
    DueTooEarly = "due-too-early" in "mq-broker, schedule_message_service",
        without "what is delayed waits for its time", by [Story("scenarios/consume/retry-twice.toml")];
    OffsetsOfAllBrokers = "offsets-of-all-brokers" in "mq-client, offset_store",
        without "a queue's offset is its own, whatever other brokers have a queue of its number", by [Swarm];
}

impl Plant {
    /// Every plant.
    #[inline]
    pub fn all() -> impl Iterator<Item = Plant> {
        Plant::ROWS.iter().map(|row| row.plant)
    }

    /// What is known of it.
    #[inline]
    #[must_use]
    pub fn row(self) -> &'static PlantRow {
        &Plant::ROWS[self as usize]
    }

    /// The name used in plans and on the command line.
    #[inline]
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }
}

#[cfg(feature = "plants")]
impl fmt::Display for Plant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(feature = "plants")]
impl FromStr for Plant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Plant::all()
            .find(|plant| plant.name() == text)
            .ok_or_else(|| format!("no plant is called {text:?}"))
    }
}

#[cfg(feature = "plants")]
thread_local! {
    static OF_THIS_THREAD: RefCell<BTreeSet<Plant>> = const { RefCell::new(BTreeSet::new()) };
}

/// Plants bugs into whatever runs on this thread, for code that has no settings of its own; takes those
/// away that were planted before.
#[cfg(feature = "plants")]
pub fn plant_on_this_thread(plants: &BTreeSet<Plant>) {
    OF_THIS_THREAD.with(|planted| planted.borrow_mut().clone_from(plants));
}

/// Whether a bug is planted on this thread.
#[cfg(feature = "plants")]
#[must_use]
pub fn planted_on_this_thread(plant: Plant) -> bool {
    OF_THIS_THREAD.with(|planted| planted.borrow().contains(&plant))
}

/// Whether a bug is planted on this thread: never, without the feature `plants`.
#[cfg(not(feature = "plants"))]
#[must_use]
pub const fn planted_on_this_thread(_plant: Plant) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_plant_has_a_row_of_its_own() {
        let names: BTreeSet<&str> = Plant::all().map(Plant::name).collect();
        assert_eq!(names.len(), Plant::ROWS.len(), "two have one name");
        for (index, row) in Plant::ROWS.iter().enumerate() {
            assert_eq!((row.plant as usize, row.plant.name()), (index, row.name));
            assert!(row.name.len() > 8, "{} might stand in a binary by chance", row.name);
        }
    }
}
