//! Which setting would change a row: from the terms of its bound to keys and brokers.

use staticfire::conf::row::ConfRow;
use staticfire::stories::matrix_rows::{FaultStep, Flush, Ours, Recovery, Replication};
use staticfire_judge::check::bound::Term;

/// A change that takes a row's loss away, or as much of it as one setting can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    /// `BROKER.KEY=VALUE`, as `--set` takes it.
    Set {
        /// Process of the broker.
        broker: String,
        /// `key=value`.
        setting: &'static str,
    },
    /// Something that no key does.
    Act(String),
}

impl Advice {
    /// As the table says it.
    pub(super) fn words(&self) -> String {
        match self {
            Advice::Set { broker, setting } => format!("{setting} on {broker}"),
            Advice::Act(text) => text.clone(),
        }
    }

    /// As `--set` takes it.
    pub(super) fn set(&self) -> Option<String> {
        match self {
            Advice::Set { broker, setting } => Some(format!("{broker}.{setting}")),
            Advice::Act(_) => None,
        }
    }
}

/// What would change `row`; empty where nothing may be lost.
pub(super) fn advice(row: &ConfRow) -> Vec<Advice> {
    let set = |broker: &str, setting| Advice::Set { broker: broker.to_owned(), setting };
    match (row.row.ours, &row.slave) {
        (Ours::Never, _) => Vec::new(),
        // The name of the group means all of its members.
        _ if row.row.is_dledger() && row.row.flush == Flush::Sync => Vec::new(),
        _ if row.row.is_dledger() => vec![set(&row.group, "flushDiskType=SYNC_FLUSH")],
        (Ours::All, Some(slave)) if row.on_one_machine => {
            vec![Advice::Act(format!("put {slave} on a machine of its own"))]
        }
        (Ours::All, Some(slave)) if row.row.recovery != Recovery::Promote => {
            vec![Advice::Act(format!("promote {slave}, which has a copy"))]
        }
        (Ours::All, _) if !row.cut_off.is_empty() => {
            vec![Advice::Act(format!("let {} find its master", row.cut_off.join(" and ")))]
        }
        (Ours::All, _) => vec![Advice::Act(format!("give {} a slave", row.group))],
        (Ours::Owed, _) => owed(row),
        (Ours::May, slave) => {
            let mut advice = Vec::new();
            if row.row.bound.has(Term::Lag) {
                advice.push(set(&row.master, "brokerRole=SYNC_MASTER"));
            }
            if row.row.bound.has(Term::MasterUnflushed)
                || row.row.bound.has(Term::FirstMasterUnflushed)
            {
                advice.push(set(&row.master, "flushDiskType=SYNC_FLUSH"));
            }
            if row.row.bound.has(Term::MasterUncommitted) {
                advice.push(set(&row.master, "transientStorePoolEnable=false"));
            }
            if let Some(slave) =
                slave.as_deref().filter(|_| row.row.bound.has(Term::SlaveUnflushed))
            {
                advice.push(set(slave, "flushDiskType=SYNC_FLUSH"));
            }
            advice
        }
    }
}

/// What would change a promotion among several slaves.
fn owed(row: &ConfRow) -> Vec<Advice> {
    let set = |broker: &str, setting| Advice::Set { broker: broker.to_owned(), setting };
    let mut advice = Vec::new();
    if row.row.replication == Replication::Async {
        advice.push(set(&row.master, "brokerRole=SYNC_MASTER"));
    }
    // What the master alone held went before the promotion.
    if row.row.flush == Flush::Async && row.row.fault.contains(&FaultStep::Restart) {
        advice.push(set(&row.master, "flushDiskType=SYNC_FLUSH"));
    }
    let is_power = |step: &FaultStep| matches!(step, FaultStep::PowerAll | FaultStep::PowerSlave);
    let loses_pages =
        row.row.slave_flush == Some(Flush::Async) && row.row.fault.iter().any(is_power);
    if row.promotes_most_advanced() {
        let act = "flushDiskType=SYNC_FLUSH on every slave".to_owned();
        advice.extend(loses_pages.then_some(Advice::Act(act)));
        return advice;
    }
    let promoted = row.promoted.iter().filter(|_| loses_pages);
    advice.extend(promoted.map(|promoted| set(promoted, "flushDiskType=SYNC_FLUSH")));
    advice.push(Advice::Act("promote the slave that received most".to_owned()));
    advice
}
