//! Where the stores of brokers lie whose paths do not begin at the root.

use std::path::Path;

use mq_protocol::properties_file::as_written;

use crate::conf::BrokerConf;
use crate::conf::finding::{Finding, FindingKind};

/// The directory in which the processes of simulated machines are started.
const START_DIR: &str = "/start";

/// A path as text, from the root: what does not begin there begins where the process is started.
pub(super) fn absolute(path: &Path) -> String {
    Path::new(START_DIR).join(path).display().to_string()
}

/// The key that says where a broker's log lies.
pub(super) fn log_key(broker: &BrokerConf) -> &'static str {
    if broker.store.dledger.is_some() { "storePathDLedgerCommitLog" } else { "storePathCommitLog" }
}

/// Says of every relative store path where it points.
pub(super) fn check(brokers: &[BrokerConf], findings: &mut Vec<Finding>) {
    for broker in brokers {
        for key in ["storePathRootDir", log_key(broker)] {
            findings.extend(relative(broker, key).filter(|_| broker.is_sound(&[key])));
        }
    }
}

fn relative(broker: &BrokerConf, key: &str) -> Option<Finding> {
    let written = as_written(broker.file.get(key)?.value.trim_end());
    if written.is_empty() || written.starts_with('/') {
        return None;
    }
    let shell = if written.starts_with('~') { "; ~ is not expanded" } else { "" };
    let windows = if is_of_windows(&written) { "; only Windows knows drives" } else { "" };
    let text = format!(
        "{key} = {written} does not begin with /: it lies in the directory in which the broker is started, \
         here as {}{shell}{windows}",
        as_written(&absolute(Path::new(&written)))
    );
    Some(Finding::warning(FindingKind::RelativePath, text, vec![broker.place(key, "")]))
}

/// Whether a path begins with a drive: `D:\` or `D:/`.
fn is_of_windows(path: &str) -> bool {
    let mut chars = path.chars();
    chars.next().is_some_and(|drive| drive.is_ascii_alphabetic()) && chars.next() == Some(':')
}
