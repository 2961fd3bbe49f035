//! Replication between stores on real files and under paused time, over pipes that cut frames
//! anywhere. Each module tells one part of the story.
#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]

mod catch_up;
mod diverged;
mod durability;
mod held_disk;
mod node;
mod pipe;
mod roles;
mod statuses;
mod wire;
