//! `recover` of a DLedger node, Java's or ours: its log is copied entry by entry, and the copy started as any other.
//!
//! `mend` finds what of the log is sound and what becomes of the rest, `filler` makes what stands in the place of an entry that is
//! lost, `write` writes the copy, `copied_log` shows it to the store that makes ConsumeQueues and index again. Entries are left out or
//! kept as a whole, each with index, term and place as before: the copy is a node of the same group.

mod copied_log;
mod filler;
mod mend;
mod write;

use std::path::Path;
use std::sync::Arc;

use mq_env::Env;
use mq_protocol::dledger_entry::EntryHead;
use mq_protocol::properties_file::PropertiesFile;

use super::entry_claims::{CHECKPOINT, Claims};
use super::recover::{Recovered, RecoveredQueue};
use super::verify::{Finding, Severity};
use super::{DoctorError, Progress, StoreDir};
use crate::config::{BrokerRole, DLedgerConfig, StoreConfig};
use crate::message_store::{MessageStore, OpenConsensusLog};
use crate::role::RoleWatch;

use copied_log::CopiedLog;
use mend::{Mend, Mended};

/// Term and vote, in the node's directory.
const CURR_TERM: &str = "currterm";

impl StoreDir {
    /// Copies the store of the node `name` as [`StoreDir::recover`] does.
    pub(super) async fn recover_dledger(
        &self,
        env: Env,
        copy: &Path,
        name: &str,
        salvage: bool,
        progress: Progress<'_>,
    ) -> Result<Recovered, DoctorError> {
        if !self.log_files()?.is_empty() {
            let text = format!(
                "{} has the CommitLog of a broker without DLedger beside the log of {name}, which a DLedger group cannot go \
                 on with here",
                self.log_place()
            );
            return Err(DoctorError::Refused(text));
        }
        let claims = Claims::of(self, name);
        let term = self.disk.read(&self.root.join(name).join(CURR_TERM)).ok();
        let term = term.as_deref().and_then(term_of);
        let mended = self.mend_entries(name, &claims, term, salvage, &mut |_| {})?;
        let refusal = mended.refusal.clone().filter(|_| !salvage);
        let table = self.find_tables().into_iter().find_map(|table| table.refusal);
        if let Some(refusal) = refusal.or(table.filter(|_| !salvage)) {
            return Err(DoctorError::Refused(refusal));
        }
        let (curr_term, forgotten) = self.curr_term(name, mended.last.as_ref(), salvage)?;
        let mut findings: Vec<Finding> =
            mended.mends.iter().filter_map(|mend| said(name, mend)).collect();
        findings.extend(forgotten);

        self.copy_dir(&self.root, copy, &mut *progress)?;
        self.write_entries(copy, name, &mended, progress).await?;
        let copied = self.in_copy(copy)?;
        copied.write_entry_index(name, &mended).await?;
        copied.write_small_files(name, &mended, &claims, curr_term.as_deref()).await?;
        self.start_copy(env, &copied, name, mended, &claims, findings).await
    }

    /// Starts the copy twice, the second time without what the log can give again.
    async fn start_copy(
        &self,
        env: Env,
        copied: &StoreDir,
        name: &str,
        mended: Mended,
        claims: &Claims,
        findings: Vec<Finding>,
    ) -> Result<Recovered, DoctorError> {
        let committed = copied.committed_end(name, &mended, claims)?;
        let store = copied.open_agreed(env.clone(), name, committed, mended.end).await?;
        let derived = super::recover::derived(&store, &copied.root);
        store.shutdown().await;
        drop(store);
        copied.remove_all(&derived)?;
        let store = copied.open_agreed(env, name, committed, mended.end).await?;
        let queues: Vec<_> = store
            .consume_queues()
            .all()
            .iter()
            .map(|it| super::recover::read(&store, it))
            .collect();
        store.shutdown().await;
        drop(store);
        // Offsets may be of messages whose commit the node had not heard of yet.
        let is_all_committed = committed == mended.end;
        let unbound = |queue: &RecoveredQueue| RecoveredQueue {
            max: if is_all_committed { queue.max } else { u64::MAX },
            ..queue.clone()
        };
        let ranges: Vec<_> = queues.iter().map(unbound).collect();
        let moved_offsets = if is_all_committed || !queues.is_empty() {
            self.settle_tables(copied, &ranges).await?
        } else {
            Vec::new()
        };
        let kept = copied.keep_on_purpose().await?;
        Ok(Recovered {
            min_phy_offset: mended.begin,
            max_phy_offset: mended.end,
            queues,
            left_out: 0,
            moved_offsets,
            mended: findings,
            kept,
            report: mended.report,
        })
    }

