//! DLedger groups: what their files must agree on, where their members are, what their rows promise.

use super::*;
use crate::conf::mirror;
use crate::conf::row::ConfRow;
use crate::stories::matrix_rows::Ours;

const PEERS: &str = "n0-10.3.0.1:40911;n1-10.3.0.2:40911;n2-10.3.0.3:40911";

/// The files of a group of three, each on a machine of its own; `edit` changes them.
fn group_of_three(edit: impl Fn(usize, String) -> String) -> Vec<(String, String)> {
    let file = |number: usize| {
        let text = format!(
            "brokerName=a\nnamesrvAddr=10.3.0.9:9876\nenableDLegerCommitLog=true\ndLegerGroup=a\n\
             dLegerPeers={PEERS}\ndLegerSelfId=n{number}\n"
        );
        (format!("m{number}.properties"), edit(number, text))
    };
    (0..3).map(file).collect()
}

fn found(files: &[(String, String)]) -> String {
    let files: Vec<_> = files.iter().map(|(name, text)| (&**name, &**text)).collect();
    rendered(&files, &[])
}

fn cluster(files: &[(String, String)], more: &[(&str, &str)]) -> ClusterConf {
    let files = files.iter().map(|(name, text)| (&**name, &**text)).chain(more.iter().copied());
    sound(&files.collect::<Vec<_>>())
}

/// Edits one file.
fn only(at: usize, from: &str, to: &str) -> impl Fn(usize, String) -> String {
    let (from, to) = (from.to_owned(), to.to_owned());
    move |number, text| if number == at { text.replace(&from, &to) } else { text }
}

fn ours(rows: &[ConfRow], place: &str) -> Option<Ours> {
    rows.iter().find(|row| row.place() == format!("a/{place}")).map(|row| row.row.ours)
}

#[test]
fn a_sound_group_stands_where_its_peers_say() {
    let cluster = cluster(&group_of_three(|_, text| text), &[]);
    assert_eq!(cluster.findings, []);
    let [group] = &*cluster.groups else { panic!("one group") };
    assert_eq!(group.mode, "DLEDGER of 3 + ASYNC_FLUSH");
    let machines: Vec<String> = cluster.brokers.iter().map(|it| it.address.to_string()).collect();
    assert_eq!(machines, ["10.3.0.1", "10.3.0.2", "10.3.0.3"]);
    let plan = cluster.plan();
    assert!(plan.brokers.iter().all(|it| it.properties["dLegerPeers"] == PEERS));
    assert_eq!(group.rows().len(), 17);
}

