//! Messages that wait under a topic of the broker's own, their real one in properties.

use bytes::Bytes;
use mq_protocol::message::{MessageConst, PropertiesView};
use mq_protocol::message_codec::RecordView;
use mq_store::MessageInner;

/// The waiting message in `record` as it goes to its real topic and queue; everything else stays as it
/// is stored, properties included. `None` when it does not name both.
pub(crate) fn real_message(view: &RecordView<'_>, record: &Bytes) -> Option<MessageInner> {
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
