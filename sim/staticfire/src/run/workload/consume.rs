//! A member of a consumer group: it consumes everything, at once or after the time that its plan says, but for
//! what the plan lets it give back.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mq_client::{ConsumeResult, Consumption, MessageListener, PushConsumer, PushConsumerConfig};
use mq_protocol::body::heartbeat::{ConsumeFromWhere, MessageModel};
use mq_protocol::message::MessageExt;
use staticfire_judge::history::{Consumed, Delivery, GivenBack, drawn_percent};
use staticfire_world::trace::Name;
use staticfire_world::world::ProcessContext;

use super::Workload;
use crate::plan::{ConsumerGroupPlan, FailurePlan};

/// What an operation is called by which a listener gives a message back.
const GIVEN_BACK: &str = "given back";

/// What one is called by which a listener that consumes in order is done with one.
const CONSUMED: &str = "consumed";

/// Where a member keeps its offsets that gets everything by broadcasting.
const LOCAL_OFFSETS: &str = "/home/rocketmq_offsets";

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
    config.consume_orderly = group.orderly;
    if group.broadcast {
        config.message_model = MessageModel::Broadcasting;
        config.local_offset_store_dir = PathBuf::from(LOCAL_OFFSETS);
    }
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
    /// Its group, or by broadcasting itself: whoever is to get everything.
    consumer_group: Name,
    takes: Duration,
    orderly: bool,
    fails: Option<FailurePlan>,
    reconsume_times_max: i64,
}

/// A delivery to a listener that is at work on it.
struct Taken {
    consumer: Name,
    number: Option<u32>,
    /// Ordinal of the trace event.
    ordinal: u64,
    orderly: bool,
    /// What it is given back as.
    failure: Option<GivenBack>,
}

impl Member {
    fn of(name: &Name, work: &Arc<Workload>, group: ConsumerGroupPlan) -> Self {
        Member {
            name: Arc::clone(name),
            work: Arc::clone(work),
            consumer_group: match group.broadcast {
                true => Arc::clone(name),
                false => work.traffic.trace().name(&group.name),
            },
            takes: group.consume_time.duration(),
            orderly: group.orderly,
            fails: group.fails,
            reconsume_times_max: i64::from(group.max_reconsume_times),
        }
    }

    fn consume(&self, messages: &[Arc<MessageExt>]) -> Consumption {
        let taken: Vec<Taken> = messages.iter().map(|message| self.take(message)).collect();
        let work = Arc::clone(&self.work);
        if self.takes.is_zero() {
            return work.consumed(taken).into();
        }
        let takes = self.takes;
        work.traffic.history().cut_short.extend(taken.iter().map(|it| it.ordinal));
        Consumption::Later(Box::pin(async move {
            tokio::time::sleep(takes).await;
            work.ended(&taken);
            work.consumed(taken)
        }))
    }

    /// Notes a delivery.
    fn take(&self, message: &MessageExt) -> Taken {
        let traffic = &self.work.traffic;
        let delivery = traffic.delivery(&self.name, &self.consumer_group, message);
        let taken = Taken {
            consumer: Name::clone(&self.name),
            number: delivery.number,
            ordinal: delivery.ordinal,
            orderly: self.orderly,
            failure: self.fails_at(message, &delivery),
        };
        traffic.history().deliveries.push(delivery);
        taken
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
    /// A listener that took its time has ended.
    fn ended(&self, taken: &[Taken]) {
        let mut history = self.traffic.history();
        for it in taken {
            history.cut_short.remove(&it.ordinal);
        }
    }

    /// A listener is done with messages, or gives them back if it fails at any of them.
    fn consumed(&self, taken: Vec<Taken>) -> ConsumeResult {
        let fails = taken.iter().any(|it| it.failure.is_some());
        for it in taken {
            self.note_end(it);
        }
        if fails { ConsumeResult::ReconsumeLater } else { ConsumeResult::Success }
    }

    fn note_end(&self, taken: Taken) {
        let Taken { consumer, number, ordinal: delivered, orderly, failure } = taken;
        if failure.is_none() && !orderly {
            return;
        }
        let trace = self.traffic.trace();
        let what = if failure.is_some() { GIVEN_BACK } else { CONSUMED };
        let ordinal = trace.op(&consumer, u64::from(number.unwrap_or(u32::MAX)), what);
        let mut history = self.traffic.history();
        if orderly {
            let is_done = failure.as_ref().is_none_or(|it| it.is_last);
            history.consumed.insert(delivered, Consumed { ordinal, is_done });
        }
        history.given_back.extend(failure.map(|it| GivenBack {
            ordinal,
            at_us: trace.now_us(),
            ..it
        }));
    }
}
