//! [`Peer`]: a client in a process of its own, in Java (`java/Peer.java`) or in Rust (`tests/peer`), and
//! [`Cluster`]: a name server and a broker of either for such clients.
#![expect(clippy::disallowed_methods, reason = "other programs, and what they say")]

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mq_client::ClientInstance;
use mq_env::Env;
use mq_namesrv::NamesrvController;
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::header::admin::CreateTopicRequestHeader;
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{ProcessorTable, RemotingClient, RemotingClientConfig};
use mq_store::config::FlushDiskType;
use mq_tests::broker_process::{BrokerProcess, BrokerSettings};
use mq_tests::read_back::client_of_started;

use crate::rig::{mqbroker, name_server};
use crate::rocketmq::RocketMq;

/// Whose program a client or a broker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Language {
    Java,
    Rust,
}

impl Language {
    pub(crate) const BOTH: [Language; 2] = [Language::Java, Language::Rust];

    pub(crate) fn other(self) -> Language {
        if self == Language::Java { Language::Rust } else { Language::Java }
    }
}

/// Time for what a peer is waited for: it may be Java, starting on a busy machine.
pub(crate) const SAID_WITHIN: Duration = Duration::from_secs(120);

/// A line that a peer said.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    /// What kind of line it is.
    pub(crate) word: String,
    /// When it was said, by the machine's clock, in ms.
    pub(crate) at_ms: u64,
    /// What follows.
    pub(crate) fields: Vec<String>,
}

impl Said {
    /// `None` for what is not meant for the test: Java's client logs to standard output as it ends.
    fn of(line: &str) -> Option<Said> {
        let mut fields = line.split('\t').map(str::to_owned);
        let word = fields.next()?;
        let at_ms = fields.next()?.parse().ok()?;
        Some(Said { word, at_ms, fields: fields.collect() })
    }
}

/// A message as a peer was given it.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) at_ms: u64,
    pub(crate) topic: String,
    pub(crate) queue_id: i32,
    pub(crate) queue_offset: i64,
    pub(crate) reconsume_times: i32,
    pub(crate) body: String,
    /// In the form of the wire.
    pub(crate) properties: String,
}

impl Got {
    fn of(said: &Said) -> Got {
        let field = |index: usize| said.fields[index].clone();
        Got {
            at_ms: said.at_ms,
            topic: field(0),
            queue_id: field(1).parse().unwrap(),
            queue_offset: field(2).parse().unwrap(),
            reconsume_times: field(3).parse().unwrap(),
            body: field(4),
            properties: field(5),
        }
    }
}

/// A client as a process. Dropping it kills it.
pub(crate) struct Peer {
    pub(crate) name: String,
    child: Child,
    said: Arc<Mutex<Vec<Said>>>,
    /// Ends with what the process says.
    reader: Option<std::thread::JoinHandle<()>>,
    log: PathBuf,
}

impl Peer {
    /// Runs `command`. What it complains of goes to a file in `dir`.
    pub(crate) fn run(mut command: Command, name: &str, dir: &Path) -> Peer {
        let log = dir.join(format!("{name}.log"));
        let sink = OpenOptions::new().create(true).append(true).open(&log).unwrap();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(sink);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let out = BufReader::new(child.stdout.take().unwrap());
        let said = Arc::<Mutex<Vec<Said>>>::default();
        let heard = Arc::clone(&said);
        let reader = std::thread::spawn(move || {
            // A process that is killed may end amid a line.
            let mut out = out;
            let mut line = String::new();
            while out.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                if let Some(said) = line.strip_suffix('\n').and_then(Said::of) {
                    heard.lock().unwrap_or_else(PoisonError::into_inner).push(said);
                }
                line.clear();
            }
        });
        Peer { name: name.to_owned(), child, said, reader: Some(reader), log }
    }

    /// Everything that it said so far.
    pub(crate) fn said(&self) -> Vec<Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The lines with `word`.
    pub(crate) fn said_of(&self, word: &str) -> Vec<Said> {
        self.said().into_iter().filter(|said| said.word == word).collect()
    }

    /// The messages that it was given.
    pub(crate) fn got(&self) -> Vec<Got> {
        self.said_of("got").iter().map(Got::of).collect()
    }

    /// Waits until it has said enough.
    ///
    /// # Panics
    /// When it ends before, or does not within [`SAID_WITHIN`].
    pub(crate) async fn until(&mut self, what: &str, enough: impl Fn(&Peer) -> bool) {
        let deadline = tokio::time::Instant::now() + SAID_WITHIN;
        while !enough(self) {
            let ended = self.child.try_wait().unwrap();
            if let Some(status) = ended {
                self.hear_out();
                assert!(enough(self), "{} ended with {status} before {what}", self.name);
                return;
            }
            let in_time = tokio::time::Instant::now() < deadline;
            assert!(in_time, "{}: {what} in vain; it said {:#?}", self.name, self.said());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until it has said `word` so often.
    pub(crate) async fn until_said(&mut self, word: &str, count: usize) -> Vec<Said> {
        self.until(word, |peer| peer.said_of(word).len() >= count).await;
        self.said_of(word)
    }

    /// `kill -9`; returns when, in ms, and what it had said by then.
    pub(crate) fn kill(&mut self) -> u64 {
        self.child.kill().unwrap();
        let killed_ms = Env::os().clock.now_millis();
        self.child.wait().unwrap();
        self.hear_out();
        killed_ms
    }

    /// Has it leave in order, and waits for that.
    ///
    /// # Panics
    /// When it does not end with success.
    pub(crate) async fn leave(&mut self) {
        drop(self.child.stdin.take());
        self.until_said("left", 1).await;
        let status = self.child.wait().unwrap();
        self.hear_out();
        assert!(status.success(), "{} ended with {status}", self.name);
    }

    fn hear_out(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Both fail when the process has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let text = std::fs::read_to_string(&self.log).unwrap_or_default();
            println!("what {} complained of:\n{text}", self.name);
        }
    }
}

