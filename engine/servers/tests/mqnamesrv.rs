//! `mqnamesrv` as operators start it: what it takes, what it says, how it ends.
#![expect(clippy::unwrap_used, reason = "in fixtures of tests a panic is the right end")]
#![expect(clippy::disallowed_methods, reason = "the program itself, and ports of this machine")]

use std::io::{Read, Write};
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use mq_env::Env;

fn mqnamesrv(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqnamesrv"));
    command.args(args).stdin(Stdio::null());
    command
}

/// Exit code, standard output, standard error.
fn ended(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn write(path: &Path, text: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _inside = runtime.enter();
    Env::os().disk.write(path, text.as_bytes()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_bare_p_prints_the_configuration_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(
        &dir.path().join("n.properties"),
        "listenPort=7\nkvConfigPath=/kv.json\ntls.server.mode=enforcing\n",
    );
    let (code, printed, said) = ended(&mqnamesrv(&["-c", &file, "-p"]).output().unwrap());
    assert_eq!((code, said.as_str()), (0, ""));
    assert!(printed.starts_with("listenPort=7\nkvConfigPath=/kv.json\n"), "{printed}");
    assert!(printed.contains("\nserverConnectionsMax=16384\n"), "{printed}");
    assert!(printed.contains("\ntls.server.mode=enforcing\n"), "{printed}");
}

#[test]
fn mistakes_are_told_in_sentences_and_by_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(&dir.path().join("n.properties"), "# a port\nlistenPort=abc\n");
    let (code, _, said) = ended(&mqnamesrv(&["-c", &file]).output().unwrap());
    let line = format!("configuration file {file}, line 2: listenPort = \"abc\" is no port number");
    assert_eq!((code, said), (64, format!("mqnamesrv: {line}\n")));
    let (code, _, said) = ended(&mqnamesrv(&["-c", "/no/such/file"]).output().unwrap());
    assert_eq!(code, 64);
    assert!(said.contains("configuration file /no/such/file cannot be read"), "{said}");
    assert_eq!(ended(&mqnamesrv(&["-x"]).output().unwrap()).0, 64);
    assert_eq!(ended(&mqnamesrv(&["-h"]).output().unwrap()).0, 0);

    let taken = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0))
        .or_else(|_| TcpListener::bind("0.0.0.0:0"))
        .unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, _, said) = ended(&mqnamesrv(&["-p", &port]).output().unwrap());
    assert_eq!(code, 1);
    assert!(said.contains(&format!("port {port} cannot be listened on")), "{said}");
    assert!(said.contains("another process listens there"), "{said}");
}

#[test]
fn a_protection_that_is_not_there_refuses_the_start() {
    let dir = tempfile::tempdir().unwrap();
    for key in ["TLS.server.mode=enforcing", "authenticationEnabled=true", "aclEnable=true"] {
        let file = write(&dir.path().join("n.properties"), &format!("listenPort=7\n{key}\n"));
        let (code, _, said) = ended(&mqnamesrv(&["-c", &file]).output().unwrap());
        assert_eq!(code, 64, "{key}");
        assert!(said.contains("line 2: ") && said.contains("does not have"), "{said}");
    }
}

#[test]
fn tls_that_cannot_be_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("n.properties");
    for (lines, wanted) in [
        (
            "tls.server.mode=strict",
            ":2: tls.server.mode = strict is no mode; allowed: disabled, permissive, enforcing",
        ),
        (
            "tls.server.certPath=/no/cert.pem\ntls.server.keyPath=/no/key.pem",
            "/no/cert.pem cannot be used for TLS: No such file or directory (os error 2)",
        ),
    ] {
        let file = write(&path, &format!("listenPort=0\n{lines}\n"));
        let (code, _, said) = ended(&mqnamesrv(&["-c", &file]).output().unwrap());
        assert!(code == 64 && said.contains(wanted), "{code} {said}");
    }
}

