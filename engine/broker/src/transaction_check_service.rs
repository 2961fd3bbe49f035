//! [`TransactionalMessageCheckService`]: a master asks producers about half messages that nobody ends (RocketMQ
//! 4.9 `TransactionalMessageCheckService`, `TransactionalMessageServiceImpl.check`).
//!
//! Every `transactionCheckInterval` it looks at each half message that is not done with. One that is older than
//! `transactionTimeOut`, or than its own `CHECK_IMMUNITY_TIME_IN_SECONDS`, is asked about: its group's producers
//! take turns, and the answer is an END_TRANSACTION. After `transactionCheckMax` questions, or when its file
//! is about to be removed, it goes to `TRANS_CHECK_MAX_TIME_TOPIC` and is done with.
//!
//! RocketMQ appends a half message anew with every question, so that its offset can move on; whoever ends
//! the old one then ends another message (`transaction_check_put_back` does so, to show what it costs). Here it stays where
//! it is, and questions are counted beside it (`transaction_questions`).

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use mq_protocol::codes::RequestCode;
use mq_protocol::header::transaction::CheckTransactionStateRequestHeader;
use mq_protocol::message::{MessageConst, OffsetMessageId, Properties, PropertiesView};
use mq_protocol::message_codec::{EncodeError, RecordFields, RecordView, decode_record};
use mq_protocol::remoting_command::RemotingCommand;
use mq_protocol::topic_validator::{RMQ_SYS_TRANS_CHECK_MAX_TIME_TOPIC, RMQ_SYS_TRANS_HALF_TOPIC};
use mq_store::config::UpstreamSwitch;
use mq_store::plant::{Plant, planted_on_this_thread};
use mq_store::{ConsumeQueue, MessageInner};

use crate::context::BrokerContext;
use crate::now_ms;
use crate::real_message::real_message;
use crate::transaction_check_put_back::put_back_round;
use crate::transaction_ends::{Ending, Stage, record_at, store_of_own, write_op};

/// Half messages looked at before other tasks get a turn.
const HALVES_PER_TURN: usize = 64;
const HOUR_MS: i64 = 3_600_000;

/// Where a half message lies that a producer is asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HalfPlace {
    pub(crate) queue_offset: i64,
    pub(crate) phy_offset: i64,
}

/// Asks about half messages.
pub(crate) struct TransactionalMessageCheckService {
    context: Arc<BrokerContext>,
}

/// What becomes of a half message that nobody has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// It is young.
    Leave,
    /// A producer is asked, for the how manyth time.
    Ask(u32),
    /// It goes where nobody asks any more.
    GiveUp,
}

/// When half messages are asked about and given up; milliseconds.
pub(crate) struct Patience {
    /// `transactionTimeOut`.
    pub(crate) immunity_ms: i64,
    /// `fileReservedTime`.
    pub(crate) reserved_ms: i64,
    /// `transactionCheckMax`.
    pub(crate) check_max: u32,
}

impl TransactionalMessageCheckService {
    /// The service of a broker whose store is open.
    pub(crate) fn new(context: Arc<BrokerContext>) -> Self {
        TransactionalMessageCheckService { context }
    }

    /// Looks, again and again.
    pub(crate) async fn run(self) {
        loop {
            let interval_ms = self.context.live().transaction_check_interval_ms.max(1);
            tokio::time::sleep(Duration::from_millis(interval_ms)).await;
            self.check().await;
        }
    }

