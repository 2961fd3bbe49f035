//! Directed links between machines: latency, jitter, bandwidth, loss, cuts.

use std::collections::BTreeMap;

use rand::{Rng as _, RngCore};
use rand_chacha::ChaCha8Rng;

use super::profile::{LinkProfile, NetProfile};
use super::{MachineId, PartitionEffects};
use crate::trace::{FaultId, Trace};

/// All links, and the partitions that cut them.
pub(super) struct Links {
    profile: NetProfile,
    /// `rows[from][to]`.
    rows: Vec<Vec<Link>>,
    up: Vec<bool>,
    partitions: BTreeMap<FaultId, PartitionEffects>,
    rng: ChaCha8Rng,
    trace: Trace,
}

#[derive(Clone)]
struct Link {
    profile: LinkProfile,
    /// With a bandwidth: microsecond at which the last byte has left.
    busy_until_us: u64,
    /// The partitions that cut it.
    cuts: Vec<FaultId>,
    /// The fault that changed its profile, until it was felt.
    unfelt: Option<FaultId>,
}

impl Links {
    pub(super) fn new(profile: NetProfile, rng: ChaCha8Rng, trace: Trace) -> Self {
        let (rows, up, partitions) = (Vec::new(), Vec::new(), BTreeMap::new());
        Links { profile, rows, up, partitions, rng, trace }
    }

    pub(super) fn add_machine(&mut self) {
        let link =
            Link { profile: self.profile.link, busy_until_us: 0, cuts: Vec::new(), unfelt: None };
        self.up.push(true);
        for row in &mut self.rows {
            row.push(link.clone());
        }
        self.rows.push(vec![link; self.up.len()]);
    }

    pub(super) fn set_up(&mut self, machine: MachineId, up: bool) {
        self.up[machine.0 as usize] = up;
    }

    pub(super) fn is_up(&self, machine: MachineId) -> bool {
        self.up[machine.0 as usize]
    }

    /// Whether nothing gets from `from` to `to` now. An address without a machine is a silence.
    pub(super) fn blocked(&self, from: Option<MachineId>, to: Option<MachineId>) -> bool {
        let (Some(from), Some(to)) = (from, to) else { return true };
        !self.is_up(from)
            || !self.is_up(to)
            || (from != to && !self.rows[from.0 as usize][to.0 as usize].cuts.is_empty())
    }

    /// When a segment of `len` bytes sent at `now_ms` arrives; `None`: lost until the sender gives up.
    pub(super) fn arrival_ms(
        &mut self,
        from: MachineId,
        to: MachineId,
        len: usize,
        now_ms: u64,
    ) -> Option<u64> {
        if from == to {
            return Some(now_ms);
        }
        let link = &mut self.rows[from.0 as usize][to.0 as usize];
        if let Some(fault) = link.unfelt.take() {
            self.trace.fault_bit(fault, "a segment travelled the link");
        }
        let LinkProfile { latency_ms, jitter_ms, bandwidth_bytes_per_s, loss_per_million } =
            link.profile;
        let mut at_ms = now_ms + latency_ms;
        if let Some(bytes_per_s) = bandwidth_bytes_per_s {
            let start_us = link.busy_until_us.max(now_ms * 1_000);
            link.busy_until_us = start_us + len as u64 * 1_000_000 / bytes_per_s.max(1);
            at_ms = link.busy_until_us.div_ceil(1_000) + latency_ms;
        }
        if jitter_ms > 0 {
            at_ms += self.rng.random_range(0..=jitter_ms);
        }
        if loss_per_million > 0 {
            at_ms += self.lost_time_ms(loss_per_million)?;
        }
        Some(at_ms)
    }

    /// The retransmission timeouts that a segment waits through; `None` when they exceed the budget.
    fn lost_time_ms(&mut self, loss_per_million: u32) -> Option<u64> {
        let (mut waited_ms, mut timeout_ms) = (0, self.profile.retransmit_ms.max(1));
        while self.rng.next_u32() % 1_000_000 < loss_per_million {
            waited_ms += timeout_ms;
            timeout_ms *= 2;
            if waited_ms >= self.profile.retry_budget_ms {
                return None;
            }
        }
        Some(waited_ms)
    }

