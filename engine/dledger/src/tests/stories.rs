//! Who leads: elections, silence, handing over. Each story is told on a group of nodes whose messages arrive at once.

use super::cluster::Cluster;
use crate::{Body, Event, Message, NodeId, Peer, ResponseCode, Role, Settings, UpstreamSwitch};

const A: NodeId = NodeId(0);
const B: NodeId = NodeId(1);
const C: NodeId = NodeId(2);

/// Three nodes, with `leader` elected, ready and followed.
pub(super) fn led_by(leader: NodeId, upstream: &[UpstreamSwitch]) -> Cluster {
    let mut cluster = Cluster::three(upstream);
    elect(&mut cluster, leader);
    cluster
}

/// Has a node's timer fire until it leads, and everything delivered.
pub(super) fn elect(cluster: &mut Cluster, id: NodeId) {
    for _ in 0..6 {
        if cluster.node(id).core.role() == Role::Leader {
            return;
        }
        cluster.time_out(id);
        cluster.deliver_all();
    }
    panic!("{id} was not elected: {:?}", cluster.node(id).core);
}

fn roles(cluster: &Cluster) -> Vec<Role> {
    cluster.nodes.iter().map(|node| node.core.role()).collect()
}

fn has_ready_leader(cluster: &Cluster) -> bool {
    cluster
        .leader()
        .is_some_and(|id| cluster.node(id).ready_term == Some(cluster.node(id).core.term()))
}

#[test]
fn a_new_group_elects_one_leader_and_commits_its_entry() {
    let mut cluster = Cluster::three(&[]);
    assert_eq!(roles(&cluster), [Role::Unknown; 3], "nobody registers before");
    assert!(cluster.pass_until(5_000, has_ready_leader));
    let roles = roles(&cluster);
    assert_eq!(roles.iter().filter(|role| **role == Role::Leader).count(), 1);
    assert_eq!(roles.iter().filter(|role| **role == Role::Follower).count(), 2);
    cluster.pass(2_000);
    assert!(cluster.nodes.iter().all(|node| node.core.committed_index() == 0));
    cluster.assert_sound();
}

#[test]
fn a_group_of_one_commits_alone_once_its_vote_is_durable() {
    let mut cluster = Cluster::new(1, &Settings::of_group(A, 1), 1);
    cluster.has_lazy_disks = true;
    cluster.time_out(A);
    assert_eq!(cluster.node(A).core.role(), Role::Candidate);
    cluster.io(A);
    assert_eq!(cluster.node(A).core.role(), Role::Leader);
    assert_eq!(cluster.node(A).core.committed_index(), -1, "nothing is synced");
    cluster.io(A);
    assert_eq!(cluster.node(A).core.committed_index(), 0);
    cluster.assert_sound();
}

#[test]
fn groups_of_two_and_four_need_more_than_half() {
    for (size, down) in [(2, 1), (4, 2)] {
        let mut cluster = Cluster::new(size, &Settings::of_group(A, size), 1);
        assert!(cluster.pass_until(10_000, has_ready_leader));
        for id in (0..down).map(NodeId) {
            cluster.kill(id);
        }
        cluster.pass(20_000);
        assert_eq!(cluster.leader(), None, "half of {size} is no quorum");
        cluster.assert_sound();
    }
}

#[test]
fn a_split_vote_is_over_with_the_next_round() {
    let mut cluster = Cluster::new(4, &Settings::of_group(A, 4), 1);
    // Two candidates of one term, each with its own vote and another's.
    for (candidate, voter) in [(A, C), (B, NodeId(3))] {
        cluster.time_out(candidate);
        let pre = cluster.packets.clone();
        pre.iter()
            .filter(|it| it.message.from == candidate)
            .for_each(|it| cluster.deliver(it, false));
        cluster.packets.retain(|it| it.message.to == candidate || it.message.to == voter);
        let answers = cluster.packets.clone();
        answers
            .iter()
            .filter(|it| it.message.to == candidate)
            .for_each(|it| cluster.deliver(it, false));
        assert_eq!(cluster.node(candidate).core.term(), 1);
        cluster.packets.retain(|it| it.message.from == candidate && it.message.to == voter);
        cluster.deliver_all();
    }
    assert_eq!(cluster.leader(), None);
    assert!(cluster.pass_until(10_000, has_ready_leader), "{:?}", roles(&cluster));
    assert_eq!(cluster.history.leaders(), 1);
    cluster.assert_sound();
}

