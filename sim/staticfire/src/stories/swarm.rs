//! Plans that nobody wrote: topology, settings, workloads and disturbances are drawn, and nothing is promised
//! but what the copies in service owe ([`custody`](staticfire_judge::ledger::custody)).
//!
//! Each plan draws which kinds of trouble it has at all before it draws any of them: a swarm in which every
//! plan has everything would hide what only shows when something is missing.

mod groups;
mod kinds;
mod operations;

use std::collections::BTreeMap;

use mq_env::rng::Rng;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use crate::plan::{
    CheckPlan, ClusterPlan, ConsumerGroupPlan, DiskTrouble, DisturbancePlan, FailurePlan, Fall,
    GroupPlan, Millis, Plan, Promise, Remedy, TransactionPlan, Trouble, WorkloadPlan, expand,
};

/// Time after the last disturbance within which sends are acknowledged again and replicas are equal: a client
/// that lost its name server asks the next one at its second poll, and a slave may have to copy everything.
const RECOVERED_WITHIN: Millis = Millis(180_000);

/// Names of broker groups.
const GROUPS: [&str; 3] = ["a", "b", "c"];

/// Topics and workloads.
const TOPICS: [&str; 3] = ["Orders", "Payments", "Events"];

/// The plan of `seed`.
#[must_use]
pub fn plan(seed: u64) -> Plan {
    let mut draw = Drawing(Rng::from_seed(seed).stream("swarm"));
    let cluster = draw.cluster();
    let workloads = draw.workloads(&cluster);
    let mut plan = Plan {
        title: format!("swarm {seed}"),
        holds: "what the copies in service owe is not lost".to_owned(),
        seeds: format!("{seed}..{}", seed.saturating_add(1)),
        upstream: Vec::new(),
        plants: Vec::new(),
        cluster,
        workloads,
        events: Vec::new(),
        disturbances: Vec::new(),
        check: CheckPlan {
            promise: Promise::Owed,
            bound: String::new(),
            sends_within: Some(RECOVERED_WITHIN),
            replicas_equal_within: Some(RECOVERED_WITHIN),
            expect_loss: false,
            breaks: Vec::new(),
            may_break: Vec::new(),
            least: BTreeMap::new(),
            most: BTreeMap::new(),
        },
    };
    plan.disturbances = draw.disturbances(&plan);
    // Streams of their own: plans without transactions or failures stay what they were before there were any.
    Drawing(Rng::from_seed(seed).stream("swarm transactions")).add_transactions(&mut plan);
    Drawing(Rng::from_seed(seed).stream("swarm failures")).add_failures(&mut plan);
    Drawing(Rng::from_seed(seed).stream("swarm order")).add_order(&mut plan);
    Drawing(Rng::from_seed(seed).stream("swarm kinds")).add_kinds(&mut plan);
    Drawing(Rng::from_seed(seed).stream("swarm operations")).add_operations(&mut plan);
    Drawing(Rng::from_seed(seed).stream("swarm readers")).add_readers(&mut plan);
    Drawing(Rng::from_seed(seed).stream("swarm deletions")).add_deletions(&mut plan);
    Drawing(Rng::from_seed(seed).stream("swarm requests")).add_requests(&mut plan);
    Drawing(Rng::from_seed(seed).stream("swarm subscriptions"))
        .add_changed_subscriptions(&mut plan);
    Drawing(Rng::from_seed(seed).stream("swarm deleted groups")).add_deleted_groups(&mut plan);
    groups::spare_orderly_groups(&mut plan);
    plan
}

struct Drawing(ChaCha8Rng);

impl Drawing {
    fn cluster(&mut self) -> ClusterPlan {
        let machines = self.shared_machines();
        let count = self.weighted(&[1, 1, 1, 2, 2, 3]);
        let groups: Vec<GroupPlan> =
            GROUPS[..count].iter().map(|name| self.group(name, &machines)).collect();
        ClusterPlan {
            namesrv: Some(self.0.random_range(1..=2)),
            link_latency: Millis(self.weighted(&[1, 1, 1, 5, 30])),
            sync_latency: self.weighted(&[
                [Millis(1), Millis(4)],
                [Millis(0), Millis(1)],
                [Millis(5), Millis(60)],
            ]),
            writeback_interval: Millis(self.weighted(&[0, 1_000, 5_000])),
            properties: self.properties(),
            groups,
            ..ClusterPlan::default()
        }
    }

