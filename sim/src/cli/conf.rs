//! `conf`: what a cluster loses, and when. `--lint` stops after the files.

use std::io;
use std::str::FromStr;

use staticfire::conf::render::{all_findings, first_findings, modes, topology, totals};
use staticfire::conf::{self, BrokerGroup, ClusterConf};
use staticfire::matrix_rows::{self, FaultStep, MatrixRow, Recovery};

use crate::cli::{ConfArgs, Exit, output};

/// One `--fault`: a fault of the expected matrix, with `/restart`, `/promote` or `/none` one
/// recovery of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FaultFilter {
    fault: Vec<FaultStep>,
    recovery: Option<Recovery>,
    text: String,
}

impl FromStr for FaultFilter {
    type Err = String;

    /// `-` reads as `_`, so that the names of reports can be pasted.
    fn from_str(text: &str) -> Result<Self, String> {
        let (fault, recovery) = text.split_once('/').map_or((text, None), |(f, r)| (f, Some(r)));
        let fault = fault.replace('-', "_");
        let rows = matrix_rows::all();
        let mut names: Vec<&str> = rows.iter().map(MatrixRow::fault_name).collect();
        names.sort_unstable();
        names.dedup();
        if !names.contains(&fault.as_str()) {
            let complaint = format!("{fault:?} is no fault of the matrix");
            return Err(output::with_advice(complaint, &fault, &names));
        }
        let recovery = recovery
            .map(|recovery| {
                [Recovery::Restart, Recovery::Promote, Recovery::None]
                    .into_iter()
                    .find(|known| known.to_string() == recovery)
                    .ok_or_else(|| {
                        let names = ["restart", "promote", "none"];
                        output::with_advice(
                            format!("{recovery:?} is no recovery"),
                            recovery,
                            &names,
                        )
                    })
            })
            .transpose()?;
        let fault = matrix_rows::parse_fault(&fault)?;
        Ok(FaultFilter { fault, recovery, text: text.to_owned() })
    }
}

impl FaultFilter {
    fn takes(&self, row: &MatrixRow) -> bool {
        self.fault == row.fault && self.recovery.is_none_or(|recovery| recovery == row.recovery)
    }
}

/// Serves `conf`.
pub(crate) fn conf(args: &ConfArgs) -> Exit {
    let loaded = conf::load_dir(&args.dir, &args.sets);
    if args.lint {
        return lint(&loaded);
    }
    let cluster = match loaded {
        Ok(cluster) => cluster,
        Err(findings) => {
            output::complaint(&first_findings(&findings, output::colour(&io::stderr())));
            return Exit::BadInput;
        }
    };
    let rows = match rows(&cluster, &args.faults) {
        Ok(rows) => rows,
        Err(why) => return output::bad_input(&why),
    };
    output::result(&topology(&cluster));
    output::result(&first_findings(&cluster.findings, output::colour(&io::stdout())));
    output::not_built(&format!("{} rows of {} seeds", rows.len(), args.seeds.count()))
}

/// Everything that is to be said about the files; errors, too, are the result here.
fn lint(loaded: &Result<ClusterConf, Vec<conf::Finding>>) -> Exit {
    let findings = match loaded {
        Ok(cluster) => {
            output::result(&format!("{}\n{}\n", topology(cluster), modes(cluster)));
            &cluster.findings
        }
        Err(findings) => findings,
    };
    output::result(&all_findings(findings, output::colour(&io::stdout())));
    output::result(&format!("{}\n", totals(findings)));
    if loaded.is_ok() { Exit::Kept } else { Exit::BadInput }
}

/// The rows of the matrix that fit the cluster and the filters, group by group.
fn rows<'a>(
    cluster: &'a ClusterConf,
    filters: &[FaultFilter],
) -> Result<Vec<(&'a BrokerGroup, MatrixRow)>, String> {
    let fitting: Vec<(&BrokerGroup, MatrixRow)> = cluster
        .groups
        .iter()
        .flat_map(|group| group.rows().into_iter().map(move |row| (group, row)))
        .collect();
    for filter in filters {
        if !fitting.iter().any(|(_, row)| filter.takes(row)) {
            return Err(format!("--fault {} fits no group of this cluster", filter.text));
        }
    }
    let is_wanted =
        |row: &MatrixRow| filters.is_empty() || filters.iter().any(|filter| filter.takes(row));
    Ok(fitting.into_iter().filter(|(_, row)| is_wanted(row)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(filter: &str) -> Vec<String> {
        let filter: FaultFilter = filter.parse().expect("a fault");
        let rows = matrix_rows::all().into_iter();
        rows.filter(|row| row.id.starts_with("SYNC_FLUSH/none") && filter.takes(row))
            .map(|row| row.id)
            .collect()
    }

    #[test]
    fn a_fault_may_name_its_recovery() {
        assert_eq!(takes("pause_master"), ["SYNC_FLUSH/none/-/pause_master/none"]);
        assert_eq!(takes("power-all/restart"), ["SYNC_FLUSH/none/-/power_all/restart"]);
        assert!(takes("power_all/promote").is_empty());
        assert_eq!(takes("flush_error_master+power_master").len(), 1);
    }

    #[test]
    fn unknown_faults_come_with_advice() {
        let error = "power_al".parse::<FaultFilter>().unwrap_err();
        assert!(
            error.contains("did you mean power_all?") && error.contains("disk_slave"),
            "{error}"
        );
        let error = "power_all/promot".parse::<FaultFilter>().unwrap_err();
        assert!(error.contains("did you mean promote?"), "{error}");
        assert!("promote".parse::<FaultFilter>().is_err(), "a step, but no fault of a row");
    }
}
