//! [`Draft`]: a message of a workload before it is sent. What is not drawn as it goes follows from its number.

use std::sync::Arc;

use bytes::Bytes;
use mq_protocol::message::{Message, MessageConst};
use staticfire_judge::history::{drawn, drawn_percent, fill_body, message_key, repeat_words};
use staticfire_world::trace::Name;

use super::{InFlight, Workload};

/// What a producer draws of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drawn {
    pub(super) number: u32,
    /// Length of the body in bytes.
    pub(super) len: usize,
    /// `WAIT`.
    pub(super) wait: bool,
}

/// A message that is about to be sent.
pub(super) struct Draft {
    pub(super) message: Message,
    pub(super) kind: DraftKind,
    pub(super) in_flight: InFlight,
}

/// How a message is sent, as far as the outcome depends on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct DraftKind {
    pub(super) number: u32,
    pub(super) wait: bool,
    pub(super) is_oneway: bool,
    /// 0 for none.
    pub(super) delay_level: u32,
}

impl Draft {
    /// The message, whose send begins now; `again`, if its producer started anew.
    pub(super) fn new(
        work: &Arc<Workload>,
        producer: &Name,
        drawn: Drawn,
        sharding_key: Option<Name>,
        again: bool,
    ) -> Self {
        let Drawn { number, wait, .. } = drawn;
        let seed = work.traffic.seed;
        let mut message = Message::new(work.plan.topic.clone(), body(work, drawn));
        message.properties.insert(MessageConst::KEYS, &message_key(number));
        if !wait {
            message.properties.insert(MessageConst::WAIT, "false");
        }
        let delay_level = work.delay_level(number);
        if delay_level > 0 {
            message.properties.insert_display(MessageConst::DELAY, delay_level);
        }
        if let Some(key) = &sharding_key {
            message.properties.insert(MessageConst::SHARDING_KEY, key);
        }
        work.plan.labels().write(seed, number, &mut message.properties);
        work.traffic.note_unwanted(&work.plan.topic, number, &message.properties);
        let is_oneway = drawn_percent(seed, "oneway", number) < work.plan.oneway_percent;
        let kind = DraftKind { number, wait, is_oneway, delay_level };
        let in_flight = work.send_started(producer, number, sharding_key, again);
        Draft { message, kind, in_flight }
    }
}

fn body(work: &Workload, drawn: Drawn) -> Bytes {
    let mut body = Vec::with_capacity(drawn.len + 8);
    fill_body(work.traffic.seed, drawn.number, drawn.len, &mut body);
    if work.plan.compress_over_bytes.is_some() {
        repeat_words(&mut body);
    }
    Bytes::from(body)
}

impl Workload {
    /// The delay level of a message; 0 for none.
    fn delay_level(&self, number: u32) -> u32 {
        let place = drawn(self.traffic.seed, MessageConst::DELAY, number);
        let place = place.checked_rem(self.levels.len() as u64).unwrap_or_default();
        self.levels.get(usize::try_from(place).unwrap_or_default()).copied().unwrap_or_default()
    }
}
