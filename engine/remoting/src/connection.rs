//! The task of one connection: it reads frames, hands them out, and writes what was queued.
//!
//! The task is one state machine polled by hand, because reading and writing share the stream and
//! the order matters: first everything readable is handled, then all replies leave in one write.
//! Before each request it is asked whether there is room for its reply ([`Connection::pause`]): what waits to be
//! written, is in work, or is held for all connections together may have to become less first.

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

use crate::channel::{Channel, Load};
use crate::error::CloseReason;
use crate::limits::{Budget, Limits};
use crate::processor::{ProcessError, ProcessOutcome, ProcessorTable};
use crate::responder::{InWork, Responder};

/// Room made for a read when little is left, of a connection that is not busy.
const READ_BYTES_MIN: usize = 4096;

/// The same of one whose every read fills its room.
const READ_BYTES_MAX: usize = 64 << 10;

/// A written-out buffer that held more than this many bytes goes back to the allocator.
const BUFFER_KEEP_BYTES: usize = 1 << 20;

/// Reads in a row after which other tasks get their turn.
const READS_PER_TURN: usize = 16;

/// Frames in a row after which they do.
const FRAMES_PER_TURN: usize = 256;

/// Bytes of frames in a row after which they do.
const FRAME_BYTES_PER_TURN: usize = 1 << 20;

/// Who holds no more of a frame, or of replies just made, goes on while a budget of all connections is
/// exceeded.
const SMALL_BYTES: usize = 16 << 10;

/// Time between two looks at a budget that was exceeded.
const BUDGET_RETRY: Duration = Duration::from_millis(100);

/// One open connection.
pub(crate) struct Connection {
    stream: Stream,
    channel: Channel,
    processors: Arc<ProcessorTable>,
    tasks: TaskGroup,
    read_buf: BytesMut,
    /// Room made for a read.
    read_bytes: usize,
    write_buf: BytesMut,
    write_buf_is_large: bool,
    limits: Limits,
    out_held_bytes: usize,
    partial_held_bytes: usize,
    /// Runs while a budget has to be looked at again.
    budget_timer: Option<Pin<Box<Sleep>>>,
    idle_timer: Pin<Box<Sleep>>,
    active_at: Instant,
}

/// Why no further request is looked at for now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pause {
    /// The socket has to take more bytes first, and will wake the task.
    Unwritten,
    /// A request in work has to end first, and will wake the task.
    InWork,
    /// All connections together hold too much: looked at again after [`BUDGET_RETRY`].
    Budget,
    /// The connection is to end.
    Closed,
}

/// What a turn may still do.
struct TurnBudget {
    reads: usize,
    frames: usize,
    bytes: usize,
}

/// How a turn of reading ended.
enum ReadEnd {
    /// The socket has no more, and will wake the task.
    Drained,
    /// There may be more, and it is others' turn.
    OthersTurn,
    Paused(Pause),
}

/// What one turn of writing did.
struct Written {
    /// Bytes moved.
    active: bool,
    /// The socket would not take more.
    unfinished: bool,
    /// Everything that had been queued at some time was written.
    progressed: bool,
}

impl Connection {
    /// A connection over `stream` whose requests `processors` answer; answers that have to wait
    /// become tasks of `tasks`.
    pub(crate) fn new(
        stream: Stream,
        channel: Channel,
        processors: Arc<ProcessorTable>,
        tasks: TaskGroup,
        limits: Limits,
    ) -> Self {
        let idle_timer = Box::pin(tokio::time::sleep(limits.channel_max_idle));
        Connection {
            stream,
            channel,
            processors,
            tasks,
            read_buf: BytesMut::new(),
            read_bytes: READ_BYTES_MIN,
            write_buf: BytesMut::new(),
            write_buf_is_large: false,
            limits,
            out_held_bytes: 0,
            partial_held_bytes: 0,
            budget_timer: None,
            idle_timer,
            active_at: Instant::now(),
        }
    }

    /// Serves the connection until it ends, then fails what waits on its channel. Returns why.
    pub(crate) async fn run(mut self) -> CloseReason {
        let reason = poll_fn(|cx| self.poll(cx)).await;
        self.hold(0, 0, false);
        drop(self.stream);
        self.channel.finished(reason.clone());
        reason
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        self.channel.unpark(self.write_buf.len());
        let (read_active, read_end) = match self.poll_read(cx) {
            Ok(read) => read,
            Err(reason) => {
                // What was answered already may still get through.
                let _ = self.poll_write(cx);
                return Poll::Ready(reason);
            }
        };
        let write = match self.poll_write(cx) {
            Ok(written) => written,
            Err(reason) => return Poll::Ready(reason),
        };
        if let Some(reason) = self.channel.close_reason() {
            return Poll::Ready(reason);
        }
        let out_bytes = if write.unfinished { self.channel.load().out_bytes } else { 0 };
        self.hold(out_bytes, self.partial_bytes(), write.progressed);
        self.sleep_until_due(cx, &read_end, &write);
        self.poll_idle(cx, read_active || write.active)
    }

