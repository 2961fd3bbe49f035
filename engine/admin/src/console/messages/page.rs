//! [`MessagePage`]: the messages of a topic and a time, the newest of each queue first.

use mq_client::{PullClient, PullStatus};
use mq_protocol::message::{MessageExt, MessageQueue};
use serde::Serialize;

use super::MessageRow;
use crate::commands::print_msg::offset_range;
use crate::console::listed::Listed;
use crate::console::refusal::{Refusal, trouble};
use crate::console::{BROKER_MAX, side_by_side};
use crate::error::AdminError;
use crate::mq_admin_ext::MqAdminExt;

/// Messages of a queue on a page.
const A_QUEUE: i64 = 20;

/// Queues that are read.
const QUEUES_MAX: usize = 64;

/// Messages that were found.
#[derive(Debug, Serialize)]
pub(in crate::console) struct MessagePage {
    pub(in crate::console) messages: Listed<MessageRow>,
    /// What is missing, and why.
    pub(in crate::console) troubles: Vec<String>,
}

impl MessagePage {
    /// All of `rows`, the newest first.
    pub(super) fn of(mut rows: Vec<MessageRow>, troubles: Vec<String>) -> Self {
        rows.sort_by_key(|row| std::cmp::Reverse(row.stored_ms));
        let messages = Listed { total: rows.len(), items: rows, page: 1, pages: 1, note: None };
        MessagePage { messages, troubles }
    }
}

/// A time: from the first to before the second.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::console) struct Span {
    pub(in crate::console) begin_ms: Option<i64>,
    pub(in crate::console) end_ms: Option<i64>,
}

/// A page of what a topic has of a time: of each queue the newest twenty, on the next page those before them.
///
/// # Errors
/// When the topic has no route, or no name server answers.
pub(in crate::console) async fn newest(
    admin: &MqAdminExt,
    topic: &str,
    span: Span,
    page: usize,
) -> Result<MessagePage, Refusal> {
    let brokers = admin.examine_broker_cluster_info().await?.broker_addr_table;
    let pull_client = admin.pull_client();
    let mut queues = pull_client.fetch_subscribe_message_queues(topic).await?;
    let queue_count = queues.len();
    queues.truncate(QUEUES_MAX);
    let pull_client = &pull_client;
    let ask = |queue: MessageQueue| async move {
        let read = tokio::time::timeout(BROKER_MAX, Slice::read(pull_client, &queue, span, page));
        (read.await.unwrap_or_else(|_| Err(late(&queue))), queue.broker_name)
    };
    let answers = side_by_side(queues, ask).await;
    let (mut rows, mut troubles) = (Vec::new(), Vec::new());
    let (mut total, mut longest) = (0_usize, 0);
    for (slice, broker) in answers {
        let Slice { count, messages } = match slice {
            Ok(slice) => slice,
            Err(error) => {
                troubles.push(trouble(&error));
                continue;
            }
        };
        total = total.saturating_add(usize::try_from(count).unwrap_or(0));
        longest = count.max(longest);
        // The master, or a slave, which has its master's bytes.
        let addrs = brokers.get(&broker).map(|it| &it.broker_addrs);
        let addr = addrs.and_then(|addrs| addrs.values().next()).map_or("", String::as_str);
        rows.extend(messages.iter().map(|message| MessageRow::new(addr, message)));
    }
    // Queues of one broker fail alike.
    troubles.dedup();
    let mut found = MessagePage::of(rows, troubles);
    let pages = usize::try_from(longest).unwrap_or(0).div_ceil(A_QUEUE as usize).max(1);
    let shown = found.messages.items.len();
    let mut notes = Vec::new();
    if pages > 1 {
        notes.push(format!(
            "{shown} of {total} messages, at most {A_QUEUE} of each queue, the newest first: page {page} of {pages}."
        ));
    }
    if queue_count > QUEUES_MAX {
        notes.push(format!("The first {QUEUES_MAX} of {queue_count} queues."));
    }
    let note = (!notes.is_empty()).then(|| notes.join(" "));
    found.messages = Listed { total, page, pages, note, ..found.messages };
    Ok(found)
}

fn late(queue: &MessageQueue) -> AdminError {
    let (broker, queue_id, s) = (&queue.broker_name, queue.queue_id, BROKER_MAX.as_secs());
    AdminError::Failed(format!("no answer from {broker} within {s} s (queue {queue_id})"))
}

/// What of a queue is on a page.
struct Slice {
    /// Messages of the queue and the time.
    count: i64,
    messages: Vec<MessageExt>,
}

impl Slice {
    async fn read(
        pull_client: &PullClient,
        queue: &MessageQueue,
        span: Span,
        page: usize,
    ) -> Result<Slice, AdminError> {
        let (begin, end) = offset_range(pull_client, queue, span.begin_ms, span.end_ms).await?;
        let (first, behind) = window(begin, end, page);
        let mut messages = Vec::new();
        let mut offset = first;
        while offset < behind {
            let wanted = i32::try_from(behind - offset).unwrap_or(1);
            let pulled = pull_client.pull(queue, offset, wanted).await?;
            let next = pulled.next_begin_offset;
            // A pull may give more than was asked for.
            let within = pulled
                .messages
                .into_iter()
                .filter(|it| (offset..behind).contains(&it.queue_offset));
            messages.extend(within);
            let goes_on =
                matches!(pulled.pull_status, PullStatus::Found | PullStatus::NoMatchedMsg);
            if next <= offset || !goes_on {
                break;
            }
            offset = next;
        }
        Ok(Slice { count: end.saturating_sub(begin).max(0), messages })
    }
}

/// The offsets of a page, counted from the end of a queue: the first, and the one behind the last.
fn window(begin: i64, end: i64, page: usize) -> (i64, i64) {
    let skipped = i64::try_from(page - 1).unwrap_or(i64::MAX).saturating_mul(A_QUEUE);
    let behind = end.saturating_sub(skipped).max(begin);
    (behind.saturating_sub(A_QUEUE).max(begin), behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_counted_from_the_end() {
        assert_eq!(window(5, 50, 1), (30, 50));
        assert_eq!(window(5, 50, 2), (10, 30));
        assert_eq!(window(5, 50, 3), (5, 10));
        assert_eq!(window(5, 50, 4), (5, 5));
        assert_eq!(window(5, 50, usize::MAX), (5, 5));
        assert_eq!(window(5, 3, 1), (5, 5));
    }
}
