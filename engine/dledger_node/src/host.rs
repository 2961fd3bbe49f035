//! [`Host`]: the one task that owns the core. It shows it what happened, and carries out what it says, in that order.

mod writes;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mq_dledger::{
    Body, Command, DLedgerCore, EntryMeta, Event, Finding, Landing, LedgerIndex, Message, NodeId,
    ResponseCode, Role, Term,
};
use mq_dledger_log::{DLedgerLog, LogError, Synced};
use mq_protocol::body::dledger::DLedgerEntryBody;
use mq_protocol::dledger_entry::{ENTRY_HEADER_BYTES, body_trouble};
use mq_remoting::Responder;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::answers::Answers;
use crate::error::{AppendError, NodeError};
use crate::node::Shared;
use crate::peers::Peers;
use crate::proposals::{Proposal, Proposals, QueuedBytes};
use crate::wire::{self, PushedEntry};

/// What a node is, for who registers and serves by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What it is.
    pub role: Role,
    /// In which term.
    pub term: Term,
    /// Who leads that term, when it is known.
    pub leader_id: Option<String>,
    /// A leader that has committed everything before its term: it may serve as a master.
    pub is_ready: bool,
}

/// How far the log is committed, as far as this node knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// `committedIndex`; −1 when nothing is.
    pub index: LedgerIndex,
    /// Where that entry ends: messages below may be read.
    pub pos: u64,
}

/// How far the log survives a power loss here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durable {
    /// Where the last synced entry ends.
    pub pos: u64,
    /// Nothing more will be: a sync has failed.
    pub is_poisoned: bool,
}

/// What the host is told.
pub(crate) enum Input {
    /// A request of a peer, with the entries of a push, or an answer.
    Received {
        message: Message,
        entries: Vec<PushedEntry>,
        responder: Option<Responder>,
        /// Entries count as queued until they were taken.
        queued: Option<QueuedBytes>,
    },
    /// A client's entries.
    Propose(Proposal),
    /// The log was synced.
    Synced(Synced),
    /// The log is poisoned.
    DiskFailed,
    /// An operator wants that member to lead.
    TransferLeadership(NodeId),
    /// The oldest file may go; where the log begins then.
    Expire { modified_before_ms: u64, done: oneshot::Sender<Result<Option<i64>, LogError>> },
}

/// See the module.
pub(crate) struct Host {
    shared: Arc<Shared>,
    core: DLedgerCore,
    peers: Peers,
    inbox: mpsc::Receiver<Input>,
    answers: Answers,
    proposals: Proposals,
    /// Entries of the push that is being handled.
    pushed: Vec<PushedEntry>,
    /// What the core has not been told yet.
    events: VecDeque<Event>,
    started: Instant,
}

impl Host {
    pub(crate) fn new(
        shared: Arc<Shared>,
        core: DLedgerCore,
        peers: Peers,
        inbox: mpsc::Receiver<Input>,
        started: Instant,
    ) -> Self {
        let answers = Answers::new(shared.rpc_timeout());
        let (proposals, pushed, events) = Default::default();
        Host { shared, core, peers, inbox, answers, proposals, pushed, events, started }
    }

    /// Runs until the node ends. What clients wait for is answered then.
    pub(crate) async fn run(mut self) {
        let tasks = self.shared.env.tasks.clone();
        self.tell(Event::Tick).await;
        while !tasks.is_cancelled() {
            let due =
                self.core.next_tick_ms().map(|due_ms| self.started + Duration::from_millis(due_ms));
            let tick = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            mq_env::select! {
                () = tasks.cancelled() => break,
                input = self.inbox.recv() => match input {
                    Some(input) => self.take_in(input).await,
                    None => break,
                },
                () = tick => self.tell(Event::Tick).await,
            }
        }
        self.proposals.fail(&AppendError::Ended);
        self.answers.clear();
    }

