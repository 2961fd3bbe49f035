//! Syncs, whenever something was appended, and the checkpoint, while there is something new to write into it.
//!
//! Under SYNC_FLUSH at once: what is appended meanwhile shares the next sync. Under ASYNC_FLUSH after
//! `flushFileInterval`, and the commit does not wait for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mq_dledger_log::DLedgerLog;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::host::Input;
use crate::node::Shared;

/// Pause before a sync that could not be attempted is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Runs until the node ends or its log is poisoned, which the host is told.
pub(crate) async fn run(shared: Arc<Shared>, host: mpsc::Sender<Input>) {
    let tasks = shared.env.tasks.clone();
    let interval = Duration::from_millis(shared.config.check_point_interval_ms);
    let mut checkpoint_due: Option<Instant> = None;
    let mut told = shared.log.synced();
    while !tasks.is_cancelled() {
        let log = &shared.log;
        if log.is_poisoned() {
            shared.tell_durable();
            // The host may be gone already.
            let _ = host.send(Input::DiskFailed).await;
            return;
        }
        if checkpoint_due.is_some_and(|due| due <= Instant::now()) {
            checkpoint_due = None;
            let committed_index = shared.durable_committed.load(Ordering::Acquire);
            if let Err(error) = log.write_checkpoint(committed_index).await {
                tracing::warn!(%error, "the checkpoint is not written");
            }
        }
        if told != log.synced() {
            told = log.synced();
            shared.tell_durable();
            // Without a host nobody asks any more.
            let _ = host.send(Input::Synced(told)).await;
            if let Err(error) = log.allocate_ahead().await {
                tracing::error!(%error, "the file made ahead cannot be synced");
                continue;
            }
        }
        if log.is_dirty() {
            checkpoint_due.get_or_insert_with(|| Instant::now() + interval);
            if !sync_once(&shared, log).await {
                mq_env::select! {
                    () = tasks.cancelled() => return,
                    () = tokio::time::sleep(RETRY_PAUSE) => {}
                }
            }
            continue;
        }
        let checkpoint = async {
            match checkpoint_due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        mq_env::select! {
            () = tasks.cancelled() => return,
            () = log.appended() => {}
            () = checkpoint => {}
            () = shared.checkpoint_wanted.notified(), if checkpoint_due.is_none() => {
                checkpoint_due = Some(Instant::now() + interval);
            }
        }
    }
}

/// Syncs what was appended; `false` when it is to be tried again.
async fn sync_once(shared: &Shared, log: &DLedgerLog) -> bool {
    if !shared.config.settings.is_sync_flush {
        let pause = Duration::from_millis(shared.config.flush_file_interval_ms);
        mq_env::select! {
            () = shared.env.tasks.cancelled() => return true,
            () = tokio::time::sleep(pause) => {}
        }
    }
    match log.sync().await {
        Ok(_) => true,
        Err(_) if log.is_poisoned() => true,
        Err(error) => {
            tracing::warn!(%error, "not synced yet; tried again");
            false
        }
    }
}
