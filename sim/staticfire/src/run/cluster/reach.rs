//! What a story has left broken, and whom that keeps from whom. A process that ended by itself is no such
//! thing, unless its disk had damaged what it lives of.

use std::net::IpAddr;

use staticfire_world::trace::{Name, ProcessStep, TraceEvent, TraceRecord};

use super::{Cluster, DiskFault, OpenFault, OpenFaultKind};
use crate::plan::FileKind;

impl Cluster {
    /// Whether a client runs that nothing keeps from answering.
    #[must_use]
    pub fn can_be_asked(&self, name: &str) -> bool {
        let is_cut_off = |open: &OpenFault| {
            matches!(open.kind, OpenFaultKind::Partition) && open.nodes.iter().any(|it| it == name)
        };
        self.is_at_work(name) && !self.open_faults.borrow().iter().any(is_cut_off)
    }

    /// Whether a process runs and is not paused.
    #[must_use]
    pub fn is_at_work(&self, name: &str) -> bool {
        self.node(name).is_running() && !self.is_paused(name)
    }

    /// Why a process that the story took away answers nobody, in words that can follow "because".
    #[must_use]
    pub fn why_away(&self, name: &str) -> Option<String> {
        let process = self.node(name);
        if process.is_running() {
            return self.is_paused(name).then(|| format!("{name} is paused"));
        }
        if !process.machine().is_on() {
            return Some(format!("the machine of {name} has no power"));
        }
        if self.ledger.has_damage(name) {
            return Some(format!("{name} does not run, with damage on its disk"));
        }
        let was_stopped = || self.fell(name).is_none();
        (self.has_disk_fault(name) || was_stopped()).then(|| format!("{name} does not run"))
    }

    /// The error with which a process ended by itself and where the trace says so, if that was the last that
    /// was heard of it.
    #[must_use]
    pub fn fell(&self, name: &str) -> Option<(u64, Name)> {
        self.trace().read(|records| last_failure(records, name))
    }

    /// What is wrong with the network between two processes.
    #[must_use]
    pub fn why_cut_off(&self, one: &str, other: &str) -> Option<String> {
        let ends = [self.address_of(one), self.address_of(other)];
        let open = self.open_faults.borrow();
        let between = |open: &&OpenFault| match &open.nodes[..] {
            [a, b] => joins(&ends, &[self.address_of(a), self.address_of(b)]),
            _ => false,
        };
        let open = open.iter().find(between)?;
        Some(match open.kind {
            OpenFaultKind::SlowLink => format!("the link between {one} and {other} is slow"),
            _ => format!("{one} and {other} are partitioned"),
        })
    }

    /// Why clients may hear nothing of a broker: one of them asks one name server as long as that answers.
    #[must_use]
    pub fn why_unrouted(&self, broker: &str) -> Option<String> {
        let mut at_work = self.plan.namesrvs.iter().filter(|it| self.is_at_work(&it.name));
        let unrouted = at_work.find_map(|namesrv| self.why_cut_off(broker, &namesrv.name));
        unrouted.or_else(|| self.why_no_route(broker))
    }

    /// Why a process hears nothing of the routes.
    #[must_use]
    pub fn why_no_route(&self, name: &str) -> Option<String> {
        let namesrvs = self.plan.namesrvs.iter().map(|it| &*it.name);
        let reasons: Option<Vec<String>> = namesrvs
            .map(|namesrv| self.why_away(namesrv).or_else(|| self.why_cut_off(name, namesrv)))
            .collect();
        reasons?.into_iter().next()
    }

    /// Whether the disk of a process has a fault that the story has not taken away, or bits of its files rotted.
    #[must_use]
    pub fn has_disk_fault(&self, name: &str) -> bool {
        let is_its = |(broker, _): &(String, FileKind)| broker == name;
        self.disk_faults(name, |_, _| Some(())).is_some() || self.rotten.borrow().iter().any(is_its)
    }

    /// What keeps the disk of a process from taking anything in time.
    #[must_use]
    pub fn disk_trouble(&self, name: &str) -> Option<String> {
        let lasts =
            |fault: &DiskFault, is_felt| fault.lasting.filter(|_| is_felt || !fault.is_over_unfelt);
        self.disk_faults(name, lasts).map(|lasting| format!("the disk of {name} {lasting}"))
    }

    /// What of it keeps a broker that starts from serving anybody.
    #[must_use]
    pub fn stalled_disk(&self, name: &str) -> Option<String> {
        self.disk_faults(name, |fault, _| fault.lasting.filter(|_| fault.stalls))
            .map(|lasting| format!("the disk of {name} {lasting}"))
    }

    /// What a device did to the log or the queues of a broker.
    #[must_use]
    pub fn rotten_store(&self, name: &str) -> Option<String> {
        self.rotted(name, FileKind::CommitLog).or_else(|| self.rotten_queues(name))
    }

    /// What a device did to the queues of a broker: their units have no checksum, and no start looks at all.
    #[must_use]
    pub fn rotten_queues(&self, name: &str) -> Option<String> {
        self.rotted(name, FileKind::ConsumeQueue)
    }

    fn rotted(&self, name: &str, files: FileKind) -> Option<String> {
        let has_rotted = self.rotten.borrow().contains(&(name.to_owned(), files));
        has_rotted.then(|| format!("bits of the {files} files of {name} rotted"))
    }

    /// The first that `find` finds among the open faults of the disk of a process; it is also told whether one
    /// was felt since the process started.
    fn disk_faults<T>(
        &self,
        name: &str,
        find: impl Fn(&DiskFault, bool) -> Option<T>,
    ) -> Option<T> {
        let address = self.address_of(name);
        let stats = self.disk_of(name).stats();
        let open = self.open_faults.borrow();
        let there = open.iter().filter(|open| self.address_of(&open.nodes[0]) == address);
        let mut faults = there.filter_map(|open| match &open.kind {
            OpenFaultKind::Disk(fault, before) => Some((fault, (fault.felt)(&stats) > *before)),
            _ => None,
        });
        faults.find_map(|(fault, is_felt)| find(fault, is_felt))
    }
}

fn joins(ends: &[IpAddr; 2], link: &[IpAddr; 2]) -> bool {
    ends == link || *ends == [link[1], link[0]]
}

fn last_failure(records: &[TraceRecord], process: &str) -> Option<(u64, Name)> {
    let is_step = |record: &&TraceRecord| {
        &*record.source == process && matches!(record.event, TraceEvent::Process(_))
    };
    let last = records.iter().rev().find(is_step)?;
    match &last.event {
        TraceEvent::Process(ProcessStep::Failed { error }) => {
            Some((last.ordinal, Name::clone(error)))
        }
        _ => None,
    }
}
