//! Kinds of workloads: filters, batches, delays of several levels, members that poll, requests, and ways to send.

use rand::Rng as _;

use super::Drawing;
use crate::plan::{
    BurstPlan, ConsumerGroupPlan, DelayLevelsPlan, FilterPlan, Millis, Plan, PropertiesPlan,
    RequestPlan, WorkloadPlan,
};

impl Drawing {
    /// Half of the plans have none of these.
    pub(super) fn add_kinds(&mut self, plan: &mut Plan) {
        if self.0.random_bool(0.5) {
            return;
        }
        for work in &mut plan.workloads {
            self.add_ways_to_send(work);
            if self.0.random_bool(0.35) {
                self.add_filter(work);
            }
            if self.0.random_bool(0.25) {
                let name = format!("{}-polling", work.topic.to_lowercase());
                let mut group = ConsumerGroupPlan::new(name, self.0.random_range(1..=3));
                group.lite_pull = true;
                group.auto_commit = self.0.random_bool(0.5);
                group.consume_time = Millis(self.weighted(&[0, 0, 5, 30]));
                work.consumer_groups.push(group);
            }
        }
        let groups = plan.workloads.iter().flat_map(|work| &work.consumer_groups);
        if groups.into_iter().any(|it| matches!(it.filter, Some(FilterPlan::Sql { .. }))) {
            let mut set = |key: &str, value: bool| {
                plan.cluster.properties.insert(key.to_owned(), value.to_string());
            };
            set("enablePropertyFilter", true);
            set("filterSupportRetry", self.0.random_bool(0.5));
        }
    }

    /// Groups that get everything each, and such as have the kit before their listeners.
    pub(super) fn add_readers(&mut self, plan: &mut Plan) {
        for work in &mut plan.workloads {
            let topic = work.topic.to_lowercase();
            let members = self.0.random_range(1..=3);
            if self.0.random_bool(0.12) {
                let mut group = ConsumerGroupPlan::new(format!("{topic}-everyone"), members);
                group.broadcast = true;
                work.consumer_groups.push(group);
            }
            if self.0.random_bool(0.12) {
                let mut group = ConsumerGroupPlan::new(format!("{topic}-once"), members);
                group.idempotent = true;
                work.consumer_groups.push(group);
            }
        }
    }

    fn add_ways_to_send(&mut self, work: &mut WorkloadPlan) {
        let is_plain = work.transaction.is_none() && !work.is_delayed();
        match self.0.random_range(0..8) {
            0 | 1 if is_plain => work.batch = self.weighted(&[2, 5, 16]),
            2 if is_plain && !work.ordered => {
                work.delay_levels = Some(DelayLevelsPlan::Some(vec![0, 1, 2]));
            }
            3 if is_plain && !work.ordered && work.wait_false_percent == 0 => {
                let timeout = Millis(self.weighted(&[1_000, 3_000]));
                work.request_reply = Some(RequestPlan { timeout });
            }
            4 | 5 if work.transaction.is_none() && !work.ordered => {
                work.is_async = self.0.random_bool(0.7);
                work.oneway_percent = self.weighted(&[0, 20, 50]);
            }
            _ => {}
        }
        if self.0.random_bool(0.2) {
            let rate_per_second = work.rate_per_second + self.0.random_range(20..=200);
            let every = Millis(self.0.random_range(2_000..=6_000));
            work.burst = Some(BurstPlan { every, lasts: Millis(400), rate_per_second });
        }
        if self.0.random_bool(0.15) && work.batch == 1 && work.body_bytes[1] > 300 {
            work.compress_over_bytes = Some(self.weighted(&[0, 300]));
        }
    }

    fn add_filter(&mut self, work: &mut WorkloadPlan) {
        label(work);
        if work.consumer_groups.is_empty() || self.0.random_bool(0.5) {
            let name = format!("{}-choosing", work.topic.to_lowercase());
            work.consumer_groups.push(ConsumerGroupPlan::new(name, self.0.random_range(1..=3)));
        }
        let filter = self.filter();
        if let Some(group) = work.consumer_groups.last_mut() {
            group.filter = Some(filter);
        }
    }

    /// What a group could ask for of what is [labelled](label).
    pub(super) fn filter(&mut self) -> FilterPlan {
        match self.0.random_range(0..6) {
            0 => FilterPlan::Tags("Aa".to_owned()),
            1 => FilterPlan::Tags("BB || TagC".to_owned()),
            2 => FilterPlan::Sql { sql: "price < 10".to_owned() },
            3 => FilterPlan::Sql { sql: "TAGS IS NULL OR price BETWEEN 40 AND 90".to_owned() },
            4 => FilterPlan::Sql { sql: "TAGS IN ('BB', 'TagC') AND price >= 50".to_owned() },
            _ => FilterPlan::Tags("Aa || BB || TagC".to_owned()),
        }
    }
}

/// Of two tags with one hash, two others and none, and a price.
pub(super) fn label(work: &mut WorkloadPlan) {
    work.tags = ["Aa", "BB", "TagC", ""].map(str::to_owned).to_vec();
    work.properties = PropertiesPlan::from([("price".to_owned(), [0, 99])]);
}
