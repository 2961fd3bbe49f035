//! What became of every message, and whether that was promised. Facts come from the clients and from
//! the simulated disks, read without the store; the trace explains.
//!
//! | module | holds |
//! |---|---|
//! | [`duration`] | [`Millis`](duration::Millis), in which deadlines are written |
//! | [`history`] | what the clients sent, were told, were given, and read back |
//! | [`ledger`] | [`Ledger`](ledger::Ledger): where each message's bytes lie, read off the disks at every acknowledgement and fault |
//! | [`check`] | the checkers: one property per file |
//! | [`forensics`] | the chain of events by which a message was lost |

pub mod check;
pub mod duration;
pub mod forensics;
pub mod history;
pub mod ledger;
