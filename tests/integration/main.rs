//! Tests across crates, in one binary.
#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod admin;
mod broker;
mod client_frames;
mod crash_points;
mod ha;
mod os_access_rights;
mod os_busy;
mod os_cluster;
mod parity;
mod store;
mod tls;
mod vectors;
mod scenarios;
mod turmoil;