    /// Opens this copy as a broker of its group would.
    async fn open_agreed(
        &self,
        env: Env,
        name: &str,
        committed: u64,
        end: u64,
    ) -> Result<Arc<MessageStore>, DoctorError> {
        let dledger = DLedgerConfig {
            group: String::new(),
            peers: String::new(),
            self_id: name.trim_start_matches("dledger-").to_owned(),
            preferred_leader_ids: Vec::new(),
            java_peers: Vec::new(),
            store_path: None,
        };
        let config = StoreConfig { dledger: Some(dledger), ..self.copy_config(&self.root)? };
        let (disk, root) = (Arc::clone(&self.disk), self.root.clone());
        let (dir, file_bytes) = (config.commit_log_dir(), config.mapped_file_size_commit_log);
        let open: OpenConsensusLog = Box::new(move || {
            Box::pin(async move {
                let log = CopiedLog::open(disk, &root, &dir, file_bytes, (committed, end)).await?;
                Ok(Arc::new(log) as Arc<_>)
            })
        });
        let role = RoleWatch::new(BrokerRole::Slave);
        Ok(MessageStore::open_agreed(env, Arc::new(config), role, open).await?)
    }

    /// What `currterm` is in the copy, and what is to be said of it.
    fn curr_term(
        &self,
        name: &str,
        last: Option<&EntryHead>,
        salvage: bool,
    ) -> Result<(Option<Vec<u8>>, Option<Finding>), DoctorError> {
        let dir = self.root.join(name);
        let read = |file: &str| self.disk.read(&dir.join(file)).ok();
        let content = read(CURR_TERM);
        let backup = read("currterm.bak").and_then(|backup| term_of(&backup));
        if let Some(content) = &content
            && term_of(content).is_some()
        {
            return Ok((Some(content.clone()), None));
        }
        if content.is_none() && last.is_none() {
            return Ok((None, None));
        }
        if !salvage {
            let text = format!(
                "{name}/{CURR_TERM} is damaged or missing: the node has forgotten its vote; put it back"
            );
            return Err(DoctorError::Refused(text));
        }
        // Whoever got its vote got it in a term that it knew of.
        let term = backup.into_iter().chain(last.map(|last| last.term)).max().unwrap_or(0) + 1;
        let finding = Finding {
            severity: Severity::Note,
            place: format!("{name}/{CURR_TERM}"),
            text: format!(
                "is damaged or missing; the copy is in term {term} and has given no vote"
            ),
        };
        Ok((Some(format!("voteLeader=\ncurrTerm={term}\n").into_bytes()), Some(finding)))
    }
}

/// The term that a `currterm` states, if it is sound.
fn term_of(content: &[u8]) -> Option<i64> {
    let properties = PropertiesFile::parse(content).ok()?;
    properties.get("currTerm")?.value.trim().parse().ok()
}

/// What is said of what was written over.
fn said(name: &str, mend: &Mend) -> Option<Finding> {
    let (head, text) = match mend {
        Mend::Header(head) => (head, "the header is made again of the index"),
        Mend::Filler(head) => (head, "a filler stands in the place of a message that is lost"),
        Mend::Blank { .. } => return None,
    };
    Some(Finding {
        severity: Severity::Note,
        place: format!("{name}, offset {}", head.pos),
        text: format!("entry {}: {text}", head.index),
    })
}
