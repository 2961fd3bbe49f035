//! Our own world as a stage. It tells everything.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use staticfire_world::disk::{SimDisk, SimDiskConfig};
use staticfire_world::net::{LinkProfile, MachineId};
use staticfire_world::trace::{FaultId, Name, Trace};
use staticfire_world::world::{
    MachineConfig, MachineHandle, Partition, ProcessGone, ProcessHandle, StopOutcome, WorldHandle,
};

use super::{Job, Machine, Process, Stage};
use crate::plan::{Millis, Plan};
use crate::run::program::Program;

/// The machines with these addresses.
///
/// # Panics
/// When there are none: acts name machines that they added.
fn ids(world: &WorldHandle, addresses: [IpAddr; 2]) -> [MachineId; 2] {
    let machines = world.machines();
    addresses.map(|address| {
        let machine = machines.iter().find(|machine| machine.ip() == address);
        machine.unwrap_or_else(|| panic!("no machine {address}")).id()
    })
}

/// A second address for the `nth` machine, so that machines of both families speak to each other: real
/// ones have both. No server of the world uses 240.0.0.0/4 or this part of fd00::/8.
fn of_other_family(address: IpAddr, nth: usize) -> IpAddr {
    let [.., high, low] = nth.to_be_bytes();
    match address {
        IpAddr::V4(_) => {
            Ipv6Addr::new(0xfd5f, 0x7374, 0x6174, 0, 0, 0, 0, u16::from_be_bytes([high, low]))
                .into()
        }
        IpAddr::V6(_) => Ipv4Addr::new(240, 0, high, low).into(),
    }
}

impl Stage for WorldHandle {
    fn refuses(&self, _plan: &Plan) -> Option<String> {
        None
    }

    fn trace(&self) -> &Trace {
        WorldHandle::trace(self)
    }

    fn add_host(&self, host: &str, address: IpAddr) {
        WorldHandle::add_host(self, host, address);
    }

    fn add_machine(&self, address: IpAddr, disk: SimDiskConfig) -> Rc<dyn Machine> {
        let addrs = vec![address, of_other_family(address, self.machines().len())];
        let config = MachineConfig { addrs, disk, ..MachineConfig::default() };
        Rc::new(WorldHandle::add_machine(self, &address.to_string(), config))
    }

    fn partition(&self, between: [IpAddr; 2], one_way: bool) -> FaultId {
        let [one, two] = ids(self, between).map(|id| [id]);
        WorldHandle::partition(
            self,
            &match one_way {
                true => Partition::one_way(&one, &two),
                false => Partition::between(&one, &two),
            },
        )
    }

    fn heal(&self, partition: FaultId) {
        WorldHandle::heal(self, partition);
    }

    fn slow_link(&self, between: [IpAddr; 2], latency: Millis) -> FaultId {
        let [one, two] = ids(self, between);
        self.set_link(one, two, LinkProfile::latency(latency.0))
    }

    fn reset_link(&self, between: [IpAddr; 2]) {
        let [one, two] = ids(self, between);
        WorldHandle::reset_link(self, one, two);
    }
}

impl Machine for MachineHandle {
    fn name(&self) -> &Name {
        MachineHandle::name(self)
    }

    fn ip(&self) -> IpAddr {
        MachineHandle::ip(self)
    }

    fn disk(&self) -> &Arc<SimDisk> {
        MachineHandle::disk(self)
    }

    fn is_on(&self) -> bool {
        MachineHandle::is_on(self)
    }

    fn processes(&self) -> Vec<Rc<dyn Process>> {
        let processes = MachineHandle::processes(self).into_iter();
        processes.map(|process| Rc::new(process) as Rc<dyn Process>).collect()
    }

    fn add_process(&self, name: &str, program: Program) -> Rc<dyn Process> {
        let main = program.into_main();
        Rc::new(MachineHandle::add_process(self, name, move |context| main(context)))
    }

    fn power_loss(&self) -> FaultId {
        MachineHandle::power_loss(self)
    }

    fn power_loss_worst(&self) -> FaultId {
        MachineHandle::power_loss_worst(self)
    }

    fn destroy_disk(&self) -> FaultId {
        MachineHandle::destroy_disk(self)
    }

    fn power_on(&self) {
        MachineHandle::power_on(self);
    }

    fn jump_clock(&self, by_ms: i64) -> FaultId {
        MachineHandle::jump_clock(self, by_ms)
    }

    fn drift_clock(&self, ppm: i64) -> FaultId {
        MachineHandle::drift_clock(self, ppm)
    }

    fn steady_clock(&self) {
        MachineHandle::steady_clock(self);
    }
}

impl Process for ProcessHandle {
    fn name(&self) -> &Name {
        ProcessHandle::name(self)
    }

    fn machine(&self) -> Rc<dyn Machine> {
        Rc::new(ProcessHandle::machine(self))
    }

    fn is_running(&self) -> bool {
        ProcessHandle::is_running(self)
    }

    fn start(&self) {
        ProcessHandle::start(self);
    }

    fn kill(&self) -> FaultId {
        ProcessHandle::kill(self)
    }

    fn stop(&self, deadline: Duration) -> LocalBoxFuture<'_, StopOutcome> {
        Box::pin(ProcessHandle::stop(self, deadline))
    }

    fn pause(&self) -> FaultId {
        ProcessHandle::pause(self)
    }

    fn resume(&self) {
        ProcessHandle::resume(self);
    }

    fn spawn(&self, job: Job) -> Result<(), ProcessGone> {
        ProcessHandle::spawn(self, job)
    }
}
