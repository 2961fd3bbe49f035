//! The task of one connection: it reads frames, hands them out, and writes what was queued.
//!
//! The task is one state machine polled by hand, because reading and writing share the stream and
//! the order matters: first everything readable is handled, then all replies leave in one write.
//! Reading pauses while more than [`OUT_HIGH_WATER_BYTES`] wait for a slow peer.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use mq_env::net::Stream;
use mq_env::task::TaskGroup;
use mq_protocol::frame;
use mq_protocol::remoting_command::RemotingCommand;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, Sleep};

use crate::channel::{Channel, Responder};
use crate::error::CloseReason;
use crate::processor::{ProcessError, ProcessOutcome, ProcessorTable};

/// Room made for a read when little is left.
const READ_CHUNK_BYTES: usize = 4096;

/// Unwritten bytes above which nothing more is read from the peer.
const OUT_HIGH_WATER_BYTES: usize = 8 << 20;

/// A written-out buffer that held more than this many bytes goes back to the allocator.
const BUFFER_KEEP_BYTES: usize = 1 << 20;

/// Reads in a row after which other tasks get their turn.
const READS_PER_TURN: usize = 16;

/// One open connection.
pub(crate) struct Connection {
    stream: Stream,
    channel: Channel,
    processors: Arc<ProcessorTable>,
    tasks: TaskGroup,
    read_buf: BytesMut,
    write_buf: BytesMut,
    write_buf_is_large: bool,
    idle_limit: Duration,
    idle_timer: Pin<Box<Sleep>>,
    active_at: Instant,
}

/// What one turn of reading or writing did.
struct Turn {
    /// Bytes moved.
    active: bool,
    /// It stopped although the socket would have gone on (reading), or because the socket would
    /// not take more (writing).
    unfinished: bool,
}

impl Connection {
    /// A connection over `stream` whose requests `processors` answer; answers that have to wait
    /// become tasks of `tasks`. It ends after `idle_limit` without a byte in either direction.
    pub(crate) fn new(
        stream: Stream,
        channel: Channel,
        processors: Arc<ProcessorTable>,
        tasks: TaskGroup,
        idle_limit: Duration,
    ) -> Self {
        Connection {
            stream,
            channel,
            processors,
            tasks,
            read_buf: BytesMut::new(),
            write_buf: BytesMut::new(),
            write_buf_is_large: false,
            idle_limit,
            idle_timer: Box::pin(tokio::time::sleep(idle_limit)),
            active_at: Instant::now(),
        }
    }

    /// Serves the connection until it ends, then fails what waits on its channel. Returns why.
    pub(crate) async fn run(mut self) -> CloseReason {
        let reason = poll_fn(|cx| self.poll(cx)).await;
        drop(self.stream);
        self.channel.finished(reason.clone());
        reason
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let paused = self.channel.unpark() + self.write_buf.len() > OUT_HIGH_WATER_BYTES;
        let read = if paused {
            Turn { active: false, unfinished: true }
        } else {
            match self.poll_read(cx) {
                Ok(turn) => turn,
                Err(reason) => {
                    // What was answered already may still get through.
                    let _ = self.poll_write(cx);
                    return Poll::Ready(reason);
                }
            }
        };
        let write = match self.poll_write(cx) {
            Ok(turn) => turn,
            Err(reason) => return Poll::Ready(reason),
        };
        if let Some(reason) = self.channel.close_reason() {
            return Poll::Ready(reason);
        }
        // A paused connection whose socket is full is woken by the socket.
        if read.unfinished && !(paused && write.unfinished) {
            cx.waker().wake_by_ref();
        }
        self.poll_idle(cx, read.active || write.active)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<Turn, CloseReason> {
        let mut active = false;
        for _ in 0..READS_PER_TURN {
            self.reserve_for_read();
            match pin!(self.stream.read_buf(&mut self.read_buf)).poll(cx) {
                Poll::Pending => return Ok(Turn { active, unfinished: false }),
                Poll::Ready(Ok(0)) => return Err(CloseReason::Peer),
                Poll::Ready(Ok(_)) => {
                    active = true;
                    self.dispatch_frames(cx)?;
                }
                Poll::Ready(Err(error)) => return Err(CloseReason::Io(error.to_string())),
            }
        }
        Ok(Turn { active, unfinished: true })
    }

    /// Keeps some room free; for a frame that has begun to arrive the decoder made enough.
    fn reserve_for_read(&mut self) {
        let spare_bytes = self.read_buf.capacity() - self.read_buf.len();
        if spare_bytes < READ_CHUNK_BYTES / 4 {
            self.read_buf.reserve(READ_CHUNK_BYTES);
        }
    }

    fn dispatch_frames(&mut self, cx: &mut Context<'_>) -> Result<(), CloseReason> {
        loop {
            match frame::decode(&mut self.read_buf) {
                Ok(Some(command)) if command.is_response() => self.channel.complete(command),
                Ok(Some(request)) => self.dispatch_request(cx, request),
                Ok(None) => return Ok(()),
                Err(error) => return Err(CloseReason::BadFrame(error.to_string())),
            }
        }
    }

    fn dispatch_request(&mut self, cx: &mut Context<'_>, request: RemotingCommand) {
        let responder = self.channel.responder(&request);
        match self.processors.process(&self.channel, request) {
            Ok(ProcessOutcome::Reply(response)) => responder.respond(response),
            Ok(ProcessOutcome::Silent) => {}
            Ok(ProcessOutcome::Later(mut answer)) => match answer.as_mut().poll(cx) {
                Poll::Ready(result) => settle(&responder, result),
                Poll::Pending => {
                    self.tasks.spawn("request", async move {
                        let result = answer.await;
                        settle(&responder, result);
                    });
                }
            },
            Err(error) => responder.respond(error.into()),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<Turn, CloseReason> {
        let mut active = false;
        loop {
            if self.write_buf.is_empty() {
                if std::mem::take(&mut self.write_buf_is_large) {
                    self.write_buf = BytesMut::new();
                }
                if !self.channel.take_out_or_park(&mut self.write_buf, cx.waker()) {
                    return Ok(Turn { active, unfinished: false });
                }
                self.write_buf_is_large = self.write_buf.len() > BUFFER_KEEP_BYTES;
            }
            match pin!(self.stream.write_buf(&mut self.write_buf)).poll(cx) {
                Poll::Pending => {
                    self.channel.park(cx.waker());
                    return Ok(Turn { active, unfinished: true });
                }
                Poll::Ready(Ok(0)) => return Err(CloseReason::Io("nothing written".to_owned())),
                Poll::Ready(Ok(_)) => active = true,
                Poll::Ready(Err(error)) => return Err(CloseReason::Io(error.to_string())),
            }
        }
    }

    /// Moves the idle timer only when it fires: a busy connection does not touch it.
    fn poll_idle(&mut self, cx: &mut Context<'_>, active: bool) -> Poll<CloseReason> {
        if active {
            self.active_at = Instant::now();
        }
        loop {
            ready!(self.idle_timer.as_mut().poll(cx));
            let deadline = self.active_at + self.idle_limit;
            if deadline <= Instant::now() {
                return Poll::Ready(CloseReason::Idle);
            }
            self.idle_timer.as_mut().reset(deadline);
        }
    }
}

/// Sends what a processor's future came to.
fn settle(responder: &Responder, result: Result<Option<RemotingCommand>, ProcessError>) {
    match result {
        Ok(Some(response)) => responder.respond(response),
        Ok(None) => {}
        Err(error) => responder.respond(error.into()),
    }
}
