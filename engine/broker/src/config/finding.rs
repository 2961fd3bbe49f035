//! [`ConfigFinding`]: one thing to say about one line of a `.properties` file.

use std::fmt;

use mq_protocol::properties_file::{PropertyEntry, as_written};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file is not fit to run.
    Error,
    /// It runs, perhaps not as its writer believes.
    Warning,
    /// Worth knowing.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        })
    }
}

/// What a finding is about: findings of one kind are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigFindingKind {
    /// No bean of 4.9 has this key.
    UnknownKey,
    /// The key had this name in older versions; 4.9 does not read it.
    RenamedKey,
    /// 4.9 does not obey the key although operators write it.
    UnreadKey,
    /// The value is not of the key's type.
    InvalidValue,
    /// The value is of the key's type and still impossible.
    OutOfRange,
    /// 4.9 and this engine use the nearest value in range.
    Clamped,
    /// A blank ends the value.
    TrailingBlank,
    /// What was to be a comment belongs to the value.
    InlineComment,
    /// A placeholder that nobody filled in.
    Placeholder,
    /// The value is empty.
    EmptyValue,
    /// A later line sets the same key.
    OverriddenLine,
    /// 4.9 obeys the key, this engine does not yet.
    NotUsedYet,
    /// A protection is asked for that is not there: a broker does not start.
    NotProtected,
    /// 4.9 can do it, this engine refuses to pretend.
    NotSupported,
    /// `brokerRole` and `brokerId` contradict each other.
    RoleAndId,
    /// The transient store pool is configured.
    TransientPool,
    /// Clients may not send, or may not read.
    KeptOut,
    /// The keys of DLedger mode do not name a member of a group.
    DLedger,
}

/// One thing to say about one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFinding {
    /// How much it matters.
    pub severity: Severity,
    /// What it is about.
    pub kind: ConfigFindingKind,
    /// The key.
    pub key: String,
    /// The value as written.
    pub value: String,
    /// The line, from 1;
    /// [`NOT_FROM_FILE`](mq_protocol::properties_file::NOT_FROM_FILE) for a value from outside.
    pub line: usize,
    /// What is the matter, in one sentence without a full stop.
    pub text: String,
    /// What could stand there instead.
    pub allowed: Option<String>,
    /// The key or value that was probably meant.
    pub suggestion: Option<String>,
    /// What Apache RocketMQ 4.9 would do: completes "4.9 would …".
    pub upstream: Option<String>,
}

impl ConfigFinding {
    pub(crate) fn new(
        severity: Severity,
        kind: ConfigFindingKind,
        entry: &PropertyEntry,
        text: impl Into<String>,
    ) -> Self {
        ConfigFinding {
            severity,
            kind,
            key: as_written(&entry.key),
            value: as_written(&entry.value),
            line: entry.line,
            text: text.into(),
            allowed: None,
            suggestion: None,
            upstream: None,
        }
    }

    pub(crate) fn allowed(mut self, allowed: impl Into<String>) -> Self {
        self.allowed = Some(allowed.into());
        self
    }

    pub(crate) fn suggestion(mut self, suggestion: Option<&str>) -> Self {
        self.suggestion = suggestion.map(str::to_owned);
        self
    }

    pub(crate) fn upstream(mut self, upstream: impl Into<String>) -> Self {
        self.upstream = Some(upstream.into());
        self
    }
}
