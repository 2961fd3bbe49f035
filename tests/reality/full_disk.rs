//! A real file system without space: a small tmpfs that the test mounts, fills and empties again.
#![expect(clippy::disallowed_methods, reason = "mounts file systems and fills them")]

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use mq_client::{ClientError, ClientInstance, Producer, SendStatus};
use mq_env::Env;
use mq_protocol::codes::ResponseCode;
use mq_protocol::message::Message;
use mq_store::config::FlushDiskType;
use mq_tests::broker_process::{BrokerProcess, BrokerSettings};
use mq_tests::ledger::{Ack, BODY_BYTES, Ledger, MessageId};
use mq_tests::read_back::{ReadBack, client_of_started};
use mq_tests::senders::{lock, producer_config};
use mq_tests::skip::skipped;

use mq_tests::rig::{mqbroker, name_server};

/// Size of the file system.
const SPACE_BYTES: u64 = 4 << 20;

/// Time for a broker to notice that there is space again.
const RESUME_WITHIN: Duration = Duration::from_secs(30);

/// A mounted tmpfs. Dropping it unmounts.
struct SmallFileSystem {
    at: PathBuf,
}

impl SmallFileSystem {
    /// Mounts one at `at`; says why not where the machine forbids it.
    fn mount(at: PathBuf) -> Result<Self, String> {
        Env::os().disk.create_dir_all(&at).unwrap();
        let options = format!("size={SPACE_BYTES}");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&at);
        let output = command.output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        Ok(SmallFileSystem { at })
    }

    fn free_bytes(&self) -> u64 {
        Env::os().disk.space(&self.at).unwrap().free_bytes
    }

    /// Takes all but `left_bytes` of the space with one file.
    fn fill(&self, left_bytes: u64) {
        let mut ballast =
            OpenOptions::new().create(true).append(true).open(self.ballast()).unwrap();
        let block = [1; 4096];
        while self.free_bytes() > left_bytes {
            match ballast.write_all(&block) {
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                written => written.unwrap(),
            }
        }
    }

    fn empty(&self) {
        Env::os().disk.remove(&self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.at.join("ballast")
    }
}

impl Drop for SmallFileSystem {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

/// One sender on one topic of a broker.
struct Story {
    settings: BrokerSettings,
    broker: BrokerProcess,
    client: ClientInstance,
    producer: Producer,
    ledger: Mutex<Ledger>,
    next: u32,
}

const TOPIC: &str = "Full";

/// Messages that fit into the last file of the log while no file of a ConsumeQueue can be made.
const UNDISPATCHED_MAX: usize = (64 << 10) / BODY_BYTES;

impl Story {
    async fn begin(settings: BrokerSettings) -> Self {
        let (broker, client) = serve(&settings).await;
        let producer = Producer::new(&client, producer_config());
        Story { settings, broker, client, producer, ledger: Mutex::default(), next: 0 }
    }

    /// Sends one message; returns why it was refused, if it was.
    async fn send(&mut self) -> Result<(), ClientError> {
        let message = MessageId { sender: 0, number: self.next };
        self.next += 1;
        lock(&self.ledger).attempt(message, TOPIC);
        let sent = self.producer.send(Message::new(TOPIC, message.body())).await;
        let sent = sent.map_err(|error| error.cause)?;
        assert_eq!(sent.send_status, SendStatus::SendOk);
        lock(&self.ledger).ack(Ack::new(message, &sent, 0));
        Ok(())
    }

    /// Sends until one is refused.
    async fn send_until_refused(&mut self) -> ClientError {
        loop {
            if let Err(refused) = self.send().await {
                return refused;
            }
        }
    }

