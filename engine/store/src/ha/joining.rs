//! [`Joining`]: what has to be settled before a slave may follow a master.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use mq_env::Env;
use mq_env::probe::Event;
use mq_protocol::header::log_prefix::{LOG_SAMPLE_BYTES_MAX, SampleVerdict};

use super::prefix::{OwnLog, PrefixError, PrefixOracle, PrefixQuery, Relation, compare, sample};
use super::quarantine::{Quarantine, begin_aside, copy_aside, finish_aside, record_boundaries};
use crate::commit_log::CommitLog;
use crate::config::{StoreConfig, UpstreamSwitch};
use crate::error::StoreError;
use crate::message_store::MessageStore;
use crate::plant::Plant;
use crate::sync::lock;

/// Why somebody follows no more who is to be no slave.
pub(crate) const NOT_A_SLAVE: &str = "this broker ceases to be a slave";

const WHAT_TO_DO: &str = "This slave does not follow and keeps its log and its tables. If its \
    messages are the ones to keep, promote it: stop the master, set brokerRole=ASYNC_MASTER or \
    SYNC_MASTER and brokerId=0 here, restart. If the master's are, stop this slave, move its store \
    directory away and start it blank.";

/// Asks a master, and makes the own log a prefix of the master's where that is permitted.
pub(crate) struct Joining {
    env: Env,
    config: Arc<StoreConfig>,
    store: Arc<MessageStore>,
    oracle: Option<PrefixOracle>,
    quarantines: Mutex<Vec<Quarantine>>,
}

/// The same oracle, and where the master's log ends by its last answer.
fn noting_end(oracle: &PrefixOracle) -> (PrefixOracle, Arc<AtomicU64>) {
    let (oracle, end) = (Arc::clone(oracle), Arc::<AtomicU64>::default());
    let noted = Arc::clone(&end);
    let noting: PrefixOracle = Arc::new(move |query| {
        let (answer, noted) = (oracle(query), Arc::clone(&noted));
        Box::pin(async move {
            let answer = answer.await?;
            noted.store(answer.max_offset, Ordering::Relaxed);
            Ok(answer)
        })
    });
    (noting, end)
}

/// Whether a slave may follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Joined {
    /// It may.
    May {
        /// Whether its log was proven a prefix of the master's.
        is_proven: bool,
        /// A blank log may begin up to here, if that is known: with any file that the master had when it
        /// was asked, or the one behind, into which it may have rolled since.
        starts_until: Option<u64>,
    },
    /// It must not, and an operator has to decide.
    Refused {
        /// What is the matter and what to do.
        reason: String,
    },
    /// It cannot be said now.
    Later {
        /// Why.
        reason: String,
    },
}

impl Joining {
    pub(crate) fn new(env: Env, store: Arc<MessageStore>, oracle: Option<PrefixOracle>) -> Self {
        let config = Arc::clone(store.config());
        Joining { env, config, store, oracle, quarantines: Mutex::default() }
    }

    /// What was set aside since the start, oldest first.
    pub(crate) fn quarantines(&self) -> Vec<Quarantine> {
        lock(&self.quarantines).clone()
    }

    /// Settles whether the slave may follow `master`. A tail that the master does not have is set
    /// aside and cut, within bounds. Nothing appends to the log meanwhile.
    pub(crate) async fn join(&self, master: &str) -> Joined {
        let log = self.log();
        if log.is_poisoned() {
            let reason = "a sync of this slave's log failed: mend its disk and restart it";
            return Joined::Refused { reason: reason.to_owned() };
        }
        let unproven = |starts_until| Joined::May { is_proven: false, starts_until };
        let Some(oracle) = self.oracle() else { return unproven(None) };
        let own = OwnLog {
            min_offset: log.min_offset(),
            end_offset: log.max_offset(),
            crc: &|range| log.crc_of(range),
            boundaries: &|range| record_boundaries(log, range),
            sound_record_end: &|at| log.sound_record_end(at),
            file_start: &|offset| log.file_start(offset),
        };
        let (oracle, master_end) = noting_end(oracle);
        let starts_until =
            |master_end| log.file_start(master_end).saturating_add(log.file_size() as u64);
        let role = self.store.role();
        let compared = mq_env::select! {
            () = role.must_not_follow() => {
                return Joined::Later { reason: NOT_A_SLAVE.to_owned() };
            }
            compared = compare(own, &oracle, self.diverged_bytes_max()) => compared,
        };
        let settled = match compared {
            Err(PrefixError::Unsupported { log_end }) => {
                return unproven(log_end.map(starts_until));
            }
            Err(error) => return Joined::Later { reason: error.to_string() },
            Ok(Relation::Foreign(foreign)) => {
                let reason = format!("master {master}: {foreign}. {WHAT_TO_DO}");
                return Joined::Refused { reason };
            }
            Ok(Relation::Prefix) => Ok(()),
            Ok(Relation::Diverged { common }) => self.cut_tail(common, master).await,
            Ok(Relation::Elsewhere { master_min }) => self.start_over(master_min, master).await,
        };
        match settled {
            Ok(()) => {
                let starts_until = starts_until(master_end.load(Ordering::Relaxed));
                Joined::May { is_proven: true, starts_until: Some(starts_until) }
            }
            Err(error) => {
                tracing::error!(%error, "this slave's log could not be made the master's prefix");
                Joined::Later { reason: error.to_string() }
            }
        }
    }

