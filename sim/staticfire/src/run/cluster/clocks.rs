//! Wall clocks that are set or run at the wrong pace. Time that a run waits by is the world's; what waits by a
//! broker's clock may take longer.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::{Cluster, OpenFaultKind};
use crate::plan::ClockStep;

/// A clock that loses more of a second than this gets nowhere within a run.
const TOO_SLOW_PPM: i64 = -900_000;

/// What was done to clocks, by machine.
#[derive(Default)]
pub(super) struct Clocks {
    drifts_ppm: RefCell<BTreeMap<IpAddr, i64>>,
    set_back: RefCell<BTreeSet<IpAddr>>,
}

impl Cluster {
    pub(super) fn jump_clock(&self, node: &str, by: ClockStep) {
        if by.by_ms < 0 {
            self.clocks.set_back.borrow_mut().insert(self.address_of(node));
        }
        let machine = self.machine_of(node);
        machine.jump_clock(by.by_ms);
        for broker in self.beside(&*machine) {
            self.ledger.clock_was_set(&broker, self.trace().now_us());
        }
    }

    pub(super) fn drift_clock(&self, node: &str, ppm: i64) {
        let machine = self.machine_of(node);
        self.take_open(|open| {
            matches!(open.kind, OpenFaultKind::Clock)
                && self.address_of(&open.nodes[0]) == machine.ip()
        });
        let fault = machine.drift_clock(ppm);
        self.clocks.drifts_ppm.borrow_mut().insert(machine.ip(), ppm);
        self.open(OpenFaultKind::Clock, &[node.to_owned()], fault);
    }

    /// The clock goes at its pace again, from where it stands.
    pub(super) fn steady_clock(&self, node: &str) {
        self.clocks.drifts_ppm.borrow_mut().remove(&self.address_of(node));
        self.machine_of(node).steady_clock();
    }

    /// Why what is due by the clock of a process does not come.
    #[must_use]
    pub fn stopped_clock(&self, name: &str) -> Option<String> {
        let ppm = self.clocks.drifts_ppm.borrow().get(&self.address_of(name)).copied()?;
        (ppm <= TOO_SLOW_PPM).then(|| format!("the clock of {name} loses {} ppm", ppm.abs()))
    }

    /// What a wait by the clock of a process takes at most, if it gets anywhere. What waits is told from what is
    /// due later than it could be, so that a clock that is set back makes no wait longer than twice.
    #[must_use]
    pub fn by_its_clock(&self, name: &str, wait: Duration) -> Duration {
        let address = self.address_of(name);
        let ppm = self.clocks.drifts_ppm.borrow().get(&address).copied().unwrap_or(0);
        let pace = u32::try_from(1_000_000 + ppm.clamp(TOO_SLOW_PPM, 0)).unwrap_or(1_000_000);
        let times = if self.clocks.set_back.borrow().contains(&address) { 2 } else { 1 };
        wait.saturating_mul(times).saturating_mul(1_000) / (pace / 1_000).max(1)
    }
}
