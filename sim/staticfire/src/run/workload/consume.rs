//! A member of a consumer group: it consumes everything, at once or after the time that its plan says.

use std::sync::Arc;
use std::time::Duration;

use mq_client::{ConsumeResult, Consumption, MessageListener, PushConsumer, PushConsumerConfig};
use mq_protocol::body::heartbeat::ConsumeFromWhere;
use staticfire_world::trace::Name;
use staticfire_world::world::ProcessContext;

use super::Workload;
use crate::plan::ConsumerGroupPlan;

/// Main function of a consumer process.
///
/// # Errors
/// When the client library refuses the subscription.
pub async fn run(
    context: ProcessContext,
    work: Arc<Workload>,
    group: ConsumerGroupPlan,
) -> Result<(), String> {
    let client = work.traffic.client(&context.env, &context.name);
    let mut config = PushConsumerConfig::new(group.name.clone(), work.plan.topic.clone(), "*");
    config.consume_from_where = ConsumeFromWhere::ConsumeFromFirstOffset;
    let listener = listener(&context.name, &work, &group);
    let consumer =
        PushConsumer::start(&client, config, listener).await.map_err(|e| e.to_string())?;
    context.shutdown.cancelled().await;
    consumer.shutdown().await;
    client.shutdown().await;
    Ok(())
}

/// Notes what it is given, and is done with it after `consume_time`.
fn listener(name: &Name, work: &Arc<Workload>, group: &ConsumerGroupPlan) -> MessageListener {
    let (name, work) = (Arc::clone(name), Arc::clone(work));
    let consumer_group = work.traffic.trace().name(&group.name);
    let takes: Duration = group.consume_time.duration();
    Arc::new(move |messages| {
        for message in messages {
            let delivery = work.traffic.delivery(&name, &consumer_group, message);
            work.traffic.history().deliveries.push(delivery);
        }
        if takes.is_zero() {
            return ConsumeResult::Success.into();
        }
        Consumption::Later(Box::pin(async move {
            tokio::time::sleep(takes).await;
            ConsumeResult::Success
        }))
    })
}
