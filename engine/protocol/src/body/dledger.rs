//! What the peers of a DLedger group tell each other (50000 to 51005): requests without header fields, all of them
//! in the body, and so are the answers.
//!
//! `code`, `group`, `leaderId`, `localId`, `remoteId` and `term` are in every body; an answer of 0.3 leaves `localId`
//! and `remoteId` as they were asked, or out, and may leave `term` at −1. Members marked *ours* are unknown to
//! Java, which ignores them; it never sends them.
//!
//! Java origin: `io.openmessaging.storage.dledger.protocol` of DLedger 0.3.1.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::dledger_entry::ENTRY_MAGIC;
use crate::fastjson::{Json, JsonReadError, JsonWriter, Value};

/// Bytes, in base64 on the wire as fastjson writes `byte[]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base64Bytes(pub Bytes);

impl Json for Base64Bytes {
    fn write(&self, out: &mut JsonWriter) {
        out.string(&STANDARD.encode(&self.0));
    }

    fn read(value: &Value) -> Result<Self, JsonReadError> {
        let expected = || JsonReadError::expected("bytes in base64");
        let text = value.as_str().ok_or_else(expected)?;
        STANDARD.decode(text).map(|bytes| Base64Bytes(bytes.into())).map_err(|_| expected())
    }
}

json_enum! {
    /// `PushEntryRequest.Type`.
    DLedgerPushType {
        /// Entries that continue the log.
        #[default]
        Append = "APPEND",
        /// The committed index alone.
        Commit = "COMMIT",
        /// Is the entry there the one here?
        Compare = "COMPARE",
        /// Cut the log there.
        Truncate = "TRUNCATE",
    }

    /// `VoteResponse.RESULT`.
    DLedgerVoteResult {
        /// No answer.
        #[default]
        Unknown = "UNKNOWN",
        /// The vote is given.
        Accept = "ACCEPT",
        /// The candidate is no member.
        RejectUnknownLeader = "REJECT_UNKNOWN_LEADER",
        /// The candidate is the voter itself.
        RejectUnexpectedLeader = "REJECT_UNEXPECTED_LEADER",
        /// The candidate's term is over.
        RejectExpiredVoteTerm = "REJECT_EXPIRED_VOTE_TERM",
        /// Another one has the vote.
        RejectAlreadyVoted = "REJECT_ALREADY_VOTED",
        /// The term has a leader.
        RejectAlreadyHasLeader = "REJECT_ALREADY_HAS_LEADER",
        /// Ask again at once.
        RejectTermNotReady = "REJECT_TERM_NOT_READY",
        /// The voter's log ends in a larger term than asked for.
        RejectTermSmallThanLedger = "REJECT_TERM_SMALL_THAN_LEDGER",
        /// The candidate's log ends in a smaller term.
        RejectExpiredLedgerTerm = "REJECT_EXPIRED_LEDGER_TERM",
        /// The candidate's log is shorter.
        RejectSmallLedgerEndIndex = "REJECT_SMALL_LEDGER_END_INDEX",
        /// The voter is about to lead.
        RejectTakingLeadership = "REJECT_TAKING_LEADERSHIP",
    }
}

