//! One entry of a file: its value into the field that the table names, or a finding.

use std::path::PathBuf;

use mq_protocol::properties_file::{PropertyEntry, as_written};
use mq_store::config::{BrokerRole, FlushDiskType};
use mq_store::delay_level::DelayLevels;

use crate::config::finding::{ConfigFinding, ConfigFindingKind, Severity};
use crate::config::key::{ConfigKey, Field, KeyStatus, ValueType};
use crate::config::{Settings, keys};

/// A value of the type that a key asks for.
#[derive(Debug, PartialEq)]
enum Value {
    Bool(bool),
    Number(i64),
    Text(String),
    Role(BrokerRole),
    Flush(FlushDiskType),
    List(Vec<String>),
    Delays(DelayLevels),
}

/// U+FEFF in UTF-8, as ISO-8859-1: Java takes it for the beginning of the first key.
const BYTE_ORDER_MARK: &str = "\u{ef}\u{bb}\u{bf}";

/// Why a value is not of its type.
#[derive(Debug)]
struct Invalid {
    kind: ConfigFindingKind,
    /// Completes "`key` = "value" …".
    text: String,
    allowed: String,
    suggestion: Option<&'static str>,
}

/// Applies one entry. A value that cannot be used leaves the default and an error.
pub(super) fn apply(
    entry: &PropertyEntry,
    settings: &mut Settings,
    findings: &mut Vec<ConfigFinding>,
) {
    let Some(key) = keys::find(&entry.key) else {
        findings.push(unknown_key(entry));
        return;
    };
    if matches!(key.status, KeyStatus::Ignored(_)) {
        return; // What really happens depends on other keys: `rules` says it.
    }
    let written = entry.value.trim_end();
    if written.is_empty() && matches!(key.value_type, ValueType::Text | ValueType::Directory) {
        findings.push(empty_value(entry));
        return;
    }
    if let Some(placeholder) = placeholder(written) {
        findings.push(unfilled(key, entry, placeholder));
        return;
    }
    match parse_value(key.value_type, written) {
        Err(invalid) => findings.push(invalid_value(key, entry, invalid)),
        Ok(value) => {
            if comment_behind(written).is_some() {
                findings.push(inline_comment(entry));
            }
            if written.len() < entry.value.len() {
                findings.push(trailing_blank(key, entry));
            }
            let value = clamp(key, entry, value, findings);
            match key.status {
                KeyStatus::Obeyed(field) => set(field, value, settings),
                KeyStatus::Accepted if written != key.default => {
                    findings.push(not_used_yet(entry));
                }
                KeyStatus::Protects(what) if !written.eq_ignore_ascii_case(key.default) => {
                    findings.push(not_protected(entry, what));
                }
                KeyStatus::Accepted
                | KeyStatus::Protects(_)
                | KeyStatus::Ignored(_)
                | KeyStatus::Judged => {}
            }
        }
    }
}

/// The candidate that `word` was probably meant to be: equal but for case, few edits away, or begun
/// with it.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let letters = word.chars().count();
    let edits_max = (letters / 4).clamp(1, 4);
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let candidate_lower = candidate.to_lowercase();
            let edits = strsim::damerau_levenshtein(&lower, &candidate_lower);
            let is_begun = letters >= 4 && candidate_lower.starts_with(&lower);
            // What is begun ranks behind what is misspelt.
            match (edits <= edits_max, is_begun) {
                (true, _) => Some((edits, candidate)),
                (false, true) => Some((edits + edits_max, candidate)),
                (false, false) => None,
            }
        })
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, candidate)| candidate)
}