#[test]
fn an_isolated_leader_steps_down_and_its_entry_gives_way() {
    let mut cluster = led_by(A, &[]);
    let kept = cluster.propose(A);
    cluster.deliver_all();
    cluster.isolate(A);
    let lost = cluster.propose(A);
    assert!(cluster.pass_until(9_000, |it| it.leader().is_some_and(|id| id != A)));
    cluster.pass(1_000);
    assert_eq!(cluster.node(A).core.role(), Role::Candidate, "a lease ends without a quorum");
    let new = cluster.propose(cluster.leader().expect("one of the others"));
    cluster.heal();
    cluster.pass(10_000);
    for node in &cluster.nodes {
        let bodies = node.disk.log.bodies();
        assert!(
            bodies.contains(&kept) && bodies.contains(&new) && !bodies.contains(&lost),
            "{bodies:?}"
        );
        assert_eq!(node.core.committed_index(), node.core.log().end_index());
    }
    cluster.assert_sound();
}

#[test]
fn an_isolated_follower_comes_back_without_disturbing() {
    let mut cluster = led_by(A, &[]);
    cluster.isolate(C);
    cluster.pass(60_000);
    assert_eq!(
        cluster.node(C).core.term(),
        1,
        "nobody would vote for it, so that it does not raise its term"
    );
    cluster.propose(A);
    cluster.heal();
    cluster.pass(10_000);
    assert_eq!((cluster.leader(), cluster.node(A).core.term()), (Some(A), 1));
    assert_eq!(cluster.node(C).core.committed_index(), 1);
}

#[test]
fn a_follower_that_hears_nobody_but_is_heard_does_not_disturb() {
    let mut cluster = led_by(A, &[]);
    cluster.cut.insert((A, C));
    cluster.pass(60_000);
    assert_eq!((cluster.leader(), cluster.node(A).core.term()), (Some(A), 1));
    assert_eq!(cluster.node(C).core.role(), Role::Candidate);
}

#[test]
fn without_pre_votes_a_follower_that_comes_back_costs_the_leader_its_term() {
    let mut cluster = led_by(A, &[UpstreamSwitch::NoPreVote]);
    cluster.isolate(C);
    cluster.pass(60_000);
    assert!(cluster.node(C).core.term() > 1);
    cluster.heal();
    cluster.pass(20_000);
    assert!(cluster.node(A).core.term() > 1, "it disturbs");
    assert!(has_ready_leader(&cluster), "and all the same the group comes together");
    cluster.assert_sound();
}

#[test]
fn upstream_keeps_a_node_with_a_larger_term_out_for_ever() {
    let upstream = [
        UpstreamSwitch::NoPreVote,
        UpstreamSwitch::LogBeforeTerm,
        UpstreamSwitch::IgnoresLargerTerm,
    ];
    for (left_out, mended) in [(0, true), (1, true), (2, true), (3, false)] {
        let upstream = upstream.into_iter().enumerate();
        let upstream: Vec<_> =
            upstream.filter(|(at, _)| *at != left_out).map(|(_, it)| it).collect();
        let mut cluster = led_by(A, &upstream);
        cluster.isolate(C);
        cluster.pass(30_000);
        cluster.propose(A);
        cluster.deliver_all();
        cluster.heal();
        cluster.pass(120_000);
        let end =
            cluster.node(A).core.committed_index().max(cluster.node(B).core.committed_index());
        let is_back = cluster.node(C).core.committed_index() == end;
        assert_eq!(is_back, mended, "without {left_out}: {:?}", cluster.node(C).core);
    }
}

#[test]
fn a_larger_term_is_adopted_from_any_message() {
    let mut cluster = led_by(A, &[]);
    let message = Message {
        from: B,
        to: A,
        term: 9,
        body: Body::HeartBeatResponse(ResponseCode::ExpiredTerm),
    };
    cluster.step(A, Event::Received(message));
    assert_eq!((cluster.node(A).core.role(), cluster.node(A).core.term()), (Role::Candidate, 9));
    assert_eq!(cluster.node(A).disk.hard.term, 9);
}

#[test]
fn upstreams_round_for_a_new_term_costs_a_message_and_no_election() {
    let mut cluster = Cluster::three(&[UpstreamSwitch::TermNotReady, UpstreamSwitch::NoPreVote]);
    assert!(cluster.pass_until(10_000, has_ready_leader));
    cluster.propose(cluster.leader().expect("ready"));
    cluster.pass(5_000);
    assert!(cluster.nodes.iter().all(|node| node.core.committed_index() == 1));
    cluster.assert_sound();
}

