//! [`RemotingClient`]: one connection per address, opened when first needed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mq_env::Env;
use mq_env::net::Stream;
use mq_env::task::TaskGroup;
use mq_protocol::remoting_command::RemotingCommand;

use crate::channel::{Channel, ChannelId};
use crate::connection::Connection;
use crate::error::{CloseReason, RemotingError};
use crate::limits::Limits;
use crate::processor::ProcessorTable;

/// Looks at every request before it is sent, and may add to it (Java `RPCHook`).
pub trait RpcHook: Send + Sync {
    /// `request` is about to be sent to `addr`.
    fn do_before_request(&self, addr: &str, request: &mut RemotingCommand);
}

/// Settings of a [`RemotingClient`].
#[derive(Clone, Debug)]
pub struct RemotingClientConfig {
    /// How long opening a connection may take (`connectTimeoutMillis`).
    pub connect_timeout: Duration,
    /// A connection without a byte in either direction for this long is closed
    /// (`clientChannelMaxIdleTimeSeconds`).
    pub channel_max_idle: Duration,
    /// Whether a timeout of [`RemotingClient::invoke`] closes the connection, so that everything
    /// else in flight on it fails at once (`clientCloseSocketIfTimeout`).
    pub close_socket_if_timeout: bool,
}

impl Default for RemotingClientConfig {
    fn default() -> Self {
        RemotingClientConfig {
            connect_timeout: Duration::from_secs(3),
            channel_max_idle: Duration::from_secs(120),
            close_socket_if_timeout: true,
        }
    }
}

/// Connections to servers, one per address (Java `NettyRemotingClient`); clones share them.
///
/// A connection is opened by the first request to its address, and again by the first request
/// after it ended. Addresses are compared as text.
#[derive(Clone)]
pub struct RemotingClient {
    inner: Arc<Inner>,
}

struct Inner {
    env: Env,
    tasks: TaskGroup,
    config: RemotingClientConfig,
    limits: Limits,
    processors: Arc<ProcessorTable>,
    hooks: Vec<Arc<dyn RpcHook>>,
    channels: Mutex<Channels>,
}

struct Channels {
    by_addr: BTreeMap<String, Channel>,
    next_id: u64,
    shut_down: bool,
}

impl RemotingClient {
    /// A client without connections. Requests that servers send by its connections are answered by
    /// `processors`.
    #[must_use]
    pub fn new(env: Env, config: RemotingClientConfig, processors: ProcessorTable) -> Self {
        RemotingClient::with_hooks(env, config, processors, Vec::new())
    }

    /// As [`RemotingClient::new`]; every request passes `hooks`, in their order.
    #[must_use]
    pub fn with_hooks(
        env: Env,
        config: RemotingClientConfig,
        processors: ProcessorTable,
        hooks: Vec<Arc<dyn RpcHook>>,
    ) -> Self {
        let channels = Channels { by_addr: BTreeMap::new(), next_id: 0, shut_down: false };
        let inner = Arc::new(Inner {
            tasks: env.tasks.child(),
            env,
            limits: Limits::of_client(config.channel_max_idle),
            config,
            processors: Arc::new(processors),
            hooks,
            channels: Mutex::new(channels),
        });
        let closing = Arc::clone(&inner);
        inner.tasks.spawn("remoting close", async move {
            closing.tasks.cancelled().await;
            closing.close_all();
        });
        RemotingClient { inner }
    }

    /// Sends `request` to `addr` and waits at most `timeout` for the reply, the opening of the
    /// connection included (Java `invokeSync`). A timeout closes the connection unless the
    /// configuration says otherwise.
    ///
    /// # Errors
    /// See [`RemotingError`]. A reply with an error code is no error here.
    pub async fn invoke(
        &self,
        addr: &str,
        request: RemotingCommand,
        timeout: Duration,
    ) -> Result<RemotingCommand, RemotingError> {
        let channel = self.inner.channel(addr)?;
        let result = channel.invoke(self.hooked(addr, request), timeout).await;
        if matches!(result, Err(RemotingError::Timeout { .. }))
            && self.inner.config.close_socket_if_timeout
            && channel.was_open()
        {
            tracing::debug!(addr, "closing the connection after a timeout");
            channel.close();
        }
        result
    }

