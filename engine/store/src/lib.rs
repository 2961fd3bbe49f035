//! Everything under `storePathRootDir`: the CommitLog, what is derived from it, and its replication.

pub mod config;
