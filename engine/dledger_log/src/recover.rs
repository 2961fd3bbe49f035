//! The log at a start: its end is found before a file changes, what lies behind it is erased, its index made whole, and
//! everything that is left made durable.

use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use mq_env::Env;
use mq_env::disk::replaced_file::settle_files;
use mq_mapped_file::{Known, LoadPlan, MappedFile, MappedFileQueue};
use tokio::sync::Notify;

use crate::config::LogConfig;
use crate::error::LogError;
use crate::log::{DLedgerLog, Ends, index_offset};
use crate::small_files::{Checkpoint, Durable, StoredTerm};
use crate::walk::{Files, Walk, Walked};

/// A log that was opened, and what the start found.
pub struct OpenedLog {
    /// The log.
    pub log: Arc<DLedgerLog>,
    /// `currterm`; `None` when there is none yet.
    pub term: Option<StoredTerm>,
    /// `committedIndex` of the checkpoint, not behind the end of the log; −1 without one.
    pub committed_index: i64,
    /// Bytes behind the end that were not zero, and are now.
    pub dropped_bytes: u64,
    /// Why the log ended there.
    pub end_reason: String,
    /// Everything below was there when DLedger's own library, and not this one, had the log last; 0 otherwise.
    pub javas_end: u64,
}

/// What a start is going to make of the log, before anything is changed.
struct Looked {
    plan: LoadPlan,
    index_plan: LoadPlan,
    files: Vec<Arc<MappedFile>>,
    index_files: Vec<Arc<MappedFile>>,
    walked: Walked,
    ends: Ends,
    /// Nothing is known of the log: Java wrote it.
    is_javas: bool,
    /// From here on it is not known to be synced.
    unsure_from: u64,
}

impl DLedgerLog {
    /// Opens the log, or begins one where there is none.
    ///
    /// # Errors
    /// Why a start is refused, before anything is changed: see [`LogError`]. Then what the disk says.
    pub async fn open(env: &Env, config: LogConfig) -> Result<OpenedLog, LogError> {
        let (opened, ()) = DLedgerLog::open_if(env, config, |_, _| Ok::<_, LogError>(())).await?;
        Ok(opened)
    }

    /// As [`DLedgerLog::open`], unless `may_open` says no to `currterm`, and to whether there are entries: nothing is changed
    /// then. What it says otherwise is returned as well.
    ///
    /// # Errors
    /// As for `open`, and what `may_open` says.
    pub async fn open_if<T, E: From<LogError>>(
        env: &Env,
        config: LogConfig,
        may_open: impl FnOnce(Option<&StoredTerm>, bool) -> Result<T, E>,
    ) -> Result<(OpenedLog, T), E> {
        let disk = &env.disk;
        let term = StoredTerm::load(&**disk, &config.dir)?;
        let checkpoint = Checkpoint::load(&**disk, &config.dir)?;
        let log = DLedgerLog::closed(env, config, checkpoint.unwrap_or(Checkpoint::NEW));
        let looked = log.look(checkpoint.and_then(|it| it.durable.zip(Some(it.end_index))))?;
        let said = may_open(term.as_ref(), !looked.ends.is_empty())?;
        log.settle_dirs().await.map_err(LogError::io("make the node's directory durable"))?;
        let end_reason = looked.walked.stop.1.clone();
        let javas_end = if looked.is_javas { looked.ends.end_pos } else { 0 };
        let dropped_bytes = log.recover(looked).await?;
        let ends = *log.ends();
        let committed_index = checkpoint.map_or(-1, |it| it.committed_index).min(ends.end_index);
        // Before the first file of a new log: one that a crash leaves half made is not taken for Java's.
        let mut written = log.settling.lock().await;
        log.store_checkpoint(&mut written, &ends, committed_index).await?;
        drop(written);
        tracing::info!(
            begin_index = ends.begin_index,
            end_index = ends.end_index,
            dropped_bytes,
            end_reason,
            "DLedger log recovered"
        );
        let log = Arc::new(log);
        let opened = OpenedLog { log, term, committed_index, dropped_bytes, end_reason, javas_end };
        Ok((opened, said))
    }

