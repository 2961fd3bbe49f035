//! How much simulated time a second of real time buys: `cargo bench -p staticfire`.
//!
//! Items are simulated seconds, so the throughput column is the ratio of simulated to real time. The
//! baseline in the same run is an empty world of the same length, and the events alone.

use std::rc::Rc;
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use staticfire::plan::Plan;
use staticfire::run;
use staticfire::run::Clients;
use staticfire::run::cluster::Cluster;
use staticfire::run::report::Verdict;
use staticfire::run::stage::Stage;
use staticfire_judge::ledger::Ledger;
use staticfire_world::world::{World, WorldConfig};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Length of the idle worlds.
const IDLE_SECONDS: u64 = 3_600;

fn main() {
    divan::main();
}

/// Two masters, two slaves, two name servers, two producers, two consumers.
fn two_by_two(workload: &str) -> Plan {
    let group = |name: &str| {
        format!(
            "[[cluster.group]]\nname = \"{name}\"\nrole = \"SYNC_MASTER\"\nflush = \"ASYNC_FLUSH\"\nslaves = 1\n"
        )
    };
    let text = format!(
        "title = \"2m-2s\"\nholds = \"nothing is lost\"\n[cluster]\nnamesrv = 2\n{}{}\
         [workload]\nproducers = 2\nconsumers = 2\n{workload}\n[check]\npromise = \"never\"\n",
        group("a"),
        group("b")
    );
    Plan::parse(&text).expect("the plan is well-formed")
}

/// Nothing at all, for the same simulated time.
#[divan::bench]
fn empty_world(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(IDLE_SECONDS)).bench(|| {
        World::run(WorldConfig::default(), 1, async |_world| {
            tokio::time::sleep(Duration::from_secs(IDLE_SECONDS)).await;
        })
    });
}

/// A cluster whose clients hold their pulls and send nothing.
#[divan::bench(sample_count = 5)]
fn idle_cluster(bencher: Bencher<'_, '_>) {
    let plan = two_by_two("messages = 1");
    bencher.counter(ItemsCount::new(IDLE_SECONDS)).bench(|| {
        World::run(WorldConfig::default(), 1, async |world| {
            let ledger = Ledger::watching(world.trace());
            let stage: Rc<dyn Stage> = Rc::new(world.clone());
            let cluster = Cluster::build(&stage, &plan, &ledger).expect("the plan is sound");
            let clients = Clients::of(&plan, &cluster, 1);
            let work = &clients.works[0];
            cluster.start();
            tokio::time::sleep(Duration::from_secs(1)).await;
            cluster.start_consumers(work);
            cluster.start_producers(work);
            tokio::time::sleep(Duration::from_secs(IDLE_SECONDS)).await;
        })
    });
}

/// The same cluster under 500 messages a second for a minute, 16 sends in flight per producer, with
/// all checkers.
#[divan::bench(sample_count = 5)]
fn reference_world(bencher: Bencher<'_, '_>) {
    let plan = two_by_two("messages = 30000\nwindow = 16\nrate_per_second = 250");
    let simulated = run::run(&plan, 1, "-").report;
    assert_eq!(simulated.verdict, Verdict::Kept, "{:?}", simulated.findings);
    bencher.counter(ItemsCount::new(simulated.sim_ms / 1_000)).bench(|| run::run(&plan, 1, "-"));
}

/// One run of a matrix row with a fault, from cold to verdict: runs per second.
#[divan::bench(sample_count = 20)]
fn matrix_run(bencher: Bencher<'_, '_>) {
    let rows = staticfire::stories::matrix_rows::all();
    let row = rows.iter().find(|row| row.id == "SYNC_FLUSH/sync/ASYNC_FLUSH/power_all/promote");
    let plan = staticfire::stories::rows::plan(row.expect("a row of the table"), 1, &[]);
    bencher.counter(ItemsCount::new(1_u32)).bench(|| run::run(&plan, 1, "-"));
}
