//! The table of operations whose crash points are enumerated.

use std::sync::Arc;

use mq_store::config::{FlushDiskType, StoreConfig};
use staticfire_world::disk::SimDisk;

use super::following;
use super::known::{Knowledge, Violation};
use super::stage::{Camera, LOG_FILE, Point, Stage, message, new_disk, small_config};
use super::tables;

use FlushDiskType::{AsyncFlush, SyncFlush};

/// Longer than any operation.
const NEVER_MS: u64 = 600_000;

/// Something that a store does, with an image after each of its micro-operations.
pub struct Operation {
    /// What it is called.
    pub name: &'static str,
    mode: FlushDiskType,
    /// Whether ConsumeQueues and index are synced while it lasts.
    syncs_queues: bool,
    /// Whether there is a transient store pool.
    pool: bool,
    play: Play,
}

/// All of them.
pub const OPERATIONS: [Operation; 19] = [
    Operation::new("put", SyncFlush, put),
    Operation::new("put, ASYNC_FLUSH", AsyncFlush, put),
    Operation { pool: true, ..Operation::new("put and commit", AsyncFlush, put_and_commit) },
    Operation::new("put batch", SyncFlush, put_batch),
    Operation::new("put over a file end", SyncFlush, roll),
    Operation::new("file made ahead", SyncFlush, file_ahead),
    Operation::new("flush", AsyncFlush, flush).without_queue_syncs(),
    Operation::new("dispatch", AsyncFlush, dispatch).without_queue_syncs(),
    Operation::new("checkpoint", SyncFlush, checkpoint),
    Operation::new("watermark", SyncFlush, watermark).without_queue_syncs(),
    Operation::new("index build", SyncFlush, index_build),
    Operation::new("delete", SyncFlush, delete),
    Operation::new("truncate", SyncFlush, truncate),
    Operation::new("delete topic", SyncFlush, delete_topic),
    Operation::new("truncate a topic's deletion", SyncFlush, truncate_deletion),
    Operation::new("metadata replace", SyncFlush, metadata),
    Operation::new("quarantine", SyncFlush, following::play),
    Operation::new("recovery", SyncFlush, recovery).without_queue_syncs(),
    Operation::new("clean start", AsyncFlush, clean_start),
];

type Play = fn(&StoreConfig) -> Result<Vec<Point>, Violation>;

impl Operation {
    const fn new(name: &'static str, mode: FlushDiskType, play: Play) -> Self {
        Operation { name, mode, syncs_queues: true, pool: false, play }
    }

    const fn without_queue_syncs(self) -> Self {
        Operation { syncs_queues: false, ..self }
    }

    /// The store's settings while it is played.
    #[must_use]
    pub fn config(&self) -> StoreConfig {
        let mut config = small_config(self.mode);
        config.transient_store_pool_enable = self.pool;
        config.commit_interval_commit_log_ms = 10;
        config.commit_commit_log_thorough_interval_ms = 10;
        if !self.syncs_queues {
            config.flush_interval_consume_queue_ms = NEVER_MS;
            config.flush_consume_queue_thorough_interval_ms = NEVER_MS;
        }
        config
    }

    /// Its crash points.
    ///
    /// # Errors
    /// When it breaks a promise without a crash.
    pub fn play(&self, config: &StoreConfig) -> Result<Vec<Point>, Violation> {
        (self.play)(config)
    }
}

/// A life on a new disk in which `before` happens unfilmed, then `act` filmed.
fn filmed(
    config: &StoreConfig,
    before: impl AsyncFnOnce(&Stage),
    act: impl AsyncFnOnce(&Stage),
) -> Result<Vec<Point>, Violation> {
    let knowledge = Knowledge::default();
    Stage::live(&new_disk(1), config, 0, &knowledge, async |stage| {
        before(stage).await;
        let camera = Camera::start(&stage.disk, &knowledge);
        act(stage).await;
        Ok(camera.stop())
    })
}

fn put(config: &StoreConfig) -> Result<Vec<Point>, Violation> {
    filmed(
        config,
        async |stage| stage.put(0..3).await,
        async |stage| {
            stage.put(3..6).await;
            stage.put_too_large().await;
            stage.put_together(6..9).await;
            stage.dispatched().await;
        },
    )
}

/// What is acknowledged waits for a commit: in the first file, over its end, and in the next one.
fn put_and_commit(config: &StoreConfig) -> Result<Vec<Point>, Violation> {
    let before = async |stage: &Stage| {
        stage.knowledge.learn(|known| known.committed = Some(0));
        stage.put(0..3).await;
    };
    filmed(config, before, async |stage| {
        stage.put(3..6).await;
        stage.pass(20).await;
        stage.put_together(6..9).await;
        stage.dispatched().await;
        stage.put_together(9..24).await;
        stage.put(24..26).await;
        stage.pass(40).await;
        stage.put(26..28).await;
    })
}

