//! `conf` on directories as operators have them: several slaves, shared machines, addresses that lead nowhere,
//! files that are not quite Java properties.

use super::{check, scratch, write};

/// A broker's file without `brokerIP1`.
fn broker(id: u32, role: &str, flush: &str) -> String {
    format!(
        "brokerName=broker-a\nbrokerId={id}\nnamesrvAddr=10.1.1.1:9876\nbrokerRole={role}\n\
         flushDiskType={flush}\n"
    )
}

fn master(role: &str, flush: &str) -> String {
    broker(0, role, flush) + "brokerIP1=10.1.1.2\n"
}

fn slave(id: u32, flush: &str) -> String {
    broker(id, "SLAVE", flush) + &format!("brokerIP1=10.1.1.{}\n", 2 + id)
}

/// Writes the files and runs `conf` on them; returns stdout.
#[track_caller]
fn conf(files: &[(&str, String)], args: &[&str], code: i32, stderr: &str) -> String {
    let dir = scratch();
    for (name, text) in files {
        write(&dir.path().join(name), text);
    }
    let dir = dir.path().to_str().expect("UTF-8");
    check(&[&["conf", dir], args].concat(), code, stderr)
}

/// The rows of the tables: those that begin with a fault or with blanks in its place.
fn rows_with<'a>(text: &'a str, part: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter(move |line| line.starts_with("  ") && line.contains(part))
}

#[test]
fn whoever_of_two_slaves_earned_an_acknowledgement_no_promise_is_broken() {
    let files = [
        ("broker-a.properties", master("SYNC_MASTER", "ASYNC_FLUSH")),
        ("broker-a-s1.properties", slave(1, "SYNC_FLUSH")),
        ("broker-a-s2.properties", slave(2, "ASYNC_FLUSH")),
    ];
    let faults = ["--fault", "kill_master", "--fault", "power_slave+disk_master"];
    let more = ["--fault", "partition_master_slave", "--fault", "power_all", "--seeds", "0..4"];
    let text = conf(&files, &[&faults[..], &more[..]].concat(), 0, "");
    assert!(text.contains("slaves SYNC_FLUSH and ASYNC_FLUSH · 4 seeds a row"), "{text}");
    assert_eq!(
        rows_with(&text, "owed by the promoted one").count(),
        1,
        "after a power loss: {text}"
    );
    assert_eq!(rows_with(&text, "the most advanced one has what any has").count(), 2, "{text}");
    assert_eq!(rows_with(&text, "owed by broker-a-s2").count(), 1, "nothing struck it: {text}");
    assert!(text.contains("SEND_OK waited for one of the slaves, whichever was first"), "{text}");
    assert!(
        text.contains("Every promise of these modes was kept in 28 runs (0 vacuous)"),
        "{text}"
    );
}

#[test]
fn one_server_for_both_copies_promises_what_a_server_can_hold() {
    // The machine of the name server, too.
    let address = "brokerIP1=10.1.1.1\n";
    let master = broker(0, "SYNC_MASTER", "SYNC_FLUSH") + address + "storePathRootDir=/opt/a\n";
    let slave = broker(1, "SLAVE", "ASYNC_FLUSH")
        + address
        + "storePathRootDir=/opt/a-s\nlistenPort=10921\n";
    let files = [("broker-a.properties", master), ("broker-a-s.properties", slave)];
    let lint = conf(&files, &["--lint"], 0, "");
    let warning = "broker-a-s and its master broker-a stand on one machine, 10.1.1.1: one disk and one \
                   power supply for both copies";
    assert!(lint.contains(warning), "{lint}");
    let text = conf(&files, &["--seeds", "0..2"], 0, "");
    assert!(!text.contains("partition") && !text.contains("lags"), "{text}");
    assert_eq!(rows_with(&text, "all copies are on the disk of one machine").count(), 5, "{text}");
    let promoted = rows_with(&text, "may ≤ slave_unflushed");
    // Power losses of the master and of everything.
    assert_eq!(promoted.count(), 2, "{text}");
    assert!(text.contains("(0 vacuous)"), "{text}");
}

