//! What became of every message, and whether that was promised. Facts come from the clients and from
//! the simulated disks, read without the store; the trace explains.
//!
//! | module | holds |
//! |---|---|
//! | [`duration`] | [`Millis`](duration::Millis), in which deadlines are written |
//! | [`calm`] | [`Calm`](calm::Calm): when nothing was in the way; `timeline`, what was, and who lived when |
//! | [`history`] | what the clients sent, were told, were given, and read back |
//! | [`watch`] | who had which queue, when listeners ended, how far groups had committed |
//! | [`ledger`] | [`Ledger`](ledger::Ledger): where each message's bytes lie, read off the disks at every acknowledgement and fault |
//! | [`check`] | the checkers: one property per file |
//! | [`forensics`] | the chain of events by which a message was lost |
//! | [`biography`], [`stall`] | the story of one message; queues that nobody consumed for long |

pub mod biography;
pub mod calm;
pub mod check;
pub mod duration;
pub mod forensics;
pub mod history;
pub mod ledger;
pub mod stall;
pub mod timeline;
pub mod watch;
