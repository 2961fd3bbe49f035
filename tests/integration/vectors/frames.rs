//! Frames in both header serializations.

use std::collections::BTreeSet;

use bytes::BytesMut;
use mq_protocol::codes::{LanguageCode, RequestCode};
use mq_protocol::frame;
use mq_protocol::remoting_command::RemotingCommand;

use super::fixture::rows;

/// Fewer vectors than this mean that fixtures were lost.
const VECTORS_MIN: usize = 5200;
const CODES_MIN: usize = 77;

#[test]
fn recorded_frames_say_what_was_recorded() {
    let mut codes = BTreeSet::new();
    let rows = rows();
    for row in &rows {
        let command = row.command();
        let recorded = (row.code, row.flag, row.opaque, row.serialize_type, row.is_response());
        let decoded = (
            command.code,
            command.flag,
            command.opaque,
            command.serialize_type as u8,
            command.is_response(),
        );
        assert_eq!(decoded, recorded, "{}", row.label());
        codes.extend(row.request_code);
    }
    let known = codes.iter().filter(|code| RequestCode::name(**code).is_some()).count();
    println!("{} frames over {} request codes, {known} of them known", rows.len(), codes.len());
    assert!(rows.len() >= VECTORS_MIN && known >= CODES_MIN);
}

#[test]
fn frames_of_java_peers_are_written_byte_for_byte() {
    let (mut json, mut binary) = (0, 0);
    for row in rows() {
        let command = row.command();
        if row.is_java(&command) {
            assert_eq!(text(&encode(&command)), text(&row.frame), "{}", row.label());
            *if row.serialize_type == 0 { &mut json } else { &mut binary } += 1;
        }
    }
    println!("{json} frames with JSON headers, {binary} with binary ones");
    assert!(json > 4000 && binary > 600);
}

#[test]
fn frames_of_other_clients_keep_their_meaning() {
    let mut clients = BTreeSet::new();
    let mut count = 0;
    for row in rows() {
        let command = row.command();
        if !row.is_java(&command) {
            assert_eq!(decode(&encode(&command)), command, "{}", row.label());
            clients.insert((command.language, command.version));
            count += 1;
        }
    }
    println!("{count} frames of {clients:?}");
    let node = LanguageCode::Java;
    let expected = BTreeSet::from([(node, 78), (node, 121), (LanguageCode::Cpp, 63)]);
    assert_eq!(clients, expected);
    assert!(count > 250);
}

#[test]
fn a_conversation_decodes_however_it_is_cut() {
    let rows = rows();
    for step in [1, 7, 1000] {
        let stream: Vec<u8> = rows.iter().take(60).flat_map(|row| row.frame.clone()).collect();
        let (mut buf, mut count) = (BytesMut::new(), 0);
        for piece in stream.chunks(step) {
            buf.extend_from_slice(piece);
            while let Some(command) = frame::decode(&mut buf).unwrap() {
                assert_eq!(command, rows[count].command());
                count += 1;
            }
        }
        assert_eq!((count, buf.len()), (60, 0));
    }
}

fn encode(command: &RemotingCommand) -> BytesMut {
    let mut buf = BytesMut::new();
    frame::encode(command, &mut buf);
    buf
}

fn decode(frame: &[u8]) -> RemotingCommand {
    frame::decode(&mut BytesMut::from(frame)).unwrap().unwrap()
}

/// Frames side by side are readable as text, mostly.
fn text(frame: &[u8]) -> String {
    frame.escape_ascii().to_string()
}
