//! The state of the network: machines, connections, listeners, and the heap that moves segments.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::task::Waker;

use mq_env::rng::Rng;
use rand_chacha::ChaCha8Rng;

use super::connection::{Body, Connection, EndState, Segment, Side};
use super::links::Links;
use super::profile::NetProfile;
use super::rule::{Rule, SegmentInfo, Verdict};
use super::{MachineId, NetStats, OwnerId};
use crate::clock::WorldTime;
use crate::trace::{Name, Trace};

/// Everything of the network, behind one lock.
pub(super) struct State {
    pub(super) profile: NetProfile,
    pub(super) time: WorldTime,
    pub(super) trace: Trace,
    /// The source of the network's trace events.
    pub(super) source: Name,
    pub(super) machines: Vec<Machine>,
    pub(super) by_addr: BTreeMap<IpAddr, MachineId>,
    pub(super) hosts: BTreeMap<String, IpAddr>,
    pub(super) owners: Vec<Owner>,
    pub(super) listeners: BTreeMap<u64, Listening>,
    /// By number; numbers are never used again, so the order of a walk is that of creation.
    pub(super) connections: Vec<Option<Box<Connection>>>,
    pub(super) links: Links,
    pub(super) rules: Vec<(u64, Box<dyn Rule>)>,
    pub(super) read_rng: ChaCha8Rng,
    pub(super) stats: NetStats,
    heap: BinaryHeap<Reverse<HeapEvent>>,
    seq: u64,
    wakes: Wakes,
}

/// A machine's network stack.
pub(super) struct Machine {
    pub(super) name: Name,
    pub(super) addrs: Vec<IpAddr>,
    pub(super) next_port: u16,
    /// Ephemeral ports of connections.
    pub(super) ports: BTreeSet<u16>,
}

/// A process incarnation.
pub(super) struct Owner {
    pub(super) machine: MachineId,
    pub(super) alive: bool,
}

/// A listening socket.
pub(super) struct Listening {
    pub(super) owner: OwnerId,
    pub(super) machine: MachineId,
    pub(super) addr: SocketAddr,
    /// Established and not yet accepted.
    pub(super) ready: VecDeque<u64>,
    pub(super) wakers: Vec<Waker>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct HeapEvent {
    at_ms: u64,
    seq: u64,
    conn: u64,
    side: Side,
    give_up: bool,
}

/// Tasks to wake once the lock is released. Most calls wake none or one.
#[derive(Default)]
pub(super) struct Wakes {
    first: Option<Waker>,
    rest: Vec<Waker>,
}

impl Wakes {
    pub(super) fn wake(self) {
        self.first.into_iter().chain(self.rest).for_each(Waker::wake);
    }
}

impl State {
    pub(super) fn new(profile: NetProfile, rng: &Rng, time: WorldTime, trace: Trace) -> Self {
        State {
            links: Links::new(profile.clone(), rng.stream("links"), trace.clone()),
            profile,
            time,
            source: trace.name("net"),
            trace,
            machines: Vec::new(),
            by_addr: BTreeMap::new(),
            hosts: BTreeMap::new(),
            owners: Vec::new(),
            listeners: BTreeMap::new(),
            connections: Vec::new(),
            rules: Vec::new(),
            read_rng: rng.stream("reads"),
            stats: NetStats::default(),
            heap: BinaryHeap::new(),
            seq: 0,
            wakes: Wakes::default(),
        }
    }

    pub(super) fn connection(&mut self, conn: u64) -> Option<&mut Connection> {
        self.connections.get_mut(usize::try_from(conn).ok()?)?.as_deref_mut()
    }

    pub(super) fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    pub(super) fn wake(&mut self, waker: Option<Waker>) {
        match (waker, &self.wakes.first) {
            (None, _) => {}
            (waker, None) => self.wakes.first = waker,
            (Some(waker), Some(_)) => self.wakes.rest.push(waker),
        }
    }

    pub(super) fn take_wakes(&mut self) -> Wakes {
        std::mem::take(&mut self.wakes)
    }

    pub(super) fn next_event_ms(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse(event)| event.at_ms)
    }

