//! What the rows of the expected matrix promise on a group of a directory. A row knows one master and one
//! slave, each on a machine of its own; a group may have a transient store pool, copies that share a machine,
//! and several slaves.

use staticfire_judge::check::bound::Term;

use crate::conf::group::{BrokerGroup, Electors};
use crate::stories::matrix_rows::{self, FaultStep, Flush, MatrixRow, Ours, Recovery, Replication};

/// The rows that fit the group, with what they promise there.
pub(super) fn rows(group: &BrokerGroup) -> Vec<MatrixRow> {
    let mut rows = matrix_rows::rows_for(group.flush, group.replication, group.slave_flush);
    if let Some(electors) = group.electors {
        return of_electors(&rows, electors, group.flush);
    }
    if group.acks_from_pool {
        rows = rows.into_iter().map(with_pool).collect();
    }
    if group.beside_master > 0 && group.beside_master == group.slaves.len() {
        rows = on_one_machine(&rows);
    }
    if group.slaves.len() > 1 {
        rows = rows.into_iter().map(|row| with_several_slaves(row, group)).collect();
    }
    rows
}

/// The rows of a DLedger group, which know three members on a machine each. One machine for so many that the others are
/// no quorum loses as much as all machines do; with its disk the votes of a majority are gone, and nobody is elected before
/// an operator decides.
fn of_electors(rows: &[MatrixRow], electors: Electors, flush: Flush) -> Vec<MatrixRow> {
    let electorate = electors.electorate("");
    let is_offered = |row: &&MatrixRow| {
        let has = |steps: &[FaultStep]| row.fault.iter().any(|step| steps.contains(step));
        let of_several = [
            FaultStep::PartitionMasterSlave,
            FaultStep::IsolateMaster,
            FaultStep::MuteMaster,
            FaultStep::DeafenMaster,
            FaultStep::KillMajority,
            FaultStep::PowerMajority,
        ];
        let takes_votes = has(&[FaultStep::DiskMaster, FaultStep::DiskSlave]);
        // Links end at machines, and who shares one loses power with it.
        let takes_machines = has(&of_several[..4]) || has(&[FaultStep::PowerMajority]);
        let is_refused = match electors.members {
            1 => has(&of_several) || strikes_slave(row),
            // Cut off and fallen are as many as are all but one.
            2 if row.fault.len() > 1 => true,
            _ => takes_votes && electorate.is_one_machines(),
        };
        let is_split = electors.on_one_machine > 1 && takes_machines;
        !is_refused && !is_split
    };
    let takes_power =
        |row: &MatrixRow| matches!(*row.fault, [FaultStep::PowerMaster | FaultStep::PowerSlave]);
    let is_weak = flush == Flush::Async && electors.on_one_machine >= electorate.quorum();
    let mut offered: Vec<MatrixRow> = rows.iter().filter(is_offered).cloned().collect();
    for row in &mut offered {
        if electors.members == 1 && row.fault == [FaultStep::DiskMaster] {
            row.ours = Ours::Owed;
            "there is one copy".clone_into(&mut row.why);
        } else if is_weak && takes_power(row) {
            row.ours = Ours::Owed;
            "a quorum stands on one machine, and the ack precedes the sync"
                .clone_into(&mut row.why);
        }
    }
    offered
}

/// The row of a group that acknowledges what only the master's process has: whatever takes the process also
/// takes what only that process had.
fn with_pool(mut row: MatrixRow) -> MatrixRow {
    let takes_process = |step: &FaultStep| {
        matches!(
            step,
            FaultStep::KillMaster
                | FaultStep::PowerMaster
                | FaultStep::PowerAll
                | FaultStep::Promote
                | FaultStep::OldMasterReturnsAsSlave
        )
    };
    // Whoever promotes a slave kills its master first.
    let is_hit = row.recovery == Recovery::Promote || row.fault.iter().any(takes_process);
    if is_hit && row.ours != Ours::All {
        row.ours = Ours::May;
        row.bound = row.bound.and(Term::MasterUncommitted);
        row.why = format!("{}; and what waits in the transient store pool goes", row.why);
        "same".clone_into(&mut row.upstream);
    }
    row
}

