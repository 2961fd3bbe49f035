//! A disk that makes the put lock wait, and a transient store pool without a buffer: sends are turned away
//! before they queue up.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mq_broker::BrokerController;
use mq_broker::config::BrokerConfig;
use mq_client::{ClientConfig, ClientError, ClientInstance, Producer, ProducerConfig, SendError};
use mq_env::Env;
use mq_env::disk::{Disk, DiskLayer, DiskSpace, MappedRegion};
use mq_namesrv::{NamesrvConfig, NamesrvController};
use mq_protocol::codes::ResponseCode;
use mq_protocol::message::Message;
use mq_store::config::StoreConfig;

const LOG_FILE: usize = 64 << 10;
const STALL: Duration = Duration::from_millis(1_500);

/// The operating system's disk, on which a CommitLog file takes long to make while it stalls.
struct StallingDisk {
    os: Arc<dyn Disk>,
    stalls: AtomicBool,
}

impl DiskLayer for StallingDisk {
    fn below(&self) -> &dyn Disk {
        &*self.os
    }

    #[expect(clippy::disallowed_methods, reason = "the put lock is to be held")]
    fn map(&self, path: &Path, len: usize) -> io::Result<MappedRegion> {
        if len == LOG_FILE && self.stalls.swap(false, Ordering::SeqCst) {
            std::thread::sleep(STALL);
        }
        self.os.map(path, len)
    }

    fn space(&self, dir: &Path) -> io::Result<DiskSpace> {
        let space = self.os.space(dir)?;
        Ok(DiskSpace { free_bytes: space.total_bytes, ..space })
    }
}

async fn send(client: &ClientInstance, body_bytes: usize) -> Result<(), SendError> {
    let producer = Producer::new(client, ProducerConfig::new("producers"));
    // A long body is compressed before it is sent: this one does not get shorter.
    let mut state = 1_u32;
    let noise = std::iter::from_fn(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Some((state >> 24) as u8)
    });
    let body: Vec<u8> = noise.take(body_bytes).collect();
    producer.send(Message::new("Busy", body)).await.map(|_| ())
}

/// A name server and a broker on loopback.
struct Rig {
    dir: tempfile::TempDir,
    namesrv: NamesrvController,
    broker: Arc<BrokerController>,
    namesrv_addrs: Vec<String>,
}

impl Rig {
    async fn start(disk: &Arc<StallingDisk>, change: impl FnOnce(&mut StoreConfig)) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let kv_config_path = dir.path().join("kvConfig.json");
        let namesrv_config =
            NamesrvConfig { listen_port: 0, kv_config_path, ..NamesrvConfig::default() };
        let namesrv = NamesrvController::start(Env::os(), namesrv_config).await.unwrap();
        let namesrv_addrs = vec![format!("127.0.0.1:{}", namesrv.local_addr().port())];
        let mut config = BrokerConfig::new("broker-a");
        config.broker_ip1 = Some("127.0.0.1".to_owned());
        config.namesrv_addrs.clone_from(&namesrv_addrs);
        let mut store_config = StoreConfig::at(dir.path().join("store"));
        store_config.mapped_file_size_commit_log = LOG_FILE;
        store_config.mapped_file_size_consume_queue = 20 * 100;
        (store_config.max_hash_slot_num, store_config.max_index_num) = (100, 400);
        change(&mut store_config);
        let broker = loop {
            let env = Env { disk: Arc::clone(disk) as Arc<dyn Disk>, ..Env::os() };
            let any_port = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
            config.listen_port = env.net.bind(any_port).await.unwrap().local_addr().unwrap().port();
            let started = BrokerController::start(env, config.clone(), store_config.clone()).await;
            if let Ok(broker) = started {
                break broker;
            }
        };
        Rig { dir, namesrv, broker, namesrv_addrs }
    }

    fn client(&self) -> ClientInstance {
        let namesrv_addrs = self.namesrv_addrs.clone();
        ClientInstance::start(Env::os(), ClientConfig { namesrv_addrs, ..Default::default() })
    }

    async fn shutdown(self, clients: Vec<ClientInstance>) {
        for client in clients {
            client.shutdown().await;
        }
        self.broker.shutdown().await;
        self.namesrv.shutdown().await;
        drop(self.dir);
    }
}

fn is_rejection(error: &ClientError) -> bool {
    let remark = "[REJECTREQUEST]system busy, start flow control for a while";
    matches!(
        error,
        ClientError::Broker { code: ResponseCode::SYSTEM_BUSY, remark: said, .. } if said == remark
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sends_are_rejected_while_the_put_lock_is_held_for_long() {
    let disk = Arc::new(StallingDisk { os: Env::os().disk, stalls: AtomicBool::new(false) });
    let rig = Rig::start(&disk, |config| config.os_page_cache_busy_timeout_ms = 200).await;
    let (slow, quick) = (rig.client(), rig.client());
    for client in [&slow, &quick] {
        send(client, 1_000).await.unwrap();
    }
    disk.stalls.store(true, Ordering::SeqCst);
    let begun = tokio::time::Instant::now();
    let stalled = async { (send(&slow, LOG_FILE - 1_500).await, begun.elapsed()) };
    let rejected = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        (send(&quick, 10).await.unwrap_err().cause, begun.elapsed())
    };
    let ((stored, after), (rejection, rejected_after)) = tokio::join!(stalled, rejected);
    stored.unwrap();
    assert!(after >= STALL, "{after:?}");
    assert!(rejected_after < STALL, "at once: {rejected_after:?}");
    assert!(is_rejection(&rejection), "{rejection}");
    send(&quick, 10).await.unwrap();
    rig.shutdown(vec![slow, quick]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sends_are_rejected_while_no_buffer_is_free() {
    let disk = Arc::new(StallingDisk { os: Env::os().disk, stalls: AtomicBool::new(false) });
    let rig = Rig::start(&disk, |config| {
        (config.transient_store_pool_enable, config.transient_store_pool_size) = (true, 1);
    });
    let rig = rig.await;
    let client = rig.client();
    send(&client, 10).await.unwrap();
    let rejection = send(&client, 10).await.unwrap_err().cause;
    assert!(is_rejection(&rejection), "{rejection}");
    rig.shutdown(vec![client]).await;
}