    async fn take_in(&mut self, input: Input) {
        match input {
            Input::Received { message, entries, responder, queued } => {
                self.received(message, entries, responder).await;
                drop(queued);
            }
            Input::Propose(proposal) => self.propose(proposal).await,
            Input::Synced(Synced { generation, index }) => {
                self.tell(Event::Synced { generation, index }).await;
            }
            Input::DiskFailed => self.tell(Event::DiskFailed).await,
            Input::TransferLeadership(to) => self.tell(Event::TransferLeadership(to)).await,
            Input::Expire { modified_before_ms, done } => {
                let expired = self.expire(modified_before_ms).await;
                // Who asked may have given up.
                let _ = done.send(expired);
            }
        }
    }

    async fn received(
        &mut self,
        message: Message,
        entries: Vec<PushedEntry>,
        responder: Option<Responder>,
    ) {
        if let Err(reason) = self.may_take(&message, &entries) {
            // Not answered: the leader pushes again.
            if let Some(more) = self.shared.refused_log.pass() {
                tracing::error!(reason, more, "pushed entries are not taken");
            }
            return;
        }
        if let Some(responder) = responder {
            self.answers.wait(&message, responder);
        }
        self.pushed = entries;
        self.tell(Event::Received(message)).await;
        self.pushed = Vec::new();
    }

    /// Whether there is room for entries, they are what a start would take for entries, and lie where they can: what the core
    /// has taken must be written.
    fn may_take(&self, message: &Message, entries: &[PushedEntry]) -> Result<(), String> {
        for PushedEntry { head, body } in entries {
            let phy_offset = head.pos + ENTRY_HEADER_BYTES as i64;
            if let Some(trouble) = body_trouble(body, Some(phy_offset)) {
                return Err(format!("entry {} is no message: {trouble}", head.index));
            }
        }
        self.can_lie_there(message, entries).map_err(|error| error.to_string())?;
        let sizes = entries.iter().map(|entry| entry.head.size as usize);
        self.log().make_room(sizes).map_err(|error| error.to_string())
    }

    fn can_lie_there(&self, message: &Message, entries: &[PushedEntry]) -> Result<(), LogError> {
        let Body::PushRequest(push) = &message.body else { return Ok(()) };
        let (first, is_anew) = match self.core.landing(message.term, push) {
            Landing::Nowhere => return Ok(()),
            Landing::At(index) => (index, false),
            Landing::Anew(index) => (index, true),
        };
        let new = entries.iter().map(|entry| &entry.head).filter(|head| head.index >= first);
        self.log().check_places(first, is_anew, new)
    }

    async fn propose(&mut self, proposal: Proposal) {
        if proposal.done.is_closed() {
            return;
        }
        if proposal.term.is_some_and(|term| term != self.core.term()) {
            let _ = proposal.done.send(Err(self.not_leader()));
            return;
        }
        let size = |body: &Vec<u8>| body.len() + ENTRY_HEADER_BYTES;
        let sizes: Vec<usize> = proposal.bodies.iter().map(size).collect();
        if self.core.role() == Role::Leader
            && let Err(error) = self.log().make_room(sizes.iter().copied())
        {
            let _ = proposal.done.send(Err(refused_by_log(&error)));
            return;
        }
        let sizes_bytes = sizes.into_iter().map(|size| size as u32).collect();
        let proposal = self.proposals.ask(proposal);
        self.tell(Event::Propose { proposal, sizes_bytes }).await;
    }

    async fn expire(&mut self, modified_before_ms: u64) -> Result<Option<i64>, LogError> {
        let committed_index = self.core.committed_index();
        let log = Arc::clone(self.log());
        let begins = log.expire_oldest(modified_before_ms, committed_index).await?;
        if let Some(begin_index) = begins {
            self.tell(Event::LedgerBegins(begin_index)).await;
        }
        Ok(begins)
    }

    /// Shows the core what happened, and what came of that, until nothing more comes of it.
    async fn tell(&mut self, event: Event) {
        self.events.push_back(event);
        while let Some(event) = self.events.pop_front() {
            let now_ms = self.started.elapsed().as_millis() as u64;
            for command in self.core.step(event, now_ms) {
                self.carry_out(command).await;
            }
        }
        let durable = self.core.durable_committed_index();
        self.shared.durable_committed.store(durable, Ordering::Release);
    }

