//! The console as it is met: `mqadmin console` and a broker as processes, and the page in a browser. What comes from the
//! cluster is markup wherever it can be, and must be shown as text.
#![expect(clippy::disallowed_methods, reason = "a browser is another program")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use mq_client::{Producer, ProducerConfig};
use mq_env::Env;
use mq_protocol::body::topic_config::{RegisterBrokerBody, TopicConfig};
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::header::namesrv::RegisterBrokerRequestHeader;
use mq_protocol::message::{Message, MessageConst, OffsetMessageId};
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{ProcessorTable, RemotingClient, RemotingClientConfig};
use mq_store::config::FlushDiskType;
use mq_tests::broker_process::{BrokerProcess, BrokerSettings, free_port};
use mq_tests::read_back::client_of_started;
use mq_tests::rig::{mqadmin, mqbroker, name_server};
use mq_tests::skip::skipped;
use tokio::time::Instant;

/// Whatever a process is waited for, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Would name the document if a browser took it for markup.
const HOSTILE: &str = "<script>document.title='taken'</script>";

/// Its front, as a browser writes text that has it.
const AS_TEXT: &str = "&lt;script&gt;document.title='taken'";

/// Browsers that can be run without a screen.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// The first that is installed.
fn installed() -> Option<&'static str> {
    let runs = |name: &&str| {
        Command::new(name).arg("--version").output().is_ok_and(|it| it.status.success())
    };
    BROWSERS.into_iter().find(|name| runs(name))
}

/// Names of a broker and of a topic that no broker of ours would have; nobody is there. They are known as long as
/// the connection is there.
async fn register_hostile(namesrv_addr: &str) -> RemotingClient {
    let mut body = RegisterBrokerBody::default();
    let topics = &mut body.topic_config_serialize_wrapper.topic_config_table;
    topics.insert(HOSTILE.to_owned(), TopicConfig::new(HOSTILE, 1, 6));
    let header = RegisterBrokerRequestHeader {
        broker_name: HOSTILE.to_owned(),
        broker_addr: "127.0.0.1:1".to_owned(),
        cluster_name: HOSTILE.to_owned(),
        ..RegisterBrokerRequestHeader::default()
    };
    let request = RemotingCommand::request(RequestCode::REGISTER_BROKER, &header);
    let request = request.with_body(body.encode(false));
    let config = RemotingClientConfig::default();
    let client = RemotingClient::new(Env::os(), config, ProcessorTable::default());
    let response = client.invoke(namesrv_addr, request, PATIENCE).await.unwrap();
    assert_eq!(response.code, ResponseCode::SUCCESS, "{:?}", response.remark);
    client
}

