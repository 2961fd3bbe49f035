//! Several messages in one request (RocketMQ 4.9 `MessageBatch`), and the division of many messages into
//! batches.
//!
//! Messages of a batch go to one queue, one behind the other, and are stored together or not at all.

use bytes::{Bytes, BytesMut};
use mq_protocol::message::{Message, MessageConst, RETRY_GROUP_TOPIC_PREFIX};
use mq_protocol::message_codec::{BatchEntry, encode_batch_entry};

use crate::error::ClientError;

/// What a message takes in the body of a batch beside body and properties: six numbers, and the `UNIQ_KEY`
/// that it will have.
const ENTRY_OVERHEAD_BYTES: usize = 22 + 10 + 56;

/// Checks that the messages may travel together: all of one topic that is no retry topic, all waiting for
/// what the broker promises or none, none delayed and none of a transaction.
pub(crate) fn check_batch(messages: &[Message]) -> Result<(), ClientError> {
    let refuse = |text: &str| Err(ClientError::IllegalMessage(text.to_owned()));
    let Some(first) = messages.first() else { return refuse("the batch is empty") };
    for message in messages {
        if message.delay_level() > 0 {
            return refuse("TimeDelayLevel is not supported for batching");
        }
        if message.topic.starts_with(RETRY_GROUP_TOPIC_PREFIX) {
            return refuse("Retry Group is not supported for batching");
        }
        if message.topic != first.topic {
            return refuse("The topic of the messages in one batch should be the same");
        }
        if message.is_wait_store_msg_ok() != first.is_wait_store_msg_ok() {
            return refuse("The waitStoreMsgOK of the messages in one batch should the same");
        }
        // 4.9 sends it, and the broker stores a message of a transaction that never was one.
        if message.properties.get(MessageConst::TRAN_MSG) == Some("true") {
            return refuse("a message of a transaction is in no batch");
        }
    }
    Ok(())
}

/// The body of a batch: the messages as they are, never compressed.
pub(crate) fn encode_batch(messages: &[Message]) -> Result<Bytes, ClientError> {
    let mut body = BytesMut::new();
    for message in messages {
        let properties = message.properties.to_string();
        let entry = BatchEntry { flag: message.flag, body: &message.body, properties: &properties };
        let encoded = encode_batch_entry(&entry, &mut body);
        encoded.map_err(|error| ClientError::IllegalMessage(error.to_string()))?;
    }
    Ok(body.freeze())
}

/// Divides messages into batches of at most `size_bytes_max` bytes each, in their order (`ListSplitter` of
/// RocketMQ's examples). A message that is larger by itself is a batch by itself.
pub fn split_messages(
    messages: Vec<Message>,
    size_bytes_max: usize,
) -> impl Iterator<Item = Vec<Message>> {
    let mut rest = messages.into_iter().peekable();
    std::iter::from_fn(move || {
        let first = rest.next()?;
        let mut size_bytes = entry_bytes(&first);
        let mut batch = vec![first];
        while let Some(message) =
            rest.next_if(|next| size_bytes + entry_bytes(next) <= size_bytes_max)
        {
            size_bytes += entry_bytes(&message);
            batch.push(message);
        }
        Some(batch)
    })
}

/// What a message takes in the body of a batch, at most.
fn entry_bytes(message: &Message) -> usize {
    let properties = message.properties.iter();
    let properties: usize = properties.map(|(name, value)| name.len() + value.len() + 2).sum();
    ENTRY_OVERHEAD_BYTES + message.body.len() + properties
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(len: usize) -> Message {
        let mut message = Message::new("T", vec![7; len]);
        message.properties.insert(MessageConst::KEYS, "k");
        message
    }

    #[test]
    fn many_messages_become_batches_that_fit() {
        let lens = [100, 200, 3_000, 50, 50, 900, 10];
        let batches: Vec<Vec<usize>> = split_messages(lens.map(message).to_vec(), 1_000)
            .map(|batch| batch.iter().map(|message| message.body.len()).collect())
            .collect();
        assert_eq!(batches, [vec![100, 200], vec![3_000], vec![50, 50], vec![900], vec![10]]);
        for batch in split_messages(vec![message(90); 50], 1_000) {
            let mut batch = batch;
            for message in &mut batch {
                message.properties.insert(MessageConst::UNIQ_KEY, &"F".repeat(56));
            }
            let size_bytes = encode_batch(&batch).unwrap().len();
            assert!((800..=1_000).contains(&size_bytes), "{size_bytes}");
        }
        assert_eq!(split_messages(Vec::new(), 10).count(), 0);
    }

    #[test]
    fn what_may_not_travel_together_is_refused() {
        let with = |name: &str, value: &str| {
            let mut message = message(1);
            message.properties.insert(name, value);
            message
        };
        assert!(check_batch(&[message(1), message(2), with("WAIT", "true")]).is_ok());
        for (other, text) in [
            (with("DELAY", "1"), "TimeDelayLevel"),
            (with("WAIT", "false"), "waitStoreMsgOK"),
            (with("TRAN_MSG", "true"), "transaction"),
            (Message::new("U", "x"), "topic"),
            (Message::new("%RETRY%G", "x"), "Retry Group"),
        ] {
            let refused = check_batch(&[message(1), other]).unwrap_err().to_string();
            assert!(refused.contains(text), "{refused}");
        }
        assert!(check_batch(&[]).is_err());
    }
}
