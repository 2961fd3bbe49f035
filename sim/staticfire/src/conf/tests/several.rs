//! Several slaves, shared machines and slaves that do not find their master: what rows promise and do.

use super::*;
use crate::conf::row::ConfRow;
use crate::plan::{Action, Plan, Promise};
use crate::stories::matrix_rows::{self, Ours};

const SYNC: &str = "brokerName=broker-a\nbrokerIP1=10.3.0.1\nnamesrvAddr=10.3.0.9:9876\n\
                    brokerRole=SYNC_MASTER\n";

/// The second slave of the group, on this machine.
fn second(address: &str) -> String {
    let own = "listenPort=10921\nstorePathRootDir=/second\n";
    SLAVE.replace("brokerId=1", "brokerId=2").replace("10.3.0.2", address) + own
}

fn rows(files: &[(&str, &str)], sets: &[&str]) -> Vec<ConfRow> {
    let cluster = check_with(files, sets).unwrap_or_else(|findings| {
        panic!("{}", all_findings(&findings, Colour::Off));
    });
    ConfRow::all(Path::new("DIR"), &[], &cluster)
}

#[track_caller]
fn row(rows: &[ConfRow], place: &str) -> ConfRow {
    let found = rows.iter().find(|row| row.place() == format!("broker-a/{place}"));
    found.unwrap_or_else(|| panic!("no row {place}")).clone()
}

fn story(plan: &Plan) -> Vec<String> {
    plan.events.iter().map(|event| event.action.to_string()).collect()
}

#[test]
fn among_several_slaves_the_most_advanced_one_has_what_was_acknowledged() {
    let other = second("10.3.0.3");
    let files = [("a.properties", SYNC), ("a-s.properties", SLAVE), ("a-s2.properties", &*other)];
    let rows = rows(&files, &[]);
    for row in &rows {
        let promotes = row.row.recovery == matrix_rows::Recovery::Promote;
        // Something may have been taken from whichever slave confirmed.
        let is_taken = ["power_slave", "power_all", "restart+disk_master"];
        let is_taken = is_taken.iter().any(|fault| row.place().contains(fault));
        assert_eq!(promotes && is_taken, row.row.ours == Ours::Owed, "{}", row.place());
        let plan = row.plan(1);
        assert_eq!(promotes && is_taken, plan.check.promise == Promise::Owed, "{}", row.place());
        plan.check_sense().expect("a plan without contradictions");
    }
    let cut = row(&rows, "partition_master_slave/promote").plan(1);
    assert_eq!(
        story(&cut),
        [
            "partition a | a-s",
            "partition a | a-s2",
            "promote_most_advanced broker-a",
            "heal a | a-s",
            "heal a | a-s2"
        ]
    );
    let both = row(&rows, "power_slave+disk_master/promote");
    assert_eq!(both.promoted.as_deref(), Some("a-s2"), "nothing has struck it");
    assert_eq!(story(&both.plan(1)), ["power_loss a-s", "destroy_disk a", "promote a-s2"]);
    let restarts = story(&row(&rows, "power_all/restart").plan(1));
    let restarts: Vec<&String> = restarts.iter().filter(|it| it.starts_with("restart")).collect();
    assert_eq!(restarts.len(), 3, "{restarts:?}");
    let away = row(&rows, "kill_slave/restart").row;
    assert_eq!((away.ours, &*away.why), (Ours::Never, "the other slaves confirm meanwhile"));
    assert_eq!(row(&rows, "power_master/restart").row.bound.to_string(), "master_unflushed");
}

