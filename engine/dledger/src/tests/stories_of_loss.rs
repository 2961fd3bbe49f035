//! What is kept: commits, cuts, disks that forget. Each story says what a group promises and what it does not.

use super::cluster::{Cluster, NO_OP};
use super::invariants::Invariant;
use super::stories::{elect, led_by};
use crate::{
    Body, Event, Finding, HardState, NodeId, PushType, ResponseCode, Role, Settings, UpstreamSwitch,
};

const A: NodeId = NodeId(0);
const B: NodeId = NodeId(1);
const C: NodeId = NodeId(2);

/// Lets only messages between two nodes through, until none is left.
pub(super) fn only_between(cluster: &mut Cluster, one: NodeId, other: NodeId) {
    let third = cluster.ids().into_iter().find(|id| *id != one && *id != other).expect("three");
    cluster.isolate(third);
    cluster.deliver_all();
    cluster.heal();
}

/// Figure 8 of the Raft paper, with three nodes. A's entry of term 1 comes to C only in term 3; then A loses power, and
/// B, whose last entry is of term 2, leads and overwrites it. The schedule, up to the point where A dies.
pub(super) fn figure_8(upstream: &[UpstreamSwitch]) -> Cluster {
    let mut cluster = led_by(A, upstream);
    std::sync::Arc::make_mut(&mut cluster.settings).max_batch_push_bytes = 0;
    // Term 1: an entry that only A has.
    cluster.propose(A);
    cluster.drop_all();
    cluster.lose_power(A);
    // Term 2: B is elected by C, and has an entry that nobody else has.
    elect_alone(&mut cluster, B, C);
    cluster.propose(B);
    cluster.drop_all();
    cluster.lose_power(B);
    // Term 3: A is elected by C, and pushes what it has.
    cluster.start(A, -1);
    elect_alone(&mut cluster, A, C);
    cluster
}

/// Elects a node with one other's vote, and drops what the new leader says then.
pub(super) fn elect_alone(cluster: &mut Cluster, id: NodeId, voter: NodeId) {
    for _ in 0..40 {
        cluster.time_out(id);
        while let Some(packet) = cluster.packets.first().cloned() {
            if cluster.node(id).core.role() == Role::Leader {
                cluster.drop_all();
                return;
            }
            cluster.deliver(&packet, false);
        }
        cluster.time_out(voter);
        cluster.drop_all();
    }
    panic!("{id} was not elected");
}

/// The rest of figure 8: A's entry of term 1 comes to C, and nothing of term 3; then A dies and B leads.
fn end_figure_8(cluster: &mut Cluster) {
    let index =
        cluster.node(A).disk.log.bodies().iter().position(|body| *body == 1).expect("A's entry")
            as i64;
    for _ in 0..20 {
        let next = cluster.packets.iter().find(|it| it.message.from != B && it.message.to != B);
        match next.cloned() {
            Some(packet) if cluster.node(C).disk.log.end() < index || packet.message.to == A => {
                cluster.deliver(&packet, false);
            }
            Some(packet) => {
                cluster.packets.remove(&packet);
            }
            None if cluster.node(C).disk.log.end() == index => break,
            None => cluster.time_out(A),
        }
    }
    assert_eq!(cluster.node(C).disk.log.get(index), cluster.node(A).disk.log.get(index));
    cluster.lose_power(A);
    cluster.drop_all();
    cluster.start(B, -1);
    assert!(cluster.pass_until(30_000, |it| it.leader() == Some(B)));
    cluster.pass(3_000);
    let body = cluster.node(C).disk.log.get(index).expect("B's entry").body;
    assert_ne!(body, 1, "overwritten");
}

#[test]
fn figure_8_loses_a_committed_entry_when_old_terms_are_committed_by_counting() {
    let mut cluster = figure_8(&[UpstreamSwitch::CommitsOldTerms, UpstreamSwitch::NoNoOp]);
    end_figure_8(&mut cluster);
    let violation = cluster.violation.expect("an entry that A had committed is overwritten");
    assert_eq!(violation.invariant, Invariant::LeaderCompleteness, "{violation}");
}

#[test]
fn figure_8_loses_nothing_when_only_entries_of_the_own_term_are_committed() {
    for upstream in [&[][..], &[UpstreamSwitch::NoNoOp][..]] {
        let mut cluster = figure_8(upstream);
        end_figure_8(&mut cluster);
        cluster.assert_sound();
        assert_eq!(cluster.leader(), Some(B));
    }
}

