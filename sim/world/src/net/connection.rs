//! One TCP connection: two ends and, between them, two flows of segments.
//!
//! Only data structures and what concerns a single connection; events, links and listeners are
//! `fabric`'s.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Waker};

use tokio::io::ReadBuf;

use super::{MachineId, OwnerId};

/// The two sides of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Initiator = 0,
    Acceptor = 1,
}

impl Side {
    pub(super) const BOTH: [Side; 2] = [Side::Initiator, Side::Acceptor];

    pub(super) fn other(self) -> Side {
        match self {
            Side::Initiator => Side::Acceptor,
            Side::Acceptor => Side::Initiator,
        }
    }
}

/// A connection. `flows[side]` carries what `ends[side]` sends.
pub(super) struct Connection {
    ends: [End; 2],
    flows: [Flow; 2],
    /// The listener that the SYN found.
    pub(super) listener: u64,
}

impl Connection {
    pub(super) fn new(initiator: End, acceptor: End) -> Self {
        let flows = [Flow::default(), Flow::default()];
        Connection { ends: [initiator, acceptor], flows, listener: 0 }
    }

    pub(super) fn end(&mut self, side: Side) -> &mut End {
        &mut self.ends[side as usize]
    }

    pub(super) fn flow(&mut self, side: Side) -> &mut Flow {
        &mut self.flows[side as usize]
    }

    /// The machines from and to which the flow of `side` goes.
    pub(super) fn route(&self, side: Side) -> (Option<MachineId>, Option<MachineId>) {
        (self.ends[side as usize].machine, self.ends[side.other() as usize].machine)
    }

    /// The addresses from and to which the flow of `side` goes.
    pub(super) fn addrs(&self, side: Side) -> (SocketAddr, SocketAddr) {
        (self.ends[side as usize].addr, self.ends[side.other() as usize].addr)
    }

    /// Whether neither side can ever observe anything of it again.
    pub(super) fn is_over(&self) -> bool {
        let [one, two] = &self.ends;
        let gone = one.state == EndState::Gone && two.state == EndState::Gone;
        let quiet = self.flows.iter().all(|flow| flow.queue.is_empty());
        one.released && two.released && (gone || quiet)
    }
}

/// What the kernel of one side knows of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndState {
    /// The SYN has not arrived.
    Absent,
    /// The SYN is under way, or its answer.
    SynSent,
    /// The SYN arrived, the handshake's last segment did not.
    SynReceived,
    /// Established, in one direction at least.
    Open,
    /// The kernel knows nothing of it: whatever arrives is answered by a reset.
    Gone,
}

/// One side of a connection.
pub(super) struct End {
    pub(super) machine: Option<MachineId>,
    pub(super) owner: OwnerId,
    pub(super) addr: SocketAddr,
    pub(super) state: EndState,
    /// No application holds it (any more).
    pub(super) released: bool,
    /// Our FIN is sent or queued: no more writes.
    pub(super) write_closed: bool,
    /// The peer's FIN arrived: reads end.
    pub(super) peer_closed: bool,
    /// Reported to the application once.
    pub(super) error: Option<io::ErrorKind>,
    received: VecDeque<Chunk>,
    received_bytes: usize,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
}

/// Received bytes, read up to `read`.
struct Chunk {
    bytes: Vec<u8>,
    read: usize,
}

impl End {
    pub(super) fn new(
        machine: Option<MachineId>,
        owner: OwnerId,
        addr: SocketAddr,
        state: EndState,
    ) -> Self {
        End {
            machine,
            owner,
            addr,
            state,
            released: state == EndState::Absent,
            write_closed: false,
            peer_closed: false,
            error: None,
            received: VecDeque::new(),
            received_bytes: 0,
            reader: None,
            writer: None,
        }
    }

    pub(super) fn unread_bytes(&self) -> usize {
        self.received_bytes
    }

    pub(super) fn receive(&mut self, bytes: Vec<u8>) {
        self.received_bytes += bytes.len();
        self.received.push_back(Chunk { bytes, read: 0 });
    }

    /// Moves up to `limit` received bytes into `buf`; returns how many.
    pub(super) fn read_into(&mut self, buf: &mut ReadBuf<'_>, limit: usize) -> usize {
        let mut left = limit.min(buf.remaining());
        let mut taken = 0;
        while left > 0 {
            let Some(chunk) = self.received.front_mut() else { break };
            let part = (chunk.bytes.len() - chunk.read).min(left);
            buf.put_slice(&chunk.bytes[chunk.read..chunk.read + part]);
            chunk.read += part;
            (left, taken) = (left - part, taken + part);
            if chunk.read == chunk.bytes.len() {
                self.received.pop_front();
            }
        }
        self.received_bytes -= taken;
        taken
    }

