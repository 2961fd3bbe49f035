//! From a row of the expected matrix and a seed to a plan of its own: one group on machines of its
//! own, as `matrix` runs it.

use std::collections::BTreeMap;

use mq_env::rng::Rng;
use rand::Rng as _;

use crate::matrix_rows::{MatrixRow, Ours};
use crate::plan::{CheckPlan, ClusterPlan, GroupPlan, Millis, Plan, Promise, WorkloadPlan};
use crate::story::{self, Roles};

/// Sends per run of a matrix row.
const MESSAGES: u32 = 200;

/// The plan of `row` under `seed`, with upstream behaviours switched on by name.
#[must_use]
pub fn plan(row: &MatrixRow, seed: u64, upstream: &[String]) -> Plan {
    let mut draw = Rng::from_seed(seed).child(&row.id).stream("story");
    let has_slave = row.slave_flush.is_some();
    let roles = Roles { group: "a", master: "a", slave: has_slave.then_some("a-s") };
    let mut properties = BTreeMap::new();
    if draw.random_bool(0.5) {
        // Small files: records meet file ends and rolls.
        properties.insert("mappedFileSizeCommitLog".to_owned(), "16384".to_owned());
        properties.insert("mappedFileSizeConsumeQueue".to_owned(), "400".to_owned());
    }
    let group = GroupPlan {
        name: roles.group.to_owned(),
        role: row.master_role().to_owned(),
        flush: row.flush.to_string(),
        slaves: u32::from(has_slave),
        slave_flush: row.slave_flush.map_or_else(|| "ASYNC_FLUSH".to_owned(), |f| f.to_string()),
    };
    let workload = WorkloadPlan {
        group: roles.group.to_owned(),
        messages: MESSAGES,
        window: draw.random_range(1..=8),
        rate_per_second: draw.random_range(50..=200),
        producers: draw.random_range(1..=2),
        ..WorkloadPlan::default()
    };
    let events = story::events(&row.fault, row.recovery, roles, MESSAGES, &mut draw);
    Plan {
        title: row.id.clone(),
        holds: holds(row),
        seeds: "0..20".to_owned(),
        upstream: upstream.to_vec(),
        plants: Vec::new(),
        cluster: ClusterPlan {
            namesrv: Some(1),
            groups: vec![group],
            properties,
            ..ClusterPlan::default()
        },
        workload,
        events,
        check: check_plan(row),
    }
}

/// What a row promises.
#[must_use]
pub fn check_plan(row: &MatrixRow) -> CheckPlan {
    CheckPlan {
        promise: match row.ours {
            Ours::Never => Promise::Never,
            Ours::May => Promise::May,
            Ours::All => Promise::All,
        },
        bound: if row.ours == Ours::May { row.bound.to_string() } else { String::new() },
        sends_within: Some(Millis(60_000)),
        replicas_equal_within: (row.ours != Ours::All).then_some(Millis(90_000)),
        expect_loss: false,
        statuses: BTreeMap::new(),
    }
}

/// The row's promise as a sentence.
fn holds(row: &MatrixRow) -> String {
    match row.ours {
        Ours::Never => "no acknowledged message is lost".to_owned(),
        Ours::May => format!("acknowledged messages are lost only inside {}", row.bound),
        Ours::All => "the master comes back empty; the slave keeps its log".to_owned(),
    }
}