#[test]
fn a_new_leader_commits_what_it_inherited_by_its_own_entry() {
    let tell = |upstream: &[UpstreamSwitch]| {
        let mut cluster = led_by(A, upstream);
        let body = cluster.propose(A);
        only_between(&mut cluster, A, B);
        cluster.lose_power(A);
        assert!(cluster.pass_until(30_000, |it| it.leader() == Some(B)));
        cluster.pass(3_000);
        (body, cluster)
    };
    let (body, cluster) = tell(&[]);
    assert_eq!(cluster.node(B).disk.log.bodies(), [NO_OP, body, NO_OP]);
    assert_eq!(cluster.node(C).core.committed_index(), 2);
    // Without it, nothing is committed before somebody writes.
    let (_, mut cluster) = tell(&[UpstreamSwitch::NoNoOp]);
    assert!(cluster.node(B).core.committed_index() < cluster.node(B).core.log().end_index());
    assert_eq!(cluster.node(B).ready_term, None);
    cluster.propose(B);
    cluster.pass(3_000);
    assert_eq!(cluster.node(C).core.committed_index(), cluster.node(C).core.log().end_index());
}

#[test]
fn an_entry_counts_as_flush_disk_type_says() {
    for (is_sync_flush, counts) in [(true, false), (false, true)] {
        let settings = Settings { is_sync_flush, ..Settings::of_group(A, 3) };
        let mut cluster = Cluster::new(3, &settings, 1);
        elect(&mut cluster, A);
        cluster.has_lazy_disks = true;
        cluster.propose(A);
        cluster.deliver_all();
        assert_eq!(
            cluster.node(A).core.committed_index() == 1,
            counts,
            "sync flush: {is_sync_flush}"
        );
        // One copy on a platter, and it is the leader's own.
        cluster.io(A);
        cluster.deliver_all();
        assert_eq!(cluster.node(A).core.committed_index() == 1, counts);
        cluster.io(B);
        cluster.deliver_all();
        assert_eq!(cluster.node(A).core.committed_index(), 1);
        cluster.assert_sound();
    }
}

#[test]
fn sync_flush_keeps_what_a_majority_of_page_caches_would_lose() {
    let tell = |is_sync_flush| {
        let settings = Settings { is_sync_flush, ..Settings::of_group(A, 3) };
        let mut cluster = Cluster::new(3, &settings, 1);
        cluster.excused.insert(Invariant::LeaderCompleteness);
        cluster.excused.insert(Invariant::StateMachineSafety);
        elect(&mut cluster, A);
        cluster.has_lazy_disks = true;
        let body = cluster.propose(A);
        cluster.deliver_all();
        let committed = cluster.node(A).core.committed_index() == 1;
        for id in cluster.ids() {
            cluster.lose_power(id);
        }
        cluster.has_lazy_disks = false;
        for id in cluster.ids() {
            cluster.start(id, -1);
        }
        cluster.pass(20_000);
        cluster.assert_sound();
        let kept = cluster.nodes.iter().any(|node| node.disk.log.bodies().contains(&body));
        (committed, kept)
    };
    assert_eq!(tell(true), (false, false), "what is not synced was not acknowledged");
    assert_eq!(tell(false), (true, false), "ASYNC_FLUSH does not promise it");
}

/// Under ASYNC_FLUSH, C has an entry committed that A and B lost with their page caches, who went on without it.
pub(super) fn forgotten_by_a_majority(upstream: &[UpstreamSwitch]) -> (u32, Cluster) {
    let settings = Settings {
        is_sync_flush: false,
        upstream: upstream.iter().copied().collect(),
        ..Settings::of_group(A, 3)
    };
    let mut cluster = Cluster::new(3, &settings, 1);
    cluster.excused.insert(Invariant::LeaderCompleteness);
    cluster.excused.insert(Invariant::StateMachineSafety);
    elect(&mut cluster, A);
    cluster.has_lazy_disks = true;
    let body = cluster.propose(A);
    cluster.deliver_all();
    cluster.io(C);
    cluster.pass(2_000);
    assert_eq!(cluster.node(C).core.committed_index(), 1);
    cluster.has_lazy_disks = false;
    cluster.isolate(C);
    // Two of three page caches are gone, and the two go on without it.
    for id in [A, B] {
        cluster.lose_power(id);
        cluster.start(id, -1);
    }
    cluster.pass(20_000);
    cluster.propose(cluster.leader().expect("A or B"));
    cluster.pass(1_000);
    (body, cluster)
}

