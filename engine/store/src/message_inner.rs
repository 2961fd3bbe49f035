//! [`MessageInner`]: a message, or a batch, on its way into the store.

use std::net::SocketAddr;

use bytes::Bytes;

/// A message as the broker hands it to the store (RocketMQ 4.9 `MessageExtBrokerInner`). For
/// [`crate::MessageStore::put_messages`] the body holds the encoded inner messages.
#[derive(Clone, Debug)]
pub struct MessageInner {
    /// Topic to store under.
    pub topic: String,
    /// Queue to store into.
    pub queue_id: u32,
    /// The user's flag.
    pub flag: i32,
    /// Compression and transaction bits; the host bits are the store's.
    pub sys_flag: i32,
    /// The body, compressed or not.
    pub body: Bytes,
    /// Properties as they are stored (`name 0x01 value 0x02 …`).
    pub properties: String,
    /// When the producer made the message, in milliseconds since the epoch.
    pub born_timestamp_ms: i64,
    /// The producer's address.
    pub born_host: SocketAddr,
    /// This broker's address.
    pub store_host: SocketAddr,
    /// How often a consumer sent it back.
    pub reconsume_times: i32,
    /// Offset of the half message of a committed transaction, else 0.
    pub prepared_transaction_offset: i64,
    /// Whether the answer waits for the sync and the slave (property `WAIT`).
    pub wait_store_ok: bool,
}
