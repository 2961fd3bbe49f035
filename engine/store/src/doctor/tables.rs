//! The broker's tables in `config/`: which version a start takes, which offsets it moves.

use std::path::Path;

use mq_env::disk::replaced_file::{Copies, Copy, read_copies};
use mq_protocol::body::offset_table::{
    ConsumerOffsetSerializeWrapper, DelayOffsetSerializeWrapper,
};
use mq_protocol::body::subscription_group::SubscriptionGroupWrapper;
use mq_protocol::body::topic_config::TopicConfigSerializeWrapper;
use mq_protocol::fastjson::{Value, from_slice, to_bytes};
use serde::Serialize;

use super::StoreDir;
use crate::delay_level::SCHEDULE_TOPIC;
use crate::metadata_file::load_metadata;

const TOPICS: &str = "topics.json";
const GROUPS: &str = "subscriptionGroup.json";
const OFFSETS: &str = "consumerOffset.json";
const DELAYS: &str = "delayOffset.json";

/// The tables that a start reads, in the order in which it does.
pub(super) const TABLES: [&str; 4] = [TOPICS, GROUPS, OFFSETS, DELAYS];

/// The version of a table that a start takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TableState {
    /// The file itself.
    Json,
    /// The version before, `.bak`.
    Bak,
    /// There is none: the start begins with an empty one.
    Empty,
    /// Nothing sound is left: the start refuses.
    Refused,
}

/// What a start makes of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TableUse {
    /// Name of the file in `config/`.
    pub name: String,
    /// The version that is taken.
    pub state: TableState,
}

/// An offset that a start moves, because it stands outside of its queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MovedOffset {
    /// The consumer group; `None` for a delay level's.
    pub group: Option<String>,
    /// The topic.
    pub topic: String,
    /// The queue.
    pub queue_id: i32,
    /// Where it stands.
    pub from: i64,
    /// Where the start moves it.
    pub to: i64,
}

/// What is found of a table.
pub(super) struct TableFound {
    pub(super) name: String,
    pub(super) state: TableState,
    /// Why a start refuses.
    pub(super) refusal: Option<String>,
    /// What is wrong with the file.
    pub(super) trouble: Option<String>,
    /// What is wrong with its backup.
    pub(super) backup_trouble: Option<String>,
    /// A start reads it.
    pub(super) is_read: bool,
}

/// First and end of a queue, by topic and id.
pub(super) type QueueRange<'a> = &'a dyn Fn(&str, i32) -> (u64, u64);

impl StoreDir {
    /// Looks at both copies of every table: those that a start reads, and others in `config/`.
    pub(super) fn find_tables(&self) -> Vec<TableFound> {
        let mut names: Vec<String> = TABLES.map(str::to_owned).to_vec();
        let others = self.files(Path::new("config")).unwrap_or_default();
        let others = others.into_iter().map(|file| file.name);
        names.extend(
            others.filter(|name| name.ends_with(".json") && !TABLES.contains(&name.as_str())),
        );
        names.into_iter().map(|name| self.find_table(name)).collect()
    }

    fn find_table(&self, name: String) -> TableFound {
        let path = self.root.join("config").join(&name);
        let is_read = TABLES.contains(&name.as_str());
        let parse = |bytes: &[u8]| check_table(&name, bytes);
        let Copies { main, backup } = read_copies(&*self.disk, &path, parse);
        let refusal = match load_metadata(&*self.disk, &path, parse) {
            Err(error) if is_read && !self.config.begin_with_empty_tables => {
                Some(error.to_string())
            }
            _ => None,
        };
        let state = match (&main, &backup) {
            _ if refusal.is_some() => TableState::Refused,
            (Copy::Sound(()), _) => TableState::Json,
            (_, Copy::Sound(())) => TableState::Bak,
            _ => TableState::Empty,
        };
        let trouble = match main {
            Copy::Sound(()) | Copy::Absent { is_empty: false } => None,
            Copy::Absent { is_empty: true } => Some("is empty".to_owned()),
            Copy::Damaged(reason) => Some(format!("is damaged ({reason})")),
        };
        let backup_trouble = match backup {
            Copy::Damaged(reason) => Some(format!("is damaged ({reason})")),
            _ => None,
        };
        TableFound { name, state, refusal, trouble, backup_trouble, is_read }
    }

    /// The offsets of groups and delay levels that a start moves, and the tables as it leaves them: name
    /// and content.
    pub(super) fn moved_offsets(
        &self,
        range: QueueRange<'_>,
    ) -> (Vec<MovedOffset>, Vec<(&'static str, Vec<u8>)>) {
        let (mut moved, mut tables) = (Vec::new(), Vec::new());
        if let Some(mut table) = self.table::<ConsumerOffsetSerializeWrapper>(OFFSETS) {
            for (key, queues) in &mut table.offset_table {
                let Some((topic, group)) = key.split_once('@') else { continue };
                for (queue_id, offset) in queues {
                    let end = range(topic, *queue_id).1 as i64;
                    if *offset > end {
                        let group = Some(group.to_owned());
                        moved.push(MovedOffset::new(group, topic, *queue_id, *offset, end));
                        *offset = end;
                    }
                }
            }
            tables.push((OFFSETS, to_bytes(&table).to_vec()));
        }
        if let Some(mut table) = self.table::<DelayOffsetSerializeWrapper>(DELAYS) {
            for (level, offset) in &mut table.offset_table {
                let queue_id = level - 1;
                if queue_id < 0 {
                    continue;
                }
                let (min, end) = range(SCHEDULE_TOPIC, queue_id);
                let inside = (*offset).clamp(min.min(end) as i64, end as i64);
                if inside != *offset {
                    moved.push(MovedOffset::new(None, SCHEDULE_TOPIC, queue_id, *offset, inside));
                    *offset = inside;
                }
            }
            tables.push((DELAYS, to_bytes(&table).to_vec()));
        }
        (moved, tables)
    }

    fn table<T: mq_protocol::fastjson::Json>(&self, name: &str) -> Option<T> {
        let path = self.root.join("config").join(name);
        load_metadata(&*self.disk, &path, from_slice).ok().flatten()
    }
}

impl MovedOffset {
    fn new(group: Option<String>, topic: &str, queue_id: i32, from: i64, to: i64) -> Self {
        MovedOffset { group, topic: topic.to_owned(), queue_id, from, to }
    }
}

/// Whether the broker reads `bytes` as the table `name`.
fn check_table(name: &str, bytes: &[u8]) -> Result<(), String> {
    let said = |error: mq_protocol::fastjson::JsonReadError| error.to_string();
    match name {
        TOPICS => from_slice::<TopicConfigSerializeWrapper>(bytes).map(drop).map_err(said),
        GROUPS => from_slice::<SubscriptionGroupWrapper>(bytes).map(drop).map_err(said),
        OFFSETS => from_slice::<ConsumerOffsetSerializeWrapper>(bytes).map(drop).map_err(said),
        DELAYS => from_slice::<DelayOffsetSerializeWrapper>(bytes).map(drop).map_err(said),
        _ => {
            let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
            Value::parse(text).map(drop).map_err(|error| error.to_string())
        }
    }
}
