//! TLS in the simulated world: the same code as over sockets, by clocks that do not wait. What rustls draws is no seed's, so
//! that nothing here asks for the same bytes twice.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mq_broker::{BrokerController, BrokerError};
use mq_env::Env;
use mq_env::net::any_addr;
use mq_namesrv::{NamesrvConfig, NamesrvController};
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{
    Channel, ProcessResult, ProcessorTable, RemotingClient, RemotingClientConfig, RemotingServer,
    RemotingServerConfig, RequestProcessor,
};
use mq_store::config::BrokerRole;
use mq_tls::{ClientAuth, KeyPair, TlsMode, TlsSettings};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair as Key};
use staticfire_world::world::{MachineConfig, MachineHandle, ProcessContext, World, WorldHandle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::broker::cluster::{Cluster, pull_header, seconds, send_header, send_request};

const PORT: u16 = 10_911;
const ECHO: i32 = 1_001;

/// Says what it is told.
struct Echo;

impl RequestProcessor for Echo {
    fn process(&self, _: &Channel, request: RemotingCommand) -> ProcessResult {
        let reply = RemotingCommand::response(ResponseCode::SUCCESS, None);
        Ok(reply.with_body(request.body).into())
    }
}

/// A root of certificates.
struct Authority(CertifiedIssuer<'static, Key>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, Key::generate().unwrap()).unwrap())
    }

    /// A certificate for whoever, and its key.
    fn issue(&self) -> (String, String) {
        let key = Key::generate().unwrap();
        let params = CertificateParams::new(vec!["not-the-address".to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }
}

/// A machine with a process that does nothing of its own.
fn machine(world: &WorldHandle, name: &str) -> (MachineHandle, Env) {
    let machine = world.add_machine(name, MachineConfig::default());
    let process = machine.add_process(name, |context: ProcessContext| async move {
        context.shutdown.cancelled().await;
    });
    process.start();
    (machine, process.env().unwrap())
}

fn write(env: &Env, path: &str, text: &str) {
    env.disk.write(Path::new(path), text.as_bytes()).unwrap();
}

/// Writes a chain and its key, and says where they are.
fn write_pair(env: &Env, name: &str, (cert, key): &(String, String)) -> KeyPair {
    let pair = KeyPair {
        cert_path: format!("/{name}.pem").into(),
        key_path: format!("/{name}.key").into(),
    };
    write(env, pair.cert_path.to_str().unwrap(), cert);
    write(env, pair.key_path.to_str().unwrap(), key);
    pair
}

/// A server that echoes; its address.
async fn serve(
    machine: &MachineHandle,
    env: &Env,
    settings: TlsSettings,
) -> (RemotingServer, String) {
    let env = mq_tls::encrypted(env, settings).unwrap();
    let table = Arc::new(ProcessorTable::default().register(&[ECHO], Arc::new(Echo)));
    let config = RemotingServerConfig::default();
    let server =
        RemotingServer::start(env, config, vec![(any_addr(PORT), table)], None).await.unwrap();
    (server, SocketAddr::new(machine.ip(), PORT).to_string())
}

/// Whether a client with `settings` gets its own words back, however many; the error else.
async fn echo(env: &Env, settings: TlsSettings, addr: &str, bytes: usize) -> Result<(), String> {
    let env = mq_tls::encrypted(env, settings).map_err(|error| error.to_string())?;
    let client =
        RemotingClient::new(env, RemotingClientConfig::default(), ProcessorTable::default());
    let body = vec![7; bytes];
    let request = RemotingCommand::request(ECHO, &()).with_body(body.clone());
    let reply = client.invoke(addr, request, Duration::from_secs(20)).await;
    client.shutdown().await;
    let reply = reply.map_err(|error| error.to_string())?;
    assert_eq!((reply.code, &reply.body[..]), (ResponseCode::SUCCESS, &body[..]));
    Ok(())
}

fn enforcing() -> TlsSettings {
    TlsSettings { mode: TlsMode::Enforcing, client_enable: true, ..TlsSettings::default() }
}

fn encrypting() -> TlsSettings {
    TlsSettings { client_enable: true, ..TlsSettings::default() }
}

#[test]
fn one_port_serves_both_kinds_unless_it_is_told_otherwise() {
    World::test(1, async |world| {
        let (server, server_env) = machine(&world, "server");
        let (_, client) = machine(&world, "client");
        let (serving, addr) = serve(&server, &server_env, TlsSettings::default()).await;
        for bytes in [0, 1, 5_000_000] {
            assert_eq!(echo(&client, TlsSettings::default(), &addr, bytes).await, Ok(()));
            assert_eq!(echo(&client, encrypting(), &addr, bytes).await, Ok(()));
        }
        serving.shutdown().await;

        let (serving, addr) = serve(&server, &server_env, enforcing()).await;
        assert_eq!(echo(&client, encrypting(), &addr, 9).await, Ok(()));
        let plain = echo(&client, TlsSettings::default(), &addr, 9).await.unwrap_err();
        assert!(plain.contains("closed"), "{plain}");
        serving.shutdown().await;

        let disabled = TlsSettings { mode: TlsMode::Disabled, ..TlsSettings::default() };
        let (_serving, addr) = serve(&server, &server_env, disabled).await;
        assert_eq!(echo(&client, TlsSettings::default(), &addr, 9).await, Ok(()));
        let encrypted = echo(&client, encrypting(), &addr, 9).await.unwrap_err();
        assert!(encrypted.contains("the TLS handshake with"), "{encrypted}");
    });
}

/// How long a server bears a peer that says `hello` and then nothing.
async fn borne(env: &Env, addr: &str, hello: &[u8]) -> Duration {
    let begun = Instant::now();
    let mut stream = env.net.connect(addr).await.unwrap();
    stream.write_all(hello).await.unwrap();
    let mut rest = Vec::new();
    // An alert may come before the end.
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.len() < 64, "{rest:?}");
    begun.elapsed()
}

#[test]
fn who_does_not_finish_its_handshake_is_closed() {
    World::test(2, async |world| {
        let (server, server_env) = machine(&world, "server");
        let (_, client) = machine(&world, "client");
        let (_serving, addr) = serve(&server, &server_env, TlsSettings::default()).await;
        // A record of 512 bytes that ends after the first bytes of a hello.
        let half = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
        let time = borne(&client, &addr, &half).await;
        assert!((10.0..11.0).contains(&time.as_secs_f64()), "{time:?}");
        let garbage = [0x16, 3, 1, 0, 4, 9, 9, 9, 9];
        assert!(borne(&client, &addr, &garbage).await < Duration::from_secs(1));
        let huge = [0x16, 3, 1, 0xff, 0xff, 1];
        assert!(borne(&client, &addr, &huge).await < Duration::from_secs(1));
        // Who says nothing at all is borne as long as whoever is idle.
        let time = borne(&client, &addr, &[]).await;
        assert!((120.0..130.0).contains(&time.as_secs_f64()), "{time:?}");
        assert_eq!(echo(&client, encrypting(), &addr, 9).await, Ok(()), "others are served");
    });
}

#[test]
fn certificates_are_held_against_what_is_trusted() {
    World::test(3, async |world| {
        let (server, server_env) = machine(&world, "server");
        let (_, client) = machine(&world, "client");
        let (ours, others) = (Authority::new(), Authority::new());
        let pair = write_pair(&server_env, "server", &ours.issue());
        write(&server_env, "/ca.pem", &ours.pem());
        let asking = TlsSettings {
            server: Some(pair),
            client_auth: ClientAuth::Require,
            server_trust: Some("/ca.pem".into()),
            ..enforcing()
        };
        let (_serving, addr) = serve(&server, &server_env, asking).await;
        write(&client, "/ours.pem", &ours.pem());
        write(&client, "/others.pem", &others.pem());
        let own = write_pair(&client, "own", &ours.issue());
        let foreign = write_pair(&client, "foreign", &others.issue());
        let by = |trust: Option<&str>, pair: Option<&KeyPair>| TlsSettings {
            client: pair.cloned(),
            client_trust: trust.map(Into::into),
            ..encrypting()
        };
        assert_eq!(echo(&client, by(Some("/ours.pem"), Some(&own)), &addr, 9).await, Ok(()));
        assert_eq!(
            echo(&client, by(None, Some(&own)), &addr, 9).await,
            Ok(()),
            "it asks for nothing"
        );
        let unknown =
            echo(&client, by(Some("/others.pem"), Some(&own)), &addr, 9).await.unwrap_err();
        assert!(unknown.contains("invalid peer certificate: "), "{unknown}");
        for pair in [None, Some(&foreign)] {
            assert!(
                echo(&client, by(Some("/ours.pem"), pair), &addr, 9).await.is_err(),
                "{pair:?}"
            );
        }
        // A certificate may be trusted for itself, whatever it says that it is.
        let itself = Authority::new();
        let (other, other_env) = machine(&world, "other");
        let pair = (itself.pem(), itself.0.key().serialize_pem());
        let pair = write_pair(&other_env, "itself", &pair);
        let (_serving, addr) =
            serve(&other, &other_env, TlsSettings { server: Some(pair), ..enforcing() }).await;
        write(&client, "/itself.pem", &itself.pem());
        assert_eq!(echo(&client, by(Some("/itself.pem"), None), &addr, 9).await, Ok(()));
    });
}

#[test]
fn certificates_that_change_hold_from_then_on() {
    World::test(4, async |world| {
        let (server, server_env) = machine(&world, "server");
        let (_, client) = machine(&world, "client");
        let (first, second) = (Authority::new(), Authority::new());
        let pair = write_pair(&server_env, "server", &first.issue());
        let (_serving, addr) =
            serve(&server, &server_env, TlsSettings { server: Some(pair), ..enforcing() }).await;
        write(&client, "/first.pem", &first.pem());
        write(&client, "/second.pem", &second.pem());
        let trusts = async |path: &str| {
            let settings = TlsSettings { client_trust: Some(path.into()), ..encrypting() };
            echo(&client, settings, &addr, 9).await.is_ok()
        };
        assert!(trusts("/first.pem").await && !trusts("/second.pem").await);
        let (cert, key) = second.issue();
        write(&server_env, "/server.pem", &cert);
        seconds(3).await;
        assert!(trusts("/first.pem").await, "a certificate alone does not go with the old key");
        write(&server_env, "/server.key", &key);
        seconds(3).await;
        assert!(trusts("/second.pem").await && !trusts("/first.pem").await);
        write(&server_env, "/server.pem", "nothing");
        seconds(3).await;
        assert!(trusts("/second.pem").await);
    });
}

#[test]
fn what_cannot_be_used_is_said_by_name() {
    World::test(5, async |world| {
        let (_, env) = machine(&world, "server");
        let authority = Authority::new();
        let said =
            |settings: TlsSettings| mq_tls::encrypted(&env, settings).err().unwrap().to_string();
        let pair = write_pair(&env, "a", &authority.issue());
        let other = write_pair(&env, "b", &authority.issue());
        let mixed = KeyPair { cert_path: pair.cert_path.clone(), key_path: other.key_path.clone() };
        let mixed = said(TlsSettings { server: Some(mixed), ..enforcing() });
        let wanted =
            "TLS is not possible with what tls.server.certPath and tls.server.keyPath names: ";
        assert!(mixed.starts_with(wanted), "{mixed}");
        write(
            &env,
            "/a.key",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        );
        let encrypted = said(TlsSettings { server: Some(pair.clone()), ..enforcing() });
        assert!(
            encrypted.starts_with("/a.key cannot be used for TLS: it has no key in PEM"),
            "{encrypted}"
        );
        write(&env, "/a.pem", "no certificate");
        let none = said(TlsSettings { server: Some(pair), ..enforcing() });
        assert!(
            none.starts_with("/a.pem cannot be used for TLS: it has no certificate in PEM"),
            "{none}"
        );
    });
}

/// A whole cluster that enforces TLS: registration, a slave's tables and clients are encrypted, replication is not.
#[test]
fn a_cluster_enforces_tls() {
    World::test(6, async |world| {
        let (_, hand) = machine(&world, "hand");
        let env = mq_tls::encrypted(&hand, encrypting()).unwrap();
        let client =
            RemotingClient::new(env, RemotingClientConfig::default(), ProcessorTable::default());
        let cluster = Cluster::new(world);
        cluster.namesrv.set_main(|context| async move {
            let env = mq_tls::encrypted(&context.env, enforcing()).unwrap();
            let namesrv = NamesrvController::start(env, NamesrvConfig::default()).await?;
            context.shutdown.cancelled().await;
            namesrv.shutdown().await;
            Ok::<(), std::io::Error>(())
        });
        cluster.namesrv.restart();
        let mut brokers = Vec::new();
        for (id, role) in [(0, BrokerRole::SyncMaster), (1, BrokerRole::Slave)] {
            let broker = cluster.broker("a", id, role, |_, _| {});
            let settings = broker.settings();
            broker.process.set_main(move |context| {
                let (config, store_config) = settings.clone();
                async move {
                    let env = mq_tls::encrypted(&context.env, enforcing()).unwrap();
                    let broker = BrokerController::start(env, config, store_config).await?;
                    context.shutdown.cancelled().await;
                    broker.shutdown().await;
                    Ok::<(), BrokerError>(())
                }
            });
            broker.start().await;
            brokers.push(broker);
        }
        seconds(40).await;
        let ask = async |addr: &str, request| {
            client.invoke(addr, request, Duration::from_secs(20)).await.map(|it| it.code)
        };
        let send = || send_request(&send_header("T"), "body");
        assert_eq!(
            ask(&brokers[0].addr, send()).await,
            Ok(ResponseCode::SUCCESS),
            "the slave has it"
        );
        // The slave copies its master's table of topics every ten seconds.
        seconds(15).await;
        let pull = RemotingCommand::request(RequestCode::PULL_MESSAGE, &pull_header("G", "T", 0));
        assert_eq!(ask(&brokers[1].addr, pull).await, Ok(ResponseCode::SUCCESS), "and its topic");
        // What slaves of Java say, and get an answer to: where their log ends.
        let replication = SocketAddr::new(brokers[0].machine.ip(), PORT + 1).to_string();
        let mut stream = hand.net.connect(&replication).await.unwrap();
        stream.write_all(&[0; 8]).await.unwrap();
        let mut frame = [1; 12];
        stream.read_exact(&mut frame).await.unwrap();
        assert_eq!(frame[..8], [0; 8]);
        let plain = cluster.client.invoke(&brokers[0].addr, send(), Duration::from_secs(20)).await;
        assert!(plain.unwrap_err().to_string().contains("closed"));
    });
}
