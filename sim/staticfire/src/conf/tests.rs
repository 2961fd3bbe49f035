//! Every rule with a directory that breaks it, and the published set-ups.

mod dledger;
mod pool;
mod several;

use super::*;
use crate::conf::render::{Colour, all_findings, first_findings, modes, topology, totals};

/// Two brokers of one group that nothing is wrong with.
const MASTER: &str = "brokerName=broker-a\nbrokerIP1=10.3.0.1\nnamesrvAddr=10.3.0.9:9876\n";
const SLAVE: &str = "brokerName=broker-a\nbrokerId=1\nbrokerRole=SLAVE\nbrokerIP1=10.3.0.2\n\
                     namesrvAddr=10.3.0.9:9876\n";

fn source(files: &[(&str, &str)]) -> DirectorySource {
    let mut source = DirectorySource::default();
    for (name, text) in files {
        match *name {
            "hosts" => source.hosts = Some((*text).to_owned()),
            "placement" => source.placement = Some((*text).to_owned()),
            name => source.properties.push((name.to_owned(), text.as_bytes().to_vec())),
        }
    }
    source
}

fn check_with(files: &[(&str, &str)], sets: &[&str]) -> Result<ClusterConf, Vec<Finding>> {
    let overlays: Vec<Overlay> = sets.iter().map(|set| set.parse().expect("key=value")).collect();
    ClusterConf::check(&source(files), &overlays)
}

/// The findings as the user sees them, whether or not there is an error among them.
fn rendered(files: &[(&str, &str)], sets: &[&str]) -> String {
    let findings = match check_with(files, sets) {
        Ok(cluster) => cluster.findings,
        Err(findings) => findings,
    };
    all_findings(&findings, Colour::Off)
}

#[track_caller]
fn sound(files: &[(&str, &str)]) -> ClusterConf {
    check_with(files, &[]).unwrap_or_else(|findings| {
        panic!("{}", all_findings(&findings, Colour::Off));
    })
}

fn published(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/conf").join(name)
}

fn lint(name: &str) -> String {
    match load_dir(&published(name), &[]) {
        Ok(cluster) => format!(
            "{}\n{}\n{}\n{}",
            topology(&cluster),
            modes(&cluster),
            first_findings(&cluster.findings, Colour::Off),
            totals(&cluster.findings)
        ),
        Err(findings) => {
            format!("{}{}", all_findings(&findings, Colour::Off), totals(&findings))
        }
    }
}

#[test]
fn published_set_up_on_host_names() {
    insta::assert_snapshot!(lint("hosts-2m-2s-sync"));
}

#[test]
fn published_set_up_without_slaves() {
    insta::assert_snapshot!(lint("noslave-2m"));
}

#[test]
fn published_set_up_on_public_addresses() {
    insta::assert_snapshot!(lint("public-2m-2s-sync"));
}

#[test]
fn published_set_up_with_dledger() {
    insta::assert_snapshot!(lint("dledger-1m-2s"));
}

#[test]
fn a_sound_pair_has_no_findings() {
    let cluster = sound(&[("a.properties", MASTER), ("a-s.properties", SLAVE)]);
    assert_eq!(cluster.findings, []);
    let [group] = &*cluster.groups else { panic!("one group: {:?}", cluster.groups) };
    assert_eq!(group.mode, "ASYNC_MASTER + ASYNC_FLUSH, slave ASYNC_FLUSH");
    assert_eq!(cluster.master(group).stem, "a");
    assert_eq!(cluster.slaves(group).map(|slave| &*slave.stem).collect::<Vec<_>>(), ["a-s"]);
    assert_eq!(cluster.machines.len(), 3);
}

#[test]
fn modes_name_what_is_in_force() {
    let second = SLAVE.replace("brokerId=1", "brokerId=2").replace("10.3.0.2", "10.3.0.3");
    let mode = |sets: &[&str]| {
        let files =
            [("a.properties", MASTER), ("a-s.properties", SLAVE), ("a-s2.properties", &*second)];
        check_with(&files, sets).expect("sound").groups.remove(0)
    };
    let same = mode(&["a.brokerRole=SYNC_MASTER"]);
    assert_eq!(same.mode, "SYNC_MASTER + ASYNC_FLUSH, 2 slaves ASYNC_FLUSH");
    let mixed = mode(&["a-s2.flushDiskType=SYNC_FLUSH"]);
    assert_eq!(mixed.mode, "ASYNC_MASTER + ASYNC_FLUSH, slaves ASYNC_FLUSH and SYNC_FLUSH");
    assert_eq!(mixed.slave_flush, Some(crate::stories::matrix_rows::Flush::Async), "the weakest");
    let alone = sound(&[("a.properties", MASTER)]).groups.remove(0);
    assert_eq!(alone.mode, "ASYNC_MASTER + ASYNC_FLUSH, no slave");
    assert_eq!(alone.rows().len(), 7);
}

