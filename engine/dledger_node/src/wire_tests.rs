//! Messages there and back, and what is refused on the way in.

use super::*;
use crate::config::{NodeConfig, PeerConfig};
use mq_dledger_log::LogConfig;

/// A group of three, seen by one of them.
fn members(self_id: &str) -> Members {
    let peer = |id: &str| PeerConfig { id: id.to_owned(), addr: format!("{id}:1"), is_java: false };
    let log = LogConfig::of_node(std::path::Path::new("/store"), self_id);
    let peers = ["n0", "n1", "n2"].map(peer).to_vec();
    Members::of(&NodeConfig::new("g", peers, self_id, log).unwrap())
}

fn message(body: Body) -> Message {
    Message { from: NodeId(0), to: NodeId(2), term: 7, body }
}

fn entry(index: i64, body: &'static [u8]) -> DLedgerEntryBody {
    DLedgerEntryBody {
        body: Base64Bytes(body.into()),
        index,
        pos: 0,
        size: 48 + body.len() as i32,
        term: 6,
        ..DLedgerEntryBody::default()
    }
}

fn push(push_type: PushType, first_index: i64, sizes: &[u32]) -> PushRequest {
    let entries = sizes.iter().map(|size| EntryMeta { term: 6, size_bytes: *size }).collect();
    let ledger_begin_index = (push_type == PushType::Truncate).then_some(2);
    PushRequest { push_type, commit_index: 5, first_index, entries, ledger_begin_index }
}

#[test]
fn requests_come_back_as_they_went() {
    let (sender, receiver) = (members("n0"), members("n2"));
    let vote = VoteRequest { ledger_end_index: 9, ledger_end_term: 6, is_pre_vote: true };
    let transfer = LeadershipTransfer {
        transfer_id: NodeId(0),
        transferee_id: NodeId(2),
        take_leadership_ledger_index: 9,
    };
    let cases = [
        (Body::VoteRequest(vote), vec![]),
        (Body::VoteRequest(VoteRequest { is_pre_vote: false, ..vote }), vec![]),
        (Body::HeartBeatRequest { ledger_end_index: Some(4) }, vec![]),
        (Body::HeartBeatRequest { ledger_end_index: None }, vec![]),
        (Body::LeadershipTransferRequest(transfer), vec![]),
        (Body::PushRequest(push(PushType::Commit, 5, &[])), vec![]),
        (Body::PushRequest(push(PushType::Truncate, 9, &[49])), vec![entry(9, b"a")]),
        (Body::PushRequest(push(PushType::Append, 9, &[49])), vec![entry(9, b"a")]),
        (
            Body::PushRequest(push(PushType::Append, 9, &[49, 50])),
            vec![entry(9, b"a"), entry(10, b"bc")],
        ),
    ];
    for (body, entries) in cases {
        let message = message(body);
        let bodies: Vec<_> = entries.iter().map(|entry| entry.body.0.clone()).collect();
        let frame = encode(&sender, &message, entries);
        let incoming = decode_request(&receiver, &frame).unwrap();
        assert_eq!(incoming.message, message);
        let read: Vec<_> = incoming.entries.iter().map(|entry| entry.body.clone()).collect();
        assert_eq!(read, bodies);
    }
}

