//! Doctored logs of DLedger nodes: entries are walked, what is in no queue is passed over, and a quorum has to hold what is
//! shown.

use mq_protocol::dledger_entry::{ENTRY_HEADER_BYTES, EntryHead, entry_blank};
use mq_protocol::sys_flag::MessageSysFlag;

use super::*;

const HEAD_BYTES: u64 = ENTRY_HEADER_BYTES as u64;

/// An entry at `pos` with a record of message `number`; in no queue if it `is_no_op`.
fn entry(index: i64, pos: u64, number: u32, is_no_op: bool) -> Vec<u8> {
    let properties = format!("KEYS\u{1}{}", message_key(number));
    let fields = RecordFields {
        queue_offset: i64::from(number),
        phy_offset: (pos + HEAD_BYTES) as i64,
        properties: &properties,
        sys_flag: if is_no_op { MessageSysFlag::TRANSACTION_ROLLBACK } else { 0 },
        ..RecordFields::plain("T", b"body", ([10, 0, 0, 1], 1).into(), 1)
    };
    let mut body = Vec::new();
    fields.encode(&mut body).unwrap();
    let mut bytes = EntryHead::new(index, 1, pos as i64, body.len() as i32).encode().to_vec();
    bytes.extend(body);
    bytes
}

fn group() -> Stand {
    let stand = Stand::new();
    for name in [M, S, S2] {
        stand.set(name, |entry| {
            entry.master = false;
            entry.acks = AckRule::quorum_of(3, Held::PageCache);
            entry.view = entry.view.with_entries();
        });
    }
    stand
}

impl Stand {
    fn write_entry(&self, names: &[&str], pos: u64, bytes: &[u8]) {
        names.iter().for_each(|name| self.stores[name].file.write(pos as usize, bytes));
    }

    fn dispatched(&self, name: &str, phy_offset: u64) {
        let (topic, queue_id, queue_offset) = ("T".into(), 0, 0);
        self.tell(name, TraceEvent::Dispatched { phy_offset, topic, queue_id, queue_offset });
    }
}

#[test]
fn a_walk_finds_records_behind_their_headers() {
    let stand = group();
    let first = entry(0, 0, 7, true);
    let second = entry(1, first.len() as u64, 1, false);
    let end = (first.len() + second.len()) as u64;
    stand.write_entry(&[M], 0, &first);
    stand.write_entry(&[M], first.len() as u64, &second);
    let walk = stand.ledger.view(M).walk();
    assert_eq!(
        (walk.end, walk.records.len()),
        (end, 1),
        "what a leader writes first is in no queue"
    );
    assert_eq!(walk.records[0].number, Some(1));
    assert_eq!(walk.records[0].indexed.unit.phy_offset, first.len() as u64 + HEAD_BYTES);
    assert_eq!(walk.records[0].end_offset(), end);
    // A blank leads to the next file; an entry of another place is none.
    stand.write_entry(&[M], end, &entry_blank((FILE_BYTES - end) as usize));
    assert_eq!(stand.ledger.view(M).walk().end, end);
    stand.write_entry(&[M], end, &entry(2, end + 1, 2, false));
    assert_eq!(stand.ledger.view(M).walk().end, end);
}

#[test]
fn what_is_shown_lies_on_a_quorum() {
    let stand = group();
    let bytes = entry(0, 0, 1, false);
    stand.write_entry(&[M], 0, &bytes);
    stand.dispatched(M, HEAD_BYTES);
    let seen = stand.observed();
    assert!(seen[0].contains("visible before the commit"), "{seen:?}");
    let stand = group();
    stand.write_entry(&[M, S2], 0, &bytes);
    stand.dispatched(M, HEAD_BYTES);
    assert_eq!(stand.observed(), [""; 0]);
}

#[test]
fn under_sync_flush_a_quorum_has_synced_what_is_shown() {
    let sync = || {
        let stand = group();
        for name in [M, S, S2] {
            stand.set(name, |entry| {
                entry.master = false;
                entry.acks = AckRule::quorum_of(3, Held::Platter);
                entry.view = entry.view.with_entries();
            });
        }
        stand.write_entry(&[M, S, S2], 0, &entry(0, 0, 1, false));
        stand
    };
    let stand = sync();
    stand.sync(&[S]);
    stand.dispatched(M, HEAD_BYTES);
    assert!(stand.observed()[0].contains("visible before the sync"));
    let stand = sync();
    stand.sync(&[S, S2]);
    stand.dispatched(M, HEAD_BYTES);
    assert_eq!(stand.observed(), [""; 0], "the own copy need not be one of them");
}
