//! What an application makes of its messages: it takes its time, fails at some, and has an effect with the others;
//! behind the idempotence kit where the plan says so.

use std::sync::Arc;
use std::time::Duration;

use mq_client::idempotence::{Deduplicator, DeduplicatorConfig, idempotent};
use mq_client::{
    ClientInstance, ConsumeResult, Consumption, MessageListener, Producer, ProducerConfig,
};
use mq_protocol::message::MessageExt;
use staticfire_judge::history::{drawn_percent, message_number};
use staticfire_world::trace::Name;

use super::{Workload, ask};
use crate::lock;
use crate::plan::{ConsumerGroupPlan, FailurePlan};

/// The listener of a member of a group; `reader` is whoever is to get everything once.
pub(super) fn listener(
    work: &Arc<Workload>,
    group: &ConsumerGroupPlan,
    reader: &Name,
    member: &Name,
    client: &ClientInstance,
) -> MessageListener {
    let answers = work.plan.request_reply.map(|_| {
        let mut config = ProducerConfig::new(format!("{}-answers", group.name));
        config.send_msg_timeout = work.plan.send_timeout.duration();
        Producer::new(client, config)
    });
    let application = Application {
        work: Arc::clone(work),
        member: Name::clone(member),
        answers,
        reader: Name::clone(reader),
        takes: group.consume_time.duration(),
        fails: group.fails,
        notes_effects: group.idempotent,
    };
    let listener: MessageListener = Arc::new(move |messages| application.consume(messages));
    if !group.idempotent {
        return listener;
    }
    work.traffic.history().behind_kit.insert(Name::clone(reader));
    idempotent(work.deduplicator(reader), listener)
}

#[derive(Clone)]
struct Application {
    work: Arc<Workload>,
    /// Who consumes.
    member: Name,
    reader: Name,
    /// Gives replies to requests.
    answers: Option<Producer>,
    takes: Duration,
    fails: Option<FailurePlan>,
    notes_effects: bool,
}

impl Application {
    fn consume(&self, messages: &[Arc<MessageExt>]) -> Consumption {
        if self.takes.is_zero() && self.answers.is_none() {
            return self.end(messages).into();
        }
        let (application, messages) = (self.clone(), messages.to_vec());
        Consumption::Later(Box::pin(async move {
            if !application.takes.is_zero() {
                tokio::time::sleep(application.takes).await;
            }
            application.answer(&messages).await;
            application.end(&messages)
        }))
    }

    /// Replies to those that are requests, and that it will be done with.
    async fn answer(&self, messages: &[Arc<MessageExt>]) {
        let Some(producer) = &self.answers else { return };
        for message in messages {
            let number = message.message.keys().next().and_then(message_number);
            if number.is_some_and(|number| !self.fails_at(message, number)) {
                ask::answer(producer, &self.member, &self.work, message).await;
            }
        }
    }

    /// Has an effect, unless it fails at one of the messages.
    fn end(&self, messages: &[Arc<MessageExt>]) -> ConsumeResult {
        let numbers =
            messages.iter().map(|it| (it, it.message.keys().next().and_then(message_number)));
        let numbers: Vec<_> = numbers.filter_map(|(it, number)| Some((it, number?))).collect();
        if numbers.iter().any(|(message, number)| self.fails_at(message, *number)) {
            return ConsumeResult::ReconsumeLater;
        }
        if self.notes_effects {
            let mut history = self.work.traffic.history();
            for (_, number) in numbers {
                *history.effects.entry((Name::clone(&self.reader), number)).or_default() += 1;
            }
        }
        ConsumeResult::Success
    }

    fn fails_at(&self, message: &MessageExt, number: u32) -> bool {
        self.fails.is_some_and(|fails| {
            drawn_percent(self.work.traffic.seed, &self.reader, number) < fails.percent
                && i64::from(message.reconsume_times) < i64::from(fails.times)
        })
    }
}

impl Workload {
    /// What a reader has consumed, in a database beside the cluster that outlives its members and is theirs in
    /// common.
    fn deduplicator(&self, reader: &Name) -> Arc<Deduplicator> {
        let mut known = lock(&self.deduplicators);
        let new = || Arc::new(Deduplicator::new(DeduplicatorConfig::default()));
        Arc::clone(known.entry(Name::clone(reader)).or_insert_with(new))
    }
}
