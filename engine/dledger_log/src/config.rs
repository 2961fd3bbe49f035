//! [`LogConfig`]: where a log is, and how large its files are.

use std::path::{Path, PathBuf};

use mq_protocol::dledger_entry::INDEX_FILE_BYTES;

/// Settings of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `storePathRootDir`: directories from here on are the log's to make durable.
    pub root: PathBuf,
    /// The node's directory below it, `dledger-<selfId>`.
    pub dir: PathBuf,
    /// `storePathDLedgerCommitLog`, else `data` in the node's directory.
    pub data_dir: PathBuf,
    /// `mappedFileSizeCommitLog`: size of a data file. All peers have the same, or their entries lie apart.
    pub data_file_bytes: usize,
    /// Size of an index file, a multiple of 32. RocketMQ's is [`INDEX_FILE_BYTES`].
    pub index_file_bytes: usize,
}

impl LogConfig {
    /// The log of the node `self_id` in the store at `root`, with files of RocketMQ's sizes.
    #[must_use]
    pub fn of_node(root: &Path, self_id: &str) -> Self {
        let dir = root.join(format!("dledger-{self_id}"));
        LogConfig {
            root: root.to_path_buf(),
            data_dir: dir.join("data"),
            dir,
            data_file_bytes: 1 << 30,
            index_file_bytes: INDEX_FILE_BYTES,
        }
    }
}
