//! [`LocalOffsetStore`]: how far a client has consumed by broadcasting, in a file of its own (RocketMQ 4.9
//! `LocalFileOffsetStore`).
//!
//! `<dir>/<clientId>/<group>/offsets.json` and its `.bak`, in the bytes of 4.9. Queues stay in the file that the
//! client does not own at the moment: 4.9 forgets those, so that a broker that is away for a while is read
//! from somewhere else when it comes back.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use mq_env::disk::Disk;
use mq_env::disk::replaced_file::{load_file, replace_file, settle_files};
use mq_protocol::body::offset_table::OffsetSerializeWrapper;
use mq_protocol::fastjson::{Json, JsonReadError, JsonStyle, JsonWriter, from_slice};
use mq_protocol::message::MessageQueue;

use crate::error::StartError;

/// Queue offsets of the next message to consume.
pub(crate) type Offsets = BTreeMap<MessageQueue, i64>;

/// The offsets of one group of one client.
pub(crate) struct LocalOffsetStore {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    offsets: Mutex<Offsets>,
    /// What was written last; held by whoever writes.
    written: tokio::sync::Mutex<Offsets>,
}

impl LocalOffsetStore {
    /// Reads the offsets of `group`.
    ///
    /// # Errors
    /// When nothing sound is left of them, or the disk cannot make durable what is there.
    pub(crate) async fn load(
        disk: Arc<dyn Disk>,
        store_dir: &Path,
        client_id: &str,
        group: &str,
    ) -> Result<Self, StartError> {
        let dir = store_dir.join(client_id).join(group);
        let path = dir.join("offsets.json");
        settle_files(&*disk, &dir).await.map_err(|error| StartError::disk(&path, &error))?;
        let offsets = load_file(&*disk, &path, decode)?.unwrap_or_default();
        let written = tokio::sync::Mutex::new(offsets.clone());
        Ok(LocalOffsetStore { disk, path, offsets: Mutex::new(offsets), written })
    }

    /// The offset of a queue.
    pub(crate) fn get(&self, queue: &MessageQueue) -> Option<i64> {
        self.offsets().get(queue).copied()
    }

    /// Sets the offset of a queue; it is in the file after the next [`LocalOffsetStore::persist`].
    pub(crate) fn set(&self, queue: &MessageQueue, offset: i64) {
        self.offsets().insert(queue.clone(), offset);
    }

    /// Writes the file, if anything is new.
    pub(crate) async fn persist(&self) {
        let mut written = self.written.lock().await;
        let offsets = self.offsets().clone();
        if *written == offsets {
            return;
        }
        match self.replace(&offsets).await {
            Ok(()) => *written = offsets,
            Err(error) => {
                let path = self.path.display();
                tracing::error!(%path, %error, "offsets of a broadcasting consumer not written");
            }
        }
    }

    async fn replace(&self, offsets: &Offsets) -> io::Result<()> {
        let is_sound = |before: &[u8]| decode(before).is_ok();
        replace_file(&*self.disk, &self.path, is_sound, &encode(offsets)).await
    }

    fn offsets(&self) -> MutexGuard<'_, Offsets> {
        self.offsets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn decode(content: &[u8]) -> Result<Offsets, JsonReadError> {
    let wrapper: OffsetSerializeWrapper = from_slice(content)?;
    Ok(wrapper.offset_table.into_iter().collect())
}

fn encode(offsets: &Offsets) -> Bytes {
    let offsets = offsets.iter().map(|(queue, offset)| (queue.clone(), *offset));
    let mut writer = JsonWriter::new(JsonStyle::Pretty);
    OffsetSerializeWrapper { offset_table: offsets.collect() }.write(&mut writer);
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes are those of fastjson's `toJSONString(wrapper, true)`, where a key that is an object follows its
    /// brace or comma on the same line, one level deeper than its map.
    #[test]
    fn the_file_is_that_of_java() {
        let queue = |queue_id| MessageQueue {
            topic: "T".to_owned(),
            broker_name: "a".to_owned(),
            queue_id,
        };
        let offsets = Offsets::from([(queue(0), 5), (queue(1), 0)]);
        let text = "{\n\t\"offsetTable\":{{\n\t\t\t\"brokerName\":\"a\",\n\t\t\t\"queueId\":0,\n\t\t\t\
                    \"topic\":\"T\"\n\t\t}:5,{\n\t\t\t\"brokerName\":\"a\",\n\t\t\t\"queueId\":1,\n\t\t\t\
                    \"topic\":\"T\"\n\t\t}:0\n\t}\n}";
        assert_eq!(encode(&offsets), text);
        assert_eq!(decode(text.as_bytes()).unwrap(), offsets);
        let compact = br#"{"offsetTable":{{"brokerName":"a","queueId":0,"topic":"T"}:5,{"brokerName":"a","queueId":1,"topic":"T"}:0}}"#;
        assert_eq!(decode(compact).unwrap(), offsets);
    }
}
