//! The recorded bytes, see `tests/fixtures/README.md`.

use std::collections::BTreeMap;

use bytes::BytesMut;
use mq_protocol::codes::LanguageCode;
use mq_protocol::frame;
use mq_protocol::remoting_command::RemotingCommand;
use mq_tests::archive::gunzip;

/// Release of the recorded Java peers.
const JAVA_VERSION: i32 = 407;

/// One recorded frame and what was recorded about it.
pub(crate) struct Row {
    pub(crate) scenario: &'static str,
    pub(crate) conn: String,
    pub(crate) from_client: bool,
    pub(crate) code: i32,
    pub(crate) flag: i32,
    pub(crate) opaque: i32,
    pub(crate) serialize_type: u8,
    /// The request code, of responses too, if it is known.
    pub(crate) request_code: Option<i32>,
    pub(crate) frame: Vec<u8>,
}

impl Row {
    pub(crate) fn command(&self) -> RemotingCommand {
        let mut buf = BytesMut::from(&self.frame[..]);
        let command = frame::decode(&mut buf).unwrap().expect("a whole frame");
        assert!(buf.is_empty(), "{}: bytes behind the frame", self.label());
        command
    }

    pub(crate) fn is_response(&self) -> bool {
        self.flag & 1 != 0
    }

    /// Whether Java wrote the frame: all servers are Java.
    pub(crate) fn is_java(&self, command: &RemotingCommand) -> bool {
        !self.from_client || command.version == JAVA_VERSION || self.is_hand_made(command)
    }

    /// Whether the fields of the frame were chosen by hand, some of them wrong on purpose.
    pub(crate) fn is_hand_made(&self, command: &RemotingCommand) -> bool {
        self.from_client && command.version == 0 && command.language == LanguageCode::Java
    }

    pub(crate) fn label(&self) -> String {
        let kind = if self.is_response() { "response" } else { "request" };
        format!("{} {} {kind} {} opaque {}", self.scenario, self.conn, self.code, self.opaque)
    }
}

macro_rules! compressed_fixtures {
    ($folder:literal: $($name:literal)*) => {
        [$((
            $name,
            &include_bytes!(concat!("../../fixtures/", $folder, "/", $name, ".jsonl.gz"))[..],
        ),)*]
    };
}

/// Every recorded frame.
pub(crate) fn rows() -> Vec<Row> {
    let scenarios = compressed_fixtures!("wire":
        "acl-config-50-54" "acl-enforced" "broker-register" "broker-register-compressed"
        "errors-busy-flush" "errors-producer" "errors-raw" "java-acl" "java-admin-api"
        "java-compress" "java-litepull" "java-producer" "java-pull" "java-push-broadcast"
        "java-push-clustering" "java-push-orderly" "java-push-retry-dlq" "java-push-sql92"
        "java-request-reply" "java-transaction" "java-vip-channel" "mqadmin" "npm-ali-ons"
        "npm-rocketmq" "pypi-rocketmq" "serialize-binary-all" "serialize-binary-client"
        "slave-empty-log" "slave-requests" "slave-restart-nonempty" "sync-master-11-12-0"
    );
    let rows = scenarios.into_iter().flat_map(|(scenario, compressed)| {
        json_lines(compressed).into_iter().map(move |line| row(scenario, &line))
    });
    rows.collect()
}

fn row(scenario: &'static str, line: &serde_json::Value) -> Row {
    let number = |name: &str| line[name].as_i64().map(|number| i32::try_from(number).unwrap());
    let (code, flag) = (number("code").unwrap(), number("flag").unwrap());
    Row {
        scenario,
        conn: line["conn"].as_str().unwrap().to_owned(),
        from_client: line["from"] == "client",
        code,
        flag,
        opaque: number("opaque").unwrap(),
        serialize_type: u8::try_from(number("ser").unwrap()).unwrap(),
        request_code: if flag & 1 == 0 { Some(code) } else { number("req") },
        frame: unhex(line["hex"].as_str().unwrap()),
    }
}

/// Per scenario and connection what the slave and what the master sent.
pub(crate) fn replication_streams() -> BTreeMap<String, (Vec<u8>, Vec<u8>)> {
    let scenarios = compressed_fixtures!("ha":
        "broker-register-compressed" "serialize-binary-all" "slave-empty-log"
        "slave-restart-nonempty" "sync-master-11-12-0"
    );
    let mut streams: BTreeMap<String, (Vec<u8>, Vec<u8>)> = BTreeMap::new();
    for (scenario, compressed) in scenarios {
        for line in json_lines(compressed) {
            let connection = format!("{scenario} {}", line["conn"].as_str().unwrap());
            let (from_slave, from_master) = streams.entry(connection).or_default();
            let stream = if line["from"] == "slave" { from_slave } else { from_master };
            stream.extend(unhex(line["hex"].as_str().unwrap()));
        }
    }
    streams
}

pub(crate) fn json_lines(compressed: &[u8]) -> Vec<serde_json::Value> {
    let text = String::from_utf8(gunzip(compressed)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(super) fn unhex(text: &str) -> Vec<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16).unwrap() as u8;
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}
