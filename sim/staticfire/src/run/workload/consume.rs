//! A member of the existing consumer group: it consumes everything at once.

use std::sync::Arc;

use mq_client::{ConsumeResult, MessageListener, PushConsumer, PushConsumerConfig};
use mq_protocol::body::heartbeat::ConsumeFromWhere;
use staticfire_world::world::ProcessContext;

use super::{EXISTING_GROUP, Workload};

/// Main function of a consumer process.
///
/// # Errors
/// When the client library refuses the subscription.
pub async fn run(context: ProcessContext, work: Arc<Workload>) -> Result<(), String> {
    let client = work.client(&context.env, &context.name);
    let mut config = PushConsumerConfig::new(EXISTING_GROUP, work.plan.topic.clone(), "*");
    config.consume_from_where = ConsumeFromWhere::ConsumeFromFirstOffset;
    let (name, listener_work) = (Arc::clone(&context.name), Arc::clone(&work));
    let listener: MessageListener = Arc::new(move |messages| {
        for message in messages {
            let delivery = listener_work.delivery(&name, message);
            listener_work.history().deliveries.push(delivery);
        }
        ConsumeResult::Success.into()
    });
    let consumer =
        PushConsumer::start(&client, config, listener).await.map_err(|e| e.to_string())?;
    context.shutdown.cancelled().await;
    consumer.shutdown().await;
    client.shutdown().await;
    Ok(())
}
