//! [`Proposals`]: entries of clients, from the question to the commit.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mq_dledger::{LedgerIndex, ProposalId, Term};
use mq_dledger_log::Appended;
use tokio::sync::oneshot;

use crate::error::AppendError;

/// What a client is told in the end.
pub(crate) type Outcome = Result<Vec<Appended>, AppendError>;

/// Told of each record of a proposal, with its physical offset, right before it is written: it may fill in what is only known
/// then. What it was told of is in the leader's log, unless that has failed.
pub type OnAppend = Box<dyn FnMut(&mut [u8], u64) + Send + Sync>;

/// Entries that are to be appended one behind the other.
pub(crate) struct Proposal {
    pub(crate) bodies: Vec<Vec<u8>>,
    /// In no other term.
    pub(crate) term: Option<Term>,
    pub(crate) on_append: Option<OnAppend>,
    pub(crate) done: oneshot::Sender<Outcome>,
    pub(crate) queued: QueuedBytes,
}

/// Entries on their way: with the node, or refused.
pub struct PendingAppend {
    pub(crate) outcome: oneshot::Receiver<Outcome>,
    pub(crate) wait_ms: u64,
}

impl PendingAppend {
    /// Waits until they are committed.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn committed(self) -> Result<Vec<Appended>, AppendError> {
        let wait_ms = self.wait_ms;
        match tokio::time::timeout(Duration::from_millis(wait_ms), self.outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(AppendError::Ended),
            Err(_) => Err(AppendError::QuorumTimeout(wait_ms)),
        }
    }
}

/// Bytes that count as queued until this is dropped.
pub(crate) struct QueuedBytes {
    all: Arc<AtomicUsize>,
    bytes: usize,
}

impl QueuedBytes {
    /// Counts `bytes`, unless there are too many already.
    pub(crate) fn enter(all: &Arc<AtomicUsize>, bytes: usize, max: usize) -> Option<Self> {
        let before = all.fetch_add(bytes, Ordering::Relaxed);
        let queued = QueuedBytes { all: Arc::clone(all), bytes };
        // A single one may be larger.
        (before == 0 || before + bytes <= max).then_some(queued)
    }
}

impl Drop for QueuedBytes {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Proposals that are with the core, or wait for their commit.
#[derive(Default)]
pub(crate) struct Proposals {
    next: u64,
    /// The one that the core is being told.
    asked: Option<(ProposalId, Proposal)>,
    /// Those that are in the log, in its order.
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    last_index: LedgerIndex,
    appended: Vec<Appended>,
    done: oneshot::Sender<Outcome>,
}

impl Proposals {
    /// Names a proposal for the core.
    pub(crate) fn ask(&mut self, proposal: Proposal) -> ProposalId {
        let id = ProposalId(self.next);
        self.next += 1;
        assert!(self.asked.is_none(), "the core answers one proposal before the next");
        self.asked = Some((id, proposal));
        id
    }

    /// The proposal that the core speaks of.
    pub(crate) fn take(&mut self, id: ProposalId) -> Option<Proposal> {
        self.asked.take_if(|(asked, _)| *asked == id).map(|(_, proposal)| proposal)
    }

    /// Its entries are in the log.
    pub(crate) fn wait(&mut self, appended: Vec<Appended>, done: oneshot::Sender<Outcome>) {
        let Some(last) = appended.last() else { return };
        let last_index = last.index;
        let is_last = self.waiting.back().is_none_or(|before| before.last_index < last_index);
        assert!(is_last, "entries are appended in order");
        self.waiting.push_back(Waiting { last_index, appended, done });
    }

    /// Everything up to `index` is committed.
    pub(crate) fn committed(&mut self, index: LedgerIndex) {
        while self.waiting.front().is_some_and(|first| first.last_index <= index) {
            if let Some(Waiting { appended, done, .. }) = self.waiting.pop_front() {
                // Who asked may have given up.
                let _ = done.send(Ok(appended));
            }
        }
    }

    /// Nobody knows what becomes of those that wait.
    pub(crate) fn fail(&mut self, error: &AppendError) {
        for Waiting { done, .. } in std::mem::take(&mut self.waiting) {
            let _ = done.send(Err(error.clone()));
        }
        if let Some((_, proposal)) = self.asked.take() {
            let _ = proposal.done.send(Err(error.clone()));
        }
    }
}
