//! [`Answers`]: requests that wait for what the core answers. It may answer late, in another order, or not at all.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use mq_dledger::{Body, Message, NodeId, PushType};
use mq_remoting::Responder;
use tokio::time::Instant;

/// So many requests of a peer wait at most; the oldest go.
const WAITING_MAX: usize = 4_096;

/// What ties an answer to its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Vote { is_pre_vote: bool },
    HeartBeat,
    Push(PushType, i64, u32),
    Transfer,
}

impl Kind {
    fn of(body: &Body) -> Self {
        match body {
            Body::VoteRequest(request) => Kind::Vote { is_pre_vote: request.is_pre_vote },
            Body::VoteResponse(response) => Kind::Vote { is_pre_vote: response.is_pre_vote },
            Body::HeartBeatRequest { .. } | Body::HeartBeatResponse(_) => Kind::HeartBeat,
            Body::PushRequest(push) => {
                let count = u32::try_from(push.entries.len()).unwrap_or(u32::MAX);
                Kind::Push(push.push_type, push.first_index, count)
            }
            Body::PushResponse(push) => Kind::Push(push.push_type, push.index, push.count),
            Body::LeadershipTransferRequest(_) | Body::LeadershipTransferResponse(_) => {
                Kind::Transfer
            }
        }
    }
}

struct Waiting {
    kind: Kind,
    responder: Responder,
    since: Instant,
}

/// Who waits for an answer, by peer, oldest first.
pub(crate) struct Answers {
    timeout: Duration,
    waiting: BTreeMap<NodeId, VecDeque<Waiting>>,
}

impl Answers {
    pub(crate) fn new(timeout: Duration) -> Self {
        Answers { timeout, waiting: BTreeMap::new() }
    }

    /// Keeps what answers `request`.
    pub(crate) fn wait(&mut self, request: &Message, responder: Responder) {
        let waiting = self.waiting.entry(request.from).or_default();
        let is_over = |it: &Waiting| it.since.elapsed() > self.timeout;
        while waiting.front().is_some_and(is_over) || waiting.len() >= WAITING_MAX {
            waiting.pop_front();
        }
        waiting.push_back(Waiting {
            kind: Kind::of(&request.body),
            responder,
            since: Instant::now(),
        });
    }

    /// What answers the oldest request that `answer` fits.
    pub(crate) fn take(&mut self, answer: &Message) -> Option<Responder> {
        let waiting = self.waiting.get_mut(&answer.to)?;
        let kind = Kind::of(&answer.body);
        waiting.retain(|it| !it.responder.channel().is_closed());
        let at = waiting.iter().position(|it| it.kind == kind)?;
        waiting.remove(at).map(|it| it.responder)
    }

    /// Nobody is answered any more.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }
}
