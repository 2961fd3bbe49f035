//! System calls: what sockets ask of the network.

use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::task::{Context, Poll};

use rand::{Rng as _, RngCore};
use tokio::io::ReadBuf;

use super::connection::{Body, Connection, End, EndState, Side, gather, remember};
use super::fabric::{Listening, Machine, Owner, State};
use super::{MachineId, OwnerId};
use crate::trace::{Name, TraceEvent};

/// Linux's default range of ephemeral ports.
const EPHEMERAL_PORTS: std::ops::RangeInclusive<u16> = 32_768..=60_999;

impl State {
    pub(super) fn add_machine(&mut self, name: &Name, addrs: &[IpAddr]) -> MachineId {
        let id = MachineId(u32::try_from(self.machines.len()).unwrap_or(u32::MAX));
        assert!(!addrs.is_empty(), "machine {name} has no address");
        for addr in addrs {
            let taken = self.by_addr.insert(*addr, id);
            assert!(taken.is_none(), "{name}: {addr} belongs to another machine");
        }
        self.add_host(name, addrs[0]);
        self.links.add_machine();
        self.machines.push(Machine {
            name: Name::clone(name),
            addrs: addrs.to_vec(),
            next_port: *EPHEMERAL_PORTS.start(),
            ports: std::collections::BTreeSet::new(),
        });
        id
    }

    pub(super) fn add_host(&mut self, host: &str, addr: IpAddr) {
        self.hosts.insert(host.to_ascii_lowercase(), addr);
    }

    pub(super) fn add_owner(&mut self, machine: MachineId) -> OwnerId {
        let id = OwnerId(u32::try_from(self.owners.len()).unwrap_or(u32::MAX));
        self.owners.push(Owner { machine, alive: true });
        id
    }

    pub(super) fn local_ip(&self, owner: OwnerId) -> IpAddr {
        self.machine_of(owner).addrs[0]
    }

    fn machine_of(&self, owner: OwnerId) -> &Machine {
        &self.machines[self.owners[owner.0 as usize].machine.0 as usize]
    }

    fn alive(&self, owner: OwnerId) -> io::Result<MachineId> {
        let Owner { machine, alive } = self.owners[owner.0 as usize];
        alive.then_some(machine).ok_or_else(|| io::Error::other("the process is dead"))
    }

    /// Sends a SYN to `target`; the answer is [`State::poll_connected`]'s.
    pub(super) fn connect(
        &mut self,
        owner: OwnerId,
        target: &str,
    ) -> io::Result<(u64, SocketAddr, SocketAddr)> {
        let machine = self.alive(owner)?;
        let peer_addr = self.resolve(target)?;
        let to = match peer_addr.ip() {
            ip if ip.is_loopback() => Some(machine),
            ip => self.by_addr.get(&ip).copied(),
        };
        let source = self.source_ip(machine, peer_addr.ip())?;
        let local_addr = SocketAddr::new(source, self.ephemeral_port(machine)?);
        self.machines[machine.0 as usize].ports.insert(local_addr.port());
        let initiator = End::new(Some(machine), owner, local_addr, EndState::SynSent);
        let acceptor = End::new(to, owner, peer_addr, EndState::Absent);
        let conn = self.connections.len() as u64;
        self.connections.push(Some(Box::new(Connection::new(initiator, acceptor))));
        self.stats.connects += 1;
        self.send(conn, Side::Initiator, Body::Syn);
        Ok((conn, local_addr, peer_addr))
    }

