//! [`Peer`]: a client in a process of its own, in Java (`java/Peer.java`) or in Rust (`tests/peer`), and
//! [`Cluster`]: a name server and a broker of either for such clients.
#![expect(clippy::disallowed_methods, reason = "other programs, and what they say")]
#![expect(clippy::print_stdout, reason = "for who reads the failure")]

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::broker_process::{BrokerProcess, BrokerSettings};
use crate::read_back::{client_of_started, signing_client_of_started};
use mq_client::{ClientInstance, SessionCredentials};
use mq_env::Env;
use mq_namesrv::NamesrvController;
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::header::admin::CreateTopicRequestHeader;
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{ProcessorTable, RemotingClient, RemotingClientConfig};
use mq_store::config::FlushDiskType;

use crate::rig::{mqbroker, name_server, program};
use crate::rocketmq::RocketMq;

/// Whose program a client or a broker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Language {
    /// Apache RocketMQ's.
    Java,
    /// Ours.
    Rust,
}

impl Language {
    /// Both of them.
    pub const BOTH: [Language; 2] = [Language::Java, Language::Rust];

    /// The one that it is not.
    pub fn other(self) -> Language {
        if self == Language::Java { Language::Rust } else { Language::Java }
    }
}

/// Time for what a peer is waited for: it may be Java, starting on a busy machine.
pub const SAID_WITHIN: Duration = Duration::from_secs(120);

