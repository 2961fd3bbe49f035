//! What the witness knows of a group after each thing that was done to it.

use staticfire_judge::ledger::Processes;
use staticfire_world::world::{World, WorldConfig};
use tokio::time::sleep;

use super::*;
use crate::plan::Action;

const GROUP: &str = "a";

/// Does something to a cluster of a master and a slave that has run for a second.
fn told<T>(code: impl AsyncFnOnce(&Cluster) -> T + 'static) -> T
where
    T: 'static,
{
    let text = "title = \"t\"\nholds = \"h\"\n[cluster]\nnamesrv = 1\n[[cluster.group]]\nname = \"a\"\n\
                role = \"ASYNC_MASTER\"\nflush = \"ASYNC_FLUSH\"\nslaves = 1\n[workload]\n[check]\n\
                promise = \"never\"\n";
    let plan = Plan::parse(text).unwrap();
    World::run(WorldConfig::default(), 1, async move |world| {
        let stage: Rc<dyn Stage> = Rc::new(world);
        let ledger = Ledger::watching(stage.trace());
        let cluster = Cluster::build(&stage, &plan, &ledger).unwrap();
        cluster.start();
        sleep(std::time::Duration::from_secs(1)).await;
        code(&cluster).await
    })
    .value
    .unwrap()
}

async fn act(cluster: &Cluster, node: &str, action: impl FnOnce(String) -> Action) {
    cluster.act(&action(node.to_owned())).await.unwrap();
}

async fn wait_ms(ms: u64) {
    sleep(std::time::Duration::from_millis(ms)).await;
}

#[test]
fn pauses_add_up_and_are_of_one_process() {
    let paused = told(async |cluster| {
        assert_eq!(cluster.paused_us("a"), 0);
        for ms in [300, 200] {
            act(cluster, "a", |node| Action::Pause { node }).await;
            wait_ms(ms).await;
            act(cluster, "a", |node| Action::Resume { node }).await;
            wait_ms(50).await;
        }
        act(cluster, "a", |node| Action::Pause { node }).await;
        wait_ms(40).await;
        [cluster.paused_us("a"), cluster.paused_us("a-s")]
    });
    assert_eq!(paused, [540_000, 0]);
}

#[test]
fn the_first_fault_is_the_first_thing_that_is_no_recovery() {
    let (before, first, now_us) = told(async |cluster| {
        act(cluster, "a", |node| Action::Calm { node }).await;
        let before = cluster.first_fault_us();
        wait_ms(500).await;
        act(cluster, "a-s", |node| Action::Kill { node }).await;
        let now_us = cluster.trace().now_us();
        wait_ms(500).await;
        act(cluster, "a", |node| Action::Kill { node }).await;
        (before, cluster.first_fault_us(), now_us)
    });
    assert_eq!((before, first), (None, Some(now_us)));
}

#[test]
fn a_group_is_blanked_by_a_destroyed_disk_and_begins_anew_when_that_one_leads() {
    let seen = |cluster: &Cluster| [cluster.was_blanked(GROUP), cluster.leads_blank(GROUP)];
    let blanked = told(async move |cluster| {
        let mut all = vec![seen(cluster)];
        act(cluster, "a", |node| Action::PowerLoss { node, worst: true }).await;
        act(cluster, "a", |node| Action::Restart { node, salvage: false }).await;
        all.push(seen(cluster));
        act(cluster, "a-s", |node| Action::DestroyDisk { node }).await;
        act(cluster, "a-s", |node| Action::Restart { node, salvage: false }).await;
        all.push(seen(cluster));
        act(cluster, "a", |node| Action::DestroyDisk { node }).await;
        act(cluster, "a", |node| Action::Restart { node, salvage: false }).await;
        all.push(seen(cluster));
        all
    });
    assert_eq!(blanked, [[false, false], [false, false], [true, false], [true, true]]);
}

#[test]
fn positions_are_noted_of_faults_that_take_the_leaders_copy_or_pages_of_another() {
    let (counts, last) = told(async |cluster| {
        let mut counts = Vec::new();
        let mut note = |cluster: &Cluster| counts.push(cluster.positions(GROUP).len());
        act(cluster, "a-s", |node| Action::Kill { node }).await;
        note(cluster);
        act(cluster, "a-s", |node| Action::Restart { node, salvage: false }).await;
        note(cluster);
        act(cluster, "a-s", |node| Action::PowerLoss { node, worst: false }).await;
        note(cluster);
        act(cluster, "a-s", |node| Action::Restart { node, salvage: false }).await;
        // The old master is killed, then the new one leads.
        act(cluster, "a-s", |node| Action::Promote { node }).await;
        note(cluster);
        act(cluster, "a-s", |node| Action::PowerLoss { node, worst: false }).await;
        note(cluster);
        (counts, cluster.positions(GROUP).pop().unwrap())
    });
    assert_eq!(counts, [0, 0, 1, 3, 4]);
    assert!(last.master_synced_to.is_some() && last.slave_received_to.is_some(), "{last:?}");
    assert_eq!(last.slave_synced_to, None, "the old master's machine has its power");
}

#[test]
fn an_ipv6_address_stands_in_brackets_before_its_port() {
    assert_eq!(host_port("2001:db8::1", 9876), "[2001:db8::1]:9876");
    assert_eq!(host_port("10.0.0.1", 9876), "10.0.0.1:9876");
    assert_eq!(host_port("ns1", 9876), "ns1:9876");
}