    /// Whether the master still has the end of this slave's log: one short question, while
    /// following or not. `Ok(false)` when it has not.
    pub(crate) async fn confirm(&self) -> Result<bool, PrefixError> {
        let Some(oracle) = self.oracle() else { return Ok(true) };
        let log = self.log();
        let end_offset = log.max_offset();
        let from = end_offset.saturating_sub(u64::from(LOG_SAMPLE_BYTES_MAX)).max(log.min_offset());
        if from == end_offset {
            return Ok(true);
        }
        let changed = || PrefixError::Unreachable("the slave's own log changed".to_owned());
        let sample = sample(from..end_offset, &|range| log.crc_of(range)).ok_or_else(changed)?;
        let query = PrefixQuery { end_offset, samples: vec![sample] };
        match oracle(query).await {
            Ok(answer) => Ok(answer.verdicts == [SampleVerdict::Same]),
            Err(PrefixError::Unsupported { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The tail from `common` on is the slave's alone.
    async fn cut_tail(&self, common: u64, master: &str) -> Result<(), StoreError> {
        let log = self.log();
        let range = common..log.max_offset();
        let tail_bytes = range.end.saturating_sub(range.start);
        let bytes_max = self.diverged_bytes_max();
        assert!((1..=bytes_max).contains(&tail_bytes), "{range:?} is within haMaxDivergedBytes");
        let reason = "the master has other bytes, or none, in this range";
        let root = &self.config.store_path_root_dir;
        let quarantine = copy_aside(&self.env, log, root, range, reason, master).await?;
        self.store.truncate_to(common, reason).await?;
        assert_eq!(self.log().max_offset(), common, "the tail is cut");
        self.report(quarantine);
        Ok(())
    }

    /// Nothing of this log can be continued: the master has removed what comes behind it. Its bytes
    /// go aside, and the log starts again at the master's minimum.
    async fn start_over(&self, master_min: u64, master: &str) -> Result<(), StoreError> {
        let log = self.log();
        let Range { start, end } = log.min_offset()..log.max_offset();
        assert!(start == end || end <= master_min, "{end} is behind the master's {master_min}");
        if start < end {
            let gap_bytes = master_min - end;
            tracing::warn!(
                master,
                master_min,
                gap_bytes,
                "this slave's log ({start} to {end}) ends below its master's minimum: it is refilled \
                 from there, and what lies between is nowhere in this group"
            );
        }
        let reason = "the master's log begins behind this range";
        let root = &self.config.store_path_root_dir;
        log.flush(0).await?;
        let quarantine = begin_aside(&self.env, log, root, reason, master).await?;
        self.store.reset_to(master_min, &quarantine.dir).await?;
        assert_eq!(self.log().min_offset(), master_min, "the log begins at its master's minimum");
        finish_aside(&self.env, &quarantine).await?;
        if start < end {
            self.report(quarantine);
        }
        Ok(())
    }

    fn report(&self, quarantine: Quarantine) {
        let Quarantine { from, to, messages, .. } = quarantine;
        self.env.probe.emit(&Event::Quarantined { from, to, messages });
        tracing::warn!(
            from,
            to,
            messages,
            master = quarantine.master,
            reason = quarantine.reason,
            dir = %quarantine.dir.display(),
            "bytes of this slave's log were set aside"
        );
        lock(&self.quarantines).push(quarantine);
    }

    fn oracle(&self) -> Option<&PrefixOracle> {
        let splices = self.config.upstream(UpstreamSwitch::SpliceDiverged)
            || self.config.planted(Plant::AckBeyondLogEnd);
        self.oracle.as_ref().filter(|_| !splices)
    }

    fn diverged_bytes_max(&self) -> u64 {
        self.config.ha_max_diverged_bytes_in_force()
    }

    fn log(&self) -> &CommitLog {
        self.store.commit_log()
    }
}
