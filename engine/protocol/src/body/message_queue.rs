//! A queue as a body's value and, in fastjson's dialect, as a key.

use crate::fastjson::{Json, JsonKey, JsonReadError, JsonWriter, Value};
use crate::message::MessageQueue;

impl Json for MessageQueue {
    fn write(&self, out: &mut JsonWriter) {
        out.object(|members| {
            members.property("brokerName", &self.broker_name);
            members.property("queueId", &self.queue_id);
            members.property("topic", &self.topic);
        });
    }

    fn read(value: &Value) -> Result<Self, JsonReadError> {
        fn property<T: Json>(queue: &Value, name: &'static str) -> Result<T, JsonReadError> {
            let missing = JsonReadError::expected("part of a message queue");
            let value = queue.get(name).ok_or(missing.within(name))?;
            T::read(value).map_err(|error| error.within(name))
        }
        Ok(MessageQueue {
            topic: property(value, "topic")?,
            broker_name: property(value, "brokerName")?,
            queue_id: property(value, "queueId")?,
        })
    }
}

impl JsonKey for MessageQueue {
    const IS_TEXT: bool = false;

    fn write_key(&self, out: &mut JsonWriter) {
        self.write(out);
    }

    /// The key as an object, or as the text of one.
    fn from_key(key: &Value) -> Option<Self> {
        match key {
            Value::String(text) => Self::read(&Value::parse(text).ok()?).ok(),
            other => Self::read(other).ok(),
        }
    }
}
