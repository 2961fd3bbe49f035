//! At the instant of SEND_OK its rule holds, as the simulated disks show: the broker's own copy holds the
//! record as it promises, and as many other copies as it promises hold it, each as its reports say.

use mq_protocol::ack_rule::{AckRule, Held};

use super::{Checker, Violation};

/// Another copy's hold on a record at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherCopy {
    /// How it holds the record, if it does.
    pub held: Option<Held>,
    /// How it holds what it reports to its master.
    pub reports: Held,
}

impl OtherCopy {
    /// Whether it may have been counted.
    fn counts(&self) -> bool {
        self.held.is_some_and(|held| held >= self.reports)
    }
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
    /// What it rests on, by the broker's settings.
    pub rule: AckRule,
    /// How the broker's copy holds the record.
    pub held: Held,
    /// The other copies of its group.
    pub copies: Vec<OtherCopy>,
}

/// Judges one acknowledgement.
#[must_use]
pub fn check(ack: &Ack) -> Option<Violation> {
    let text = if ack.held < ack.rule.own {
        match ack.held {
            Held::Process => "SEND_OK without the record in the log",
            Held::PageCache | Held::Platter => "SEND_OK before the sync",
        }
    } else if ack.copies.iter().filter(|copy| copy.counts()).count() < ack.rule.other_copies {
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

    const OWNS: [Held; 3] = [Held::Process, Held::PageCache, Held::Platter];

    fn ack(own: Held, other_copies: usize) -> Ack {
        Ack {
            phy_offset: 0,
            ordinal: 1,
            broker: "a".to_owned(),
            rule: AckRule { own, other_copies },
            held: own,
            copies: vec![OtherCopy { held: Some(Held::PageCache), reports: Held::PageCache }],
        }
    }

    #[test]
    fn what_a_rule_asks_for_is_enough() {
        for own in OWNS {
            assert_eq!(check(&ack(own, 0)), None);
            assert_eq!(check(&ack(own, 1)), None);
            assert_eq!(check(&Ack { held: Held::Platter, ..ack(own, 1) }), None);
            assert_eq!(check(&Ack { copies: Vec::new(), ..ack(own, 0) }), None);
        }
        let mut two = ack(Held::PageCache, 2);
        two.copies.push(OtherCopy { held: Some(Held::Platter), reports: Held::Platter });
        assert_eq!(check(&two), None);
    }

    #[test]
    fn doctored_acks_are_rejected() {
        let text = |ack: &Ack| check(ack).unwrap().text;
        let unsynced = Ack { held: Held::PageCache, ..ack(Held::Platter, 0) };
        assert!(text(&unsynced).contains("before the sync"));
        for own in [Held::PageCache, Held::Platter] {
            let nowhere = Ack { held: Held::Process, ..ack(own, 0) };
            assert!(text(&nowhere).contains("without the record"));
        }
        let absent = OtherCopy { held: None, reports: Held::PageCache };
        let soft = OtherCopy { held: Some(Held::PageCache), reports: Held::Platter };
        for copies in [vec![], vec![absent], vec![soft], vec![absent, soft]] {
            let alone = Ack { copies, ..ack(Held::PageCache, 1) };
            assert!(text(&alone).contains("without a second copy"));
        }
        assert!(text(&ack(Held::PageCache, 2)).contains("without a second copy"), "one of two");
    }
}
