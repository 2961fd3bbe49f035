//! Brokers that were started last and ended by themselves: nobody compares what does not run.

use staticfire_judge::check::{Checker, Violation};
use staticfire_world::trace::{Name, ProcessStep, TraceEvent, TraceRecord};

use crate::run::cluster::Cluster;
use crate::run::cluster::broker_process::BrokerProcess;

/// A violation for each broker in service whose last start it refused, or which ended with an error since. A
/// disk that damaged its log is a reason to.
pub(in crate::run) fn fallen(cluster: &Cluster) -> Vec<Violation> {
    let is_down = |broker: &&BrokerProcess| {
        let (process, machine) = (broker.handle(), broker.machine());
        machine.is_on() && !process.is_running() && !cluster.is_fenced(broker.name())
    };
    let down = cluster.brokers().values().filter(is_down);
    let sound = down.filter(|broker| !cluster.ledger().has_damage(broker.name()));
    sound.filter_map(|broker| fell(cluster, broker)).collect()
}

fn fell(cluster: &Cluster, broker: &BrokerProcess) -> Option<Violation> {
    let (ordinal, error) = cluster.trace().read(|records| last_failure(records, broker.name()))?;
    let text = format!("{} ended by itself: {error}", broker.name());
    Some(Violation::new(Checker::Liveness, text).at(ordinal))
}

/// The error with which a process ended, if that was the last that was heard of it.
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
