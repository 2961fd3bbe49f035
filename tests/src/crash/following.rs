//! A slave whose log has a tail that its master does not have: it sets the tail aside and cuts it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mq_env::net::{Listener, Net, Stream};
use mq_env::{BoxFuture, Env};
use mq_store::config::{BrokerRole, StoreConfig};
use mq_store::ha::HaService;
use mq_store::ha::prefix::{PrefixOracle, answer_prefix_query};

use super::known::{Knowledge, Violation};
use super::stage::{Camera, Point, Stage, new_disk};

/// A network on which nobody is reached, and nobody comes.
struct NoNet;

impl Net for NoNet {
    fn connect<'a>(&'a self, _addr: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) })
    }

    fn bind(&self, addr: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async move { Ok(Box::new(NobodyComes(addr)) as Box<dyn Listener>) })
    }

    fn local_ip(&self) -> IpAddr {
        Ipv4Addr::LOCALHOST.into()
    }
}

struct NobodyComes(SocketAddr);

impl Listener for NobodyComes {
    fn accept(&self) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(std::future::pending())
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.0)
    }
}

/// The crash points of a slave that finds its tail diverged.
///
/// # Errors
/// When a promise is broken without a crash.
pub fn play(config: &StoreConfig) -> Result<Vec<Point>, Violation> {
    let (disk, knowledge) = (new_disk(1), Knowledge::default());
    let fork = Stage::live(&disk, config, 0, &knowledge, async |stage| {
        stage.put(0..12).await;
        stage.pass(100).await;
        Ok(stage.disk.image())
    })?;
    let master_disk = fork.after_kill();
    let common = knowledge.learn(|known| known.appended.values().map(|it| it.0).max());
    let common = common.unwrap_or_default();
    Stage::live(&disk, config, 1, &knowledge, async |stage| {
        stage.put(12..28).await;
        stage.pass(1_100).await;
        Ok(())
    })?;
    let mut slave_config = config.clone();
    slave_config.broker_role = BrokerRole::Slave;
    slave_config.ha_master_address = Some("10.0.0.1:10912".to_owned());
    slave_config.ha_max_diverged_bytes = Some(1 << 20);
    let nobody = Knowledge::default();
    Stage::live(&master_disk, config, 1, &nobody, async |master| {
        master.put(200..203).await;
        Stage::play_slave(&disk, &slave_config, &knowledge, master, common).await
    })
}

impl Stage {
    async fn play_slave(
        disk: &Arc<staticfire_world::disk::SimDisk>,
        config: &StoreConfig,
        knowledge: &Knowledge,
        master: &Stage,
        common: u64,
    ) -> Result<Vec<Point>, Violation> {
        let store = Arc::clone(&master.store);
        let oracle: PrefixOracle = Arc::new(move |query| {
            let answer = answer_prefix_query(store.commit_log(), &query);
            Box::pin(async move { Ok(answer) })
        });
        Stage::open(disk, config, 2, knowledge, async |stage| {
            let log = stage.store.commit_log();
            let mut tail = Vec::new();
            while let Some(data) = log.data(common + tail.len() as u64) {
                tail.extend_from_slice(&data);
            }
            knowledge.learn(|known| {
                known.cutting = Some(common);
                known.tail = Some((common, Arc::new(tail)));
            });
            let env = Env { net: Arc::new(NoNet), ..stage.env.clone() };
            let camera = Camera::start(&stage.disk, knowledge);
            let ha = HaService::new(&env, &stage.store, Some(oracle));
            ha.start().await.unwrap();
            while ha.quarantines().is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Ok(camera.stop())
        })
        .await
    }
}
