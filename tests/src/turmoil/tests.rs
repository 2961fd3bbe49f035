//! What stories rely on, on both stages alike: the same scenario is run on each.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mq_env::Env;
use mq_env::net::Stream;
use staticfire::plan::Millis;
use staticfire::run::program::Program;
use staticfire::run::report::Verdict;
use staticfire::run::stage::{Process, Stage};
use staticfire_world::disk::SimDiskConfig;
use staticfire_world::trace::FaultKind;
use staticfire_world::world::{ProcessContext, ProcessStatus, StopOutcome, World, WorldConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::*;

const SERVER: &str = "10.0.0.1";
const CLIENT: &str = "10.0.0.2";
const PORT: u16 = 9_876;
const SOON: Duration = Duration::from_secs(2);

/// A server that echoes bytes, and a client process with one connection to it.
struct Pair {
    stage: Rc<dyn Stage>,
    server: Rc<dyn Process>,
    client: Rc<dyn Process>,
    connection: Arc<Mutex<Option<Stream>>>,
}

impl Pair {
    async fn connected(stage: Rc<dyn Stage>) -> Pair {
        let machine =
            |address: &str| stage.add_machine(address.parse().unwrap(), SimDiskConfig::default());
        let server = machine(SERVER).add_process("server", Program::client(serve));
        let idle = Program::client(|context| async move {
            context.shutdown.cancelled().await;
        });
        let client = machine(CLIENT).add_process("client", idle);
        server.start();
        client.start();
        sleep(Duration::from_millis(50)).await;
        let pair = Pair { stage, server, client, connection: Arc::default() };
        pair.connect().await.unwrap();
        assert_eq!(pair.echo().await.unwrap(), 1);
        pair
    }

    /// Opens the connection anew.
    async fn connect(&self) -> io::Result<()> {
        let connection = Arc::clone(&self.connection);
        let connecting = self.client.run(async move |env: Env| {
            let address = format!("{SERVER}:{PORT}");
            let stream = env.net.connect(&address);
            let stream = timeout(SOON, stream).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()));
            *connection.lock().await = Some(stream?);
            Ok(())
        });
        connecting.await.unwrap()
    }

    /// Sends a byte and waits for an answer; 0 when the connection is closed.
    async fn echo(&self) -> io::Result<usize> {
        let connection = Arc::clone(&self.connection);
        let echoing = self.client.run(async move |_env| {
            let mut connection = connection.lock().await;
            let stream = connection.as_mut().unwrap();
            stream.write_all(b"?").await?;
            let mut answer = [0; 1];
            let reading = timeout(SOON, stream.read(&mut answer)).await;
            reading.unwrap_or(Err(io::ErrorKind::TimedOut.into()))
        });
        echoing.await.unwrap()
    }

    fn addresses(&self) -> [IpAddr; 2] {
        [self.server.machine().ip(), self.client.machine().ip()]
    }

    /// Kinds of faults that took effect.
    fn bitten(&self) -> Vec<FaultKind> {
        let faults = self.stage.trace().faults();
        faults.iter().filter(|fault| fault.bitten_us.is_some()).map(|fault| fault.kind).collect()
    }
}

/// Writes its incarnation to the page cache of its disk, then echoes until it is asked to stop.
async fn serve(context: ProcessContext) -> io::Result<()> {
    let env = context.env.clone();
    env.disk.write(Path::new("/incarnation"), context.incarnation.to_string().as_bytes())?;
    let listener = env.net.bind(SocketAddr::from(([0, 0, 0, 0], PORT))).await?;
    let serving = async {
        loop {
            let mut stream = listener.accept().await?;
            env.tasks.spawn("echo", async move {
                let mut byte = [0; 1];
                while stream.read_exact(&mut byte).await.is_ok() {
                    let _ = stream.write_all(&byte).await;
                }
            });
        }
    };
    context.shutdown.run_until_cancelled(serving).await.unwrap_or(Ok(()))
}

