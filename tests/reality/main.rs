//! The engine against reality: real processes killed, real file systems filled.
#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]
#![expect(clippy::print_stdout, reason = "figures are read by people")]

mod console;
mod dledger;
mod dledger_brokers;
mod dledger_store;
mod figures;
mod full_disk;
mod groups;
mod hostile;
mod interop;
mod java;
mod kill;
mod later;
mod operate;
mod ownership;
mod security;
mod throughput;
mod words;