/// A line that a peer said.
#[derive(Clone, Debug)]
pub struct Said {
    /// What kind of line it is.
    pub word: String,
    /// When it was said, by the machine's clock, in ms.
    pub at_ms: u64,
    /// What follows.
    pub fields: Vec<String>,
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
pub struct Got {
    /// When it was given, by the machine's clock, in ms.
    pub at_ms: u64,
    /// Its topic, a retry topic's own.
    pub topic: String,
    /// Its queue.
    pub queue_id: i32,
    /// Its place there.
    pub queue_offset: i64,
    /// How often it was given back.
    pub reconsume_times: i32,
    /// Its body as text.
    pub body: String,
    /// In the form of the wire.
    pub properties: String,
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
pub struct Peer {
    /// The name of its instance.
    pub name: String,
    child: Child,
    said: Arc<Mutex<Vec<Said>>>,
    /// Ends with what the process says.
    reader: Option<std::thread::JoinHandle<()>>,
    log: PathBuf,
}

impl Peer {
    /// Runs `command`. What it complains of goes to a file in `dir`.
    pub fn run(mut command: Command, name: &str, dir: &Path) -> Peer {
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
    pub fn said(&self) -> Vec<Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The lines with `word`.
    pub fn said_of(&self, word: &str) -> Vec<Said> {
        self.said().into_iter().filter(|said| said.word == word).collect()
    }

    /// The messages that it was given.
    pub fn got(&self) -> Vec<Got> {
        self.said_of("got").iter().map(Got::of).collect()
    }

    /// Waits until it has said enough.
    ///
    /// # Panics
    /// When it ends before, or does not within [`SAID_WITHIN`].
    pub async fn until(&mut self, what: &str, enough: impl Fn(&Peer) -> bool) {
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
    pub async fn until_said(&mut self, word: &str, count: usize) -> Vec<Said> {
        self.until(word, |peer| peer.said_of(word).len() >= count).await;
        self.said_of(word)
    }

    /// `kill -9`; returns when, in ms, and what it had said by then.
    pub fn kill(&mut self) -> u64 {
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
    pub async fn leave(&mut self) {
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

/// The name server of a [`Cluster`].
enum NameServer {
    Ours(NamesrvController),
    Java(BrokerProcess),
}

/// A name server and one broker, for peers.
pub struct Cluster {
    /// Whose the broker is.
    pub broker_language: Language,
    /// The name server.
    pub namesrv_addr: String,
    /// A client of ours in this process.
    pub client: ClientInstance,
    rocketmq: Option<RocketMq>,
    settings: BrokerSettings,
    broker: BrokerProcess,
    namesrv: NameServer,
    remoting: RemotingClient,
    dir: tempfile::TempDir,
}

impl Cluster {
    /// A name server of ours and a broker in `language` with `more` lines of configuration, once it serves.
    pub async fn start(rocketmq: &RocketMq, language: Language, more: &[&str]) -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        let (namesrv, addr) = name_server(dir.path()).await;
        let namesrv = (NameServer::Ours(namesrv), addr);
        Cluster::serve(dir, namesrv, language, Some(rocketmq), more).await
    }

    /// Both servers of one make: Java's with `rocketmq`, else ours.
    pub async fn of(rocketmq: Option<&RocketMq>, more: &[&str]) -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        let (namesrv, language) = match rocketmq {
            Some(rocketmq) => {
                let (namesrv, addr) = rocketmq.name_server(dir.path());
                ((NameServer::Java(namesrv), addr), Language::Java)
            }
            None => {
                let (namesrv, addr) = name_server(dir.path()).await;
                ((NameServer::Ours(namesrv), addr), Language::Rust)
            }
        };
        Cluster::serve(dir, namesrv, language, rocketmq, more).await
    }

    async fn serve(
        dir: tempfile::TempDir,
        (namesrv, namesrv_addr): (NameServer, String),
        language: Language,
        rocketmq: Option<&RocketMq>,
        more: &[&str],
    ) -> Cluster {
        let mut settings =
            BrokerSettings::small(dir.path(), &namesrv_addr, FlushDiskType::AsyncFlush);
        settings.more.retain(|line| !line.starts_with("mappedFileSize"));
        let sizes = ["mappedFileSizeCommitLog=16777216", "mappedFileSizeConsumeQueue=600000"];
        settings.more.extend(sizes.iter().chain(more).map(|&line| line.to_owned()));
        let mut broker = start_broker(language, rocketmq, &settings);
        let client = client_of_started(&mut broker, &namesrv_addr).await;
        let config = RemotingClientConfig::default();
        let remoting = RemotingClient::new(Env::os(), config, ProcessorTable::default());
        let rocketmq = rocketmq.cloned();
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

    /// Where peers may keep files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// `kill -9` of the broker, which is then started again and waited for.
    pub async fn kill_and_restart(&mut self) {
        self.restart(None).await;
    }

    /// The same, and from then on the broker serves only who has an account: `accounts` is the text of
    /// `plain_acl.yml`, and `own` one of them, for this cluster's own client.
    pub async fn guard(&mut self, accounts: &str, own: SessionCredentials) {
        // Java's home is in its environment, ours in its configuration.
        let home = self.dir.path().join("home");
        let disk = Env::os().disk;
        disk.create_dir_all(&home.join("conf")).unwrap();
        disk.write(&home.join("conf/plain_acl.yml"), accounts.as_bytes()).unwrap();
        let home = format!("rocketmqHome={}", home.display());
        self.settings.more.extend([home, "aclEnable=true".to_owned()]);
        self.restart(Some(own)).await;
    }

    async fn restart(&mut self, own: Option<SessionCredentials>) {
        let (language, rocketmq) = (self.broker_language, self.rocketmq.as_ref());
        self.broker.kill_in_place();
        self.broker = start_broker(language, rocketmq, &self.settings);
        self.client.shutdown().await;
        let started = signing_client_of_started(&mut self.broker, &self.namesrv_addr, own);
        self.client = started.await;
    }

    /// Makes a topic with so many queues, and waits until it has a route.
    pub async fn create_topic(&self, topic: &str, queue_nums: i32) {
        let header = CreateTopicRequestHeader::new(topic, queue_nums);
        let request = RemotingCommand::request(RequestCode::UPDATE_AND_CREATE_TOPIC, &header);
        let addr = format!("127.0.0.1:{}", self.settings.listen_port);
        let reply = self.remoting.invoke(&addr, request, Duration::from_secs(20)).await.unwrap();
        assert_eq!(reply.code, ResponseCode::SUCCESS, "{:?}", reply.remark);
        let topics = std::collections::BTreeSet::from([topic.to_owned()]);
        assert!(crate::read_back::read_all(&self.client, &topics).await.is_empty());
    }

    /// A client that does `mode` with `args`; its name is that of its instance.
    pub fn peer(&self, language: Language, mode: &str, name: &str, args: &[&str]) -> Peer {
        self.run(language, mode, name, args, false)
    }

    /// As [`Cluster::peer`], for what is measured.
    pub fn warm_peer(&self, language: Language, mode: &str, name: &str, args: &[&str]) -> Peer {
        self.run(language, mode, name, args, true)
    }

    fn run(&self, language: Language, mode: &str, name: &str, args: &[&str], warm: bool) -> Peer {
        let mut command = match language {
            Language::Java => {
                let rocketmq = self.rocketmq.as_ref().expect("Java's client needs RocketMQ");
                rocketmq.peer(self.dir.path(), warm)
            }
            Language::Rust => Command::new(program("peer")),
        };
        command.arg(mode).arg(format!("namesrv={}", self.namesrv_addr));
        command.arg(format!("instance={name}")).args(args);
        Peer::run(command, name, self.dir.path())
    }

    /// Ends all of it.
    pub async fn stop(self) {
        self.client.shutdown().await;
        self.remoting.shutdown().await;
        self.broker.terminate();
        match self.namesrv {
            NameServer::Ours(namesrv) => namesrv.shutdown().await,
            NameServer::Java(namesrv) => drop(namesrv.terminate()),
        }
    }
}

/// A broker in `language`, Java's with `rocketmq`.
fn start_broker(
    language: Language,
    rocketmq: Option<&RocketMq>,
    settings: &BrokerSettings,
) -> BrokerProcess {
    match language {
        Language::Java => rocketmq.expect("Java's broker needs RocketMQ").broker(settings),
        Language::Rust => BrokerProcess::start(mqbroker(), settings),
    }
}