fn put_batch(config: &StoreConfig) -> Result<Vec<Point>, Violation> {
    filmed(
        config,
        async |stage| stage.put(0..2).await,
        async |stage| {
            stage.put_batch(2..8).await;
            stage.put_batch(8..12).await;
            stage.dispatched().await;
        },
    )
}

fn roll(config: &StoreConfig) -> Result<Vec<Point>, Violation> {
    let end = |stage: &Stage| stage.store.commit_log().max_offset();
    let mut number = 0;
    let mut next = || {
        number += 1;
        number - 1..number
    };
    let knowledge = Knowledge::default();
    Stage::live(&new_disk(1), config, 0, &knowledge, async |stage| {
        while end(stage) < LOG_FILE as u64 - 1500 {
            stage.put(next()).await;
        }
        let camera = Camera::start(&stage.disk, &knowledge);
        while end(stage) < LOG_FILE as u64 {
            stage.put(next()).await;
        }
        stage.put(next()).await;
        stage.dispatched().await;
        Ok(camera.stop())
    })
}

/// The next file is made while puts go on, and is rolled into: long after it is there, and, with syncs of
/// several durations, before its own have ended.
fn file_ahead(config: &StoreConfig) -> Result<Vec<Point>, Violation> {
    let end = |stage: &Stage| stage.store.commit_log().max_offset();
    let mut points = Vec::new();
    for seed in 1..4 {
        let (disk, knowledge) = (new_disk(seed), Knowledge::default());
        let filmed = Stage::live(&disk, config, 0, &knowledge, async |stage| {
            let mut number = 0;
            let middle = LOG_FILE as u64 / 2;
            while end(stage) < middle - 900 {
                stage.put(number..number + 1).await;
                number += 1;
            }
            let camera = Camera::start(&stage.disk, &knowledge);
            while seed == 1 && end(stage) < LOG_FILE as u64 + middle - 900 {
                stage.put(number..number + 1).await;
                number += 1;
            }
            stage.put_at_one_instant(number..number + 10).await;
            Ok(camera.stop())
        })?;
        points.extend(filmed);
    }
    Ok(points)
}

fn flush(config: &StoreConfig) -> Result<Vec<Point>, Violation> {
    let before = async |stage: &Stage| {
        stage.put_together(0..20).await;
        stage.dispatched().await;
    };
    filmed(config, before, async |stage| stage.pass(100).await)
}

fn dispatch(config: &StoreConfig) -> Result<Vec<Point>, Violation> {
    let before = async |stage: &Stage| {
        stage.put(0..2).await;
        stage.pass(100).await;
        // Nobody gets a turn between the last of these and the first image.
        stage.put_together(2..12).await;
    };
    filmed(config, before, async |stage| stage.dispatched().await)
}

fn checkpoint(config: &StoreConfig) -> Result<Vec<Point>, Violation> {
    let before = async |stage: &Stage| {
        stage.put(0..26).await;
        stage.pass(100).await;
        stage.put_together(26..34).await;
    };
    filmed(config, before, async |stage| stage.pass(200).await)
}

fn watermark(config: &StoreConfig) -> Result<Vec<Point>, Violation> {
    let before = async |stage: &Stage| {
        stage.put(0..14).await;
        stage.pass(1_100).await;
        stage.put(14..18).await;
    };
    filmed(config, before, async |stage| {
        stage.pass(1_100).await;
        stage.put(18..19).await;
        stage.pass(1_100).await;
    })
}

fn index_build(config: &StoreConfig) -> Result<Vec<Point>, Violation> {
    filmed(
        config,
        async |stage| stage.put(0..5).await,
        async |stage| {
            stage.put(5..9).await;
            stage.dispatched().await;
            stage.pass(60).await;
        },
    )
}

fn delete(config: &StoreConfig) -> Result<Vec<Point>, Violation> {
    let before = async |stage: &Stage| {
        stage.put(0..70).await;
        stage.pass(1_100).await;
        stage.clock.advance(3 * 3_600_000);
    };
    filmed(config, before, async |stage| {
        stage.knowledge.learn(|known| known.is_expiring = true);
        stage.store.execute_delete_files_manually();
        for number in 70..78 {
            stage.put(number..number + 1).await;
            stage.pass(250).await;
        }
        assert!(stage.store.commit_log().min_offset() > 0, "files have expired");
    })
}