    fn closed(env: &Env, config: LogConfig, checkpoint: Checkpoint) -> Self {
        let queue =
            |dir, bytes| MappedFileQueue::new(Arc::clone(&env.disk), &config.root, dir, bytes);
        DLedgerLog {
            disk: Arc::clone(&env.disk),
            data: Arc::new(queue(config.data_dir.clone(), config.data_file_bytes)),
            // Mostly holes: 160 MiB hold the records of five million entries.
            index: queue(config.dir.join("index"), config.index_file_bytes).with_sparse_files(),
            config,
            ends: Mutex::new(Ends::empty(0, 0)),
            settling: tokio::sync::Mutex::new(checkpoint),
            is_poisoned: AtomicBool::new(false),
            appended: Notify::new(),
        }
    }

    /// Makes the directory, and what an earlier process left of it and of the way to it, durable.
    async fn settle_dirs(&self) -> io::Result<()> {
        let LogConfig { root, dir, .. } = &self.config;
        self.disk.create_dir_all(dir)?;
        settle_files(&*self.disk, root).await?;
        settle_files(&*self.disk, dir).await
    }

    /// Finds the end of the log; changes nothing. `durable` comes with the index of the last durable entry.
    fn look(&self, durable: Option<(Durable, i64)>) -> Result<Looked, LogError> {
        let durable_end = durable.map_or(u64::MAX, |(durable, _)| durable.pos);
        let plan =
            self.data.plan_load(Known { durable_end: Some(durable_end), is_salvage: false })?;
        let index_plan = self.index.plan_load(Known { durable_end: None, is_salvage: true })?;
        let (files, index_files) = (self.data.look(&plan)?, self.index.look(&index_plan)?);
        let walk = Walk {
            data: Files(&files),
            index: Files(&index_files),
            is_index_broken: self.is_index_broken(&index_plan),
            durable_pos: durable.map(|(durable, _)| durable.pos),
        };
        let walked = walk.run();
        let ends = self.ends_of(&files, &walked, durable)?;
        let is_javas = durable.is_none();
        let durable_pos = durable.map_or(0, |(durable, _)| durable.pos);
        let unsure_from = durable_pos.max(walked.start).min(ends.end_pos);
        Ok(Looked { plan, index_plan, files, index_files, walked, ends, is_javas, unsure_from })
    }

    fn is_index_broken(&self, plan: &LoadPlan) -> bool {
        let is_short = |(_, len): &(u64, u64)| *len < self.config.index_file_bytes as u64;
        let all_but_last = plan.kept.split_last().map_or(&[][..], |(_, before)| before);
        !plan.missing.is_empty() || all_but_last.iter().any(is_short)
    }

    /// Where the log begins and ends.
    fn ends_of(
        &self,
        files: &[Arc<MappedFile>],
        walked: &Walked,
        durable: Option<(Durable, i64)>,
    ) -> Result<Ends, LogError> {
        let refused = |pos: u64, reason: &str| {
            let holds = |file: &&Arc<MappedFile>| {
                (file.file_from_offset()..file.file_end_offset()).contains(&pos)
            };
            let file = files.iter().find(holds).map(|file| file.path().to_path_buf());
            LogError::Damaged {
                file: file.unwrap_or_else(|| self.data.dir().to_path_buf()),
                pos,
                durable_pos: durable.map_or(walked.end_pos, |(durable, _)| durable.pos),
                reason: reason.to_owned(),
            }
        };
        let begin_pos = files.first().map(|file| file.file_from_offset());
        let is_last_durable =
            durable.is_some_and(|(durable, end_index)| durable.begin_index <= end_index);
        if let Some((durable, _)) = durable
            && walked.end_pos < durable.pos
            && (is_last_durable || !files.is_empty())
        {
            return Err(refused(walked.stop.0, &walked.stop.1));
        }
        let Some(last) = walked.last else {
            if walked.start > begin_pos.unwrap_or(0) {
                return Err(refused(walked.start, "the last files begin with no entry"));
            }
            // An emptied log goes on where its leader's began.
            let goes_on = durable
                .filter(|_| !is_last_durable)
                .map(|(durable, end_index)| Ends::empty(end_index + 1, durable.pos));
            return Ok(goes_on.unwrap_or(Ends::empty(0, begin_pos.unwrap_or(0))));
        };
        let begin_pos = begin_pos.unwrap_or(0);
        let range = begin_pos..begin_pos + self.config.data_file_bytes as u64;
        let first = Files(files).head(begin_pos);
        let first = first.filter(|head| head.trouble(begin_pos, &range).is_none());
        let first = first.filter(|head| (0..=last.index).contains(&head.index));
        let Some(first) = first else {
            return Err(refused(begin_pos, "the log begins with no entry"));
        };
        if let Some((durable, _)) = durable.filter(|(it, _)| it.begin_index < first.index) {
            let (from, to) = (durable.begin_index, first.index);
            return Err(refused(
                begin_pos,
                &format!("entries {from} to {to} are missing before it"),
            ));
        }
        Ok(Ends {
            begin_index: first.index,
            begin_pos,
            end_index: last.index,
            end_term: last.term,
            end_pos: walked.end_pos,
            synced_index: last.index,
            generation: 0,
        })
    }

