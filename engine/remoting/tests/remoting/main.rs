//! `mq-remoting` from the outside: over sockets of the machine, and over an in-memory network under
//! a paused clock.
#![expect(clippy::unwrap_used, reason = "in fixtures of tests a panic is the right end")]

mod fixtures;
mod limits;
mod loopback;
mod memory_net;
mod timing;
