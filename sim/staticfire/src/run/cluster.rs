//! [`Cluster`]: a plan's machines and processes on a stage, and the operations that stories are made of.

pub mod broker_process;
mod clocks;
mod deletions;
mod disk_fault;
mod leaders;
pub mod operate;
pub(in crate::run) mod operator;
mod reach;
mod room;
mod subscribe;
mod witness;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use staticfire_judge::ledger::Ledger;
use staticfire_world::disk::{LatencyProfile, SimDiskConfig};
use staticfire_world::trace::{FaultId, Trace};
use staticfire_world::world::{Exit, ProcessContext};

use self::broker_process::BrokerProcess;
use self::clocks::Clocks;
use self::disk_fault::DiskFault;
use self::leaders::Leaders;
use self::witness::Witness;
use crate::plan::{ClusterPlan, FileKind, Millis, Plan, WorkloadPlan, expand};
use crate::run::error::StandError;
use crate::run::program::Program;
use crate::run::stage::{Machine, Process, Stage};
use crate::run::traffic::Traffic;
use crate::run::workload::{Workload, consume, poll, produce};

/// First address of the clients' machines; servers of published set-ups do not use this network.
const CLIENT_NETWORK: [u8; 2] = [172, 31];

/// A running cluster. Belongs to the scenario, outside all processes.
pub struct Cluster {
    stage: Rc<dyn Stage>,
    ledger: Ledger,
    plan: ClusterPlan,
    machines: RefCell<BTreeMap<IpAddr, Rc<dyn Machine>>>,
    nodes: RefCell<BTreeMap<String, Rc<dyn Process>>>,
    brokers: BTreeMap<String, BrokerProcess>,
    /// Processes that an operator took out of service: power coming back does not start them.
    fenced: RefCell<Vec<String>>,
    /// Faults that `heal` and `calm` take away: what, the processes concerned, the fault.
    open_faults: RefCell<Vec<OpenFault>>,
    /// By broker group: whoever restarts, promotes or demotes its brokers does one thing at a time.
    operators: RefCell<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// Brokers of whose files bits rotted, and of which.
    rotten: RefCell<BTreeSet<(String, FileKind)>>,
    /// Operations that had to wait for another one of the same group.
    late: RefCell<Vec<String>>,
    /// Operations that changed nothing.
    without_effect: RefCell<Vec<String>>,
    /// Clients that are away until an event starts them.
    latecomers: BTreeSet<String>,
    workloads: Vec<WorkloadPlan>,
    /// Topics that somebody has made, with their queues per broker group.
    topics: RefCell<BTreeMap<String, u32>>,
    /// Topics that the operator has deleted; a send may have made them again.
    deleted_topics: RefCell<BTreeSet<String>>,
    /// What the clients share, for what an operator sees.
    traffic: OnceCell<Arc<Traffic>>,
    clocks: Clocks,
    leaders: Leaders,
    /// By DLedger group: who had which seat when the story began, as far as an event has asked.
    seats: RefCell<BTreeMap<String, Vec<String>>>,
    witness: Witness,
    clients: Cell<u8>,
}

/// A fault that lasts until it is taken away.
struct OpenFault {
    kind: OpenFaultKind,
    nodes: Vec<String>,
    fault: FaultId,
}

#[derive(Clone, Copy)]
enum OpenFaultKind {
    Partition,
    SlowLink,
    /// A clock that runs at the wrong pace.
    Clock,
    /// A fault of a disk, and how often something like it was felt there before.
    Disk(DiskFault, u64),
}

