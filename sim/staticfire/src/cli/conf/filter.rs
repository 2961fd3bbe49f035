//! [`FaultFilter`]: `--fault` of `conf`.

use std::fmt;
use std::str::FromStr;

use staticfire::stories::matrix_rows::{self, FaultStep, MatrixRow, Recovery};

use crate::cli::output;

/// One `--fault`: a fault of the expected matrix, with `/restart`, `/promote`, `/elect` or `/none`
/// one recovery of it.
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
                [Recovery::Restart, Recovery::Promote, Recovery::Elect, Recovery::None]
                    .into_iter()
                    .find(|known| known.to_string() == recovery)
                    .ok_or_else(|| {
                        let names = ["restart", "promote", "elect", "none"];
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

impl fmt::Display for FaultFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FaultFilter {
    /// Whether it asks for `row`.
    pub(super) fn takes(&self, row: &MatrixRow) -> bool {
        self.fault == row.fault && self.recovery.is_none_or(|recovery| recovery == row.recovery)
    }
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
