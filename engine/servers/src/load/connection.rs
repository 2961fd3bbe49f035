//! One connection with its slots.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future;
use mq_env::Env;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::LoadError;
use super::reply::{CODE, OPAQUE, Reply, take_reply};
use super::report::Tally;

/// Time that answers have after the last request.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// Read at a time.
const READ_BYTES: usize = 256 << 10;

/// What the slots of one connection ask for.
pub(crate) trait Slots: Send + 'static {
    /// How many there are.
    fn count(&self) -> usize;

    /// A slot's first request; its opaque is [`opaque`] of the slot.
    fn first(&self, slot: usize) -> Bytes;

    /// What an answer means; an error says in words what is wrong with it.
    fn answered(&mut self, slot: usize, reply: &Reply, code: i64) -> Result<Step, String>;
}

/// What becomes of a slot.
pub(crate) struct Step {
    /// Messages that the answer stands for.
    pub(crate) messages: u64,
    /// Its next request; `None` ends it.
    pub(crate) next: Option<Bytes>,
}

/// When requests are sent, and which answers count.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    pub(crate) counts_from: Instant,
    pub(crate) until: Instant,
}

/// The opaque of a slot's requests.
pub(crate) fn opaque(slot: usize) -> i32 {
    i32::try_from(slot).expect("slots are few") + 1
}

/// Runs these connections side by side; their sum.
pub(crate) async fn drive_all<S: Slots>(
    env: &Env,
    addr: &str,
    connections: impl IntoIterator<Item = S>,
    window: Window,
) -> Result<Tally, LoadError> {
    let (mut ends, mut sum) = (Vec::new(), Tally::new());
    for slots in connections {
        let (ended, end) = oneshot::channel();
        let (env_of, addr) = (env.clone(), addr.to_owned());
        env.tasks.spawn("load", async move {
            let _ = ended.send(drive(&env_of, &addr, slots, window).await);
        });
        ends.push(end);
    }
    for end in future::join_all(ends).await {
        sum.add(&end.expect("whoever drives a connection tells its end")?);
    }
    Ok(sum)
}

async fn drive<S: Slots>(
    env: &Env,
    addr: &str,
    slots: S,
    window: Window,
) -> Result<Tally, LoadError> {
    let broken = |error| LoadError::Connection { addr: addr.to_owned(), error };
    let bad = |what: String| LoadError::Answer { addr: addr.to_owned(), what };
    let mut stream = env.net.connect(addr).await.map_err(broken)?;
    let mut driven = Driven::new(slots, window);
    let (mut incoming, mut outgoing) = (BytesMut::new(), driven.first_requests());
    while driven.under_way > 0 {
        stream.write_all_buf(&mut outgoing).await.map_err(broken)?;
        incoming.reserve(READ_BYTES);
        let read = timeout_at(window.until + LAST_ANSWERS, stream.read_buf(&mut incoming)).await;
        let Ok(read) = read else {
            return Err(bad(format!("does not answer {} requests", driven.under_way)));
        };
        if read.map_err(broken)? == 0 {
            return Err(bad("closes the connection".to_owned()));
        }
        let now = Instant::now();
        while let Some(reply) = take_reply(&mut incoming).map_err(bad)? {
            driven.take(&reply, now, &mut outgoing).map_err(bad)?;
        }
    }
    Ok(driven.tally)
}

/// The slots of a connection, and what came of them.
struct Driven<S> {
    slots: S,
    window: Window,
    sent_at: Vec<Option<Instant>>,
    under_way: usize,
    tally: Tally,
}

impl<S: Slots> Driven<S> {
    fn new(slots: S, window: Window) -> Self {
        let sent_at = vec![None; slots.count()];
        Driven { slots, window, sent_at, under_way: 0, tally: Tally::new() }
    }

    fn first_requests(&mut self) -> BytesMut {
        let (mut out, now) = (BytesMut::new(), Instant::now());
        for slot in 0..self.slots.count() {
            out.extend_from_slice(&self.slots.first(slot));
            self.sent_at[slot] = Some(now);
            self.under_way += 1;
        }
        out
    }

    fn take(&mut self, reply: &Reply, now: Instant, out: &mut BytesMut) -> Result<(), String> {
        let what = || String::from_utf8_lossy(reply.header()).into_owned();
        let number = |name| reply.number(name).ok_or_else(|| format!("answers {}", what()));
        let (code, answered) = (number(CODE)?, number(OPAQUE)?);
        let slot = usize::try_from(answered - 1).unwrap_or(usize::MAX);
        let sent_at = self.sent_at.get_mut(slot).and_then(Option::take);
        let sent_at = sent_at.ok_or_else(|| format!("answers what nobody asked: {}", what()))?;
        self.under_way -= 1;
        let Step { messages, next } = self.slots.answered(slot, reply, code)?;
        if (self.window.counts_from..self.window.until).contains(&now) {
            self.tally.answered(code, now - sent_at, messages);
        }
        if let Some(next) = next.filter(|_| now < self.window.until) {
            out.extend_from_slice(&next);
            self.sent_at[slot] = Some(now);
            self.under_way += 1;
        }
        Ok(())
    }
}
