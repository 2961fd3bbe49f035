//! The core's messages as bodies of RocketMQ's frames, and back.
//!
//! An answer says again who asked whom (`localId`, `remoteId`), as Java's does; what else it leaves out is taken from the
//! request that it answers.

use bytes::Bytes;
use mq_dledger::{
    Body, EntryMeta, LeadershipTransfer, Message, NodeId, PushRequest, PushResponse, PushType,
    ResponseCode, VoteRequest, VoteResponse, VoteResult,
};
use mq_protocol::body::dledger::{
    Base64Bytes, DLedgerBody, DLedgerEntryBody, DLedgerHeartBeatRequest, DLedgerPushRequest,
    DLedgerPushResponse, DLedgerPushType, DLedgerTransferRequest, DLedgerVoteRequest,
    DLedgerVoteResponse, DLedgerVoteResult,
};
use mq_protocol::codes::{DLedgerRequestCode, DLedgerResponseCode};
use mq_protocol::dledger_entry::{ENTRY_HEADER_BYTES, ENTRY_MAGIC, EntryHead};
use mq_protocol::fastjson::{Json, JsonReadError, from_slice, to_bytes};
use mq_protocol::remoting_command::RemotingCommand;

use crate::members::Members;

/// A body of that type with what every body has.
macro_rules! body {
    ($type:ident, $base:expr, { $($field:ident: $value:expr,)* }) => {{
        let Base { group, asks, asked, term } = $base;
        let mut body = $type::default();
        body.group = Some(group.to_owned());
        body.leader_id = Some(asks.to_owned());
        body.local_id = Some(asks.to_owned());
        body.remote_id = Some(asked.to_owned());
        body.term = term;
        $(body.$field = $value;)*
        body
    }};
}

/// Indexes and positions beyond this are nobody's, so that nothing that is computed from them overflows.
const LARGEST: i64 = i64::MAX / 64;

/// What every body has.
#[derive(Clone, Copy)]
struct Base<'a> {
    group: &'a str,
    asks: &'a str,
    asked: &'a str,
    term: i64,
}

/// A request that came in.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) message: Message,
    /// Of a push, in the order of their indexes.
    pub(crate) entries: Vec<PushedEntry>,
}

/// An entry of a push.
#[derive(Clone, Debug)]
pub(crate) struct PushedEntry {
    pub(crate) head: EntryHead,
    pub(crate) body: Bytes,
}

/// Why a request is not shown to the core.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// It cannot be read.
    #[error(transparent)]
    Json(#[from] JsonReadError),
    /// It is meant for somebody else, or says what nobody can say; `DLedgerResponseCode`.
    #[error("refused with code {0}")]
    Code(i32),
}

/// The number of what a request asks for; none of an answer.
pub(crate) fn request_code(body: &Body) -> Option<i32> {
    match body {
        Body::VoteRequest(_) => Some(DLedgerRequestCode::VOTE),
        Body::HeartBeatRequest { .. } => Some(DLedgerRequestCode::HEART_BEAT),
        Body::PushRequest(_) => Some(DLedgerRequestCode::PUSH),
        Body::LeadershipTransferRequest(_) => Some(DLedgerRequestCode::LEADERSHIP_TRANSFER),
        _ => None,
    }
}

