//! A member of a consumer group: it consumes everything, at once or after the time that its plan says, but for
//! what the plan lets it give back.

use std::sync::Arc;
use std::time::Duration;

use mq_client::{ConsumeResult, Consumption, MessageListener, PushConsumer, PushConsumerConfig};
use mq_protocol::body::heartbeat::ConsumeFromWhere;
use mq_protocol::message::MessageExt;
use staticfire_judge::history::{Delivery, GivenBack, drawn_percent};
use staticfire_world::trace::Name;
use staticfire_world::world::ProcessContext;

use super::Workload;
use crate::plan::{ConsumerGroupPlan, FailurePlan};

/// What an operation is called by which a listener gives a message back.
const GIVEN_BACK: &str = "given back";

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
    config.reconsume_times_max = i32::try_from(group.max_reconsume_times).unwrap_or(i32::MAX);
    let member = Member::of(&context.name, &work, group);
    let listener: MessageListener = Arc::new(move |messages| member.consume(messages));
    let consumer =
        PushConsumer::start(&client, config, listener).await.map_err(|e| e.to_string())?;
    context.shutdown.cancelled().await;
    consumer.shutdown().await;
    client.shutdown().await;
    Ok(())
}

/// Notes what it is given, and is done with it after `consume_time`.
struct Member {
    name: Name,
    work: Arc<Workload>,
    consumer_group: Name,
    takes: Duration,
    fails: Option<FailurePlan>,
    reconsume_times_max: i64,
}

impl Member {
    fn of(name: &Name, work: &Arc<Workload>, group: ConsumerGroupPlan) -> Self {
        Member {
            name: Arc::clone(name),
            work: Arc::clone(work),
            consumer_group: work.traffic.trace().name(&group.name),
            takes: group.consume_time.duration(),
            fails: group.fails,
            reconsume_times_max: i64::from(group.max_reconsume_times),
        }
    }

    fn consume(&self, messages: &[Arc<MessageExt>]) -> Consumption {
        let failures: Vec<GivenBack> =
            messages.iter().filter_map(|message| self.take(message)).collect();
        let work = Arc::clone(&self.work);
        if self.takes.is_zero() {
            return work.consumed(failures).into();
        }
        let takes = self.takes;
        Consumption::Later(Box::pin(async move {
            tokio::time::sleep(takes).await;
            work.consumed(failures)
        }))
    }

    /// Notes a delivery; what it will be given back as, if the listener fails at it.
    fn take(&self, message: &MessageExt) -> Option<GivenBack> {
        let traffic = &self.work.traffic;
        let delivery = traffic.delivery(&self.name, &self.consumer_group, message);
        let failure = self.fails_at(message, &delivery);
        traffic.history().deliveries.push(delivery);
        failure
    }

    fn fails_at(&self, message: &MessageExt, delivery: &Delivery) -> Option<GivenBack> {
        let (fails, number) = (self.fails?, delivery.number?);
        let drawn = drawn_percent(self.work.traffic.seed, &self.consumer_group, number);
        let times = i64::from(message.reconsume_times);
        (drawn < fails.percent && times < i64::from(fails.times)).then(|| GivenBack {
            number,
            consumer: Name::clone(&self.name),
            consumer_group: Name::clone(&self.consumer_group),
            group: Name::clone(&delivery.queue.group),
            delivered: delivery.ordinal,
            is_last: times >= self.reconsume_times_max,
            at_us: 0,
            ordinal: 0,
        })
    }
}

impl Workload {
    /// A listener is done with messages, or gives them back because of `failures`.
    fn consumed(&self, failures: Vec<GivenBack>) -> ConsumeResult {
        if failures.is_empty() {
            return ConsumeResult::Success;
        }
        let trace = self.traffic.trace();
        for mut failure in failures {
            failure.ordinal = trace.op(&failure.consumer, u64::from(failure.number), GIVEN_BACK);
            failure.at_us = trace.now_us();
            self.traffic.history().given_back.push(failure);
        }
        ConsumeResult::ReconsumeLater
    }
}
