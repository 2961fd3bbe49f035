//! The `mq_env` side: [`SimNet`], listeners and streams as handles on the fabric.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use mq_env::BoxFuture;
use mq_env::net::{Listener, Net, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop;

use super::connection::Side;
use super::{Fabric, OwnerId};

/// The network as one process incarnation sees it.
pub(super) struct SimNet {
    fabric: Arc<Fabric>,
    owner: OwnerId,
    local_ip: IpAddr,
}

impl SimNet {
    pub(super) fn new(fabric: Arc<Fabric>, owner: OwnerId, local_ip: IpAddr) -> Self {
        SimNet { fabric, owner, local_ip }
    }
}

impl Net for SimNet {
    fn connect<'a>(&'a self, addr: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move {
            let (conn, local, peer) = self.fabric.with(|state| state.connect(self.owner, addr))?;
            // From here on the socket's Drop closes it, also when the caller gives up waiting.
            let socket = Socket { fabric: Arc::clone(&self.fabric), conn, side: Side::Initiator };
            poll_fn(|cx| self.fabric.with(|state| state.poll_connected(conn, cx))).await?;
            Ok(Stream::new(Box::new(socket), local, peer))
        })
    }

    fn bind(&self, addr: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let (id, addr) = self.fabric.with(|state| state.bind(self.owner, addr))?;
            let fabric = Arc::clone(&self.fabric);
            Ok(Box::new(SimListener { fabric, id, addr }) as Box<dyn Listener>)
        })
    }

    fn local_ip(&self) -> IpAddr {
        self.local_ip
    }
}

struct SimListener {
    fabric: Arc<Fabric>,
    id: u64,
    addr: SocketAddr,
}

impl Listener for SimListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move {
            let accept = |cx: &mut Context<'_>| {
                let coop = ready!(coop::poll_proceed(cx));
                let accepted = ready!(self.fabric.with(|state| state.poll_accept(self.id, cx)));
                coop.made_progress();
                Poll::Ready(accepted)
            };
            let (conn, local, peer) = poll_fn(accept).await?;
            let socket = Socket { fabric: Arc::clone(&self.fabric), conn, side: Side::Acceptor };
            Ok(Stream::new(Box::new(socket), local, peer))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        self.fabric.with(|state| state.close_listener(self.id));
    }
}

/// One side of a connection. Uses tokio's cooperative budget as its sockets do, so that a task that
/// always finds bytes yields as often as it would on the operating system.
struct Socket {
    fabric: Arc<Fabric>,
    conn: u64,
    side: Side,
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let coop = ready!(coop::poll_proceed(cx));
        let read = self.fabric.with(|state| state.poll_read(self.conn, self.side, cx, buf));
        if read.is_ready() {
            coop.made_progress();
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(data)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let coop = ready!(coop::poll_proceed(cx));
        let wrote = self.fabric.with(|state| state.poll_write(self.conn, self.side, cx, data));
        if wrote.is_ready() {
            coop.made_progress();
        }
        wrote
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.fabric.with(|state| state.shutdown(self.conn, self.side));
        Poll::Ready(Ok(()))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.fabric.with(|state| state.close(self.conn, self.side));
    }
}