/// A message as a frame: a request with the entries of a push, or the answer to one.
pub(crate) fn encode(
    members: &Members,
    message: &Message,
    entries: Vec<DLedgerEntryBody>,
) -> RemotingCommand {
    let (from, to) = (members.name_of(message.from), members.name_of(message.to));
    let code = request_code(&message.body);
    let (asks, asked) = if code.is_some() { (from, to) } else { (to, from) };
    let base = Base { group: &members.group, asks, asked, term: message.term };
    let body = match &message.body {
        Body::VoteRequest(request) => to_bytes(&body!(DLedgerVoteRequest, base, {
            ledger_end_index: request.ledger_end_index,
            ledger_end_term: request.ledger_end_term,
            pre_vote: request.is_pre_vote.then_some(true),
        })),
        Body::VoteResponse(response) => to_bytes(&body!(DLedgerVoteResponse, base, {
            vote_result: vote_result(response.result),
            pre_vote: response.is_pre_vote.then_some(true),
        })),
        Body::HeartBeatRequest { ledger_end_index } => {
            to_bytes(&body!(DLedgerHeartBeatRequest, base, {
                ledger_end_index: *ledger_end_index,
            }))
        }
        Body::PushRequest(request) => {
            let push = body!(DLedgerPushRequest, base, {
                commit_index: request.commit_index,
                ledger_begin_index: request.ledger_begin_index,
                push_type: push_type(request.push_type),
            });
            to_bytes(&push.with_entries(entries))
        }
        Body::PushResponse(response) => to_bytes(&body!(DLedgerPushResponse, base, {
            code: response.code.number(),
            index: Some(response.index),
            count: i32::try_from(response.count).unwrap_or(i32::MAX),
            begin_index: response.begin_index,
            end_index: response.end_index,
            x_term: response.conflict.map(|(term, _)| term),
            x_index: response.conflict.map(|(_, index)| index),
        })),
        Body::LeadershipTransferRequest(transfer) => {
            to_bytes(&body!(DLedgerTransferRequest, base, {
                transfer_id: Some(members.name_of(transfer.transfer_id).to_owned()),
                transferee_id: Some(members.name_of(transfer.transferee_id).to_owned()),
                take_leadership_ledger_index: transfer.take_leadership_ledger_index,
            }))
        }
        Body::HeartBeatResponse(code) | Body::LeadershipTransferResponse(code) => {
            to_bytes(&body!(DLedgerBody, base, { code: code.number(), }))
        }
    };
    match code {
        Some(code) => RemotingCommand::request(code, &()).with_body(body),
        None => answer(body),
    }
}

/// The frame of an answer: always a success, the outcome is in the body.
pub(crate) fn answer(body: Bytes) -> RemotingCommand {
    RemotingCommand::response(DLedgerResponseCode::SUCCESS, None).with_body(body)
}

/// The answer to what is not shown to the core.
pub(crate) fn refusal(code: i32) -> RemotingCommand {
    answer(to_bytes(&DLedgerBody { code, ..DLedgerBody::default() }))
}

/// Reads a request of a member to this one.
pub(crate) fn decode_request(
    members: &Members,
    request: &RemotingCommand,
) -> Result<Incoming, Refused> {
    let (base, mut entries) = (read::<DLedgerBody>(request)?, Vec::new());
    let from = asks(members, &base)?;
    let body = match request.code {
        DLedgerRequestCode::VOTE => {
            let vote = read::<DLedgerVoteRequest>(request)?;
            Body::VoteRequest(VoteRequest {
                ledger_end_index: vote.ledger_end_index,
                ledger_end_term: vote.ledger_end_term,
                is_pre_vote: vote.pre_vote.unwrap_or(false),
            })
        }
        DLedgerRequestCode::HEART_BEAT => {
            let ledger_end_index = read::<DLedgerHeartBeatRequest>(request)?.ledger_end_index;
            Body::HeartBeatRequest { ledger_end_index }
        }
        DLedgerRequestCode::PUSH => {
            let (push, pushed) = decode_push(read(request)?)?;
            entries = pushed;
            Body::PushRequest(push)
        }
        DLedgerRequestCode::LEADERSHIP_TRANSFER => {
            let transfer = read::<DLedgerTransferRequest>(request)?;
            let id = |name: Option<String>| name.as_deref().and_then(|name| members.id_of(name));
            let ids = id(transfer.transfer_id).zip(id(transfer.transferee_id));
            let unknown = Refused::Code(DLedgerResponseCode::UNKNOWN_MEMBER);
            let (transfer_id, transferee_id) = ids.ok_or(unknown)?;
            Body::LeadershipTransferRequest(LeadershipTransfer {
                transfer_id,
                transferee_id,
                take_leadership_ledger_index: transfer.take_leadership_ledger_index,
            })
        }
        _ => return Err(Refused::Code(DLedgerResponseCode::UNSUPPORTED)),
    };
    let message = Message { from, to: members.self_id, term: base.term, body };
    Ok(Incoming { message, entries })
}

