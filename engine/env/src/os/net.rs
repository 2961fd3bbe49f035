//! TCP over tokio.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use tokio::net::{TcpListener, TcpStream};

use crate::BoxFuture;
use crate::net::{Listener, Net, Stream};

/// The machine's sockets.
pub(crate) struct OsNet {
    local_ip: IpAddr,
}

impl OsNet {
    /// Finds the local address once: the source address of the default route, else loopback.
    pub(crate) fn new() -> Self {
        OsNet { local_ip: default_route_source().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)) }
    }
}

/// Connecting a UDP socket sends nothing but makes the kernel choose a source address.
fn default_route_source() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    socket.local_addr().ok().map(|addr| addr.ip()).filter(|ip| !ip.is_unspecified())
}

fn into_stream(tcp: TcpStream) -> io::Result<Stream> {
    tcp.set_nodelay(true)?;
    let (local, peer) = (tcp.local_addr()?, tcp.peer_addr()?);
    Ok(Stream::new(Box::new(tcp), local, peer))
}

impl Net for OsNet {
    fn connect<'a>(&'a self, addr: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move { into_stream(TcpStream::connect(addr).await?) })
    }

    fn bind(&self, addr: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listener = TcpListener::bind(addr).await?;
            Ok(Box::new(OsListener(listener)) as Box<dyn Listener>)
        })
    }

    fn local_ip(&self) -> IpAddr {
        self.local_ip
    }
}

struct OsListener(TcpListener);

impl Listener for OsListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move { into_stream(self.0.accept().await?.0) })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
