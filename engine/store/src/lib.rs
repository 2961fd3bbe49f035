//! Everything under `storePathRootDir`: the CommitLog, what is derived from it, and its replication.
//!
//! Entry point: [`MessageStore::open`]. Modules in reading order:
//!
//! - [`config`], [`live`], [`error`], `plant`: settings, failures, planted bugs;
//! - `message_inner`, `put_result`, `get_result`: what goes in and comes out;
//! - `preflight`: what can refuse a start, looked at before anything is written;
//! - `message_store`: the store itself: start-up, puts, reads, truncation, shutdown;
//! - `commit_log` with `record`, `topic_queue_table`, `damage`, `recovery`: append, flush services, recovery walk, what
//!   replication needs;
//! - `consume_queue`, `consume_queue_store`, `dispatch` with `dispatch/deletion`, [`delay_level`]: from log to queues;
//! - [`index_layout`], `index_file`, `index_service`: from log to keys;
//! - `checkpoint`, `durable_mark`, `marks`: what is written down about durability;
//! - `retention`: what expires, and what a full disk means;
//! - [`role`]: master or slave, and the change from one to the other;
//! - `replica_gate`: where a SYNC_MASTER's puts wait for slaves; [`ha`]: replication;
//! - [`metadata_file`]: small files that are replaced as a whole;
//! - [`stats`]: what was put and read;
//! - [`doctor`]: examines store directories for operators;
//! - `log_end`, `running_flags`, `tick_grid`, `sync`, `big_endian`: small parts.

pub mod config;
pub mod delay_level;
pub mod doctor;
pub mod error;
pub mod ha;
pub mod index_layout;
pub mod live;
pub mod metadata_file;
pub mod plant;
pub mod role;
pub mod stats;

mod big_endian;
mod checkpoint;
mod commit_log;
mod consume_queue;
mod consume_queue_store;
mod damage;
mod dispatch;
mod durable_mark;
mod get_result;
mod index_file;
mod index_service;
mod log_end;
mod marks;
mod message_inner;
mod message_store;
mod preflight;
mod put_result;
mod record;
mod recovery;
mod replica_gate;
mod retention;
mod running_flags;
mod sync;
mod tick_grid;
mod topic_queue_table;

pub use commit_log::{CommitLog, ConsensusEnds, ConsensusLog, OnAppend};
pub use consume_queue::ConsumeQueue;
pub use consume_queue_store::ConsumeQueueStore;
pub use damage::DamagedRange;
pub use dispatch::{MessageArrivingListener, TopicDeletedListener};
pub use durable_mark::Mark;
pub use error::StoreError;
pub use get_result::{GetMessageResult, GetMessageStatus, MessageFilter, PropertiesFilter};
pub use index_service::{IndexMark, QueryOffsetResult, human_time};
pub use log_end::LogEndWatch;
pub use message_inner::MessageInner;
pub use message_store::{
    MessageStore, OpenConsensusLog, PutFuture, QueryMessageResult, WaitingPut,
};
pub use mq_mapped_file::SelectedBuffer;
pub use put_result::{AppendMessageResult, PutMessageResult, PutMessageStatus};
pub use recovery::{DroppedRecord, RecoveryReport};
pub use replica_gate::ReplicaWait;
pub use retention::used_percent;

#[cfg(test)]
mod tests;
