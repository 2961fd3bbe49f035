//! The simulated world: machines, processes and a network in one thread, on simulated time, from one
//! seed. It implements the traits of `mq-env` and knows nothing of RocketMQ but the vocabulary of the
//! probe's events.
//!
//! | module | holds |
//! |---|---|
//! | [`trace`] | [`Trace`](trace::Trace): everything that happened, with a digest; faults, and whether they bit |
//! | [`clock`] | the world's time, and what the machines' wall clocks make of it |
//! | [`disk`] | [`SimDisk`](disk::SimDisk): a page cache over a platter, its faults and its loss of power |
//! | [`net`] | [`Fabric`](net::Fabric): event-driven links, connections, partitions |
//! | [`world`] | [`World`](world::World): runs a scenario over machines and processes |

pub mod clock;
pub mod disk;
pub mod net;
pub mod trace;
pub mod world;
