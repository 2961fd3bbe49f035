//! `queryMsgTraceById`: what clients of RocketMQ's noted of a message on its way.

use std::collections::BTreeMap;

use clap::Args;
use mq_protocol::message::MessageExt;
use mq_protocol::topic_validator::RMQ_SYS_TRACE_TOPIC;

use crate::command::{SubCommand, Terminal};
use crate::error::AdminError;
use crate::text::{LocalTime, WITH_SECONDS};

/// Behind each record of a trace.
const FIELD_SPLITOR: char = '\u{2}';
/// Between the parts of a record.
const CONTENT_SPLITOR: char = '\u{1}';

/// Traces that are looked for, at most.
const MAX_NUM: i32 = 64;

/// Shows the trace of a message, if its clients trace.
#[derive(Args)]
pub(crate) struct QueryMsgTraceById {
    /// The `UNIQ_KEY`.
    #[arg(short = 'i', long = "msgId", value_name = "ID")]
    msg_id: String,
    /// The topic of traces.
    #[arg(short = 't', long = "traceTopic", value_name = "TOPIC", default_value = RMQ_SYS_TRACE_TOPIC)]
    trace_topic: String,
}

/// One step of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TraceView {
    is_send: bool,
    group: String,
    client_host: String,
    /// Milliseconds since the epoch.
    timestamp: i64,
    cost_ms: i64,
    success: bool,
}

impl SubCommand for QueryMsgTraceById {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let (topic, id) = (&self.trace_topic, &self.msg_id);
        let found = terminal.admin.query_message(topic, id, MAX_NUM, false).await?;
        let views: Vec<TraceView> = found.iter().flat_map(|message| views(message, id)).collect();
        if views.is_empty() {
            let sentence = format!("the topic {topic} has no trace of the message {id}");
            return Err(AdminError::Failed(sentence));
        }
        let text = views_text(&views, &terminal.time);
        terminal.print(&text)
    }
}

/// What the records of a trace message say of the message `id`.
fn views(message: &MessageExt, id: &str) -> Vec<TraceView> {
    let body = String::from_utf8_lossy(&message.message.body);
    let host = message.born_host.ip().to_string();
    body.split(FIELD_SPLITOR).filter_map(|record| view(record, id, &host)).collect()
}

/// Records of sends and of what came of consuming; `None` for others and for those of other messages.
fn view(record: &str, id: &str, client_host: &str) -> Option<TraceView> {
    let parts: Vec<&str> = record.split(CONTENT_SPLITOR).collect();
    let part = |index: usize| parts.get(index).copied().unwrap_or_default();
    let number = |index: usize| part(index).parse().unwrap_or(0);
    let (is_send, msg_id, group, timestamp, cost_ms, success) = match part(0) {
        "Pub" => (true, part(5), part(3), number(1), number(10), part(parts.len() - 1) == "true"),
        "SubAfter" => (false, part(2), part(8), number(7), number(3), part(4) == "true"),
        _ => return None,
    };
    (msg_id == id).then(|| TraceView {
        is_send,
        group: group.to_owned(),
        client_host: client_host.to_owned(),
        timestamp,
        cost_ms,
        success,
    })
}

fn views_text(views: &[TraceView], time: &LocalTime) -> String {
    let mut out = String::new();
    for view in views.iter().filter(|view| view.is_send) {
        out +=
            &row(["#Type", "#ProducerGroup", "#ClientHost", "#SendTime", "#CostTimes", "#Status"]);
        out += &view_row("Pub", view, time);
        out.push('\n');
    }
    let mut by_group = BTreeMap::<&str, Vec<&TraceView>>::new();
    for view in views.iter().filter(|view| !view.is_send) {
        by_group.entry(&view.group).or_default().push(view);
    }
    for views in by_group.values() {
        out += &row([
            "#Type",
            "#ConsumerGroup",
            "#ClientHost",
            "#ConsumerTime",
            "#CostTimes",
            "#Status",
        ]);
        out.extend(views.iter().map(|view| view_row("Sub", view, time)));
        out.push('\n');
    }
    out
}

fn view_row(kind: &str, view: &TraceView, time: &LocalTime) -> String {
    let (at, cost) = (time.text(view.timestamp, WITH_SECONDS), format!("{}ms", view.cost_ms));
    let status = if view.success { "success" } else { "failed" };
    row([kind, &view.group, &view.client_host, &at, &cost, status])
}

fn row(cells: [&str; 6]) -> String {
    let [kind, group, host, time, cost, status] = cells;
    format!("{kind:<10} {group:<20} {host:<20} {time:<20} {cost:<10} {status:<10}\n")
}

#[cfg(test)]
mod tests {
    use super::super::message_text::tests::recorded;
    use super::*;
    use crate::text::tests::utc;

    #[test]
    fn steps_are_read_and_listed() {
        let pub_record = [
            "Pub",
            "1795952425432",
            "DefaultRegion",
            "PGK",
            "TK",
            "ID",
            "TagB",
            "key99",
            "127.0.0.1:10911",
            "5",
            "3",
            "0",
            "7F",
            "true",
        ];
        let sub_record =
            ["SubAfter", "R", "ID", "7", "false", "key99", "0", "1795952426000", "CGK"];
        let before = ["SubBefore", "1795952425900", "R", "CGK", "R", "ID", "0", "key99"];
        let records = [pub_record.join("\u{1}"), before.join("\u{1}"), sub_record.join("\u{1}")];
        let mut message = recorded();
        message.message.body = (records.join("\u{2}") + "\u{2}").into();
        let views = views(&message, "ID");
        assert_eq!(views.len(), 2);
        let text = views_text(&views, &utc());
        let lines: Vec<Vec<_>> =
            text.lines().map(|line| line.split_whitespace().collect()).collect();
        let [date, host] = ["2026-11-29", "127.0.0.1"];
        assert_eq!(lines[1], ["Pub", "PGK", host, date, "11:40:25", "3ms", "success"]);
        assert_eq!(lines[4], ["Sub", "CGK", host, date, "11:40:26", "7ms", "failed"]);
        assert_eq!(super::views(&message, "other"), []);
        message.message.body = "Pub".into();
        assert_eq!(super::views(&message, "ID"), []);
    }
}