    /// Addresses that several brokers may share; empty where each has a machine of its own.
    fn shared_machines(&mut self) -> Vec<String> {
        let count = self.weighted(&[0, 0, 0, 1, 2, 3]);
        (1..=count).map(|n| format!("10.1.0.{n}")).collect()
    }

    fn group(&mut self, name: &str, shared: &[String]) -> GroupPlan {
        let slaves = self.weighted(&[0, 1, 1, 1, 2, 2, 3]);
        let machines = match shared {
            [] => Vec::new(),
            shared => (0..=slaves).map(|_| self.one_of(shared)).collect(),
        };
        GroupPlan {
            name: name.to_owned(),
            // Without a slave a SYNC_MASTER acknowledges nothing.
            role: match slaves > 0 && self.0.random_bool(0.5) {
                true => "SYNC_MASTER",
                false => "ASYNC_MASTER",
            }
            .to_owned(),
            flush: self.flush(),
            slaves,
            machines,
            slave_flush: self.flush(),
        }
    }

    fn flush(&mut self) -> String {
        self.weighted(&["SYNC_FLUSH", "ASYNC_FLUSH"]).to_owned()
    }

    fn properties(&mut self) -> BTreeMap<String, String> {
        let mut properties = BTreeMap::new();
        let mut set = |key: &str, value: String| properties.insert(key.to_owned(), value);
        let file_bytes = self.weighted(&[0_u32, 8_192, 16_384, 65_536]);
        if file_bytes > 0 {
            set("mappedFileSizeCommitLog", file_bytes.to_string());
            set("mappedFileSizeConsumeQueue", "400".to_owned());
            // The default is one CommitLog file, which here is less than a story's tail.
            set("haMaxDivergedBytes", (4 << 20).to_string());
        }
        // Of two time-outs either may be the longer one.
        let timeout = self.weighted(&["", "1000", "8000"]);
        if !timeout.is_empty() {
            set("slaveTimeout", timeout.to_owned());
        }
        if self.0.random_bool(0.15) {
            set("transientStorePoolEnable", "true".to_owned());
            set("transientStorePoolSize", "3".to_owned());
        }
        // A store looks for space that came back.
        set("cleanResourceInterval", "200".to_owned());
        properties
    }

    fn workloads(&mut self, cluster: &ClusterPlan) -> Vec<WorkloadPlan> {
        let count = self.weighted(&[1, 1, 1, 2, 3]);
        (0..count).map(|index| self.workload(index, count, cluster)).collect()
    }

    fn workload(&mut self, index: usize, of: usize, cluster: &ClusterPlan) -> WorkloadPlan {
        let name = if of == 1 { String::new() } else { TOPICS[index].to_lowercase() };
        // The first uses everything, so that every group has something to lose.
        let group = match index > 0 && self.0.random_bool(0.4) {
            true => self.one_of(&cluster.groups).name,
            false => String::new(),
        };
        let others = usize::from(self.0.random_bool(0.35));
        let consumer_groups = (0..others).map(|_| {
            let name = format!("{}-audit", TOPICS[index].to_lowercase());
            let group = ConsumerGroupPlan::new(name, self.0.random_range(1..=3));
            ConsumerGroupPlan { consume_time: Millis(self.weighted(&[0, 5, 40])), ..group }
        });
        let consumer_groups = consumer_groups.collect();
        WorkloadPlan {
            name,
            group,
            topic: TOPICS[index].to_owned(),
            queues: self.0.random_range(1..=6),
            producers: self.0.random_range(1..=2),
            window: self.0.random_range(1..=8),
            messages: self.0.random_range(40..=160),
            rate_per_second: self.0.random_range(2..=30),
            body_bytes: [32, self.0.random_range(32..2_000)],
            consumers: self.0.random_range(1..=4),
            send_timeout: Millis(self.weighted(&[1_000, 3_000, 3_000, 10_000])),
            wait_false_percent: self.weighted(&[0, 0, 0, 20]),
            delay_level: self.weighted(&[0, 0, 0, 0, 0, 1, 2]),
            ordered: false,
            outbox: false,
            transaction: None,
            consumer_groups,
            ..WorkloadPlan::default()
        }
    }

