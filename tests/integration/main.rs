//! Tests across crates, in one binary.
#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]

mod ha;
mod crash_points;
mod parity;
mod vectors;
