//! [`TurmoilStage`]: stories on turmoil's network, scheduler and runtimes.
//!
//! What is turmoil's: TCP, links and their latency, one paused runtime per host, when which host runs,
//! crash and bounce. What is shared with our own world: the simulated disks, because power loss is
//! theirs, and everything that judges. Turns alternate: the scenario, on a runtime of its own, until it
//! sleeps; then what it ordered is done to the hosts; then turmoil moves all hosts by one tick. A fault
//! thus strikes at a tick's end, never inside an event as in our own world, and times of the trace are
//! turmoil's elapsed time at the tick's begin.
//!
//! Left out, and refused: pauses (a turmoil host cannot be stopped without losing its
//! heap), one-way partitions (turmoil drops what they cut, and its TCP does not retransmit), several
//! processes on one machine, names of hosts.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use mq_env::rng::Rng;
use staticfire::plan::{Action, Millis, Plan, expand};
use staticfire::run::stage::{Machine, Stage};
use staticfire_world::clock::{SimClock, WorldTime};
use staticfire_world::disk::{SimDisk, SimDiskConfig};
use staticfire_world::trace::{FaultId, FaultKind, Trace};
use staticfire_world::world::{Run, Stopped, WorldConfig, WorldStats, paused_runtime};
use tokio::task::LocalSet;
use tokio::time::sleep;
use turmoil::Sim;

use super::host::{Host, TurmoilMachine};

/// How far turmoil moves at once. Every tick polls every host, so that a simulated second costs a
/// thousand polls of each.
const TICK: Duration = Duration::from_millis(1);

/// Segments that a TCP connection of turmoil holds between `write` and `read`.
const TCP_CAPACITY: usize = 4_096;

/// What is to be done to the simulation between two turns.
pub(super) enum Order {
    /// Adds a host.
    Add(Rc<Host>),
    /// The process of a host returned.
    Exited { host: Rc<Host>, incarnation: u32, result: Result<(), String> },
    /// The process of a host was killed.
    Reap(IpAddr),
    /// A host goes down without a word.
    CutPower(IpAddr),
    /// A host comes up.
    Boot(IpAddr),
    /// Holds what is sent between two hosts.
    Hold(Pair),
    /// Delivers what was held.
    Release(Pair),
    /// Sets the latency between two hosts.
    Latency(Pair, Millis),
}

/// Orders not yet carried out.
pub(super) type Orders = Rc<RefCell<Vec<Order>>>;

/// Two hosts, the smaller address first.
type Pair = (IpAddr, IpAddr);

/// A fault of a link that has not been taken away.
struct LinkFault {
    fault: FaultId,
    kind: FaultKind,
    pair: Pair,
    /// From when on whatever is under way feels it.
    bites_from_us: u64,
    bitten: bool,
}

/// What all handles share.
struct Core {
    config: WorldConfig,
    rng: Rng,
    time: WorldTime,
    trace: Trace,
    orders: Orders,
    link_faults: RefCell<Vec<LinkFault>>,
}

/// Turmoil as its scenario sees it; clones share it.
#[derive(Clone)]
pub struct TurmoilStage {
    core: Rc<Core>,
}

/// Why a plan cannot be told on turmoil, if it cannot.
fn refuses(plan: &Plan) -> Option<String> {
    let cluster = expand::expand(&plan.cluster);
    for event in &plan.events {
        match &event.action {
            Action::Pause { node } => return Some(format!("turmoil cannot pause {node}")),
            Action::ClockJump { node, .. } | Action::ClockDrift { node, .. } => {
                return Some(format!("turmoil has one clock, {node} as all others"));
            }
            Action::Partition { one_way: true, .. } => {
                return Some("turmoil cannot hold one way only".to_owned());
            }
            _ => {}
        }
    }
    if !cluster.hosts.is_empty() {
        return Some("turmoil knows no names that we give".to_owned());
    }
    let brokers = cluster.brokers.iter().map(|broker| &broker.address);
    let mut addresses = BTreeSet::new();
    let mut all = cluster.namesrvs.iter().map(|server| &server.address).chain(brokers);
    let shared = all.find(|address| !addresses.insert(*address));
    shared.map(|address| format!("{address}: a machine has one process on turmoil"))
}

fn build(config: &WorldConfig, seed: u64) -> Sim<'static> {
    let latency = Duration::from_millis(config.net.link.latency_ms);
    turmoil::Builder::new()
        .epoch(UNIX_EPOCH + Duration::from_millis(config.epoch_ms))
        .simulation_duration(Duration::from_millis(config.limit_ms) + TICK)
        .tick_duration(TICK)
        .min_message_latency(latency)
        .max_message_latency(latency)
        .fail_rate(0.0)
        .tcp_capacity(TCP_CAPACITY)
        .enable_random_order()
        .rng_seed(seed)
        .build()
}