    /// The kernel forgets the connection; what was received stays readable, then `error` is
    /// reported once.
    pub(super) fn forget(&mut self, error: Option<io::ErrorKind>) {
        self.state = EndState::Gone;
        if self.released {
            self.received.clear();
            self.received_bytes = 0;
        } else {
            self.error = error;
        }
    }
}

/// Remembers who waits, without cloning a waker that is already known.
pub(super) fn remember(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}

/// What travels.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Body {
    Syn,
    SynAck,
    /// The handshake's last segment.
    Ack,
    Data(Vec<u8>),
    Fin,
    /// A reset; `true` when it answers a segment, which its sender repeats if the answer is lost.
    Reset(bool),
}

impl Body {
    pub(super) fn len(&self) -> usize {
        match self {
            Body::Data(bytes) => bytes.len(),
            _ => 0,
        }
    }
}

/// A segment under way. Its event in the heap carries the same `seq`.
pub(super) struct Segment {
    pub(super) at_ms: u64,
    pub(super) seq: u64,
    pub(super) body: Body,
    /// The rules have had their say.
    pub(super) judged: bool,
}

/// One direction of a connection. Only the first segment of the queue has an event in the heap, so
/// nothing overtakes it.
#[derive(Default)]
pub(super) struct Flow {
    pub(super) queue: VecDeque<Segment>,
    /// Bytes written and not yet both acknowledged and read.
    pub(super) outstanding_bytes: usize,
    /// Bytes read whose acknowledgement could not travel back.
    pub(super) unacked_read_bytes: usize,
    /// Nothing travels: the link is cut. The queue is kept for the heal.
    pub(super) held: bool,
    /// Nothing will ever travel again.
    pub(super) stalled: bool,
    /// Something arrived whose acknowledgement could not travel back.
    pub(super) ack_blocked: bool,
    /// The retry budget is running; names the running one.
    pub(super) retrying: Option<u64>,
}

impl Flow {
    /// Empties the flow: its sender has forgotten the connection.
    pub(super) fn clear(&mut self) {
        *self = Flow::default();
    }

    /// Appends `data` to the last segment if it would not arrive later; a frame that is written in
    /// pieces then costs one event.
    pub(super) fn merge(&mut self, data: &[io::IoSlice<'_>], len: usize, at_ms: u64) -> bool {
        const MERGED_BYTES_MAX: usize = 64 * 1024;
        match self.queue.back_mut() {
            Some(Segment { at_ms: last, body: Body::Data(bytes), judged: false, .. })
                if (self.held || at_ms <= *last) && bytes.len() + len <= MERGED_BYTES_MAX =>
            {
                gather(data, len, bytes);
                true
            }
            _ => false,
        }
    }
}

/// Appends the first `len` bytes of `data` to `into`.
pub(super) fn gather(data: &[io::IoSlice<'_>], mut len: usize, into: &mut Vec<u8>) {
    into.reserve(len);
    for slice in data {
        let part = slice.len().min(len);
        into.extend_from_slice(&slice[..part]);
        len -= part;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_cross_chunks_and_stop_at_the_limit() {
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut end = End::new(None, OwnerId(0), addr, EndState::Open);
        end.receive(b"abc".to_vec());
        end.receive(b"defg".to_vec());
        let mut bytes = [0; 16];
        let mut buf = ReadBuf::new(&mut bytes);
        assert_eq!(end.read_into(&mut buf, 5), 5);
        assert_eq!((buf.filled(), end.unread_bytes()), (&b"abcde"[..], 2));
        assert_eq!(end.read_into(&mut buf, 100), 2);
        assert_eq!((buf.filled(), end.unread_bytes()), (&b"abcdefg"[..], 0));
    }

    #[test]
    fn only_writes_of_one_arrival_merge() {
        let mut flow = Flow::default();
        let data = [io::IoSlice::new(b"xy"), io::IoSlice::new(b"z")];
        assert!(!flow.merge(&data, 3, 5));
        let body = Body::Data(b"w".to_vec());
        flow.queue.push_back(Segment { at_ms: 5, seq: 0, body, judged: false });
        assert!(!flow.merge(&data, 3, 6));
        assert!(flow.merge(&data, 2, 5));
        assert_eq!(flow.queue[0].body, Body::Data(b"wxy".to_vec()));
    }
}
