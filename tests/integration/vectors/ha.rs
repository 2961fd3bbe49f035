//! Replication streams.

use mq_protocol::ha_frame::{ReportDecoder, TransferDecoder, encode_report};
use mq_protocol::message_codec::decode_record;

use super::fixture::replication_streams;

#[test]
fn replication_streams_are_written_byte_for_byte() {
    let (mut reports, mut transfers, mut heartbeats) = (0, 0, 0);
    for (connection, (from_slave, from_master)) in replication_streams() {
        let mut decoder = ReportDecoder::default();
        let mut again = Vec::new();
        for report in from_slave.chunks(8) {
            let offset = decoder.push(report).unwrap().expect("a whole report");
            again.extend(encode_report(offset));
            reports += 1;
        }
        assert_eq!(again, from_slave, "{connection}");

        let mut decoder = TransferDecoder::new(32 * 1024);
        let mut again = Vec::new();
        let mut next_offset = None;
        for piece in from_master.chunks(1000) {
            decoder.buffer(piece.len()).extend_from_slice(piece);
            while let Some(frame) = decoder.take_frame().unwrap() {
                let header = frame.header;
                assert_eq!(next_offset.unwrap_or(header.phy_offset), header.phy_offset);
                next_offset = Some(header.phy_offset + u64::from(header.body_bytes));
                again.extend(header.encode());
                again.extend_from_slice(&frame.body);
                *if frame.body.is_empty() { &mut heartbeats } else { &mut transfers } += 1;
            }
        }
        assert_eq!(again, from_master, "{connection}");
    }
    println!("{reports} reports, {transfers} transfers, {heartbeats} heartbeats");
    assert!(reports > 100 && transfers > 80 && heartbeats > 5);
}

#[test]
fn a_replicated_log_is_the_records_of_the_master() {
    let streams = replication_streams();
    let (connection, (_, from_master)) =
        streams.iter().find(|(name, _)| name.starts_with("slave-empty-log")).unwrap();
    let mut decoder = TransferDecoder::new(32 * 1024);
    decoder.buffer(0).extend_from_slice(from_master);
    let mut log = Vec::new();
    while let Some(frame) = decoder.take_frame().unwrap() {
        log.extend_from_slice(&frame.body);
    }
    let (mut position, mut records) = (0, 0);
    while position < log.len() {
        let view = decode_record(&log[position..]).unwrap();
        assert_eq!(view.phy_offset(), position as i64, "{connection}");
        position += view.size();
        records += 1;
    }
    assert_eq!(records, 715);
}
