//! [`ServerStream`], one accepted connection whose first byte says whether it is plain or TLS, and [`Encrypted`], TLS over a
//! stream.
//!
//! Nothing is waited for while connections are accepted: whoever reads drives the handshake. It has a time in which to
//! end, counted from its first byte, and holds no more than rustls does of one connection (some 34 KB in, 64 KB out).

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use mq_env::net::Stream;
use mq_remoting::LogLimit;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tokio_rustls::{Accept, TlsAcceptor, TlsStream};

/// A handshake takes no longer.
pub(crate) const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// The first byte of TLS: the type of a handshake record. A plain frame begins with the top byte of its length, which is 0.
const HANDSHAKE_RECORD: u8 = 0x16;

/// A connection that a server accepted.
pub(crate) struct ServerStream {
    state: State,
    config: Arc<ServerConfig>,
    takes_plain: bool,
    log: Arc<LogLimit>,
    peer: SocketAddr,
    /// Of who would write before it is known how.
    writer: Option<Waker>,
}

enum State {
    /// Nothing has come yet.
    Silent(Stream),
    Handshake(Box<Accept<Begun>>, Pin<Box<Sleep>>),
    Plain(Begun),
    Encrypted(Encrypted<Begun>),
    /// It was refused.
    Refused,
}

impl ServerStream {
    pub(crate) fn new(
        stream: Stream,
        config: Arc<ServerConfig>,
        takes_plain: bool,
        log: Arc<LogLimit>,
    ) -> Self {
        let peer = stream.peer_addr();
        ServerStream { state: State::Silent(stream), config, takes_plain, log, peer, writer: None }
    }

    /// Resolves once it is known what the connection is.
    fn poll_known(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match &mut self.state {
                State::Plain(_) | State::Encrypted(_) => return Poll::Ready(Ok(())),
                State::Refused => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                State::Silent(stream) => {
                    let first = ready!(poll_first(stream, cx))?;
                    self.first(first)?;
                }
                State::Handshake(accept, deadline) => {
                    let outcome = match Pin::new(accept).poll(cx) {
                        Poll::Ready(outcome) => outcome,
                        Poll::Pending => {
                            ready!(deadline.as_mut().poll(cx));
                            Err(io::Error::new(io::ErrorKind::TimedOut, "it takes too long"))
                        }
                    };
                    match outcome {
                        Ok(tls) => {
                            self.known(State::Encrypted(Encrypted::new(TlsStream::from(tls))))
                        }
                        Err(error) => {
                            let why = format!("the TLS handshake failed: {error}");
                            return Poll::Ready(Err(self.refuse(error.kind(), why)));
                        }
                    }
                }
            }
        }
    }

    fn first(&mut self, first: Option<u8>) -> io::Result<()> {
        let State::Silent(stream) = std::mem::replace(&mut self.state, State::Refused) else {
            return Ok(());
        };
        let begun = Begun { stream, first };
        if first == Some(HANDSHAKE_RECORD) {
            let accept = TlsAcceptor::from(Arc::clone(&self.config)).accept(begun);
            let deadline = Box::pin(tokio::time::sleep(HANDSHAKE_MAX));
            self.state = State::Handshake(Box::new(accept), deadline);
        } else if self.takes_plain || first.is_none() {
            self.known(State::Plain(begun));
        } else {
            let why = "it does not begin with a TLS handshake, and tls.server.mode is enforcing";
            return Err(self.refuse(io::ErrorKind::InvalidData, why.to_owned()));
        }
        Ok(())
    }

    fn known(&mut self, state: State) {
        self.state = state;
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    /// Closes the connection; one line says why, as often as the log bears.
    fn refuse(&mut self, kind: io::ErrorKind, why: String) -> io::Error {
        self.known(State::Refused);
        if let Some(more) = self.log.pass() {
            let peer = self.peer;
            tracing::info!(
                "closed the connection of {peer}: {why} ({more} more since the last line like this)"
            );
        }
        io::Error::new(kind, why)
    }

    /// What is written before it is known how is not written yet.
    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&mut dyn Io>> {
        match &mut self.state {
            State::Plain(stream) => Poll::Ready(Ok(stream)),
            State::Encrypted(stream) => Poll::Ready(Ok(stream)),
            State::Refused => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            State::Silent(_) | State::Handshake(..) => {
                self.writer = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// What a known connection is.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// The first byte; `None` if there is none, because the connection ends.
fn poll_first(stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<Option<u8>>> {
    let mut byte = [0];
    let mut buf = ReadBuf::new(&mut byte);
    ready!(Pin::new(stream).poll_read(cx, &mut buf))?;
    Poll::Ready(Ok(buf.filled().first().copied()))
}

impl AsyncRead for ServerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_known(cx))?;
        match &mut self.state {
            State::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            State::Encrypted(stream) => Pin::new(stream).poll_read(cx, buf),
            _ => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

impl AsyncWrite for ServerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let stream = ready!(self.poll_writable(cx))?;
        Pin::new(stream).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.state {
            State::Plain(stream) => Pin::new(stream).poll_flush(cx),
            State::Encrypted(stream) => Pin::new(stream).poll_flush(cx),
            // Nothing has been written.
            State::Silent(_) | State::Handshake(..) | State::Refused => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.state {
            State::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            State::Encrypted(stream) => Pin::new(stream).poll_shutdown(cx),
            State::Silent(stream) => Pin::new(stream).poll_shutdown(cx),
            State::Handshake(..) | State::Refused => Poll::Ready(Ok(())),
        }
    }
}

/// A stream of which one byte has been read.
pub(crate) struct Begun {
    stream: Stream,
    first: Option<u8>,
}

impl AsyncRead for Begun {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() > 0
            && let Some(first) = self.first.take()
        {
            buf.put_slice(&[first]);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Begun {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// TLS over a stream. A peer that ends without saying so has ended: what a frame lacks is seen by its length.
pub(crate) struct Encrypted<S>(Box<TlsStream<S>>);

impl<S> Encrypted<S> {
    pub(crate) fn new(stream: TlsStream<S>) -> Self {
        Encrypted(Box::new(stream))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Encrypted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut *self.0).poll_read(cx, buf)) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            read => Poll::Ready(read),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Encrypted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(cx)
    }
}