    /// Makes sure that the task is woken when it can go on.
    fn sleep_until_due(&mut self, cx: &mut Context<'_>, read_end: &ReadEnd, write: &Written) {
        let go_on = match read_end {
            ReadEnd::Drained | ReadEnd::Paused(Pause::Closed) => false,
            ReadEnd::OthersTurn => true,
            // What waited may just have been written.
            ReadEnd::Paused(Pause::Unwritten) => !write.unfinished,
            ReadEnd::Paused(Pause::InWork) => {
                self.channel.pause_for_work();
                // One may have ended since.
                !self.is_busy(&self.channel.load())
            }
            ReadEnd::Paused(Pause::Budget)
                if self.pause() != Some(Pause::Budget) && !self.partial_has_to_wait() =>
            {
                true
            }
            ReadEnd::Paused(Pause::Budget) => {
                let timer = self
                    .budget_timer
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(BUDGET_RETRY)));
                timer.as_mut().poll(cx).is_ready()
            }
        };
        if go_on {
            self.budget_timer = None;
            cx.waker().wake_by_ref();
        }
    }

    /// Tells the budgets what this connection holds.
    fn hold(&mut self, out_bytes: usize, partial_bytes: usize, progressed: bool) {
        let Limits { out_budget, partial_budget, .. } = &self.limits;
        let tell = |budget: &Budget, held: &mut usize, bytes: usize, progressed: bool| {
            if (*held, bytes) != (0, 0) {
                budget.hold(&self.channel, bytes, progressed);
                *held = bytes;
            }
        };
        tell(out_budget, &mut self.out_held_bytes, out_bytes, progressed);
        tell(partial_budget, &mut self.partial_held_bytes, partial_bytes, false);
    }

    /// What has arrived of a frame, if it counts.
    fn partial_bytes(&self) -> usize {
        let bytes = self.read_buf.len();
        if bytes > SMALL_BYTES { bytes } else { 0 }
    }

    /// Whether the next request has to wait, and for what.
    fn pause(&self) -> Option<Pause> {
        let load = self.channel.load();
        let limits = &self.limits;
        if load.is_closed {
            return Some(Pause::Closed);
        }
        if load.out_bytes > limits.out_high_water_bytes {
            return Some(Pause::Unwritten);
        }
        if self.is_busy(&load) {
            return Some(Pause::InWork);
        }
        let budget = &limits.out_budget;
        // Whose peer reads goes on, unless it is too late for that.
        let has_to_wait = || {
            let held = self.out_held_bytes > 0 || load.out_bytes > SMALL_BYTES;
            budget.is_exceeded() && (held || budget.is_far_exceeded())
        };
        if has_to_wait() {
            budget.make_room();
            return has_to_wait().then_some(Pause::Budget);
        }
        None
    }

    fn is_busy(&self, load: &Load) -> bool {
        load.in_work.requests >= self.limits.requests_in_work_max
            || load.in_work.bytes >= self.limits.in_work_bytes_max
    }

    /// Whether the rest of a large frame has to wait until others hold less.
    fn partial_has_to_wait(&self) -> bool {
        let budget = &self.limits.partial_budget;
        if self.partial_bytes() == 0 || !budget.is_exceeded() {
            return false;
        }
        budget.make_room();
        budget.is_exceeded()
    }

    /// Reads and dispatches until there is no more, others come first, or what is held has to become
    /// less. Says whether bytes moved.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<(bool, ReadEnd), CloseReason> {
        let mut active = false;
        let mut turn = TurnBudget {
            reads: READS_PER_TURN,
            frames: FRAMES_PER_TURN,
            bytes: FRAME_BYTES_PER_TURN,
        };
        loop {
            // Also what an earlier turn has left.
            if let Some(end) = self.dispatch_frames(cx, &mut turn)? {
                return Ok((active, end));
            }
            if turn.reads == 0 {
                return Ok((active, ReadEnd::OthersTurn));
            }
            if self.partial_has_to_wait() {
                return Ok((active, ReadEnd::Paused(Pause::Budget)));
            }
            turn.reads -= 1;
            let room_bytes = self.reserve_for_read();
            match pin!(self.stream.read_buf(&mut self.read_buf)).poll(cx) {
                Poll::Pending => return Ok((active, ReadEnd::Drained)),
                Poll::Ready(Ok(0)) => return Err(CloseReason::Peer),
                Poll::Ready(Ok(read_bytes)) => {
                    self.fit_reads(read_bytes, room_bytes);
                    active = true;
                }
                Poll::Ready(Err(error)) => return Err(CloseReason::Io(error.to_string())),
            }
        }
    }

    /// Keeps some room free, and says how much; for a frame that has begun to arrive the decoder made enough.
    fn reserve_for_read(&mut self) -> usize {
        if self.read_buf.is_empty() && self.read_buf.capacity() > 2 * self.read_bytes {
            self.read_buf = BytesMut::new();
        }
        let spare_bytes = |buf: &BytesMut| buf.capacity() - buf.len();
        if spare_bytes(&self.read_buf) < self.read_bytes / 4 {
            self.read_buf.reserve(self.read_bytes);
        }
        spare_bytes(&self.read_buf)
    }

    /// The next reads get more room if the last one filled its, and less if it hardly did.
    fn fit_reads(&mut self, read_bytes: usize, room_bytes: usize) {
        self.read_bytes = match read_bytes {
            _ if read_bytes == room_bytes => (2 * self.read_bytes).min(READ_BYTES_MAX),
            _ if read_bytes < self.read_bytes / 8 => (self.read_bytes / 2).max(READ_BYTES_MIN),
            _ => self.read_bytes,
        };
    }

    /// Hands out the frames that have arrived; `None` when all are.
    fn dispatch_frames(
        &mut self,
        cx: &mut Context<'_>,
        turn: &mut TurnBudget,
    ) -> Result<Option<ReadEnd>, CloseReason> {
        loop {
            if let Some(pause) = self.pause() {
                return Ok(Some(ReadEnd::Paused(pause)));
            }
            if turn.frames == 0 || turn.bytes == 0 {
                return Ok(Some(ReadEnd::OthersTurn));
            }
            let bytes_before = self.read_buf.len();
            let command = match frame::decode(&mut self.read_buf) {
                Ok(Some(command)) => command,
                Ok(None) => return Ok(None),
                Err(error) => return Err(CloseReason::BadFrame(error.to_string())),
            };
            let frame_bytes = bytes_before - self.read_buf.len();
            turn.frames -= 1;
            turn.bytes = turn.bytes.saturating_sub(frame_bytes);
            if command.is_response() {
                self.channel.complete(command);
            } else {
                self.dispatch_request(cx, command, frame_bytes);
            }
        }
    }

    fn dispatch_request(
        &mut self,
        cx: &mut Context<'_>,
        request: RemotingCommand,
        frame_bytes: usize,
    ) {
        let responder = Responder::new(&self.channel, &request, None);
        match self.processors.process(&self.channel, request) {
            Ok(ProcessOutcome::Reply(response)) => responder.respond(response),
            Ok(ProcessOutcome::Silent) => {}
            Ok(ProcessOutcome::Later(mut answer)) => match answer.as_mut().poll(cx) {
                Poll::Ready(result) => settle(&responder, result),
                Poll::Pending => {
                    let in_work = InWork::enter(&self.channel, frame_bytes);
                    self.tasks.spawn("request", async move {
                        let result = answer.await;
                        settle(&responder, result);
                        drop(in_work);
                    });
                }
            },
            Err(error) => responder.respond(error.into()),
        }
    }

    /// A stream that encrypts may have taken more than it has written yet. It wakes the task when it can go on.
    fn flush(&mut self, cx: &mut Context<'_>) -> Result<(), CloseReason> {
        match pin!(self.stream.flush()).poll(cx) {
            Poll::Ready(Err(error)) => Err(CloseReason::Io(error.to_string())),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<Written, CloseReason> {
        let (mut active, mut progressed) = (false, false);
        loop {
            if self.write_buf.is_empty() {
                if std::mem::take(&mut self.write_buf_is_large) {
                    self.write_buf = BytesMut::new();
                }
                if !self.channel.take_out_or_park(&mut self.write_buf, cx.waker()) {
                    self.flush(cx)?;
                    return Ok(Written { active, unfinished: false, progressed });
                }
                progressed = active;
                self.write_buf_is_large = self.write_buf.len() > BUFFER_KEEP_BYTES;
            }
            match pin!(self.stream.write_buf(&mut self.write_buf)).poll(cx) {
                Poll::Pending => {
                    self.channel.park(self.write_buf.len(), cx.waker());
                    return Ok(Written { active, unfinished: true, progressed });
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
            let deadline = self.active_at + self.limits.channel_max_idle;
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