#[test]
fn a_slave_that_is_sent_elsewhere_does_not_replicate() {
    let master = master("SYNC_MASTER", "ASYNC_FLUSH") + "brokerIP2=172.17.0.1\n";
    let files =
        [("broker-a.properties", master), ("broker-a-s.properties", slave(1, "ASYNC_FLUSH"))];
    let text = conf(&files, &["--fault", "kill_master", "--seeds", "0..2"], 0, "");
    let warning = "the slave is sent to 172.17.0.1, which is no machine of this cluster: it would replicate \
                   nothing, every send SLAVE_NOT_AVAILABLE";
    assert!(text.contains(warning), "{text}");
    assert!(
        text.contains("broker-a: SYNC_MASTER + ASYNC_FLUSH, no slave, broker-a-s out of reach")
    );
    assert!(!text.contains("promote"), "{text}");
    let why = "nothing was acknowledged: broker-a-s does not find its master";
    assert!(text.contains(why), "{text}");
    assert!(text.contains("Nothing was acknowledged that could be lost.\n"), "{text}");
    let mut second = files.to_vec();
    second.push(("placement", "172.17.0.1 broker-a\n".to_owned()));
    let text = conf(&second, &["--fault", "kill_master", "--seeds", "0..2"], 0, "");
    assert!(text.contains("  process kill of master  restart     never"), "{text}");
    assert!(text.contains("SEND_OK waited for the slave"), "{text}");
}

#[test]
fn files_of_either_suffix_are_read() {
    let files = [
        ("broker-a.properties", master("SYNC_MASTER", "ASYNC_FLUSH")),
        ("broker-a-s.conf", slave(1, "ASYNC_FLUSH")),
        ("broker-a.conf", "brokerName=another\n".to_owned()),
        ("logback.conf", "level=info\n".to_owned()),
    ];
    let text = conf(&files, &["--lint"], 0, "");
    assert!(text.contains("broker-a: SYNC_MASTER + ASYNC_FLUSH, slave ASYNC_FLUSH\n"), "{text}");
    assert!(text.contains("broker-a.conf is not read: broker-a.properties is"), "{text}");
    assert!(text.contains("logback.conf is not read: it has no key of a broker's"), "{text}");
    let text = conf(&files[3..], &["--lint"], 64, "");
    assert!(text.contains("no file of a broker is among these"), "{text}");
}

#[test]
fn comments_behind_values_are_quoted_as_they_are_written() {
    let text = "brokerName=broker-a\nbrokerId=0 # 主节点\nnamesrvAddr=10.1.1.1:9876 # 地址\n\
                brokerRole=SLAVE       #角色\n名称\n";
    let text = conf(&[("broker-a.properties", text.to_owned())], &["--lint"], 64, "");
    let error = "error: brokerId = \"0 # 主节点\" is no whole number: # behind a value is part of it, not a \
                 comment\n  broker-a.properties:2  brokerId=0 # 主节点\n";
    assert!(text.contains(error), "{text}");
    assert!(text.contains("did you mean 0?") && text.contains("did you mean SLAVE?"), "{text}");
    assert!(text.contains("名称 is no key of RocketMQ 4.9"), "{text}");
}

#[test]
fn placeholders_are_named_wherever_they_stand() {
    let text = "brokerName=broker-a\nlistenPort=${BROKERSERVER_PORT}\nnamesrvAddr=${NAMESERVERS}\n\
                storePathRootDir=/data/node0${INDEX}\nflushDiskType=$FLUSH\nbrokerIP1=<address>\n\
                rocketmqHome={{ home }}\n";
    let text = conf(&[("broker-a.properties", text.to_owned())], &["--lint"], 64, "");
    for placeholder in
        ["${BROKERSERVER_PORT}", "${NAMESERVERS}", "${INDEX}", "$FLUSH", "<address>", "{{ home }}"]
    {
        let named = format!("{placeholder} is a placeholder that nobody filled in");
        assert!(text.contains(&named), "{placeholder}: {text}");
    }
    assert!(!text.contains("has no name server"), "one complaint a line: {text}");
}

#[test]
fn brokers_on_ipv6_addresses_replicate() {
    let ns = "namesrvAddr=[2001:db8:608::1]:9876\nbrokerName=broker-a\n";
    let master = format!("{ns}brokerIP1=2001:db8:608::2\nbrokerRole=SYNC_MASTER\naclEnable=true\n");
    let slave = format!("{ns}brokerIP1=10.1.1.3\nbrokerId=1\nbrokerRole=SLAVE\n");
    let files = [("broker-a.properties", master), ("broker-a-s.properties", slave)];
    let faults = ["--fault", "kill_master", "--fault", "partition_master_slave", "--seeds", "0..2"];
    let text = conf(&files, &faults, 0, "");
    assert!(
        text.contains(
            "warning  broker-a.properties:5  aclEnable = true: no client of the runs has an account"
        ),
        "{text}"
    );
    assert!(text.contains("Every promise of these modes was kept in 8 runs (0 vacuous)"), "{text}");
}

