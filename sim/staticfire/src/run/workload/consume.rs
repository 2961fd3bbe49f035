//! A member of a consumer group: it hands everything to its `application`, and notes what it was
//! given and what became of it.

use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mq_client::{
    ClientError, ClientInstance, ConsumeResult, Consumption, MessageListener, MessageSelector,
    PushConsumer, PushConsumerConfig, StartError,
};
use mq_protocol::body::heartbeat::{ConsumeFromWhere, MessageModel};
use mq_protocol::message::MessageExt;
use staticfire_judge::history::{Consumed, GivenBack};
use staticfire_world::trace::Name;
use staticfire_world::world::ProcessContext;
use tokio::time::sleep;

use super::{Workload, application};
use crate::plan::{ConsumerGroupPlan, FilterPlan};
use crate::run::traffic::Wanted;

/// What an operation is called by which a listener gives a message back.
const GIVEN_BACK: &str = "given back";

/// What one is called by which a listener that consumes in order is done with one.
const CONSUMED: &str = "consumed";

/// Pause before a consumer is started again that could not be.
const START_AGAIN: Duration = Duration::from_secs(1);

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
    let topic = work.plan.topic.clone();
    let wanted = wanted(&work, &group);
    let mut config = PushConsumerConfig::new(group.name.clone(), topic, selector(&wanted));
    config.consume_from_where = ConsumeFromWhere::ConsumeFromFirstOffset;
    config.reconsume_times_max = i32::try_from(group.max_reconsume_times).unwrap_or(i32::MAX);
    config.consume_orderly = group.orderly;
    if group.broadcast {
        config.message_model = MessageModel::Broadcasting;
        config.local_offset_store_dir = PathBuf::from(LOCAL_OFFSETS);
    }
    let member = Member::of(&context, &work, &group, &client);
    let listener: MessageListener = Arc::new(move |messages| member.consume(messages));
    let starting = start(&client, &config, &listener);
    if let Some(consumer) = context.shutdown.run_until_cancelled(starting).await {
        let consumer = consumer?;
        let follow = follow(&consumer, &work, &group, &context.name, wanted.version);
        context.shutdown.run_until_cancelled(follow).await;
        consumer.shutdown().await;
    }
    client.shutdown().await;
    Ok(())
}

