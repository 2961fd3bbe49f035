//! [`Senders`]: several clients' threads of sends, each waiting for the one before, until stopped or
//! until the broker is gone.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mq_client::{ClientError, ClientInstance, Producer, ProducerConfig, SendError, SendStatus};
use mq_env::Env;
use mq_protocol::message::Message;

use crate::ledger::{Ack, Ledger, MessageId};

/// Pause after a refusal.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// Called with each acknowledgement before the sender goes on.
pub type AckSink = Arc<dyn Fn(&Ack) + Send + Sync>;

/// Senders at work.
pub struct Senders {
    plug_pulled: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// One sender.
#[derive(Clone, Debug)]
pub struct SenderPlan {
    /// Its number, which no other sender of the ledger has.
    pub sender: u32,
    /// Where it sends to, queue after queue. A new topic is created by the first send.
    pub topic: String,
}

impl Senders {
    /// Starts a task for each plan. Each send is made once, without a retry, and counts only with
    /// SEND_OK.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "test tasks belong to no process")]
    pub fn start(
        client: &ClientInstance,
        ledger: &Arc<Mutex<Ledger>>,
        plans: Vec<SenderPlan>,
        sink: &AckSink,
    ) -> Self {
        let plug_pulled = Arc::new(AtomicBool::new(false));
        let start = |plan: SenderPlan| {
            let producer = Producer::new(client, producer_config());
            let sender = Sender { producer, plan, ledger: Arc::clone(ledger), env: Env::os() };
            tokio::spawn(sender.run(Arc::clone(sink), Arc::clone(&plug_pulled)))
        };
        let tasks = plans.into_iter().map(start).collect();
        Senders { tasks, plug_pulled }
    }

    /// From now on a send may fail, which ends its sender.
    pub fn pull_plug(&self) {
        self.plug_pulled.store(true, Ordering::SeqCst);
    }

    /// Waits for the end of all senders.
    ///
    /// # Panics
    /// When a send got no answer before [`Senders::pull_plug`].
    pub async fn ended(self) {
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

/// Sends once, with a body that is never compressed.
#[must_use]
pub fn producer_config() -> ProducerConfig {
    ProducerConfig {
        retry_times_when_send_failed: 0,
        send_msg_timeout: Duration::from_secs(10),
        ..ProducerConfig::new("reality-producers")
    }
}

/// Locks a ledger.
pub fn lock(ledger: &Mutex<Ledger>) -> std::sync::MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Sender {
    producer: Producer,
    plan: SenderPlan,
    ledger: Arc<Mutex<Ledger>>,
    env: Env,
}

impl Sender {
    async fn run(self, sink: AckSink, plug_pulled: Arc<AtomicBool>) {
        let SenderPlan { sender, ref topic } = self.plan;
        for number in 0.. {
            let id = MessageId { sender, number };
            lock(&self.ledger).attempt(id, topic);
            let sent = self.producer.send(Message::new(topic.clone(), id.body())).await;
            let is_pulled = plug_pulled.load(Ordering::SeqCst);
            match sent {
                Ok(sent) if sent.send_status == SendStatus::SendOk => {
                    let ack = Ack::new(id, &sent, self.env.clock.now_millis());
                    sink(&ack);
                    lock(&self.ledger).ack(ack);
                }
                Ok(_) => {}
                // A broker may refuse what it has no time for: its answer leaves the outcome open.
                Err(SendError { cause: ClientError::Broker { .. }, .. }) => {
                    tokio::time::sleep(REFUSED_PAUSE).await;
                }
                Err(error) => {
                    assert!(is_pulled, "sender {sender}, message {number}: {error}");
                    return;
                }
            }
            if is_pulled {
                return;
            }
        }
    }
}
