//! Doctored histories of DLedger groups: what their members may let go, and what they may not.

use super::*;

/// Three members; record 0 is everywhere, record 1 at two of them.
fn three_members() -> Doctored {
    group_of(&[M, S1, S2], &[&[M, S1, S2], &[M, S1]])
}

fn group_of(members: &[&str], records: &[&[&str]]) -> Doctored {
    let mut custody = Custody::default();
    members.iter().for_each(|member| custody.votes(&name(member)));
    for (number, copies) in (0_u32..).zip(records) {
        let copies: Vec<Arc<str>> = copies.iter().map(|it| name(it)).collect();
        custody.acknowledged(record(number), u64::from(number) + 1, copies.iter());
    }
    Doctored { custody }
}

impl Doctored {
    /// Numbers that the group owes, whoever leads.
    fn owed(mut self) -> Vec<u32> {
        self.custody.weigh(70);
        let owes = |number: &u32| {
            let owed = self.custody.of(record(*number).phy_offset, u64::MAX);
            owed.is_some_and(|owed| self.custody.owes(owed) && owed.is_owed("nobody"))
        };
        (0..3).filter(owes).collect()
    }

    /// What was found out at an instant counts from then on.
    fn weighed(mut self) -> Self {
        self.custody.weigh(65);
        self
    }
}

#[test]
fn a_quorum_that_has_it_owes_it_whoever_leads() {
    assert_eq!(three_members().owed(), [0, 1]);
    // Nobody votes for the one that lacks the second record.
    assert_eq!(three_members().has_up_to(S2, 100).owed(), [0, 1]);
}

#[test]
fn what_one_member_alone_acknowledged_is_let_go_at_once() {
    assert_eq!(group_of(&[M, S1, S2], &[&[M]]).owed(), [0; 0]);
    assert_eq!(group_of(&["a", "b", "c", "d", "e"], &[&["a", "b"]]).owed(), [0; 0]);
    assert_eq!(group_of(&["a", "b", "c", "d", "e"], &[&["a", "b", "c"]]).owed(), [0]);
}

#[test]
fn a_power_loss_of_one_member_lets_go_only_what_another_one_lacks_too() {
    let story = three_members().power_loss(M, 0);
    assert_eq!(story.owed(), [0], "a and a-s2 lack the second, and are a quorum");
    assert_eq!(three_members().power_loss(M, 200).owed(), [0, 1], "all of it was synced");
    let text = three_members().power_loss(M, 0).weighed().text(1);
    assert_eq!(
        text,
        "a was not synced at the power loss (#50); a-s holds it; voters without it were a quorum (#65)"
    );
}

#[test]
fn a_power_loss_of_all_lets_go_what_no_quorum_had_synced() {
    let two = three_members().power_loss(M, 0).power_loss(S1, 0);
    assert_eq!(two.owed(), [0; 0], "the third is outvoted");
    let one = three_members().power_loss(M, 0).power_loss(S1, 100).power_loss(S2, 100);
    assert_eq!(one.owed(), [0]);
}

#[test]
fn whoever_lost_its_disk_votes_for_nobody() {
    assert_eq!(three_members().destroyed(M).owed(), [0, 1], "a-s2 alone is no quorum");
    assert_eq!(three_members().destroyed(S2).power_loss(M, 0).owed(), [0, 1]);
    assert_eq!(three_members().destroyed(M).destroyed(S1).owed(), [0], "nobody has the second");
    assert_eq!(three_members().destroyed(M).destroyed(S1).destroyed(S2).owed(), [0; 0]);
}

#[test]
fn who_has_caught_up_owes_again_and_votes() {
    let refilled = || three_members().destroyed(M).has_up_to(M, 200);
    assert_eq!(refilled().power_loss(S1, 0).owed(), [0], "a-s and a-s2 lack the second");
    assert_eq!(refilled().has_up_to(S2, 200).power_loss(S1, 0).owed(), [0, 1]);
}

#[test]
fn what_was_let_go_stays_so_until_every_member_has_it() {
    let let_go = || three_members().power_loss(M, 100).weighed();
    assert_eq!(let_go().has_up_to(M, 200).owed(), [0], "a-s2 may have been chosen meanwhile");
    assert_eq!(let_go().has_up_to(M, 200).has_up_to(S2, 200).owed(), [0, 1]);
    // Whoever followed one without it has cut it.
    let cut = let_go().has_up_to(S1, 100).has_up_to(M, 200).has_up_to(S2, 200);
    assert_eq!(cut.owed(), [0]);
}

#[test]
fn a_member_that_cuts_what_was_not_let_go_owes_it_still() {
    assert_eq!(three_members().has_up_to(S1, 100).has_up_to(M, 100).owed(), [0, 1]);
}