    /// Gives a link another profile; `fault` bites with the first segment that travels it.
    pub(super) fn set_profile(
        &mut self,
        from: MachineId,
        to: MachineId,
        profile: Option<LinkProfile>,
        fault: Option<FaultId>,
    ) {
        let link = &mut self.rows[from.0 as usize][to.0 as usize];
        link.profile = profile.unwrap_or(self.profile.link);
        link.unfelt = fault;
    }

    pub(super) fn cut(&mut self, fault: FaultId, links: &[(MachineId, MachineId)]) {
        self.partitions.entry(fault).or_default();
        for (from, to) in links {
            let cuts = &mut self.rows[from.0 as usize][to.0 as usize].cuts;
            if !cuts.contains(&fault) {
                cuts.push(fault);
            }
        }
    }

    pub(super) fn mend(&mut self, fault: FaultId) {
        for link in self.rows.iter_mut().flatten() {
            link.cuts.retain(|cut| *cut != fault);
        }
    }

    pub(super) fn effects(&self, fault: FaultId) -> PartitionEffects {
        self.partitions.get(&fault).copied().unwrap_or_default()
    }

    /// Counts a segment that the partitions of a link hold back.
    pub(super) fn count_held(
        &mut self,
        from: Option<MachineId>,
        to: Option<MachineId>,
        bytes: usize,
        is_connect: bool,
    ) {
        let (Some(from), Some(to)) = (from, to) else { return };
        for fault in &self.rows[from.0 as usize][to.0 as usize].cuts {
            let effects = self.partitions.entry(*fault).or_default();
            if is_connect {
                effects.blocked_connects += 1;
                self.trace.fault_bit(*fault, "a connect was blocked");
            } else {
                effects.held_segments += 1;
                effects.held_bytes += bytes as u64;
                self.trace.fault_bit(*fault, "a segment was held");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::WorldTime;

    fn links(profile: LinkProfile) -> Links {
        let profile = NetProfile { link: profile, ..NetProfile::default() };
        let rng = mq_env::rng::Rng::from_seed(1).stream("links");
        let mut links = Links::new(profile, rng, Trace::new(WorldTime::default()));
        (0..2).for_each(|_| links.add_machine());
        links
    }

    #[test]
    fn bandwidth_queues_segments_behind_each_other() {
        let profile =
            LinkProfile { bandwidth_bytes_per_s: Some(1_000_000), ..LinkProfile::latency(2) };
        let mut links = links(profile);
        let mut arrival = |len, now| links.arrival_ms(MachineId(0), MachineId(1), len, now);
        assert_eq!(arrival(10_000, 0), Some(12));
        assert_eq!(arrival(500, 0), Some(13));
        assert_eq!(arrival(500, 0), Some(13));
        assert_eq!(arrival(1_000, 100), Some(103));
    }

    #[test]
    fn loss_costs_whole_retransmission_timeouts() {
        let mut links = links(LinkProfile { loss_per_million: 500_000, ..LinkProfile::latency(1) });
        let arrivals: Vec<_> =
            (0..200).map(|_| links.arrival_ms(MachineId(0), MachineId(1), 1, 0)).collect();
        assert!(
            arrivals
                .iter()
                .flatten()
                .all(|at| [1, 201, 601, 1_401, 3_001, 6_201, 12_601].contains(at))
        );
        let late = arrivals.iter().flatten().filter(|at| **at > 1).count();
        assert!((60..140).contains(&late), "{late}");
        let mut dead =
            self::links(LinkProfile { loss_per_million: 1_000_000, ..LinkProfile::latency(1) });
        assert_eq!(dead.arrival_ms(MachineId(0), MachineId(1), 1, 0), None);
    }
}