/// The rows of a group whose copies all stand on one machine: a power loss of one is a power loss of all, a
/// destroyed disk leaves nothing, and no link between them can fail.
fn on_one_machine(rows: &[MatrixRow]) -> Vec<MatrixRow> {
    let is_link =
        |step: &FaultStep| matches!(step, FaultStep::LagSlave | FaultStep::PartitionMasterSlave);
    let is_offered = |row: &&MatrixRow| !row.fault.iter().any(is_link);
    rows.iter().filter(is_offered).map(|row| sharing(row, rows)).collect()
}

fn sharing(row: &MatrixRow, rows: &[MatrixRow]) -> MatrixRow {
    let has = |steps: &[FaultStep]| row.fault.iter().any(|step| steps.contains(step));
    let mut shared = row.clone();
    if has(&[FaultStep::DiskMaster, FaultStep::DiskSlave]) {
        shared.ours = Ours::All;
        shared.bound = staticfire_judge::check::bound::Bound::default();
        "same".clone_into(&mut shared.upstream);
        "all copies are on the disk of one machine".clone_into(&mut shared.why);
    } else if matches!(*row.fault, [FaultStep::PowerMaster | FaultStep::PowerSlave]) {
        let of_all = |other: &&MatrixRow| {
            other.fault == [FaultStep::PowerAll] && other.recovery == row.recovery
        };
        if let Some(all) = rows.iter().find(of_all) {
            (shared.ours, shared.bound) = (all.ours, all.bound.clone());
            shared.upstream.clone_from(&all.upstream);
            shared.why = format!("all copies stand on one machine: {}", all.why);
        }
    }
    shared
}

/// Whether a step strikes a slave itself.
pub(super) fn strikes_slave(row: &MatrixRow) -> bool {
    row.fault.iter().any(|step| {
        matches!(step, FaultStep::KillSlave | FaultStep::PowerSlave | FaultStep::DiskSlave)
    })
}

/// Whether a step takes what a whole machine has.
fn strikes_machine(row: &MatrixRow) -> bool {
    row.fault.iter().any(|step| {
        matches!(step, FaultStep::PowerMaster | FaultStep::PowerAll | FaultStep::DiskMaster)
    })
}

/// The row of a group with several slaves. Which of them earned an acknowledgement is known only when it is
/// given: the most advanced one has every message, as long as nothing takes any from a slave. Otherwise a
/// promotion promises what the promoted one's log owes. While one slave is away, others confirm.
fn with_several_slaves(mut row: MatrixRow, group: &BrokerGroup) -> MatrixRow {
    let is_sync = group.replication == Replication::Sync;
    let may_take_slaves = strikes_slave(&row) || group.beside_master > 0 && strikes_machine(&row);
    if row.recovery == Recovery::Promote && row.ours == Ours::Never && !may_take_slaves {
        "SEND_OK waited for one of the slaves, and the most advanced one has what any has"
            .clone_into(&mut row.why);
    } else if row.recovery == Recovery::Promote && row.ours != Ours::All {
        row.ours = Ours::Owed;
        row.bound = staticfire_judge::check::bound::Bound::default();
        if row.upstream == "never" {
            "same".clone_into(&mut row.upstream);
        }
        let why = match (is_sync, group.beside_master) {
            (true, 0) => "SEND_OK waited for one of the slaves, whichever was first",
            (true, _) => {
                "SEND_OK waited for one of the slaves, perhaps for the one on the master's machine"
            }
            (false, _) => "SEND_OK did not wait for any slave",
        };
        why.clone_into(&mut row.why);
    } else if is_sync && group.beside_master > 0 && *row.fault == [FaultStep::PartitionMasterSlave]
    {
        "the slave on the master's machine confirms meanwhile".clone_into(&mut row.why);
    } else if is_sync
        && let [FaultStep::KillSlave | FaultStep::PowerSlave | FaultStep::FlushErrorSlave] =
            *row.fault
    {
        "the other slaves confirm meanwhile".clone_into(&mut row.why);
    }
    row
}