#[test]
fn nothing_committed_is_cut_and_the_operator_is_told() {
    let tell = |upstream: &[UpstreamSwitch]| {
        let (body, mut cluster) = forgotten_by_a_majority(upstream);
        cluster.heal();
        cluster.pass(20_000);
        (body, cluster)
    };
    let (body, cluster) = tell(&[]);
    cluster.assert_sound();
    assert!(cluster.node(C).disk.log.bodies().contains(&body));
    let refused = |(id, finding): &&(NodeId, Finding)| {
        *id == C && matches!(finding, Finding::CommittedCutRefused { committed_index: 1, .. })
    };
    let reports = cluster.findings.iter().filter(refused).count();
    assert!((1..=60).contains(&reports), "told, and not without an end: {reports}");
    let (body, cluster) = tell(&[UpstreamSwitch::TruncatesCommitted]);
    assert!(!cluster.node(C).disk.log.bodies().contains(&body));
    let violation = cluster.violation.expect("a cut below the committed index");
    assert_eq!(violation.invariant, Invariant::CommittedNeverCut, "{violation}");
}

#[test]
fn a_vote_is_durable_before_it_is_given() {
    let tell = |upstream: &[UpstreamSwitch]| {
        let mut cluster = Cluster::three(upstream);
        cluster.has_lazy_disks = true;
        // A is elected by B, whose disk is slow.
        cluster.time_out(A);
        only_between(&mut cluster, A, B);
        cluster.io(A);
        only_between(&mut cluster, A, B);
        let is_elected = cluster.node(A).core.role() == Role::Leader;
        cluster.drop_all();
        cluster.lose_power(B);
        cluster.start(B, -1);
        // C asks B in the same term.
        for _ in 0..6 {
            cluster.time_out(C);
            cluster.io(C);
            only_between(&mut cluster, B, C);
            cluster.io(B);
            only_between(&mut cluster, B, C);
        }
        (is_elected, cluster)
    };
    let (is_elected, cluster) = tell(&[]);
    assert!(!is_elected, "the vote is not given yet");
    cluster.assert_sound();
    let (is_elected, cluster) = tell(&[UpstreamSwitch::VoteNotDurable]);
    assert!(is_elected);
    let violation = cluster.violation.expect("B has voted twice");
    assert_eq!(violation.invariant, Invariant::ElectionSafety, "{violation}");
}

/// C comes back, which led term 2 and has an entry of it that nobody else has; another leads.
pub(super) fn forked(upstream: &[UpstreamSwitch]) -> Cluster {
    let mut cluster = led_by(A, upstream);
    cluster.step(A, Event::TransferLeadership(C));
    cluster.deliver_all();
    cluster.isolate(C);
    cluster.propose(C);
    assert!(cluster.pass_until(20_000, |it| it.leader().is_some_and(|id| id != C)));
    cluster.has_lazy_disks = true;
    cluster.heal();
    cluster
}

#[test]
fn a_follower_that_forgot_a_cut_is_compared_anew() {
    let tell = |upstream: &[UpstreamSwitch]| {
        let mut cluster = forked(upstream);
        let leader = cluster.leader().expect("A or B");
        let forgotten = cluster.node(C).disk.synced.clone();
        for _ in 0..20 {
            if cluster.node(C).disk.log.get(2) == forgotten.get(2) {
                cluster.time_out(leader);
                cluster.deliver_all();
                cluster.write_term(C);
            }
        }
        // C has cut and appended, its platter has not; then it starts again within the term.
        cluster.lose_power(C);
        cluster.start(C, -1);
        assert_eq!(cluster.node(C).disk.log, forgotten);
        cluster.propose(leader);
        cluster.deliver_all();
        cluster.has_lazy_disks = false;
        cluster.ids().into_iter().for_each(|id| cluster.io(id));
        cluster.propose(leader);
        cluster.pass(5_000);
        cluster
    };
    let cluster = tell(&[]);
    cluster.assert_sound();
    assert_eq!(cluster.node(A).disk.log.bodies(), cluster.node(C).disk.log.bodies());
    let violation =
        tell(&[UpstreamSwitch::AppendUnmatched]).violation.expect("a hole in the proof");
    assert_eq!(violation.invariant, Invariant::LogMatching, "{violation}");
}

#[test]
fn a_checkpoint_does_not_speak_of_what_a_power_loss_takes_back() {
    let mut cluster = forked(&[]);
    let leader = cluster.leader().expect("A or B");
    let own = cluster.node(C).disk.log.get(2);
    // C cuts its own entry and follows, on paper: its platter is as it was.
    for _ in 0..8 {
        cluster.time_out(leader);
        cluster.deliver_all();
        cluster.write_term(C);
    }
    assert_ne!(cluster.node(C).disk.log.get(2), own);
    assert_eq!(cluster.node(C).disk.synced.get(2), own);
    assert_eq!(cluster.node(C).core.durable_committed_index(), 1);
    cluster.io(C);
    assert_eq!(cluster.node(C).core.durable_committed_index(), 2);
}

