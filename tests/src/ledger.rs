//! [`Ledger`]: what senders attempted and what brokers acknowledged. It lives where the fault does
//! not reach: in the parent of the broker's process, or outside of the machine that loses power.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use mq_client::SendResult;
use mq_protocol::message::OffsetMessageId;

/// Bytes of every body.
pub const BODY_BYTES: usize = 300;

/// One message: the `number`th of a sender. No two senders have the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessageId {
    /// The sender.
    pub sender: u32,
    /// Counts the sender's attempts, from 0.
    pub number: u32,
}

impl MessageId {
    /// The body that tells the message: its id, and bytes that follow from it.
    #[must_use]
    pub fn body(self) -> Vec<u8> {
        let mut body = format!("{:08x}{:08x}", self.sender, self.number).into_bytes();
        let mut state = u64::from(self.sender) << 32 | u64::from(self.number);
        while body.len() < BODY_BYTES {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            body.push((state >> 56) as u8);
        }
        body
    }

    /// The message of which `body` is the whole body; nothing when it is of none, or damaged.
    #[must_use]
    pub fn of(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body.get(..16)?).ok()?;
        let (sender, number) = text.split_at_checked(8)?;
        let sender = u32::from_str_radix(sender, 16).ok()?;
        let number = u32::from_str_radix(number, 16).ok()?;
        let id = MessageId { sender, number };
        (id.body() == body).then_some(id)
    }
}

/// Where an acknowledged message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The message.
    pub message: MessageId,
    /// Its topic.
    pub topic: String,
    /// Its queue.
    pub queue_id: i32,
    /// Its index in the queue.
    pub queue_offset: i64,
    /// Where its record begins in the CommitLog.
    pub phy_offset: i64,
    /// When the sender had the acknowledgement, in milliseconds of a clock that all senders share.
    pub acked_at_ms: u64,
}

impl Ack {
    /// The acknowledgement that `sent` is for `message`.
    ///
    /// # Panics
    /// When the broker's id of the message is none.
    #[must_use]
    pub fn new(message: MessageId, sent: &SendResult, acked_at_ms: u64) -> Self {
        let id: OffsetMessageId = sent.offset_msg_id.parse().unwrap();
        Ack {
            message,
            topic: sent.message_queue.topic.clone(),
            queue_id: sent.message_queue.queue_id,
            queue_offset: sent.queue_offset,
            phy_offset: id.phy_offset,
            acked_at_ms,
        }
    }
}

/// One line without its end.
impl fmt::Display for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ack { message: MessageId { sender, number }, topic, queue_id, queue_offset, .. } = self;
        let Ack { phy_offset, acked_at_ms, .. } = self;
        write!(f, "{sender} {number} {topic} {queue_id} {queue_offset} {phy_offset} {acked_at_ms}")
    }
}

impl FromStr for Ack {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let bad = || format!("not the line of an acknowledgement: {line:?}");
        let fields: Vec<&str> = line.split(' ').collect();
        let [sender, number, topic, queue_id, queue_offset, phy_offset, acked_at_ms] = fields[..]
        else {
            return Err(bad());
        };
        let message = MessageId {
            sender: sender.parse().map_err(|_| bad())?,
            number: number.parse().map_err(|_| bad())?,
        };
        Ok(Ack {
            message,
            topic: topic.to_owned(),
            queue_id: queue_id.parse().map_err(|_| bad())?,
            queue_offset: queue_offset.parse().map_err(|_| bad())?,
            phy_offset: phy_offset.parse().map_err(|_| bad())?,
            acked_at_ms: acked_at_ms.parse().map_err(|_| bad())?,
        })
    }
}

/// What was attempted and what was acknowledged.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    acks: BTreeMap<MessageId, Ack>,
    attempts: BTreeMap<u32, (String, u32)>,
}

impl Ledger {
    /// A sender is about to send a message.
    pub fn attempt(&mut self, message: MessageId, topic: &str) {
        self.attempts.insert(message.sender, (topic.to_owned(), message.number + 1));
    }

    /// A message was acknowledged: SEND_OK.
    ///
    /// # Panics
    /// When it was acknowledged before.
    pub fn ack(&mut self, ack: Ack) {
        let before = self.acks.insert(ack.message, ack);
        assert_eq!(before, None, "acknowledged twice");
    }

    /// An acknowledged message was lost, as was permitted: its place will be used again.
    pub fn forget(&mut self, message: MessageId) {
        self.acks.remove(&message);
    }

    /// What was acknowledged.
    pub fn acks(&self) -> impl ExactSizeIterator<Item = &Ack> {
        self.acks.values()
    }

    /// The acknowledgement of a message.
    #[must_use]
    pub fn ack_of(&self, message: MessageId) -> Option<&Ack> {
        self.acks.get(&message)
    }

    /// Whether a message was ever sent to `topic`, acknowledged or not.
    #[must_use]
    pub fn was_attempted(&self, message: MessageId, topic: &str) -> bool {
        let of_sender = self.attempts.get(&message.sender);
        of_sender.is_some_and(|(sent_to, count)| sent_to == topic && message.number < *count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_tells_its_message_and_whether_it_is_whole() {
        let id = MessageId { sender: 7, number: 4_000_000_000 };
        let mut body = id.body();
        assert_eq!((body.len(), MessageId::of(&body)), (BODY_BYTES, Some(id)));
        body[200] ^= 1;
        assert_eq!(MessageId::of(&body), None);
    }

    #[test]
    fn an_acknowledgement_is_a_line_and_back() {
        let message = MessageId { sender: 1, number: 2 };
        let topic = "T".to_owned();
        let ack =
            Ack { message, topic, queue_id: 3, queue_offset: 4, phy_offset: 5, acked_at_ms: 6 };
        assert_eq!(ack.to_string().parse(), Ok(ack));
        assert!("1 2 T 3".parse::<Ack>().is_err());
    }
}
