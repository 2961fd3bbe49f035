//! What `mqbroker` says when it does not start, and how it ends.
#![expect(clippy::disallowed_methods, reason = "the program itself, and ports of this machine")]

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};

use mq_store::config::FlushDiskType;
use mq_tests::broker_process::{BrokerProcess, BrokerSettings, free_port};
use mq_tests::read_back::client_of_started;

use mq_tests::rig::{mqbroker, name_server};

/// A broker without name server in `dir`.
fn settings(dir: &Path) -> BrokerSettings {
    BrokerSettings::small(dir, "127.0.0.1:1", FlushDiskType::AsyncFlush)
}

/// Runs `mqbroker` to its end.
fn run(args: &[&str]) -> Output {
    Command::new(mqbroker()).args(args).output().unwrap()
}

/// Its exit code and the last line of what it says.
fn ends(settings: &BrokerSettings) -> (Option<i32>, String) {
    let path = settings.write();
    let output = run(&["-c", path.to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!said.contains('\u{1b}'), "no colours where nobody sees them: {said}");
    (output.status.code(), said.lines().last().unwrap_or_default().to_owned())
}

#[test]
fn a_protection_that_is_not_there_refuses_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.more.push("authorizationEnabled=true".to_owned());
    let (code, said) = ends(&settings);
    assert_eq!(code, Some(64), "{said}");
    let wanted = "authorizationEnabled = true asks for the access control of RocketMQ 5, which is not there: every \
                  client could read, write and administer everything; the broker does not start";
    assert!(said.starts_with("mqbroker: ") && said.ends_with(wanted), "{said}");
    assert!(!settings.store_dir.join("lock").exists(), "nothing was written");
}

#[test]
fn access_control_without_accounts_refuses_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.more.push("aclEnable=true".to_owned());
    settings.more.push(format!("rocketmqHome={}", dir.path().display()));
    let (code, said) = ends(&settings);
    assert_eq!(code, Some(64), "{said}");
    let file = dir.path().join("conf/plain_acl.yml");
    let wanted = format!(
        "mqbroker: aclEnable=true, but {} cannot be read: No such file or directory (os error 2); without accounts \
         the broker does not start",
        file.display()
    );
    assert_eq!(said, wanted);
    assert!(!settings.store_dir.join("lock").exists(), "nothing was written");
}

#[test]
fn bad_input_is_told_from_a_fault() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.more.push("brokerRole=SLAVER".to_owned());
    let (code, said) = ends(&settings);
    assert!(code == Some(64) && said.contains("brokerRole"), "{code:?} {said}");
    let missing = run(&["-c", "/nowhere/broker.conf"]);
    assert_eq!(missing.status.code(), Some(64));
    assert!(
        String::from_utf8(missing.stderr).unwrap().contains("/nowhere/broker.conf cannot be read")
    );
    assert_eq!(run(&["--nonsense"]).status.code(), Some(64));
    assert_eq!(run(&["--help"]).status.code(), Some(0));
}

#[test]
fn without_a_file_all_keys_have_their_defaults_and_are_printed() {
    let all = run(&["-n", "127.0.0.1:9876", "-p"]);
    assert_eq!(all.status.code(), Some(0));
    let all = String::from_utf8(all.stdout).unwrap();
    for line in ["namesrvAddr=127.0.0.1:9876", "listenPort=10911", "slaveTimeout=3000"] {
        assert!(all.lines().any(|printed| printed == line), "{line} in {all}");
    }
    let important = String::from_utf8(run(&["-n", "127.0.0.1:9876", "-m"]).stdout).unwrap();
    assert!(
        important.contains("namesrvAddr=127.0.0.1:9876") && !important.contains("slaveTimeout")
    );
}

#[test]
fn a_taken_port_is_named_with_its_use() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path());
    for (offset, purpose) in
        [(0, "clients (listenPort)"), (-2, "(listenPort - 2)"), (1, "replication")]
    {
        let port = settings.listen_port.checked_add_signed(offset).unwrap();
        let _taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
        let (code, said) = ends(&settings);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&format!("port {port} cannot be listened on")), "{said}");
        assert!(said.contains(purpose), "{said}");
        let own = format!("; process {} (", std::process::id());
        assert!(said.contains(&own) && said.ends_with(" listens there"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_in_use_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (namesrv, namesrv_addr) = name_server(dir.path()).await;
    let first = BrokerSettings::small(dir.path(), &namesrv_addr, FlushDiskType::AsyncFlush);
    let mut broker = BrokerProcess::start(mqbroker(), &first);
    let client = client_of_started(&mut broker, &namesrv_addr).await;
    let second = BrokerSettings { listen_port: free_port(), ..first };
    let (code, said) = ends(&second);
    assert_eq!(code, Some(1), "{said}");
    let store =
        format!("Lock failed, MQ already started: the store {} is", second.store_dir.display());
    let holder = format!(" in use by process {} (mqbroker-under-)", broker.id());
    assert!(said.contains(&store) && said.contains(&holder), "{said}");
    assert!(said.contains("storePathRootDir"), "{said}");
    let checked = run(&["-c", second.write().to_str().unwrap(), "--check"]);
    assert_eq!(checked.status.code(), Some(1));
    assert!(String::from_utf8(checked.stdout).unwrap().contains(&holder));
    client.shutdown().await;
    broker.stop();
    namesrv.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_is_reached_by_ipv6_where_the_machine_has_it() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        println!("SKIP: IPv6: this machine has none");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (namesrv, namesrv_addr) = name_server(dir.path()).await;
    let mut settings = BrokerSettings::small(dir.path(), &namesrv_addr, FlushDiskType::AsyncFlush);
    settings.more.push("brokerIP1=::1".to_owned());
    let mut broker = BrokerProcess::start(mqbroker(), &settings);
    // It is asked for a queue at the address that it advertises.
    let client = client_of_started(&mut broker, &namesrv_addr).await;
    for port in [settings.listen_port - 2, settings.listen_port, settings.listen_port + 1] {
        TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    }
    client.shutdown().await;
    broker.stop();
    namesrv.shutdown().await;
}