/// The member that asks, if the request is of this group and for this node.
fn asks(members: &Members, base: &DLedgerBody) -> Result<NodeId, Refused> {
    if base.group.as_deref() != Some(&members.group) {
        return Err(Refused::Code(DLedgerResponseCode::UNKNOWN_GROUP));
    }
    let id = |name: &Option<String>| name.as_deref().and_then(|name| members.id_of(name));
    let is_for_this = id(&base.remote_id) == Some(members.self_id);
    match id(&base.local_id).filter(|_| is_for_this) {
        None => Err(Refused::Code(DLedgerResponseCode::UNKNOWN_MEMBER)),
        Some(from) if from == members.self_id => {
            Err(Refused::Code(DLedgerResponseCode::UNEXPECTED_MEMBER))
        }
        Some(from) => Ok(from),
    }
}

fn decode_push(mut push: DLedgerPushRequest) -> Result<(PushRequest, Vec<PushedEntry>), Refused> {
    let push_type = match push.push_type {
        DLedgerPushType::Append => PushType::Append,
        DLedgerPushType::Commit => PushType::Commit,
        DLedgerPushType::Compare => PushType::Compare,
        DLedgerPushType::Truncate => PushType::Truncate,
    };
    let entries: Vec<PushedEntry> = push.take_entries().into_iter().map(pushed).collect();
    let is_count_right = match push_type {
        PushType::Append => !entries.is_empty(),
        PushType::Commit => entries.is_empty(),
        PushType::Compare | PushType::Truncate => entries.len() == 1,
    };
    let first_index = entries.first().map_or(push.commit_index, |entry| entry.head.index);
    let is_possible = (-1..=LARGEST).contains(&first_index);
    let are_in_a_row = || (first_index..).zip(&entries).all(|(index, entry)| entry.is_whole(index));
    if !is_count_right || !is_possible || !are_in_a_row() {
        return Err(Refused::Code(DLedgerResponseCode::UNEXPECTED_ARGUMENT));
    }
    let meta = |entry: &PushedEntry| EntryMeta {
        term: entry.head.term,
        size_bytes: entry.head.size as u32,
    };
    let request = PushRequest {
        push_type,
        commit_index: push.commit_index,
        first_index,
        entries: entries.iter().map(meta).collect(),
        ledger_begin_index: push.ledger_begin_index,
    };
    Ok((request, entries))
}

fn pushed(entry: DLedgerEntryBody) -> PushedEntry {
    let head = EntryHead {
        magic: entry.magic,
        size: entry.size,
        index: entry.index,
        term: entry.term,
        pos: entry.pos,
        channel: entry.channel,
        chain_crc: entry.chain_crc,
        body_crc: entry.body_crc,
        body_len: i32::try_from(entry.body.0.len()).unwrap_or(i32::MAX),
    };
    PushedEntry { head, body: entry.body.0 }
}

impl PushedEntry {
    /// Whether header and body agree, and it is the entry of that index.
    fn is_whole(&self, index: i64) -> bool {
        let size = ENTRY_HEADER_BYTES + self.body.len();
        self.head.magic == ENTRY_MAGIC
            && self.head.index == index
            && (0..=LARGEST).contains(&self.head.pos)
            && !self.body.is_empty()
            && usize::try_from(self.head.size) == Ok(size)
    }
}

/// An entry of the log for the wire.
pub(crate) fn entry_body(entry: &mq_dledger_log::Entry) -> DLedgerEntryBody {
    DLedgerEntryBody {
        body: Base64Bytes(Bytes::copy_from_slice(entry.body())),
        body_crc: entry.head.body_crc,
        chain_crc: entry.head.chain_crc,
        channel: entry.head.channel,
        index: entry.head.index,
        magic: entry.head.magic,
        pos: entry.head.pos,
        size: entry.head.size,
        term: entry.head.term,
    }
}

