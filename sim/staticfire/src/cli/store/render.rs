//! What `store` prints.

use std::path::Path;

use mq_store::DroppedRecord;
use mq_store::doctor::{Recovered, Severity, Verdict};
use serde::Serialize;

use crate::cli::table::{count, grouped};

/// So many dropped records are shown; `--json` has them all.
const DROPPED_SHOWN_MAX: usize = 20;

/// Anything as JSON.
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).map_or_else(|error| error.to_string(), |text| text + "\n")
}

/// What `verify` found.
pub(super) fn verdict(store: &str, verdict: &Verdict) -> String {
    let mut text = String::new();
    if let Some(refusal) = &verdict.refusal {
        text += &format!("{store}: a start refuses: {refusal}\n");
    }
    text += &format!(
        "{store}: {} {} in {}..{}, up to: {}\n",
        keeps(verdict),
        count(verdict.kept, "record"),
        grouped(verdict.min_phy_offset),
        grouped(verdict.max_phy_offset),
        end(&verdict.end_reason),
    );
    for finding in &verdict.findings {
        let severity = match finding.severity {
            Severity::Note => "note",
            Severity::Damage => "damage",
        };
        text += &format!("{severity:<7} {}: {}\n", finding.place, finding.text);
    }
    text += &dropped(&verdict.dropped, verdict.dropped_more);
    text += if verdict.is_sound() { "sound\n" } else { "damaged\n" };
    text
}

/// Who keeps what is found.
fn keeps(verdict: &Verdict) -> &'static str {
    match verdict.refusal {
        None => "a start keeps",
        Some(_) if verdict.is_salvageable => "`store recover --salvage` would keep",
        Some(_) => "salvaging is refused as well; the files hold",
    }
}

/// What a started copy holds.
pub(super) fn recovered(copy: &Path, recovered: &Recovered) -> String {
    let report = &recovered.report;
    let mut text = format!(
        "{}: log {}..{}, up to: {}\n",
        copy.display(),
        grouped(recovered.min_phy_offset),
        grouped(recovered.max_phy_offset),
        end(&report.end_reason),
    );
    if let Some(reason) = &report.queues_rebuilt {
        text += &format!("all ConsumeQueues were made again: {reason}\n");
    }
    for range in &report.damaged {
        text += &format!("left out {}..{}: {}\n", range.from, range.to, range.reason);
    }
    text += &dropped(&report.dropped, report.dropped_more);
    for moved in &recovered.moved_offsets {
        let whose = moved.group.as_deref().unwrap_or("a delay level");
        text += &format!(
            "moved {whose} in {}/{} from {} to {}\n",
            moved.topic, moved.queue_id, moved.from, moved.to
        );
    }
    for mended in &recovered.mended {
        text += &format!("mended {}: {}\n", mended.place, mended.text);
    }
    for kept in &recovered.kept {
        text += &format!("kept on purpose: {}: {}\n", kept.place, kept.text);
    }
    text += "       first   behind last      readable  queue\n";
    for queue in &recovered.queues {
        let (min, max, readable) =
            (grouped(queue.min), grouped(queue.max), grouped(queue.readable));
        text +=
            &format!("{min:>12}  {max:>12}  {readable:>12}  {}/{}\n", queue.topic, queue.queue_id);
    }
    text
}

/// Why the log ends where it does.
fn end(reason: &str) -> &str {
    if reason == "no record" { "the end of what was written" } else { reason }
}

fn dropped(dropped: &[DroppedRecord], more: u64) -> String {
    let mut text = String::new();
    for record in dropped.iter().take(DROPPED_SHOWN_MAX) {
        let queue = match (&record.topic, record.queue_id, record.queue_offset) {
            (Some(topic), Some(id), Some(offset)) => format!(" {topic}/{id} @{offset}"),
            _ => String::new(),
        };
        let id = record.uniq_key.as_ref().map_or(String::new(), |id| format!(" id {id}"));
        text += &format!("dropped {}{queue}{id}: {}\n", record.phy_offset, record.reason);
    }
    let hidden = dropped.len().saturating_sub(DROPPED_SHOWN_MAX) as u64 + more;
    if hidden > 0 {
        text += &format!("dropped {} more (--json names them)\n", grouped(hidden));
    }
    text
}