#[test]
fn leadership_is_handed_over_when_an_operator_says_so() {
    let mut cluster = led_by(A, &[]);
    cluster.step(A, Event::TransferLeadership(C));
    cluster.propose(A);
    assert_eq!(
        cluster.rejected.pop().map(|(_, code)| code),
        Some(ResponseCode::LeaderTransferring)
    );
    cluster.deliver_all();
    assert_eq!((cluster.leader(), cluster.node(C).core.term()), (Some(C), 2));
    assert_eq!(roles(&cluster), [Role::Follower, Role::Follower, Role::Leader]);
    cluster.assert_sound();
}

#[test]
fn a_transfer_that_fails_leaves_the_leader_leading() {
    let mut cluster = led_by(A, &[]);
    cluster.step(A, Event::TransferLeadership(C));
    cluster.drop_all();
    cluster.pass(1_100);
    cluster.propose(A);
    cluster.deliver_all();
    assert_eq!((cluster.leader(), cluster.node(A).core.committed_index()), (Some(A), 1));
}

#[test]
fn a_transferee_waits_for_the_entries_that_it_lacks() {
    let mut cluster = led_by(A, &[]);
    cluster.propose(A);
    cluster.step(A, Event::TransferLeadership(C));
    let is_offer = |body: &Body| matches!(body, Body::LeadershipTransferRequest(_));
    let offer =
        cluster.packets.iter().find(|it| is_offer(&it.message.body)).cloned().expect("made");
    cluster.deliver(&offer, false);
    assert_eq!(cluster.node(C).core.role(), Role::Follower);
    cluster.deliver_all();
    assert_eq!((cluster.leader(), cluster.node(C).core.committed_index()), (Some(C), 2));
}

#[test]
fn a_preferred_leader_leads_when_it_can() {
    let settings = Settings { preferred_leader_ids: vec![C], ..Settings::of_group(A, 3) };
    let mut cluster = Cluster::new(3, &settings, 1);
    cluster.kill(C);
    elect(&mut cluster, A);
    cluster.pass(3_000);
    assert_eq!(cluster.leader(), Some(A));
    cluster.start(C, -1);
    assert!(cluster.pass_until(20_000, |it| it.leader() == Some(C) && has_ready_leader(it)));
    let term = cluster.node(C).core.term();
    cluster.pass(20_000);
    assert_eq!((cluster.leader(), cluster.node(C).core.term()), (Some(C), term), "and stays");
}

#[test]
fn a_preferred_leader_that_cannot_be_heard_is_not_waited_for() {
    let settings = Settings { preferred_leader_ids: vec![C], ..Settings::of_group(A, 3) };
    let mut cluster = Cluster::new(3, &settings, 1);
    // It was never heard: nothing is known of its log, and that is not a small lag.
    cluster.isolate(C);
    elect(&mut cluster, A);
    for _ in 0..50 {
        cluster.propose(A);
        cluster.pass(500);
    }
    assert!(cluster.rejected.is_empty(), "{:?}", cluster.rejected);
    assert_eq!(cluster.node(A).core.term(), 1);
}

#[test]
fn java_members_get_nothing_that_they_do_not_know() {
    let settings = Settings {
        peers: [B, C].map(|id| Peer { id, is_java: true }).to_vec(),
        ..Settings::of_group(A, 3)
    };
    let mut cluster = Cluster::three(&[]);
    let recovered = crate::Recovered {
        hard_state: crate::HardState::NEW,
        log: crate::LogView::empty(0),
        committed_index: -1,
    };
    let rng = cluster.rng.stream("java");
    cluster.node_mut(A).core = crate::DLedgerCore::new(settings.into(), rng, recovered, 0);
    elect(&mut cluster, A);
    cluster.time_out(A);
    let bodies = cluster.packets.iter().map(|packet| &packet.message.body);
    for body in bodies {
        let is_plain = match body {
            Body::VoteRequest(request) => !request.is_pre_vote,
            Body::HeartBeatRequest { ledger_end_index } => ledger_end_index.is_none(),
            Body::PushRequest(request) => request.ledger_begin_index.is_none(),
            _ => true,
        };
        assert!(is_plain, "{body:?}");
    }
    assert!(!cluster.packets.is_empty());
    cluster.assert_sound();
}

#[test]
fn a_failed_disk_silences_its_node() {
    let mut cluster = led_by(A, &[]);
    cluster.step(A, Event::DiskFailed);
    cluster.drop_all();
    cluster.propose(A);
    assert_eq!(cluster.rejected.pop().map(|(_, code)| code), Some(ResponseCode::DiskError));
    assert!(cluster.pass_until(10_000, |it| it.leader().is_some_and(|id| id != A)));
    cluster.pass(5_000);
    assert_eq!(cluster.node(A).core.role(), Role::Unknown);
    cluster.assert_sound();
}
