//! [`Limits`]: what peers may cost.

use std::time::Duration;

/// The least that `hyper` takes for the head of a request.
const HEAD_BYTES_MIN: usize = 8 << 10;

/// What all peers of a server may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections that are open at a time; others wait in the machine's queue.
    pub connections_max: usize,
    /// Request line and headers; at least 8 KiB. A longer head is answered 431.
    pub head_bytes_max: usize,
    /// Body of a request. A longer one is answered 413.
    pub body_bytes_max: usize,
    /// From the accept to the last byte of the answer, the handler's work included; then the connection is
    /// closed, whatever it waits for.
    pub exchange_max: Duration,
}

impl Limits {
    pub(crate) fn buffer_bytes(&self) -> usize {
        self.head_bytes_max.max(HEAD_BYTES_MIN)
    }
}

impl Default for Limits {
    /// 32 connections, heads of 16 KiB, bodies of 64 KiB, ten seconds.
    fn default() -> Self {
        Limits {
            connections_max: 32,
            head_bytes_max: 16 << 10,
            body_bytes_max: 64 << 10,
            exchange_max: Duration::from_secs(10),
        }
    }
}
