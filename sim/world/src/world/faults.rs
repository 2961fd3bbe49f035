//! Faults of the network, injected through the [`WorldHandle`].

use std::fmt::Write;

use super::handle::WorldHandle;
use crate::net::{LinkProfile, MachineId, PartitionEffects, Rule, RuleId};
use crate::trace::{FaultId, FaultKind, Name};

/// Which links a partition cuts, as pairs (from, to).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partition {
    links: Vec<(MachineId, MachineId)>,
}

impl Partition {
    /// No machine of `left` reaches one of `right`, and vice versa. Machines in neither reach all: a
    /// bridge.
    #[must_use]
    pub fn between(left: &[MachineId], right: &[MachineId]) -> Self {
        let mut partition = Partition::one_way(left, right);
        partition.links.extend(Partition::one_way(right, left).links);
        partition
    }

    /// What `from` sends does not reach `to`; the other direction works.
    #[must_use]
    pub fn one_way(from: &[MachineId], to: &[MachineId]) -> Self {
        let pairs = from.iter().flat_map(|from| to.iter().map(|to| (*from, *to)));
        Partition { links: pairs.filter(|(from, to)| from != to).collect() }
    }

    /// Every machine reaches a majority, and no two the same one: each sees its nearest neighbours
    /// on the ring `machines`.
    #[must_use]
    pub fn majority_ring(machines: &[MachineId]) -> Self {
        let count = machines.len();
        // Besides itself each keeps count / 2 others, half of them on either side.
        let reach = (count / 2).div_ceil(2);
        let far = |(one, two): (usize, usize)| {
            let apart = one.abs_diff(two);
            apart.min(count - apart) > reach
        };
        let pairs = (0..count).flat_map(|one| (0..count).map(move |two| (one, two)));
        let links = pairs.filter(|pair| far(*pair));
        Partition { links: links.map(|(one, two)| (machines[one], machines[two])).collect() }
    }

    /// Any set of directed links.
    #[must_use]
    pub fn links(links: impl IntoIterator<Item = (MachineId, MachineId)>) -> Self {
        Partition { links: links.into_iter().filter(|(from, to)| from != to).collect() }
    }

    /// Whether it cuts the directed link `link`.
    #[must_use]
    pub fn cuts(&self, link: (MachineId, MachineId)) -> bool {
        self.links.contains(&link)
    }
}

impl WorldHandle {
    /// Cuts links: what travels on them, and what is sent, is held until [`WorldHandle::heal`] or
    /// until its sender gives up. Bites when a segment is held or a connect blocked.
    pub fn partition(&self, partition: &Partition) -> FaultId {
        let detail = self.describe(&partition.links);
        let fault = self.fault(FaultKind::Partition, &partition.links, &detail);
        self.core.fabric.cut(fault, &partition.links);
        fault
    }

    /// Cuts all links of `machine`, as if its network card were dead: only its own processes reach
    /// each other.
    pub fn isolate(&self, machine: MachineId) -> FaultId {
        let all: Vec<_> = self.core.machines.borrow().iter().map(|other| other.id).collect();
        self.partition(&Partition::between(&[machine], &all))
    }

    /// Ends a partition: what it held is delivered, unless another partition holds it, too.
    pub fn heal(&self, partition: FaultId) -> PartitionEffects {
        let effects = self.core.fabric.mend(partition);
        let PartitionEffects { held_segments, held_bytes, blocked_connects } = effects;
        let effect = format!(
            "{held_segments} segments with {held_bytes} bytes held, {blocked_connects} connects \
             blocked"
        );
        self.core.trace.fault_healed(partition, &effect);
        effects
    }

    /// Ends all partitions.
    pub fn heal_all(&self) {
        for fault in self.core.trace.faults() {
            if fault.kind == FaultKind::Partition && fault.healed_us.is_none() {
                self.heal(fault.id);
            }
        }
    }

    /// What a partition did so far.
    #[must_use]
    pub fn partition_effects(&self, partition: FaultId) -> PartitionEffects {
        self.core.fabric.partition_effects(partition)
    }

    /// Gives the links between two machines another profile from now on, both ways. Bites when a
    /// segment travels on one of them.
    pub fn set_link(&self, one: MachineId, two: MachineId, profile: LinkProfile) -> FaultId {
        let fault = self.set_link_one_way(one, two, profile);
        self.core.fabric.set_link(two, one, Some(profile), Some(fault));
        self.core.link_faults.borrow_mut().insert((two, one), fault);
        fault
    }

    /// Gives one directed link another profile from now on.
    pub fn set_link_one_way(
        &self,
        from: MachineId,
        to: MachineId,
        profile: LinkProfile,
    ) -> FaultId {
        self.reset_link(from, to);
        let links = [(from, to)];
        let detail = format!("{}: {profile:?}", self.describe(&links));
        let fault = self.fault(FaultKind::Link, &links, &detail);
        self.core.fabric.set_link(from, to, Some(profile), Some(fault));
        self.core.link_faults.borrow_mut().insert((from, to), fault);
        fault
    }

    /// Gives the links between two machines the world's profile again, both ways.
    pub fn reset_link(&self, one: MachineId, two: MachineId) {
        for (from, to) in [(one, two), (two, one)] {
            let fault = self.core.link_faults.borrow_mut().remove(&(from, to));
            if let Some(fault) = fault {
                self.core.fabric.set_link(from, to, None, None);
                self.core.trace.fault_healed(fault, "as configured");
            }
        }
    }

    /// Gives all links of `machine` the world's profile again.
    pub fn reset_links_of(&self, machine: MachineId) {
        let links: Vec<_> = self.core.link_faults.borrow().keys().copied().collect();
        for (from, to) in links {
            if from == machine || to == machine {
                self.reset_link(from, to);
            }
        }
    }

    /// Installs a rule on single segments. Whether and when it strikes is its own business; record
    /// a fault with [`crate::trace::Trace::fault_started`] where that matters.
    pub fn add_rule(&self, rule: impl Rule + 'static) -> RuleId {
        self.core.fabric.add_rule(rule)
    }

    /// Takes a rule away.
    pub fn remove_rule(&self, rule: RuleId) {
        self.core.fabric.remove_rule(rule);
    }

    fn fault(&self, kind: FaultKind, links: &[(MachineId, MachineId)], detail: &str) -> FaultId {
        let machines = self.core.machines.borrow();
        let name = |id: MachineId| Name::clone(&machines[id.0 as usize].name);
        let ends = links.iter().filter(|link| !is_way_back(**link, links));
        let ends = ends.map(|(from, to)| [name(*from), name(*to)]).collect();
        self.core.trace.link_fault_started(kind, ends, detail)
    }

    /// Links in words: `a > b` one way, `a - b` both ways.
    fn describe(&self, links: &[(MachineId, MachineId)]) -> String {
        let machines = self.core.machines.borrow();
        let name = |id: MachineId| &machines[id.0 as usize].name;
        let mut text = String::new();
        for (from, to) in links {
            if is_way_back((*from, *to), links) {
                continue;
            }
            let both = links.contains(&(*to, *from));
            let (comma, sign) =
                (if text.is_empty() { "" } else { ", " }, if both { '-' } else { '>' });
            let _ = write!(text, "{comma}{} {sign} {}", name(*from), name(*to));
        }
        text
    }
}

/// Whether a link is the other direction of one that is told before it.
fn is_way_back((from, to): (MachineId, MachineId), links: &[(MachineId, MachineId)]) -> bool {
    to < from && links.contains(&(to, from))
}
