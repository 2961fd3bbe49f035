//! [`Sender`]: a producer of the client library, used the way the plan says.

use std::sync::Arc;

use mq_client::{
    ClientInstance, MessageQueueSelector, Producer, ProducerConfig, SelectMessageQueueByHash,
    SendError, SendResult, TransactionProducer, split_messages,
};
use mq_env::Env;
use mq_protocol::message::{Message, MessageConst};
use staticfire_judge::history::SendOp;
use staticfire_world::trace::Name;

use super::Workload;
use super::ask::{Asked, ask};
use super::draft::{Draft, DraftKind};
use super::outcome::{failed, sent_oneway, stored, stored_batch};
use super::transact::{LocalDatabase, half_stored};

/// How messages are sent; clones are the same producer.
#[derive(Clone)]
pub(super) enum Sender {
    Plain(Producer),
    InTransactions(TransactionProducer),
}

impl Sender {
    /// That of the process `name`.
    pub(super) fn of(
        client: &ClientInstance,
        env: &Env,
        name: &Name,
        work: &Arc<Workload>,
    ) -> Self {
        let mut config = ProducerConfig::new(work.plan.producer_group());
        config.send_msg_timeout = work.plan.send_timeout.duration();
        // Compression would hide the size of a body from the plan that does not ask for it.
        let over = work.plan.compress_over_bytes.map(|it| it as usize);
        config.compress_body_over_bytes = over.unwrap_or(usize::MAX);
        match work.plan.transaction {
            None => Sender::Plain(Producer::new(client, config)),
            Some(plan) => {
                let database = Arc::new(LocalDatabase::of(env, name, work, plan));
                Sender::InTransactions(TransactionProducer::new(client, config, database))
            }
        }
    }

    /// Sends messages and records what became of each; whether nothing is to be feared: none was refused or is open
    /// that was to be acknowledged. Of a request its reply is waited for, too.
    pub(super) async fn send(&self, name: &Name, work: &Arc<Workload>, drafts: Vec<Draft>) -> bool {
        let mut is_well = true;
        for batch in divide(work, drafts) {
            let is_oneway = batch.iter().all(|draft| draft.kind.is_oneway);
            let (messages, rest): (Vec<_>, Vec<_>) =
                batch.into_iter().map(|it| (it.message, (it.kind, it.in_flight))).unzip();
            let (kinds, in_flight): (Vec<_>, Vec<_>) = rest.into_iter().unzip();
            let (ops, asked) = self.send_together(work, &kinds, messages).await;
            is_well &= is_oneway || ops.iter().all(SendOp::is_acked);
            for (in_flight, op) in in_flight.into_iter().zip(ops) {
                in_flight.ended(name, op);
            }
            if let Some(asked) = asked {
                asked.note(name, work).await;
            }
        }
        is_well
    }

    async fn send_together(
        &self,
        work: &Arc<Workload>,
        kinds: &[DraftKind],
        mut messages: Vec<Message>,
    ) -> (Vec<SendOp>, Option<Asked>) {
        if work.plan.batch > 1 {
            let sent = self.send_batch(work, messages).await;
            let ops = match sent {
                Ok(result) => stored_batch(work, kinds, &result),
                Err(error) => vec![failed(work, &error); kinds.len()],
            };
            return (ops, None);
        }
        let message = messages.pop().expect("nothing is sent of nothing");
        if let (Sender::Plain(producer), Some(plan)) = (self, work.plan.request_reply) {
            let timeout = plan.timeout.duration();
            let (op, asked) = ask(producer, work, kinds[0], message, timeout).await;
            return (vec![op], asked);
        }
        (vec![self.send_one(work, kinds[0], message).await], None)
    }

    async fn send_one(&self, work: &Workload, kind: DraftKind, message: Message) -> SendOp {
        let sent = match self {
            Sender::InTransactions(producer) => {
                let sent = producer.send_message_in_transaction(message).await;
                return sent.map_or_else(
                    |error| failed(work, &error),
                    |half| half_stored(work, kind, &half),
                );
            }
            Sender::Plain(producer) if kind.is_oneway => {
                return sent_oneway(work, producer.send_oneway(message).await);
            }
            Sender::Plain(producer) if work.plan.ordered => send_in_order(producer, message).await,
            Sender::Plain(producer) if work.plan.is_async => producer.send_async(message).await,
            Sender::Plain(producer) => producer.send(message).await,
        };
        sent.map_or_else(|error| failed(work, &error), |result| stored(work, kind, &result))
    }

    async fn send_batch(
        &self,
        work: &Workload,
        messages: Vec<Message>,
    ) -> Result<SendResult, SendError> {
        let Sender::Plain(producer) = self else {
            unreachable!("plans with batches of transactions are refused")
        };
        if !work.plan.ordered {
            return producer.send_batch(messages).await;
        }
        // As for a single message, it is the key that chooses, and once.
        let topic = &messages[0].topic;
        let fetched = producer.fetch_publish_message_queues(topic).await;
        let queues = fetched.map_err(SendError::not_sent)?;
        let key = sharding_key(&messages[0]);
        let queue = SelectMessageQueueByHash.select(&queues, &messages[0], &*key).cloned();
        match queue {
            Some(queue) => producer.send_batch_to(messages, &queue).await,
            None => producer.send_batch(messages).await,
        }
    }
}

/// As many messages together as fit into a batch.
fn divide(work: &Workload, drafts: Vec<Draft>) -> Vec<Vec<Draft>> {
    if work.plan.batch == 1 {
        return drafts.into_iter().map(|draft| vec![draft]).collect();
    }
    let messages = drafts.iter().map(|draft| draft.message.clone()).collect();
    let lens: Vec<usize> =
        split_messages(messages, work.batch_bytes_max).map(|batch| batch.len()).collect();
    let mut drafts = drafts.into_iter();
    lens.into_iter().map(|len| drafts.by_ref().take(len).collect()).collect()
}

/// Sends to the queue that the sharding key chooses, once: elsewhere it would be out of order.
async fn send_in_order(producer: &Producer, message: Message) -> Result<SendResult, SendError> {
    let key = sharding_key(&message);
    producer.send_with_selector(message, &SelectMessageQueueByHash, &*key).await
}

fn sharding_key(message: &Message) -> String {
    message.properties.get(MessageConst::SHARDING_KEY).unwrap_or_default().to_owned()
}
