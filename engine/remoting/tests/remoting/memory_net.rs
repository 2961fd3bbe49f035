//! A network in memory: lossless, immediate, deterministic. Hosts 10.9.x.x never answer.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use mq_env::net::{Listener, Net, Stream};
use mq_env::{BoxFuture, Env};
use tokio::sync::mpsc;

/// Bytes that a connection holds per direction before its writer blocks.
const WINDOW_BYTES: usize = 64 << 10;

#[derive(Default)]
pub(crate) struct MemoryNet {
    listeners: Mutex<BTreeMap<SocketAddr, mpsc::UnboundedSender<Stream>>>,
}

/// An env whose sockets are those of one new [`MemoryNet`].
pub(crate) fn memory_env() -> Env {
    Env { net: Arc::new(MemoryNet::default()), ..Env::os() }
}

impl Net for MemoryNet {
    fn connect<'a>(&'a self, addr: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move {
            if addr.starts_with("10.9.") {
                std::future::pending::<()>().await;
            }
            let server: SocketAddr = addr.parse().map_err(|_| io::ErrorKind::NotFound)?;
            let client = SocketAddr::from(([10, 0, 0, 1], 40_000));
            let (near, far) = tokio::io::duplex(WINDOW_BYTES);
            let accepted = Stream::new(Box::new(far), server, client);
            let listeners = self.listeners.lock().unwrap();
            let listener = listeners.get(&server).ok_or(io::ErrorKind::ConnectionRefused)?;
            listener.send(accepted).map_err(|_| io::ErrorKind::ConnectionRefused)?;
            Ok(Stream::new(Box::new(near), client, server))
        })
    }

    fn bind(&self, addr: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.listeners.lock().unwrap().insert(addr, sender);
        let listener = MemoryListener { addr, incoming: tokio::sync::Mutex::new(receiver) };
        Box::pin(async move { Ok(Box::new(listener) as Box<dyn Listener>) })
    }

    fn local_ip(&self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))
    }
}

struct MemoryListener {
    addr: SocketAddr,
    incoming: tokio::sync::Mutex<mpsc::UnboundedReceiver<Stream>>,
}

impl Listener for MemoryListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move {
            self.incoming.lock().await.recv().await.ok_or_else(|| io::ErrorKind::Other.into())
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }
}
