//! The broker's tables: copies that cannot be read, versions that a start takes, offsets that it moves.

use super::{Severity, Verdict};
use crate::doctor::StoreDir;
use crate::doctor::tables::{QueueRange, TableFound, TableState, TableUse};

/// So many moved offsets are named in findings; the verdict has them all.
const NAMED_MAX: usize = 20;

impl StoreDir {
    /// Looks at every table in `config/`, and at the offsets in them where the queues behind a start are
    /// known.
    pub(super) fn check_configs(&self, queues: Option<QueueRange<'_>>, verdict: &mut Verdict) {
        if !self.has("config") {
            let text = "is missing; a start begins with empty tables: topics, groups and offsets";
            verdict.add(Severity::Note, "config", text);
        }
        let mut refusal = None;
        for table in self.find_tables() {
            self.say_table(&table, verdict);
            if table.is_read {
                refusal = refusal.or(table.refusal);
                verdict.tables.push(TableUse { name: table.name, state: table.state });
            }
        }
        // The tables are read before the store is opened.
        verdict.refusal = refusal.or(verdict.refusal.take());
        if let Some(queues) = queues {
            self.say_offsets(queues, verdict);
        }
    }

    fn say_table(&self, table: &TableFound, verdict: &mut Verdict) {
        let TableFound { name, state, trouble, backup_trouble, is_read, .. } = table;
        let place = format!("config/{name}");
        if let Some(trouble) = trouble {
            let instead = match state {
                _ if !is_read => "this engine does not read it",
                TableState::Json | TableState::Bak => "a start takes the older .bak",
                TableState::Empty => "a start goes on without it",
                TableState::Refused => {
                    "so is its .bak or there is none: a start refuses, unless \
                                        beginWithEmptyTables=true"
                }
            };
            verdict.add(Severity::Damage, &place, format!("{trouble}; {instead}"));
        }
        if let Some(trouble) = backup_trouble {
            let instead = match state {
                TableState::Json => {
                    "a start takes the file itself, and has nothing to fall back on"
                }
                TableState::Refused if trouble.is_empty() => "a start refuses",
                _ => "there is nothing to fall back on",
            };
            verdict.add(Severity::Damage, format!("{place}.bak"), format!("{trouble}; {instead}"));
        }
        if *state == TableState::Bak && trouble.is_none() {
            verdict.add(Severity::Note, &place, "is missing; a start takes the older .bak");
        }
    }

    fn say_offsets(&self, queues: QueueRange<'_>, verdict: &mut Verdict) {
        verdict.moved_offsets = self.moved_offsets(queues).0;
        let moved = verdict.moved_offsets.clone();
        for offset in moved.iter().take(NAMED_MAX) {
            let whose = match &offset.group {
                Some(group) => format!("group {group}"),
                None => format!("delay level {}", offset.queue_id + 1),
            };
            let text = format!(
                "{whose} stands at {} in {}/{}; a start moves it to {}",
                offset.from, offset.topic, offset.queue_id, offset.to
            );
            let file = if offset.group.is_some() { "consumerOffset" } else { "delayOffset" };
            verdict.add(Severity::Damage, format!("config/{file}.json"), text);
        }
        let more = moved.len().saturating_sub(NAMED_MAX);
        if more > 0 {
            let text = format!("a start moves {more} more offsets");
            verdict.add(Severity::Damage, "config/consumerOffset.json", text);
        }
    }
}
