//! What becomes of consumer groups in drawn plans: they ask for something else while they run, and are deleted. And who
//! waits for their replies.

use rand::Rng as _;

use super::Drawing;
use super::kinds::label;
use crate::plan::{
    Action, ConsumerGroupPlan, EventPlan, FilterPlan, Millis, Plan, RequestPlan, WorkloadPlan,
};

/// Share of its messages that a group fails at most that consumes in order, in percent.
const ORDERLY_FAILURES_MAX: u32 = 10;

/// In order a message that is given back stops its queue for a second: where most are, a story comes to no end.
pub(super) fn spare_orderly_groups(plan: &mut Plan) {
    let groups = plan.workloads.iter_mut().flat_map(|work| &mut work.consumer_groups);
    for group in groups.filter(|it| it.orderly) {
        if let Some(fails) = &mut group.fails {
            fails.percent = fails.percent.min(ORDERLY_FAILURES_MAX);
        }
    }
}

impl Drawing {
    /// A group asks for something else while it runs, and perhaps again.
    pub(super) fn add_changed_subscriptions(&mut self, plan: &mut Plan) {
        if self.0.random_bool(0.85) {
            return;
        }
        let index = self.0.random_range(0..plan.workloads.len());
        let work = &mut plan.workloads[index];
        label(work);
        let Some(group) = self.one_group(work, |it| !it.broadcast && !it.lite_pull) else { return };
        for _ in 0..self.weighted(&[1, 1, 2]) {
            let filter = match self.0.random_bool(0.2) {
                true => FilterPlan::Tags("*".to_owned()),
                false => self.filter(),
            };
            if matches!(filter, FilterPlan::Sql { .. }) {
                let (key, value) = ("enablePropertyFilter".to_owned(), "true".to_owned());
                plan.cluster.properties.insert(key, value);
            }
            let at_ms = self.0.random_range(1_000..20_000);
            self.at(plan, at_ms, Action::Subscribe { group: group.name.clone(), filter });
        }
    }

    /// A group is deleted under its members, or while they are away.
    pub(super) fn add_deleted_groups(&mut self, plan: &mut Plan) {
        if self.0.random_bool(0.9) {
            return;
        }
        let work = self.one_of(&plan.workloads);
        let keeps_nothing_else =
            |it: &ConsumerGroupPlan| !it.broadcast && !it.idempotent && it.fails.is_none();
        let Some(group) = self.one_group(&work, keeps_nothing_else) else { return };
        let at_ms = self.0.random_range(2_000..20_000);
        let members: Vec<String> = work.consumer_names(&group).collect();
        let is_named = |event: &EventPlan| {
            event.action.nodes().iter().any(|node| members.iter().any(|it| it == node))
        };
        let is_away = self.0.random_bool(0.5) && !plan.events.iter().any(is_named);
        if is_away {
            let leaves_ms = at_ms - self.0.random_range(100..2_000);
            for node in &members {
                self.at(plan, leaves_ms, Action::Stop { node: node.clone() });
            }
        }
        self.at(plan, at_ms, Action::DeleteGroup { group: group.name.clone() });
        if is_away {
            let back_ms = at_ms + self.0.random_range(100..8_000);
            for node in members {
                self.at(plan, back_ms, Action::Restart { node, salvage: false });
            }
        }
    }

    /// Of what else sends one by one some asks for replies.
    pub(super) fn add_requests(&mut self, plan: &mut Plan) {
        let able = |work: &&mut WorkloadPlan| {
            let is_plain = work.transaction.is_none() && !work.is_delayed() && work.batch == 1;
            let is_known = work.oneway_percent == 0 && work.wait_false_percent == 0;
            is_plain && is_known && !work.ordered && !work.is_async && !work.outbox
        };
        for work in plan.workloads.iter_mut().filter(able) {
            if self.0.random_bool(0.15) {
                let timeout = Millis(self.weighted(&[1_000, 3_000]));
                work.request_reply = Some(RequestPlan { timeout });
            }
        }
    }

    /// One of a workload's groups of which this holds.
    fn one_group(
        &mut self,
        work: &WorkloadPlan,
        holds: fn(&ConsumerGroupPlan) -> bool,
    ) -> Option<ConsumerGroupPlan> {
        let groups = work.all_consumer_groups().into_iter();
        let groups: Vec<ConsumerGroupPlan> = groups.filter(holds).collect();
        (!groups.is_empty()).then(|| self.one_of(&groups))
    }
}
