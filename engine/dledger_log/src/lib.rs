//! What a DLedger node keeps under `dledger-<selfId>/`, byte for byte as DLedger 0.3 does: the entries (`data/`), where
//! each of them is (`index/`), the term and the vote (`currterm`), and how far things had come (`checkpoint`).
//!
//! Entry point: [`DLedgerLog::open`]. Modules in reading order:
//!
//! | module | holds |
//! |---|---|
//! | `config`, `error` | settings, failures |
//! | `small_files` | `currterm` and `checkpoint`, which are replaced as a whole |
//! | `log` | the log: its ends, its entries |
//! | `append` | a leader's entries, and those that a leader pushed |
//! | `settle` | what is synced, and up to where the checkpoint says so |
//! | `cut` | a log that is cut, or begins anew |
//! | `expire` | the oldest file goes |
//! | `walk`, `recover` | what a start finds, and makes of it |
//!
//! # Rules
//! * **One appends**, the task that owns the consensus core; anybody reads, and syncs go on meanwhile.
//! * **Where an entry lies follows from the entries before it**: behind the last one if it fits there with eight
//!   bytes to spare, else at the start of the next file. Every node has it there. A blank is no part of the log: a cut and
//!   a start end behind the last entry. (Java begins a new file behind a blank of an earlier life, and a follower goes
//!   with it.)
//! * **The index is derived.** Commits sync the data alone; a start walks from the checkpoint on and writes the records
//!   that are missing or wrong.
//! * **Below the checkpoint's `durablePos` everything was synced**, index included: what is not sound there is damage, and a
//!   start refuses, because a node that forgets what it acknowledged must not vote. Above it the first entry
//!   that is not sound is the torn end. A log that Java wrote has no such mark, and the first unsound entry is its end.
//! * **A sync or a cut that failed poisons the log**: it takes no more entries before the next start.
//!
//! The caller holds the lock of the store that the directory belongs to, and has made the way to its root durable.

mod config;
mod error;
mod small_files;
mod log;
mod append;
mod settle;
mod cut;
mod expire;
mod walk;
mod recover;

pub use append::Appended;
pub use config::LogConfig;
pub use error::{LogError, ReadError};
pub use log::{DLedgerLog, Entry};
pub use recover::OpenedLog;
pub use settle::Synced;
pub use small_files::StoredTerm;
