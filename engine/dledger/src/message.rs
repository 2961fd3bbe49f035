//! What nodes say to each other: requests 51001, 51002, 51004 and 51005 of DLedger and their answers.
//!
//! Each is expressible in the JSON body of 0.3.1: `localId` and `remoteId` are `from` and `to`, `leaderId` is the
//! sender's of a request. An answer repeats what it answers; on the wire Java leaves that out, and the codec
//! takes it from the request of the same opaque, as it does where Java leaves an answer's `term` at −1.
//! Bodies of entries are put in and taken out by the host.
//!
//! Fields marked *ours* are unknown to Java. They are `Option`s or pre-votes; [`Message::without_extensions`]
//! takes them out for such a peer, and every rule has an answer for their absence.
//!
//! Java origin: `VoteRequest`, `HeartBeatRequest`, `PushEntryRequest`, `LeadershipTransferRequest` and their responses.

use crate::types::{EntryMeta, LedgerIndex, NodeId, Term};

/// A request or an answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Message {
    /// Who says it.
    pub from: NodeId,
    /// To whom.
    pub to: NodeId,
    /// The sender's term; of a pre-vote request the term that it would ask for.
    pub term: Term,
    /// What is said.
    pub body: Body,
}

/// What is said in a [`Message`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Body {
    /// 51001 VOTE.
    VoteRequest(VoteRequest),
    /// The answer to it.
    VoteResponse(VoteResponse),
    /// 51002 HEART_BEAT.
    HeartBeatRequest {
        /// Ours: the end of the leader's log.
        ledger_end_index: Option<LedgerIndex>,
    },
    /// The answer to it.
    HeartBeatResponse(ResponseCode),
    /// 51004 PUSH.
    PushRequest(PushRequest),
    /// The answer to it.
    PushResponse(PushResponse),
    /// 51005 LEADERSHIP_TRANSFER, to the one who shall lead.
    LeadershipTransferRequest(LeadershipTransfer),
    /// The answer to it.
    LeadershipTransferResponse(ResponseCode),
}

/// A candidate asks for a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VoteRequest {
    /// The end of its log.
    pub ledger_end_index: LedgerIndex,
    /// The term of the entry there.
    pub ledger_end_term: Term,
    /// Ours: it only asks whether it would get the vote. Never sent to Java.
    pub is_pre_vote: bool,
}

/// What a voter answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VoteResponse {
    /// `voteResult`.
    pub result: VoteResult,
    /// Whether a pre-vote was asked for.
    pub is_pre_vote: bool,
}

/// `VoteResponse.RESULT`, as far as the core gives or tells them apart; any other is a rejection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VoteResult {
    /// UNKNOWN: no answer, which counts for and against nobody. What a blank node says.
    Unknown,
    /// ACCEPT.
    Accept,
    /// REJECT_EXPIRED_VOTE_TERM.
    RejectExpiredVoteTerm,
    /// REJECT_ALREADY_VOTED.
    RejectAlreadyVoted,
    /// REJECT_ALREADY_HAS_LEADER.
    RejectAlreadyHasLeader,
    /// REJECT_TERM_NOT_READY: ask again at once.
    RejectTermNotReady,
    /// REJECT_EXPIRED_LEDGER_TERM.
    RejectExpiredLedgerTerm,
    /// REJECT_SMALL_LEDGER_END_INDEX.
    RejectSmallLedgerEndIndex,
}

/// `PushEntryRequest.Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PushType {
    /// Entries that continue the log.
    Append,
    /// The committed index alone.
    Commit,
    /// Is the entry there the one here?
    Compare,
    /// Cut the log behind the entry here.
    Truncate,
}

/// A leader's push to a follower.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PushRequest {
    /// `type`.
    pub push_type: PushType,
    /// `commitIndex`: the leader's committed index.
    pub commit_index: LedgerIndex,
    /// Of the first entry; of COMMIT the committed index again.
    pub first_index: LedgerIndex,
    /// Any number for APPEND, one for COMPARE and TRUNCATE, none for COMMIT.
    pub entries: Vec<EntryMeta>,
    /// Ours: where the leader's log begins; in TRUNCATE only.
    pub ledger_begin_index: Option<LedgerIndex>,
}

impl PushRequest {
    /// The index of the last entry; before the first where there is none.
    #[must_use]
    pub fn last_index(&self) -> LedgerIndex {
        self.first_index + self.entries.len() as LedgerIndex - 1
    }
}

