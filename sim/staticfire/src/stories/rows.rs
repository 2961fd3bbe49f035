//! From a row of the expected matrix and a seed to a plan of its own: one group on machines of its
//! own, as `matrix` runs it.

use std::collections::BTreeMap;

use mq_env::rng::Rng;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use staticfire_judge::check::bound::Term;

use crate::plan::{
    Action, CheckPlan, ClusterPlan, EventPlan, GroupPlan, Millis, Plan, Promise, Trigger,
    WorkloadPlan,
};
use crate::stories::elected::Electorate;
use crate::stories::matrix_rows::{FaultStep, MatrixRow, Ours, Replication};
use crate::stories::story::{self, Roles};

/// Sends per run of a matrix row.
const MESSAGES: u32 = 200;

/// Members of a DLedger group of a row's own.
const DLEDGER_MEMBERS: usize = 3;

/// The plan of `row` under `seed` on a group of its own, with upstream behaviours switched on by name.
#[must_use]
pub fn plan(row: &MatrixRow, seed: u64, upstream: &[String]) -> Plan {
    let mut draw = stream(row, seed, "shape");
    let has_slave = row.slave_flush.is_some();
    let elected =
        Electorate { group: "a", members: DLEDGER_MEMBERS, on_one_machine: 1, is_patient: false };
    let elected = row.is_dledger().then_some(elected);
    let roles = Roles { elected, ..Roles::of("a", "a", has_slave.then_some("a-s")) };
    let mut properties = BTreeMap::new();
    if draw.random_bool(0.5) {
        // Small files: records meet file ends and rolls.
        properties.insert("mappedFileSizeCommitLog".to_owned(), "16384".to_owned());
        properties.insert("mappedFileSizeConsumeQueue".to_owned(), "400".to_owned());
        properties.insert("maxHashSlotNum".to_owned(), "50".to_owned());
        properties.insert("maxIndexNum".to_owned(), "200".to_owned());
        // The default is one CommitLog file, which here is less than a story's tail.
        properties.insert("haMaxDivergedBytes".to_owned(), "1048576".to_owned());
    }
    let group = GroupPlan {
        name: roles.group.to_owned(),
        role: row.master_role().to_owned(),
        flush: row.flush.to_string(),
        slaves: if row.is_dledger() { DLEDGER_MEMBERS as u32 - 1 } else { u32::from(has_slave) },
        machines: Vec::new(),
        slave_flush: row.slave_flush.map_or_else(|| "ASYNC_FLUSH".to_owned(), |f| f.to_string()),
    };
    let cluster =
        ClusterPlan { namesrv: Some(1), groups: vec![group], properties, ..ClusterPlan::default() };
    let workload = WorkloadPlan {
        messages: MESSAGES,
        window: draw.random_range(1..=8),
        rate_per_second: draw.random_range(50..=200),
        producers: draw.random_range(1..=2),
        ..WorkloadPlan::default()
    };
    let mut plan = plan_on(cluster, workload, row, roles, seed);
    plan.upstream = upstream.to_vec();
    plan
}

/// The plan of `row` under `seed` for one group of a given cluster.
#[must_use]
pub fn plan_on(
    cluster: ClusterPlan,
    mut workload: WorkloadPlan,
    row: &MatrixRow,
    roles: Roles<'_>,
    seed: u64,
) -> Plan {
    roles.group.clone_into(&mut workload.group);
    let mut draw = stream(row, seed, "story");
    let events = events(row, roles, workload.messages, &mut draw);
    Plan {
        title: row.id.clone(),
        holds: holds(row),
        seeds: "0..20".to_owned(),
        upstream: Vec::new(),
        plants: Vec::new(),
        cluster,
        workloads: vec![workload],
        events,
        disturbances: Vec::new(),
        check: check_plan(row),
    }
}

/// The story of `row`. Where the row permits the loss of what the slave had not received, half of
/// the stories let it miss the last acknowledgements: what is on its way when a master dies still
/// arrives, so that otherwise hardly anything would be lost.
#[must_use]
pub fn events(
    row: &MatrixRow,
    roles: Roles<'_>,
    messages: u32,
    draw: &mut ChaCha8Rng,
) -> Vec<EventPlan> {
    let mut events = story::events(&row.fault, row.recovery, roles, messages, draw);
    if row.replication != Replication::Async || !row.bound.has(Term::Lag) {
        return events;
    }
    if row.fault.contains(&FaultStep::LagSlave) {
        let latency = Millis(draw.random_range(3_000..=8_000));
        if draw.random_bool(0.5) {
            lag_by(&mut events, latency);
        }
        return events;
    }
    let missed = draw.random_range(2..=10);
    if !row.fault.contains(&FaultStep::PartitionMasterSlave)
        && draw.random_bool(0.5)
        && let Some(slave) = roles.slave
    {
        let between = [roles.master.to_owned(), slave.to_owned()];
        miss_last_acks(&mut events, between, missed);
    }
    events
}

/// Makes the slow link slower than an outage may be long, so that what is on its way comes too late.
fn lag_by(events: &mut [EventPlan], longer: Millis) {
    for event in events {
        if let Action::SlowLink { latency, .. } = &mut event.action {
            *latency = longer;
        }
    }
}

/// Cuts the link shortly before the first event and mends it after the last one.
fn miss_last_acks(events: &mut Vec<EventPlan>, between: [String; 2], missed: u32) {
    let Some(Trigger::Acks(first) | Trigger::UnreplicatedAckAfter(first)) =
        events.first().and_then(|event| event.when.clone())
    else {
        return;
    };
    let cut = EventPlan::when(
        Trigger::Acks(first.saturating_sub(missed).max(1)),
        Action::Partition { between: between.clone(), one_way: false },
    );
    let mend = EventPlan::when(Trigger::Previous, Action::Heal { between }).delayed(Millis(100));
    events.insert(0, cut);
    events.push(mend);
}

/// A random stream of one row and seed.
fn stream(row: &MatrixRow, seed: u64, name: &str) -> ChaCha8Rng {
    Rng::from_seed(seed).child(&row.id).stream(name)
}

/// What a row promises.
#[must_use]
pub fn check_plan(row: &MatrixRow) -> CheckPlan {
    CheckPlan {
        promise: match row.ours {
            Ours::Never => Promise::Never,
            Ours::May => Promise::May,
            Ours::All => Promise::All,
            Ours::Owed => Promise::Owed,
        },
        bound: if row.ours == Ours::May { row.bound.to_string() } else { String::new() },
        // A blank master whose slave refuses to follow it never has a second copy.
        sends_within: (row.ours != Ours::All || row.replication != Replication::Sync)
            .then_some(Millis(60_000)),
        replicas_equal_within: (row.ours != Ours::All).then_some(Millis(90_000)),
        expect_loss: false,
        breaks: Vec::new(),
        may_break: Vec::new(),
        least: BTreeMap::new(),
        most: BTreeMap::new(),
    }
}

/// The row's promise as a sentence.
fn holds(row: &MatrixRow) -> String {
    match row.ours {
        Ours::Never => "no acknowledged message is lost".to_owned(),
        Ours::May => format!("acknowledged messages are lost only inside {}", row.bound),
        Ours::Owed => "nothing is lost that the group's log owes".to_owned(),
        Ours::All => "the master comes back empty; the slave keeps its log".to_owned(),
    }
}