#[test]
fn matrix_rows_fit_the_published_groups() {
    let cluster = load_dir(&published("hosts-2m-2s-sync"), &[]).expect("sound");
    for group in &cluster.groups {
        let rows = group.rows();
        assert!(rows.iter().all(|row| row.id.starts_with("SYNC_FLUSH/sync/ASYNC_FLUSH/")));
        assert_eq!(rows.len(), 23);
    }
}

#[test]
fn the_plan_has_resolved_addresses() {
    let plan = load_dir(&published("hosts-2m-2s-sync"), &[]).expect("sound").plan();
    let namesrvs: Vec<_> = plan.namesrvs.iter().map(|n| (&*n.name, &*n.address, n.port)).collect();
    assert_eq!(
        namesrvs,
        [("namesrv-1", "192.168.200.120", 9876), ("namesrv-2", "192.168.200.121", 9876)]
    );
    let slave = plan.brokers.iter().find(|broker| broker.name == "broker-a-s").expect("a slave");
    assert_eq!(slave.address, "192.168.200.121");
    let property = |key: &str| slave.properties.get(key).map(String::as_str);
    assert_eq!(property("namesrvAddr"), Some("192.168.200.120:9876;192.168.200.121:9876"));
    assert_eq!(property("brokerIP2"), Some("192.168.200.121"));
    assert_eq!(property("storePathRootDir"), Some("/rocketmq/store-slave"));
}

#[test]
fn the_plan_is_one_that_runs() {
    for name in ["hosts-2m-2s-sync", "noslave-2m", "public-2m-2s-sync", "dledger-1m-2s"] {
        let cluster = load_dir(&published(name), &[]).expect("sound");
        let row = cluster.groups[0].rows().remove(0);
        let mut plan = crate::stories::rows::plan(&row, 0, &[]);
        plan.workloads[0].group.clone_from(&cluster.groups[0].name);
        plan.cluster = cluster.plan();
        plan.events.clear();
        plan.check_sense().expect("a plan without contradictions");
        for broker in &plan.cluster.brokers {
            let mut file = PropertiesFile::default();
            broker.properties.iter().for_each(|(key, value)| file.set(key, value));
            let (config, ..) = BrokerConfig::parse(&file, &local_defaults(&broker.name));
            assert_eq!(config.broker_ip1.as_deref(), Some(broker.address.as_str()));
        }
    }
}

