//! Doctored histories: what may be lost, and what may not.

mod votes;

use super::*;

const M: &str = "a";
const S1: &str = "a-s";
const S2: &str = "a-s2";

/// Records of 100 bytes, one a millisecond.
fn record(number: u32) -> Record {
    let phy_offset = u64::from(number) * 100;
    let appended_us = u64::from(number) * 1_000;
    Record { phy_offset, end_offset: phy_offset + 100, number: Some(number), appended_us }
}

fn at(ordinal: u64) -> Moment {
    Moment { ordinal, at_us: ordinal * 1_000 }
}

fn name(process: &str) -> Arc<str> {
    Arc::from(process)
}

/// A log with the first records, up to `end`.
fn up_to(end: u64) -> impl Fn(&Record) -> Option<u32> {
    move |record| {
        (record.end_offset <= end).then(|| u32::try_from(record.phy_offset / 100).unwrap())
    }
}

/// A history under construction.
struct Doctored {
    custody: Custody,
}

impl Doctored {
    /// Three records: the first is everywhere, the second at master and first slave, the third at the
    /// master alone.
    fn three_records() -> Self {
        let mut custody = Custody::default();
        custody.leads(&name(M), at(0));
        let copies: [&[&str]; 3] = [&[M, S1, S2], &[M, S1], &[M]];
        for (number, copies) in (0_u32..).zip(copies) {
            let copies: Vec<Arc<str>> = copies.iter().map(|it| name(it)).collect();
            custody.acknowledged(record(number), u64::from(number) + 1, copies.iter());
        }
        Doctored { custody }
    }

    fn power_loss(mut self, process: &str, synced_to: u64) -> Self {
        let lost = |record: &Record| record.end_offset > synced_to;
        self.custody.taken(&name(process), TakenBy::PowerLoss, at(50), lost);
        self
    }

    fn destroyed(mut self, process: &str) -> Self {
        self.custody.taken(&name(process), TakenBy::DiskDestroyed, at(51), |_| true);
        self
    }

    fn leads(mut self, process: &str) -> Self {
        self.custody.leads(&name(process), at(60));
        self
    }

    fn has_up_to(mut self, process: &str, end: u64) -> Self {
        self.custody.seen(&name(process), true, up_to(end));
        self
    }

    fn off_but_has_up_to(mut self, process: &str, end: u64) -> Self {
        self.custody.seen(&name(process), false, up_to(end));
        self
    }

    /// Numbers that the log of `process` owes.
    fn owed_by(&self, process: &str) -> Vec<u32> {
        let owes = |number: &u32| {
            let owed = self.custody.of(record(*number).phy_offset, u64::MAX);
            owed.is_some_and(|owed| owed.is_owed_by(process))
        };
        (0..3).filter(owes).collect()
    }

    fn text(&self, number: u32) -> String {
        self.custody.of(record(number).phy_offset, u64::MAX).unwrap().to_string()
    }
}

#[test]
fn a_kill_takes_nothing_that_reached_the_page_cache() {
    let story = Doctored::three_records().leads(M);
    assert_eq!(story.owed_by(M), [0, 1, 2]);
}

#[test]
fn a_power_loss_takes_what_was_not_synced() {
    let story = Doctored::three_records().power_loss(M, 100).leads(M);
    assert_eq!(story.owed_by(M), [0]);
    assert_eq!(
        story.text(1),
        "a was not synced at the power loss (#50); a-s was passed over when a became the group's log (#60)"
    );
    let story = Doctored::three_records().power_loss(M, 300).leads(M);
    assert_eq!(story.owed_by(M), [0, 1, 2], "all of it was synced");
}

#[test]
fn the_promotion_of_the_one_that_is_behind_passes_the_others_over() {
    assert_eq!(Doctored::three_records().leads(S1).owed_by(S1), [0, 1]);
    let story = Doctored::three_records().leads(S2);
    assert_eq!(story.owed_by(S2), [0]);
    assert!(story.text(1).contains("a-s was passed over when a-s2 became"), "{}", story.text(1));
}