    /// Carries out everything that is due; returns whether there was anything.
    pub(super) fn deliver_due(&mut self) -> bool {
        let now_ms = self.time.now_ms();
        let before = self.stats.events;
        while self.next_event_ms().is_some_and(|at_ms| at_ms <= now_ms) {
            let Some(Reverse(event)) = self.heap.pop() else { break };
            self.stats.events += 1;
            if event.give_up {
                self.give_up(event.conn, event.side, event.seq);
            } else {
                self.deliver(event.conn, event.side, event.seq);
            }
        }
        self.stats.events > before
    }

    /// Sends a segment of `side`; resets have [`State::send_reset`].
    pub(super) fn send(&mut self, conn: u64, side: Side, body: Body) {
        let arrival_ms = self.arrival_ms(conn, side, body.len(), body == Body::Syn);
        self.enqueue(conn, side, body, arrival_ms);
    }

    /// When a segment of `len` bytes sent now arrives, unless it has to wait for those before it;
    /// `None`: it is held. Counts what is held.
    pub(super) fn arrival_ms(
        &mut self,
        conn: u64,
        side: Side,
        len: usize,
        is_connect: bool,
    ) -> Option<u64> {
        let now_ms = self.time.now_ms();
        let connection = self.connections[conn as usize].as_deref_mut()?;
        let route = connection.route(side);
        let flow = connection.flow(side);
        if !flow.held {
            if let (Some(from), Some(to), false) =
                (route.0, route.1, self.links.blocked(route.0, route.1))
            {
                let at_ms = self.links.arrival_ms(from, to, len, now_ms);
                if at_ms.is_some() {
                    return at_ms;
                }
                flow.stalled = true;
            }
            self.hold(conn, side);
        }
        self.links.count_held(route.0, route.1, len, is_connect);
        self.start_retrying(conn, side);
        None
    }

    /// Puts a segment at the end of its flow, to arrive then, or held.
    pub(super) fn enqueue(&mut self, conn: u64, side: Side, body: Body, arrival_ms: Option<u64>) {
        let seq = self.next_seq();
        let Some(connection) = self.connection(conn) else { return };
        let at_ms = arrival_ms.unwrap_or(0);
        let flow = connection.flow(side);
        flow.queue.push_back(Segment { at_ms, seq, body, judged: false });
        if flow.queue.len() == 1 && arrival_ms.is_some() {
            self.push_event(at_ms, seq, conn, side, false);
        }
    }

    /// Makes the first segment of a flow due.
    pub(super) fn schedule_front(&mut self, conn: u64, side: Side) {
        let now_ms = self.time.now_ms();
        let Some(connection) = self.connection(conn) else { return };
        let flow = connection.flow(side);
        if flow.held {
            return;
        }
        if let Some(front) = flow.queue.front() {
            let (at_ms, seq) = (front.at_ms.max(now_ms), front.seq);
            self.push_event(at_ms, seq, conn, side, false);
        }
    }

    /// Holds a flow: its link is cut or it stalls. Resets in it are lost.
    pub(super) fn hold(&mut self, conn: u64, side: Side) {
        let Some(connection) = self.connections[conn as usize].as_deref_mut() else { return };
        let route = connection.route(side);
        let flow = connection.flow(side);
        flow.held = true;
        let lost = match flow.queue.back() {
            Some(Segment { body: Body::Reset(_), .. }) => flow.queue.pop_back(),
            _ => None,
        };
        for segment in &flow.queue {
            let is_connect = segment.body == Body::Syn;
            self.links.count_held(route.0, route.1, segment.body.len(), is_connect);
        }
        let answers = matches!(flow.queue.front(), Some(Segment { body: Body::SynAck, .. }));
        let nothing_left = flow.queue.is_empty();
        if nothing_left && lost.is_some() {
            flow.held = flow.stalled;
        }
        if !nothing_left {
            self.start_retrying(conn, side);
        }
        if answers || matches!(lost, Some(Segment { body: Body::Reset(true), .. })) {
            self.acknowledgement_lost(conn, side.other());
        }
    }