impl Cluster {
    /// Adds the machines and processes of `plan` to `stage`; starts nothing.
    ///
    /// # Errors
    /// An address or a broker's properties that make no sense; a plan that the stage refuses.
    pub fn build(
        stage: &Rc<dyn Stage>,
        plan: &Plan,
        ledger: &Ledger,
    ) -> Result<Rc<Self>, StandError> {
        if let Some(why) = stage.refuses(plan) {
            return Err(StandError::Refused(why));
        }
        let long = expand::expand(&plan.cluster);
        let mut cluster = Cluster {
            stage: Rc::clone(stage),
            ledger: ledger.clone(),
            plan: long.clone(),
            machines: RefCell::default(),
            nodes: RefCell::default(),
            brokers: BTreeMap::new(),
            fenced: RefCell::default(),
            open_faults: RefCell::default(),
            operators: RefCell::default(),
            rotten: RefCell::default(),
            late: RefCell::default(),
            without_effect: RefCell::default(),
            latecomers: plan.latecomers(),
            workloads: plan.workloads.clone(),
            topics: RefCell::new(topics_at_first(plan)),
            deleted_topics: RefCell::default(),
            traffic: OnceCell::new(),
            clocks: Clocks::default(),
            leaders: Leaders::default(),
            seats: RefCell::default(),
            witness: Witness::default(),
            clients: Cell::new(0),
        };
        for (host, address) in &long.hosts {
            stage.add_host(host, parse_address(address)?);
        }
        for namesrv in &long.namesrvs {
            let machine = cluster.machine(parse_address(&namesrv.address)?);
            let port = namesrv.port;
            let process = machine.add_process(&namesrv.name, Program::Namesrv { port });
            cluster.nodes.borrow_mut().insert(namesrv.name.clone(), process);
        }
        for broker in &long.brokers {
            let machine = cluster.machine(parse_address(&broker.address)?);
            let process = BrokerProcess::add(&machine, broker, plan)?;
            process.has_room(plan, long.brokers.len())?;
            process.tell(ledger);
            cluster.nodes.borrow_mut().insert(broker.name.clone(), Rc::clone(process.handle()));
            cluster.brokers.insert(broker.name.clone(), process);
        }
        let trace = stage.trace();
        let elected = cluster.brokers.values().filter(|broker| broker.is_dledger());
        let members = elected.map(|it| (trace.name(it.name()), trace.name(&it.group()))).collect();
        cluster.leaders = Leaders::watch(trace, members);
        Ok(Rc::new(cluster))
    }