#[test]
fn what_a_slave_received_after_the_acknowledgement_is_owed_by_it() {
    let story = Doctored::three_records().has_up_to(S2, 200).leads(S2);
    assert_eq!(story.owed_by(S2), [0, 1]);
}

#[test]
fn two_faults_take_from_two_copies() {
    let story = Doctored::three_records().power_loss(S1, 100).destroyed(M).leads(S1);
    assert_eq!(story.owed_by(S1), [0]);
    let shared = Doctored::three_records().destroyed(M).destroyed(S1).leads(S1);
    assert_eq!(shared.owed_by(S1), [] as [u32; 0], "one machine, one disk");
}

#[test]
fn a_chance_survivor_of_a_power_loss_is_not_owed_until_a_process_works_on_it() {
    let lost = || Doctored::three_records().power_loss(S1, 0);
    assert_eq!(lost().off_but_has_up_to(S1, 200).leads(S1).owed_by(S1), [] as [u32; 0]);
    assert_eq!(lost().has_up_to(S1, 200).leads(S1).owed_by(S1), [0, 1]);
}

#[test]
fn a_slave_may_cut_only_what_its_master_does_not_owe() {
    // The master lost the tail; the slave follows it and cuts.
    let cut = Doctored::three_records().power_loss(M, 100).leads(M).has_up_to(S1, 100).leads(S1);
    assert_eq!(cut.owed_by(S1), [0]);
    // The master has everything: a slave that cuts must not be excused.
    let bug = Doctored::three_records().has_up_to(S1, 100).leads(S1);
    assert_eq!(bug.owed_by(S1), [0, 1]);
    // A master that dropped what it owes does not excuse its slave either.
    let bug = Doctored::three_records().has_up_to(M, 100).leads(M).has_up_to(S1, 100).leads(S1);
    assert_eq!(bug.owed_by(S1), [0, 1]);
}

#[test]
fn an_old_master_that_rejoins_owes_what_the_new_one_has() {
    let story = Doctored::three_records().leads(S1).has_up_to(M, 200);
    assert_eq!(story.owed_by(M), [0, 1], "the third one was passed over, and cut");
    let again = story.leads(M);
    assert_eq!(again.owed_by(M), [0, 1]);
}

#[test]
fn a_passed_over_copy_that_leads_after_all_owes_what_it_still_has() {
    let story = Doctored::three_records().leads(S2).has_up_to(S1, 200).leads(S1);
    assert_eq!(story.owed_by(S1), [0, 1]);
}

#[test]
fn rot_takes_the_records_that_it_hits() {
    let mut story = Doctored::three_records();
    let hit = |record: &Record| record.number == Some(1);
    story.custody.taken(&name(M), TakenBy::Damage, at(40), hit);
    assert_eq!(story.owed_by(M), [0, 2]);
}

#[test]
fn offsets_above_a_cut_are_used_again() {
    let mut story = Doctored::three_records().power_loss(M, 200).leads(M);
    let mut second = record(2);
    second.number = Some(7);
    story.custody.acknowledged(second, 90, [name(M)].iter());
    let of = |ordinal| story.custody.of(200, ordinal).unwrap();
    assert!(of(91).is_owed_by(M) && of(91).record.number == Some(7));
    assert!(!of(90).is_owed_by(M) && of(90).record.number == Some(2));
}

#[test]
fn what_only_the_process_had_is_known_by_what_becomes_of_it() {
    let in_memory = || {
        let mut custody = Custody::default();
        custody.leads(&name(M), at(0));
        custody.acknowledged(Record { number: None, ..record(0) }, 1, [name(M)].iter());
        Doctored { custody }
    };
    let committed = in_memory().has_up_to(M, 100);
    assert_eq!(committed.custody.of(0, 2).unwrap().record.number, Some(0));
    // Killed before that: another record at the place is not the one that was lost.
    let mut killed = in_memory();
    killed.custody.taken(&name(M), TakenBy::Kill, at(5), |_| true);
    assert_eq!(killed.leads(M).has_up_to(M, 100).owed_by(M), [] as [u32; 0]);
}
