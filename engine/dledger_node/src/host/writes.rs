//! What the core has written: term and vote, entries, cuts. The core counts on each of them, so that a full disk is waited for
//! where nobody can be refused.

use std::time::Duration;

use mq_dledger::{EntryMeta, EntrySource, Event, HardState, LedgerIndex, Term};
use mq_dledger_log::{LogError, StoredTerm, Synced};
use mq_protocol::dledger_entry::{ENTRY_HEADER_BYTES, EntryHead};

use super::Host;
use crate::error::AppendError;
use crate::no_op::no_op_body;
use crate::proposals::Proposal;

/// Pause before something is tried again for which the disk had no room.
const ROOM_PAUSE: Duration = Duration::from_millis(200);

impl Host {
    pub(super) async fn persist(&mut self, state: HardState) {
        let members = &self.shared.members;
        let stored = StoredTerm {
            term: state.term,
            vote_leader: state.voted_for.map(|id| members.name_of(id).to_owned()),
            is_blank: state.is_blank,
        };
        loop {
            match self.log().persist_term(&stored).await {
                Ok(()) => return self.events.push_back(Event::TermAndVotePersisted(state)),
                Err(error) if self.waits_for_room(&error).await => {}
                Err(error) => return self.disk_failed(&error),
            }
        }
    }

    pub(super) async fn append(
        &mut self,
        first: LedgerIndex,
        entries: &[EntryMeta],
        source: EntrySource,
    ) {
        let appended = match source {
            EntrySource::Proposal(id) => match self.proposals.take(id) {
                Some(proposal) => self.append_proposal(proposal, entries),
                None => return,
            },
            EntrySource::NoOp => {
                self.append_no_op(entries.first().map_or(0, |entry| entry.term)).await
            }
            EntrySource::Push => self.append_pushed(first, entries.len()).await,
        };
        match appended {
            Ok(()) => {
                let index = first + entries.len() as LedgerIndex - 1;
                assert_eq!(self.log().end_index(), index, "core and log agree on the end");
                let generation = self.core.log().generation();
                self.events.push_back(Event::Written { generation, index });
            }
            Err(error) => self.disk_failed(&error),
        }
    }

    /// The core leads already: what cannot be refused waits for its room.
    async fn append_no_op(&mut self, term: Term) -> Result<(), LogError> {
        let now_ms = self.shared.env.clock.now_millis();
        let mut body = no_op_body(self.shared.config.store_host, now_ms);
        let size = ENTRY_HEADER_BYTES + body.len();
        loop {
            let log = self.log();
            let has_room = log.make_room([size]);
            match has_room.and_then(|()| log.append_as_leader(term, &mut body)) {
                Ok(_) => return Ok(()),
                Err(error) if self.waits_for_room(&error).await => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn append_proposal(
        &mut self,
        proposal: Proposal,
        entries: &[EntryMeta],
    ) -> Result<(), LogError> {
        let Proposal { mut bodies, mut on_append, done, queued, .. } = proposal;
        let mut appended = Vec::with_capacity(bodies.len());
        for (body, entry) in bodies.iter_mut().zip(entries) {
            if let Some(on_append) = &mut on_append {
                let phy_offset = self.log().next_phy_offset(body.len());
                on_append(body, phy_offset);
            }
            match self.log().append_as_leader(entry.term, body) {
                Ok(at) => appended.push(at),
                Err(error) => {
                    let _ = done.send(Err(AppendError::DiskError));
                    return Err(error);
                }
            }
        }
        drop(queued);
        self.proposals.wait(appended, done);
        Ok(())
    }

    async fn append_pushed(&mut self, first: LedgerIndex, count: usize) -> Result<(), LogError> {
        let pushed = std::mem::take(&mut self.pushed);
        let new = pushed.iter().filter(|entry| entry.head.index >= first).take(count);
        for entry in new {
            self.begin_log_at(&entry.head).await?;
            loop {
                match self.log().append_as_follower(&entry.head, &entry.body) {
                    Ok(()) => break,
                    Err(error) if self.waits_for_room(&error).await => {}
                    Err(error) => return Err(error),
                }
            }
        }
        self.pushed = pushed;
        Ok(())
    }

    /// The log of a node that knew nothing begins where its leader's does.
    async fn begin_log_at(&self, head: &EntryHead) -> Result<(), LogError> {
        let (log, pos) = (self.log(), head.pos as u64);
        if !log.is_empty() || log.end_pos() == pos {
            return Ok(());
        }
        let generation = self.core.log().generation();
        loop {
            match log.reset(head.index, pos, generation).await {
                Ok(_) => return Ok(()),
                Err(error) if self.waits_for_room(&error).await => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) async fn truncate(
        &mut self,
        keep_through: LedgerIndex,
        is_emptied: bool,
        generation: u64,
    ) {
        let begin_pos = self.pushed.iter().find(|entry| entry.head.index == keep_through + 1);
        let begin_pos = begin_pos.map_or(0, |entry| entry.head.pos as u64);
        tracing::warn!(keep_through, is_emptied, "the log is cut, as its leader says");
        loop {
            let cut = if is_emptied {
                self.log().reset(keep_through + 1, begin_pos, generation).await
            } else {
                self.log().truncate(keep_through, generation).await
            };
            match cut {
                // A sync that went before the cut is told for the log of then.
                Ok(Synced { generation, index }) => {
                    self.shared.tell_durable();
                    return self.events.push_back(Event::Synced { generation, index });
                }
                Err(error) if self.waits_for_room(&error).await => {}
                Err(error) => return self.disk_failed(&error),
            }
        }
    }

    /// Whether something that cannot be left undone is to be tried again, because the disk was full. The node is silent
    /// meanwhile.
    async fn waits_for_room(&self, error: &LogError) -> bool {
        let tasks = &self.shared.env.tasks;
        if !error.is_disk_full() || tasks.is_cancelled() {
            return false;
        }
        if let Some(more) = self.shared.refused_log.pass() {
            tracing::error!(%error, more, "the node waits for room on its disk");
        }
        mq_env::select! {
            () = tasks.cancelled() => false,
            () = tokio::time::sleep(ROOM_PAUSE) => true,
        }
    }

    fn disk_failed(&mut self, error: &LogError) {
        tracing::error!(%error, "the disk has failed; the node says nothing before its next start");
        self.events.push_back(Event::DiskFailed);
    }
}
