//! A broker that enforces TLS and access control, and clients of both languages with good and with wrong credentials.

use std::process::Command;
use std::time::Duration;

use mq_env::Env;
use mq_namesrv::NamesrvController;
use mq_protocol::codes::RequestCode;
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{ProcessorTable, RemotingClient, RemotingClientConfig};
use mq_store::config::FlushDiskType;
use mq_tests::broker_process::{BrokerProcess, BrokerSettings};
use mq_tests::skip::skipped;
use mq_tls::{TlsMode, TlsSettings};

use mq_tests::peers::{Peer, SAID_WITHIN};
use mq_tests::rig::{mqadmin, mqbroker, name_server_in};
use mq_tests::rocketmq::RocketMq;

const ACCOUNTS: &str = "accounts:\n- accessKey: sender1\n  secretKey: 12345678\n  defaultTopicPerm: PUB\n- accessKey: reader1\n  \
                        secretKey: 12345678\n  defaultTopicPerm: SUB\n  defaultGroupPerm: SUB\n";

/// A name server and a broker as a process.
struct Guarded {
    dir: tempfile::TempDir,
    namesrv_addr: String,
    broker_addr: String,
    broker: BrokerProcess,
    namesrv: NamesrvController,
}

impl Guarded {
    /// The name server takes both kinds of connections, the broker encrypted ones of those who have an account.
    async fn start() -> Guarded {
        let dir = tempfile::tempdir().unwrap();
        let env = mq_tls::encrypted(&Env::os(), TlsSettings::default()).unwrap();
        let (namesrv, namesrv_addr) = name_server_in(env.clone(), dir.path()).await;
        env.disk.create_dir_all(&dir.path().join("conf")).unwrap();
        env.disk.write(&dir.path().join("conf/plain_acl.yml"), ACCOUNTS.as_bytes()).unwrap();
        let mut settings =
            BrokerSettings::small(dir.path(), &namesrv_addr, FlushDiskType::AsyncFlush);
        let home = format!("rocketmqHome={}", dir.path().display());
        settings.more.extend([
            home,
            "aclEnable=true".to_owned(),
            "tls.server.mode=enforcing".to_owned(),
        ]);
        let broker_addr = format!("127.0.0.1:{}", settings.listen_port);
        let broker = BrokerProcess::start(mqbroker(), &settings);
        let guarded = Guarded { dir, namesrv_addr, broker_addr, broker, namesrv };
        guarded.until_registered(&env).await;
        guarded
    }