/// Reads the answer to `request`.
pub(crate) fn decode_answer(
    request: &Message,
    answer: &RemotingCommand,
) -> Result<Message, JsonReadError> {
    let base = from_slice::<DLedgerBody>(&answer.body)?;
    let code = ResponseCode::of_number(base.code);
    let body = match &request.body {
        Body::VoteRequest(vote) => {
            let response = from_slice::<DLedgerVoteResponse>(&answer.body)?;
            let result = result_of(response.vote_result);
            Body::VoteResponse(VoteResponse { result, is_pre_vote: vote.is_pre_vote })
        }
        Body::HeartBeatRequest { .. } => Body::HeartBeatResponse(code),
        Body::LeadershipTransferRequest(_) => Body::LeadershipTransferResponse(code),
        Body::PushRequest(push) => {
            let response = from_slice::<DLedgerPushResponse>(&answer.body)?;
            let conflict = response.x_term.zip(response.x_index);
            Body::PushResponse(PushResponse {
                push_type: push.push_type,
                code,
                index: push.first_index,
                count: u32::try_from(push.entries.len()).unwrap_or(u32::MAX),
                begin_index: response.begin_index,
                end_index: response.end_index,
                conflict: conflict.filter(|(term, _)| *term >= 0),
            })
        }
        _ => return Err(JsonReadError::expected("a request")),
    };
    // Java states the term that it is about to leave when it says that it is not ready for the one asked about.
    let is_not_ready = matches!(
        body,
        Body::HeartBeatResponse(ResponseCode::TermNotReady)
            | Body::VoteResponse(VoteResponse { result: VoteResult::RejectTermNotReady, .. })
    );
    let is_left_out = base.term < 0;
    let term = if is_left_out || is_not_ready { base.term.max(request.term) } else { base.term };
    Ok(Message { from: request.to, to: request.from, term, body })
}

fn read<T: Json>(request: &RemotingCommand) -> Result<T, JsonReadError> {
    from_slice(&request.body)
}

fn push_type(push_type: PushType) -> DLedgerPushType {
    match push_type {
        PushType::Append => DLedgerPushType::Append,
        PushType::Commit => DLedgerPushType::Commit,
        PushType::Compare => DLedgerPushType::Compare,
        PushType::Truncate => DLedgerPushType::Truncate,
    }
}

fn vote_result(result: VoteResult) -> DLedgerVoteResult {
    match result {
        VoteResult::Unknown => DLedgerVoteResult::Unknown,
        VoteResult::Accept => DLedgerVoteResult::Accept,
        VoteResult::RejectExpiredVoteTerm => DLedgerVoteResult::RejectExpiredVoteTerm,
        VoteResult::RejectAlreadyVoted => DLedgerVoteResult::RejectAlreadyVoted,
        VoteResult::RejectAlreadyHasLeader => DLedgerVoteResult::RejectAlreadyHasLeader,
        VoteResult::RejectTermNotReady => DLedgerVoteResult::RejectTermNotReady,
        VoteResult::RejectExpiredLedgerTerm => DLedgerVoteResult::RejectExpiredLedgerTerm,
        VoteResult::RejectSmallLedgerEndIndex => DLedgerVoteResult::RejectSmallLedgerEndIndex,
    }
}

/// Those that the core does not tell apart are a vote for somebody else.
fn result_of(result: DLedgerVoteResult) -> VoteResult {
    match result {
        DLedgerVoteResult::Unknown => VoteResult::Unknown,
        DLedgerVoteResult::Accept => VoteResult::Accept,
        DLedgerVoteResult::RejectExpiredVoteTerm => VoteResult::RejectExpiredVoteTerm,
        DLedgerVoteResult::RejectAlreadyHasLeader => VoteResult::RejectAlreadyHasLeader,
        DLedgerVoteResult::RejectTermNotReady => VoteResult::RejectTermNotReady,
        DLedgerVoteResult::RejectExpiredLedgerTerm => VoteResult::RejectExpiredLedgerTerm,
        DLedgerVoteResult::RejectSmallLedgerEndIndex => VoteResult::RejectSmallLedgerEndIndex,
        DLedgerVoteResult::RejectAlreadyVoted
        | DLedgerVoteResult::RejectUnknownLeader
        | DLedgerVoteResult::RejectUnexpectedLeader
        | DLedgerVoteResult::RejectTermSmallThanLedger
        | DLedgerVoteResult::RejectTakingLeadership => VoteResult::RejectAlreadyVoted,
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
