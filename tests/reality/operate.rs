//! `mqbroker` as operators handle it: `--check`, logs in files.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Output};

use mq_store::config::FlushDiskType;
use mq_tests::broker_process::{BrokerProcess, BrokerSettings};
use mq_tests::read_back::client_of_started;

use mq_tests::rig::{mqbroker, name_server};

#[expect(clippy::disallowed_methods, reason = "the program itself")]
fn check(settings: &BrokerSettings) -> (Option<i32>, String, String) {
    let path = settings.write();
    let Output { status, stdout, stderr } =
        Command::new(mqbroker()).args(["--check", "-c"]).arg(&path).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap().replace(path.to_str().unwrap(), "FILE");
    (status.code(), text(stdout), text(stderr))
}

fn settings(dir: &Path) -> BrokerSettings {
    BrokerSettings::small(dir, "127.0.0.1:1", FlushDiskType::AsyncFlush)
}

#[expect(clippy::disallowed_methods, reason = "tests look at files")]
fn is_there(path: &Path) -> bool {
    path.exists()
}

#[test]
fn a_check_says_every_mistake_with_its_line_and_makes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    let (code, printed, said) = check(&settings);
    assert_eq!((code, said.as_str()), (Some(0), ""), "{printed}");
    assert!(!printed.contains("error: "), "{printed}");

    settings.more = ["brokerRoel=SLAVE", "fileReservedTime=never", "flushDiskType=SINK"]
        .map(str::to_owned)
        .to_vec();
    let (code, printed, said) = check(&settings);
    assert_eq!(code, Some(64), "{printed}");
    assert!(said.contains("FILE is not fit to start: 2 error(s)"), "{said}");
    for (severity, place, suggestion) in [
        ("error", "FILE:13: ", ""),
        ("error", "FILE:14: ", ""),
        ("warning", "FILE:12: ", "brokerRole?"),
    ] {
        let line = printed.lines().find(|it| it.starts_with(&format!("{severity}: {place}")));
        assert!(line.is_some_and(|line| line.ends_with(suggestion)), "{place} in {printed}");
    }
    assert!(!is_there(&settings.store_dir), "nothing was made");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "ports of this machine, and a file in the way")]
fn a_check_looks_at_ports_and_directories() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.more.push(format!("metricsListenPort={}", settings.listen_port + 1));
    let (code, printed, _) = check(&settings);
    let twice = format!("error: port {} is to serve two purposes", settings.listen_port + 1);
    assert!(code == Some(64) && printed.contains(&twice), "{printed}");
    settings.more.pop();

    let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, settings.listen_port + 1)).unwrap();
    let (code, printed, _) = check(&settings);
    assert_eq!(code, Some(1), "{printed}");
    let own = format!("process {} (", std::process::id());
    let lines = printed.lines().filter(|line| line.starts_with("error: ")).collect::<Vec<_>>();
    assert_eq!(lines.len(), 1, "{printed}");
    assert!(
        lines[0].contains("replication (listenPort + 1)") && lines[0].contains(&own),
        "{printed}"
    );
    drop(taken);

    std::fs::write(&settings.store_dir, "a file").unwrap();
    let (code, printed, _) = check(&settings);
    assert_eq!(code, Some(1), "{printed}");
    let wanted =
        format!("error: storePathRootDir: {} cannot be written", settings.store_dir.display());
    assert!(printed.contains(&wanted) && printed.contains("move it away"), "{printed}");
    assert_eq!(std::fs::read_to_string(&settings.store_dir).unwrap(), "a file");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the program itself, and a file in the way")]
fn a_store_that_cannot_be_made_is_told_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path());
    std::fs::write(&settings.store_dir, "a file").unwrap();
    let output = Command::new(mqbroker()).arg("-c").arg(settings.write()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let store = format!("mqbroker: the store {} cannot be opened: ", settings.store_dir.display());
    let last = said.lines().last().unwrap();
    assert!(last.starts_with(&store), "{said}");
    let advice =
        "; a file is where a directory should be: move it away, or set another storePathRootDir";
    assert!(last.ends_with(advice), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "the program itself, and its files")]
async fn a_log_is_written_into_files_where_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (namesrv, namesrv_addr) = name_server(dir.path()).await;
    let settings = BrokerSettings::small(dir.path(), &namesrv_addr, FlushDiskType::AsyncFlush);
    let logs = dir.path().join("logs");
    let mut command = Command::new(mqbroker());
    command.arg("-c").arg(settings.write()).arg("--log-dir").arg(&logs);
    let mut broker = BrokerProcess::run(command, dir.path().join("said.log"));
    let client = client_of_started(&mut broker, &namesrv_addr).await;
    client.shutdown().await;
    // What was found of a store that is in use changes nothing of it.
    let before = std::fs::read_dir(&settings.store_dir).unwrap().count();
    assert_eq!(check(&settings).0, Some(1));
    assert_eq!(std::fs::read_dir(&settings.store_dir).unwrap().count(), before);
    broker.stop();
    namesrv.shutdown().await;
    let log = std::fs::read_to_string(logs.join("broker.log")).unwrap();
    let port = settings.listen_port;
    for line in [
        format!("boot success, as ASYNC_MASTER of the store {}", settings.store_dir.display()),
        format!("at ports {}, {port}, {}", port - 2, port + 1),
        format!("registered at {namesrv_addr}"),
        "is stopping".to_owned(),
        "has stopped".to_owned(),
    ] {
        assert!(log.contains(&line), "{line} in {log}");
    }
    assert!(!log.contains('\u{1b}'), "{log}");
    let said = std::fs::read_to_string(dir.path().join("said.log")).unwrap();
    assert!(said.contains("has stopped"), "what runs in a terminal is seen there as well");
    let (code, printed, _) = check(&settings);
    assert_eq!(code, Some(0), "a store that was closed is fit to start: {printed}");
}