    /// Like [`RemotingClient::invoke`], but a timeout leaves the connection open (Java
    /// `invokeAsync`): for requests that the server may hold, such as pulls.
    ///
    /// # Errors
    /// See [`RemotingError`].
    pub async fn invoke_async(
        &self,
        addr: &str,
        request: RemotingCommand,
        timeout: Duration,
    ) -> Result<RemotingCommand, RemotingError> {
        self.inner.channel(addr)?.invoke(self.hooked(addr, request), timeout).await
    }

    /// Queues `request` for `addr` as a one-way request.
    ///
    /// # Errors
    /// When the client is shut down or the frame would be too large. That the connection cannot be
    /// opened is not seen here.
    pub fn invoke_oneway(&self, addr: &str, request: RemotingCommand) -> Result<(), RemotingError> {
        self.inner.channel(addr)?.oneway(self.hooked(addr, request))
    }

    /// The request as every hook has seen it; for those that go out by a [`Channel`] of this client.
    #[must_use]
    pub fn hooked(&self, addr: &str, mut request: RemotingCommand) -> RemotingCommand {
        for hook in &self.inner.hooks {
            hook.do_before_request(addr, &mut request);
        }
        request
    }

    /// Whether a connection to `addr` is open or being opened.
    #[must_use]
    pub fn is_connected(&self, addr: &str) -> bool {
        self.inner.channels().by_addr.get(addr).is_some_and(|channel| !channel.is_closed())
    }

    /// Closes the connection to `addr`, if there is one.
    pub fn close(&self, addr: &str) {
        let channel = self.inner.channels().by_addr.remove(addr);
        if let Some(channel) = channel {
            channel.close();
        }
    }

    /// Closes every connection and waits until the requests of servers being answered are.
    /// Requests fail from now on.
    pub async fn shutdown(&self) {
        self.inner.tasks.shutdown().await;
    }
}

impl Inner {
    fn channel(self: &Arc<Self>, addr: &str) -> Result<Channel, RemotingError> {
        let mut channels = self.channels();
        if channels.shut_down {
            return Err(CloseReason::Requested.into_error(addr));
        }
        if let Some(channel) = channels.by_addr.get(addr)
            && !channel.is_closed()
        {
            return Ok(channel.clone());
        }
        let id = ChannelId(channels.next_id);
        let channel = Channel::dialling(id, addr.to_owned(), &self.limits);
        channels.next_id += 1;
        channels.by_addr.insert(addr.to_owned(), channel.clone());
        drop(channels);
        let running = Arc::clone(self).run(channel.clone());
        self.tasks.spawn("remoting connection", running);
        Ok(channel)
    }

    /// Opens and serves one connection until it ends.
    async fn run(self: Arc<Self>, channel: Channel) {
        let reason = match self.connect(channel.remote_addr()).await {
            Ok(stream) => {
                channel.opened(stream.local_addr(), stream.peer_addr());
                let (processors, tasks) = (Arc::clone(&self.processors), self.tasks.clone());
                let limits = self.limits.clone();
                Connection::new(stream, channel.clone(), processors, tasks, limits).run().await
            }
            Err(reason) => {
                channel.finished(reason.clone());
                reason
            }
        };
        tracing::debug!(?channel, %reason, "connection closed");
        let mut channels = self.channels();
        if channels.by_addr.get(channel.remote_addr()).is_some_and(|now| now.id() == channel.id()) {
            channels.by_addr.remove(channel.remote_addr());
        }
    }

    async fn connect(&self, addr: &str) -> Result<Stream, CloseReason> {
        let connecting =
            tokio::time::timeout(self.config.connect_timeout, self.env.net.connect(addr));
        mq_env::select! {
            () = self.tasks.cancelled() => Err(CloseReason::Requested),
            result = connecting => match result {
                Ok(Ok(stream)) => Ok(stream),
                Ok(Err(error)) => Err(CloseReason::Connect(error.to_string())),
                Err(_) => Err(CloseReason::Connect("timed out".to_owned())),
            },
        }
    }

    fn close_all(&self) {
        let by_addr = {
            let mut channels = self.channels();
            channels.shut_down = true;
            std::mem::take(&mut channels.by_addr)
        };
        for channel in by_addr.values() {
            channel.close();
        }
    }

    fn channels(&self) -> MutexGuard<'_, Channels> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
