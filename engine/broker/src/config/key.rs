//! [`ConfigKey`]: one row of the table of configuration keys.

use std::path::PathBuf;

use mq_store::config::{BrokerRole, FlushDiskType};
use mq_store::delay_level::DelayLevels;

use crate::config::Settings;

/// One key of a broker's `.properties` file.
pub(crate) struct ConfigKey {
    /// The key as written, misspellings of RocketMQ included.
    pub(crate) name: &'static str,
    /// What its value may be.
    pub(crate) value_type: ValueType,
    /// The value without a line in the file; in `<>` where it comes from the machine.
    pub(crate) default: &'static str,
    /// What is done with it.
    pub(crate) status: KeyStatus,
}

/// The type of a value, with the bounds that make sense.
#[derive(Clone, Copy)]
pub(crate) enum ValueType {
    /// `true` or `false`, in any case.
    Bool,
    /// A Java `int` within inclusive bounds.
    Int(i64, i64),
    /// A Java `int` that 4.9 moves into inclusive bounds.
    ClampedInt(i64, i64),
    /// A Java `long` within inclusive bounds.
    Long(i64, i64),
    /// Any text.
    Text,
    /// One directory; 4.9 takes several, split by `,`.
    Directory,
    /// A [`BrokerRole`].
    Role,
    /// A [`FlushDiskType`].
    Flush,
    /// `host:port`, several split by `;`.
    Addresses,
    /// Hours of the day, split by `;`.
    Hours,
    /// Durations such as `1s 5m 2h`, split by blanks.
    DelayLevels,
}

/// What is done with a key.
#[derive(Clone, Copy)]
pub(crate) enum KeyStatus {
    /// Read and obeyed.
    Obeyed(Field),
    /// Obeyed by 4.9; accepted, not used by this engine yet.
    Accepted,
    /// The same, and who writes it counts on something that would not be there: completes the sentence
    /// that begins with key and value.
    Protects(&'static str),
    /// Not obeyed by 4.9: what happens instead.
    Ignored(Instead),
    /// What it means depends on other keys: see `rules`.
    Judged,
}

/// What happens instead of obeying a key.
#[derive(Clone, Copy)]
pub(crate) enum Instead {
    /// The key of this name is read since 4.5.
    Renamed(&'static str),
    /// This file or directory under `storePathRootDir` is used.
    StorePath(&'static str),
    /// Completes the sentence that begins with the key.
    Text(&'static str),
}

/// The field that an obeyed key sets, by its type.
#[derive(Clone, Copy)]
pub(crate) enum Field {
    Bool(fn(&mut Settings) -> &mut bool),
    U16(fn(&mut Settings) -> &mut u16),
    U32(fn(&mut Settings) -> &mut u32),
    U64(fn(&mut Settings) -> &mut u64),
    OptionalU64(fn(&mut Settings) -> &mut Option<u64>),
    Usize(fn(&mut Settings) -> &mut usize),
    Text(fn(&mut Settings) -> &mut String),
    OptionalText(fn(&mut Settings) -> &mut Option<String>),
    Path(fn(&mut Settings) -> &mut PathBuf),
    OptionalPath(fn(&mut Settings) -> &mut Option<PathBuf>),
    Role(fn(&mut Settings) -> &mut BrokerRole),
    Flush(fn(&mut Settings) -> &mut FlushDiskType),
    Addresses(fn(&mut Settings) -> &mut Vec<String>),
    DelayLevels(fn(&mut Settings) -> &mut DelayLevels),
}

impl ConfigKey {
    /// Whether the engine reads and obeys it.
    pub(crate) fn is_obeyed(&self) -> bool {
        matches!(self.status, KeyStatus::Obeyed(_))
    }

    /// The value in force, written as in a file; the table's default where no field holds it.
    pub(crate) fn value_in_force(&self, settings: &mut Settings) -> String {
        let shown = match self.status {
            KeyStatus::Obeyed(field) => field.show(settings),
            _ => None,
        };
        shown.unwrap_or_else(|| self.default.to_owned())
    }
}

impl Field {
    /// The field's value written as in a file; `None` when it is absent.
    fn show(self, settings: &mut Settings) -> Option<String> {
        match self {
            Field::Bool(field) => Some(field(settings).to_string()),
            Field::U16(field) => Some(field(settings).to_string()),
            Field::U32(field) => Some(field(settings).to_string()),
            Field::U64(field) => Some(field(settings).to_string()),
            Field::OptionalU64(field) => field(settings).map(|value| value.to_string()),
            Field::Usize(field) => Some(field(settings).to_string()),
            Field::Text(field) => Some(field(settings).clone()),
            Field::OptionalText(field) => field(settings).clone(),
            Field::Path(field) => Some(field(settings).display().to_string()),
            Field::OptionalPath(field) => {
                field(settings).as_ref().map(|path| path.display().to_string())
            }
            Field::Role(field) => Some(field(settings).name().to_owned()),
            Field::Flush(field) => Some(field(settings).name().to_owned()),
            Field::Addresses(field) => Some(field(settings).join(";")),
            Field::DelayLevels(_) => None,
        }
    }
}
