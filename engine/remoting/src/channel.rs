//! [`Channel`], the handle of one connection.
//!
//! A channel is a buffer of encoded frames still to be written, the table of requests that wait for
//! a reply, and the waker of the connection's task. It may be used before the connection is open:
//! what is sent then leaves once it is.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

use bytes::BytesMut;
use mq_env::plant::{Plant, planted_on_this_thread};
use mq_protocol::frame::{self, FRAME_BYTES_MAX};
use mq_protocol::remoting_command::RemotingCommand;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::error::{CloseReason, RemotingError};
use crate::limits::Limits;
use crate::responder::{InWork, Responder};

/// Identity of a connection within one server or client. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(pub u64);

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// The handle of one connection; clones refer to the same one (Java `Channel`).
#[derive(Clone)]
pub struct Channel {
    shared: Arc<Shared>,
}

struct Shared {
    id: ChannelId,
    remote: String,
    ends: OnceLock<Ends>,
    out_high_water_bytes: usize,
    out_bytes_max: usize,
    /// Cancelled when the connection ends.
    closed: CancellationToken,
    state: Mutex<State>,
}

#[derive(Clone, Copy)]
struct Ends {
    local: SocketAddr,
    peer: SocketAddr,
}

struct State {
    /// Encoded frames that the connection's task has not taken yet.
    out: BytesMut,
    /// What the task has taken and not yet written.
    writing_bytes: usize,
    /// Requests of the peer that are being answered, and their size.
    in_work: InWorkCount,
    /// The task sleeps until fewer of them are.
    paused_for_work: bool,
    /// Requests of this side that wait for a reply, by opaque. Ordered: at the end of the
    /// connection they are woken in the order of their keys.
    waiting: BTreeMap<i32, oneshot::Sender<RemotingCommand>>,
    next_opaque: i32,
    /// Set once by whoever ends the connection first.
    closed: Option<CloseReason>,
    /// The connection's task while it sleeps.
    waker: Option<Waker>,
}

impl Channel {
    /// The channel of a connection to be opened to `remote`.
    pub(crate) fn dialling(id: ChannelId, remote: String, limits: &Limits) -> Self {
        let state = State {
            out: BytesMut::new(),
            writing_bytes: 0,
            in_work: InWorkCount::default(),
            paused_for_work: false,
            waiting: BTreeMap::new(),
            next_opaque: 0,
            closed: None,
            waker: None,
        };
        Channel {
            shared: Arc::new(Shared {
                id,
                remote,
                ends: OnceLock::new(),
                out_high_water_bytes: limits.out_high_water_bytes,
                out_bytes_max: limits.out_bytes_max,
                closed: CancellationToken::new(),
                state: Mutex::new(state),
            }),
        }
    }

    /// The channel of an accepted connection.
    pub(crate) fn accepted(
        id: ChannelId,
        local: SocketAddr,
        peer: SocketAddr,
        limits: &Limits,
    ) -> Self {
        let channel = Channel::dialling(id, peer.to_string(), limits);
        channel.opened(local, peer);
        channel
    }

    /// The connection's identity.
    #[must_use]
    pub fn id(&self) -> ChannelId {
        self.shared.id
    }

    /// The peer as text: the address dialled, or `ip:port` of an accepted connection.
    #[must_use]
    pub fn remote_addr(&self) -> &str {
        &self.shared.remote
    }