/// Runs a scenario on both stages; the name of the stage is for messages.
fn on_both(scenario: impl AsyncFn(Pair, &'static str)) {
    on_both_under(1, scenario);
}

fn on_both_under(seed: u64, scenario: impl AsyncFn(Pair, &'static str)) {
    let told =
        async |stage: Rc<dyn Stage>, name| scenario(Pair::connected(stage).await, name).await;
    let world = async |world| told(Rc::new(world), "world").await;
    World::run(WorldConfig::default(), seed, world).value.unwrap();
    let turmoil = async |stage| told(Rc::new(stage), "turmoil").await;
    let config = WorldConfig { limit_ms: 60_000, ..WorldConfig::default() };
    TurmoilStage::run(config, seed, turmoil).value.unwrap();
}

fn file(process: &Rc<dyn Process>) -> Option<Vec<u8>> {
    process.machine().disk().live_bytes(Path::new("/incarnation"), 0..1)
}

#[test]
fn a_kill_closes_sockets_and_keeps_the_page_cache() {
    on_both(async |pair, stage| {
        pair.server.kill();
        assert!(!pair.server.is_running(), "{stage}");
        sleep(Duration::from_millis(20)).await;
        assert!(!matches!(pair.echo().await, Ok(1)), "{stage}");
        let refused = pair.connect().await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused, "{stage}");
        assert_eq!(file(&pair.server).as_deref(), Some(&b"1"[..]), "{stage}");
        pair.server.start();
        sleep(Duration::from_millis(50)).await;
        pair.connect().await.unwrap();
        assert_eq!(pair.echo().await.unwrap(), 1, "{stage}");
        assert_eq!(file(&pair.server).as_deref(), Some(&b"2"[..]), "{stage}");
        assert_eq!(pair.bitten(), [FaultKind::Kill], "{stage}");
    });
}

#[test]
fn a_machine_without_power_is_silent_and_answers_old_connections_with_a_reset() {
    on_both(async |pair, stage| {
        let server = pair.server.machine();
        server.destroy_disk();
        assert!(!server.is_on() && !pair.server.is_running(), "{stage}");
        assert_eq!(pair.echo().await.unwrap_err().kind(), io::ErrorKind::TimedOut, "{stage}");
        assert_eq!(file(&pair.server), None, "{stage}");
        server.power_on();
        pair.server.start();
        sleep(Duration::from_millis(500)).await;
        let gone = pair.echo().await.unwrap_err();
        let is_gone = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
        assert!(is_gone.contains(&gone.kind()), "{stage}: {gone}");
        pair.connect().await.unwrap();
        assert_eq!(pair.echo().await.unwrap(), 1, "{stage}");
        assert_eq!(pair.bitten(), [FaultKind::DiskDestroyed], "{stage}");
    });
}

#[test]
fn power_loss_takes_some_of_what_was_not_synced_and_the_same_on_both() {
    let survived = RefCell::new(BTreeMap::<_, Vec<bool>>::new());
    for seed in 0..8 {
        on_both_under(seed, async |pair, stage| {
            let server = pair.server.machine();
            server.power_loss();
            let is_there = file(&pair.server).as_deref() == Some(b"1");
            survived.borrow_mut().entry(stage).or_default().push(is_there);
            server.power_on();
            pair.server.start();
            sleep(Duration::from_millis(50)).await;
            assert_eq!(file(&pair.server).as_deref(), Some(&b"2"[..]), "{stage}");
            assert_eq!(pair.bitten(), [FaultKind::PowerLoss], "{stage}");
        });
    }
    let survived = survived.into_inner();
    assert_eq!(survived["world"], survived["turmoil"]);
    assert!(survived["world"].contains(&true) && survived["world"].contains(&false));
}

#[test]
fn a_process_that_is_asked_to_stop_ends_in_order() {
    on_both(async |pair, stage| {
        let outcome = pair.server.stop(SOON).await;
        assert_eq!(outcome, StopOutcome::Ended(ProcessStatus::Exited(Ok(()))), "{stage}");
        pair.server.start();
        sleep(Duration::from_millis(50)).await;
        pair.connect().await.unwrap();
        assert_eq!(pair.echo().await.unwrap(), 1, "{stage}");
        assert!(pair.bitten().is_empty(), "{stage}");
    });
}

#[test]
fn a_partition_holds_and_a_slow_link_delays() {
    on_both(async |pair, stage| {
        let between = pair.addresses();
        let fault = pair.stage.partition(between, false);
        assert_eq!(pair.echo().await.unwrap_err().kind(), io::ErrorKind::TimedOut, "{stage}");
        pair.stage.heal(fault);
        sleep(Duration::from_millis(500)).await;
        // The answer to the byte that was held is the first to be read.
        assert_eq!(pair.echo().await.unwrap(), 1, "{stage}");

        pair.connect().await.unwrap();
        pair.stage.slow_link(between, Millis(300));
        let began = Instant::now();
        assert_eq!(pair.echo().await.unwrap(), 1, "{stage}");
        assert!(
            (600..650).contains(&began.elapsed().as_millis()),
            "{stage}: {:?}",
            began.elapsed()
        );
        pair.stage.reset_link(between);
        let began = Instant::now();
        assert_eq!(pair.echo().await.unwrap(), 1, "{stage}");
        assert!(began.elapsed().as_millis() < 20, "{stage}: {:?}", began.elapsed());
        assert_eq!(pair.bitten(), [FaultKind::Partition, FaultKind::Link], "{stage}");
    });
}

#[test]
fn turmoil_refuses_what_it_cannot_tell() {
    let plan = |event: &str| {
        let text = format!(
            "title = 't'\nholds = 'h'\n[cluster]\nnamesrv = 1\n\
             [[cluster.group]]\nname = 'a'\nrole = 'ASYNC_MASTER'\nflush = 'SYNC_FLUSH'\nslaves = 1\n\
             [[event]]\nat = '1s'\ndo = {event}\n[check]\npromise = 'never'\n"
        );
        Plan::parse(&text).unwrap()
    };
    for (event, why) in [
        ("{ pause = { node = 'a' } }", Some("turmoil cannot pause a")),
        (
            "{ partition = { between = ['a', 'a-s'], one_way = true } }",
            Some("turmoil cannot hold one way only"),
        ),
        ("{ partition = { between = ['a', 'a-s'] } }", None),
        ("{ kill = { node = 'a' } }", None),
    ] {
        let refused =
            TurmoilStage::run(WorldConfig::default(), 1, async |stage| stage.refuses(&plan(event)));
        assert_eq!(refused.value.unwrap().as_deref(), why);
    }
    let outcome = run_on_turmoil(&plan("{ pause = { node = 'a' } }"), 1, "-");
    assert_eq!(outcome.report.verdict, Verdict::BadInput);
    assert_eq!(outcome.report.findings[0].text, "turmoil cannot pause a");
}