json_body! {
    /// An entry on the wire (`DLedgerEntry`).
    #[derive(Eq)]
    DLedgerEntryBody {
        /// Body.
        body: Base64Bytes = "body",
        /// Always 0.
        body_crc: i32 = "bodyCrc",
        /// Always 0.
        chain_crc: i32 = "chainCrc",
        /// Always 0.
        channel: i32 = "channel",
        /// Where in the log it stands.
        index: i64 = "index",
        /// [`ENTRY_MAGIC`].
        magic: i32 = "magic" or ENTRY_MAGIC,
        /// Offset in the leader's data files, and so in everybody's.
        pos: i64 = "pos",
        /// Length of header and body.
        size: i32 = "size",
        /// The term of the leader that made it.
        term: i64 = "term",
    }

    /// What is in every body, and nothing else: METADATA (50000), and the answers to HEART_BEAT and
    /// LEADERSHIP_TRANSFER.
    #[derive(Eq)]
    DLedgerBody {
        /// Of an answer.
        code: i32 = "code" or 200,
        /// `dLegerGroup`.
        group: Option<String> = "group",
        /// Who leads, for all the sender knows.
        leader_id: Option<String> = "leaderId",
        /// Who asks.
        local_id: Option<String> = "localId",
        /// Who is asked.
        remote_id: Option<String> = "remoteId",
        /// The sender's term.
        term: i64 = "term" or -1,
    }

    /// The answer to METADATA.
    #[derive(Eq)]
    DLedgerMetadataResponse {
        /// Outcome.
        code: i32 = "code" or 200,
        /// `dLegerGroup`.
        group: Option<String> = "group",
        /// Who leads, for all the node knows.
        leader_id: Option<String> = "leaderId",
        /// As asked.
        local_id: Option<String> = "localId",
        /// Addresses by id.
        peers: BTreeMap<String, String> = "peers",
        /// As asked.
        remote_id: Option<String> = "remoteId",
        /// The node's term.
        term: i64 = "term" or -1,
    }

    /// APPEND (50001): a client's entry.
    #[derive(Eq)]
    DLedgerAppendRequest {
        /// The entry's body.
        body: Base64Bytes = "body",
        /// Not used.
        code: i32 = "code" or 200,
        /// `dLegerGroup`.
        group: Option<String> = "group",
        /// Not used.
        leader_id: Option<String> = "leaderId",
        /// Who asks.
        local_id: Option<String> = "localId",
        /// Who is asked.
        remote_id: Option<String> = "remoteId",
        /// Not used.
        term: i64 = "term" or -1,
    }

    /// The answer to APPEND.
    #[derive(Eq)]
    DLedgerAppendResponse {
        /// Outcome.
        code: i32 = "code" or 200,
        /// `dLegerGroup`.
        group: Option<String> = "group",
        /// Of the entry.
        index: i64 = "index" or -1,
        /// Who leads, for all the node knows.
        leader_id: Option<String> = "leaderId",
        /// As asked.
        local_id: Option<String> = "localId",
        /// Of the entry.
        pos: i64 = "pos" or -1,
        /// As asked.
        remote_id: Option<String> = "remoteId",
        /// The leader's term.
        term: i64 = "term" or -1,
    }

    /// GET (50002).
    #[derive(Eq)]
    DLedgerGetRequest {
        /// The entry that is wanted.
        begin_index: Option<i64> = "beginIndex",
        /// Not used.
        code: i32 = "code" or 200,
        /// `dLegerGroup`.
        group: Option<String> = "group",
        /// Not used.
        index_list: Option<Vec<i64>> = "indexList",
        /// Not used.
        leader_id: Option<String> = "leaderId",
        /// Who asks.
        local_id: Option<String> = "localId",
        /// Not used.
        max_size: i32 = "maxSize",
        /// Who is asked.
        remote_id: Option<String> = "remoteId",
        /// Not used.
        term: i64 = "term" or -1,
    }

    /// The answer to GET.
    #[derive(Eq)]
    DLedgerGetResponse {
        /// Outcome.
        code: i32 = "code" or 200,
        /// The entry, if it is there.
        entries: Vec<DLedgerEntryBody> = "entries",
        /// `dLegerGroup`.
        group: Option<String> = "group",
        /// Who leads, for all the node knows.
        leader_id: Option<String> = "leaderId",
        /// As asked.
        local_id: Option<String> = "localId",
        /// As asked.
        remote_id: Option<String> = "remoteId",
        /// The node's term.
        term: i64 = "term" or -1,
    }

    /// VOTE (51001).
    #[derive(Eq)]
    DLedgerVoteRequest {
        /// Not used.
        code: i32 = "code" or 200,
        /// `dLegerGroup`.
        group: Option<String> = "group",
        /// The candidate.
        leader_id: Option<String> = "leaderId",
        /// The end of the candidate's log.
        ledger_end_index: i64 = "ledgerEndIndex" or -1,
        /// The term of the entry there.
        ledger_end_term: i64 = "ledgerEndTerm" or -1,
        /// Who asks.
        local_id: Option<String> = "localId",
        /// Ours: it only asks whether it would get the vote.
        pre_vote: Option<bool> = "preVote",
        /// Who is asked.
        remote_id: Option<String> = "remoteId",
        /// The term for which the vote is wanted.
        term: i64 = "term" or -1,
    }

    /// The answer to VOTE.
    #[derive(Eq)]
    DLedgerVoteResponse {
        /// Not used.
        code: i32 = "code" or 200,
        /// `dLegerGroup`.
        group: Option<String> = "group",
        /// As asked.
        leader_id: Option<String> = "leaderId",
        /// As asked.
        local_id: Option<String> = "localId",
        /// Ours: of a pre-vote.
        pre_vote: Option<bool> = "preVote",
        /// As asked.
        remote_id: Option<String> = "remoteId",
        /// The voter's term.
        term: i64 = "term" or -1,
        /// Outcome.
        vote_result: DLedgerVoteResult = "voteResult",
    }

    /// HEART_BEAT (51002).
    #[derive(Eq)]
    DLedgerHeartBeatRequest {
        /// Not used.
        code: i32 = "code" or 200,
        /// `dLegerGroup`.
        group: Option<String> = "group",
        /// The leader.
        leader_id: Option<String> = "leaderId",
        /// Ours: the end of the leader's log.
        ledger_end_index: Option<i64> = "ledgerEndIndex",
        /// Who asks.
        local_id: Option<String> = "localId",
        /// Who is asked.
        remote_id: Option<String> = "remoteId",
        /// The leader's term.
        term: i64 = "term" or -1,
    }

    /// PUSH (51004). `batch`, `count`, `firstEntryIndex` and `lastEntryIndex` are what Java's getters say of the
    /// entries; nobody reads them.
    #[derive(Eq)]
    DLedgerPushRequest {
        /// Whether `batchEntry` holds any.
        batch: bool = "batch",
        /// The entries of a batch.
        batch_entry: Vec<DLedgerEntryBody> = "batchEntry",
        /// Not used.
        code: i32 = "code" or 200,
        /// The leader's committed index.
        commit_index: i64 = "commitIndex" or -1,
        /// How many entries there are.
        count: i32 = "count",
        /// The only entry, if it is no batch.
        entry: Option<DLedgerEntryBody> = "entry",
        /// Of the first entry; −1 without one.
        first_entry_index: i64 = "firstEntryIndex" or -1,
        /// `dLegerGroup`.
        group: Option<String> = "group",
        /// Of the last entry; −1 without one.
        last_entry_index: i64 = "lastEntryIndex" or -1,
        /// The leader.
        leader_id: Option<String> = "leaderId",
        /// Ours: where the leader's log begins.
        ledger_begin_index: Option<i64> = "ledgerBeginIndex",
        /// Who asks.
        local_id: Option<String> = "localId",
        /// Who is asked.
        remote_id: Option<String> = "remoteId",
        /// The leader's term.
        term: i64 = "term" or -1,
        /// Length of the batch's entries.
        total_size: i64 = "totalSize",
        /// What is to be done.
        push_type: DLedgerPushType = "type",
    }

    /// The answer to PUSH.
    #[derive(Eq)]
    DLedgerPushResponse {
        /// Where the follower's log begins.
        begin_index: i64 = "beginIndex",
        /// Outcome.
        code: i32 = "code" or 200,
        /// How many entries were pushed.
        count: i32 = "count",
        /// Where the follower's log ends.
        end_index: i64 = "endIndex",
        /// `dLegerGroup`.
        group: Option<String> = "group",
        /// Of the first entry that was pushed.
        index: Option<i64> = "index",
        /// As asked.
        leader_id: Option<String> = "leaderId",
        /// As asked.
        local_id: Option<String> = "localId",
        /// As asked.
        remote_id: Option<String> = "remoteId",
        /// The follower's term.
        term: i64 = "term" or -1,
        /// Ours (and DLedger 0.4's): the last index that can be equal.
        x_index: Option<i64> = "xIndex",
        /// Ours (and DLedger 0.4's): the term of the entry that is not equal.
        x_term: Option<i64> = "xTerm",
    }

    /// LEADERSHIP_TRANSFER (51005).
    #[derive(Eq)]
    DLedgerTransferRequest {
        /// Not used.
        code: i32 = "code" or 200,
        /// `dLegerGroup`.
        group: Option<String> = "group",
        /// The leader.
        leader_id: Option<String> = "leaderId",
        /// Who asks.
        local_id: Option<String> = "localId",
        /// Who is asked.
        remote_id: Option<String> = "remoteId",
        /// How far the new leader's log must reach.
        take_leadership_ledger_index: i64 = "takeLeadershipLedgerIndex",
        /// The leader's term.
        term: i64 = "term" or -1,
        /// The leader.
        transfer_id: Option<String> = "transferId",
        /// Who shall lead.
        transferee_id: Option<String> = "transfereeId",
    }
}

impl DLedgerPushRequest {
    /// With these entries: one alone, several as a batch.
    #[must_use]
    pub fn with_entries(mut self, mut entries: Vec<DLedgerEntryBody>) -> Self {
        self.count = entries.len() as i32;
        self.first_entry_index = entries.first().map_or(-1, |entry| entry.index);
        self.last_entry_index = entries.last().map_or(-1, |entry| entry.index);
        self.batch = entries.len() > 1;
        if self.batch {
            self.total_size = entries.iter().map(|entry| i64::from(entry.size)).sum();
            self.batch_entry = entries;
        } else {
            self.entry = entries.pop();
        }
        self
    }

    /// Takes the entries out, alone or in a batch.
    #[must_use]
    pub fn take_entries(&mut self) -> Vec<DLedgerEntryBody> {
        let alone = self.entry.take();
        let batch = std::mem::take(&mut self.batch_entry);
        if batch.is_empty() { alone.into_iter().collect() } else { batch }
    }
}
