//! The proof of the proofs: with each of upstream's behaviours that costs safety, the exploration finds a schedule that
//! breaks a rule, and without it, none from the same beginning within the same bounds.

use super::cluster::Cluster;
use super::explore::{Bounds, bounds, explore, settings, start, started};
use super::invariants::Invariant;
use super::stories_of_loss::{figure_8, forgotten_by_a_majority, forked};
use crate::{NodeId, Settings, UpstreamSwitch};

const B: NodeId = NodeId(1);

/// Explores with and without a switch; the shortest schedule that the switch makes break the rule, in acts.
fn prove(
    switch: UpstreamSwitch,
    invariant: Invariant,
    bounds: &Bounds,
    begin: impl Fn(&[UpstreamSwitch]) -> Cluster,
) {
    let without = explore(begin(&[]), bounds);
    assert!(without.violation.is_none(), "without {switch}: {:?}", without.violation);
    let with = explore(begin(&[switch]), bounds);
    let (violation, told) =
        with.violation.unwrap_or_else(|| panic!("{switch}: {} states", with.states));
    assert_eq!(violation.invariant, invariant, "{violation}");
    println!("{switch}: {violation}, after {} acts, {} states seen", told.len(), with.states);
    println!(
        "without it: {} states, {} acts, complete: {}",
        without.states, without.depth, without.is_complete
    );
}

fn settings_with(switches: &[UpstreamSwitch]) -> Settings {
    let mut settings = settings();
    settings.upstream.insert(UpstreamSwitch::NoPreVote);
    settings.upstream.extend(switches);
    settings
}

#[test]
fn a_vote_that_is_not_durable_elects_two_leaders() {
    let bounds = Bounds { terms: 1, entries: 0, time_outs: 1, ..bounds() };
    prove(UpstreamSwitch::VoteNotDurable, Invariant::ElectionSafety, &bounds, |switches| {
        start(&settings_with(switches))
    });
}

#[test]
fn a_vote_of_a_lost_disk_loses_a_committed_entry() {
    let bounds = Bounds { wipes: true, time_outs: 1, ..bounds() };
    prove(UpstreamSwitch::BlankNodeVotes, Invariant::LeaderCompleteness, &bounds, |switches| {
        started(&settings_with(switches))
    });
}

#[test]
fn an_acknowledgement_of_a_page_cache_loses_a_committed_entry() {
    let bounds = Bounds { time_outs: 1, ..bounds() };
    for invariant in [Invariant::QuorumHolds, Invariant::LeaderCompleteness] {
        prove(UpstreamSwitch::AcksPageCache, invariant, &bounds, |switches| {
            let mut cluster = started(&settings_with(switches));
            // That too few platters hold it is the first thing to see; that it is lost comes later.
            if invariant != Invariant::QuorumHolds {
                cluster.excused.insert(Invariant::QuorumHolds);
                cluster.violation = None;
            }
            cluster
        });
    }
}

#[test]
fn committing_old_terms_by_counting_loses_a_committed_entry() {
    let bounds = Bounds { terms: 4, entries: 0, crashes: 0, time_outs: 3, ..bounds() };
    prove(UpstreamSwitch::CommitsOldTerms, Invariant::LeaderCompleteness, &bounds, |switches| {
        let mut all = vec![UpstreamSwitch::NoNoOp];
        all.extend(switches);
        let mut cluster = figure_8(&all);
        cluster.has_no_heart_beats = true;
        cluster.start(B, -1);
        cluster
    });
}

#[test]
fn an_append_behind_what_was_not_compared_makes_two_logs() {
    let bounds = Bounds { terms: 3, time_outs: 2, ..bounds() };
    prove(UpstreamSwitch::AppendUnmatched, Invariant::LogMatching, &bounds, |switches| {
        let mut cluster = forked(switches);
        cluster.has_no_heart_beats = true;
        cluster
    });
}

#[test]
fn cutting_what_the_leader_says_takes_back_what_was_committed() {
    let bounds = Bounds { terms: 9, entries: 0, crashes: 0, time_outs: 3, ..bounds() };
    prove(UpstreamSwitch::TruncatesCommitted, Invariant::CommittedNeverCut, &bounds, |switches| {
        let (_, mut cluster) = forgotten_by_a_majority(switches);
        cluster.drop_all();
        cluster.heal();
        cluster
    });
}

#[test]
fn what_costs_only_time_is_safe() {
    use UpstreamSwitch::{IgnoresLargerTerm, LogBeforeTerm, NoNoOp, TermNotReady};
    for switch in [NoNoOp, LogBeforeTerm, IgnoresLargerTerm, TermNotReady] {
        let small = Bounds { states: 5_000, ..bounds() };
        let explored = explore(started(&settings_with(&[switch])), &small);
        assert!(explored.violation.is_none(), "{switch}: {:?}", explored.violation);
    }
}

#[test]
fn every_switch_has_a_name_of_its_own() {
    for switch in UpstreamSwitch::ALL {
        assert_eq!(switch.name().parse(), Ok(switch));
        assert!(switch.name().starts_with("dledger-"));
    }
    assert!("dledger-none".parse::<UpstreamSwitch>().is_err());
}
