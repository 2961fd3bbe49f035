//! A node that lost its disk: what it must not do, and how it becomes one like the others again.

use super::cluster::Cluster;
use super::invariants::Invariant;
use super::stories::led_by;
use super::stories_of_loss::{elect_alone, only_between};
use crate::{Body, Finding, HardState, NodeId, UpstreamSwitch};

const A: NodeId = NodeId(0);
const B: NodeId = NodeId(1);
const C: NodeId = NodeId(2);

#[test]
fn a_wiped_node_votes_only_after_it_has_caught_up() {
    let tell = |upstream: &[UpstreamSwitch]| {
        let mut cluster = led_by(A, upstream);
        // Committed by A and B; C has not got it.
        let body = cluster.propose(A);
        only_between(&mut cluster, A, B);
        assert_eq!(cluster.node(A).core.committed_index(), 1);
        cluster.isolate(A);
        cluster.wipe(B);
        cluster.start(B, -1);
        cluster.pass(60_000);
        (body, cluster)
    };
    let (body, mut cluster) = tell(&[]);
    assert_eq!(cluster.leader(), None, "without A nobody knows what is committed");
    assert!(cluster.node(B).core.is_blank() && cluster.node(B).disk.hard.is_blank);
    cluster.heal();
    cluster.pass(20_000);
    assert!(!cluster.node(B).core.is_blank() && !cluster.node(B).disk.hard.is_blank);
    assert!(cluster.findings.contains(&(B, Finding::BlankNodeCaughtUp)));
    assert!(cluster.nodes.iter().all(|node| node.disk.log.bodies().contains(&body)));
    // Now its vote is as good as any.
    let leader = cluster.leader().expect("all are back");
    cluster.kill(leader);
    assert!(cluster.pass_until(20_000, |it| it.leader().is_some()));
    cluster.assert_sound();
    let (_, cluster) = tell(&[UpstreamSwitch::BlankNodeVotes]);
    let violation = cluster.violation.expect("C leads by a vote of who has forgotten");
    assert_eq!(violation.invariant, Invariant::LeaderCompleteness, "{violation}");
}

#[test]
fn a_wiped_node_that_follows_does_not_vote_before_it_is_refilled() {
    let mut cluster = led_by(A, &[]);
    // Committed by A and B; C has not got it.
    let body = cluster.propose(A);
    only_between(&mut cluster, A, B);
    cluster.wipe(B);
    cluster.start(B, -1);
    // It hears everybody and follows A, whose pushes are lost.
    for _ in 0..6 {
        cluster.time_out(B);
        cluster.time_out(A);
        cluster.packets.retain(|packet| !matches!(packet.message.body, Body::PushRequest(_)));
        cluster.deliver_all();
    }
    assert_eq!(cluster.node(B).core.leader_id(), Some(A));
    cluster.kill(A);
    cluster.pass(60_000);
    assert_eq!(cluster.leader(), None, "C would lead without the entry");
    cluster.start(A, -1);
    cluster.pass(20_000);
    assert!(cluster.nodes.iter().all(|node| node.disk.log.bodies().contains(&body)));
    cluster.assert_sound();
}

#[test]
fn a_wiped_node_is_refilled_although_nobody_writes() {
    let mut cluster = led_by(A, &[]);
    for _ in 0..20 {
        cluster.propose(A);
    }
    cluster.deliver_all();
    cluster.wipe(C);
    cluster.start(C, -1);
    cluster.pass(5_000);
    assert_eq!(cluster.node(C).core.committed_index(), 20);
    assert!(!cluster.node(C).core.is_blank());
}

#[test]
fn a_wiped_node_stays_blank_over_a_restart() {
    let mut cluster = led_by(A, &[]);
    cluster.isolate(A);
    cluster.wipe(B);
    cluster.start(B, -1);
    // Term and blankness are made durable together.
    let state = HardState { term: 1, voted_for: None, is_blank: true };
    cluster.node_mut(B).disk.hard = state;
    cluster.kill(B);
    cluster.start(B, -1);
    assert!(cluster.node(B).core.is_blank());
}

#[test]
fn a_wiped_node_believes_no_leader_before_it_has_heard_everybody() {
    let mut cluster = led_by(A, &[]);
    // A does not know it yet, but C leads term 2 by B's vote, and has an entry committed with B.
    cluster.isolate(A);
    elect_alone(&mut cluster, C, B);
    let body = cluster.propose(C);
    for _ in 0..4 {
        cluster.time_out(C);
        only_between(&mut cluster, B, C);
        cluster.isolate(A);
    }
    assert_eq!(cluster.node(C).core.committed_index(), 2);
    cluster.wipe(B);
    cluster.start(B, -1);
    // Now B hears A alone, which would refill it as far as it knows, and commit with it.
    cluster.heal();
    cluster.isolate(C);
    cluster.propose(A);
    for _ in 0..4 {
        cluster.time_out(A);
        cluster.deliver_all();
    }
    assert_eq!(cluster.node(B).core.leader_id(), None, "who knows what C has");
    assert!(cluster.node(B).core.is_blank() && cluster.node(B).core.log().is_empty());
    cluster.pass(30_000);
    assert_eq!(cluster.leader(), None);
    cluster.heal();
    cluster.pass(30_000);
    assert!(cluster.nodes.iter().all(|node| node.disk.log.bodies().contains(&body)));
    assert!(!cluster.node(B).core.is_blank());
    cluster.assert_sound();
}

#[test]
fn a_new_group_whose_nodes_start_as_blank_begins_once_all_are_there() {
    let mut cluster = Cluster::three(&[]);
    for id in [A, B, C] {
        cluster.wipe(id);
    }
    for id in [A, B] {
        cluster.start(id, -1);
    }
    cluster.pass(60_000);
    assert_eq!(cluster.leader(), None, "C may know what was agreed upon");
    cluster.start(C, -1);
    assert!(cluster.pass_until(20_000, |it| it.leader().is_some()), "nobody knows of a term");
    cluster.pass(20_000);
    assert!([A, B, C].iter().all(|id| !cluster.node(*id).core.is_blank()));
    cluster.propose(cluster.leader().expect("it leads still"));
    cluster.assert_sound();
}