    /// Maps the files, ends data and index where they were found to end, and makes them durable. Returns how many bytes behind
    /// the end were not zero.
    async fn recover(&self, looked: Looked) -> Result<u64, LogError> {
        let Looked { plan, index_plan, files, index_files, walked, ends, .. } = looked;
        let removed = self.data.load(&plan, &files)?;
        drop(self.index.load(&index_plan, &index_files)?);
        drop((removed, files, index_files));
        let failed = || LogError::io("end the log where it was found to end");
        let cut = self.data.cut(ends.end_pos, true);
        let dropped_bytes = cut.dropped_bytes();
        self.data.settle(cut).await.map_err(failed())?;
        self.data.rewrite(looked.unsure_from..ends.end_pos, |_| ()).await?;
        self.data.set_flushed_where(ends.end_pos);
        self.recover_index(&walked, &ends, looked.is_javas).await?;
        *self.ends() = ends;
        self.view_is_whole()?;
        Ok(dropped_bytes)
    }

    /// Makes the index one of the entries that are there, and durable from the first one on that was walked over, or from
    /// its begin on.
    async fn recover_index(&self, walked: &Walked, ends: &Ends, all: bool) -> Result<(), LogError> {
        let failed = || LogError::io("make the index anew");
        let end = index_offset(ends.end_index + 1);
        let keep = walked.not_indexed.map_or(end, |head| index_offset(head.index));
        let reaches = self.index.min_offset().is_some_and(|min| min <= keep)
            && self.index.max_offset() >= keep;
        let cut = if reaches && !ends.is_empty() {
            self.index.cut(keep, true)
        } else {
            self.index.cut_all()
        };
        self.index.settle(cut).await.map_err(failed())?;
        if let Some(from) = walked.not_indexed {
            tracing::warn!(from = from.index, to = ends.end_index, "the index is made anew");
            let files = self.data.files();
            let again = |head: &_| self.index_again(head);
            Walk::for_each(&Files(&files), &from, ends.end_index, again)?;
        }
        if !ends.is_empty() {
            let first = Files(&self.data.files()).head(walked.start).filter(|_| !all);
            let start = first.map_or(0, |head| index_offset(head.index));
            let start = start.max(self.index.min_offset().unwrap_or(0)).min(end);
            self.index.rewrite(start..end, |_| ()).await?;
            self.index.set_flushed_where(end);
        }
        Ok(())
    }

    /// Refuses a log whose index does not even have what the consensus core asks for.
    fn view_is_whole(&self) -> Result<(), LogError> {
        self.view().map(|_| ()).map_err(|error| LogError::Damaged {
            file: self.index.dir().to_path_buf(),
            pos: 0,
            durable_pos: self.end_pos(),
            reason: format!("{error}; remove the index files, and a start makes them anew"),
        })
    }
}
