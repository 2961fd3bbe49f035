//! Records in the bodies of commands, and batches.

use bytes::{Bytes, BytesMut};
use mq_protocol::message_codec::{
    RecordCheck, RecordFields, RecordRules, RecordView, check_record, decode_batch,
    decode_messages, decode_record, encode_batch_entry,
};

use super::fixture::rows;

/// The record written again from its values.
pub(crate) fn encode_again(view: &RecordView<'_>) -> Vec<u8> {
    let fields = RecordFields {
        body_crc: view.body_crc(),
        queue_id: view.queue_id(),
        flag: view.flag(),
        queue_offset: view.queue_offset(),
        phy_offset: view.phy_offset(),
        sys_flag: view.sys_flag(),
        born_timestamp: view.born_timestamp(),
        born_host: view.born_host(),
        store_timestamp: view.store_timestamp(),
        store_host: view.store_host(),
        reconsume_times: view.reconsume_times(),
        prepared_transaction_offset: view.prepared_transaction_offset(),
        body: view.body(),
        topic: &view.topic(),
        properties: &view.properties(),
    };
    let mut record = Vec::new();
    fields.encode(&mut record).unwrap();
    record
}

#[test]
fn records_in_bodies_are_written_byte_for_byte() {
    let (mut bodies, mut records) = (0, 0);
    for row in rows() {
        let is_records = match row.request_code {
            Some(11 | 12 | 33) => row.is_response() && row.code == 0,
            Some(39 | 309) => !row.is_response(),
            _ => false,
        };
        let body = row.command().body;
        if !is_records || body.is_empty() {
            continue;
        }
        let mut rest = &body[..];
        while !rest.is_empty() {
            let view =
                decode_record(rest).unwrap_or_else(|error| panic!("{}: {error}", row.label()));
            let rules = RecordRules::strict(view.phy_offset());
            assert!(matches!(check_record(rest, &rules), RecordCheck::Valid(_)), "{}", row.label());
            assert_eq!(encode_again(&view), view.bytes(), "{}", row.label());
            rest = &rest[view.size()..];
            records += 1;
        }
        let messages = decode_messages(&body);
        let sizes: i32 = messages.iter().map(|message| message.store_size).sum();
        assert_eq!(sizes as usize, body.len());
        bodies += 1;
    }
    println!("{records} records in {bodies} bodies");
    assert!(records > 350 && bodies > 150);
}

#[test]
fn batches_are_written_byte_for_byte() {
    let mut messages = 0;
    for row in rows().iter().filter(|row| row.code == 320 && !row.is_response()) {
        let body: Bytes = row.command().body;
        let mut again = BytesMut::new();
        for entry in decode_batch(&body).unwrap() {
            encode_batch_entry(&entry, &mut again).unwrap();
            messages += 1;
        }
        assert_eq!(again, body, "{}", row.label());
    }
    assert_eq!(messages, 30);
}