#[test]
fn answers_are_those_of_their_requests() {
    let asked = members("n2");
    let vote = |is_pre_vote| VoteRequest { ledger_end_index: 1, ledger_end_term: 1, is_pre_vote };
    let pushed = |conflict| PushResponse {
        push_type: PushType::Append,
        code: ResponseCode::InconsistentState,
        index: 9,
        count: 2,
        begin_index: 3,
        end_index: 8,
        conflict,
    };
    let append = || Body::PushRequest(push(PushType::Append, 9, &[49, 50]));
    let result = VoteResult::RejectSmallLedgerEndIndex;
    let cases = [
        (
            Body::VoteRequest(vote(true)),
            Body::VoteResponse(VoteResponse { result, is_pre_vote: true }),
        ),
        (
            Body::VoteRequest(vote(false)),
            Body::VoteResponse(VoteResponse { result, is_pre_vote: false }),
        ),
        (append(), Body::PushResponse(pushed(None))),
        (append(), Body::PushResponse(pushed(Some((4, 6))))),
        (
            Body::HeartBeatRequest { ledger_end_index: None },
            Body::HeartBeatResponse(ResponseCode::TermNotReady),
        ),
    ];
    for (request, answer) in cases {
        let request = message(request);
        let answer = Message { from: NodeId(2), to: NodeId(0), term: 8, body: answer };
        let frame = encode(&asked, &answer, Vec::new());
        assert_eq!(frame.code, 200);
        assert!(std::str::from_utf8(&frame.body).unwrap().contains("\"localId\":\"n0\""));
        assert_eq!(decode_answer(&request, &frame), Ok(answer));
    }
    // What Java leaves out, and the term that it is about to leave.
    let request = message(append());
    let frame = self::answer(Bytes::from_static(b"{\"code\":200,\"endIndex\":10}"));
    let read = decode_answer(&request, &frame).unwrap();
    assert_eq!((read.from, read.to, read.term), (NodeId(2), NodeId(0), 7));
    let not_ready = b"{\"code\":416,\"term\":6}";
    let heart_beat = message(Body::HeartBeatRequest { ledger_end_index: None });
    let frame = self::answer(Bytes::from_static(not_ready));
    assert_eq!(decode_answer(&heart_beat, &frame).unwrap().term, 7);
    let not_ready = b"{\"code\":200,\"term\":6,\"voteResult\":\"REJECT_TERM_NOT_READY\"}";
    let frame = self::answer(Bytes::from_static(not_ready));
    assert_eq!(decode_answer(&message(Body::VoteRequest(vote(false))), &frame).unwrap().term, 7);
    let Body::PushResponse(push) = read.body else { panic!("{read:?}") };
    assert_eq!((push.index, push.count, push.end_index, push.conflict), (9, 2, 10, None));
}

#[test]
fn what_is_not_meant_for_this_node_is_refused() {
    let sender = members("n0");
    let frame = |message: &Message| encode(&sender, message, Vec::new());
    let heart_beat = message(Body::HeartBeatRequest { ledger_end_index: None });
    let refused = |members: &Members, frame: &RemotingCommand| {
        decode_request(members, frame).map(|it| it.message).unwrap_err()
    };
    assert_eq!(refused(&members("n1"), &frame(&heart_beat)), Refused::Code(401));
    let mut other = members("n2");
    other.group = "h".to_owned();
    assert_eq!(refused(&other, &frame(&heart_beat)), Refused::Code(400));
    let own = Message { from: NodeId(2), ..heart_beat };
    assert_eq!(refused(&members("n2"), &frame(&own)), Refused::Code(402));
    let pushes = [
        (PushType::Append, vec![]),
        (PushType::Commit, vec![entry(5, b"a")]),
        (PushType::Compare, vec![entry(5, b"a"), entry(6, b"a")]),
        (PushType::Append, vec![entry(5, b"a"), entry(7, b"a")]),
        (PushType::Append, vec![entry(-1, b"a"), entry(1, b"a")]),
        (PushType::Append, vec![entry(5, b"")]),
        (PushType::Append, vec![entry(i64::MAX, b"a")]),
        (PushType::Append, vec![DLedgerEntryBody { pos: i64::MAX, ..entry(5, b"a") }]),
        (PushType::Append, vec![DLedgerEntryBody { size: 50, ..entry(5, b"a") }]),
        (PushType::Append, vec![DLedgerEntryBody { magic: 2, ..entry(5, b"a") }]),
        (PushType::Append, vec![DLedgerEntryBody { pos: -1, ..entry(5, b"a") }]),
    ];
    for (push_type, entries) in pushes {
        let message = message(Body::PushRequest(push(push_type, 5, &[])));
        let frame = encode(&sender, &message, entries);
        assert_eq!(refused(&members("n2"), &frame), Refused::Code(411), "{push_type:?}");
    }
    let torn =
        RemotingCommand::request(DLedgerRequestCode::PUSH, &()).with_body(&b"{\"term\":"[..]);
    assert!(matches!(refused(&members("n2"), &torn), Refused::Json(_)));
}