    async fn carry_out(&mut self, command: Command) {
        match command {
            Command::Send(message) => self.send(&message),
            Command::PersistTermAndVote(state) => self.persist(state).await,
            Command::Append { first_index, entries, source } => {
                self.append(first_index, &entries, source).await;
            }
            Command::Truncate { keep_through, is_emptied, generation } => {
                self.truncate(keep_through, is_emptied, generation).await;
            }
            Command::Commit(index) => self.committed(index),
            Command::RoleChanged { role, term, leader_id } => {
                self.role_changed(role, term, leader_id);
            }
            Command::LeadershipReady { term, index } => {
                tracing::info!(term, index, "leads, and everything before its term is committed");
                self.shared.status.modify(|status| status.is_ready = true);
            }
            Command::RejectProposal { proposal, code } => {
                if let Some(proposal) = self.proposals.take(proposal) {
                    let _ = proposal.done.send(Err(self.rejected(code)));
                }
            }
            Command::Report(finding) => report(&finding),
        }
    }

    fn send(&mut self, message: &Message) {
        if wire::request_code(&message.body).is_none() {
            if let Some(responder) = self.answers.take(message) {
                responder.respond(wire::encode(&self.shared.members, message, Vec::new()));
            }
            return;
        }
        match self.entries_of(message) {
            Ok(entries) => {
                let request = wire::encode(&self.shared.members, message, entries);
                self.peers.send(message.clone(), request);
            }
            Err(error) => tracing::error!(%error, "entries cannot be pushed"),
        }
    }

    /// The entries of a push, as the log has them.
    fn entries_of(&self, message: &Message) -> Result<Vec<DLedgerEntryBody>, NodeError> {
        let Body::PushRequest(push) = &message.body else { return Ok(Vec::new()) };
        let read = |(index, meta): (LedgerIndex, &EntryMeta)| {
            let entry = self.log().entry(index)?;
            assert_eq!(entry.head.term, meta.term, "core and log agree on entry {index}");
            Ok(wire::entry_body(&entry))
        };
        (push.first_index..).zip(&push.entries).map(read).collect()
    }

    fn committed(&mut self, index: LedgerIndex) {
        match self.log().end_of(index) {
            Ok(pos) => {
                self.shared.committed.set(Committed { index, pos });
            }
            Err(error) => tracing::error!(%error, "a committed entry cannot be read"),
        }
        self.proposals.committed(index);
        self.shared.checkpoint_wanted.notify_one();
    }

    fn role_changed(&mut self, role: Role, term: Term, leader_id: Option<NodeId>) {
        let leader_id = leader_id.map(|id| self.shared.members.name_of(id).to_owned());
        tracing::info!(?role, term, leader_id, "role changed");
        let error = if self.log().is_poisoned() {
            AppendError::DiskError
        } else {
            AppendError::TermChanged
        };
        self.proposals.fail(&error);
        self.shared.status.set(Status { role, term, leader_id, is_ready: false });
    }

    fn rejected(&self, code: ResponseCode) -> AppendError {
        match code {
            ResponseCode::LeaderTransferring => AppendError::LeaderTransferring,
            ResponseCode::LeaderPendingFull => AppendError::PendingFull,
            ResponseCode::DiskError => AppendError::DiskError,
            _ => self.not_leader(),
        }
    }

    fn not_leader(&self) -> AppendError {
        let leader_id = self.shared.status.read(|status| status.leader_id.clone());
        AppendError::NotLeader { leader_id }
    }

    fn log(&self) -> &Arc<DLedgerLog> {
        &self.shared.log
    }
}

fn refused_by_log(error: &LogError) -> AppendError {
    match error {
        LogError::Entry { .. } => AppendError::Illegal(error.to_string()),
        _ if error.is_disk_full() => AppendError::DiskFull,
        _ => AppendError::DiskError,
    }
}

fn report(finding: &Finding) {
    match finding {
        Finding::BlankNodeCaughtUp => {
            tracing::info!("a node that had lost its disk has caught up, and votes again");
        }
        Finding::CommittedCutRefused { leader_id, index, committed_index } => tracing::error!(
            %leader_id, index, committed_index,
            "the leader wants a committed entry cut: the group has lost what it promised; refused"
        ),
        Finding::TwoLeaders { term, known, other } => {
            tracing::error!(term, %known, %other, "two nodes say that they lead one term");
        }
    }
}