/// What a follower answers to a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PushResponse {
    /// Of the request.
    pub push_type: PushType,
    /// `code`.
    pub code: ResponseCode,
    /// `index`: the first of the request.
    pub index: LedgerIndex,
    /// `count` of the request. SUCCESS says that the log equals the leader's up to the last of them, as durably
    /// as the follower's `flushDiskType` asks.
    pub count: u32,
    /// `beginIndex` of the follower's log.
    pub begin_index: LedgerIndex,
    /// `endIndex` of the follower's log.
    pub end_index: LedgerIndex,
    /// Ours, where a COMPARE found another entry: `xTerm`, the term of the entry there, and `xIndex`, the last index
    /// below it that can be equal for all that the follower knows. (DLedger 0.4 has fields of these names.)
    pub conflict: Option<(Term, LedgerIndex)>,
}

/// The leader asks a follower to take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeadershipTransfer {
    /// `transferId`: the leader.
    pub transfer_id: NodeId,
    /// `transfereeId`: who shall lead.
    pub transferee_id: NodeId,
    /// `takeLeadershipLedgerIndex`: how far its log must reach before.
    pub take_leadership_ledger_index: LedgerIndex,
}

/// `DLedgerResponseCode`, as far as the core says or tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResponseCode {
    /// 200.
    Success,
    /// 403: the request is of a smaller term.
    ExpiredTerm,
    /// 404: a proposal to who does not lead.
    NotLeader,
    /// 406: the entries do not follow what is known to be equal.
    InconsistentState,
    /// 409: another one leads this term.
    InconsistentLeader,
    /// 414: the disk has failed.
    DiskError,
    /// 416: the term is new to the node; ask again at once.
    TermNotReady,
    /// 418: the log did not get there in time, or the node may not lead.
    TakeLeadershipFailed,
    /// 421: too many answers wait already.
    PushRequestIsFull,
    /// 503: too many entries wait to be committed.
    LeaderPendingFull,
    /// 506: another one is about to lead.
    LeaderTransferring,
}

impl ResponseCode {
    /// The number on the wire.
    #[must_use]
    pub fn number(self) -> i32 {
        match self {
            ResponseCode::Success => 200,
            ResponseCode::ExpiredTerm => 403,
            ResponseCode::NotLeader => 404,
            ResponseCode::InconsistentState => 406,
            ResponseCode::InconsistentLeader => 409,
            ResponseCode::DiskError => 414,
            ResponseCode::TermNotReady => 416,
            ResponseCode::TakeLeadershipFailed => 418,
            ResponseCode::PushRequestIsFull => 421,
            ResponseCode::LeaderPendingFull => 503,
            ResponseCode::LeaderTransferring => 506,
        }
    }

    /// The code with that number. One that the core does not tell apart is no success and nothing that asks for more:
    /// INCONSISTENT_STATE, upon which a leader compares.
    #[must_use]
    pub fn of_number(number: i32) -> Self {
        match number {
            200 => ResponseCode::Success,
            403 => ResponseCode::ExpiredTerm,
            404 => ResponseCode::NotLeader,
            409 => ResponseCode::InconsistentLeader,
            414 => ResponseCode::DiskError,
            416 => ResponseCode::TermNotReady,
            418 => ResponseCode::TakeLeadershipFailed,
            421 => ResponseCode::PushRequestIsFull,
            503 => ResponseCode::LeaderPendingFull,
            506 => ResponseCode::LeaderTransferring,
            _ => ResponseCode::InconsistentState,
        }
    }
}

impl Message {
    /// The message as a Java peer can be told it.
    ///
    /// # Panics
    /// On a pre-vote request, which no Java peer may get: it would take it for a vote.
    #[must_use]
    pub fn without_extensions(mut self) -> Message {
        match &mut self.body {
            Body::VoteRequest(request) => assert!(!request.is_pre_vote, "a pre-vote to Java"),
            Body::HeartBeatRequest { ledger_end_index } => *ledger_end_index = None,
            Body::PushRequest(request) => request.ledger_begin_index = None,
            Body::PushResponse(response) => response.conflict = None,
            _ => {}
        }
        self
    }

    /// Whether the term of it is one that somebody has reached, and not only asks for.
    pub(crate) fn is_of_its_term(&self) -> bool {
        !matches!(&self.body, Body::VoteRequest(request) if request.is_pre_vote)
    }

    /// Whether only a leader says it.
    pub(crate) fn is_of_leader(&self) -> bool {
        matches!(
            self.body,
            Body::HeartBeatRequest { .. }
                | Body::PushRequest(_)
                | Body::LeadershipTransferRequest(_)
        )
    }

    pub(crate) fn is_response(&self) -> bool {
        matches!(
            self.body,
            Body::VoteResponse(_)
                | Body::HeartBeatResponse(_)
                | Body::PushResponse(_)
                | Body::LeadershipTransferResponse(_)
        )
    }
}
