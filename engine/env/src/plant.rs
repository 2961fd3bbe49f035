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
    /// A test by its name, for what only shows as a delay in stories: `tests/src/plants/named.rs`.
    Test(&'static str),
    /// The plans of the swarm, and no row of the matrix: it takes two faults, or two broker groups.
    Swarm,
}

use Finder::{Enumerator, Fuzz, Matrix, Model, Story, Swarm, Test};

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
    DeletionUnnoted = "deletion-unnoted" in "mq-store, message_store/delete_topic",
        without "that a topic was deleted is in the log before its queues go",
        by [Story("scenarios/operate/delete-topic-then-restart.toml")];
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
    GroupCommitAnswersAll = "group-commit-answers-all" in "mq-store, commit_log/flush",
        without "a sync answers the puts that it covers, and no others",
        by [Story("scenarios/store/slow-disk.toml")];
    FirstOfFileNotDispatched = "first-of-file-not-dispatched" in "mq-store, dispatch",
        without "every record is dispatched, the first one behind a roll as well",
        by [Story("scenarios/disk/full-disk-small-files.toml")];
    LogicsErrorForEver = "logics-error-for-ever" in "mq-store, dispatch",
        without "writes are taken again once ConsumeQueues can be written",
        by [Story("scenarios/disk/no-descriptors-small-queues.toml")];
    FullForEver = "full-for-ever" in "mq-store, retention",
        without "writes are taken again once the disk has space",
        by [Story("scenarios/disk/full-disk.toml")];
    ExpiresOneMore = "expires-one-more" in "mq-store, retention",
        without "no file goes before its time",
        by [Story("scenarios/store/expiry-by-age.toml")];
    QueueFileTooMany = "queue-file-too-many" in "mq-store, consume_queue",
        without "a file of a queue goes once all of it points below the log",
        by [Story("scenarios/store/expiry-for-space.toml")];
    QueueMinimumTooHigh = "queue-minimum-too-high" in "mq-store, consume_queue",
        without "a queue begins with the first message that the log has",
        by [Story("scenarios/store/expiry-by-age.toml")];
    PassesWhatDidNotFit = "passes-what-did-not-fit" in "mq-store, message_store/get",
        without "a read goes on behind what it looked at, no further",
        by [Story("scenarios/consume/member-killed.toml")];
    TooSmallGoesToTheEnd = "too-small-goes-to-the-end" in "mq-store, message_store/get",
        without "whoever asks below a queue goes on where it begins",
        by [Story("scenarios/store/consumer-behind-what-expired.toml")];
    QueuesNotTruncated = "queues-not-truncated" in "mq-store, message_store/truncate",
        without "what is cut from the log is cut from the queues",
        by [Story("scenarios/ha/old-master-returns-with-tail.toml")];
    OnePageSynced = "one-page-synced" in "mq-mapped-file, mapped_file",
        without "a sync covers everything that it was asked for",
        by [Story("scenarios/cluster/everything-loses-power-twice.toml")];
    RolledFileNotSynced = "rolled-file-not-synced" in "mq-mapped-file, mapped_file_queue",
        without "a full file is synced before the next one counts",
        by [Story("scenarios/store/kill-at-a-roll-then-power-loss.toml")];
    AckCountsOwnEnd = "ack-counts-own-end" in "mq-store, ha/replicas",
        without "a report counts for what it says",
        by [Fuzz];
    DeadSlaveCounts = "dead-slave-counts" in "mq-store, ha/replicas",
        without "a slave whose connection ended is none",
        by [Story("scenarios/ha/slave-gone-for-good.toml")];
    ResumesAtFileStart = "resumes-at-file-start" in "mq-store, ha/connection",
        without "a slave gets the log from where it asks",
        by [Story("scenarios/ha/slave-dies-twice-while-catching-up.toml")];
    SlaveReportsUnsynced = "slave-reports-unsynced" in "mq-store, ha/client",
        without "a SYNC_FLUSH slave reports what it has synced",
        by [Story("scenarios/ha/promoted-slave-loses-power-at-once.toml")];
    OffsetsOfTheLastWriter = "offsets-of-the-last-writer" in "mq-broker, consumer_offset_manager",
        without "of two offsets the greater one stays",
        by [Story("scenarios/ha/master-keeps-the-greater-offsets.toml")];
    OffsetsNotWrittenAtTheEnd = "offsets-not-written-at-the-end" in "mq-broker, controller",
        without "consumer offsets are written when a broker ends",
        by [Story("scenarios/ha/master-keeps-the-greater-offsets.toml")];
    DelayCursorNotWrittenAtTheEnd = "delay-cursor-not-written-at-the-end" in "mq-broker, controller",
        without "the offsets of delay levels are written when a broker ends",
        by [Story("scenarios/store/delayed-messages-over-restarts.toml")];
    DelayCursorFromTheEnd = "delay-cursor-from-the-end" in "mq-broker, delay_offset_manager",
        without "a level without an offset begins with its first message",
        by [Story("scenarios/ha/delayed-messages-then-promotion.toml")];
    DelayCursorBeforeSync = "delay-cursor-before-sync" in "mq-broker, delay_offset_manager",
        without "the offsets of delay levels speak of deliveries that are synced",
        by [Story("scenarios/store/delayed-deliveries-that-were-not-synced.toml")];
    DelayCursorCopiedAtOnce = "delay-cursor-copied-at-once" in "mq-broker, slave_synchronize",
        without "a slave takes the offsets of delay levels over once its log has the deliveries",
        by [Story("scenarios/ha/delayed-deliveries-that-no-slave-has-synced.toml")];
    OffsetsNotLowered = "offsets-not-lowered" in "mq-broker, offset_guard",
        without "no consumer offset stays beyond the end of its queue",
        by [Story("scenarios/store/offsets-are-lowered-durably.toml")];
    OffsetsLoweredInMemory = "offsets-lowered-in-memory" in "mq-broker, offset_guard",
        without "a lowered offset is written before its gap is filled",
        by [Story("scenarios/store/offsets-are-lowered-durably.toml")];
    OffsetsOfAnotherLog = "offsets-of-another-log" in "mq-broker, offset_guard",
        without "a master takes offsets over from slaves that have its log",
        by [Story("scenarios/ha/offsets-of-a-replaced-log.toml")];
    ResumesAtTheEnd = "resumes-at-the-end" in "mq-broker, processor/pull_message",
        without "a group beyond the end goes on where it had committed",
        by [Story("scenarios/store/running-consumer-beyond-the-end.toml")];
    PullCommitsItself = "pull-commits-itself" in "mq-broker, processor/pull_message",
        without "a pull commits the offset that it carries",
        by [Story("scenarios/consume/member-killed.toml")];
    RetryDropsProperties = "retry-drops-properties" in "mq-broker, processor/consumer_send_back",
        without "a message given back keeps its properties",
        by [Story("scenarios/consume/retry-twice.toml")];
    DeadLetterForgotten = "dead-letter-forgotten" in "mq-broker, processor/consumer_send_back",
        without "a dead letter is stored",
        by [Story("scenarios/consume/dead-letters.toml")];
    LocksNeverExpire = "locks-never-expire" in "mq-broker, rebalance_lock_manager",
        without "a lock that nobody renews may be taken over",
        by [Story("scenarios/order/member-vanishes.toml")];
    RefusedCommitIsAnEnd = "refused-commit-is-an-end" in "mq-broker, processor/end_transaction",
        without "a commit that the store refuses has not ended its transaction",
        by [Story("scenarios/transaction/commits-on-a-full-disk.toml")];
    OpBeforeMessage = "op-before-message" in "mq-broker, processor/end_transaction",
        without "the message of a commit is stored before its op message",
        by [Story("scenarios/transaction/no-room-for-a-commit.toml")];
    TransactionEndsTwice = "transaction-ends-twice" in "mq-broker, transaction_ends",
        without "a transaction ends once",
        by [Story("scenarios/transaction/late-answers.toml")];
    OpenHalvesPassed = "open-halves-passed" in "mq-broker, transaction_ends",
        without "half messages are passed over once they are done with",
        by [Story("scenarios/transaction/promoted-slave-asks.toml")];
    NobodyIsAsked = "nobody-is-asked" in "mq-broker, transaction_check_service",
        without "producers are asked about half messages that nobody ends",
        by [Story("scenarios/transaction/ends-are-lost-on-the-way.toml")];
    RegistersOnce = "registers-once" in "mq-broker, registration",
        without "a broker renews its registration",
        by [Story("scenarios/cluster/name-server-restarts-empty.toml")];
    FirstMasterStays = "first-master-stays" in "mq-namesrv, route_info_manager",
        without "of two masters the one that registered last is routed to",
        by [Story("scenarios/cluster/name-server-gone-then-promotion.toml")];
    TopicsDroppedOnRenewal = "topics-dropped-on-renewal" in "mq-namesrv, route_info_manager",
        without "a renewal without a change keeps the topics",
        by [Story("scenarios/cluster/name-server-restarts-empty.toml")];
    UnregistersTheWholeGroup = "unregisters-the-whole-group" in "mq-namesrv, route_info_manager",
        without "who unregisters takes nobody along",
        by [Test("mq-namesrv: who leaves takes nobody along")];
    OldConnectionTakesNewAlong = "old-connection-takes-new-along" in "mq-namesrv, route_info_manager",
        without "a connection that ends takes along only what registered by it last",
        by [Test("mq-namesrv: a connection that ends takes no newer registration along")];
    SilentBrokerKept = "silent-broker-kept" in "mq-namesrv, route_info_manager",
        without "a broker that is silent for two minutes is in no route",
        by [Test("mq-namesrv: a silent broker is in no route")];
    LeaseIgnored = "lease-ignored" in "mq-client, queue_lease",
        without "a lock is trusted for half a minute",
        by [Story("scenarios/order/member-paused.toml")];
    OffsetNotReadWithTheLock = "offset-not-read-with-the-lock" in "mq-client, pull_service",
        without "a queue that is locked anew is read from where the group stands",
        by [Story("scenarios/order/locks-run-out.toml")];
    PassesWhatIsCached = "passes-what-is-cached" in "mq-client, pull_service",
        without "an empty pull moves no offset over what listeners have",
        by [Story("scenarios/consume/very-slow-listeners.toml")];
    MovedInOneTable = "moved-in-one-table" in "mq-client, pull_service",
        without "a queue that is moved is moved in the table of offsets, too",
        by [
            Story("scenarios/store/running-consumer-a-little-beyond-the-end.toml"),
            Story("scenarios/operate/reset-back.toml")
        ];
    QueueOfNobody = "queue-of-nobody" in "mq-client, allocate",
        without "every queue has an owner",
        by [Story("scenarios/consume/scale-out.toml")];
    RoutesNeverRefreshed = "routes-never-refreshed" in "mq-client, instance",
        without "routes are asked for again and again",
        by [Story("scenarios/ha/there-and-back-again.toml")];
    HeartbeatToOneBroker = "heartbeat-to-one-broker" in "mq-client, instance",
        without "every broker hears of every client",
        by [Story("scenarios/cluster/retry-lands-where-no-slave-is.toml")];
    StaysWithItsNameServer = "stays-with-its-name-server" in "mq-client, name_servers",
        without "a client whose name server is gone asks the next one",
        by [Story("scenarios/cluster/name-server-gone-then-promotion.toml")];
    LeavesWithoutCommit = "leaves-without-commit" in "mq-client, push_consumer",
        without "who leaves commits how far it is",
        by [Story("scenarios/ha/master-keeps-the-greater-offsets.toml")];
    UnknownIsRolledBack = "unknown-is-rolled-back" in "mq-client, transaction_producer",
        without "UNKNOW ends no transaction",
        by [Story("scenarios/transaction/promoted-slave-asks.toml")];
    FailureIsNoOffset = "failure-is-no-offset" in "mq-client, consumer_group",
        without "a broker that does not answer has not said that there is no offset",
        by [Story("scenarios/consume/nobody-says-where-to-begin.toml")];
    OffsetOfAnyReplica = "offset-of-any-replica" in "mq-client, consumer_group",
        without "a group is asked for at the master",
        by [Story("scenarios/consume/handed-over.toml")];
    BroadcastOffsetForgotten = "broadcast-offset-forgotten" in "mq-client, rebalance",
        without "by broadcasting a queue that is given up keeps its offset",
        by [Story("scenarios/consume/broadcast-broker-away.toml")];
    NotGivenBackAndDone = "not-given-back-and-done" in "mq-client, consume_service",
        without "what cannot be given back is consumed once more",
        by [Story("scenarios/consume/failing-while-the-broker-is-away.toml")];
    SlaveTimeoutIsSendOk = "slave-timeout-is-send-ok" in "mq-client, api",
        without "FLUSH_SLAVE_TIMEOUT is no SEND_OK",
        by [Story("scenarios/ha/patient-producer-cut-slave.toml")];
    SameHashIsSameTag = "same-hash-is-same-tag" in "mq-client, pull_service",
        without "members leave out what has but the hash of their tags",
        by [Story("scenarios/kinds/filter-tags.toml")];
    OlderSubscriptionWins = "older-subscription-wins" in "mq-broker, consumer_manager",
        without "a heartbeat with an older subscription changes nothing",
        by [Story("scenarios/operate/group-grows-and-shrinks.toml")];
    ReplyToTheOldest = "reply-to-the-oldest" in "mq-remoting, channel",
        without "a reply is for the request whose opaque it carries",
        by [Story("scenarios/consume/scale-out.toml")];
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