fn parse_value(value_type: ValueType, text: &str) -> Result<Value, Invalid> {
    match value_type {
        ValueType::Bool if text.eq_ignore_ascii_case("true") => Ok(Value::Bool(true)),
        ValueType::Bool if text.eq_ignore_ascii_case("false") => Ok(Value::Bool(false)),
        ValueType::Bool => Err(invalid("is neither true nor false", "true, false")),
        ValueType::Int(min, max) => {
            number(text, i64::from(i32::MIN), i64::from(i32::MAX), min, max)
        }
        ValueType::ClampedInt(min, max) => {
            let (int_min, int_max) = (i64::from(i32::MIN), i64::from(i32::MAX));
            number(text, int_min, int_max, int_min, int_max)
                .map_err(|invalid| Invalid { allowed: format!("{min} to {max}"), ..invalid })
        }
        ValueType::Long(min, max) => number(text, i64::MIN, i64::MAX, min, max),
        ValueType::Text => Ok(Value::Text(text.to_owned())),
        ValueType::Directory if text.contains(',') => Err(Invalid {
            kind: ConfigFindingKind::NotSupported,
            ..invalid("lists several directories, which is not supported yet", "one directory")
        }),
        ValueType::Directory => Ok(Value::Text(text.to_owned())),
        ValueType::Role => {
            by_name(text, "is no role", BrokerRole::ALL, BrokerRole::name).map(Value::Role)
        }
        ValueType::Flush => {
            by_name(text, "is no flush disk type", FlushDiskType::ALL, FlushDiskType::name)
                .map(Value::Flush)
        }
        ValueType::Addresses => addresses(text),
        ValueType::Hours => {
            let is_hour = |hour: &str| hour.parse::<u8>().is_ok_and(|hour| hour < 24);
            if text.split(';').all(is_hour) {
                Ok(Value::Text(text.to_owned()))
            } else {
                Err(invalid("is no list of hours", "hours from 00 to 23, several split by ;"))
            }
        }
        ValueType::DelayLevels => DelayLevels::parse(text).map(Value::Delays).map_err(|_| {
            invalid("is no list of delays", "durations such as 1s 5m 2h 1d, split by one blank")
        }),
    }
}

fn invalid(text: &str, allowed: &str) -> Invalid {
    Invalid {
        kind: ConfigFindingKind::InvalidValue,
        text: text.to_owned(),
        allowed: allowed.to_owned(),
        suggestion: None,
    }
}

/// A whole number of the Java type, then within the bounds that make sense.
fn number(text: &str, java_min: i64, java_max: i64, min: i64, max: i64) -> Result<Value, Invalid> {
    let allowed = format!("a whole number from {min} to {max}");
    match text.parse::<i64>() {
        Ok(number) if (min..=max).contains(&number) => Ok(Value::Number(number)),
        Ok(number) if (java_min..=java_max).contains(&number) => Err(Invalid {
            kind: ConfigFindingKind::OutOfRange,
            ..invalid("is out of range", &allowed)
        }),
        Ok(_) => Err(invalid("does not fit into 32 bits", &allowed)),
        Err(_) => Err(invalid("is no whole number", &allowed)),
    }
}

fn by_name<T: Copy, const N: usize>(
    text: &str,
    complaint: &str,
    all: [T; N],
    name: fn(T) -> &'static str,
) -> Result<T, Invalid> {
    all.into_iter().find(|value| name(*value) == text).ok_or_else(|| Invalid {
        suggestion: nearest(text, all.map(name)),
        ..invalid(complaint, &all.map(name).join(", "))
    })
}

/// `host:port;host:port`. Empty items at the end are dropped, as Java's `split` does.
fn addresses(text: &str) -> Result<Value, Invalid> {
    let items: Vec<&str> = text.trim_end_matches(';').split(';').collect();
    let is_address = |item: &&str| {
        item.rsplit_once(':').is_some_and(|(host, port)| {
            let is_host = !host.is_empty() && !host.contains(char::is_whitespace);
            is_host && port.parse::<u16>().is_ok_and(|port| port > 0)
        })
    };
    if items.iter().all(is_address) {
        Ok(Value::List(items.into_iter().map(str::to_owned).collect()))
    } else {
        Err(invalid("is no list of addresses", "host:port, several split by ;"))
    }
}