#[test]
fn value_errors_name_file_line_key_and_what_is_allowed() {
    let master = format!("{MASTER}brokerRole=SYNCMASTER\nlistenPort=1o911\ntraceOn=1\n");
    insta::assert_snapshot!(rendered(&[("broker-a.properties", &master)], &[]), @r#"
    error: brokerRole = "SYNCMASTER" is no role
      broker-a.properties:4  brokerRole=SYNCMASTER
      allowed: ASYNC_MASTER, SYNC_MASTER, SLAVE     did you mean SYNC_MASTER?
      (Apache RocketMQ 4.9 would ignore this line and run as ASYNC_MASTER)
    error: listenPort = "1o911" is no whole number
      broker-a.properties:5  listenPort=1o911
      allowed: a whole number from 3 to 65534
      (Apache RocketMQ 4.9 would ignore this line and keep 10911)
    error: traceOn = "1" is neither true nor false
      broker-a.properties:6  traceOn=1
      allowed: true, false
      (Apache RocketMQ 4.9 would read it as false)
    "#);
}

#[test]
fn two_brokers_of_one_name_and_id() {
    let twin = MASTER.replace("10.3.0.1", "10.3.0.2") + "brokerId=0\n";
    insta::assert_snapshot!(rendered(&[("a.properties", MASTER), ("b.properties", &twin)], &[]), @r"
    error: two brokers are broker-a with brokerId 0
      a.properties  brokerId=0 (default)
      b.properties:4  brokerId=0
      (Apache RocketMQ 4.9 would give clients the address of whichever registered last)
    ");
}

#[test]
fn a_slave_without_a_master() {
    let slave = SLAVE.replace("broker-a", "brokr-a");
    insta::assert_snapshot!(rendered(&[("a.properties", MASTER), ("a-s.properties", &slave)], &[]), @r"
    error: a-s has no master: no broker brokr-a with brokerId 0
      a-s.properties:1  brokerName=brokr-a
      a-s.properties:3  brokerRole=SLAVE
      allowed: the brokerName of a master: broker-a     did you mean broker-a?
      (Apache RocketMQ 4.9 would replicate nothing, without a word)
    ");
}

#[test]
fn no_master_is_missed_while_a_file_is_broken() {
    let master = MASTER.to_owned() + "brokerId=zero\n";
    let text = rendered(&[("a.properties", &master), ("a-s.properties", SLAVE)], &[]);
    assert!(text.contains("is no whole number") && !text.contains("no master"), "{text}");
}

#[test]
fn role_and_id_that_contradict_each_other() {
    let master = MASTER.to_owned() + "brokerId=1\nbrokerRole=SYNC_MASTER\n";
    let slave = SLAVE.replace("brokerId=1", "brokerId=0");
    insta::assert_snapshot!(rendered(&[("a.properties", &master), ("a-s.properties", &slave)], &[]), @r"
    error: brokerId = 1 contradicts brokerRole = SYNC_MASTER
      a.properties:4  brokerId=1
      allowed: 0 with ASYNC_MASTER and SYNC_MASTER, from 1 with SLAVE
      (Apache RocketMQ 4.9 would overwrite brokerId with 0 and run as one more master)
    error: brokerId = 0 contradicts brokerRole = SLAVE
      a-s.properties:2  brokerId=0
      allowed: 0 with ASYNC_MASTER and SYNC_MASTER, from 1 with SLAVE
      (Apache RocketMQ 4.9 would print it and exit with status -3)
    ");
}

#[test]
fn no_name_server() {
    insta::assert_snapshot!(rendered(&[("a.properties", "brokerName=a\nbrokerIP1=10.3.0.1\n")], &[]), @r"
    error: a has no name server
      a.properties  namesrvAddr is not written
      allowed: namesrvAddr=host:port, several split by ;
      (Apache RocketMQ 4.9 would take the variable NAMESRV_ADDR, else register nowhere)
    ");
}

#[test]
fn unresolvable_hosts() {
    let master = "brokerName=a\nbrokerIP1=10.3.0.1\nnamesrvAddr=ns1:9876;nss2:9876\n\
                  haMasterAddress=elsewhere:10912\nbrokerIP2=inner\n";
    let files = [
        ("a.properties", master),
        ("hosts", "10.3.0.9 ns1 ns2\nns3 10.3.0.8\n10.3.0.7 ns1\n"),
        ("placement", "machine-1 a\n"),
    ];
    insta::assert_snapshot!(rendered(&files, &[]), @r#"
    error: nss2 has no address
      a.properties:3  namesrvAddr=ns1:9876;nss2:9876
      allowed: an address, or a host name of the directory's hosts file     did you mean ns2?
    error: elsewhere has no address
      a.properties:4  haMasterAddress=elsewhere:10912
      allowed: an address, or a host name of the directory's hosts file
    error: inner has no address
      a.properties:5  brokerIP2=inner
      allowed: an address, or a host name of the directory's hosts file
    error: "ns3" is no address
      hosts:2  ns3 10.3.0.8
      allowed: an address, then host names
    error: machine-1 has no address
      placement:1  machine-1 a
      allowed: an address, or a host name of the directory's hosts file
    warning  hosts:3  ns1 has the address 10.3.0.9 already, which is used
    "#);
}

#[test]
fn ports_that_collide_on_one_machine() {
    let b = "brokerName=b\nbrokerIP1=10.3.0.1\nnamesrvAddr=10.3.0.9:9876\nlistenPort=10912\n\
             storePathRootDir=/b\n";
    insta::assert_snapshot!(rendered(&[("a.properties", MASTER), ("b.properties", b)], &[]), @r"
    error: port 10912 is taken twice on 10.3.0.1
      a.properties  listenPort=10911 (default), so HA listens on listenPort + 1 = 10912
      b.properties:4  listenPort=10912
    ");
    let same = b.replace("10912", "10911");
    insta::assert_snapshot!(rendered(&[("a.properties", MASTER), ("b.properties", &same)], &[]), @r"
    error: ports 10909, 10911, 10912 are taken twice on 10.3.0.1
      a.properties  listenPort=10911 (default)
      b.properties:4  listenPort=10911
    ");
    let vip = b.replace("10912", "10913");
    insta::assert_snapshot!(rendered(&[("a.properties", MASTER), ("b.properties", &vip)], &[]), @r"
    error: port 10911 is taken twice on 10.3.0.1
      a.properties  listenPort=10911 (default)
      b.properties:4  listenPort=10913, so the VIP channel listens on listenPort - 2 = 10911
    ");
    let free = b.replace("10912", "10921");
    assert_eq!(rendered(&[("a.properties", MASTER), ("b.properties", &free)], &[]), "");
    let elsewhere = b.replace("10.3.0.1", "10.3.0.2");
    assert_eq!(rendered(&[("a.properties", MASTER), ("b.properties", &elsewhere)], &[]), "");
}

#[test]
fn a_broker_port_that_a_name_server_has() {
    let master = MASTER.replace("10.3.0.1", "10.3.0.9") + "listenPort=9878\n";
    insta::assert_snapshot!(rendered(&[("a.properties", &master)], &[]), @r"
    error: port 9876 is taken twice on 10.3.0.9
      a.properties:4  listenPort=9878, so the VIP channel listens on listenPort - 2 = 9876
      a.properties:3  namesrvAddr=10.3.0.9:9876, so a name server listens on it
    ");
}

#[test]
fn store_paths_that_collide_on_one_machine() {
    let b = "brokerName=b\nbrokerIP1=10.3.0.1\nnamesrvAddr=10.3.0.9:9876\nlistenPort=11011\n";
    insta::assert_snapshot!(rendered(&[("a.properties", MASTER), ("b.properties", b)], &[]), @r"
    error: two brokers store in /root/store on 10.3.0.1
      a.properties  storePathRootDir=/root/store (default)
      b.properties  storePathRootDir=/root/store (default)
      allowed: a storePathRootDir for each broker, none inside another
    ");
    let a = MASTER.to_owned() + "storePathRootDir=/data/store\n";
    let inside = b.to_owned() + "storePathRootDir=/data/../data/store/b\n";
    insta::assert_snapshot!(rendered(&[("a.properties", &a), ("b.properties", &inside)], &[]), @r"
    error: /data/store/b lies inside /data/store on 10.3.0.1
      a.properties:4  storePathRootDir=/data/store
      b.properties:5  storePathRootDir=/data/../data/store/b
      allowed: a storePathRootDir for each broker, none inside another
    ");
    let log = b.to_owned() + "storePathRootDir=/b\nstorePathCommitLog=/data/store/commitlog\n";
    insta::assert_snapshot!(rendered(&[("a.properties", &a), ("b.properties", &log)], &[]), @r"
    error: /data/store/commitlog lies inside /data/store on 10.3.0.1
      a.properties:4  storePathRootDir=/data/store
      b.properties:6  storePathCommitLog=/data/store/commitlog
      allowed: a storePathRootDir for each broker, none inside another
    ");
    let beside = b.to_owned() + "storePathRootDir=/data/store-b\n";
    assert_eq!(rendered(&[("a.properties", &a), ("b.properties", &beside)], &[]), "");
}

#[test]
fn findings_that_are_no_errors() {
    let master = MASTER.replace("10.3.0.1", "94.191.83.120")
        + "brokerRole=SYNC_MASTER\nflushDiskType=SYNC_FLUSH\ntransientStorePoolEnable=true\n";
    let text = rendered(&[("a.properties", &master)], &[]);
    insta::assert_snapshot!(text, @r"
    warning  a.properties:2  brokerIP1 is a public address while brokerIP2 (replication) is not set: behind address translation slaves are sent to the machine's inner address
    warning  a.properties:4  broker-a is SYNC_MASTER without a slave: every send is stored and answered with SLAVE_NOT_AVAILABLE, none with SEND_OK
    warning  a.properties:6  transientStorePoolEnable has no effect under flushDiskType=SYNC_FLUSH
    ");
    let master = MASTER.to_owned() + "flushDiskType=SYNC_FLUSH\n";
    insta::assert_snapshot!(rendered(&[("a.properties", &master), ("a-s.properties", SLAVE)], &[]), @r"
    warning  a.properties:4, a-s.properties  broker-a: the master runs SYNC_FLUSH, its slave ASYNC_FLUSH; a promoted slave keeps the promise of ASYNC_FLUSH
    ");
    let slave = SLAVE.replace("10.3.0.9", "10.3.0.8");
    insta::assert_snapshot!(rendered(&[("a.properties", MASTER), ("a-s.properties", &slave)], &[]), @r"
    warning  a-s.properties:5, a.properties:3  a-s and its master register with different name servers (4.9 would replicate nothing, without a word)
    warning  a-s.properties:5  a does not register with 10.3.0.8:9876: clients that ask this name server do not find it
    ");
    let local = "brokerIP1=127.0.0.1\nnamesrvAddr=localhost:9876\nbrokerIP2=10.0.0.7\n";
    insta::assert_snapshot!(rendered(&[("a.properties", local)], &[]), @r#"
    warning  a.properties:1  brokerIP1 is a loopback address: clients on other machines do not reach it; the rows take 10.100.0.1 for it
    note     a.properties  brokerName is not written; "a" is used (4.9 would use the host name)
    note     a.properties:3  slaves would be sent to 10.0.0.7, which is no machine of this cluster
    "#);
}

#[test]
fn placement_by_file_and_by_choice() {
    let files = [
        ("a.properties", "brokerName=a\nnamesrvAddr=10.3.0.9:9876\n"),
        ("b.properties", "brokerName=b\nnamesrvAddr=127.0.0.1:9876\n"),
        ("c.properties", "brokerName=c\nnamesrvAddr=10.3.0.9:9876\nbrokerIP1=10.3.0.7\n"),
        ("hosts", "10.3.0.5 machine-5\n"),
        ("placement", "# who runs where\nmachine-5 a c\n"),
    ];
    let cluster = sound(&files);
    let addresses: Vec<String> = cluster.brokers.iter().map(|b| b.address.to_string()).collect();
    assert_eq!(addresses, ["10.3.0.5", "10.100.1.1", "10.3.0.7"]);
    insta::assert_snapshot!(topology(&cluster), @r"
    DefaultCluster: 2 name servers, 3 masters, no slave on 4 machines
      10.3.0.5    a (ASYNC_MASTER, ASYNC_FLUSH)
      10.3.0.7    c (ASYNC_MASTER, ASYNC_FLUSH)
      10.3.0.9    namesrv
      10.100.1.1  namesrv   b (ASYNC_MASTER, ASYNC_FLUSH)
    ");
    insta::assert_snapshot!(all_findings(&cluster.findings, Colour::Off), @r"
    warning  a.properties:2  b does not register with 10.3.0.9:9876: clients that ask this name server do not find it
    warning  b.properties:2  a and c do not register with 10.100.1.1:9876: clients that ask this name server do not find them
    warning  c.properties:3, placement:2  c stands at its brokerIP1 10.3.0.7, not at 10.3.0.5
    note     b.properties  b runs on a machine of its own, 10.100.1.1: neither brokerIP1 nor placement says where
    ");
}

#[test]
fn placement_lines_that_fit_nothing() {
    let files = [
        ("broker-a.properties", "brokerName=a\nnamesrvAddr=10.3.0.9:9876\n"),
        ("placement", "10.3.0.5 broker-a brokr-a\n10.3.0.6 broker-a\n"),
    ];
    insta::assert_snapshot!(rendered(&files, &[]), @r"
    error: there is no brokr-a.properties or brokr-a.conf
      placement:1  10.3.0.5 broker-a brokr-a
      did you mean broker-a?
    error: broker-a is placed twice, on line 1 and on line 2
      placement:2  10.3.0.6 broker-a
    ");
}

#[test]
fn a_file_that_java_would_not_read() {
    let text = rendered(&[("a.properties", "brokerName=a\nstorePathRootDir=C:\\users\n")], &[]);
    insta::assert_snapshot!(text, @r"
    error: a.properties cannot be read as Java properties
      a.properties:2  storePathRootDir=C:\users
      allowed: \u with four hexadecimal digits; \\ for a backslash
      (Apache RocketMQ 4.9 would exit with status -1)
    ");
}

#[test]
fn set_is_applied_and_checked_as_if_written() {
    let files = [("broker-a.properties", MASTER), ("broker-a-s.properties", SLAVE)];
    let flushes = |sets: &[&str]| -> Vec<&str> {
        let cluster = check_with(&files, sets).expect("sound");
        cluster.brokers.iter().map(|broker| broker.store.flush_disk_type.name()).collect()
    };
    assert_eq!(flushes(&["flushDiskType=SYNC_FLUSH"]), ["SYNC_FLUSH", "SYNC_FLUSH"]);
    let by_stem = flushes(&["broker-a-s.flushDiskType=SYNC_FLUSH"]);
    assert_eq!(by_stem, ["ASYNC_FLUSH", "SYNC_FLUSH"]);
    let stem_before_name = flushes(&["broker-a.flushDiskType=SYNC_FLUSH"]);
    assert_eq!(stem_before_name, ["SYNC_FLUSH", "ASYNC_FLUSH"]);
    let later_wins = flushes(&["flushDiskType=SYNC_FLUSH", "broker-a.flushDiskType=ASYNC_FLUSH"]);
    assert_eq!(later_wins, ["ASYNC_FLUSH", "SYNC_FLUSH"]);

    let renamed = [("m.properties", MASTER), ("s.properties", SLAVE)];
    let both = check_with(&renamed, &["broker-a.flushDiskType=SYNC_FLUSH"]).expect("sound");
    assert!(both.brokers.iter().all(|broker| broker.store.flush_disk_type.name() == "SYNC_FLUSH"));
}

#[test]
fn a_set_that_cannot_be_is_an_error_said_once() {
    let files = [("broker-a.properties", MASTER), ("broker-a-s.properties", SLAVE)];
    let sets = ["flushDiskType=SYNC", "broker-b.brokerRole=SLAVE", "flushDisk=SYNC_FLUSH"];
    insta::assert_snapshot!(rendered(&files, &sets), @r#"
    error: no file and no broker is called "broker-b"
      --set  broker-b.brokerRole=SLAVE
      allowed: broker-a, broker-a-s     did you mean broker-a?
    error: flushDiskType = "SYNC" is no flush disk type
      broker-a.properties (--set)  flushDiskType=SYNC
      broker-a-s.properties (--set)  flushDiskType=SYNC
      allowed: SYNC_FLUSH, ASYNC_FLUSH     did you mean SYNC_FLUSH?
      (Apache RocketMQ 4.9 would ignore this line and run as ASYNC_FLUSH)
    warning  broker-a.properties (--set), broker-a-s.properties (--set)  flushDisk is no key of RocketMQ 4.9; did you mean flushDiskType? (4.9 would ignore this line)
    "#);
}

#[test]
fn set_arguments_parse() {
    let parse = |text: &str| text.parse::<Overlay>().map(|overlay| overlay.to_string());
    assert_eq!(parse("a=b=c"), Ok("a=b=c".to_owned()));
    assert_eq!(parse("broker-a.v2.listenPort= 1"), Ok("broker-a.v2.listenPort=1".to_owned()));
    for bad in ["flushDiskType", "=x", "broker-a.=x", ".key=x"] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn repeated_findings_are_summarised() {
    let noisy = MASTER.to_owned() + "abortFile=/x\nstoreCheckpoint=/y\nfoo=1\nbar=2\nbaz=3\n";
    let findings = check_with(&[("a.properties", &noisy)], &[]).expect("sound").findings;
    insta::assert_snapshot!(first_findings(&findings, Colour::Off), @r"
    warning  a.properties:4  abortFile is not read; /root/store/abort is used
    warning  a.properties:6  foo is no key of RocketMQ 4.9 (4.9 would ignore this line)
       … 3 more of these two kinds (--lint shows all)
    ");
    assert_eq!(all_findings(&findings, Colour::Off).lines().count(), 5);
    assert_eq!(totals(&findings), "5 warnings");
}

#[test]
fn colour_is_only_added() {
    let findings = check_with(&[("a.properties", "brokerName=a\nfoo=1\n")], &[]).unwrap_err();
    let coloured = all_findings(&findings, Colour::On);
    assert!(coloured.contains("\x1b[31;1merror\x1b[0m:"), "{coloured}");
    let codes = ["\x1b[31;1m", "\x1b[33m", "\x1b[36m", "\x1b[0m"];
    let plain = codes.iter().fold(coloured, |text, code| text.replace(code, ""));
    assert_eq!(plain, all_findings(&findings, Colour::Off));
}

#[test]
fn directories_that_cannot_be_read() {
    let missing = Path::new("no/such/directory");
    let findings = load_dir(missing, &[]).unwrap_err();
    let text = all_findings(&findings, Colour::Off);
    assert!(text.starts_with("error: no/such/directory cannot be read\n"), "{text}");
    let empty = tempfile::tempdir().expect("a directory");
    let text = all_findings(&load_dir(empty.path(), &[]).unwrap_err(), Colour::Off);
    assert!(text.contains("has no .properties and no .conf file"), "{text}");
}