    /// Starts the retry budget of a flow unless it runs.
    pub(super) fn start_retrying(&mut self, conn: u64, side: Side) {
        let at_ms = self.time.now_ms() + self.profile.retry_budget_ms;
        let seq = self.next_seq();
        let Some(connection) = self.connection(conn) else { return };
        if connection.end(side).state != EndState::Gone && connection.flow(side).retrying.is_none()
        {
            connection.flow(side).retrying = Some(seq);
            self.push_event(at_ms, seq, conn, side, true);
        }
    }

    /// What `side` sent arrived, but the answer cannot travel back: `side` keeps retrying.
    pub(super) fn acknowledgement_lost(&mut self, conn: u64, side: Side) {
        if let Some(connection) = self.connection(conn) {
            connection.flow(side).ack_blocked = true;
            self.start_retrying(conn, side);
        }
    }

    fn push_event(&mut self, at_ms: u64, seq: u64, conn: u64, side: Side, give_up: bool) {
        self.heap.push(Reverse(HeapEvent { at_ms, seq, conn, side, give_up }));
    }

    /// The first segment of a flow is due, unless the event is out of date.
    fn deliver(&mut self, conn: u64, side: Side, seq: u64) {
        let Some(connection) = self.connection(conn) else { return };
        let (from, to) = connection.route(side);
        let flow = connection.flow(side);
        if flow.held || flow.queue.front().is_none_or(|front| front.seq != seq) {
            return;
        }
        if self.links.blocked(from, to) {
            return self.hold(conn, side);
        }
        if !self.rules.is_empty() && !self.judge(conn, side) {
            return;
        }
        let Some(connection) = self.connection(conn) else { return };
        let Some(segment) = connection.flow(side).queue.pop_front() else { return };
        self.schedule_front(conn, side);
        let len = segment.body.len() as u64;
        self.stats.segments += 1;
        self.stats.bytes += len;
        let word = (self.time.now_ms() << 32) ^ (conn << 24) ^ (len << 1) ^ (side as u64);
        self.trace.fold(word);
        self.arrive(conn, side.other(), segment.body);
        self.remove_if_over(conn);
    }

    /// Asks the rules about the first segment of a flow; returns whether to deliver it now.
    fn judge(&mut self, conn: u64, side: Side) -> bool {
        let mut rules = std::mem::take(&mut self.rules);
        let verdict = self.verdict(conn, side, &mut rules);
        self.rules = rules;
        let now_ms = self.time.now_ms();
        match verdict {
            Verdict::Pass => true,
            Verdict::DelayMs(delay_ms) => {
                let seq = self.next_seq();
                let Some(connection) = self.connection(conn) else { return false };
                let flow = connection.flow(side);
                if let Some(front) = flow.queue.front_mut() {
                    (front.at_ms, front.seq) = (now_ms + delay_ms, seq);
                }
                self.schedule_front(conn, side);
                false
            }
            Verdict::Stall => {
                if let Some(connection) = self.connection(conn) {
                    connection.flow(side).stalled = true;
                }
                self.hold(conn, side);
                false
            }
            Verdict::ResetConnection => {
                self.reset_both(conn);
                false
            }
            Verdict::CutAfter(len) => {
                self.deliver_part(conn, side, len);
                self.reset_both(conn);
                false
            }
        }
    }

    fn verdict(&mut self, conn: u64, side: Side, rules: &mut [(u64, Box<dyn Rule>)]) -> Verdict {
        let Some(connection) = self.connection(conn) else { return Verdict::Pass };
        let (Some(from), Some(to)) = connection.route(side) else { return Verdict::Pass };
        let (from_addr, to_addr) = connection.addrs(side);
        let Some(segment) = connection.flow(side).queue.front_mut() else { return Verdict::Pass };
        if std::mem::replace(&mut segment.judged, true) {
            return Verdict::Pass;
        }
        let Body::Data(bytes) = &segment.body else { return Verdict::Pass };
        let info = SegmentInfo { conn, from, to, from_addr, to_addr, bytes };
        let verdicts = rules.iter_mut().map(|(_, rule)| rule.judge(&info));
        verdicts.into_iter().find(|verdict| *verdict != Verdict::Pass).unwrap_or(Verdict::Pass)
    }
}