#[test]
fn one_machine_for_all_copies_takes_all_of_them() {
    let slave = SLAVE.replace("10.3.0.2", "10.3.0.1") + "listenPort=10921\nstorePathRootDir=/s\n";
    let files = [("a.properties", SYNC), ("a-s.properties", &*slave)];
    let all = rows(&files, &[]);
    let promise = |place: &str| {
        let row = row(&all, place).row;
        format!("{} {}", row.ours, row.bound).trim_end().to_owned()
    };
    for (place, promised) in [
        ("kill_master/promote", "never"),
        ("power_master/restart", "may master_unflushed"),
        ("power_master/promote", "may slave_unflushed"),
        ("power_slave/restart", "may master_unflushed"),
        ("power_slave+disk_master/promote", "all"),
        ("power_master+restart+disk_master/promote", "all"),
        ("disk_slave/restart", "all"),
        ("disk_master/promote", "all"),
        ("flush_error_master/restart", "never"),
    ] {
        assert_eq!(promise(place), promised, "{place}");
    }
    let is_link = |row: &ConfRow| row.place().contains("lag_") || row.place().contains("partition");
    assert!(!all.iter().any(is_link));
    let error = row(&all, "flush_error_master/restart").plan(1);
    assert_eq!(story(&error), ["flush_error a (1)", "calm a", "restart a", "restart a-s"]);
    let asynchronous = rows(&files, &["a.brokerRole=ASYNC_MASTER"]);
    for seed in 0..20 {
        let told = story(&row(&asynchronous, "pause_master/promote").plan(seed));
        assert_eq!(told, ["pause a", "promote a-s"], "no link between them is cut");
    }
    let synced = rows(&files, &["flushDiskType=SYNC_FLUSH"]);
    assert_eq!(row(&synced, "power_slave/restart").row.ours, Ours::Never);
    let text = rendered(&files, &[]);
    insta::assert_snapshot!(text, @"warning  a-s.properties:4, a.properties:2  a-s and its master a stand on one machine, 10.3.0.1: one disk and one power supply for both copies, so whatever takes one takes the other");
}

#[test]
fn a_slave_beside_its_master_is_struck_and_promoted_last() {
    let beside = second("10.3.0.1");
    let elsewhere = SLAVE.replace("brokerId=1", "brokerId=3");
    let files =
        [("a.properties", SYNC), ("a-0.properties", &*beside), ("a-s.properties", &*elsewhere)];
    let rows = rows(&files, &[]);
    let cut = row(&rows, "partition_master_slave/promote");
    let told = story(&cut.plan(1));
    assert_eq!(told, ["partition a | a-s", "promote_most_advanced broker-a", "heal a | a-s"]);
    assert_eq!(
        (cut.row.ours, row(&rows, "kill_master/promote").row.ours),
        (Ours::Never, Ours::Never)
    );
    let power = row(&rows, "power_master/promote").row;
    assert_eq!(power.ours, Ours::Owed, "the slave beside the master goes with it");
    assert!(power.why.contains("perhaps for the one on the master's machine"));
    let both = row(&rows, "power_slave+disk_master/promote");
    assert_eq!(both.promoted.as_deref(), Some("a-s"), "the other is on the destroyed disk");
    let error = row(&rows, "flush_error_master/restart").plan(1);
    assert_eq!(story(&error), ["flush_error a (1)", "calm a", "restart a", "restart a-0"]);
    assert_eq!(story(&row(&rows, "flush_error_slave/restart").plan(1)).len(), 3);
}

