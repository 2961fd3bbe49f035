//! What operators and clocks do in drawn plans, beside the disturbances: clients join, leave in order and come back,
//! groups are reset, topics grow, or are deleted and made again, clocks jump and drift.

use rand::Rng as _;

use super::Drawing;
use crate::plan::{
    Action, ClockStep, ConsumerGroupPlan, EventPlan, Millis, Plan, ResetTo, Trigger, WorkloadPlan,
};

const HOUR_MS: i64 = 3_600_000;

impl Drawing {
    pub(super) fn add_operations(&mut self, plan: &mut Plan) {
        if self.0.random_bool(0.6) {
            return;
        }
        for _ in 0..self.weighted(&[1, 1, 2, 3]) {
            match self.weighted(&[0, 0, 0, 1, 1, 2, 3, 3]) {
                0 => self.add_reset(plan),
                1 => self.add_leave(plan),
                2 => self.add_growth(plan),
                _ => self.add_clock(plan),
            }
        }
        self.add_latecomer(plan);
        self.add_outbox(plan);
    }

    pub(super) fn at(&mut self, plan: &mut Plan, at_ms: u64, action: Action) {
        let (name, at, after, when) = (String::new(), Some(Millis(at_ms)), None, None);
        plan.events.push(EventPlan { name, at, after, when, delay: Millis(0), action });
    }

    fn add_reset(&mut self, plan: &mut Plan) {
        let groups = plan.workloads.iter().flat_map(|work| {
            work.all_consumer_groups().into_iter().map(|group| (group, work.topic.clone()))
        });
        let groups: Vec<(ConsumerGroupPlan, String)> = groups.collect();
        let (group, topic) = self.one_of(&groups);
        let before = [ResetTo::Before(Millis(3_000)), ResetTo::Before(Millis(15_000))];
        let to = self.weighted(&[ResetTo::Earliest, ResetTo::Latest, before[0], before[1]]);
        let at_ms = self.0.random_range(2_000..25_000);
        self.at(plan, at_ms, Action::ResetOffset { group: group.name, topic, to });
    }

    /// A client stops in order, and comes back.
    fn add_leave(&mut self, plan: &mut Plan) {
        let clients: Vec<String> =
            plan.workloads.iter().flat_map(WorkloadPlan::client_names).collect();
        let node = self.one_of(&clients);
        let at_ms = self.0.random_range(1_000..15_000);
        let back_ms = at_ms + self.0.random_range(500..10_000);
        self.at(plan, at_ms, Action::Stop { node: node.clone() });
        self.at(plan, back_ms, Action::Restart { node, salvage: false });
    }

    fn add_growth(&mut self, plan: &mut Plan) {
        let work = self.one_of(&plan.workloads);
        let grows = |event: &EventPlan| matches!(event.action, Action::CreateTopic { .. });
        if !plan.events.iter().any(grows) {
            let queues = work.queues + self.0.random_range(1..=6);
            let at_ms = self.0.random_range(1_000..20_000);
            self.at(plan, at_ms, Action::CreateTopic { topic: work.topic, queues, new: false });
        }
    }

    /// A topic is deleted, and made again, by the operator or by the next send. Local transactions take their time.
    pub(super) fn add_deletions(&mut self, plan: &mut Plan) {
        for work in &mut plan.workloads {
            let lasts = self.weighted(&[None, None, Some([Millis(100), Millis(20_000)])]);
            if let Some(transaction) = &mut work.transaction {
                transaction.lasts = lasts;
            }
        }
        if self.0.random_bool(0.85) {
            return;
        }
        let work = self.one_of(&plan.workloads);
        let is_operated = |event: &EventPlan| {
            matches!(event.action, Action::CreateTopic { .. } | Action::DeleteTopic { .. })
        };
        if !plan.events.iter().any(is_operated) {
            let (topic, queues) = (work.topic, work.queues);
            let at_ms = self.0.random_range(1_000..20_000);
            let delay = Millis(self.0.random_range(0..6_000));
            self.at(plan, at_ms, Action::DeleteTopic { topic: topic.clone() });
            let anew = Action::CreateTopic { topic, queues, new: false };
            plan.events.push(EventPlan::when(Trigger::Previous, anew).delayed(delay));
        }
    }

    fn add_clock(&mut self, plan: &mut Plan) {
        let brokers = crate::plan::expand::expand(&plan.cluster).brokers;
        let clients = plan.workloads.iter().flat_map(WorkloadPlan::client_names);
        let nodes: Vec<String> = brokers.into_iter().map(|it| it.name).chain(clients).collect();
        let node = self.one_of(&nodes);
        let at_ms = self.0.random_range(0..15_000);
        if self.0.random_bool(0.6) {
            let by_ms = self.weighted(&[
                -3_000,
                2_000,
                -HOUR_MS,
                HOUR_MS,
                -24 * HOUR_MS,
                24 * HOUR_MS,
                365 * 24 * HOUR_MS,
            ]);
            return self.at(plan, at_ms, Action::ClockJump { node, by: ClockStep { by_ms } });
        }
        let ppm = self.weighted(&[-1_000_000, -500_000, -50_000, 50_000, 1_000_000]);
        let calm_ms = at_ms + self.0.random_range(1_000..10_000);
        self.at(plan, at_ms, Action::ClockDrift { node: node.clone(), ppm });
        self.at(plan, calm_ms, Action::Calm { node });
    }

    /// The last member of a group joins later.
    fn add_latecomer(&mut self, plan: &mut Plan) {
        let members = plan.workloads.iter().flat_map(|work| {
            let groups = work.all_consumer_groups().into_iter();
            groups.filter_map(|group| work.consumer_names(&group).last()).collect::<Vec<_>>()
        });
        let members: Vec<String> = members.collect();
        let node = self.one_of(&members);
        let is_named = |event: &EventPlan| event.action.nodes().contains(&&*node);
        if self.0.random_bool(0.3) && !plan.events.iter().any(is_named) {
            let at_ms = self.0.random_range(500..12_000);
            self.at(plan, at_ms, Action::Start { node });
        }
    }

    fn add_outbox(&mut self, plan: &mut Plan) {
        let able = |work: &&mut WorkloadPlan| {
            let is_known = work.oneway_percent == 0 && work.request_reply.is_none();
            is_known && work.transaction.is_none() && !work.ordered
        };
        for work in plan.workloads.iter_mut().filter(able) {
            work.outbox = self.0.random_bool(0.4);
        }
    }
}
