//! [`put_back_round`]: how RocketMQ 4.9 asks about half messages (`TransactionalMessageServiceImpl.check`), behind the
//! switch `put-back-half-messages`.
//!
//! A half message is appended anew with every question, counted in its property `TRANSACTION_CHECK_TIMES`; the question is
//! about the new one, and the old one is passed over. Whoever ends the old one, late or answering an earlier question, ends a
//! message of its own, and the new one is asked about all the same.

use mq_protocol::message::{MessageConst, Properties, PropertiesView};
use mq_protocol::message_codec::RecordView;
use mq_store::{ConsumeQueue, MessageInner};

use crate::context::BrokerContext;
use crate::now_ms;
use crate::transaction_check_service::{HalfPlace, Patience, ask, store_given_up, waiting};
use crate::transaction_ends::{Stage, record_at};

/// What a round makes of a half message.
enum Turn {
    /// It is never looked at again.
    Passed,
    /// It and all behind it are for a later round.
    Later,
}

/// A round over the half messages behind those that were passed over.
struct Round<'a> {
    context: &'a BrokerContext,
    patience: &'a Patience,
    /// The first half message of the round.
    first: u64,
    started_ms: i64,
}

/// Looks at every half message that is old enough and not passed over yet.
pub(crate) async fn put_back_round(
    context: &BrokerContext,
    queue: &ConsumeQueue,
    patience: &Patience,
) {
    let ends = &context.transaction_ends;
    ends.catch_up(context).await;
    let (min, end) = (queue.min_offset_in_queue(), queue.max_offset_in_queue());
    let first = ends.first_open().max(min);
    let started_ms = now_ms(&*context.env.clock);
    let round = Round { context, patience, first, started_ms };
    for offset in first..end {
        if ends.stage(offset) != Stage::Done {
            match round.look(queue, offset).await {
                Turn::Passed => ends.pass(offset),
                Turn::Later => break,
            }
        }
        tokio::task::yield_now().await;
    }
    ends.advance(&context.offsets, min);
}

impl Round<'_> {
    async fn look(&self, queue: &ConsumeQueue, offset: u64) -> Turn {
        let record = record_at(&self.context.store, queue, offset);
        let Some((half, message)) = record.as_ref().and_then(waiting) else {
            tracing::error!(offset, "a half message cannot be read");
            return Turn::Passed;
        };
        let now_ms = now_ms(&*self.context.env.clock);
        let born_ms_ago = now_ms.saturating_sub(half.born_timestamp());
        let properties = PropertiesView::new(&message.properties);
        let number = |name| properties.get(name).and_then(|text| text.parse::<i64>().ok());
        let counted = number(MessageConst::TRANSACTION_CHECK_TIMES).unwrap_or_default();
        if counted >= i64::from(self.patience.check_max) || born_ms_ago > self.patience.reserved_ms
        {
            store_given_up(self.context, &half, message).await;
            return Turn::Passed;
        }
        if half.store_timestamp() >= self.started_ms {
            return Turn::Later;
        }
        // Counted also where nobody is asked.
        let times = u32::try_from(counted + 1).unwrap_or(u32::MAX);
        if let Some(own) = number(MessageConst::CHECK_IMMUNITY_TIME_IN_SECONDS) {
            let own_ms = if own == -1 { self.patience.immunity_ms } else { own * 1_000 };
            if born_ms_ago < own_ms {
                let prepared = number(MessageConst::TRAN_PREPARED_QUEUE_OFFSET);
                return self.put_back_immune(&half, &message, prepared, times).await;
            }
        } else if (0..self.patience.immunity_ms).contains(&born_ms_ago) {
            return Turn::Later;
        }
        let renewed = renewed(&half, &message, times, None);
        let Some(place) = self.put_back(&renewed).await else { return Turn::Later };
        ask(self.context, &half, &message, place, times);
        Turn::Passed
    }

    /// A half message that asks for more time is appended anew as well, and tells where it was first; if that one has
    /// ended, it has.
    async fn put_back_immune(
        &self,
        half: &RecordView<'_>,
        message: &MessageInner,
        prepared: Option<i64>,
        times: u32,
    ) -> Turn {
        let first = prepared.and_then(|it| u64::try_from(it).ok()).filter(|it| *it >= self.first);
        let has_ended =
            first.is_some_and(|it| self.context.transaction_ends.stage(it) == Stage::Done);
        if has_ended {
            return Turn::Passed;
        }
        let prepared = prepared.unwrap_or(half.queue_offset());
        match self.put_back(&renewed(half, message, times, Some(prepared))).await {
            Some(_) => Turn::Passed,
            None => Turn::Later,
        }
    }

    async fn put_back(&self, half: &MessageInner) -> Option<HalfPlace> {
        let put = self.context.store.put_message(half).await;
        let status = put.status.name();
        let Some(appended) = put.append else {
            tracing::error!(status, "a half message is not put back");
            return None;
        };
        Some(HalfPlace {
            queue_offset: appended.queue_offset as i64,
            phy_offset: appended.phy_offset as i64,
        })
    }
}

/// A half message as it is appended anew (Java `renewHalfMessageInner`, which forgets the flag).
fn renewed(
    half: &RecordView<'_>,
    message: &MessageInner,
    times: u32,
    prepared: Option<i64>,
) -> MessageInner {
    let mut properties = Properties::parse(&message.properties);
    properties.insert_display(MessageConst::TRANSACTION_CHECK_TIMES, times);
    if let Some(prepared) = prepared {
        properties.insert_display(MessageConst::TRAN_PREPARED_QUEUE_OFFSET, prepared);
    }
    MessageInner {
        topic: half.topic().into_owned(),
        queue_id: half.queue_id() as u32,
        flag: 0,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        wait_store_ok: false,
        properties: properties.to_string(),
        ..message.clone()
    }
}
