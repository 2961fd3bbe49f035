//! [`Leaders`]: who is the master of DLedger groups. No file says so: brokers do, and whoever takes their processes away.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use staticfire_judge::check::leadership::Tenancy;
use staticfire_world::trace::{Name, ProcessStep, Trace, TraceEvent, TraceRecord};

use super::Cluster;
use super::broker_process::BrokerProcess;
use crate::lock;
use crate::plan::{Action, Seat};

/// See the module; clones share it.
#[derive(Clone, Default)]
pub(super) struct Leaders {
    /// In the order in which they came.
    tenancies: Arc<Mutex<Vec<Tenancy>>>,
}

impl Leaders {
    /// Those of `members`, brokers of DLedger groups with their groups, as `trace` tells from now on.
    pub(super) fn watch(trace: &Trace, members: BTreeMap<Name, Name>) -> Self {
        let leaders = Leaders::default();
        if members.is_empty() {
            return leaders;
        }
        let watching = leaders.clone();
        let is_wanted = |event: &TraceEvent| {
            matches!(
                event,
                TraceEvent::BecameMaster { .. }
                    | TraceEvent::CeasedMaster { .. }
                    | TraceEvent::Process(_)
            )
        };
        trace.listen(is_wanted, move |record| {
            if let Some(group) = members.get(&record.source) {
                watching.note(group, record);
            }
            ControlFlow::Continue(())
        });
        leaders
    }

    fn note(&self, group: &Name, record: &TraceRecord) {
        let mut tenancies = lock(&self.tenancies);
        match &record.event {
            TraceEvent::BecameMaster { term } => tenancies.push(Tenancy {
                group: Arc::clone(group),
                process: Arc::clone(&record.source),
                term: *term,
                time_us: record.at_us..u64::MAX,
                ordinal: record.ordinal,
            }),
            TraceEvent::Process(ProcessStep::Started | ProcessStep::StopRequested) => {}
            // It has ceased, or its process ended.
            _ => {
                let last = tenancies.iter_mut().rfind(|it| it.process == record.source);
                if let Some(last) = last.filter(|it| it.time_us.end == u64::MAX) {
                    last.time_us.end = record.at_us;
                }
            }
        }
    }

    /// All of them so far.
    pub(super) fn all(&self) -> Vec<Tenancy> {
        lock(&self.tenancies).clone()
    }

    /// The one of the largest term of a group that still serves and `may` do so.
    fn present(&self, group: &str, may: impl Fn(&str) -> bool) -> Option<Tenancy> {
        let tenancies = lock(&self.tenancies);
        let serves =
            |it: &&Tenancy| *it.group == *group && it.time_us.end == u64::MAX && may(&it.process);
        tenancies.iter().filter(serves).max_by_key(|it| it.term).cloned()
    }

    /// The one of the largest term of a group, whether it still serves or not.
    fn last(&self, group: &str) -> Option<Tenancy> {
        let tenancies = lock(&self.tenancies);
        tenancies.iter().filter(|it| *it.group == *group).max_by_key(|it| it.term).cloned()
    }
}

impl Cluster {
    /// Whether the members of a broker group elect its master.
    #[must_use]
    pub fn is_dledger(&self, group: &str) -> bool {
        self.members_of(group).any(BrokerProcess::is_dledger)
    }

    /// The process that serves a DLedger group as its master now, is scheduled, and since when, simulated microseconds.
    #[must_use]
    pub fn leads_now(&self, group: &str) -> Option<(&BrokerProcess, u64)> {
        let present = self.leaders.present(group, |process| self.is_at_work(process))?;
        Some((self.brokers.get(&*present.process)?, present.time_us.start))
    }

    /// The process that serves a DLedger group as its master, or did last.
    pub(super) fn elected_master(&self, group: &str) -> Option<&BrokerProcess> {
        let now = self.leads_now(group).map(|(broker, _)| broker);
        now.or_else(|| self.brokers.get(&*self.leaders.last(group)?.process))
    }

    /// The action with processes in the place of [seats](Seat). Who has which seat of a group is looked at when the first
    /// of them is named, and stays so: whoever led is restarted as the leader, though another one leads by then.
    pub(super) fn seated(&self, action: &Action) -> Action {
        let mut action = action.clone();
        for node in action.nodes_mut() {
            if let Ok(seat) = node.parse::<Seat>() {
                *node = self.who_sits(&seat);
            }
        }
        action
    }

    /// # Panics
    /// When the group has no such seat: plans are validated before they run.
    fn who_sits(&self, seat: &Seat) -> String {
        let mut seats = self.seats.borrow_mut();
        let members = seats.entry(seat.group.clone()).or_insert_with(|| {
            let leader = self.elected_master(&seat.group).map(BrokerProcess::name);
            let mut members: Vec<&str> =
                self.members_of(&seat.group).map(BrokerProcess::name).collect();
            members.sort_by_key(|name| Some(*name) != leader);
            members.into_iter().map(str::to_owned).collect()
        });
        members.get(seat.place).unwrap_or_else(|| panic!("nobody is {seat}")).clone()
    }

    /// Who served DLedger groups as their masters, and when.
    #[must_use]
    pub fn tenancies(&self) -> Vec<Tenancy> {
        self.leaders.all()
    }

    /// Why no quorum of a DLedger group's members can elect one, in words that can follow "because".
    #[must_use]
    pub fn why_no_quorum(&self, group: &str) -> Option<String> {
        let members: Vec<&str> = self.members_of(group).map(BrokerProcess::name).collect();
        let of_each = members.iter().map(|name| (*name, self.why_no_voter(name)));
        let (voters, away): (Vec<_>, Vec<_>) = of_each.partition(|(_, why)| why.is_none());
        let quorum = members.len() / 2 + 1;
        let why = |text: String| format!("no quorum of {group} is left: {text}");
        if voters.len() < quorum {
            let reasons: BTreeSet<String> = away.into_iter().filter_map(|(_, why)| why).collect();
            return Some(why(reasons.into_iter().collect::<Vec<_>>().join("; ")));
        }
        // Whoever leads has to talk to all others of its quorum.
        let reaches =
            |one: &str, other: &str| one == other || self.why_cut_off(one, other).is_none();
        let reached = |one: &str| voters.iter().filter(|(other, _)| reaches(one, other)).count();
        if voters.iter().any(|(one, _)| reached(one) >= quorum) {
            return None;
        }
        let mut pairs =
            voters.iter().flat_map(|(one, _)| voters.iter().map(move |it| (*one, it.0)));
        pairs.find_map(|(one, other)| self.why_cut_off(one, other)).map(why)
    }

    /// Why a member of a DLedger group does not vote.
    fn why_no_voter(&self, name: &str) -> Option<String> {
        let forgot = || format!("{name} has lost its disk, and what it voted for with it");
        let away = self.why_away(name).or_else(|| self.disk_trouble(name));
        let away = away.or_else(|| self.fell(name).map(|_| format!("{name} does not run")));
        away.or_else(|| self.has_forgotten(name).then(forgot))
    }
}
