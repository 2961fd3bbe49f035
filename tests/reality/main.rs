//! The engine against reality: real processes killed, real file systems filled.
#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]
#![expect(clippy::print_stdout, reason = "figures are read by people")]

mod kill;
mod full_disk;
mod hostile;
mod java;
mod later;
mod rig;
mod rocketmq;
mod words;
