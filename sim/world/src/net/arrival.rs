//! What the kernel of the receiving machine does with a segment, and what a silent peer costs.

use std::io::ErrorKind;
use std::net::SocketAddr;

use super::connection::{Body, EndState, Side};
use super::fabric::State;
use super::{MachineId, OwnerId};
use crate::trace::TraceEvent;

impl State {
    /// A segment arrives at `side`.
    pub(super) fn arrive(&mut self, conn: u64, side: Side, body: Body) {
        match body {
            Body::Syn => self.arrive_syn(conn),
            Body::SynAck => self.arrive_syn_ack(conn),
            Body::Ack => self.arrive_ack(conn),
            Body::Data(bytes) => self.arrive_data(conn, side, bytes),
            Body::Fin => self.arrive_fin(conn, side),
            Body::Reset(_) => self.arrive_reset(conn, side),
        }
    }

    fn arrive_syn(&mut self, conn: u64) {
        let Some(connection) = self.connection(conn) else { return };
        let (_, addr) = connection.addrs(Side::Initiator);
        let Some(machine) = connection.end(Side::Acceptor).machine else { return };
        let Some((listener, owner)) = self.listener_at(machine, addr) else {
            return self.send_reset(conn, Side::Acceptor, true);
        };
        let Some(connection) = self.connection(conn) else { return };
        connection.listener = listener;
        let end = connection.end(Side::Acceptor);
        (end.state, end.owner) = (EndState::SynReceived, owner);
        self.send(conn, Side::Acceptor, Body::SynAck);
        self.acknowledge(conn, Side::Acceptor);
    }

    fn arrive_syn_ack(&mut self, conn: u64) {
        let Some(connection) = self.connection(conn) else { return };
        let end = connection.end(Side::Initiator);
        if end.state != EndState::SynSent {
            return self.refuse(conn, Side::Initiator);
        }
        end.state = EndState::Open;
        let waker = end.writer.take();
        self.wake(waker);
        self.send(conn, Side::Initiator, Body::Ack);
        self.acknowledge(conn, Side::Initiator);
        let (from, to, port) = self.names(conn);
        self.record(TraceEvent::Connected { conn, from, to, port });
    }

    fn arrive_ack(&mut self, conn: u64) {
        let Some(connection) = self.connection(conn) else { return };
        let listener = connection.listener;
        if connection.end(Side::Acceptor).state != EndState::SynReceived {
            // The machine was off in between.
            return self.refuse(conn, Side::Acceptor);
        }
        let Some(listening) = self.listeners.get_mut(&listener) else {
            return self.refuse(conn, Side::Acceptor);
        };
        listening.ready.push_back(conn);
        let wakers = std::mem::take(&mut listening.wakers);
        wakers.into_iter().for_each(|waker| self.wake(Some(waker)));
        if let Some(connection) = self.connection(conn) {
            let end = connection.end(Side::Acceptor);
            (end.state, end.released) = (EndState::Open, false);
        }
    }

    fn arrive_data(&mut self, conn: u64, side: Side, bytes: Vec<u8>) {
        let Some(connection) = self.connection(conn) else { return };
        let end = connection.end(side);
        if end.state != EndState::Open || end.released {
            return self.refuse(conn, side);
        }
        end.receive(bytes);
        let waker = end.reader.take();
        self.wake(waker);
        self.acknowledge(conn, side);
    }

    fn arrive_fin(&mut self, conn: u64, side: Side) {
        let Some(connection) = self.connection(conn) else { return };
        let end = connection.end(side);
        if end.state != EndState::Open {
            return self.refuse(conn, side);
        }
        end.peer_closed = true;
        let waker = end.reader.take();
        self.wake(waker);
        self.acknowledge(conn, side);
    }

    fn arrive_reset(&mut self, conn: u64, side: Side) {
        let Some(connection) = self.connection(conn) else { return };
        let end = connection.end(side);
        let error = match end.state {
            EndState::Absent | EndState::Gone => return,
            EndState::SynSent => ErrorKind::ConnectionRefused,
            // Linux reports a reset after the peer's FIN as EPIPE.
            _ if end.peer_closed => ErrorKind::BrokenPipe,
            _ => ErrorKind::ConnectionReset,
        };
        self.forget(conn, side, error);
    }

    /// `side` received something; if its acknowledgement cannot travel, the sender keeps retrying.
    fn acknowledge(&mut self, conn: u64, side: Side) {
        let Some(connection) = self.connection(conn) else { return };
        let (from, to) = connection.route(side);
        if self.links.blocked(from, to) {
            self.acknowledgement_lost(conn, side.other());
        }
    }

