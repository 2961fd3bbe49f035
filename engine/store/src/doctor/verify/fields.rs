//! Fields of records that nothing else states: only the body has a checksum. What no broker writes is
//! damage; what any broker might have written cannot be told from it.

use std::net::SocketAddr;

use mq_protocol::message_codec::{BORN_HOST_POSITION, RecordView};
use mq_protocol::sys_flag::MessageSysFlag;

use super::{Severity, Verdict};
use crate::big_endian::i32_at;

/// So many records are named.
const NAMED_MAX: usize = 100;
/// Later than any client's clock, in ms since 1970: the year 2248.
const BORN_MAX_MS: i64 = 1 << 43;
/// A record may be stored so much before or behind both its neighbours, in ms.
const OUTLIER_MS: i64 = 1_000;
/// The bits of `sysFlag` that have a meaning.
const SYS_FLAG_BITS: i32 = 0x7ff;
/// More than any retry counts to.
const RECONSUME_TIMES_MAX: i32 = 1 << 20;

/// What is looked at record by record, with the two records before.
#[derive(Default)]
pub(super) struct FieldCheck {
    before: Option<Seen>,
    last: Option<Seen>,
    found: Vec<(u64, String)>,
    more: usize,
}

/// What a record has in common with its neighbours.
#[derive(Clone, Copy)]
struct Seen {
    at: u64,
    store_timestamp: i64,
    store_host: SocketAddr,
}

impl FieldCheck {
    pub(super) fn record(&mut self, record: &RecordView<'_>, at: u64) {
        let next =
            Seen { at, store_timestamp: record.store_timestamp(), store_host: record.store_host() };
        if let (Some(before), Some(last)) = (self.before, self.last) {
            self.compare(before, last, next);
        }
        (self.before, self.last) = (self.last, Some(next));
        for trouble in troubles(record, at) {
            self.add(at, trouble);
        }
    }

    /// `last` stands between two others.
    fn compare(&mut self, before: Seen, last: Seen, next: Seen) {
        if before.store_host == next.store_host && last.store_host != next.store_host {
            let (own, others) = (last.store_host, next.store_host);
            self.add(last.at, format!("storeHost is {own}, where its neighbours have {others}"));
        }
        let (from, to) = (before.store_timestamp, next.store_timestamp);
        let near = from.saturating_sub(OUTLIER_MS)..=to.saturating_add(OUTLIER_MS);
        if from <= to && !near.contains(&last.store_timestamp) {
            let own = last.store_timestamp;
            self.add(last.at, format!("storeTimestamp is {own}, between {from} and {to}"));
        }
    }

    fn add(&mut self, at: u64, trouble: String) {
        if self.found.len() < NAMED_MAX {
            self.found.push((at, trouble));
        } else {
            self.more += 1;
        }
    }

    pub(super) fn finish(self, log_place: &str, verdict: &mut Verdict) {
        for (at, trouble) in self.found {
            let text = format!("{trouble}; a start does not look and serves it as it is");
            verdict.add(Severity::Damage, format!("{log_place}, offset {at}"), text);
        }
        if self.more > 0 {
            let text = format!("{} more fields are not what a broker writes", self.more);
            verdict.add(Severity::Damage, log_place, text);
        }
    }
}

/// What no broker writes.
fn troubles(record: &RecordView<'_>, at: u64) -> Vec<String> {
    let mut troubles = Vec::new();
    let mut check = |is_wrong: bool, trouble: &dyn Fn() -> String| {
        if is_wrong {
            troubles.push(trouble());
        }
    };
    let own = record.phy_offset();
    check(own != at as i64, &|| {
        format!("physicalOffset is {own}: its queue leaves it out, if made again")
    });
    let sys_flag = record.sys_flag();
    check(sys_flag & !SYS_FLAG_BITS != 0, &|| format!("sysFlag {sys_flag:#x} has unknown bits"));
    let kind = sys_flag & MessageSysFlag::COMPRESSION_TYPE_MASK;
    check(kind > MessageSysFlag::COMPRESSION_ZLIB, &|| {
        format!("sysFlag {sys_flag:#x} names an unknown compression")
    });
    check(!looks_compressed(sys_flag, record.body()), &|| {
        format!("sysFlag {sys_flag:#x} says that the body is compressed, and it is not")
    });
    let born = record.born_timestamp();
    check(!(0..BORN_MAX_MS).contains(&born), &|| format!("bornTimestamp is {born}"));
    let stored = record.store_timestamp();
    check(!(0..BORN_MAX_MS).contains(&stored), &|| format!("storeTimestamp is {stored}"));
    let times = record.reconsume_times();
    check(!(0..=RECONSUME_TIMES_MAX).contains(&times), &|| format!("reconsumeTimes is {times}"));
    let prepared = record.prepared_transaction_offset();
    check(prepared < 0 || prepared as u64 > at, &|| {
        format!("preparedTransactionOffset is {prepared}")
    });
    let is_commit =
        MessageSysFlag::transaction_type(sys_flag) == MessageSysFlag::TRANSACTION_COMMIT;
    check(prepared != 0 && !is_commit, &|| {
        format!("preparedTransactionOffset is {prepared}, of a message that commits nothing")
    });
    for (name, port) in ports(record) {
        check(!(0..=0xffff).contains(&port), &|| format!("{name} has port {port}"));
    }
    let is_topic = std::str::from_utf8(record.topic_bytes()).is_ok();
    check(!is_topic, &|| "the topic is not UTF-8".to_owned());
    check(!is_properties(record.properties_bytes()), &|| {
        "the properties are not names and values".to_owned()
    });
    troubles
}

/// Ports as they are: four bytes each.
fn ports(record: &RecordView<'_>) -> [(&'static str, i32); 2] {
    let ip = |bit| if record.sys_flag() & bit == 0 { 4 } else { 16 };
    let born = BORN_HOST_POSITION + ip(MessageSysFlag::BORNHOST_V6);
    // The store timestamp stands between the two.
    let store = born + 4 + 8 + ip(MessageSysFlag::STOREHOST_V6);
    let port = |at| i32_at(record.bytes(), at).unwrap_or_default();
    [("bornHost", port(born)), ("storeHost", port(store))]
}

/// Whether a body that is said to be compressed may be so. ZLIB alone has a check in its first bytes.
fn looks_compressed(sys_flag: i32, body: &[u8]) -> bool {
    let kind = sys_flag & MessageSysFlag::COMPRESSION_TYPE_MASK;
    let is_zlib = kind == 0 || kind == MessageSysFlag::COMPRESSION_ZLIB;
    if sys_flag & MessageSysFlag::COMPRESSED == 0 || !is_zlib {
        return true;
    }
    let [first, second, ..] = *body else { return false };
    first & 0x0f == 8 && (u32::from(first) << 8 | u32::from(second)) % 31 == 0
}

/// Names and values, each apart by 1, the pairs by 2, in UTF-8.
fn is_properties(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok()
        && !bytes.contains(&0)
        && bytes.split(|byte| *byte == 2).all(|item| {
            item.is_empty() || item.iter().position(|byte| *byte == 1).is_some_and(|at| at > 0)
        })
}
