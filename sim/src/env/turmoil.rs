//! A second, independent network: `mq_env::net` over turmoil, for the same scenarios to be run on
//! a simulator that shares no code with [`net`](super::net).
//!
//! Everything here works inside a turmoil host only. The simulation is to be built with a fixed
//! `epoch` (turmoil's default is the real time), ticks of whole milliseconds and no message loss:
//! turmoil's TCP does not retransmit.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use mq_env::clock::Clock;
use mq_env::disk::Disk;
use mq_env::net::{Listener, Net, Stream};
use mq_env::probe::Probe;
use mq_env::rng::Rng;
use mq_env::task::{Spawner, TaskGroup};
use mq_env::{BoxFuture, Env};
use turmoil::net::{TcpListener, TcpStream};

/// The environment of a process that runs as turmoil's host `host`.
///
/// # Panics
/// Outside a turmoil simulation, or when it has no such host.
#[must_use]
pub fn host_env(host: &str, disk: Arc<dyn Disk>, rng: Rng, probe: Probe) -> Env {
    Env {
        disk,
        net: Arc::new(TurmoilNet { local_ip: turmoil::lookup(host) }),
        clock: Arc::new(TurmoilClock),
        rng,
        tasks: TaskGroup::new(Arc::new(TurmoilSpawner)),
        probe,
    }
}

struct TurmoilNet {
    local_ip: IpAddr,
}

fn into_stream(tcp: TcpStream) -> io::Result<Stream> {
    let (local, peer) = (tcp.local_addr()?, tcp.peer_addr()?);
    Ok(Stream::new(Box::new(tcp), local, peer))
}

impl Net for TurmoilNet {
    fn connect<'a>(&'a self, addr: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move { into_stream(TcpStream::connect(addr).await?) })
    }

    fn bind(&self, addr: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            // Turmoil's hosts have one address, of IPv4.
            let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, addr.port()));
            let addr = if addr.ip().is_unspecified() { any } else { addr };
            let listener = TcpListener::bind(addr).await?;
            Ok(Box::new(TurmoilListener(listener)) as Box<dyn Listener>)
        })
    }

    fn local_ip(&self) -> IpAddr {
        self.local_ip
    }
}

struct TurmoilListener(TcpListener);

impl Listener for TurmoilListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move { into_stream(self.0.accept().await?.0) })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// The simulation's clock, from its epoch on, in UTC.
pub struct TurmoilClock;

impl Clock for TurmoilClock {
    fn now_millis(&self) -> u64 {
        let since_epoch = turmoil::since_epoch().unwrap_or_default();
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
    }

    fn utc_offset_seconds(&self, _at_ms: u64) -> i32 {
        0
    }
}

/// Tasks of the current turmoil host; a panic ends the simulation.
struct TurmoilSpawner;

impl Spawner for TurmoilSpawner {
    #[expect(clippy::disallowed_methods, reason = "the spawner of this backend")]
    fn spawn(&self, _name: &'static str, future: BoxFuture<'static, ()>) {
        tokio::task::spawn_local(future);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::env::disk::{SimDisk, SimDiskConfig};

    const EPOCH_MS: u64 = 1_700_000_000_000;

    fn env(host: &str) -> Env {
        let rng = Rng::from_seed(7);
        let disk = SimDisk::new(SimDiskConfig::default(), Arc::new(TurmoilClock), rng.clone());
        host_env(host, disk.handle(host), rng, Probe::silent())
    }

    async fn serve(env: Env) -> io::Result<()> {
        let listener = env.net.bind(SocketAddr::from(([0, 0, 0, 0], 9_876))).await?;
        loop {
            let mut stream = listener.accept().await?;
            env.tasks.spawn("echo", async move {
                let mut frame = [0; 5];
                while stream.read_exact(&mut frame).await.is_ok() {
                    stream.write_all(&frame).await.unwrap();
                }
            });
        }
    }

    #[test]
    fn a_server_and_a_client_meet_as_turmoil_hosts() {
        let mut sim = turmoil::Builder::new()
            .epoch(std::time::UNIX_EPOCH + Duration::from_millis(EPOCH_MS))
            .tick_duration(Duration::from_millis(1))
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(3))
            .rng_seed(7)
            .build();
        sim.host("server", || async { Ok(serve(env("server")).await?) });
        sim.client("client", async {
            let env = env("client");
            let refused = env.net.connect("server:1").await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            let before_ms = env.clock.now_millis();
            assert!((EPOCH_MS..EPOCH_MS + 1_000).contains(&before_ms));
            let mut stream = env.net.connect("server:9876").await?;
            assert_eq!(stream.local_addr().ip(), env.net.local_ip());
            for word in [b"hello", b"again"] {
                stream.write_all(word).await?;
                let mut frame = [0; 5];
                stream.read_exact(&mut frame).await?;
                assert_eq!(&frame, word);
            }
            assert!(env.clock.now_millis() > before_ms);
            Ok(())
        });
        sim.run().unwrap();
    }
}
