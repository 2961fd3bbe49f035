//! [`PipeNet`]: connections inside the test, with a buffer so small that every frame is cut.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use mq_env::BoxFuture;
use mq_env::net::{Listener, Net, Stream};
use tokio::sync::mpsc;

/// Bytes that fit into a connection: less than a frame's header and a report together.
const PIPE_BYTES: usize = 17;

type Listeners = Arc<Mutex<BTreeMap<u16, mpsc::UnboundedSender<Stream>>>>;

/// All machines of a test share one; ports are unique among them.
#[derive(Clone, Default)]
pub(crate) struct PipeNet {
    listeners: Listeners,
    next_port: Arc<Mutex<u16>>,
}

impl PipeNet {
    /// The sockets of the machine 10.0.0.`number`.
    pub(crate) fn machine(&self, number: u8) -> Arc<dyn Net> {
        Arc::new(Machine { net: self.clone(), ip: IpAddr::from([10, 0, 0, number]) })
    }

    fn ephemeral_port(&self) -> u16 {
        let mut next_port = self.next_port.lock().unwrap();
        *next_port += 1;
        40_000 + *next_port
    }
}

struct Machine {
    net: PipeNet,
    ip: IpAddr,
}

impl Net for Machine {
    fn connect<'a>(&'a self, addr: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move {
            let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
            let server: SocketAddr = addr.parse().map_err(|_| refused())?;
            let local = SocketAddr::new(self.ip, self.net.ephemeral_port());
            let (near, far) = tokio::io::duplex(PIPE_BYTES);
            let accepted = Stream::new(Box::new(far), server, local);
            let listeners = self.net.listeners.lock().unwrap();
            let listener = listeners.get(&server.port()).ok_or_else(refused)?;
            listener.send(accepted).map_err(|_| refused())?;
            Ok(Stream::new(Box::new(near), local, server))
        })
    }

    fn bind(&self, addr: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let (sender, receiver) = mpsc::unbounded_channel();
            self.net.listeners.lock().unwrap().insert(addr.port(), sender);
            let local_addr = SocketAddr::new(self.ip, addr.port());
            let incoming = tokio::sync::Mutex::new(receiver);
            Ok(Box::new(PipeListener { local_addr, incoming }) as Box<dyn Listener>)
        })
    }

    fn local_ip(&self) -> IpAddr {
        self.ip
    }
}

struct PipeListener {
    local_addr: SocketAddr,
    incoming: tokio::sync::Mutex<mpsc::UnboundedReceiver<Stream>>,
}

impl Listener for PipeListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move {
            let stream = self.incoming.lock().await.recv().await;
            stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local_addr)
    }
}
