//! [`RemotingServer`]: listeners and the connections they accepted.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mq_env::net::{Listener, Stream};
use mq_env::task::TaskGroup;
use mq_env::{BoxFuture, Env};

use crate::channel::{Channel, ChannelId};
use crate::connection::Connection;
use crate::error::CloseReason;
use crate::processor::ProcessorTable;

/// Pause after a failed accept (out of file descriptors, say) before the next.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Told of every connection's beginning and end (Java `ChannelEventListener`). Called on the
/// connection's task; must not block.
pub trait ConnectionListener: Send + Sync {
    /// A connection was accepted; none of its requests has been read yet.
    fn connected(&self, channel: &Channel);

    /// A connection has ended. Called once per connection, after its last request was dispatched.
    fn closed(&self, channel: &Channel, reason: &CloseReason);
}

/// Settings of a [`RemotingServer`].
#[derive(Clone, Debug)]
pub struct RemotingServerConfig {
    /// A connection without a byte in either direction for this long is closed
    /// (`serverChannelMaxIdleTimeSeconds`).
    pub channel_max_idle: Duration,
}

impl Default for RemotingServerConfig {
    fn default() -> Self {
        RemotingServerConfig { channel_max_idle: Duration::from_secs(120) }
    }
}

/// Listeners and their connections (Java `NettyRemotingServer`); clones share them.
#[derive(Clone)]
pub struct RemotingServer {
    inner: Arc<Inner>,
}

struct Inner {
    tasks: TaskGroup,
    config: RemotingServerConfig,
    listener: Option<Arc<dyn ConnectionListener>>,
    local_addrs: Vec<SocketAddr>,
    next_id: AtomicU64,
    /// The open connections; `None` once the server is shut down.
    channels: Mutex<Option<BTreeMap<ChannelId, Channel>>>,
}

impl RemotingServer {
    /// Listens on every address of `endpoints` and lets its table answer what comes in by it.
    /// Endpoints may share one table. `listener` hears of connections.
    ///
    /// # Errors
    /// When an address cannot be bound; none is then.
    pub fn start(
        env: Env,
        config: RemotingServerConfig,
        endpoints: Vec<(SocketAddr, Arc<ProcessorTable>)>,
        listener: Option<Arc<dyn ConnectionListener>>,
    ) -> BoxFuture<'static, io::Result<RemotingServer>> {
        Box::pin(async move {
            let mut bound = Vec::with_capacity(endpoints.len());
            let mut local_addrs = Vec::with_capacity(endpoints.len());
            for (addr, processors) in endpoints {
                let socket = env.net.bind(addr).await?;
                local_addrs.push(socket.local_addr()?);
                bound.push((socket, processors));
            }
            let inner = Arc::new(Inner {
                tasks: env.tasks.child(),
                config,
                listener,
                local_addrs,
                next_id: AtomicU64::new(0),
                channels: Mutex::new(Some(BTreeMap::new())),
            });
            for (socket, processors) in bound {
                let accepting = Arc::clone(&inner).accept(socket, processors);
                inner.tasks.spawn_until_cancelled("remoting accept", accepting);
            }
            let closing = Arc::clone(&inner);
            inner.tasks.spawn("remoting close", async move {
                closing.tasks.cancelled().await;
                closing.close_all();
            });
            Ok(RemotingServer { inner })
        })
    }

    /// The addresses listened on, in the order given to [`RemotingServer::start`].
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.inner.local_addrs
    }

    /// The open connections, oldest first.
    #[must_use]
    pub fn channels(&self) -> Vec<Channel> {
        self.inner.channels().iter().flat_map(|channels| channels.values().cloned()).collect()
    }

    /// Stops listening, closes every connection and waits until the requests being answered are.
    pub async fn shutdown(&self) {
        self.inner.tasks.shutdown().await;
    }
}

impl Inner {
    async fn accept(self: Arc<Self>, socket: Box<dyn Listener>, processors: Arc<ProcessorTable>) {
        loop {
            match socket.accept().await {
                Ok(stream) => self.serve(stream, Arc::clone(&processors)),
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    fn serve(self: &Arc<Self>, stream: Stream, processors: Arc<ProcessorTable>) {
        let id = ChannelId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let channel = Channel::accepted(id, stream.local_addr(), stream.peer_addr());
        match self.channels().as_mut() {
            Some(channels) => channels.insert(id, channel.clone()),
            None => return,
        };
        let (tasks, idle) = (self.tasks.clone(), self.config.channel_max_idle);
        let connection = Connection::new(stream, channel.clone(), processors, tasks, idle);
        let inner = Arc::clone(self);
        self.tasks.spawn("remoting connection", async move {
            if let Some(listener) = &inner.listener {
                listener.connected(&channel);
            }
            let reason = connection.run().await;
            tracing::debug!(?channel, %reason, "connection closed");
            if let Some(channels) = inner.channels().as_mut() {
                channels.remove(&id);
            }
            if let Some(listener) = &inner.listener {
                listener.closed(&channel, &reason);
            }
        });
    }

    fn close_all(&self) {
        for channel in self.channels().take().unwrap_or_default().values() {
            channel.close();
        }
    }

    fn channels(&self) -> MutexGuard<'_, Option<BTreeMap<ChannelId, Channel>>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