fn clamp(
    key: &ConfigKey,
    entry: &PropertyEntry,
    value: Value,
    findings: &mut Vec<ConfigFinding>,
) -> Value {
    let (ValueType::ClampedInt(min, max), Value::Number(number)) = (key.value_type, &value) else {
        return value;
    };
    let used = (*number).clamp(min, max);
    if used != *number {
        let text = format!("{} = {number} is out of range; {used} is used", key.name);
        findings.push(
            ConfigFinding::new(Severity::Warning, ConfigFindingKind::Clamped, entry, text)
                .allowed(format!("{min} to {max}")),
        );
    }
    Value::Number(used)
}

/// # Panics
/// When the table gives a key a field of another type, or bounds that exceed its field's: its tests
/// forbid both.
fn set(field: Field, value: Value, settings: &mut Settings) {
    const FITS: &str = "the table's bounds fit the field";
    match (field, value) {
        (Field::Bool(field), Value::Bool(value)) => *field(settings) = value,
        (Field::U16(field), Value::Number(value)) => {
            *field(settings) = u16::try_from(value).expect(FITS);
        }
        (Field::U32(field), Value::Number(value)) => {
            *field(settings) = u32::try_from(value).expect(FITS);
        }
        (Field::U64(field), Value::Number(value)) => {
            *field(settings) = u64::try_from(value).expect(FITS);
        }
        (Field::OptionalU64(field), Value::Number(value)) => {
            *field(settings) = Some(u64::try_from(value).expect(FITS));
        }
        (Field::Usize(field), Value::Number(value)) => {
            *field(settings) = usize::try_from(value).expect(FITS);
        }
        (Field::Text(field), Value::Text(value)) => *field(settings) = value,
        (Field::OptionalText(field), Value::Text(value)) => *field(settings) = Some(value),
        (Field::Path(field), Value::Text(value)) => *field(settings) = PathBuf::from(value),
        (Field::OptionalPath(field), Value::Text(value)) => {
            *field(settings) = Some(PathBuf::from(value));
        }
        (Field::Role(field), Value::Role(value)) => *field(settings) = value,
        (Field::Flush(field), Value::Flush(value)) => *field(settings) = value,
        (Field::Addresses(field), Value::List(value)) => *field(settings) = value,
        (Field::DelayLevels(field), Value::Delays(value)) => *field(settings) = value,
        (_, value) => unreachable!("no field for {value:?}"),
    }
}

/// The first placeholder in a value: `${NAME}`, `$NAME`, `$(NAME)`, `{{NAME}}` or `<NAME>`.
fn placeholder(value: &str) -> Option<&str> {
    let closed = |open: &str, close: &str| {
        let begin = value.find(open)?;
        let end = value[begin + open.len()..].find(close)?;
        (end > 0).then(|| &value[begin..begin + open.len() + end + close.len()])
    };
    let variable = || {
        let begin = value.find('$')?;
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let name = &value[begin + 1..];
        let len = name.find(|c| !is_part(c)).unwrap_or(name.len());
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        is_name.then(|| &value[begin..=begin + len])
    };
    closed("${", "}")
        .or_else(|| closed("$(", ")"))
        .or_else(|| closed("{{", "}}"))
        .or_else(|| closed("<", ">"))
        .or_else(variable)
}

/// What stands before a `#` behind a blank, as if that began a comment.
fn comment_behind(value: &str) -> Option<&str> {
    let at = value.match_indices('#').map(|(at, _)| at);
    let mut behind_blanks = at.filter(|at| value[..*at].ends_with(char::is_whitespace));
    behind_blanks.next().map(|at| value[..at].trim_end())
}

/// What the engine obeys must be known; what it does not is only mentioned.
fn unfilled(key: &ConfigKey, entry: &PropertyEntry, placeholder: &str) -> ConfigFinding {
    let severity = if key.is_obeyed() { Severity::Error } else { Severity::Warning };
    let text = format!(
        "{} = \"{}\": {} is a placeholder that nobody filled in",
        key.name,
        as_written(entry.value.trim_end()),
        as_written(placeholder)
    );
    let upstream = match key.value_type {
        ValueType::Text | ValueType::Directory => "take it as it stands".to_owned(),
        _ => upstream_of_invalid(key),
    };
    ConfigFinding::new(severity, ConfigFindingKind::Placeholder, entry, text)
        .allowed("the value itself")
        .upstream(upstream)
}