    fn add_transactions(&mut self, plan: &mut Plan) {
        let able = |work: &&mut WorkloadPlan| work.delay_level == 0 && work.wait_false_percent == 0;
        for work in plan.workloads.iter_mut().filter(able) {
            if self.0.random_bool(0.25) {
                work.transaction = Some(TransactionPlan {
                    rollback_percent: self.weighted(&[0, 10, 40]),
                    unknown_percent: self.weighted(&[0, 0, 20, 60]),
                    ..TransactionPlan::default()
                });
            }
        }
        if plan.workloads.iter().any(|work| work.transaction.is_some()) {
            let mut set = |key: &str, value: u32| {
                plan.cluster.properties.insert(key.to_owned(), value.to_string());
            };
            set("transactionTimeOut", self.weighted(&[1_000, 3_000, 6_000]));
            set("transactionCheckInterval", self.weighted(&[2_000, 5_000, 15_000]));
            // Producers may be away for longer than fifteen short rounds.
            set("transactionCheckMax", 1_000);
        }
    }

    fn add_failures(&mut self, plan: &mut Plan) {
        if self.0.random_bool(0.7) {
            return;
        }
        let work = self.0.random_range(0..plan.workloads.len());
        let work = &mut plan.workloads[work];
        if work.consumer_groups.is_empty() {
            let name = format!("{}-billing", work.topic.to_lowercase());
            work.consumer_groups.push(ConsumerGroupPlan::new(name, self.0.random_range(1..=3)));
        }
        let group = &mut work.consumer_groups[0];
        let (percent, times) = (self.weighted(&[10, 30, 100]), self.weighted(&[1, 1, 2, 4]));
        group.fails = Some(FailurePlan { percent, times });
        group.max_reconsume_times = self.weighted(&[16, 16, 1, 2]);
        let levels = "1s 2s 3s 4s 6s 10s 15s 20s".to_owned();
        plan.cluster.properties.insert("messageDelayLevel".to_owned(), levels);
    }

    fn add_order(&mut self, plan: &mut Plan) {
        if self.0.random_bool(0.75) {
            return;
        }
        let able = |work: &&mut WorkloadPlan| work.delay_level == 0 && work.transaction.is_none();
        if let Some(work) = plan.workloads.iter_mut().find(able) {
            work.ordered = true;
        }
        let work = self.0.random_range(0..plan.workloads.len());
        let work = &mut plan.workloads[work];
        if work.consumer_groups.is_empty() {
            let name = format!("{}-ledger", work.topic.to_lowercase());
            let mut group = ConsumerGroupPlan::new(name, self.0.random_range(1..=3));
            group.consume_time = Millis(self.weighted(&[0, 1, 20]));
            work.consumer_groups.push(group);
        }
        work.consumer_groups[0].orderly = true;
    }

    fn disturbances(&mut self, plan: &Plan) -> Vec<DisturbancePlan> {
        let count = self.weighted(&[1, 2, 2, 3, 4]);
        (0..count).map(|_| self.disturbance(plan)).collect()
    }

    fn disturbance(&mut self, plan: &Plan) -> DisturbancePlan {
        let from = Millis(self.0.random_range(0..=5_000));
        let until = Millis(from.0 + self.0.random_range(3_000..=25_000));
        let lasts = self.weighted(&[
            [Millis(50), Millis(1_500)],
            [Millis(100), Millis(6_000)],
            [Millis(1_000), Millis(15_000)],
        ]);
        DisturbancePlan {
            name: String::new(),
            from,
            until,
            budget: self.0.random_range(1..=6),
            every: [Millis(200), Millis(self.0.random_range(500..=6_000))],
            lasts,
            trouble: self.trouble(plan),
        }
    }

    fn trouble(&mut self, plan: &Plan) -> Trouble {
        let group = self.one_of(&plan.cluster.groups).name;
        match self.weighted(&[0, 0, 0, 1, 2, 2, 3, 3]) {
            0 => Trouble::Attrition {
                group,
                faults: self.some_of(&[
                    Fall::Kill,
                    Fall::PowerLoss,
                    Fall::DestroyDisk,
                    Fall::Pause,
                    Fall::Restart,
                ]),
                operator: self.some_of(&[
                    Remedy::Restart,
                    Remedy::PromoteMostAdvanced,
                    Remedy::PromoteAny,
                ]),
            },
            1 => {
                let clients = plan.workloads.iter().flat_map(WorkloadPlan::client_names);
                let clients: Vec<String> = clients.collect();
                Trouble::ClientAttrition {
                    nodes: self.some_of(&clients),
                    faults: self.some_of(&[Fall::Kill, Fall::PowerLoss, Fall::Pause]),
                }
            }
            2 => {
                let long = expand::expand(&plan.cluster);
                let brokers = long.brokers.into_iter().map(|broker| broker.name);
                let servers = long.namesrvs.into_iter().map(|server| server.name);
                let clients = plan.workloads.iter().flat_map(WorkloadPlan::client_names);
                let nodes: Vec<String> = brokers.chain(servers).chain(clients).collect();
                let latency = self.weighted(&[[0, 0], [0, 300], [50, 2_000]]).map(Millis);
                Trouble::Clogging { nodes, latency }
            }
            _ => Trouble::FailingDisks {
                group,
                faults: self.some_of(&[
                    DiskTrouble::Slow,
                    DiskTrouble::Hang,
                    DiskTrouble::Full,
                    DiskTrouble::SyncError,
                    DiskTrouble::NoDescriptors,
                ]),
            },
        }
    }

