//! Replication over the simulated network, on simulated disks, and against recorded streams.

mod recorded;
mod rig;
mod stories;