#[test]
fn a_log_that_is_ahead_of_its_term_brings_the_term_up() {
    let mut cluster = led_by(A, &[]);
    // The log was synced when the power went, the term was not written yet.
    cluster.lose_power(B);
    cluster.node_mut(B).disk.hard = HardState::NEW;
    cluster.start(B, -1);
    cluster.pass(3_000);
    assert_eq!((cluster.node(B).disk.hard.term, cluster.node(B).core.leader_id()), (1, Some(A)));
}

#[test]
fn a_push_that_comes_twice_is_answered_twice() {
    let mut cluster = led_by(A, &[]);
    cluster.propose(A);
    let pushes: Vec<_> = cluster.packets.iter().filter(|it| it.message.to == B).cloned().collect();
    assert_eq!(pushes.len(), 1);
    cluster.deliver(&pushes[0], true);
    let answers = |it: &Cluster| it.packets.iter().filter(|it| it.message.from == B).count();
    assert_eq!(answers(&cluster), 1);
    cluster.packets.retain(|packet| packet.message.from != B);
    cluster.deliver(&pushes[0], true);
    assert_eq!(answers(&cluster), 1, "the answer was lost, and comes again");
    cluster.assert_sound();
}

#[test]
fn a_follower_below_the_leaders_first_entry_begins_there() {
    let mut cluster = led_by(A, &[]);
    cluster.kill(C);
    for _ in 0..10 {
        cluster.propose(A);
    }
    cluster.pass(2_000);
    for id in [A, B] {
        cluster.step(id, Event::LedgerBegins(6));
    }
    cluster.start(C, -1);
    let push_to_c = |it: &Cluster| {
        it.packets.iter().find_map(|packet| match &packet.message.body {
            Body::PushRequest(push) if packet.message.to == C => Some(push.push_type),
            _ => None,
        })
    };
    for _ in 0..4 {
        if push_to_c(&cluster).is_none() {
            cluster.time_out(A);
        }
    }
    assert_eq!(push_to_c(&cluster), Some(PushType::Compare), "what C needs is not here any more");
    cluster.pass(10_000);
    let log = cluster.node(C).core.log();
    assert_eq!((log.begin_index(), log.end_index()), (6, 10));
    assert_eq!(cluster.node(C).core.committed_index(), 10);
    cluster.assert_sound();
}

#[test]
fn a_long_tail_is_found_in_few_questions_and_windows_are_bounded() {
    let settings = Settings { max_pushed_entries: 8, ..Settings::of_group(A, 3) };
    let mut cluster = Cluster::new(3, &settings, 1);
    elect(&mut cluster, A);
    cluster.isolate(A);
    for _ in 0..500 {
        cluster.propose(A);
    }
    assert!(cluster.pass_until(20_000, |it| it.leader().is_some_and(|id| id != A)));
    let leader = cluster.leader().expect("B or C");
    for _ in 0..100 {
        cluster.propose(leader);
    }
    cluster.deliver_all();
    cluster.heal();
    let mut most = 0;
    for _ in 0..4_000 {
        match cluster.packets.first().cloned() {
            Some(packet) => cluster.deliver(&packet, false),
            None => cluster.time_out(leader),
        }
        most = most.max(cluster.packets.len());
        if cluster.node(A).core.log().end_index() == cluster.node(leader).core.log().end_index() {
            break;
        }
    }
    assert_eq!(cluster.node(A).disk.log.bodies(), cluster.node(leader).disk.log.bodies());
    assert!(most < 40, "{most} packets under way");
    cluster.assert_sound();
}

#[test]
fn bytes_under_way_are_bounded() {
    let settings =
        Settings { max_pushed_bytes: 1_000, max_batch_push_bytes: 0, ..Settings::of_group(A, 3) };
    let mut cluster = Cluster::new(3, &settings, 1);
    elect(&mut cluster, A);
    for _ in 0..100 {
        cluster.propose(A);
    }
    assert_eq!(cluster.packets.len(), 20, "ten entries of a hundred bytes to each");
    cluster.deliver_all();
    assert_eq!(cluster.node(A).core.committed_index(), 100);
}

#[test]
fn a_leader_takes_no_more_than_may_wait() {
    let settings = Settings { max_pending_requests_num: 10, ..Settings::of_group(A, 3) };
    let mut cluster = Cluster::new(3, &settings, 1);
    elect(&mut cluster, A);
    cluster.isolate(A);
    for _ in 0..12 {
        cluster.propose(A);
    }
    let codes: Vec<_> = cluster.rejected.iter().map(|(_, code)| *code).collect();
    assert_eq!(codes, [ResponseCode::LeaderPendingFull; 2]);
    cluster.propose(B);
    assert_eq!(cluster.rejected.last().map(|(_, code)| *code), Some(ResponseCode::NotLeader));
}
