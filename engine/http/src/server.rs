//! [`serve`]: a listener, a handler, and the connections between them.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use mq_env::net::{Listener, Stream};
use mq_env::task::TaskGroup;
use mq_env::{BoxFuture, Env};
use tokio::sync::Semaphore;

use crate::limits::Limits;
use crate::request::Request;
use crate::response::Response;

/// Pause after a failed accept (out of file descriptors, say) before the next.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Answers requests until it is shut down or its process ends.
pub struct HttpServer {
    local_addr: SocketAddr,
    tasks: TaskGroup,
}

impl HttpServer {
    /// The address listened on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Stops listening and drops what is open.
    pub async fn shutdown(&self) {
        self.tasks.shutdown().await;
    }
}

struct Inner {
    handler: Box<dyn Fn(Request) -> BoxFuture<'static, Response> + Send + Sync>,
    limits: Limits,
}

/// Answers what `listener` accepts by `handler`, within `limits`.
///
/// # Errors
/// When the listener does not know its address.
pub fn serve<F, A>(
    env: &Env,
    listener: Box<dyn Listener>,
    handler: F,
    limits: Limits,
) -> io::Result<HttpServer>
where
    F: Fn(Request) -> A + Send + Sync + 'static,
    A: Future<Output = Response> + Send + 'static,
{
    let local_addr = listener.local_addr()?;
    let tasks = env.tasks.child();
    let handler =
        Box::new(move |request| Box::pin(handler(request)) as BoxFuture<'static, Response>);
    let inner = Arc::new(Inner { handler, limits });
    tasks.spawn_until_cancelled("http accept", accept(tasks.clone(), listener, inner));
    Ok(HttpServer { local_addr, tasks })
}

async fn accept(tasks: TaskGroup, listener: Box<dyn Listener>, inner: Arc<Inner>) {
    let room = Arc::new(Semaphore::new(inner.limits.connections_max));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok(stream) => {
                let inner = Arc::clone(&inner);
                tasks.spawn_until_cancelled("http connection", async move {
                    let _place = place;
                    exchange(stream, inner).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// One request and its answer.
async fn exchange(stream: Stream, inner: Arc<Inner>) {
    let peer = stream.peer_addr();
    let (exchange_max, buffer_bytes) = (inner.limits.exchange_max, inner.limits.buffer_bytes());
    let service = service_fn(move |request| answer(request, Arc::clone(&inner)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(exchange_max)
        .keep_alive(false)
        .max_buf_size(buffer_bytes)
        // A date would be the machine's clock, past the environment's.
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(exchange_max, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%peer, %error, "no HTTP, or its peer went"),
        Err(_) => tracing::debug!(%peer, "closed: its exchange took more than {exchange_max:?}"),
    }
}

async fn answer(
    request: hyper::Request<Incoming>,
    inner: Arc<Inner>,
) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
    let response = match Request::read(request, inner.limits.body_bytes_max).await {
        Ok(request) => (inner.handler)(request).await,
        Err(response) => response,
    };
    Ok(response.into_hyper())
}