#[test]
fn peers_that_differ() {
    insta::assert_snapshot!(found(&group_of_three(only(1, "n2-10.3.0.3:40911", "n2-10.3.0.3:40912"))), @r"
    error: m0 and m1 of a do not have the same dLegerPeers
      m0.properties:5  dLegerPeers=n0-10.3.0.1:40911;n1-10.3.0.2:40911;n2-10.3.0.3:40911
      m1.properties:5  dLegerPeers=n0-10.3.0.1:40911;n1-10.3.0.2:40911;n2-10.3.0.3:40912
      allowed: n0-host:port;n1-host:port;n2-host:port, the same on every member
      (Apache RocketMQ 4.9 would let each count votes of its own group)
    ");
}

#[test]
fn two_files_of_one_member_and_none_of_another() {
    insta::assert_snapshot!(found(&group_of_three(only(2, "SelfId=n2", "SelfId=n0\nbrokerIP1=10.3.0.3"))), @r"
    error: no file has brokerName=a and dLegerSelfId=n2, and a new group begins once all of its members are there
      m0.properties:5  dLegerPeers=n0-10.3.0.1:40911;n1-10.3.0.2:40911;n2-10.3.0.3:40911
      (Apache RocketMQ 4.9 would begin with a majority)
    error: two members of a are n0
      m0.properties:6  dLegerSelfId=n0
      m2.properties:6  dLegerSelfId=n0
      allowed: another one of the ids in dLegerPeers for each file
      (Apache RocketMQ 4.9 would count the votes of both as those of one)
    ");
}

#[test]
fn ids_that_are_not_among_the_peers() {
    insta::assert_snapshot!(found(&group_of_three(only(1, "SelfId=n1", "SelfId=n7"))), @r"
    error: dLegerSelfId=n7 is not among the dLegerPeers
      m1.properties:6  dLegerSelfId=n7
      allowed: one of the ids in dLegerPeers
    ");
    let preferred = |_, text: String| text + "preferredLeaderId=n5\n";
    let text = found(&group_of_three(preferred));
    assert_eq!(
        text.matches("preferredLeaderId=n5 is not among the dLegerPeers").count(),
        3,
        "{text}"
    );
    assert!(text.contains("  m2.properties:7  preferredLeaderId=n5\n"), "{text}");
}

#[test]
fn names_that_make_two_groups_of_one() {
    let text = found(&group_of_three(only(2, "brokerName=a", "brokerName=b")));
    assert!(
        text.contains("error: the members of dLegerGroup a do not have one brokerName\n"),
        "{text}"
    );
    let text = found(&group_of_three(only(2, "dLegerGroup=a", "dLegerGroup=b")));
    assert!(
        text.contains("a is one broker group, and its members have two dLegerGroups\n"),
        "{text}"
    );
    let beside = "brokerName=a\nbrokerIP1=10.3.0.7\nnamesrvAddr=10.3.0.9:9876\n".to_owned();
    let mut files = group_of_three(|_, text| text);
    files.push(("x.properties".to_owned(), beside));
    let text = found(&files);
    assert!(text.contains("error: a is a DLedger group, and x is none of its members\n"), "{text}");
}

#[test]
fn members_that_are_looked_for_elsewhere() {
    let at = |address: &str| format!("SelfId=n1\nbrokerIP1={address}");
    insta::assert_snapshot!(found(&group_of_three(only(1, "SelfId=n1", &at("10.3.0.8")))), @r"
    warning  m0.properties:5, m1.properties  n1 is looked for at 10.3.0.2:40911, and m1 stands at 10.3.0.8: taken for another address of that machine
    ");
    let swapped = |number, text: String| match number {
        1 => text + "brokerIP1=10.3.0.8\n",
        2 => text + "brokerIP1=10.3.0.2\n",
        _ => text,
    };
    let text = found(&group_of_three(swapped));
    assert!(text.contains("error: n1 is looked for at 10.3.0.2:40911, the machine of m2, and m1 stands at 10.3.0.8\n"), "{text}");
    let local = |_, text: String| text.replace("n0-10.3.0.1", "n0-127.0.0.1");
    let text = found(&group_of_three(local));
    assert!(
        text.contains(
            "error: n0 is looked for at 127.0.0.1:40911, and the members of a stand apart\n"
        ),
        "{text}"
    );
    let unknown = |_, text: String| text.replace("n2-10.3.0.3", "n2-elsewhere");
    let text = found(&group_of_three(unknown));
    assert!(
        text.contains("error: elsewhere has no address\n  m0.properties:5  dLegerPeers="),
        "{text}"
    );
}

#[test]
fn ports_of_members_on_one_machine() {
    let ports = |number, text: String| {
        let text =
            text.replace("10.3.0.2", "10.3.0.1").replace("n1-10.3.0.1:40911", "n1-10.3.0.1:40912");
        if number == 1 { text + "listenPort=40914\nstorePathRootDir=/m1\n" } else { text }
    };
    let files = group_of_three(ports);
    insta::assert_snapshot!(found(&files), @r"
    error: port 40912 is taken twice on 10.3.0.1
      m1.properties:7  listenPort=40914, so the VIP channel listens on listenPort - 2 = 40912
      m1.properties:5  dLegerPeers=n0-10.3.0.1:40911;n1-10.3.0.1:40912;n2-10.3.0.3:40911, so n1 listens on 40912
    warning  m0.properties, m1.properties  m0 and m1 of a stand on one machine, 10.3.0.1: whoever is left is no quorum without it, and with its disk what a majority voted for is gone: no row destroys one
    ");
    let beside = |number, text: String| ports(number, text).replace("40914", "40910");
    let text = found(&group_of_three(beside));
    assert!(!text.contains("taken twice"), "nobody listens for slaves at 40911: {text}");
}

#[test]
fn one_machine_for_a_quorum_promises_what_it_can_keep() {
    let beside = |number, text: String| {
        let text =
            text.replace("10.3.0.2", "10.3.0.1").replace("n1-10.3.0.1:40911", "n1-10.3.0.1:40912");
        if number == 1 { text + "listenPort=11911\nstorePathRootDir=/m1\n" } else { text }
    };
    let shared = cluster(&group_of_three(beside), &[]);
    let rows = ConfRow::all(Path::new("DIR"), &[], &shared);
    assert_eq!(ours(&rows, "power_master/elect"), Some(Ours::Owed));
    assert_eq!(ours(&rows, "kill_master/elect"), Some(Ours::Never));
    assert_eq!(ours(&rows, "disk_master/elect"), None, "nobody would be elected");
    assert_eq!(ours(&rows, "isolate_master/elect"), None, "links end at machines");
    for row in &rows {
        row.plan(1).check_sense().expect("a plan without contradictions");
    }
    let synced =
        cluster(&group_of_three(|at, text| beside(at, text) + "flushDiskType=SYNC_FLUSH\n"), &[]);
    let rows = ConfRow::all(Path::new("DIR"), &[], &synced);
    assert_eq!(ours(&rows, "power_master/elect"), Some(Ours::Never));
}

#[test]
fn sizes_and_flush_types_that_weaken_a_group() {
    let two = |_, text: String| text.replace(";n2-10.3.0.3:40911", "");
    let files = group_of_three(two);
    insta::assert_snapshot!(found(&files[..2]), @r"
    warning  m0.properties:5  a has two members, and both are its quorum: neither may be away
    ");
    let rows = ConfRow::all(Path::new("DIR"), &[], &cluster(&files[..2], &[]));
    assert_eq!(ours(&rows, "power_master/elect"), Some(Ours::Never), "the other one has it");
    let mixed = only(1, "SelfId=n1", "SelfId=n1\nflushDiskType=SYNC_FLUSH");
    let files = group_of_three(mixed);
    insta::assert_snapshot!(found(&files), @r"
    warning  m0.properties, m1.properties:7, m2.properties  a: some members run SYNC_FLUSH and some ASYNC_FLUSH, so that the group keeps the promise of ASYNC_FLUSH: whoever leads counts the others as they are
    ");
    assert_eq!(cluster(&files, &[]).groups[0].mode, "DLEDGER of 3 + ASYNC_FLUSH");
}

#[test]
fn a_dledger_group_beside_a_master_and_its_slave() {
    let files = group_of_three(|_, text| text);
    let beside = [("b.properties", MASTER), ("b-s.properties", SLAVE)];
    let moved: Vec<(&str, String)> = beside
        .iter()
        .map(|(name, text)| {
            (*name, text.replace("10.3.0.1", "10.3.1.1").replace("10.3.0.2", "10.3.1.2"))
        })
        .collect();
    let moved: Vec<(&str, &str)> = moved.iter().map(|(name, text)| (*name, &**text)).collect();
    let cluster = cluster(&files, &moved);
    let modes: Vec<&str> = cluster.groups.iter().map(|group| &*group.mode).collect();
    assert_eq!(
        modes,
        ["DLEDGER of 3 + ASYNC_FLUSH", "ASYNC_MASTER + ASYNC_FLUSH, slave ASYNC_FLUSH"]
    );
    assert!(topology(&cluster).starts_with(
        "DefaultCluster: 1 name server, 1 master, 1 slave, 1 DLedger group of 3 members on 6 machines\n"
    ));
}

#[test]
fn groups_that_differ_in_names_and_addresses_alone_are_images() {
    let mut files = group_of_three(|_, text| text);
    for (name, text) in files.clone() {
        let text = text.replace("=a\n", "=b\n").replace("-10.3.0.", "-10.3.1.");
        files.push((name.replace('m', "o"), text));
    }
    let images = mirror::images(&cluster(&files, &[]));
    assert_eq!(images.into_iter().collect::<Vec<_>>(), [("b".to_owned(), "a".to_owned())]);
}