    /// One of these, each as likely as it is often.
    fn weighted<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.0.random_range(0..all.len())]
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.0.random_range(0..all.len())].clone()
    }

    /// A subset of these, never empty.
    fn some_of<T: Clone>(&mut self, all: &[T]) -> Vec<T> {
        let picked = all.iter().filter(|_| self.0.random_bool(0.5)).cloned();
        let picked: Vec<T> = picked.collect();
        if picked.is_empty() { vec![self.one_of(all)] } else { picked }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_drawn_plan_is_valid_and_survives_its_file() {
        for seed in 0..2_000 {
            let plan = plan(seed);
            assert_eq!(Plan::parse(&plan.to_toml()).as_ref(), Ok(&plan), "seed {seed}");
        }
    }

    #[test]
    fn a_swarm_has_what_no_row_of_the_matrix_has() {
        let plans: Vec<Plan> = (0..300).map(plan).collect();
        let any = |holds: fn(&Plan) -> bool| plans.iter().filter(|plan| holds(plan)).count() > 5;
        assert!(any(|plan| plan.cluster.groups.len() == 3));
        assert!(any(|plan| plan.cluster.groups.iter().any(|group| group.slaves == 3)));
        assert!(any(|plan| plan.cluster.groups.iter().any(|group| !group.machines.is_empty())));
        assert!(any(|plan| plan.workloads.len() == 3));
        assert!(any(|plan| plan.workloads.iter().any(|work| !work.consumer_groups.is_empty())));
        assert!(any(|plan| plan.disturbances.len() == 4));
        assert!(any(|plan| plan.workloads.iter().any(|work| work.transaction.is_some())));
        let fails = |work: &WorkloadPlan| work.consumer_groups.iter().any(|it| it.fails.is_some());
        assert!(plans.iter().filter(|plan| plan.workloads.iter().any(fails)).count() > 50);
        let kinds: [fn(&WorkloadPlan) -> bool; 9] = [
            |work| work.batch > 1,
            |work| work.delay_levels.is_some(),
            |work| work.request_reply.is_some(),
            |work| work.oneway_percent > 0,
            |work| work.is_async,
            |work| work.compress_over_bytes.is_some(),
            |work| work.burst.is_some(),
            |work| work.consumer_groups.iter().any(|it| it.filter.is_some()),
            |work| work.consumer_groups.iter().any(|it| it.lite_pull),
        ];
        for (index, kind) in kinds.into_iter().enumerate() {
            let plans = plans.iter().filter(|plan| plan.workloads.iter().any(kind)).count();
            assert!(plans > 12, "kind {index}: {plans}");
        }
        let in_order = |work: &WorkloadPlan| work.consumer_groups.iter().any(|it| it.orderly);
        assert!(plans.iter().filter(|plan| plan.workloads.iter().any(in_order)).count() > 40);
        let does = |name: &str| {
            plans.iter().flat_map(|it| &it.events).filter(|it| it.action.name() == name).count()
        };
        for name in [
            "start",
            "stop",
            "reset_offset",
            "create_topic",
            "delete_topic",
            "delete_group",
            "subscribe",
            "clock_jump",
            "clock_drift",
        ] {
            assert!(does(name) > 5, "{name}");
        }
        assert!(any(|plan| plan.workloads.iter().any(|work| work.outbox)));
        let has = |fault: Fall| {
            plans.iter().flat_map(|plan| &plan.disturbances).any(|it| {
                matches!(&it.trouble, Trouble::Attrition { faults, .. } if faults.contains(&fault))
            })
        };
        assert!(has(Fall::DestroyDisk) && has(Fall::Pause));
    }
}