#[test]
fn slaves_that_do_not_find_their_master_are_not_counted() {
    let files = [("a.properties", SYNC), ("a-s.properties", SLAVE)];
    let modes = |sets: &[&str]| {
        let cluster = check_with(&files, sets).expect("sound");
        (cluster.plan().brokers.len(), modes(&cluster))
    };
    let alone = (1, "broker-a: SYNC_MASTER + ASYNC_FLUSH, no slave, a-s out of reach\n".to_owned());
    let pair = (2, "broker-a: SYNC_MASTER + ASYNC_FLUSH, slave ASYNC_FLUSH\n".to_owned());
    for (set, expected) in [
        ("a.brokerIP2=172.17.0.1", &alone),
        ("a.brokerIP2=127.0.0.1", &alone),
        ("a.brokerIP2=10.3.0.2", &alone),
        ("a.brokerIP2=10.3.0.1", &pair),
        ("a-s.namesrvAddr=10.3.0.8:9876", &alone),
        ("a-s.haMasterAddress=10.3.0.1:10911", &alone),
        ("a-s.haMasterAddress=10.3.0.1:10912", &pair),
        ("a-s.brokerIP2=172.17.0.1", &pair),
    ] {
        assert_eq!(&modes(&[set]), expected, "{set}");
    }
    let told = ["a.brokerIP2=172.17.0.1", "a-s.haMasterAddress=10.3.0.1:10912"];
    assert_eq!(modes(&told), pair, "it asks no name server");
    insta::assert_snapshot!(rendered(&files, &["a.brokerIP2=10.3.0.2"]), @"warning  a.properties (--set), a-s.properties  the slave is sent to 10.3.0.2, which is the machine of a-s: it would replicate nothing, every send SLAVE_NOT_AVAILABLE");
    insta::assert_snapshot!(rendered(&files, &["a-s.haMasterAddress=10.3.0.1:10911"]), @"warning  a-s.properties (--set)  the slave looks for its master at 10.3.0.1:10911, and a listens at 10.3.0.1:10912: it would replicate nothing, every send SLAVE_NOT_AVAILABLE");
    insta::assert_snapshot!(rendered(&files, &["a-s.brokerIP2=172.17.0.1"]), @"warning  a-s.properties (--set)  once a-s is a master, its slaves are sent to 172.17.0.1, which is no machine of this cluster, and replicate nothing; the rows have them sent to 10.3.0.2");
}

#[test]
fn a_seldom_synced_log_is_given_time_for_its_error() {
    let files = [("a.properties", SYNC), ("a-s.properties", SLAVE)];
    let delay = |sets: &[&str], place: &str| {
        let plan = row(&rows(&files, sets), place).plan(1);
        let calm = plan.events.iter().find(|it| matches!(it.action, Action::Calm { .. }));
        (calm.expect("before the next step").delay.0 / 1_000, plan.workloads[0].rate_per_second)
    };
    let place = "flush_error_master+power_master/restart";
    assert!(delay(&[], place).0 <= 3);
    let slow = ["flushCommitLogLeastPages=6400", "flushCommitLogThoroughInterval=120000"];
    let (seconds, rate) = delay(&slow, place);
    assert!((120..=123).contains(&seconds), "{seconds}");
    assert!(rate * 2 * 240 <= 10_000, "the workload lasts: {rate}");
    let of_slave = ["a-s.flushIntervalCommitLog=5000"];
    assert!((4..=10).contains(&delay(&of_slave, "flush_error_slave/restart").0));
    assert!(delay(&of_slave, place).0 <= 3);
    let sync = [slow[0], slow[1], "flushDiskType=SYNC_FLUSH"];
    assert!(delay(&sync, place).0 <= 3);
}

#[test]
fn groups_that_no_fault_of_a_group_can_reach_stand_aside() {
    let file = |letter: char, id: u8, machine: u8| {
        let role = if id == 0 { "ASYNC_MASTER" } else { "SLAVE" };
        format!(
            "brokerName=broker-{letter}\nbrokerId={id}\nbrokerRole={role}\nbrokerIP1=10.3.0.{machine}\n\
             listenPort={}\nstorePathRootDir=/{letter}{id}\nnamesrvAddr=10.3.0.9:9876\n",
            20_000 + u32::from(letter) * 100 + u32::from(id) * 10
        )
    };
    // A's slave stands beside B's master, B's slave beside C's master; D is elsewhere.
    let of = [('a', 0, 1), ('a', 1, 2), ('b', 0, 2), ('b', 1, 3), ('c', 0, 3), ('d', 0, 4)];
    let texts = of.map(|(letter, id, machine)| {
        (format!("{letter}{id}.properties"), file(letter, id, machine))
    });
    let files: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (&**name, &**text)).collect();
    for row in rows(&files, &[]) {
        let brokers = row.cluster.brokers.iter().map(|it| &*it.name);
        let brokers: Vec<&str> = brokers.collect();
        let reached =
            if row.group == "broker-d" { &["d0"][..] } else { &["a0", "a1", "b0", "b1", "c0"] };
        assert_eq!(brokers, reached, "{}", row.place());
        row.plan(1).check_sense().expect("a plan without contradictions");
    }
}
