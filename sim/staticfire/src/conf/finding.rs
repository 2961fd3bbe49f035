//! [`Finding`]: one thing to say about a directory, with every place it is about.

use mq_broker::config::{ConfigFinding, ConfigFindingKind, Severity};
use mq_protocol::properties_file::{NOT_FROM_FILE, as_written};

use crate::conf::source::stem;

/// What a finding is about: findings of one kind are summarised together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingKind {
    /// The directory or a file in it cannot be read.
    Unreadable,
    /// A file that looks like a broker's and is not read.
    NotRead,
    /// A `--set` that fits nothing.
    Overlay,
    /// A line of `hosts`.
    Hosts,
    /// A line of `placement`, or a contradiction to it.
    Placement,
    /// One key of one file.
    Key(ConfigFindingKind),
    /// `brokerName` is not written.
    NoBrokerName,
    /// A broker has no name server.
    NoNameServer,
    /// A host name that nothing resolves.
    UnresolvableHost,
    /// An address that only the machine itself reaches.
    LoopbackAddress,
    /// A public `brokerIP1` without `brokerIP2`.
    PublicAddress,
    /// `brokerIP2` names another address than the machine's.
    SecondAddress,
    /// A slave is sent where its master is not.
    OutOfReach,
    /// A store path that depends on where the broker is started.
    RelativePath,
    /// Copies of one group on one machine.
    SharedMachine,
    /// The placement is this program's choice.
    OwnMachine,
    /// Two brokers of one name and id.
    SameNameAndId,
    /// A slave without a master.
    SlaveWithoutMaster,
    /// Master and slave register with different name servers.
    NoCommonNameServer,
    /// A name server that a master does not register with.
    UnknownMaster,
    /// Two listeners on one port of a machine.
    PortCollision,
    /// Two stores in one directory, or one inside the other.
    StorePathCollision,
    /// SYNC_MASTER without a slave.
    SyncMasterWithoutSlave,
    /// Master and slave flush differently.
    FlushModesDiffer,
    /// Access control is asked for, and no run has it.
    WithoutAccessControl,
    /// A DLedger group that is none: members and other brokers of one name, or one group of two names.
    DLedgerGroup,
    /// `dLegerPeers` that differ, or name a member that has no file.
    DLedgerPeers,
    /// Two members of one `dLegerSelfId`.
    DLedgerSelfId,
    /// A member is looked for where it is not.
    DLedgerAddress,
    /// So many members that one fewer would do, or too few to lose any.
    DLedgerSize,
}

/// A line, a file or an argument that a finding is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// File name inside the directory, with `(--set)` behind it for a value set on the command line.
    pub file: String,
    /// The line, from 1, where there is one.
    pub line: Option<usize>,
    /// What stands there, mostly `key=value`.
    pub text: String,
}

impl Place {
    /// An entry of a file.
    pub(super) fn of_entry(file: &str, line: usize, key: &str, value: &str) -> Place {
        let text = format!("{key}={}", as_written(value));
        if line == NOT_FROM_FILE {
            Place { file: format!("{file} (--set)"), line: None, text }
        } else {
            Place { file: file.to_owned(), line: Some(line), text }
        }
    }

    /// A file as a whole.
    pub(super) fn of_file(file: &str, text: impl Into<String>) -> Place {
        Place { file: file.to_owned(), line: None, text: text.into() }
    }

    /// A line that is no entry.
    pub(super) fn of_line(file: &str, line: usize, text: &str) -> Place {
        Place { file: file.to_owned(), line: Some(line), text: text.to_owned() }
    }

    /// Adds what follows from the entry.
    pub(super) fn so(mut self, consequence: &str) -> Place {
        self.text = format!("{}, so {consequence}", self.text);
        self
    }

    fn is_set(&self) -> bool {
        self.file.ends_with(" (--set)")
    }
}

/// One thing to say about a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What it is about.
    pub kind: FindingKind,
    /// What is the matter, in one sentence without a full stop.
    pub text: String,
    /// Where: at least one place.
    pub places: Vec<Place>,
    /// What could stand there instead.
    pub allowed: Option<String>,
    /// What was probably meant.
    pub suggestion: Option<String>,
    /// What Apache RocketMQ 4.9 would do: completes "4.9 would …".
    pub upstream: Option<String>,
}

impl Finding {
    pub(super) fn new(
        severity: Severity,
        kind: FindingKind,
        text: impl Into<String>,
        places: Vec<Place>,
    ) -> Finding {
        assert!(!places.is_empty(), "a finding says where");
        let text = text.into();
        Finding { severity, kind, text, places, allowed: None, suggestion: None, upstream: None }
    }

    pub(super) fn error(kind: FindingKind, text: impl Into<String>, places: Vec<Place>) -> Finding {
        Finding::new(Severity::Error, kind, text, places)
    }

    pub(super) fn warning(
        kind: FindingKind,
        text: impl Into<String>,
        places: Vec<Place>,
    ) -> Finding {
        Finding::new(Severity::Warning, kind, text, places)
    }

    pub(super) fn note(kind: FindingKind, text: impl Into<String>, places: Vec<Place>) -> Finding {
        Finding::new(Severity::Note, kind, text, places)
    }

    /// A finding about one key of one file.
    pub(super) fn of_key(file: &str, found: ConfigFinding) -> Finding {
        Finding {
            severity: found.severity,
            kind: FindingKind::Key(found.kind),
            text: found.text,
            places: vec![Place::of_entry(file, found.line, &found.key, &found.value)],
            allowed: found.allowed,
            suggestion: found.suggestion,
            upstream: found.upstream,
        }
    }

    pub(super) fn allowed(mut self, allowed: impl Into<String>) -> Finding {
        self.allowed = Some(allowed.into());
        self
    }

    pub(super) fn suggestion(mut self, suggestion: Option<&str>) -> Finding {
        self.suggestion = suggestion.map(str::to_owned);
        self
    }

    pub(super) fn upstream(mut self, upstream: impl Into<String>) -> Finding {
        self.upstream = Some(upstream.into());
        self
    }

    /// Sort key: severity, then file (by stem) and line.
    pub(super) fn order(&self) -> (Severity, String, Option<usize>) {
        let first = &self.places[0];
        (self.severity, stem(&first.file).to_owned(), first.line)
    }
}

/// One `--set` may go to many files: what it gives rise to is said once, with all places.
pub(super) fn merge_set_findings(findings: &mut Vec<Finding>) {
    let mut merged: Vec<Finding> = Vec::new();
    for finding in findings.drain(..) {
        let same = merged.iter_mut().find(|earlier| {
            finding.places.iter().all(Place::is_set)
                && earlier.places.iter().all(Place::is_set)
                && (earlier.kind, &earlier.text) == (finding.kind, &finding.text)
        });
        match same {
            Some(earlier) => earlier.places.extend(finding.places),
            None => merged.push(finding),
        }
    }
    *findings = merged;
}