/// A name server of ours and one broker, for peers.
pub(crate) struct Cluster {
    pub(crate) broker_language: Language,
    pub(crate) namesrv_addr: String,
    /// A client of ours in this process.
    pub(crate) client: ClientInstance,
    rocketmq: RocketMq,
    settings: BrokerSettings,
    broker: BrokerProcess,
    namesrv: NamesrvController,
    remoting: RemotingClient,
    dir: tempfile::TempDir,
}

impl Cluster {
    /// A broker in `language` with `more` lines of configuration, once it serves.
    pub(crate) async fn start(rocketmq: &RocketMq, language: Language, more: &[&str]) -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        let (namesrv, namesrv_addr) = name_server(dir.path()).await;
        let mut settings =
            BrokerSettings::small(dir.path(), &namesrv_addr, FlushDiskType::AsyncFlush);
        settings.more.retain(|line| !line.starts_with("mappedFileSize"));
        let sizes = ["mappedFileSizeCommitLog=16777216", "mappedFileSizeConsumeQueue=600000"];
        settings.more.extend(sizes.iter().chain(more).map(|&line| line.to_owned()));
        let mut broker = match language {
            Language::Java => rocketmq.broker(&settings),
            Language::Rust => BrokerProcess::start(mqbroker(), &settings),
        };
        let client = client_of_started(&mut broker, &namesrv_addr).await;
        let config = RemotingClientConfig::default();
        let remoting = RemotingClient::new(Env::os(), config, ProcessorTable::default());
        let rocketmq = rocketmq.clone();
        Cluster {
            broker_language: language,
            namesrv_addr,
            client,
            rocketmq,
            settings,
            broker,
            namesrv,
            remoting,
            dir,
        }
    }

    /// Makes a topic with so many queues, and waits until it has a route.
    pub(crate) async fn create_topic(&self, topic: &str, queue_nums: i32) {
        let header = CreateTopicRequestHeader::new(topic, queue_nums);
        let request = RemotingCommand::request(RequestCode::UPDATE_AND_CREATE_TOPIC, &header);
        let addr = format!("127.0.0.1:{}", self.settings.listen_port);
        let reply = self.remoting.invoke(&addr, request, Duration::from_secs(20)).await.unwrap();
        assert_eq!(reply.code, ResponseCode::SUCCESS, "{:?}", reply.remark);
        let topics = std::collections::BTreeSet::from([topic.to_owned()]);
        assert!(mq_tests::read_back::read_all(&self.client, &topics).await.is_empty());
    }

    /// A client that does `mode` with `args`; its name is that of its instance.
    pub(crate) fn peer(&self, language: Language, mode: &str, name: &str, args: &[&str]) -> Peer {
        self.run(language, mode, name, args, false)
    }

    /// As [`Cluster::peer`], for what is measured.
    pub(crate) fn warm_peer(
        &self,
        language: Language,
        mode: &str,
        name: &str,
        args: &[&str],
    ) -> Peer {
        self.run(language, mode, name, args, true)
    }

    fn run(&self, language: Language, mode: &str, name: &str, args: &[&str], warm: bool) -> Peer {
        let mut command = match language {
            Language::Java => self.rocketmq.peer(self.dir.path(), warm),
            Language::Rust => Command::new(env!("CARGO_BIN_EXE_peer")),
        };
        command.arg(mode).arg(format!("namesrv={}", self.namesrv_addr));
        command.arg(format!("instance={name}")).args(args);
        Peer::run(command, name, self.dir.path())
    }

    /// Ends all of it.
    pub(crate) async fn stop(self) {
        self.client.shutdown().await;
        self.remoting.shutdown().await;
        self.broker.terminate();
        self.namesrv.shutdown().await;
    }
}
