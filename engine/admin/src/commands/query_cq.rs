//! `queryCq`: units of a ConsumeQueue.

use std::fmt::Write;

use clap::Args;
use mq_protocol::body::consume_stats::{ConsumeQueueData, QueryConsumeQueueResponseBody};
use mq_protocol::header::query_message::QueryConsumeQueueRequestHeader;

use super::topic::pretty_json;
use crate::command::{SubCommand, Terminal};
use crate::error::AdminError;
use crate::mq_admin_ext::masters;
use crate::text::or_null;

const RULE: &str = "======================================";

/// Shows units of a ConsumeQueue, and what a group's filter makes of them.
#[derive(Args)]
pub(crate) struct QueryCq {
    /// The topic.
    #[arg(short = 't', long = "topic")]
    topic: String,
    /// The queue.
    #[arg(short = 'q', long = "queue", value_name = "ID")]
    queue_id: i32,
    /// The first unit, an offset within the queue.
    #[arg(short = 'i', long = "index", value_name = "OFFSET")]
    index: i64,
    /// How many.
    #[arg(short = 'c', long = "count", default_value_t = 10)]
    count: i32,
    /// The broker; without one, a master that has the topic.
    #[arg(short = 'b', long = "broker", value_name = "ADDRESS")]
    broker_addr: Option<String>,
    /// The group whose filter is asked.
    #[arg(short = 'g', long = "consumer", value_name = "GROUP")]
    group: Option<String>,
}

impl SubCommand for QueryCq {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let addr = match &self.broker_addr {
            Some(addr) => addr.clone(),
            None => {
                let route = terminal.admin.examine_topic_route_info(&self.topic).await?;
                let master = masters(&route.broker_datas).next().map(str::to_owned);
                master.ok_or_else(|| {
                    AdminError::Failed(format!("no master has the topic {}", self.topic))
                })?
            }
        };
        let header = QueryConsumeQueueRequestHeader {
            topic: self.topic.clone(),
            queue_id: self.queue_id,
            index: self.index,
            count: self.count,
            consumer_group: self.group.clone(),
        };
        let body = terminal.admin.query_consume_queue(&addr, &header).await?;
        terminal.print(&units_text(&body, self.index))
    }
}

fn units_text(body: &QueryConsumeQueueResponseBody, first: i64) -> String {
    let mut out = String::new();
    if let Some(subscription) = &body.subscription_data {
        let _ = writeln!(out, "Subscription data: \n{}\n{RULE}", pretty_json(subscription));
    }
    if let Some(filter) = body.filter_data.as_deref().filter(|filter| !filter.is_empty()) {
        let _ = writeln!(out, "Filter data: \n{filter}\n{RULE}");
    }
    let (max, min) = (body.max_queue_index, body.min_queue_index);
    let _ = writeln!(out, "Queue data: \nmax: {max}, min: {min}\n{RULE}");
    for (index, unit) in (first..).zip(&body.queue_data) {
        let _ = writeln!(out, "idx: {index}\n{}\n{RULE}", unit_text(unit));
    }
    out
}

/// `ConsumeQueueData.toString`
fn unit_text(unit: &ConsumeQueueData) -> String {
    let ConsumeQueueData { physic_offset, physic_size, tags_code, eval, .. } = unit;
    let [extend, bit_map, msg] =
        [&unit.extend_data_json, &unit.bit_map, &unit.msg].map(|text| or_null(text.as_deref()));
    format!(
        "ConsumeQueueData{{physicOffset={physic_offset}, physicSize={physic_size}, \
         tagsCode={tags_code}, extendDataJson='{extend}', bitMap='{bit_map}', eval={eval}, \
         msg='{msg}'}}"
    )
}

#[cfg(test)]
mod tests {
    use mq_protocol::body::heartbeat::SubscriptionData;

    use super::*;

    #[test]
    fn units_are_printed_as_they_were_recorded() {
        let unit = |physic_offset| ConsumeQueueData {
            physic_offset,
            physic_size: 170,
            tags_code: 2_598_919,
            ..ConsumeQueueData::default()
        };
        let mut body = QueryConsumeQueueResponseBody {
            max_queue_index: 46,
            queue_data: [11_183_840, 11_184_520, 11_185_200].map(unit).into(),
            ..QueryConsumeQueueResponseBody::default()
        };
        assert_eq!(units_text(&body, 0), include_str!("../../fixtures/64-queryCq.txt"));
        body.max_queue_index = 47;
        body.filter_data = Some("null".into());
        let subscription = SubscriptionData::by_tags("TK", "*", 1_795_952_646_109).unwrap();
        body.subscription_data = Some(subscription);
        assert_eq!(units_text(&body, 0), include_str!("../../fixtures/65-queryCq-g.txt"));
    }
}
