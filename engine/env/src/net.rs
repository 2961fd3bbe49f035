//! Sockets: the traits [`Net`] and [`Listener`], and [`Stream`], one TCP connection.
//!
//! `connect` may fail with any error kind that a real socket gives. A stream may stall for ever
//! without an error (a peer without power, a partition): every wait on a peer has a deadline.
//! Reads return any number of bytes from 1 up: frames arrive cut anywhere.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::BoxFuture;

/// The sockets of one machine.
pub trait Net: Send + Sync {
    /// Opens a TCP connection to `addr`: `host:port` or `ip:port`. Names are resolved by the machine.
    /// No-delay is set, keep-alive is not (RocketMQ's settings).
    ///
    /// # Errors
    /// `ConnectionRefused`, `TimedOut`, `NotFound` for an unknown name, and others.
    fn connect<'a>(&'a self, addr: &'a str) -> BoxFuture<'a, io::Result<Stream>>;

    /// Listens on `addr`; port 0 lets the machine choose. On [`any_addr`] peers of both families are
    /// heard where the machine has both, else those of IPv4; their addresses look the same either way.
    ///
    /// # Errors
    /// `AddrInUse`, and what the operating system says.
    fn bind(&self, addr: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>>;

    /// The same sockets without what encrypts them, for connections that RocketMQ never encrypts; `None` if nothing
    /// does.
    fn unencrypted(&self) -> Option<Arc<dyn Net>> {
        None
    }

    /// The address by which other machines reach this one (the default of `brokerIP1`).
    fn local_ip(&self) -> IpAddr;
}

/// Every address of the machine, IPv6 and IPv4, as Java listens: `[::]:port` for [`Net::bind`].
#[must_use]
pub fn any_addr(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))
}

/// A listening socket; closed when dropped.
pub trait Listener: Send + Sync {
    /// Waits for the next connection.
    ///
    /// # Errors
    /// What the operating system says; the listener stays usable.
    fn accept(&self) -> BoxFuture<'_, io::Result<Stream>>;

    /// The address it listens on.
    ///
    /// # Errors
    /// What the operating system says.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// What a [`Stream`] is made of.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// One TCP connection. Implements `AsyncRead` and `AsyncWrite`; split it with `tokio::io::split`.
/// Dropping it closes it: FIN, or RST when received bytes are still unread.
pub struct Stream {
    io: Box<dyn ByteStream>,
    local_addr: SocketAddr,
    peer_addr: SocketAddr,
}

impl Stream {
    /// Wraps a backend's connection.
    #[must_use]
    pub fn new(io: Box<dyn ByteStream>, local_addr: SocketAddr, peer_addr: SocketAddr) -> Self {
        Stream { io, local_addr, peer_addr }
    }

    /// This side's address.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The other side's address.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer_addr
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.io).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stream({} -> {})", self.local_addr, self.peer_addr)
    }
}