fn inline_comment(entry: &PropertyEntry) -> ConfigFinding {
    let text = format!(
        "{} = \"{}\": # behind a value is part of it, not a comment",
        entry.key,
        as_written(entry.value.trim_end())
    );
    ConfigFinding::new(Severity::Warning, ConfigFindingKind::InlineComment, entry, text)
}

/// A protection that is counted on and not there.
fn not_protected(entry: &PropertyEntry, what: &str) -> ConfigFinding {
    let text = format!("{} = {} {what}", entry.key, as_written(entry.value.trim_end()));
    ConfigFinding::new(Severity::Warning, ConfigFindingKind::NotProtected, entry, text)
}

pub(super) fn unknown_key(entry: &PropertyEntry) -> ConfigFinding {
    if entry.key.to_ascii_lowercase().starts_with("tls") {
        return not_protected(entry, keys::TLS);
    }
    let (key, text) = match entry.key.strip_prefix(BYTE_ORDER_MARK) {
        Some(key) => (
            key,
            "a byte order mark at the beginning of the file makes this line another key".to_owned(),
        ),
        None => (&*entry.key, format!("{} is no key of RocketMQ 4.9", as_written(&entry.key))),
    };
    let meant = nearest(key, keys::obeyed_by_someone().map(|key| key.name));
    ConfigFinding::new(Severity::Warning, ConfigFindingKind::UnknownKey, entry, text)
        .suggestion(meant)
        .upstream("ignore this line")
}

fn empty_value(entry: &PropertyEntry) -> ConfigFinding {
    let text = format!("{} has no value; the line is not used", entry.key);
    ConfigFinding::new(Severity::Warning, ConfigFindingKind::EmptyValue, entry, text)
        .upstream("take the empty text for it")
}

fn invalid_value(key: &ConfigKey, entry: &PropertyEntry, invalid: Invalid) -> ConfigFinding {
    let written = entry.value.trim_end();
    let mut text = format!("{} = \"{}\" {}", key.name, as_written(written), invalid.text);
    let mut meant = invalid.suggestion;
    if let Some(value) = comment_behind(written) {
        text += ": # behind a value is part of it, not a comment";
        meant = parse_value(key.value_type, value).is_ok().then_some(value);
    }
    let finding = ConfigFinding::new(Severity::Error, invalid.kind, entry, text)
        .allowed(invalid.allowed)
        .suggestion(meant);
    match invalid.kind {
        ConfigFindingKind::InvalidValue => finding.upstream(upstream_of_invalid(key)),
        _ => finding,
    }
}

fn trailing_blank(key: &ConfigKey, entry: &PropertyEntry) -> ConfigFinding {
    let value = as_written(&entry.value);
    let text = format!("{} = \"{value}\" ends in a blank, which is dropped here", key.name);
    ConfigFinding::new(Severity::Warning, ConfigFindingKind::TrailingBlank, entry, text)
        .upstream(upstream_of_invalid(key))
}

/// What 4.9 makes of a value that is not of its key's type; a blank at the end is enough for that.
fn upstream_of_invalid(key: &ConfigKey) -> String {
    match key.value_type {
        ValueType::Bool => "read it as false".to_owned(),
        ValueType::Int(..) | ValueType::ClampedInt(..) | ValueType::Long(..) => {
            format!("ignore this line and keep {}", key.default)
        }
        ValueType::Role | ValueType::Flush => {
            format!("ignore this line and run as {}", key.default)
        }
        ValueType::Text | ValueType::Directory => "keep the blank as part of it".to_owned(),
        ValueType::Addresses => "exit with status -3, or never find that host".to_owned(),
        ValueType::Hours => "find no such hour, or fail at every look for expired files".to_owned(),
        ValueType::DelayLevels => "not start".to_owned(),
    }
}

fn not_used_yet(entry: &PropertyEntry) -> ConfigFinding {
    let text = format!("{} is accepted; this engine does not use it yet", entry.key);
    ConfigFinding::new(Severity::Note, ConfigFindingKind::NotUsedYet, entry, text)
}