impl Core {
    fn new(config: WorldConfig, seed: u64) -> Self {
        let time = WorldTime::default();
        Core {
            config,
            rng: Rng::from_seed(seed),
            trace: Trace::new(time.clone()),
            time,
            orders: Orders::default(),
            link_faults: RefCell::default(),
        }
    }

    fn carry_out_orders(&self, sim: &mut Sim<'static>) {
        for order in self.orders.take() {
            match order {
                Order::Add(host) => sim.host(host.address, move || Rc::clone(&host).kernel()),
                Order::Exited { host, incarnation, result } => {
                    if host.exited(incarnation, result) {
                        reap(sim, host.address);
                    }
                }
                Order::Reap(address) => reap(sim, address),
                Order::CutPower(address) => self.cut_power(sim, address),
                Order::Boot(address) => sim.bounce(address),
                Order::Hold((one, two)) => sim.hold(one, two),
                Order::Release((one, two)) => sim.release(one, two),
                Order::Latency((one, two), latency) => {
                    sim.set_link_latency(one, two, latency.duration());
                }
            }
        }
    }

    /// Crashes a host whose sockets say nothing to anybody: they do when they are dropped, so that its
    /// links drop what it sends meanwhile, and what it had under way.
    fn cut_power(&self, sim: &mut Sim<'static>, address: IpAddr) {
        let mut peers = BTreeSet::new();
        sim.links(|links| peers.extend(links.map(|link| link.pair())));
        let others = |&(one, two): &Pair| match address {
            it if it == one => Some(two),
            it if it == two => Some(one),
            _ => None,
        };
        let peers: Vec<IpAddr> = peers.iter().filter_map(others).collect();
        for peer in &peers {
            sim.partition_oneway(address, *peer);
        }
        sim.crash(address);
        for peer in &peers {
            sim.repair_oneway(address, *peer);
        }
        for open in self.link_faults.borrow().iter() {
            if open.kind == FaultKind::Partition && others(&open.pair).is_some() {
                sim.hold(open.pair.0, open.pair.1);
            }
        }
    }

    /// Tells the trace of link faults that something under way feels. What a partition holds does not
    /// travel and feels no latency.
    fn note_link_bites(&self, sim: &Sim<'static>) {
        let now_us = self.time.now_us();
        let mut faults = self.link_faults.borrow_mut();
        let held = faults.iter().filter(|open| open.kind == FaultKind::Partition);
        let held: BTreeSet<Pair> = held.map(|open| open.pair).collect();
        for open in faults.iter_mut().filter(|open| !open.bitten && open.bites_from_us <= now_us) {
            if open.kind == FaultKind::Link && held.contains(&open.pair) {
                continue;
            }
            sim.links(|links| {
                let mut links = links.filter(|link| link.pair() == open.pair);
                open.bitten = links.any(|mut link| link.next().is_some());
            });
            if open.bitten {
                self.trace.fault_bit(open.fault, "a message was under way");
            }
        }
    }
}

/// Ends what runs on a host and lets its kernel answer.
fn reap(sim: &mut Sim<'static>, address: IpAddr) {
    sim.crash(address);
    sim.bounce(address);
}

impl TurmoilStage {
    /// Runs `scenario` on turmoil, as [`World::run`](staticfire_world::world::World::run) does in our own world.
    /// Of the configuration it takes the epoch, the writeback, the time limit and the links' latency.
    /// Same configuration, seed, scenario and binary: same trace, same digest.
    ///
    /// # Panics
    /// When the scenario or a task of a process panics, when called inside a tokio runtime, or when
    /// a runtime cannot be built.
    pub fn run<T>(
        config: WorldConfig,
        seed: u64,
        scenario: impl AsyncFnOnce(TurmoilStage) -> T,
    ) -> Run<T> {
        let mut sim = build(&config, seed);
        let runtime = paused_runtime();
        let beside = LocalSet::new();
        let core = Rc::new(Core::new(config, seed));
        let mut scenario = pin!(scenario(TurmoilStage { core: Rc::clone(&core) }));
        let value = loop {
            let turn = async {
                mq_env::select! {
                    value = scenario.as_mut() => Some(value),
                    () = sleep(TICK) => None,
                }
            };
            if let Some(value) = runtime.block_on(beside.run_until(turn)) {
                break Ok(value);
            }
            core.carry_out_orders(&mut sim);
            sim.step().expect("a kernel never returns");
            core.time.set_ms(u64::try_from(sim.elapsed().as_millis()).unwrap_or(u64::MAX));
            core.note_link_bites(&sim);
            if core.time.now_ms() > core.config.limit_ms {
                break Err(Stopped::TimeLimit);
            }
        };
        core.trace.forget_listeners();
        let stats = WorldStats { simulated_ms: core.time.now_ms(), ..WorldStats::default() };
        Run { seed, value, trace: core.trace.clone(), failures: Vec::new(), stats }
    }

