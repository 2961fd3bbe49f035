//! DLedger's bodies in the text that fastjson writes, and what readers have to put up with.

use super::dledger::*;
use crate::fastjson::{Json, from_slice, to_bytes};

fn entry(index: i64, body: &'static [u8]) -> DLedgerEntryBody {
    DLedgerEntryBody {
        body: Base64Bytes(body.into()),
        index,
        pos: 60 * index,
        size: 48 + body.len() as i32,
        term: 2,
        ..DLedgerEntryBody::default()
    }
}

/// Written as the text, and read back from it.
fn assert_text<T: Json + PartialEq + std::fmt::Debug>(body: &T, text: &str) {
    assert_eq!(std::str::from_utf8(&to_bytes(body)), Ok(text));
    assert_eq!(from_slice::<T>(text.as_bytes()).as_ref(), Ok(body));
}

fn push() -> DLedgerPushRequest {
    DLedgerPushRequest {
        commit_index: 6,
        group: Some("g".into()),
        leader_id: Some("n0".into()),
        local_id: Some("n0".into()),
        remote_id: Some("n1".into()),
        term: 3,
        ..DLedgerPushRequest::default()
    }
}

#[test]
fn pushes_are_written_as_by_java() {
    let text = "{\"batch\":false,\"batchEntry\":[],\"code\":200,\"commitIndex\":6,\"count\":1,\"entry\":{\"body\":\
                \"+/8A\",\"bodyCrc\":0,\"chainCrc\":0,\"channel\":0,\"index\":7,\"magic\":1,\"pos\":420,\"size\":51,\
                \"term\":2},\"firstEntryIndex\":7,\"group\":\"g\",\"lastEntryIndex\":7,\"leaderId\":\"n0\",\"localId\":\
                \"n0\",\"remoteId\":\"n1\",\"term\":3,\"totalSize\":0,\"type\":\"APPEND\"}";
    assert_text(&push().with_entries(vec![entry(7, b"\xfb\xff\0")]), text);
    let text = "{\"batch\":true,\"batchEntry\":[{\"body\":\"YQ==\",\"bodyCrc\":0,\"chainCrc\":0,\"channel\":0,\"index\":7,\
                \"magic\":1,\"pos\":420,\"size\":49,\"term\":2},{\"body\":\"YmM=\",\"bodyCrc\":0,\"chainCrc\":0,\
                \"channel\":0,\"index\":8,\"magic\":1,\"pos\":480,\"size\":50,\"term\":2}],\"code\":200,\"commitIndex\":6,\
                \"count\":2,\"firstEntryIndex\":7,\"group\":\"g\",\"lastEntryIndex\":8,\"leaderId\":\"n0\",\"localId\":\
                \"n0\",\"remoteId\":\"n1\",\"term\":3,\"totalSize\":99,\"type\":\"APPEND\"}";
    let entries = vec![entry(7, b"a"), entry(8, b"bc")];
    let mut batch = push().with_entries(entries.clone());
    assert_text(&batch, text);
    assert_eq!(batch.take_entries(), entries);
    let commit = DLedgerPushRequest { push_type: DLedgerPushType::Commit, ..push() };
    let text = "{\"batch\":false,\"batchEntry\":[],\"code\":200,\"commitIndex\":6,\"count\":0,\"firstEntryIndex\":-1,\
                \"group\":\"g\",\"lastEntryIndex\":-1,\"leaderId\":\"n0\",\"localId\":\"n0\",\"remoteId\":\"n1\",\
                \"term\":3,\"totalSize\":0,\"type\":\"COMMIT\"}";
    assert_text(&commit.clone().with_entries(Vec::new()), text);
    assert_eq!(commit.clone().take_entries(), []);
}

#[test]
fn votes_and_heartbeats_are_written_as_by_java() {
    let vote = DLedgerVoteRequest {
        group: Some("g".into()),
        leader_id: Some("n0".into()),
        ledger_end_index: 9,
        ledger_end_term: 2,
        local_id: Some("n0".into()),
        remote_id: Some("n1".into()),
        term: 3,
        ..DLedgerVoteRequest::default()
    };
    let text = "{\"code\":200,\"group\":\"g\",\"leaderId\":\"n0\",\"ledgerEndIndex\":9,\"ledgerEndTerm\":2,\"localId\":\
                \"n0\",\"remoteId\":\"n1\",\"term\":3}";
    assert_text(&vote, text);
    let answer = DLedgerVoteResponse {
        group: Some("g".into()),
        term: 3,
        vote_result: DLedgerVoteResult::RejectTermNotReady,
        ..DLedgerVoteResponse::default()
    };
    let text = "{\"code\":200,\"group\":\"g\",\"term\":3,\"voteResult\":\"REJECT_TERM_NOT_READY\"}";
    assert_text(&answer, text);
    let heart_beat = DLedgerHeartBeatRequest { term: 3, ..DLedgerHeartBeatRequest::default() };
    assert_text(&heart_beat, "{\"code\":200,\"term\":3}");
    let transfer = DLedgerTransferRequest {
        take_leadership_ledger_index: 9,
        term: 3,
        transfer_id: Some("n0".into()),
        transferee_id: Some("n1".into()),
        ..DLedgerTransferRequest::default()
    };
    let text = "{\"code\":200,\"takeLeadershipLedgerIndex\":9,\"term\":3,\"transferId\":\"n0\",\"transfereeId\":\"n1\"}";
    assert_text(&transfer, text);
}

#[test]
fn what_java_leaves_out_has_its_default_and_what_is_new_is_passed_over() {
    let read: DLedgerPushResponse = from_slice(
        b"{\"code\":406,\"beginIndex\":2,\"snapshot\":{\"a\":1},\"endIndex\":8,\"index\":null}",
    )
    .unwrap();
    let expected = DLedgerPushResponse {
        code: 406,
        begin_index: 2,
        end_index: 8,
        term: -1,
        ..DLedgerPushResponse::default()
    };
    assert_eq!(read, expected);
    let read: DLedgerVoteResponse = from_slice(b"{}").unwrap();
    assert_eq!((read.vote_result, read.term), (DLedgerVoteResult::Unknown, -1));
    let bad = from_slice::<DLedgerAppendRequest>(b"{\"body\":\"a!\"}");
    assert_eq!(bad.unwrap_err().to_string(), "<body>: bytes in base64 expected");
}