    /// `side` gets something for a socket it does not have (any more): it forgets what is left of
    /// it and answers with a reset.
    pub(super) fn refuse(&mut self, conn: u64, side: Side) {
        let Some(connection) = self.connection(conn) else { return };
        connection.end(side).forget(None);
        // What it sent before is on its way and still arrives.
        if connection.flow(side).held {
            connection.flow(side).clear();
        }
        self.send_reset(conn, side, true);
    }

    /// Sends a reset, or loses it on a cut link. `answers`: it answers a segment, which its sender
    /// then repeats.
    pub(super) fn send_reset(&mut self, conn: u64, side: Side, answers: bool) {
        let Some(connection) = self.connection(conn) else { return };
        let (from, to) = connection.route(side);
        let flow = connection.flow(side);
        if flow.held || self.links.blocked(from, to) {
            if answers {
                self.acknowledgement_lost(conn, side.other());
            }
            return;
        }
        let Some(connection) = self.connection(conn) else { return };
        let last = connection.flow(side).queue.back();
        if last.is_none_or(|segment| !matches!(segment.body, Body::Reset(_))) {
            self.send(conn, side, Body::Reset(answers));
        }
    }

    /// The retry budget of a flow is spent, unless the event is out of date.
    pub(super) fn give_up(&mut self, conn: u64, side: Side, seq: u64) {
        let Some(connection) = self.connection(conn) else { return };
        if connection.flow(side).retrying != Some(seq) {
            return;
        }
        self.stats.timeouts += 1;
        self.forget(conn, side, ErrorKind::TimedOut);
        self.remove_if_over(conn);
    }

    /// Both sides see a reset now.
    pub(super) fn reset_both(&mut self, conn: u64) {
        Side::BOTH.into_iter().for_each(|side| self.arrive_reset(conn, side));
        self.remove_if_over(conn);
    }

    /// Delivers the first `len` bytes of the first segment of a flow.
    pub(super) fn deliver_part(&mut self, conn: u64, side: Side, len: usize) {
        let Some(connection) = self.connection(conn) else { return };
        let front = connection.flow(side).queue.front_mut().map(|segment| &mut segment.body);
        if let Some(Body::Data(bytes)) = front {
            let mut bytes = std::mem::take(bytes);
            bytes.truncate(len);
            self.arrive_data(conn, side.other(), bytes);
        }
    }

    /// `side` learns that the connection is no more: its kernel forgets it, its application is told.
    fn forget(&mut self, conn: u64, side: Side, error: ErrorKind) {
        let Some(connection) = self.connection(conn) else { return };
        let end = connection.end(side);
        let (was, released, machine) = (end.state, end.released, end.machine);
        end.forget(Some(error));
        let wakers = [end.reader.take(), end.writer.take()];
        connection.flow(side).clear();
        wakers.into_iter().for_each(|waker| self.wake(waker));
        let Some(machine) = machine else { return };
        let at = self.machines[machine.0 as usize].name.clone();
        match (was, error) {
            (EndState::SynSent, _) if !released => {
                let (from, to, port) = self.names(conn);
                let error = if error == ErrorKind::TimedOut { "timed out" } else { "refused" };
                self.record(TraceEvent::ConnectFailed { conn, from, to, port, error });
            }
            (EndState::Open, ErrorKind::TimedOut) if !released => {
                self.record(TraceEvent::ConnectionTimedOut { conn, at });
            }
            (EndState::Open, _) if !released => {
                self.stats.resets += 1;
                self.record(TraceEvent::ConnectionReset { conn, at });
            }
            _ => {}
        }
    }

    pub(super) fn remove_if_over(&mut self, conn: u64) {
        let Some(connection) = self.connection(conn) else { return };
        if !connection.is_over() {
            return;
        }
        let (addr, _) = connection.addrs(Side::Initiator);
        if let Some(machine) = connection.end(Side::Initiator).machine {
            self.machines[machine.0 as usize].ports.remove(&addr.port());
        }
        self.connections[conn as usize] = None;
    }

    /// The listener that gets connections to `addr` on `machine`.
    fn listener_at(&self, machine: MachineId, addr: SocketAddr) -> Option<(u64, OwnerId)> {
        let fits = |listening: &SocketAddr| {
            let ip = listening.ip();
            let any = ip.is_unspecified() && (ip.is_ipv6() || addr.is_ipv4());
            listening.port() == addr.port() && (ip == addr.ip() || any)
        };
        let mut listeners = self.listeners.iter();
        listeners
            .find(|(_, listening)| listening.machine == machine && fits(&listening.addr))
            .map(|(id, listening)| (*id, listening.owner))
    }
}