    /// Sends until one is taken again.
    async fn send_until_taken(&mut self) {
        let deadline = tokio::time::Instant::now() + RESUME_WITHIN;
        while let Err(refused) = self.send().await {
            assert!(tokio::time::Instant::now() < deadline, "still refused: {refused}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn acked(&self) -> usize {
        lock(&self.ledger).acks().len()
    }

    async fn read_back(&self) -> ReadBack {
        ReadBack::of(&self.client, &[TOPIC.to_owned()].into()).await
    }

    /// Everything acknowledged is there, and nothing strange.
    async fn assert_all_there(&self) {
        let found = self.read_back().await.compare(&lock(&self.ledger).clone());
        assert!(found.lost.is_empty(), "{} lost, first {:?}", found.lost.len(), found.lost[0]);
        assert!(found.strange.is_empty(), "{:?}", found.strange);
    }

    async fn kill_and_serve_again(self) -> Self {
        self.broker.kill();
        self.client.shutdown().await;
        let (broker, client) = serve(&self.settings).await;
        let producer = Producer::new(&client, producer_config());
        Story { broker, client, producer, ..self }
    }
}

async fn serve(settings: &BrokerSettings) -> (BrokerProcess, ClientInstance) {
    let mut broker = BrokerProcess::start(mqbroker(), settings);
    let client = client_of_started(&mut broker, &settings.namesrv_addr).await;
    (broker, client)
}

/// RocketMQ 4.9 says SYSTEM_ERROR when a file cannot be made and SERVICE_NOT_AVAILABLE while the
/// store takes no messages.
fn assert_refusal(refused: &ClientError) {
    let codes = [ResponseCode::SYSTEM_ERROR, ResponseCode::SERVICE_NOT_AVAILABLE];
    assert!(
        matches!(refused, ClientError::Broker { code, .. } if codes.contains(code)),
        "refused with {refused}"
    );
}

/// The test's directory with a file system in it, or nothing where the machine forbids mounting.
fn small_file_system(dir: &Path) -> Option<SmallFileSystem> {
    match SmallFileSystem::mount(dir.join("small")) {
        Ok(mounted) => Some(mounted),
        Err(reason) => {
            skipped("full file system", &format!("no tmpfs can be mounted: {reason}"));
            None
        }
    }
}

/// What stops sends first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum StoppedBy {
    /// `diskSpaceWarningLevelRatio`: the broker looks at its disk and takes no more.
    Ratio,
    /// The file system itself, which has no blocks for the next file.
    FileSystem,
}

async fn filled_and_emptied(flush_disk_type: FlushDiskType, stopped_by: StoppedBy) {
    let dir = tempfile::tempdir().unwrap();
    let Some(space) = small_file_system(dir.path()) else { return };
    let (namesrv, namesrv_addr) = name_server(dir.path()).await;
    let settings = BrokerSettings::small(dir.path(), &namesrv_addr, flush_disk_type);
    let mut settings = BrokerSettings { store_dir: space.at.join("store"), ..settings };
    if stopped_by == StoppedBy::Ratio {
        settings = settings.on_own_disk();
    }
    let mut story = Story::begin(settings).await;

    space.fill(1 << 20);
    let refused = story.send_until_refused().await;
    assert_refusal(&refused);
    println!("{}: {} acked, then {refused}", flush_disk_type.name(), story.acked());
    space.fill(0);
    let refused = story.send_until_refused().await;
    assert_refusal(&refused);
    match stopped_by {
        StoppedBy::Ratio => {
            tokio::time::sleep(Duration::from_secs(2)).await;
            let says = story.send().await.unwrap_err().to_string();
            assert!(says.contains("the broker's disk is full [CL:  1.00 CQ:  1.00"), "{says}");
        }
        StoppedBy::FileSystem => {
            let is_error = matches!(&refused, ClientError::Broker { code, .. } if *code == ResponseCode::SYSTEM_ERROR);
            assert!(is_error, "{refused}");
        }
    }
    let acked_when_full = story.acked();
    // At most units of the ConsumeQueue may have no room yet.
    let read_back = story.read_back().await;
    assert!(read_back.len() + UNDISPATCHED_MAX >= acked_when_full, "{} read", read_back.len());
    assert!(read_back.compare(&lock(&story.ledger).clone()).strange.is_empty());

    space.empty();
    story.send_until_taken().await;
    story.assert_all_there().await;
    space.fill(256 << 10);
    assert_refusal(&story.send_until_refused().await);
    assert!(story.acked() > acked_when_full);

    space.fill(0);
    let mut story = story.kill_and_serve_again().await;
    story.assert_all_there().await;
    assert_refusal(&story.send_until_refused().await);
    space.empty();
    story.send_until_taken().await;
    story.assert_all_there().await;
    story.client.shutdown().await;
    story.broker.stop();
    namesrv.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_costs_nothing_acknowledged_under_async_flush() {
    filled_and_emptied(FlushDiskType::AsyncFlush, StoppedBy::Ratio).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_costs_nothing_acknowledged_under_sync_flush() {
    filled_and_emptied(FlushDiskType::SyncFlush, StoppedBy::Ratio).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_system_without_blocks_costs_nothing_acknowledged_under_async_flush() {
    filled_and_emptied(FlushDiskType::AsyncFlush, StoppedBy::FileSystem).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_system_without_blocks_costs_nothing_acknowledged_under_sync_flush() {
    filled_and_emptied(FlushDiskType::SyncFlush, StoppedBy::FileSystem).await;
}

#[tokio::test]
async fn a_hole_in_a_mapped_file_is_filled_before_somebody_writes_to_it() {
    const LEN: usize = 256 << 10;
    let dir = tempfile::tempdir().unwrap();
    let Some(space) = small_file_system(dir.path()) else { return };
    let disk = Env::os().disk;
    let path = space.at.join("holes");
    OpenOptions::new().create(true).append(true).open(&path).unwrap().set_len(LEN as u64).unwrap();
    space.fill(0);
    assert_eq!(disk.map(&path, LEN).err().unwrap().kind(), ErrorKind::StorageFull);
    assert_eq!(disk.stat(&path).unwrap().len, LEN as u64);

    space.empty();
    let region = disk.map(&path, LEN).unwrap();
    space.fill(0);
    // Without its blocks this would be the end of the process: SIGBUS.
    region.write(0, &vec![7; LEN]);
    assert_eq!(disk.read(&path).unwrap(), vec![7; LEN]);
}