    fn link_fault(&self, kind: FaultKind, [one, two]: [IpAddr; 2], unfelt_us: u64) -> FaultId {
        let trace = &self.core.trace;
        let detail = format!("{one} - {two}");
        let fault = trace.fault_started(kind, &trace.name("net"), &detail);
        let bites_from_us = trace.now_us() + unfelt_us;
        let open = LinkFault { fault, kind, pair: pair([one, two]), bites_from_us, bitten: false };
        self.core.link_faults.borrow_mut().push(open);
        fault
    }

    fn take_link_fault(&self, matches: impl Fn(&LinkFault) -> bool) -> Option<LinkFault> {
        let mut open = self.core.link_faults.borrow_mut();
        let at = open.iter().position(matches)?;
        Some(open.remove(at))
    }

    fn order(&self, order: Order) {
        self.core.orders.borrow_mut().push(order);
    }
}

impl Stage for TurmoilStage {
    fn refuses(&self, plan: &Plan) -> Option<String> {
        refuses(plan)
    }

    fn trace(&self) -> &Trace {
        &self.core.trace
    }

    /// # Panics
    /// Always: plans with names of hosts are refused.
    fn add_host(&self, host: &str, _address: IpAddr) {
        panic!("{host}: plans with names of hosts are refused");
    }

    fn add_machine(&self, address: IpAddr, disk: SimDiskConfig) -> Rc<dyn Machine> {
        let core = &self.core;
        let name = core.trace.name(&address.to_string());
        let clock = SimClock::new(core.time.clone(), core.config.epoch_ms, 0);
        let rng = core.rng.child("disk").child(&name);
        let disk = SimDisk::new(disk, Arc::new(clock), rng);
        let writeback = core.rng.child("writeback").stream(&name);
        spawn_beside(
            Arc::clone(&disk).write_back_for_ever(core.config.writeback_interval_ms, writeback),
        );
        let host = Host::new(address, name, disk, &core.trace, &core.rng, &core.orders);
        self.order(Order::Add(Rc::clone(&host)));
        Rc::new(TurmoilMachine { host })
    }

    /// # Panics
    /// With `one_way`: such plans are refused.
    fn partition(&self, between: [IpAddr; 2], one_way: bool) -> FaultId {
        assert!(!one_way, "plans with one-way partitions are refused");
        let fault = self.link_fault(FaultKind::Partition, between, 0);
        self.order(Order::Hold(pair(between)));
        fault
    }

    fn heal(&self, partition: FaultId) {
        if let Some(open) = self.take_link_fault(|open| open.fault == partition) {
            self.order(Order::Release(open.pair));
            self.core.trace.fault_healed(partition, "what was held is delivered");
        }
    }

    fn slow_link(&self, between: [IpAddr; 2], latency: Millis) -> FaultId {
        self.reset_link(between);
        // What was under way at the usual latency has arrived by then.
        let usual_us = (self.core.config.net.link.latency_ms + 2) * 1_000;
        let fault = self.link_fault(FaultKind::Link, between, usual_us);
        self.order(Order::Latency(pair(between), latency));
        fault
    }

    fn reset_link(&self, between: [IpAddr; 2]) {
        let pair = pair(between);
        let open = |open: &LinkFault| open.kind == FaultKind::Link && open.pair == pair;
        if let Some(open) = self.take_link_fault(open) {
            let usual = Millis(self.core.config.net.link.latency_ms);
            self.order(Order::Latency(pair, usual));
            self.core.trace.fault_healed(open.fault, "as configured");
        }
    }
}

fn pair([one, two]: [IpAddr; 2]) -> Pair {
    (one.min(two), one.max(two))
}

/// Runs a task beside the scenario, until the run ends.
#[expect(clippy::disallowed_methods, reason = "outside all processes")]
fn spawn_beside(task: impl Future<Output = ()> + 'static) {
    tokio::task::spawn_local(task);
}
