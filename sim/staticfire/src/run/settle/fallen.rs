//! Brokers that were started last and ended by themselves: nobody compares what does not run.

use staticfire_judge::check::{Checker, Violation};

use crate::run::cluster::Cluster;
use crate::run::cluster::broker_process::BrokerProcess;
use crate::run::report::{Finding, Verdict};

/// A violation for each broker in service whose last start it refused, or which ended with an error since. A
/// disk that damaged its log is a reason to; where its disk has another fault that the story never took away,
/// that is not known, and a finding says so.
pub(in crate::run) fn fallen(cluster: &Cluster) -> (Vec<Violation>, Vec<Finding>) {
    let is_down = |broker: &&BrokerProcess| {
        let (process, machine) = (broker.handle(), broker.machine());
        machine.is_on() && !process.is_running() && !cluster.is_fenced(broker.name())
    };
    let down = cluster.brokers().values().filter(is_down);
    let sound = down.filter(|broker| !cluster.ledger().has_damage(broker.name()));
    let (mut violations, mut findings) = (Vec::new(), Vec::new());
    for broker in sound {
        let name = broker.name();
        let Some((ordinal, error)) = cluster.fell(name) else { continue };
        if cluster.has_disk_fault(name) {
            let text = format!("{name} ended by itself while its disk has a fault: {error}");
            findings.push(Finding::new(Verdict::Undecided, text));
        } else {
            let text = format!("{name} ended by itself: {error}");
            violations.push(Violation::new(Checker::Liveness, text).at(ordinal));
        }
    }
    (violations, findings)
}