/// Starts a consumer, as whoever watches over it does: again, while no broker is there to show a subscription to that
/// brokers have to read.
async fn start(
    client: &ClientInstance,
    config: &PushConsumerConfig,
    listener: &MessageListener,
) -> Result<PushConsumer, String> {
    loop {
        match PushConsumer::start(client, config.clone(), Arc::clone(listener)).await {
            Ok(consumer) => return Ok(consumer),
            Err(StartError::Refused { source: ClientError::Remoting(_), .. }) => {
                sleep(START_AGAIN).await;
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// What the group wants now.
fn wanted(work: &Workload, group: &ConsumerGroupPlan) -> Wanted {
    match work.traffic.changing(&group.name) {
        Some(changing) => changing.now(),
        None => Wanted::of(group.filter.clone()),
    }
}

/// Subscribes to whatever the group is to want from now on.
async fn follow(
    consumer: &PushConsumer,
    work: &Workload,
    group: &ConsumerGroupPlan,
    name: &Name,
    mut version: u32,
) {
    let Some(changing) = work.traffic.changing(&group.name) else { return pending().await };
    loop {
        changing.follows(name, version);
        let wanted = changing.changed(version).await;
        version = wanted.version;
        while consumer.subscribe(&work.plan.topic, selector(&wanted)).await.is_err() {
            sleep(START_AGAIN).await;
        }
    }
}

/// What it asks brokers for.
fn selector(wanted: &Wanted) -> MessageSelector {
    match &wanted.filter {
        None => "*".into(),
        Some(FilterPlan::Tags(tags)) => MessageSelector::ByTag(tags.clone()),
        Some(FilterPlan::Sql { sql }) => MessageSelector::BySql(sql.clone()),
    }
}

/// Notes what it is given, and what its listener makes of it.
pub(super) struct Member {
    name: Name,
    work: Arc<Workload>,
    /// Its group, or by broadcasting itself: whoever is to get everything.
    reader: Name,
    listener: MessageListener,
    orderly: bool,
    reconsume_times_max: i64,
}

/// A delivery to a listener that is at work on it, and what it is if the listener fails.
pub(super) struct Taken {
    orderly: bool,
    number: Option<u32>,
    failure: GivenBack,
}

impl Member {
    pub(super) fn of(
        context: &ProcessContext,
        work: &Arc<Workload>,
        group: &ConsumerGroupPlan,
        client: &ClientInstance,
    ) -> Self {
        let name = &context.name;
        let reader = match group.broadcast {
            true => Arc::clone(name),
            false => work.traffic.trace().name(&group.name),
        };
        Member {
            name: Arc::clone(name),
            work: Arc::clone(work),
            listener: application::listener(work, group, &reader, name, client),
            reader,
            orderly: group.orderly,
            reconsume_times_max: i64::from(group.max_reconsume_times),
        }
    }

    pub(super) fn consume(&self, messages: &[Arc<MessageExt>]) -> Consumption {
        self.work_on(messages, messages.iter().map(|message| self.take(message)).collect())
    }

    /// Notes what a poll gave. All of it is the member's from here on, whatever becomes of the queue before its turn comes,
    /// and nobody has consumed it before.
    pub(super) fn polled(&self, messages: &[Arc<MessageExt>]) -> Vec<Taken> {
        let taken: Vec<Taken> = messages.iter().map(|message| self.take(message)).collect();
        let waiting = taken.iter().map(|it| it.failure.delivered);
        self.work.traffic.history().cut_short.extend(waiting);
        taken
    }

    /// Has its listener consume what it has taken.
    pub(super) fn work_on(&self, messages: &[Arc<MessageExt>], taken: Vec<Taken>) -> Consumption {
        let work = Arc::clone(&self.work);
        match (self.listener)(messages) {
            Consumption::Done(result) => work.ended(taken, result).into(),
            Consumption::Later(result) => {
                let at_work = taken.iter().map(|it| it.failure.delivered);
                work.traffic.history().cut_short.extend(at_work);
                Consumption::Later(Box::pin(async move { work.ended(taken, result.await) }))
            }
        }
    }

    /// Notes a delivery.
    fn take(&self, message: &MessageExt) -> Taken {
        let traffic = &self.work.traffic;
        let delivery = traffic.delivery(&self.name, &self.reader, message);
        let failure = GivenBack {
            number: delivery.number.unwrap_or(u32::MAX),
            consumer: Name::clone(&self.name),
            consumer_group: Name::clone(&self.reader),
            group: Name::clone(&delivery.queue.group),
            delivered: delivery.ordinal,
            is_last: i64::from(message.reconsume_times) >= self.reconsume_times_max,
            ordinal: 0,
        };
        let taken = Taken { orderly: self.orderly, number: delivery.number, failure };
        traffic.history().deliveries.push(delivery);
        taken
    }
}

impl Workload {
    /// A listener is done with messages, or gives them back.
    fn ended(&self, taken: Vec<Taken>, result: ConsumeResult) -> ConsumeResult {
        let fails = result == ConsumeResult::ReconsumeLater;
        for it in taken {
            self.note_end(it, fails);
        }
        result
    }

    fn note_end(&self, taken: Taken, fails: bool) {
        let Taken { orderly, number, failure } = taken;
        let now_us = self.traffic.trace().now_us();
        {
            let mut history = self.traffic.history();
            history.cut_short.remove(&failure.delivered);
            history.watch.listener_ends.insert(failure.delivered, now_us);
        }
        if !fails && !orderly {
            return;
        }
        let trace = self.traffic.trace();
        let what = if fails { GIVEN_BACK } else { CONSUMED };
        let ordinal = trace.op(&failure.consumer, u64::from(failure.number), what);
        let mut history = self.traffic.history();
        if orderly {
            let consumed = Consumed { ordinal, is_done: !fails || failure.is_last };
            history.consumed.insert(failure.delivered, consumed);
        }
        if fails && number.is_some() {
            history.given_back.push(GivenBack { ordinal, ..failure });
        }
    }
}
