//! At the instant of SEND_OK its rule holds, as the simulated disks show: the broker's own copy holds the
//! record as it promises, and as many other copies as it promises hold it, each as its reports say. In a DLedger group
//! it is a quorum of copies that does, whichever they are.

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
    let text = if ack.rule.any_copies {
        quorum_lacks(ack)?
    } else if ack.held < ack.rule.own {
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

/// Why an acknowledgement is wrong that rests on a quorum.
fn quorum_lacks(ack: &Ack) -> Option<&'static str> {
    // Its own copy is where the record was written first.
    if ack.held == Held::Process {
        return Some("SEND_OK without the record in the log");
    }
    let own = usize::from(ack.held >= ack.rule.own);
    let others = ack.copies.iter().filter(|copy| copy.counts()).count();
    (own + others <= ack.rule.other_copies).then_some("SEND_OK without a quorum of copies")
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
            rule: AckRule { own, other_copies, any_copies: false },
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

    /// An acknowledgement of a group of three, or of five.
    fn of_quorum(asked: Held, own: Held, others: &[Option<Held>]) -> Ack {
        let copies = others.iter().map(|held| OtherCopy { held: *held, reports: asked });
        let rule = AckRule::quorum_of(others.len() + 1, asked);
        Ack { rule, held: own, copies: copies.collect(), ..ack(own, 0) }
    }

    #[test]
    fn a_quorum_is_enough_whichever_it_is() {
        use Held::{PageCache, Platter};
        for (asked, own, others) in [
            (Platter, Platter, &[Some(Platter), None][..]),
            (Platter, PageCache, &[Some(Platter), Some(Platter)]),
            (Platter, Platter, &[Some(PageCache), Some(Platter)]),
            (PageCache, PageCache, &[None, Some(PageCache)]),
            (PageCache, PageCache, &[None, Some(PageCache), None, Some(Platter)]),
        ] {
            assert_eq!(check(&of_quorum(asked, own, others)), None, "{asked:?} {own:?} {others:?}");
        }
    }

    #[test]
    fn less_than_a_quorum_is_rejected() {
        use Held::{PageCache, Platter, Process};
        for (asked, own, others) in [
            (Platter, Platter, &[None, None][..]),
            (Platter, Platter, &[Some(PageCache), None]),
            (Platter, PageCache, &[Some(Platter), Some(PageCache)]),
            (PageCache, PageCache, &[None, None]),
            (PageCache, PageCache, &[None, Some(PageCache), None, None]),
            // The own copy where the others would do.
            (PageCache, Process, &[Some(Platter), Some(Platter)]),
        ] {
            assert!(
                check(&of_quorum(asked, own, others)).is_some(),
                "{asked:?} {own:?} {others:?}"
            );
        }
    }
}
