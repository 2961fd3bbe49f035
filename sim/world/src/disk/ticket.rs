//! The asynchronous half of a flush or sync: waiting for it.

use std::io;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::SimDisk;
use super::errno::Errno;
use super::faults::FlushErrorMode;
use super::flush::{Begun, Landed};
use super::observe::{DiskEvent, FlushOutcome, MicroOp};
use super::region::Epoch;
use super::tree::NodeId;

/// A flush or sync that was called. Dropping it abandons it.
pub(super) struct Ticket {
    disk: Arc<SimDisk>,
    /// Absent for a caller that is dead already.
    epoch: Option<Arc<Epoch>>,
    begun: Begun,
}

impl Ticket {
    /// Calls a flush of `range` of file `id`, or a sync of directory `id`.
    pub(super) fn begin(
        disk: &Arc<SimDisk>,
        epoch: &Arc<Epoch>,
        id: NodeId,
        range: Range<u64>,
    ) -> Self {
        let now_ms = disk.clock.now_millis();
        let mut state = disk.lock();
        let is_dir = state.tree.is_dir(id);
        let begun = if is_dir {
            state.begin_dir_sync(id, epoch.id)
        } else {
            state.begin_flush(id, epoch.id, range.clone(), now_ms)
        };
        let path = disk.path_if_observed(&state, id);
        drop(state);
        if let Begun::Flying { seq: flush, latency_ms, pages } = begun
            && !is_dir
            && let Some(path) = &path
        {
            disk.emit(|| DiskEvent::FlushStarted { flush, path, range, pages, latency_ms });
        }
        Ticket { disk: Arc::clone(disk), epoch: Some(Arc::clone(epoch)), begun }
    }

    /// A call by a dead process, which never returns.
    pub(super) fn of_the_dead(disk: &Arc<SimDisk>) -> Self {
        Ticket { disk: Arc::clone(disk), epoch: None, begun: Begun::Idle { late_error: false } }
    }

    /// Waits until it landed.
    pub(super) async fn wait(mut self) -> io::Result<()> {
        if let Begun::Flying { latency_ms, .. } = self.begun
            && latency_ms > 0
        {
            tokio::time::sleep(Duration::from_millis(latency_ms)).await;
        }
        loop {
            let disk = Arc::clone(&self.disk);
            let mut unhung = pin!(disk.unhung.notified());
            unhung.as_mut().enable();
            if !self.epoch.as_ref().is_some_and(|epoch| epoch.is_alive()) {
                return std::future::pending().await;
            }
            if let Some(result) = self.try_end() {
                return result;
            }
            unhung.await;
        }
    }

    /// Ends the flush unless the disk hangs.
    fn try_end(&mut self) -> Option<io::Result<()>> {
        let seq = match self.begun {
            Begun::Idle { late_error } => return Some(result_of(late_error)),
            Begun::Flying { seq, .. } => seq,
        };
        let mut state = self.disk.lock();
        if state.hung {
            state.stats.hung_syncs += 1;
            return None;
        }
        let landed = state.land(seq, self.disk.clock.now_millis())?;
        let path = self.disk.path_if_observed(&state, landed.node);
        drop(state);
        self.begun = Begun::Idle { late_error: false };
        let Landed { outcome, range, pages, is_dir, .. } = landed;
        self.disk.micro_ops.done(if is_dir { MicroOp::DirSync } else { MicroOp::Flush });
        if let Some(path) = &path {
            self.disk.emit(|| match is_dir {
                true => DiskEvent::DirSynced { path, outcome },
                false => DiskEvent::FlushEnded { flush: seq, path, range, pages, outcome },
            });
        }
        Some(result_of(is_reported(outcome)))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Begun::Flying { seq, .. } = self.begun {
            self.disk.lock().abandon(seq);
        }
    }
}

fn is_reported(outcome: FlushOutcome) -> bool {
    match outcome {
        FlushOutcome::Durable => false,
        FlushOutcome::LateError => true,
        FlushOutcome::Failed(mode) => match mode {
            FlushErrorMode::Clean | FlushErrorMode::KeptDirty | FlushErrorMode::Reverted => true,
            FlushErrorMode::ReportedLate
            | FlushErrorMode::NeverReported
            | FlushErrorMode::Misdirected => false,
        },
    }
}

fn result_of(is_error: bool) -> io::Result<()> {
    if is_error { Err(Errno::IO.into()) } else { Ok(()) }
}
