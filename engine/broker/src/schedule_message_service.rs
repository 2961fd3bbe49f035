//! [`ScheduleMessageService`]: a master delivers delayed messages when they are due (RocketMQ 4.9
//! `ScheduleMessageService`).
//!
//! A delayed message waits in queue `level - 1` of `SCHEDULE_TOPIC_XXXX`, whose units carry the times of
//! delivery. Each level has a task of its own, which sleeps until the first message of the level is
//! due, or comes: a level without messages costs nothing. Delivered is at least once, in the order
//! of the level.
//!
//! As in RocketMQ the wall clock decides: a message that is due later than one stored now would be,
//! because the clock was set back or the level's delay was shortened, is delivered at once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use mq_env::task::TaskGroup;
use mq_protocol::consume_queue_unit::ConsumeQueueUnit;
use mq_protocol::message_codec::decode_record;
use mq_protocol::topic_validator::RMQ_SYS_TRANS_HALF_TOPIC;
use mq_store::delay_level::SCHEDULE_TOPIC;
use mq_store::plant::Plant;
use mq_store::{ConsumeQueue, MessageInner, PutMessageResult};
use tokio::sync::Notify;

use crate::broker_stats_manager::{HandedOut, SCHEDULE_CONSUMER_GROUP};
use crate::context::BrokerContext;
use crate::lock;
use crate::real_message::real_message;

/// Messages delivered before other tasks get a turn.
const MESSAGES_PER_TURN: usize = 64;
/// Pause before a message that the store refused is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// The wall clock may be set forward during a longer sleep.
const SLEEP_MAX: Duration = Duration::from_secs(30);

/// Delivers delayed messages.
pub(crate) struct ScheduleMessageService {
    context: Arc<BrokerContext>,
    arrivals: Arc<DelayedArrivals>,
}

/// Wakes the task of a level when a message comes. It does not own the store, whose listener it is.
pub(crate) struct DelayedArrivals {
    /// Per queue of the topic.
    arrived: Mutex<Vec<Arc<Notify>>>,
}

/// What a level's task does next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Another turn.
    Turn,
    /// Wait until a message comes.
    Arrival,
    /// Sleep.
    Sleep(Duration),
}

impl ScheduleMessageService {
    /// The service of a broker whose store is open.
    pub(crate) fn new(context: Arc<BrokerContext>) -> Arc<Self> {
        let arrivals = Arc::new(DelayedArrivals { arrived: Mutex::default() });
        Arc::new(ScheduleMessageService { context, arrivals })
    }

    /// Starts the task of each level: those of `messageDelayLevel`, and those that still have messages from
    /// when there were more, or from a master that has more.
    pub(crate) fn start(self: &Arc<Self>, tasks: &TaskGroup) {
        let present = self.context.store.consume_queues().queue_ids(SCHEDULE_TOPIC).into_iter();
        let present = present.map(|queue_id| queue_id as usize + 1).max().unwrap_or(0);
        let levels = self.context.store.config().message_delay_level.max_level().max(present);
        let arrived: Vec<_> = (0..levels).map(|_| Arc::new(Notify::new())).collect();
        lock(&self.arrivals.arrived).clone_from(&arrived);
        for (queue_id, arrived) in arrived.into_iter().enumerate() {
            let level = Arc::clone(self).run_level(queue_id as u32, arrived);
            tasks.spawn_until_cancelled("schedule message", level);
        }
    }

    /// Who wants to know of every message that becomes visible.
    pub(crate) fn arrivals(&self) -> Arc<DelayedArrivals> {
        Arc::clone(&self.arrivals)
    }

    async fn run_level(self: Arc<Self>, queue_id: u32, arrived: Arc<Notify>) {
        loop {
            match self.turn(queue_id).await {
                Next::Turn => tokio::task::yield_now().await,
                Next::Arrival => arrived.notified().await,
                Next::Sleep(duration) => tokio::time::sleep(duration).await,
            }
        }
    }

    /// Delivers what is due.
    async fn turn(&self, queue_id: u32) -> Next {
        let Some(queue) = self.context.store.consume_queues().find(SCHEDULE_TOPIC, queue_id) else {
            return Next::Arrival;
        };
        for _ in 0..MESSAGES_PER_TURN {
            if let Some(next) = self.step(&queue).await {
                return next;
            }
        }
        Next::Turn
    }

