//! What the user sees of a cluster and of findings: text, with colour as a second channel only.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use mq_broker::config::Severity;

use crate::conf::finding::{Finding, FindingKind, Place};
use crate::conf::{BrokerConf, BrokerGroup, ClusterConf, Machine};

/// The port of a name server that needs no mention.
const NAMESRV_PORT: u16 = 9876;

/// Whether text may carry colour: a terminal that was not told otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// ANSI sequences are allowed.
    On,
    /// Plain text.
    Off,
}

impl Colour {
    fn paint(self, severity: Severity, text: &str) -> String {
        let code = match severity {
            Severity::Error => "31;1",
            Severity::Warning => "33",
            Severity::Note => "36",
        };
        match self {
            Colour::On => format!("\x1b[{code}m{text}\x1b[0m"),
            Colour::Off => text.to_owned(),
        }
    }
}

/// The cluster in one line, then a line for each machine.
#[must_use]
pub fn topology(cluster: &ClusterConf) -> String {
    let (elect, have_masters): (Vec<&BrokerGroup>, Vec<&BrokerGroup>) =
        cluster.groups.iter().partition(|group| group.electors.is_some());
    let slaves_of = |group: &&BrokerGroup| group.slaves.len() + group.cut_off.len();
    let slaves = have_masters.iter().map(slaves_of).sum();
    let mut parts = vec![count(cluster.namesrvs.len(), "name server")];
    if !have_masters.is_empty() {
        parts.push(count(have_masters.len(), "master"));
        parts.push(if slaves == 0 { "no slave".to_owned() } else { count(slaves, "slave") });
    }
    if !elect.is_empty() {
        let members = elect.iter().map(|group| group.members().count()).sum();
        let members = count(members, "member");
        parts.push(format!("{} of {members}", count(elect.len(), "DLedger group")));
    }
    let machines = count(cluster.machines.len(), "machine");
    let mut text = format!("{}: {} on {machines}\n", cluster.names.join(", "), parts.join(", "));
    let address = |machine: &Machine| machine.address.to_string();
    let width = cluster.machines.iter().map(|m| address(m).len()).max().unwrap_or(0);
    for machine in &cluster.machines {
        let namesrvs = machine.namesrv_ports.iter().map(|port| match *port {
            NAMESRV_PORT => "namesrv".to_owned(),
            port => format!("namesrv:{port}"),
        });
        let brokers = machine.brokers.iter().map(|index| broker(&cluster.brokers[*index]));
        let processes: Vec<String> = namesrvs.chain(brokers).collect();
        line(&mut text, &format!("  {:width$}  {}", address(machine), processes.join("   ")));
    }
    text
}

/// A line for each group with its effective mode.
#[must_use]
pub fn modes(cluster: &ClusterConf) -> String {
    let mut text = String::new();
    for group in &cluster.groups {
        line(&mut text, &format!("{}: {}", group.name, group.mode));
    }
    text
}

/// Every finding.
#[must_use]
pub fn all_findings(findings: &[Finding], colour: Colour) -> String {
    findings.iter().map(|found| finding(found, colour)).collect()
}

/// Every error, and of the others the first of each kind with the number of the rest.
#[must_use]
pub fn first_findings(findings: &[Finding], colour: Colour) -> String {
    let mut counts: BTreeMap<FindingKind, usize> = BTreeMap::new();
    let mut text = String::new();
    for found in findings {
        let seen = counts.entry(found.kind).or_default();
        *seen += 1;
        if found.severity == Severity::Error || *seen == 1 {
            text += &finding(found, colour);
        }
    }
    let is_error = |kind| findings.iter().any(|f| f.kind == kind && f.severity == Severity::Error);
    counts.retain(|kind, seen| *seen > 1 && !is_error(*kind));
    let hidden: usize = counts.values().map(|seen| seen - 1).sum();
    if hidden > 0 {
        let kinds = match counts.len() {
            1 => "this kind".to_owned(),
            kinds => format!("these {} kinds", number_word(kinds)),
        };
        line(&mut text, &format!("   … {hidden} more of {kinds} (--lint shows all)"));
    }
    text
}

/// How many there are of each severity.
#[must_use]
pub fn totals(findings: &[Finding]) -> String {
    let of = |severity| findings.iter().filter(|f| f.severity == severity).count();
    let parts: Vec<String> = [Severity::Error, Severity::Warning, Severity::Note]
        .into_iter()
        .filter(|severity| of(*severity) > 0)
        .map(|severity| count(of(severity), &severity.to_string()))
        .collect();
    if parts.is_empty() { "nothing to remark".to_owned() } else { parts.join(", ") }
}

/// An error is a small paragraph, everything else one line.
fn finding(finding: &Finding, colour: Colour) -> String {
    if finding.severity == Severity::Error {
        error(finding, colour)
    } else {
        remark(finding, colour)
    }
}

fn error(finding: &Finding, colour: Colour) -> String {
    let mut text = format!("{}: {}\n", colour.paint(finding.severity, "error"), finding.text);
    for place in &finding.places {
        line(&mut text, &format!("  {}  {}", address(place), place.text));
    }
    let allowed = finding.allowed.as_ref().map(|allowed| format!("allowed: {allowed}"));
    let meant = finding.suggestion.as_ref().map(|meant| format!("did you mean {meant}?"));
    let advice: Vec<String> = allowed.into_iter().chain(meant).collect();
    if !advice.is_empty() {
        line(&mut text, &format!("  {}", advice.join("     ")));
    }
    if let Some(upstream) = &finding.upstream {
        line(&mut text, &format!("  (Apache RocketMQ 4.9 would {upstream})"));
    }
    text
}

fn remark(finding: &Finding, colour: Colour) -> String {
    let severity = format!("{:7}", finding.severity.to_string());
    let places: Vec<String> = finding.places.iter().map(address).collect();
    let mut text = format!(
        "{}  {}  {}",
        colour.paint(finding.severity, &severity),
        places.join(", "),
        finding.text
    );
    let is_in_text = |meant: &&String| finding.text.contains(meant.as_str());
    if let Some(meant) = finding.suggestion.as_ref().filter(|meant| !is_in_text(meant)) {
        let _ = write!(text, "; did you mean {meant}?");
    }
    if let Some(upstream) = &finding.upstream {
        let _ = write!(text, " (4.9 would {upstream})");
    }
    text.push('\n');
    text
}

fn address(place: &Place) -> String {
    match place.line {
        Some(line) => format!("{}:{line}", place.file),
        None => place.file.clone(),
    }
}

fn broker(broker: &BrokerConf) -> String {
    let (role, flush) = (broker.store.broker_role.name(), broker.store.flush_disk_type.name());
    match &broker.store.dledger {
        Some(dledger) => format!("{} (DLEDGER {}, {flush})", broker.stem, dledger.self_id),
        None => format!("{} ({role}, {flush})", broker.stem),
    }
}

/// Appends a line without blanks at its end.
fn line(text: &mut String, line: &str) {
    text.push_str(line.trim_end());
    text.push('\n');
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn number_word(number: usize) -> String {
    const WORDS: [&str; 9] =
        ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
    let word = number.checked_sub(2).and_then(|index| WORDS.get(index));
    word.map_or_else(|| number.to_string(), |word| (*word).to_owned())
}