#[test]
fn a_check_says_everything_and_makes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("n.properties");
    let kv = dir.path().join("kv/kvConfig.json");
    let checked = |lines: &str| {
        let places = format!("kvConfigPath={}\nlistenPort=0\n", kv.display());
        let file = write(&path, &format!("{places}{lines}\n"));
        let (code, printed, said) = ended(&mqnamesrv(&["-c", &file, "--check"]).output().unwrap());
        (code, printed.replace(&file, "FILE"), said)
    };
    assert_eq!(checked("orderMessageEnable=true"), (0, String::new(), String::new()));
    let (code, printed, said) =
        checked("kvConfigBytesMax=x\nlistenPort=y\nmetricListenPort=1\naclEnable=true");
    assert_eq!((code, said.contains("3 error(s)")), (64, true), "{said}");
    for line in [
        "error: configuration file FILE, line 3: kvConfigBytesMax = \"x\" is no number from 0 up",
        "error: configuration file FILE, line 4: listenPort = \"y\" is no port number",
        "warning: configuration file FILE, line 5: metricListenPort has no effect here; metricsListenPort?",
    ] {
        assert!(printed.lines().any(|it| it == line), "{line} in {printed}");
    }
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let (code, printed, _) = checked(&format!("metricsListenPort={port}"));
    let wanted = format!("error: port {port} cannot be listened on (Address already in use");
    assert!(code == 1 && printed.starts_with(&wanted), "{printed}");
    assert!(printed.contains(&format!("process {}", std::process::id())), "{printed}");
    assert!(!kv.parent().unwrap().exists());
}

/// Status and body of what the port of metrics answers.
fn asked(port: u16, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[test]
fn a_service_manager_is_told_and_watchers_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    let hear = || {
        let mut bytes = [0; 512];
        let len = manager.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..len].to_vec()).unwrap()
    };
    let port = TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
    let kv = dir.path().join("kv.json").display().to_string();
    let file = write(
        &dir.path().join("n.properties"),
        &format!("listenPort=0\nkvConfigPath={kv}\nmetricsListenPort={port}\n"),
    );
    let logs = dir.path().join("logs");
    let args =
        ["-c", &file, "--log-dir", logs.to_str().unwrap(), "--log-level", "warn,mqnamesrv=info"];
    let mut command = mqnamesrv(&args);
    let mut child = command.env("NOTIFY_SOCKET", &socket).stderr(Stdio::null()).spawn().unwrap();
    assert!(hear().starts_with("READY=1\nSTATUS=serves at "));
    let ready = (
        "HTTP/1.1 200 OK".to_owned(),
        "{\"ok\":true,\"role\":\"NAMESRV\",\"reasons\":[]}\n".to_owned(),
    );
    assert_eq!(asked(port, "/ready"), ready);
    let (status, figures) = asked(port, "/metrics");
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(figures.contains("\nrocketmq_namesrv_brokers 0.0\n"), "{figures}");
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert_eq!(hear().trim_end(), "STOPPING=1");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let log = std::fs::read_to_string(logs.join("namesrv.log")).unwrap();
    assert!(log.contains("boot success") && log.contains("has stopped"), "{log}");
    assert!(!log.contains("(metricsListenPort)"), "the library says nothing below warn: {log}");
}

#[test]
fn it_serves_until_it_is_told_to_stop_and_writes_no_colours_into_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let kv = dir.path().join("kv.json").display().to_string();
    let file = write(
        &dir.path().join("n.properties"),
        &format!("listenPort=0\nkvConfigPath={kv}\nclusterTest=false\n"),
    );
    let args = ["-n", "127.0.0.1:9876", "-c", &file];
    let mut child = mqnamesrv(&args).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    let mut said = Vec::new();
    while !said.last().is_some_and(|line: &String| line.contains("boot success")) {
        said.push(lines.next().unwrap().unwrap());
    }
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    said.extend(lines.map(Result::unwrap));
    let said = said.join("\n");
    assert!(said.contains(&format!("{file}, line 3: clusterTest has no effect here")), "{said}");
    assert!(said.contains("The Name Server is stopping"), "{said}");
    assert!(!said.contains('\u{1b}'), "{said}");
}
