//! At the instant of SEND_OK the mode's condition holds, as the simulated disks show: SYNC_FLUSH means
//! synced on the master, SYNC_MASTER means held by one slave (synced there if that slave promises it).

use super::{Checker, Violation};

/// A slave's hold on a record at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlaveCopy {
    /// Its page cache holds the record's bytes.
    pub live: bool,
    /// The bytes survive power loss there.
    pub durable: bool,
    /// The slave runs with SYNC_FLUSH and acknowledges only what it has synced.
    pub acks_synced: bool,
}

/// One acknowledgement with what the disks held at that instant.
#[derive(Clone, Debug)]
pub struct Ack {
    /// First byte of the record.
    pub phy_offset: u64,
    /// Ordinal of the acknowledgement's trace event.
    pub ordinal: u64,
    /// Process that acknowledged.
    pub broker: String,
    /// The broker runs with SYNC_FLUSH.
    pub sync_flush: bool,
    /// The broker is SYNC_MASTER.
    pub sync_master: bool,
    /// It has a transient store pool: without a slave to wait for it acknowledges what only its process
    /// has.
    pub transient_pool: bool,
    /// Its page cache holds the record.
    pub live: bool,
    /// The record survives power loss there.
    pub durable: bool,
    /// The slaves of its group.
    pub slaves: Vec<SlaveCopy>,
}

/// Judges one acknowledgement.
#[must_use]
pub fn check(ack: &Ack) -> Option<Violation> {
    let copied = |copy: &SlaveCopy| copy.live && (copy.durable || !copy.acks_synced);
    let text = if !ack.live && (ack.sync_master || !ack.transient_pool) {
        "SEND_OK without the record in the log"
    } else if ack.sync_flush && !ack.durable {
        "SEND_OK before the sync"
    } else if ack.sync_master && !ack.slaves.iter().any(copied) {
        "SEND_OK without a second copy"
    } else {
        return None;
    };
    let text = format!("{text}: {} acknowledged the record at {}", ack.broker, ack.phy_offset);
    Some(Violation::new(Checker::AckPredicate, text).at(ack.ordinal))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ack(sync_flush: bool, sync_master: bool) -> Ack {
        Ack {
            phy_offset: 0,
            ordinal: 1,
            broker: "a".to_owned(),
            sync_flush,
            sync_master,
            transient_pool: false,
            live: true,
            durable: true,
            slaves: vec![SlaveCopy { live: true, durable: true, acks_synced: true }],
        }
    }

    #[test]
    fn every_mode_accepts_what_it_promises() {
        for (flush, sync) in [(false, false), (false, true), (true, false), (true, true)] {
            assert_eq!(check(&ack(flush, sync)), None);
        }
        let mut page_cache = ack(false, true);
        page_cache.durable = false;
        page_cache.slaves[0] = SlaveCopy { live: true, durable: false, acks_synced: false };
        assert_eq!(check(&page_cache), None);
        let mut pooled = ack(false, false);
        (pooled.transient_pool, pooled.live, pooled.durable) = (true, false, false);
        assert_eq!(check(&pooled), None);
        let mut alone = ack(true, false);
        alone.slaves.clear();
        assert_eq!(check(&alone), None);
    }

    #[test]
    fn doctored_acks_are_rejected() {
        let mut unsynced = ack(true, false);
        unsynced.durable = false;
        assert!(check(&unsynced).unwrap().text.contains("before the sync"));
        let mut alone = ack(false, true);
        alone.slaves[0].live = false;
        assert!(check(&alone).unwrap().text.contains("without a second copy"));
        let mut soft = ack(false, true);
        soft.slaves[0].durable = false;
        assert!(check(&soft).unwrap().text.contains("without a second copy"));
        let mut nowhere = ack(false, false);
        nowhere.live = false;
        assert!(check(&nowhere).unwrap().text.contains("without the record"));
        let mut uncommitted = ack(false, true);
        (uncommitted.transient_pool, uncommitted.live) = (true, false);
        assert!(check(&uncommitted).unwrap().text.contains("without the record"));
    }
}