    /// What happened so far.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        self.stage.trace()
    }

    /// The ledger.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The brokers by process name.
    #[must_use]
    pub fn brokers(&self) -> &BTreeMap<String, BrokerProcess> {
        &self.brokers
    }

    /// Whether a process is a broker or a name server: everybody else talks to these alone.
    #[must_use]
    pub fn is_server(&self, name: &str) -> bool {
        self.brokers.contains_key(name) || self.plan.namesrvs.iter().any(|it| it.name == name)
    }

    /// The process that is the master of a group by its present configuration; of a DLedger group the one that leads, or did
    /// last.
    #[must_use]
    pub fn master_of(&self, group: &str) -> Option<&BrokerProcess> {
        self.masters_of(group).next()
    }

    /// All that are: an old master that was restarted and not told that it is a slave now is one more.
    pub fn masters_of<'a>(&'a self, group: &str) -> impl Iterator<Item = &'a BrokerProcess> {
        let elected = self.elected_master(group).map(BrokerProcess::name);
        let serves = move |broker: &&BrokerProcess| self.serves(broker, elected);
        self.members_of(group).filter(serves)
    }

    /// Whether a broker is the master of its group, whose members may have elected one.
    fn serves(&self, broker: &BrokerProcess, elected: Option<&str>) -> bool {
        let is_master =
            if broker.is_dledger() { elected == Some(broker.name()) } else { broker.is_master() };
        is_master && !self.is_fenced(broker.name())
    }

    /// All brokers of a group.
    pub fn members_of<'a>(&'a self, group: &str) -> impl Iterator<Item = &'a BrokerProcess> {
        self.brokers.values().filter(move |broker| broker.group() == group)
    }

    /// The slaves of a group by their present configuration.
    pub fn slaves_of<'a>(&'a self, group: &'a str) -> impl Iterator<Item = &'a BrokerProcess> {
        let elected = self.elected_master(group).map(BrokerProcess::name);
        let serves = move |broker: &&BrokerProcess| {
            broker.group() == group
                && !self.serves(broker, elected)
                && !self.is_fenced(broker.name())
        };
        self.brokers.values().filter(serves)
    }

    /// `host:port` of the name servers.
    #[must_use]
    pub fn namesrv_addrs(&self) -> Vec<String> {
        let servers = self.plan.namesrvs.iter();
        servers.map(|server| host_port(&server.address, server.port)).collect()
    }

    /// Lets operators tell the clients' history what they see.
    pub(in crate::run) fn meet(&self, traffic: &Arc<Traffic>) {
        let _ = self.traffic.set(Arc::clone(traffic));
    }

    /// Starts name servers, masters and slaves.
    pub fn start(&self) {
        for namesrv in &self.plan.namesrvs {
            self.node(&namesrv.name).start();
        }
        let (masters, slaves): (Vec<_>, Vec<_>) =
            self.brokers.values().partition(|broker| broker.is_master());
        for broker in masters.into_iter().chain(slaves) {
            self.start_process(&**broker.handle());
        }
    }

    /// Adds and starts the producers of `work`.
    pub fn start_producers(&self, work: &Arc<Workload>) {
        for name in work.plan.producer_names() {
            let work = Arc::clone(work);
            let main = move |context| produce::run(context, Arc::clone(&work));
            self.start_at_first(&*self.add_client(&name, main));
        }
    }

    /// Adds and starts the consumers of `work`.
    pub fn start_consumers(&self, work: &Arc<Workload>) {
        for group in work.plan.all_consumer_groups() {
            for name in work.plan.consumer_names(&group) {
                let (work, group) = (Arc::clone(work), group.clone());
                if group.lite_pull {
                    let main = move |context| poll::run(context, Arc::clone(&work), group.clone());
                    self.start_at_first(&*self.add_client(&name, main));
                    continue;
                }
                let main = move |context| consume::run(context, Arc::clone(&work), group.clone());
                self.start_at_first(&*self.add_client(&name, main));
            }
        }
    }

    /// Starts a client, unless it comes later.
    fn start_at_first(&self, client: &dyn Process) {
        if !self.latecomers.contains(&**client.name()) {
            client.start();
        }
    }

    /// Adds a client process on a machine of its own.
    pub fn add_client<F, Fut>(&self, name: &str, main: F) -> Rc<dyn Process>
    where
        F: Fn(ProcessContext) -> Fut + 'static,
        Fut: Future<Output: Exit> + 'static,
    {
        let n = self.clients.get() + 1;
        self.clients.set(n);
        let machine = self.machine(IpAddr::from([CLIENT_NETWORK[0], CLIENT_NETWORK[1], 0, n]));
        let process = machine.add_process(name, Program::client(main));
        self.nodes.borrow_mut().insert(name.to_owned(), Rc::clone(&process));
        process
    }

    /// A process by name.
    ///
    /// # Panics
    /// When there is none: plans are validated before they run.
    #[must_use]
    pub fn node(&self, name: &str) -> Rc<dyn Process> {
        self.nodes.borrow().get(name).cloned().unwrap_or_else(|| panic!("no process {name}"))
    }

    /// The machine with an address, added when it is new.
    fn machine(&self, address: IpAddr) -> Rc<dyn Machine> {
        let mut machines = self.machines.borrow_mut();
        let machine = machines
            .entry(address)
            .or_insert_with(|| self.stage.add_machine(address, self.disk_config()));
        Rc::clone(machine)
    }

    fn disk_config(&self) -> SimDiskConfig {
        let [Millis(shortest), Millis(longest)] = self.plan.sync_latency;
        SimDiskConfig {
            capacity_bytes: self.plan.disk_bytes,
            latency: LatencyProfile::uniform(shortest..=longest),
        }
    }

    /// Whether an operator keeps a process from serving: a former master, until it is started again.
    #[must_use]
    pub fn is_fenced(&self, name: &str) -> bool {
        self.fenced.borrow().iter().any(|fenced| fenced == name)
    }
}

/// The topics of workloads that are there before the first send.
fn topics_at_first(plan: &Plan) -> BTreeMap<String, u32> {
    let late = plan.late_topics();
    let mut topics = BTreeMap::new();
    for work in plan.workloads.iter().filter(|work| !late.contains(&work.topic)) {
        let queues = topics.entry(work.topic.clone()).or_insert(0);
        *queues = work.queues.max(*queues);
    }
    topics
}

fn parse_address(text: &str) -> Result<IpAddr, StandError> {
    text.parse().map_err(|_| StandError::Address(text.to_owned()))
}

/// `host:port` as clients take it: an IPv6 address in brackets.
fn host_port(host: &str, port: u16) -> String {
    match host.parse() {
        Ok(ip) => SocketAddr::new(ip, port).to_string(),
        Err(_) => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests;