    /// Looks at the level's next message; what to do if it is not delivered now.
    async fn step(&self, queue: &ConsumeQueue) -> Option<Next> {
        let level = queue.queue_id() as i32 + 1;
        let (min, max) = (queue.min_offset_in_queue(), queue.max_offset_in_queue());
        let offset = self.context.delay_offsets.offset(level).clamp(min.min(max), max);
        if offset == max {
            return Some(Next::Arrival);
        }
        let Some(unit) = queue.unit(offset) else {
            self.context.delay_offsets.advance(level, queue.roll_next_file(offset).min(max), 0);
            return None;
        };
        if unit == ConsumeQueueUnit::FILLER {
            self.context.delay_offsets.advance(level, offset + 1, 0);
            return None;
        }
        let wait = self.time_until(level, unit.tags_code);
        if !wait.is_zero() {
            return Some(Next::Sleep(wait.min(SLEEP_MAX)));
        }
        let Some(message) = self.due_message(unit.phy_offset as u64) else {
            tracing::error!(level, offset, phy_offset = unit.phy_offset, "cannot be delivered");
            self.context.delay_offsets.advance(level, offset + 1, 0);
            return None;
        };
        let topic = &message.topic;
        self.context.make_readable(topic, message.queue_id).await;
        let put = self.context.store.put_due_message(&message).await;
        self.count(queue.queue_id(), &message, &put);
        let Some(appended) = put.append else {
            let status = put.status.name();
            tracing::warn!(level, offset, topic, status, "delivery is tried again");
            if self.context.store.config().planted(Plant::DelayCursorWithoutPut) {
                self.context.delay_offsets.advance(level, offset + 1, 0);
                return None;
            }
            return Some(Next::Sleep(RETRY_PAUSE));
        };
        if self.context.store.config().planted(Plant::DueAndDueAgain) && offset % 5 == 0 {
            self.context.store.put_due_message(&message).await;
        }
        self.context.delay_offsets.advance(level, offset + 1, appended.end_offset());
        None
    }

    /// A delivery is a read of the level's queue and a put.
    fn count(&self, queue_id: u32, message: &MessageInner, put: &PutMessageResult) {
        let Some(appended) = &put.append else { return };
        let handed_out =
            HandedOut { messages: 1, bytes: appended.wrote_bytes.into(), latency: Duration::ZERO };
        let stats = &self.context.stats;
        stats.get(SCHEDULE_CONSUMER_GROUP, SCHEDULE_TOPIC, queue_id, handed_out);
        stats.put(&message.topic, message.queue_id, put);
    }

    /// How long a message of `level` that is due at `due_ms` has to wait.
    fn time_until(&self, level: i32, due_ms: i64) -> Duration {
        let now_ms = self.context.env.clock.now_millis();
        let levels = &self.context.store.config().message_delay_level;
        let latest_ms = levels.deliver_time_ms(level as usize, now_ms);
        let due_ms = u64::try_from(due_ms).unwrap_or(0);
        let wait_ms = if due_ms > latest_ms { 0 } else { due_ms.saturating_sub(now_ms) };
        match self.context.store.config().planted(Plant::DueTooEarly) {
            true => Duration::from_millis(wait_ms.saturating_sub(2_000)),
            false => Duration::from_millis(wait_ms),
        }
    }

    /// The message as it goes to its own topic; `None` where there is no whole one that may.
    fn due_message(&self, phy_offset: u64) -> Option<MessageInner> {
        let record = Bytes::from_owner(self.context.store.look_message_by_offset(phy_offset)?);
        let message = real_message(&decode_record(&record).ok()?, &record)?;
        // Half messages have no delays; delivered, this one would come without its transaction.
        let is_half = message.topic == RMQ_SYS_TRANS_HALF_TOPIC;
        (!is_half).then_some(MessageInner { wait_store_ok: false, ..message })
    }
}

impl DelayedArrivals {
    /// A message became visible.
    pub(crate) fn notify_message_arriving(&self, topic: &str, queue_id: u32) {
        if topic == SCHEDULE_TOPIC
            && let Some(arrived) = lock(&self.arrived).get(queue_id as usize)
        {
            arrived.notify_one();
        }
    }
}
