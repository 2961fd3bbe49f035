//! [`Overlay`]: `--set key=value`, applied as if the files said so.

use std::fmt;
use std::str::FromStr;

use mq_broker::config::nearest;

use crate::conf::finding::{Finding, FindingKind, Place};
use crate::conf::source::ParsedFile;

/// One `--set`: `key=value` for every broker, `TARGET.key=value` for one file (its stem) or for all
/// brokers of one name. Where a file and a broker name are the same, the file is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// File stem or broker name.
    pub target: Option<String>,
    /// The key.
    pub key: String,
    /// Its value.
    pub value: String,
}

impl fmt::Display for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(target) = &self.target {
            write!(f, "{target}.")?;
        }
        write!(f, "{}={}", self.key, self.value)
    }
}

impl FromStr for Overlay {
    type Err = String;

    /// Keys have no dot: what stands before the last dot is the target.
    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = "key=value or broker.key=value, such as flushDiskType=SYNC_FLUSH";
        let (left, value) = text.split_once('=').ok_or_else(|| format!("expected {allowed}"))?;
        let (target, key) = match left.rsplit_once('.') {
            Some((target, key)) => (Some(target.trim().to_owned()), key.trim()),
            None => (None, left.trim()),
        };
        if key.is_empty() || target.as_deref() == Some("") {
            return Err(format!("expected {allowed}"));
        }
        Ok(Overlay { target, key: key.to_owned(), value: value.trim().to_owned() })
    }
}

/// Sets every overlay in the files it is meant for; a later one wins over an earlier one.
pub(super) fn apply(overlays: &[Overlay], files: &mut [ParsedFile], findings: &mut Vec<Finding>) {
    let names: Vec<String> = files.iter().map(broker_name).collect();
    for overlay in overlays {
        let meant = |target: &String| {
            let by_stem: Vec<usize> =
                (0..files.len()).filter(|i| files[*i].stem == *target).collect();
            if by_stem.is_empty() {
                (0..files.len()).filter(|i| names[*i] == *target).collect()
            } else {
                by_stem
            }
        };
        let meant: Vec<usize> =
            overlay.target.as_ref().map_or_else(|| (0..files.len()).collect(), meant);
        if meant.is_empty() {
            findings.push(no_target(overlay, files, &names));
        }
        for index in meant {
            files[index].properties.set(&overlay.key, &overlay.value);
        }
    }
}

fn broker_name(file: &ParsedFile) -> String {
    file.properties.get("brokerName").map_or(&*file.stem, |entry| entry.value.trim_end()).to_owned()
}

fn no_target(overlay: &Overlay, files: &[ParsedFile], names: &[String]) -> Finding {
    let target = overlay.target.as_deref().unwrap_or_default();
    let stems = files.iter().map(|file| file.stem.as_str());
    let mut candidates: Vec<&str> = stems.chain(names.iter().map(String::as_str)).collect();
    candidates.sort_unstable();
    candidates.dedup();
    let text = format!("no file and no broker is called {target:?}");
    let place = Place::of_file("--set", overlay.to_string());
    Finding::error(FindingKind::Overlay, text, vec![place])
        .suggestion(nearest(target, candidates.iter().copied()))
        .allowed(candidates.join(", "))
}
