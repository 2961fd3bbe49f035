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
use crate::limits::{Limits, Used};
use crate::log_limit::LogLimit;
use crate::processor::ProcessorTable;

/// Pause after a failed accept (out of file descriptors, say) before the next.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Time between two log lines about what peers do.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// Told of every connection's beginning and end (Java `ChannelEventListener`). Called on the
/// connection's task; must not block.
pub trait ConnectionListener: Send + Sync {
    /// A connection was accepted; none of its requests has been read yet.
    fn connected(&self, channel: &Channel);

    /// A connection has ended. Called once per connection, after its last request was dispatched.
    fn closed(&self, channel: &Channel, reason: &CloseReason);
}

/// Settings of a [`RemotingServer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemotingServerConfig {
    /// A connection without a byte in either direction for so many seconds is closed
    /// (`serverChannelMaxIdleTimeSeconds`).
    pub channel_max_idle_seconds: u64,
    /// Connections beyond so many are closed as they come (`serverConnectionsMax`).
    pub connections_max: usize,
    /// A connection with more than so many bytes waiting to be written is not read from
    /// (`serverChannelOutHighWaterBytes`).
    pub channel_out_high_water_bytes: usize,
    /// A connection with more is closed: replies that became ready all at once and are not read
    /// (`serverChannelOutBytesMax`).
    pub channel_out_bytes_max: usize,
    /// What may wait to be written on all connections together (`serverOutBytesMax`). While it is more, who
    /// has bytes waiting is not read from, and who has had the same ones waiting for longer than
    /// the patience is closed.
    pub out_bytes_max: usize,
    /// What may have arrived of unfinished frames on all connections together
    /// (`serverPartialFrameBytesMax`). While it is more, large frames wait for the rest of theirs, and
    /// whose frame has been arriving for longer than the patience is closed.
    pub partial_frame_bytes_max: usize,
    /// The patience of both, in ms (`serverBudgetPatienceMillis`).
    pub budget_patience_ms: u64,
    /// A connection with so many requests being answered, held pulls included, is not read from
    /// (`serverChannelRequestsInWorkMax`).
    pub channel_requests_in_work_max: usize,
    /// A connection with requests of so many bytes being answered is not read from
    /// (`serverChannelInWorkBytesMax`).
    pub channel_in_work_bytes_max: usize,
}

impl Default for RemotingServerConfig {
    fn default() -> Self {
        RemotingServerConfig {
            channel_max_idle_seconds: 120,
            connections_max: 16_384,
            channel_out_high_water_bytes: 8 << 20,
            channel_out_bytes_max: 128 << 20,
            out_bytes_max: 256 << 20,
            partial_frame_bytes_max: 256 << 20,
            budget_patience_ms: 5_000,
            channel_requests_in_work_max: 16_384,
            channel_in_work_bytes_max: 64 << 20,
        }
    }
}

/// What peers make a server hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLoad {
    /// Connections (`serverConnectionsMax`).
    pub connections: Used,
    /// Bytes of unread replies (`serverOutBytesMax`).
    pub out_bytes: Used,
    /// Bytes of unfinished frames (`serverPartialFrameBytesMax`).
    pub partial_frame_bytes: Used,
}

/// Listeners and their connections (Java `NettyRemotingServer`); clones share them.
#[derive(Clone)]
pub struct RemotingServer {
    inner: Arc<Inner>,
}

struct Inner {
    tasks: TaskGroup,
    limits: Limits,
    connections_max: usize,
    refused_log: LogLimit,
    closed_log: LogLimit,
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
                limits: Limits::of_server(&config),
                connections_max: config.connections_max,
                refused_log: LogLimit::new(LOG_INTERVAL),
                closed_log: LogLimit::new(LOG_INTERVAL),
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

    /// How much there is of what peers may make this server hold.
    #[must_use]
    pub fn load(&self) -> ServerLoad {
        let Inner { limits, connections_max, .. } = &*self.inner;
        let connections = self.inner.channels().as_ref().map_or(0, BTreeMap::len);
        ServerLoad {
            connections: Used { count: connections, max: *connections_max },
            out_bytes: limits.out_budget.used(),
            partial_frame_bytes: limits.partial_budget.used(),
        }
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
        let limits = self.limits.clone();
        let channel = Channel::accepted(id, stream.local_addr(), stream.peer_addr(), &limits);
        match self.channels().as_mut() {
            Some(channels) if channels.len() >= self.connections_max => {
                return self.say_refused(&channel);
            }
            Some(channels) => channels.insert(id, channel.clone()),
            None => return,
        };
        let tasks = self.tasks.clone();
        let connection = Connection::new(stream, channel.clone(), processors, tasks, limits);
        let inner = Arc::clone(self);
        self.tasks.spawn("remoting connection", async move {
            if let Some(listener) = &inner.listener {
                listener.connected(&channel);
            }
            let reason = connection.run().await;
            inner.say_closed(&channel, &reason);
            if let Some(channels) = inner.channels().as_mut() {
                channels.remove(&id);
            }
            if let Some(listener) = &inner.listener {
                listener.closed(&channel, &reason);
            }
        });
    }

    fn say_refused(&self, channel: &Channel) {
        if let Some(more) = self.refused_log.pass() {
            let (peer, limit) = (channel.remote_addr(), self.connections_max);
            tracing::warn!(
                "refused a connection of {peer} and {more} since the last line like this: \
                 {limit} are open (serverConnectionsMax)"
            );
        }
    }

    /// One line for a peer that was closed for what it did, as often as the log bears.
    fn say_closed(&self, channel: &Channel, reason: &CloseReason) {
        tracing::debug!(?channel, %reason, "connection closed");
        if !reason.is_fault_of_peer() {
            return;
        }
        if let Some(more) = self.closed_log.pass() {
            let peer = channel.remote_addr();
            tracing::info!(
                "closed the connection of {peer}: {reason} ({more} more since the last line like this)"
            );
        }
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