fn truncate(config: &StoreConfig) -> Result<Vec<Point>, Violation> {
    let before = async |stage: &Stage| {
        stage.put(0..30).await;
        stage.pass(100).await;
    };
    filmed(config, before, async |stage| {
        let end = stage.knowledge.learn(|known| {
            let end = known.appended.keys().nth(9).copied();
            known.cutting = end;
            end.unwrap_or_default()
        });
        stage.store.truncate_to(end, "test").await.unwrap();
        stage.put(100..102).await;
    })
}

/// A topic is deleted, and the next messages begin another one of its name.
fn delete_topic(config: &StoreConfig) -> Result<Vec<Point>, Violation> {
    let before = async |stage: &Stage| {
        stage.put(0..30).await;
        stage.pass(100).await;
        stage.put(30..34).await;
    };
    filmed(config, before, async |stage| {
        stage.delete_topic().await;
        stage.put(40..44).await;
        stage.dispatched().await;
        stage.pass(60).await;
        stage.delete_topic().await;
        stage.pass(60).await;
    })
}

/// A slave cuts its log where a topic was deleted that its master still has: its queues, each of some files, are made again.
fn truncate_deletion(config: &StoreConfig) -> Result<Vec<Point>, Violation> {
    let before = async |stage: &Stage| {
        stage.put(0..60).await;
        stage.delete_topic().await;
        stage.put(70..73).await;
        stage.pass(100).await;
    };
    filmed(config, before, async |stage| {
        let end = stage.knowledge.learn(|known| {
            let end = known.appended.keys().nth(50).copied();
            known.cutting = end;
            end.unwrap_or_default()
        });
        stage.store.truncate_to(end, "test").await.unwrap();
        stage.put(100..102).await;
        stage.dispatched().await;
        stage.pass(60).await;
    })
}

fn metadata(config: &StoreConfig) -> Result<Vec<Point>, Violation> {
    let before = async |stage: &Stage| {
        stage.put(0..2).await;
        stage.replace_table(tables::NAMES[0]).await;
        stage.pass(100).await;
    };
    filmed(config, before, async |stage| {
        for name in tables::NAMES {
            stage.replace_table(name).await;
            stage.replace_table(name).await;
        }
    })
}

/// Starts after power losses that met puts before their sync.
fn recovery(config: &StoreConfig) -> Result<Vec<Point>, Violation> {
    let (disk, knowledge) = (new_disk(1), Knowledge::default());
    let image = Stage::live(&disk, config, 0, &knowledge, async |stage| {
        stage.put(0..22).await;
        let waiting = (22..40).map(|number| {
            knowledge.learn(|known| known.attempted.insert(number));
            stage.store.put_message(&message(number))
        });
        let waiting: Vec<_> = waiting.collect();
        let image = stage.disk.image();
        drop(waiting);
        Ok(image)
    })?;
    // What was not acknowledged may be lost, and then it is not to come back.
    knowledge.learn(|known| {
        let acked = std::mem::take(&mut known.acked);
        known.appended.retain(|phy_offset, _| acked.contains(phy_offset));
        known.acked = acked;
    });
    let mut points = Vec::new();
    for seed in 0..3 {
        let mut rng = mq_env::rng::Rng::from_seed(seed).stream("recovery");
        let disk = image.after_power_loss(&mut rng).0;
        points.extend(film_start(&disk, config, &knowledge)?);
    }
    Ok(points)
}

/// Starts after an orderly end.
fn clean_start(config: &StoreConfig) -> Result<Vec<Point>, Violation> {
    let (disk, knowledge) = (new_disk(1), Knowledge::default());
    Stage::live(&disk, config, 0, &knowledge, async |stage| {
        stage.put(0..30).await;
        stage.store.shutdown().await;
        Ok(())
    })?;
    let mut points = Vec::new();
    for life in 1..3 {
        let camera = Camera::start(&disk, &knowledge);
        Stage::live(&disk, config, life, &knowledge, async |stage| {
            stage.put(30 * life as u32..30 * life as u32 + 3).await;
            stage.store.shutdown().await;
            Ok(())
        })?;
        points.extend(camera.stop());
    }
    Ok(points)
}

fn film_start(
    disk: &Arc<SimDisk>,
    config: &StoreConfig,
    knowledge: &Knowledge,
) -> Result<Vec<Point>, Violation> {
    let silent = Knowledge::default();
    silent.learn(|known| *known = knowledge.now());
    let camera = Camera::start(disk, knowledge);
    Stage::live(disk, config, 1, &silent, async |stage| {
        stage.dispatched().await;
        Ok(())
    })?;
    Ok(camera.stop())
}
