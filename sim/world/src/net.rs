//! [`Fabric`]: the network of a world, as much of TCP as an application can see.
//!
//! An event heap keyed (time, sequence) delivers segments; nothing polls. The world's driver calls
//! [`Fabric::deliver_due`] and sleeps until [`Fabric::next_event_ms`].
//!
//! | seen by applications | modelled as |
//! |---|---|
//! | latency, jitter, bandwidth | the arrival time of a segment; order is kept inside a direction |
//! | loss | retransmission timeouts on top; past the retry budget `TimedOut` |
//! | a partition, a machine without power | segments are held; a heal delivers them, else `TimedOut` |
//! | lost acknowledgements (one-way cuts) | the sender times out although the bytes arrived |
//! | connect | SYN, SYN-ACK and ACK travel the links; no listener: refused; silence: `TimedOut` |
//! | backpressure | a window per direction over everything written and not yet read |
//! | close, half close | FIN behind the data; reads end; later data to a closed socket is reset |
//! | close with unread bytes | a reset instead of a FIN, as Linux does |
//! | reset | received bytes stay readable, then the error once, then end of file and `BrokenPipe` |
//! | process death | its sockets are closed as by `close` |
//! | power loss | its sockets vanish in silence; once it is back, what arrives is reset |
//!
//! Resets are never retransmitted: one that meets a cut link is lost, and the peer learns of it
//! with its next segment. Not modelled: congestion control, TIME_WAIT, keep-alive (RocketMQ sets
//! none), accept backlog limits, urgent data.
//!
//! Sockets belong to a process incarnation ([`OwnerId`]); [`Fabric::net`] makes its `mq_env` handle.

mod arrival;
mod calls;
mod connection;
mod fabric;
mod faults;
mod links;
mod profile;
mod rule;
mod socket;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use mq_env::rng::Rng;

use crate::clock::WorldTime;
use crate::trace::{FaultId, Name, Trace};

use fabric::State;
pub use profile::{LinkProfile, NetProfile};
pub use rule::{Rule, RuleId, SegmentInfo, Verdict};
use socket::SimNet;

/// A machine of the network, numbered from 0 in the order of their addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MachineId(pub(crate) u32);

/// A process incarnation that owns sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerId(pub(crate) u32);

/// What a partition did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionEffects {
    /// Segments held back by it (retransmissions are not counted again).
    pub held_segments: u64,
    /// Bytes in them.
    pub held_bytes: u64,
    /// Connects that waited for it.
    pub blocked_connects: u64,
}

impl PartitionEffects {
    /// Whether anybody could notice the partition.
    #[must_use]
    pub fn has_bitten(&self) -> bool {
        self.held_segments > 0 || self.blocked_connects > 0
    }
}

/// What the network did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetStats {
    /// Connects tried.
    pub connects: u64,
    /// Segments delivered, handshakes and closes included.
    pub segments: u64,
    /// Bytes delivered.
    pub bytes: u64,
    /// Sides of connections that were reset by their peer.
    pub resets: u64,
    /// Sides of connections, and connects, that gave up on a silent peer.
    pub timeouts: u64,
    /// Events taken from the heap.
    pub events: u64,
}

/// The sockets that a process left behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClosedSockets {
    /// Sides of connections.
    pub connections: u32,
    /// Listeners.
    pub listeners: u32,
}

/// The network of a world.
pub struct Fabric {
    state: Mutex<State>,
}

impl Fabric {
    /// A network without machines. Its random draws come from streams of `rng`.
    #[must_use]
    pub fn new(profile: NetProfile, rng: &Rng, time: WorldTime, trace: Trace) -> Arc<Self> {
        Arc::new(Fabric { state: Mutex::new(State::new(profile, rng, time, trace)) })
    }

    /// Adds a machine, powered on. Its name resolves to its first address everywhere.
    ///
    /// # Panics
    /// Without an address, or when a machine has one of the addresses already.
    pub fn add_machine(&self, name: &Name, addrs: &[IpAddr]) -> MachineId {
        self.with(|state| state.add_machine(name, addrs))
    }

    /// Makes `host` resolve to `addr` on every machine.
    pub fn add_host(&self, host: &str, addr: IpAddr) {
        self.with(|state| state.add_host(host, addr));
    }

    /// A new process incarnation on `machine`.
    pub fn add_owner(&self, machine: MachineId) -> OwnerId {
        self.with(|state| state.add_owner(machine))
    }

    /// The network as the process incarnation `owner` sees it.
    #[must_use]
    pub fn net(self: &Arc<Self>, owner: OwnerId) -> Arc<dyn mq_env::net::Net> {
        let local_ip = self.with(|state| state.local_ip(owner));
        Arc::new(SimNet::new(Arc::clone(self), owner, local_ip))
    }

    /// The process is dead: the kernel closes its sockets. Handles that are still around fail.
    pub fn process_died(&self, owner: OwnerId) -> ClosedSockets {
        self.with(|state| state.process_died(owner))
    }

    /// The machine is cut from all links and its sockets vanish without a word.
    pub fn power_loss(&self, machine: MachineId) -> ClosedSockets {
        self.with(|state| state.power_loss(machine))
    }

    /// The machine is reachable again and answers what it does not know by resets.
    pub fn power_on(&self, machine: MachineId) {
        self.with(|state| state.power_on(machine));
    }

    /// Cuts directed links, on behalf of `fault`. Partitions may overlap.
    pub fn cut(&self, fault: FaultId, links: &[(MachineId, MachineId)]) {
        self.with(|state| state.cut(fault, links));
    }

    /// Ends a partition; what no other partition holds is delivered.
    pub fn mend(&self, fault: FaultId) -> PartitionEffects {
        self.with(|state| state.mend(fault))
    }

    /// What a partition did so far.
    #[must_use]
    pub fn partition_effects(&self, fault: FaultId) -> PartitionEffects {
        self.with(|state| state.partition_effects(fault))
    }

    /// Gives a directed link another profile (`None`: the network's default) from now on; `fault`
    /// bites with the first segment that travels it.
    pub fn set_link(
        &self,
        from: MachineId,
        to: MachineId,
        profile: Option<LinkProfile>,
        fault: Option<FaultId>,
    ) {
        self.with(|state| state.set_link(from, to, profile, fault));
    }

    /// Installs a rule.
    pub fn add_rule(&self, rule: impl Rule + 'static) -> RuleId {
        self.with(|state| state.add_rule(Box::new(rule)))
    }

    /// Takes a rule away.
    pub fn remove_rule(&self, rule: RuleId) {
        self.with(|state| state.remove_rule(rule));
    }

    /// Carries out everything that is due; returns whether there was anything.
    pub fn deliver_due(&self) -> bool {
        self.with(State::deliver_due)
    }

    /// When the next event is due, in milliseconds of the world's time.
    #[must_use]
    pub fn next_event_ms(&self) -> Option<u64> {
        self.with(|state| state.next_event_ms())
    }

    /// What the network did so far.
    #[must_use]
    pub fn stats(&self) -> NetStats {
        self.with(|state| state.stats)
    }

    /// Acts on the state; tasks are woken after the lock is released.
    fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut state);
        let wakes = state.take_wakes();
        drop(state);
        wakes.wake();
        result
    }
}
