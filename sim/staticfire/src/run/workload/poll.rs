//! A member of a consumer group that polls (a lite pull consumer): it hands over what a poll gave, one message after the
//! other, and polls again. What it commits it has consumed: polls commit what earlier ones gave, or it
//! says so itself.

use std::slice;
use std::sync::Arc;
use std::time::Duration;

use mq_client::{Consumption, LitePullConsumer, LitePullConsumerConfig};
use mq_protocol::body::heartbeat::ConsumeFromWhere;
use mq_protocol::message::MessageExt;
use staticfire_world::world::ProcessContext;

use super::Workload;
use super::consume::Member;
use crate::plan::{ConsumerGroupPlan, FilterPlan};

/// How long a poll waits (`pollTimeoutMillis`).
const POLL_TIMEOUT: Duration = Duration::from_secs(5);

/// Main function of such a process.
///
/// # Errors
/// When the client library refuses the subscription.
pub async fn run(
    context: ProcessContext,
    work: Arc<Workload>,
    group: ConsumerGroupPlan,
) -> Result<(), String> {
    let client = work.traffic.client(&context.env, &context.name);
    let mut config = LitePullConsumerConfig::new(group.name.clone());
    config.consume_from_where = ConsumeFromWhere::ConsumeFromFirstOffset;
    config.auto_commit = group.auto_commit;
    let consumer = LitePullConsumer::new(&client, config);
    let tags = match &group.filter {
        Some(FilterPlan::Tags(tags)) => tags,
        // Plans with an expression are refused.
        Some(FilterPlan::Sql { .. }) | None => "*",
    };
    let subscribed = consumer.subscribe(&work.plan.topic, tags).await;
    subscribed.map_err(|error| error.to_string())?;
    let member = Member::of(&context, &work, &group, &client);
    let polling = poll_all(&consumer, &member, group.auto_commit);
    let _ = context.shutdown.run_until_cancelled(polling).await;
    consumer.shutdown().await;
    client.shutdown().await;
    Ok(())
}

async fn poll_all(consumer: &LitePullConsumer, member: &Member, auto_commit: bool) {
    loop {
        consume(member, &consumer.poll(POLL_TIMEOUT).await).await;
        if !auto_commit {
            consumer.commit();
        }
    }
}

async fn consume(member: &Member, polled: &[Arc<MessageExt>]) {
    for (message, taken) in polled.iter().zip(member.polled(polled)) {
        if let Consumption::Later(result) = member.work_on(slice::from_ref(message), vec![taken]) {
            result.await;
        }
    }
}
