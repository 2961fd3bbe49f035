//! Messages that wait under a topic of the broker's own, their real one in properties.

use bytes::Bytes;
use mq_protocol::message::{MessageConst, PropertiesView};
use mq_protocol::message_codec::{RecordView, body_crc};
use mq_store::MessageInner;

/// The waiting message in `record` as it goes to its real topic and queue; everything else stays as it
/// is stored, properties included. `None` when it does not name both, or its body is not the one that its
/// checksum is of: the new record's would say that it is sound.
pub(crate) fn real_message(view: &RecordView<'_>, record: &Bytes) -> Option<MessageInner> {
    if view.body_crc() != 0 && view.body_crc() != body_crc(view.body()) {
        return None;
    }
    let properties = view.properties();
    let named = PropertiesView::new(&properties);
    Some(MessageInner {
        topic: named.get(MessageConst::REAL_TOPIC)?.to_owned(),
        queue_id: named.get(MessageConst::REAL_QID)?.parse().ok()?,
        flag: view.flag(),
        sys_flag: view.sys_flag(),
        body: record.slice_ref(view.body()),
        born_timestamp_ms: view.born_timestamp(),
        born_host: view.born_host(),
        store_host: view.store_host(),
        reconsume_times: view.reconsume_times(),
        prepared_transaction_offset: view.prepared_transaction_offset(),
        wait_store_ok: true,
        properties: properties.into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use mq_protocol::message_codec::{RecordFields, decode_record};
    use mq_protocol::topic_validator::RMQ_SYS_SCHEDULE_TOPIC;

    use super::*;

    fn record(body_crc: i32) -> Bytes {
        let mut record = Vec::new();
        let host = ([10, 0, 0, 1], 10911).into();
        let properties = "REAL_TOPIC\u{1}Orders\u{2}REAL_QID\u{1}3";
        let fields = RecordFields::plain(RMQ_SYS_SCHEDULE_TOPIC, b"hello", host, 1);
        RecordFields { body_crc, properties, ..fields }.encode(&mut record).unwrap();
        record.into()
    }

    #[test]
    fn a_body_that_its_checksum_is_not_of_gets_no_new_one() {
        let real = |crc| {
            let record = record(crc);
            real_message(&decode_record(&record).unwrap(), &record)
        };
        let message = real(body_crc(b"hello")).unwrap();
        assert_eq!(
            (&*message.topic, message.queue_id, &message.body[..]),
            ("Orders", 3, &b"hello"[..])
        );
        assert!(real(0).is_some(), "no check was wanted");
        assert!(real(body_crc(b"hullo")).is_none());
    }
}