    /// Looks at every half message that is not done with.
    async fn check(&self) {
        let context = &self.context;
        let Some(queue) = context.store.consume_queues().find(RMQ_SYS_TRANS_HALF_TOPIC, 0) else {
            return;
        };
        if context.store.config().upstream(UpstreamSwitch::PutBackHalfMessages) {
            return put_back_round(context, &queue, &self.patience()).await;
        }
        context.transaction_ends.catch_up(context).await;
        let (min, end) = (queue.min_offset_in_queue(), queue.max_offset_in_queue());
        let mut looked = 0;
        for offset in context.transaction_ends.first_open().max(min)..end {
            self.look(&queue, offset).await;
            looked += 1;
            if looked % HALVES_PER_TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
        context.transaction_ends.advance(&context.offsets, min);
        let is_done = |offset| context.transaction_ends.stage(offset) == Stage::Done;
        context.transaction_questions.persist(is_done).await;
    }

    async fn look(&self, queue: &ConsumeQueue, offset: u64) {
        let ends = &self.context.transaction_ends;
        let stage = ends.stage(offset);
        if stage == Stage::Done {
            return;
        }
        let record = record_at(&self.context.store, queue, offset);
        let Some((half, message)) = record.as_ref().and_then(waiting) else {
            // Nothing can be asked about it, nor stored.
            tracing::error!(offset, "a half message cannot be read");
            if let Some(ending) = ends.begin(offset) {
                ending.done(None);
            }
            return;
        };
        if stage == Stage::LacksOp {
            if let Some(op_offset) = write_op(&self.context, &half).await {
                ends.op_written(offset, op_offset);
            }
            return;
        }
        let properties = PropertiesView::new(&message.properties);
        let now_ms = now_ms(&*self.context.env.clock);
        let questions = &self.context.transaction_questions;
        match self.patience().decide(&half, properties, questions.asked(&half), now_ms) {
            Next::Leave => {}
            Next::Ask(_) if planted_on_this_thread(Plant::NobodyIsAsked) => {}
            Next::Ask(times) => {
                questions.note(&half, times);
                let (queue_offset, phy_offset) = (half.queue_offset(), half.phy_offset());
                let place = HalfPlace { queue_offset, phy_offset };
                ask(&self.context, &half, &message, place, times);
            }
            Next::GiveUp => {
                if let Some(ending) = ends.begin(offset) {
                    self.give_up(&half, message, ending).await;
                }
            }
        }
    }

    fn patience(&self) -> Patience {
        let ms = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let config = self.context.live();
        let reserved_hours = ms(self.context.store.live_config().file_reserved_time_hours);
        Patience {
            immunity_ms: ms(config.transaction_timeout_ms),
            reserved_ms: reserved_hours.saturating_mul(HOUR_MS),
            check_max: config.transaction_check_max,
        }
    }

    /// Gives a half message up; it stays where it is if that fails.
    async fn give_up(&self, half: &RecordView<'_>, message: MessageInner, ending: Ending<'_>) {
        if store_given_up(&self.context, half, message).await {
            ending.done(write_op(&self.context, half).await);
        }
    }
}

/// Stores a half message where operators find it; whether that was done.
pub(crate) async fn store_given_up(
    context: &BrokerContext,
    half: &RecordView<'_>,
    message: MessageInner,
) -> bool {
    let (real_topic, offset) = (message.topic, half.queue_offset());
    let topic = RMQ_SYS_TRANS_CHECK_MAX_TIME_TOPIC.to_owned();
    let message = MessageInner { topic, queue_id: 0, wait_store_ok: false, ..message };
    let is_stored = store_of_own(context, half, &message).await.is_some();
    if is_stored {
        tracing::warn!(real_topic, offset, "a half message is given up: nobody ended it");
    }
    is_stored
}

/// Asks one producer of the group (39) about a half message, which will be `message` and lies at `place`. Where there
/// is no producer, the question counts all the same.
pub(crate) fn ask(
    context: &BrokerContext,
    half: &RecordView<'_>,
    message: &MessageInner,
    place: HalfPlace,
    times: u32,
) {
    let properties = PropertiesView::new(&message.properties);
    let group = properties.get(MessageConst::PGROUP).unwrap_or_default();
    let offset = place.queue_offset;
    let Some(channel) = context.producers.available_channel(group) else {
        tracing::info!(group, offset, times, "no producer can be asked about a transaction");
        return;
    };
    let unique_key = properties.get(MessageConst::UNIQ_KEY).map(str::to_owned);
    let id = OffsetMessageId { store_host: half.store_host(), phy_offset: place.phy_offset };
    let header = CheckTransactionStateRequestHeader {
        tran_state_table_offset: offset,
        commit_log_offset: place.phy_offset,
        msg_id: unique_key.clone(),
        transaction_id: unique_key,
        offset_msg_id: Some(id.to_string()),
    };
    let request = RemotingCommand::request(RequestCode::CHECK_TRANSACTION_STATE, &header);
    let asked = match question(half, message, place, times) {
        Ok(body) => channel.oneway(request.with_body(body)).map_err(|it| it.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = asked {
        tracing::info!(group, offset, times, error, "no question about a transaction");
    }
}

/// The half message in `record`, and the message that it will be.
pub(crate) fn waiting(record: &Bytes) -> Option<(RecordView<'_>, MessageInner)> {
    let half = decode_record(record).ok()?;
    Some((half, real_message(&half, record)?))
}

impl Patience {
    fn decide(
        &self,
        half: &RecordView<'_>,
        properties: PropertiesView<'_>,
        asked: u32,
        now_ms: i64,
    ) -> Next {
        let number = |name| properties.get(name).and_then(|text| text.parse::<i64>().ok());
        // 4.9 counts in the message.
        let counted = number(MessageConst::TRANSACTION_CHECK_TIMES).unwrap_or_default();
        let times = asked.max(u32::try_from(counted).unwrap_or_default());
        let stored_ms_ago = now_ms.saturating_sub(half.store_timestamp());
        if times >= self.check_max || stored_ms_ago > self.reserved_ms {
            return Next::GiveUp;
        }
        let own_immunity = number(MessageConst::CHECK_IMMUNITY_TIME_IN_SECONDS);
        let own_immunity = own_immunity.filter(|seconds| *seconds != -1);
        let immunity_ms = own_immunity.map_or(self.immunity_ms, |it| it.saturating_mul(1_000));
        // A producer whose clock is ahead is asked at once.
        let born_ms_ago = now_ms.saturating_sub(half.born_timestamp());
        if (0..immunity_ms).contains(&born_ms_ago) { Next::Leave } else { Next::Ask(times + 1) }
    }
}

/// The half message as producers are asked about it: under its own topic and queue, with the count in it.
fn question(
    half: &RecordView<'_>,
    message: &MessageInner,
    place: HalfPlace,
    times: u32,
) -> Result<Bytes, EncodeError> {
    let mut properties = Properties::parse(&message.properties);
    properties.insert_display(MessageConst::TRANSACTION_CHECK_TIMES, times);
    let properties = properties.to_string();
    let fields = RecordFields {
        body_crc: half.body_crc(),
        queue_id: message.queue_id as i32,
        flag: half.flag(),
        queue_offset: place.queue_offset,
        phy_offset: place.phy_offset,
        sys_flag: half.sys_flag(),
        born_timestamp: half.born_timestamp(),
        born_host: half.born_host(),
        store_timestamp: half.store_timestamp(),
        store_host: half.store_host(),
        reconsume_times: half.reconsume_times(),
        prepared_transaction_offset: half.prepared_transaction_offset(),
        body: half.body(),
        topic: &message.topic,
        properties: &properties,
    };
    let mut body = BytesMut::with_capacity(fields.size()?);
    fields.encode(&mut body)?;
    Ok(body.freeze())
}