    fn resolve(&self, target: &str) -> io::Result<SocketAddr> {
        if let Ok(addr) = target.parse() {
            return Ok(addr);
        }
        let invalid =
            || io::Error::new(ErrorKind::InvalidInput, format!("{target}: not host:port"));
        let (host, port) = target.rsplit_once(':').ok_or_else(invalid)?;
        let port = port.parse().map_err(|_| invalid())?;
        let host = host.to_ascii_lowercase();
        let ip = match self.hosts.get(&host) {
            Some(ip) => *ip,
            None if host == "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            None => {
                return Err(io::Error::new(ErrorKind::NotFound, format!("{host}: unknown host")));
            }
        };
        Ok(SocketAddr::new(ip, port))
    }

    /// The address from which `machine` speaks to `to`.
    fn source_ip(&self, machine: MachineId, to: IpAddr) -> io::Result<IpAddr> {
        let own = &self.machines[machine.0 as usize].addrs;
        if to.is_loopback() || own.contains(&to) {
            return Ok(to);
        }
        let same_family = |addr: &&IpAddr| addr.is_ipv4() == to.is_ipv4();
        own.iter().find(same_family).copied().ok_or_else(|| ErrorKind::NetworkUnreachable.into())
    }

    /// The next free ephemeral port, in order.
    fn ephemeral_port(&mut self, machine: MachineId) -> io::Result<u16> {
        for _ in EPHEMERAL_PORTS {
            let stack = &mut self.machines[machine.0 as usize];
            let port = stack.next_port;
            stack.next_port =
                if port == *EPHEMERAL_PORTS.end() { *EPHEMERAL_PORTS.start() } else { port + 1 };
            let listening = |listening: &Listening| {
                listening.machine == machine && listening.addr.port() == port
            };
            if !stack.ports.contains(&port) && !self.listeners.values().any(listening) {
                return Ok(port);
            }
        }
        Err(ErrorKind::AddrNotAvailable.into())
    }

    pub(super) fn poll_connected(&mut self, conn: u64, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let Some(connection) = self.connection(conn) else {
            return Poll::Ready(Err(ErrorKind::ConnectionAborted.into()));
        };
        let end = connection.end(Side::Initiator);
        if let Some(error) = end.error.take() {
            return Poll::Ready(Err(error.into()));
        }
        if end.state == EndState::SynSent {
            remember(&mut end.writer, cx);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn bind(
        &mut self,
        owner: OwnerId,
        addr: SocketAddr,
    ) -> io::Result<(u64, SocketAddr)> {
        let machine = self.alive(owner)?;
        let ip = addr.ip();
        let own = &self.machines[machine.0 as usize].addrs;
        if !(ip.is_unspecified() || ip.is_loopback() || own.contains(&ip)) {
            return Err(ErrorKind::AddrNotAvailable.into());
        }
        let port = if addr.port() == 0 { self.ephemeral_port(machine)? } else { addr.port() };
        let collides = |other: &Listening| {
            let ips = [other.addr.ip(), ip];
            other.machine == machine
                && other.addr.port() == port
                && (ips[0] == ips[1] || ips.iter().any(IpAddr::is_unspecified))
        };
        if self.listeners.values().any(collides) {
            return Err(ErrorKind::AddrInUse.into());
        }
        let addr = SocketAddr::new(ip, port);
        let id = self.next_seq();
        let (ready, wakers) = Default::default();
        self.listeners.insert(id, Listening { owner, machine, addr, ready, wakers });
        Ok((id, addr))
    }

    /// The next established connection: its number, the local and the peer's address.
    pub(super) fn poll_accept(
        &mut self,
        listener: u64,
        cx: &Context<'_>,
    ) -> Poll<io::Result<(u64, SocketAddr, SocketAddr)>> {
        let Some(listening) = self.listeners.get_mut(&listener) else {
            return Poll::Ready(Err(io::Error::other("the listener is gone")));
        };
        let Some(conn) = listening.ready.pop_front() else {
            if !listening.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                listening.wakers.push(cx.waker().clone());
            }
            return Poll::Pending;
        };
        let Some(connection) = self.connection(conn) else {
            return Poll::Ready(Err(ErrorKind::ConnectionAborted.into()));
        };
        let (local, peer) = connection.addrs(Side::Acceptor);
        Poll::Ready(Ok((conn, local, peer)))
    }

    pub(super) fn poll_read(
        &mut self,
        conn: u64,
        side: Side,
        cx: &Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(connection) = self.connections[conn as usize].as_deref_mut() else {
            return Poll::Ready(Ok(()));
        };
        let end = connection.end(side);
        let there = end.unread_bytes().min(buf.remaining());
        if there > 0 {
            let limit = read_limit(&mut self.read_rng, self.profile.short_read_one_in, there);
            let len = end.read_into(buf, limit);
            self.made_room(conn, side.other(), len);
            return Poll::Ready(Ok(()));
        }
        if end.peer_closed || buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if let Some(error) = end.error.take() {
            return Poll::Ready(Err(error.into()));
        }
        if end.state == EndState::Gone {
            return Poll::Ready(Ok(()));
        }
        remember(&mut end.reader, cx);
        Poll::Pending
    }

    /// `len` bytes sent by `side` were read: its window opens, if the news can travel.
    fn made_room(&mut self, conn: u64, side: Side, len: usize) {
        let window_bytes = self.profile.window_bytes;
        let Some(connection) = self.connections[conn as usize].as_deref_mut() else { return };
        let (from, to) = connection.route(side);
        let flow = connection.flow(side);
        if flow.ack_blocked || self.links.blocked(to, from) {
            flow.ack_blocked = true;
            flow.unacked_read_bytes += len;
            return;
        }
        flow.outstanding_bytes = flow.outstanding_bytes.saturating_sub(len);
        // As Linux, wake a blocked writer for a good part of the window only.
        if (window_bytes - flow.outstanding_bytes) * 3 >= window_bytes {
            let waker = connection.end(side).writer.take();
            self.wake(waker);
        }
    }

    pub(super) fn poll_write(
        &mut self,
        conn: u64,
        side: Side,
        cx: &Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let window_bytes = self.profile.window_bytes;
        let Some(connection) = self.connection(conn) else {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        };
        let end = connection.end(side);
        if let Some(error) = end.error.take() {
            return Poll::Ready(Err(error.into()));
        }
        if end.state == EndState::Gone || end.write_closed {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        let wanted: usize = data.iter().map(|slice| slice.len()).sum();
        if wanted == 0 {
            return Poll::Ready(Ok(0));
        }
        let free = window_bytes.saturating_sub(connection.flow(side).outstanding_bytes);
        if free == 0 {
            remember(&mut connection.end(side).writer, cx);
            if connection.flow(side).ack_blocked {
                self.start_retrying(conn, side);
            }
            return Poll::Pending;
        }
        let len = wanted.min(free);
        connection.flow(side).outstanding_bytes += len;
        self.send_data(conn, side, data, len);
        Poll::Ready(Ok(len))
    }

    fn send_data(&mut self, conn: u64, side: Side, data: &[IoSlice<'_>], len: usize) {
        let arrival_ms = self.arrival_ms(conn, side, len, false);
        let may_merge = self.rules.is_empty();
        let Some(connection) = self.connection(conn) else { return };
        let flow = connection.flow(side);
        if may_merge && flow.merge(data, len, arrival_ms.unwrap_or(0)) {
            return;
        }
        let mut bytes = Vec::new();
        gather(data, len, &mut bytes);
        self.enqueue(conn, side, Body::Data(bytes), arrival_ms);
    }

    /// No more writes: FIN.
    pub(super) fn shutdown(&mut self, conn: u64, side: Side) {
        let Some(connection) = self.connection(conn) else { return };
        let end = connection.end(side);
        if end.state == EndState::Open && !end.write_closed {
            end.write_closed = true;
            self.send(conn, side, Body::Fin);
        }
    }

    /// The application closes its side, as `close` does.
    pub(super) fn close(&mut self, conn: u64, side: Side) {
        let Some(connection) = self.connection(conn) else { return };
        let end = connection.end(side);
        if end.released {
            return;
        }
        end.released = true;
        (end.reader, end.writer) = (None, None);
        let unread = end.unread_bytes() > 0;
        match end.state {
            EndState::Open if unread => self.abort(conn, side),
            EndState::Open => self.shutdown(conn, side),
            EndState::SynSent => {
                end.forget(None);
                if connection.flow(side).held {
                    connection.flow(side).clear();
                }
            }
            _ => {}
        }
        self.remove_if_over(conn);
    }

    /// Closes a side with a reset: received bytes were never read, or nobody accepted it.
    fn abort(&mut self, conn: u64, side: Side) {
        let Some(connection) = self.connection(conn) else { return };
        connection.end(side).forget(None);
        self.send_reset(conn, side, false);
        let Some(connection) = self.connection(conn) else { return };
        if connection.flow(side).held {
            connection.flow(side).clear();
        }
    }

    /// Closes a listener; connections that nobody accepted are reset.
    pub(super) fn close_listener(&mut self, listener: u64) {
        let Some(listening) = self.listeners.remove(&listener) else { return };
        for conn in listening.ready {
            if let Some(connection) = self.connection(conn) {
                connection.end(Side::Acceptor).released = true;
                self.abort(conn, Side::Acceptor);
                self.remove_if_over(conn);
            }
        }
    }

    /// The machines of a connection and the port it goes to, for the trace.
    pub(super) fn names(&mut self, conn: u64) -> (Name, Name, u16) {
        let Some(connection) = self.connection(conn) else { return Default::default() };
        let (_, addr) = connection.addrs(Side::Initiator);
        let (from, to) = connection.route(Side::Initiator);
        let name = |machine: Option<MachineId>| match machine {
            Some(machine) => Name::clone(&self.machines[machine.0 as usize].name),
            None => self.trace.name(&addr.ip().to_string()),
        };
        (name(from), name(to), addr.port())
    }

    pub(super) fn record(&self, event: TraceEvent) {
        self.trace.record(&self.source, 0, event);
    }
}

/// How many of `there` bytes a read returns: mostly all, at times one, a few, or some.
fn read_limit(rng: &mut rand_chacha::ChaCha8Rng, one_in: u32, there: usize) -> usize {
    if one_in == 0 {
        return there;
    }
    let draw = rng.next_u32();
    if !draw.is_multiple_of(one_in) {
        return there;
    }
    match draw / one_in % 3 {
        0 => 1,
        1 => rng.random_range(1..=there.min(8)),
        _ => rng.random_range(1..=there),
    }
}
