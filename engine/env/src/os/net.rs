//! TCP over tokio.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use rustix::net::sockopt::set_ipv6_v6only;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

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
    let (local, peer) = (canonical(tcp.local_addr()?), canonical(tcp.peer_addr()?));
    Ok(Stream::new(Box::new(tcp), local, peer))
}

/// A socket of both families shows IPv4 peers as `::ffff:a.b.c.d`.
fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::from((ip, addr.port())),
        IpAddr::V6(_) => addr,
    }
}

/// Connections the kernel completes before they are accepted, as in tokio's own `bind`.
const BACKLOG: u32 = 1024;

/// Listens on both families whatever `net.ipv6.bindv6only` says.
fn bind_both_families(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v6()?;
    set_ipv6_v6only(&socket, false)?;
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// What a kernel without IPv6, or with all of it switched off, says.
fn lacks_ipv6(error: &io::Error) -> bool {
    let errno = error.raw_os_error();
    error.kind() == io::ErrorKind::AddrNotAvailable || errno == Some(libc::EAFNOSUPPORT)
}

async fn bind_any(addr: SocketAddr) -> io::Result<TcpListener> {
    match bind_both_families(addr) {
        Err(error) if lacks_ipv6(&error) => {
            tracing::info!(%error, port = addr.port(), "no IPv6 here, listening on IPv4");
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, addr.port())).await
        }
        bound => bound,
    }
}

impl Net for OsNet {
    fn connect<'a>(&'a self, addr: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move { into_stream(TcpStream::connect(addr).await?) })
    }

    fn bind(&self, addr: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listener = match addr.ip() {
                IpAddr::V6(ip) if ip.is_unspecified() => bind_any(addr).await?,
                _ => TcpListener::bind(addr).await?,
            };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::any_addr;

    #[tokio::test]
    async fn one_listener_hears_both_families_and_ipv4_peers_look_like_ipv4() {
        let net = OsNet::new();
        let listener = net.bind(any_addr(0)).await.unwrap();
        let bound = listener.local_addr().unwrap();
        let mut hosts = vec!["127.0.0.1"];
        // Without IPv6 the listener has to be one of IPv4.
        hosts.extend(bound.is_ipv6().then_some("[::1]"));
        for host in hosts {
            let client = net.connect(&format!("{host}:{}", bound.port())).await.unwrap();
            let server = listener.accept().await.unwrap();
            assert_eq!(server.peer_addr(), client.local_addr());
            assert_eq!(server.local_addr(), client.peer_addr());
        }
        let taken = net.bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, bound.port()))).await;
        assert_eq!(taken.err().unwrap().kind(), io::ErrorKind::AddrInUse);
    }
}