/// `mqadmin console`, once it listens; returns its address.
async fn console(dir: &Path, namesrv_addr: &str) -> (BrokerProcess, String) {
    let addr = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new(mqadmin());
    command.args(["console", "-n", namesrv_addr, "--allow-changes", "--listen", &addr]);
    let mut console = BrokerProcess::run(command, dir.join("console.log"));
    let begin = Instant::now();
    while Env::os().net.connect(&addr).await.is_err() {
        assert_eq!(console.ended(), None, "the console ended");
        assert!(begin.elapsed() < PATIENCE, "the console does not listen");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    (console, addr)
}

/// A browser that has not been started yet.
struct Browser {
    program: &'static str,
    dir: PathBuf,
    console_addr: String,
}

impl Browser {
    /// Runs until it ends by itself; gives what it says.
    async fn run(&self, options: &[&str], view: &str) -> String {
        let mut command = Command::new(self.program);
        command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]);
        // Time that passes as soon as nothing is under way: the page has its answers then.
        command.arg("--virtual-time-budget=20000").args(options);
        command.arg(format!("--user-data-dir={}", self.dir.join("profile").display()));
        command.arg(format!("http://{}/#/{view}", self.console_addr));
        let said = self.dir.join("browser.html");
        let _ = std::fs::remove_file(&said);
        let mut browser = BrokerProcess::run(command, said.clone());
        let begin = Instant::now();
        while browser.ended().is_none() {
            assert!(begin.elapsed() < PATIENCE, "the browser does not end");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        std::fs::read_to_string(said).unwrap()
    }

    /// The document of a view, which has text and no markup of the cluster's.
    async fn document(&self, view: &str) -> String {
        let dom = self.run(&["--dump-dom"], view).await;
        assert!(dom.contains("mqadmin console</title>"), "{view}: {dom}");
        assert!(!dom.contains(HOSTILE) && !dom.contains("<title>taken"), "{view}: {dom}");
        assert_eq!(dom.matches("<script").count(), 1, "{view}: {dom}");
        assert!(dom.contains("As of "), "{view} has no answer: {dom}");
        dom
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_shows_the_cluster_as_text() {
    let Some(program) = installed() else {
        return skipped("the console in a browser", "no Chromium is installed");
    };
    let dir = tempfile::tempdir().unwrap();
    let (namesrv, namesrv_addr) = name_server(dir.path()).await;
    let settings = BrokerSettings::small(dir.path(), &namesrv_addr, FlushDiskType::AsyncFlush);
    let mut broker = BrokerProcess::start(mqbroker(), &settings);
    let client = client_of_started(&mut broker, &namesrv_addr).await;
    let mut message = Message::new("Orders", HOSTILE);
    for name in [MessageConst::TAGS, MessageConst::KEYS, "user"] {
        message.properties.insert(name, HOSTILE);
    }
    let producer = Producer::new(&client, ProducerConfig::new("P"));
    let sent = producer.send(message).await.unwrap();
    let hostile = register_hostile(&namesrv_addr).await;
    let (console, console_addr) = console(dir.path(), &namesrv_addr).await;
    let browser = Browser { program, dir: dir.path().to_path_buf(), console_addr };

    let dom = browser.document("brokers").await;
    for part in ["<th scope=\"col\" class=\"number\">Produce TPS</th>", ">broker-a</th>", AS_TEXT] {
        assert!(dom.contains(part), "{part} is not in {dom}");
    }
    assert!(dom.contains("<td class=\"trouble\" colspan=\"7\">unreachable: "), "{dom}");
    let dom = browser.document("topics").await;
    assert!(dom.contains(">Orders</a>") && dom.contains(AS_TEXT), "{dom}");
    let topic = "topic?topic=%3Cscript%3Edocument.title%3D%27taken%27%3C%2Fscript%3E";
    let dom = browser.document(topic).await;
    assert!(dom.contains(&format!("<h1>Topic {AS_TEXT}")), "{dom}");
    assert!(dom.contains("role=\"alert\">unreachable: "), "{dom}");
    let dom = browser.document("messages?topic=Orders").await;
    assert!(dom.contains(&sent.msg_id) && dom.matches(AS_TEXT).count() == 2, "{dom}");
    let place: OffsetMessageId = sent.offset_msg_id.parse().unwrap();
    let view = format!("message?address={}&offset={}", place.store_host, place.phy_offset);
    let dom = browser.document(&view).await;
    // Tag, keys, three properties, body.
    assert_eq!(dom.matches(AS_TEXT).count(), 6, "{dom}");
    assert!(dom.contains(&format!("{AS_TEXT}&lt;/script&gt;</pre>")), "{dom}");
    let dom = browser.document("groups").await;
    assert!(dom.contains("<h1>Consumer groups</h1>"), "{dom}");
    browser.document("dead-letters").await;

    let picture = dir.path().join("page.png");
    let option = format!("--screenshot={}", picture.display());
    browser.run(&[&option, "--window-size=1280,720"], "brokers").await;
    let picture = std::fs::read(picture).unwrap();
    assert!(picture.starts_with(b"\x89PNG") && picture.len() > 10_000, "{} bytes", picture.len());

    hostile.shutdown().await;
    client.shutdown().await;
    assert!(!console.terminate().success(), "it goes on until somebody stops it");
    broker.stop();
    namesrv.shutdown().await;
}
