//! Every point of an operation at which a process may be killed or a machine lose power, and every disk
//! that it may then find.
//!
//! An [`Operation`] is played on a simulated disk, an image taken after each persistence micro-operation,
//! and with it what producers and consumers knew then ([`Known`]). From each image come the disk after a
//! kill and the disks after power loss: all of them where there are not too many, else seeded ones
//! ([`outcomes`]). A store is opened on each, and what it finds is held against what was known, its
//! ConsumeQueues and its index against a rebuild from the log. It is opened again after another kill,
//! and images are taken while it recovers, too ([`enumeration`]).
//!
//! | module | holds |
//! |---|---|
//! | [`known`] | what is known at a crash point, and what that promises |
//! | [`stage`] | disks, lives of a store, cameras |
//! | [`state`] | what a start finds, held against a rebuild |
//! | [`tables`] | the metadata files beside the store |
//! | [`outcomes`] | the disks that an image may become |
//! | [`operations`] | the table of operations |
//! | [`following`] | a slave that sets its diverged tail aside |
//! | [`enumeration`] | the enumerator and its report |
//! | [`model`] | a store against a reference model, step by step |

pub mod enumeration;
pub mod following;
pub mod known;
pub mod model;
pub mod operations;
pub mod outcomes;
pub mod stage;
pub mod state;
pub mod tables;

pub use enumeration::{Row, Size, enumerate};
pub use known::{Known, Violation};
pub use operations::{OPERATIONS, Operation};