    /// The peer's address; unspecified (`0.0.0.0:0`) as long as the connection is being opened,
    /// which no processor or listener ever sees.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.shared.ends.get().map_or(UNSPECIFIED, |ends| ends.peer)
    }

    /// This side's address: its port tells by which listener the connection came. Unspecified like
    /// [`Channel::peer_addr`] before the connection is open.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.ends.get().map_or(UNSPECIFIED, |ends| ends.local)
    }

    /// Whether the connection has ended, or is about to.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state().closed.is_some()
    }

    /// Resolves when the connection has ended or is about to: whoever waits on behalf of its peer may stop.
    pub async fn closed(&self) {
        self.shared.closed.cancelled().await;
    }

    /// Whether the peer reads what it is sent: less waits to be written than the high water
    /// (Netty's `isWritable`), and it has not ended. A reply that can wait should, while this is false.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        let state = self.state();
        state.closed.is_none() && state.out_bytes() <= self.shared.out_high_water_bytes
    }

    /// Sends a request and waits at most `timeout` for the reply. The request's opaque is replaced.
    /// A timeout leaves the connection open.
    ///
    /// # Errors
    /// See [`RemotingError`].
    pub async fn invoke(
        &self,
        mut request: RemotingCommand,
        timeout: Duration,
    ) -> Result<RemotingCommand, RemotingError> {
        let (sender, reply) = oneshot::channel();
        let waiter = self.enqueue_request(&mut request, sender)?;
        drop(request);
        match tokio::time::timeout(timeout, reply).await {
            Ok(Ok(response)) => {
                waiter.done();
                Ok(response)
            }
            Ok(Err(_)) => Err(self.closed_error()),
            Err(_) => Err(RemotingError::Timeout { addr: self.remote_addr().to_owned(), timeout }),
        }
    }

    /// Sends a request that nobody answers. The request's opaque is replaced and its one-way flag set.
    ///
    /// # Errors
    /// When the connection has ended or the frame would be too large. `Ok` says that the frame was
    /// queued, not that it arrived.
    pub fn oneway(&self, mut request: RemotingCommand) -> Result<(), RemotingError> {
        request.mark_oneway();
        let mut state = self.state();
        request.opaque = state.take_opaque();
        self.enqueue(state, &request)
    }

    /// What answers `request`, now or later; the request counts as one in work as long as it is kept.
    #[must_use]
    pub fn responder(&self, request: &RemotingCommand) -> Responder {
        let in_work = InWork::enter(self, request.body.len());
        Responder::new(self, request, Some(Arc::new(in_work)))
    }

    /// Ends the connection. What was queued before is offered to the operating system once.
    pub fn close(&self) {
        self.close_because(CloseReason::Requested);
    }

    /// Ends the connection for `reason`, unless it has a reason already.
    pub(crate) fn close_because(&self, reason: CloseReason) {
        let mut state = self.state();
        if state.closed.is_none() {
            state.closed = Some(reason);
            wake(state);
            self.shared.closed.cancel();
        }
    }

    /// The connection is open.
    pub(crate) fn opened(&self, local: SocketAddr, peer: SocketAddr) {
        let _ = self.shared.ends.set(Ends { local, peer });
    }

    /// Whether the connection was ever open.
    pub(crate) fn was_open(&self) -> bool {
        self.shared.ends.get().is_some()
    }

    /// The connection's task is running, with `writing_bytes` taken and not yet written: whoever sends
    /// need not wake it.
    pub(crate) fn unpark(&self, writing_bytes: usize) {
        let mut state = self.state();
        state.waker = None;
        state.paused_for_work = false;
        state.writing_bytes = writing_bytes;
    }

    /// What waits to be written, and what is in work.
    pub(crate) fn load(&self) -> Load {
        let state = self.state();
        let is_closed = state.closed.is_some();
        Load { is_closed, out_bytes: state.out_bytes(), in_work: state.in_work }
    }

    /// Hands the queued frames to the connection's task in exchange for its empty buffer. With
    /// nothing queued the task parks (unless the connection is to end) and `false` comes back.
    pub(crate) fn take_out_or_park(&self, empty: &mut BytesMut, waker: &Waker) -> bool {
        assert!(empty.is_empty(), "the buffer handed in still holds bytes");
        let mut state = self.state();
        state.writing_bytes = state.out.len();
        if state.out.is_empty() {
            if state.closed.is_none() {
                state.waker = Some(waker.clone());
            }
            return false;
        }
        std::mem::swap(&mut state.out, empty);
        true
    }

    /// Parks the connection's task while it waits for the socket to take the rest of what it has taken.
    pub(crate) fn park(&self, writing_bytes: usize, waker: &Waker) {
        let mut state = self.state();
        state.writing_bytes = writing_bytes;
        state.waker = Some(waker.clone());
    }

    /// Has the parked task woken by the next request whose work ends.
    pub(crate) fn pause_for_work(&self) {
        self.state().paused_for_work = true;
    }

    /// One more request is in work.
    pub(crate) fn entered(&self, request_bytes: usize) {
        let in_work = &mut self.state().in_work;
        in_work.requests += 1;
        in_work.bytes += request_bytes;
    }

    /// One request less is in work.
    pub(crate) fn left(&self, request_bytes: usize) {
        let mut state = self.state();
        state.in_work.requests -= 1;
        state.in_work.bytes -= request_bytes;
        if std::mem::take(&mut state.paused_for_work) {
            wake(state);
        }
    }

    /// Why the connection is to end, if it is.
    pub(crate) fn close_reason(&self) -> Option<CloseReason> {
        self.state().closed.clone()
    }

    /// The connection's task has ended: every request still waiting fails.
    pub(crate) fn finished(&self, reason: CloseReason) {
        let waiting = {
            let mut state = self.state();
            state.closed.get_or_insert(reason);
            state.waker = None;
            state.out = BytesMut::new();
            state.writing_bytes = 0;
            std::mem::take(&mut state.waiting)
        };
        self.shared.closed.cancel();
        drop(waiting);
    }

    /// Delivers a reply to whoever waits for it. One that nobody waits for is dropped, as in Java.
    pub(crate) fn complete(&self, response: RemotingCommand) {
        let opaque = response.opaque;
        let oldest = |state: &mut State| state.waiting.pop_first().map(|(_, waiter)| waiter);
        let waiter = match planted_on_this_thread(Plant::ReplyToTheOldest) {
            true => oldest(&mut self.state()),
            false => self.state().waiting.remove(&opaque),
        };
        match waiter {
            Some(sender) => drop(sender.send(response)),
            None => tracing::debug!(opaque, from = self.remote_addr(), "reply that nobody awaits"),
        }
    }

    /// Queues `command` as it is.
    pub(crate) fn send(&self, command: &RemotingCommand) -> Result<(), RemotingError> {
        self.enqueue(self.state(), command)
    }

    fn enqueue_request(
        &self,
        request: &mut RemotingCommand,
        sender: oneshot::Sender<RemotingCommand>,
    ) -> Result<Waiter<'_>, RemotingError> {
        let mut state = self.state();
        let opaque = state.take_opaque();
        request.opaque = opaque;
        state.waiting.insert(opaque, sender);
        let waiter = Waiter { channel: self, opaque };
        self.enqueue(state, request)?;
        Ok(waiter)
    }

    fn enqueue(
        &self,
        mut state: MutexGuard<'_, State>,
        command: &RemotingCommand,
    ) -> Result<(), RemotingError> {
        if let Some(reason) = state.closed.clone() {
            return Err(reason.into_error(self.remote_addr()));
        }
        let len_before = state.out.len();
        frame::encode(command, &mut state.out);
        let frame_bytes = state.out.len() - len_before;
        if frame_bytes > FRAME_BYTES_MAX {
            state.out.truncate(len_before);
            return Err(RemotingError::TooLarge {
                addr: self.remote_addr().to_owned(),
                frame_bytes,
            });
        }
        let out_bytes = state.out_bytes();
        if out_bytes > self.shared.out_bytes_max {
            // What was asked for is not wanted: nothing of it will be read.
            (state.out, state.closed) = (BytesMut::new(), Some(CloseReason::Unread { out_bytes }));
            wake(state);
            self.shared.closed.cancel();
            return Err(CloseReason::Unread { out_bytes }.into_error(self.remote_addr()));
        }
        if len_before == 0 {
            wake(state);
        }
        Ok(())
    }

    fn closed_error(&self) -> RemotingError {
        self.close_reason().unwrap_or(CloseReason::Requested).into_error(self.remote_addr())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Channel({} {})", self.id(), self.remote_addr())
    }
}

const UNSPECIFIED: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

/// Requests of a peer that are being answered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct InWorkCount {
    pub(crate) requests: usize,
    /// Size of their frames.
    pub(crate) bytes: usize,
}

/// What a connection holds.
pub(crate) struct Load {
    pub(crate) is_closed: bool,
    /// Waiting to be written.
    pub(crate) out_bytes: usize,
    pub(crate) in_work: InWorkCount,
}

impl State {
    fn out_bytes(&self) -> usize {
        self.out.len() + self.writing_bytes
    }

    fn take_opaque(&mut self) -> i32 {
        self.next_opaque = self.next_opaque.wrapping_add(1);
        self.next_opaque
    }
}

/// Wakes the connection's task after the lock is released.
fn wake(mut state: MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// A request's place in the table of waiting ones, given up when its future is dropped.
struct Waiter<'a> {
    channel: &'a Channel,
    opaque: i32,
}

impl Waiter<'_> {
    /// The reply came: the place is free already.
    fn done(self) {
        std::mem::forget(self);
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let waiter = self.channel.state().waiting.remove(&self.opaque);
        drop(waiter);
    }
}