#[test]
fn groups_that_do_not_make_themselves_change_nothing() {
    let table = |makes: &str| {
        let key = format!("autoCreateTopicEnable={makes}\nautoCreateSubscriptionGroup={makes}\n");
        let files = [
            ("broker-a.properties", master("SYNC_MASTER", "SYNC_FLUSH") + &key),
            ("broker-a-s.properties", slave(1, "SYNC_FLUSH") + &key),
        ];
        let faults = ["--fault", "power_all", "--fault", "disk_master", "--seeds", "0..2"];
        conf(&files, &faults, 0, "")
    };
    // A setting more shifts every schedule a little: whether there is a figure counts.
    let is_figure = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
    let rough = |row: &str| -> String {
        let words = row.split_whitespace();
        words.map(|word| if is_figure(&word) && word != "0" { "n" } else { word }).collect()
    };
    let rows = |text: &str| rows_with(text, "  never ").map(rough).collect::<Vec<_>>();
    let (with, without) = (table("true"), table("false"));
    assert_eq!(rows(&with).len(), 3, "{with}");
    assert_eq!(rows(&with), rows(&without));
    assert!(without.contains("kept in 8 runs (0 vacuous)"), "{without}");
}

#[test]
fn a_store_path_from_the_start_directory_runs_like_any_other() {
    for (path, says) in [
        (
            "D:\\\\mq\\\\store",
            "D:\\mq\\store does not begin with /: it lies in the directory in which",
        ),
        ("~/store", "here as /start/~/store; ~ is not expanded"),
        ("data/store", "here as /start/data/store\n"),
    ] {
        let master = master("ASYNC_MASTER", "ASYNC_FLUSH") + &format!("storePathRootDir={path}\n");
        let args = ["--fault", "power_master", "--seeds", "0..2"];
        let text = conf(&[("broker-a.properties", master)], &args, 0, "");
        assert!(text.contains(says), "{text}");
        assert!(text.contains("(0 vacuous)"), "{text}");
    }
}

#[test]
fn a_sync_error_strikes_before_what_follows_it_however_seldom_a_disk_syncs() {
    let slow = "flushCommitLogLeastPages=6400\nflushCommitLogThoroughInterval=120000\n";
    let master = master("ASYNC_MASTER", "ASYNC_FLUSH") + slow;
    let args = ["--fault", "flush_error_master+power_master", "--seeds", "0..2"];
    let text = conf(&[("broker-a.properties", master)], &args, 0, "");
    assert!(text.contains("kept in 2 runs (0 vacuous)"), "{text}");
}

#[test]
fn the_tables_say_whose_they_are_and_what_upstream_would_do() {
    let args = ["--fault", "flush_error_master+power_master", "--seeds", "0..1"];
    let files = [("broker-a.properties", master("ASYNC_MASTER", "SYNC_FLUSH"))];
    let text = conf(&files, &args, 0, "");
    assert!(text.starts_with("What Staticfire's own engine loses on these files"), "{text}");
    let header = text.lines().find(|line| line.starts_with("  fault ")).expect("a header");
    assert!(header.contains("  promise  4.9  acked"), "{text}");
    let row = rows_with(&text, "never    may ").next();
    assert!(row.is_some(), "4.9 may lose: {text}");
}

#[test]
fn brokers_on_a_loopback_address_stand_on_one_machine() {
    let local =
        |file: String| file.replace("10.1.1.1:9876", "localhost:9876") + "brokerIP1=127.0.0.1\n";
    let master = local(broker(0, "SYNC_MASTER", "ASYNC_FLUSH"));
    let slave = local(broker(1, "SLAVE", "ASYNC_FLUSH"));
    let slave = slave + "listenPort=10921\nstorePathRootDir=/s\n";
    let files = [("broker-a.properties", master), ("broker-a-s.properties", slave)];
    let text = conf(&files, &["--fault", "kill_master", "--seeds", "0..2"], 0, "");
    assert!(text.contains("on 1 machine\n  10.100.0.1  namesrv   broker-a "), "{text}");
    assert!(text.contains("kept in 4 runs (0 vacuous)"), "{text}");
}