    async fn until_registered(&self, env: &Env) {
        let config = RemotingClientConfig::default();
        let client = RemotingClient::new(env.clone(), config, ProcessorTable::default());
        let deadline = tokio::time::Instant::now() + SAID_WITHIN;
        loop {
            let request = RemotingCommand::request(RequestCode::GET_BROKER_CLUSTER_INFO, &());
            let reply = client.invoke(&self.namesrv_addr, request, Duration::from_secs(20)).await;
            if reply.is_ok_and(|reply| reply.body.windows(8).any(|part| part == b"broker-a")) {
                return client.shutdown().await;
            }
            assert!(tokio::time::Instant::now() < deadline, "the broker does not register");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A client, of Java with `rocketmq`, whose connections are encrypted.
    #[expect(clippy::disallowed_methods, reason = "another program")]
    fn peer(&self, rocketmq: Option<&RocketMq>, mode: &str, name: &str, args: &[&str]) -> Peer {
        let mut command = match rocketmq {
            Some(rocketmq) => rocketmq.peer(self.dir.path(), false),
            None => Command::new(env!("CARGO_BIN_EXE_peer")),
        };
        command.arg(mode).arg(format!("namesrv={}", self.namesrv_addr));
        command.args(["tls=true", &format!("instance={name}")]).args(args);
        Peer::run(command, name, self.dir.path())
    }

    /// What a send by `access_key` comes to: words and their fields.
    async fn sends(
        &self,
        rocketmq: Option<&RocketMq>,
        access_key: &str,
        secret_key: &str,
    ) -> Vec<String> {
        let name = format!("send-{access_key}-{secret_key}-{}", rocketmq.is_some());
        let keys = [format!("access_key={access_key}"), format!("secret_key={secret_key}")];
        let args = ["group=senders", "topic=Secured", "prefix=m", "count=2", &keys[0], &keys[1]];
        let mut peer = self.peer(rocketmq, "send", &name, &args);
        peer.leave().await;
        let said = peer.said().into_iter().filter(|said| said.word != "left");
        said.map(|said| format!("{} {}", said.word, said.fields[0])).collect()
    }
}

async fn clients_with_accounts(rocketmq: Option<&RocketMq>) {
    let guarded = Guarded::start().await;
    assert_eq!(
        guarded.sends(rocketmq, "sender1", "12345678").await,
        ["sent SEND_OK", "sent SEND_OK"]
    );
    for (access_key, secret_key, why) in [
        ("sender1", "87654321", "Check signature failed for accessKey=sender1"),
        ("nobody1", "12345678", "No acl config for nobody1"),
        ("reader1", "12345678", "No default permission for topic:Secured"),
    ] {
        let said = guarded.sends(rocketmq, access_key, secret_key).await;
        assert!(
            said.len() == 2 && said.iter().all(|it| it.starts_with("refused ") && it.contains(why)),
            "{said:?}"
        );
    }
    let args = ["group=readers", "topic=Secured", "access_key=reader1", "secret_key=12345678"];
    let mut reader = guarded.peer(rocketmq, "consume", "reader", &args);
    reader.until_said("got", 2).await;
    reader.leave().await;

    // Who does not speak TLS is not heard at all.
    let plain =
        RemotingClient::new(Env::os(), RemotingClientConfig::default(), ProcessorTable::default());
    let request = RemotingCommand::request(RequestCode::GET_BROKER_RUNTIME_INFO, &());
    let error =
        plain.invoke(&guarded.broker_addr, request, Duration::from_secs(20)).await.unwrap_err();
    assert!(error.to_string().contains("closed"), "{error}");
    plain.shutdown().await;
    let log = Env::os().disk.read(&guarded.dir.path().join("broker.log")).unwrap();
    let log = String::from_utf8_lossy(&log);
    let line = "it does not begin with a TLS handshake, and tls.server.mode is enforcing";
    assert!(log.contains(line), "{log}");
    guarded.broker.terminate();
    guarded.namesrv.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_clients_speak_tls_and_show_who_they_are() {
    clients_with_accounts(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_rocketmq_speak_tls_and_show_who_they_are() {
    match RocketMq::get() {
        Ok(rocketmq) => clients_with_accounts(Some(&rocketmq)).await,
        Err(reason) => skipped("Apache RocketMQ", reason),
    }
}

/// As 4.9's tool is told, by an option of Java.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "another program")]
async fn mqadmin_asks_servers_that_enforce_tls() {
    let dir = tempfile::tempdir().unwrap();
    let settings = TlsSettings { mode: TlsMode::Enforcing, ..TlsSettings::default() };
    let env = mq_tls::encrypted(&Env::os(), settings).unwrap();
    let (namesrv, namesrv_addr) = name_server_in(env, dir.path()).await;
    for (options, succeeds) in [("-Xmx64m -Dtls.enable=true", true), ("-Dtls.enable=false", false)]
    {
        let mut command = Command::new(mqadmin());
        command.args(["clusterList", "-n", &namesrv_addr]).env("JAVA_OPT", options);
        let mut mqadmin = BrokerProcess::run(command, dir.path().join("mqadmin.log"));
        let deadline = tokio::time::Instant::now() + SAID_WITHIN;
        let status = loop {
            if let Some(status) = mqadmin.ended() {
                break status;
            }
            assert!(tokio::time::Instant::now() < deadline, "mqadmin does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert_eq!(status.code(), Some(i32::from(!succeeds)), "{options}");
    }
    namesrv.shutdown().await;
}
