//! What a put answers: [`PutMessageStatus`], [`PutMessageResult`], [`AppendMessageResult`].

/// The outcome of a put (RocketMQ 4.9 `PutMessageStatus`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutMessageStatus {
    /// Stored, and as durable and replicated as the mode asks.
    PutOk,
    /// Stored; not known to be synced within `syncFlushTimeout`.
    FlushDiskTimeout,
    /// Stored; no slave confirmed it within `slaveTimeout`.
    FlushSlaveTimeout,
    /// Stored; no slave is connected or the slaves are too far behind.
    SlaveNotAvailable,
    /// Not stored: the store does not take writes.
    ServiceNotAvailable,
    /// Not stored: the next file could not be had.
    CreateMappedFileFailed,
    /// Not stored: topic, body, properties or batch against the rules.
    MessageIllegal,
    /// Not stored: encoded properties above 32767 bytes.
    PropertiesSizeExceeded,
    /// Not stored: the put lock is held for too long.
    OsPageCacheBusy,
    /// Not known.
    UnknownError,
}

impl PutMessageStatus {
    /// Every status.
    pub const ALL: [PutMessageStatus; 10] = [
        PutMessageStatus::PutOk,
        PutMessageStatus::FlushDiskTimeout,
        PutMessageStatus::FlushSlaveTimeout,
        PutMessageStatus::SlaveNotAvailable,
        PutMessageStatus::ServiceNotAvailable,
        PutMessageStatus::CreateMappedFileFailed,
        PutMessageStatus::MessageIllegal,
        PutMessageStatus::PropertiesSizeExceeded,
        PutMessageStatus::OsPageCacheBusy,
        PutMessageStatus::UnknownError,
    ];

    /// Whether the message is in the log, acknowledged or not.
    #[must_use]
    pub const fn is_stored(self) -> bool {
        matches!(
            self,
            PutMessageStatus::PutOk
                | PutMessageStatus::FlushDiskTimeout
                | PutMessageStatus::FlushSlaveTimeout
                | PutMessageStatus::SlaveNotAvailable
        )
    }

    /// Java's spelling.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            PutMessageStatus::PutOk => "PUT_OK",
            PutMessageStatus::FlushDiskTimeout => "FLUSH_DISK_TIMEOUT",
            PutMessageStatus::FlushSlaveTimeout => "FLUSH_SLAVE_TIMEOUT",
            PutMessageStatus::SlaveNotAvailable => "SLAVE_NOT_AVAILABLE",
            PutMessageStatus::ServiceNotAvailable => "SERVICE_NOT_AVAILABLE",
            PutMessageStatus::CreateMappedFileFailed => "CREATE_MAPEDFILE_FAILED",
            PutMessageStatus::MessageIllegal => "MESSAGE_ILLEGAL",
            PutMessageStatus::PropertiesSizeExceeded => "PROPERTIES_SIZE_EXCEEDED",
            PutMessageStatus::OsPageCacheBusy => "OS_PAGECACHE_BUSY",
            PutMessageStatus::UnknownError => "UNKNOWN_ERROR",
        }
    }
}

/// The outcome of a put, and where the message went if it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutMessageResult {
    /// The outcome.
    pub status: PutMessageStatus,
    /// Present when the message was stored.
    pub append: Option<AppendMessageResult>,
}

impl PutMessageResult {
    /// An outcome without a stored message.
    #[must_use]
    pub fn refused(status: PutMessageStatus) -> Self {
        assert!(!status.is_stored(), "what is stored says where: {status:?}");
        PutMessageResult { status, append: None }
    }
}

/// Where a message, or a batch of them, was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendMessageResult {
    /// Physical offset of the first record.
    pub phy_offset: u64,
    /// Length of all records in bytes.
    pub wrote_bytes: u32,
    /// Store time in milliseconds since the epoch.
    pub store_timestamp_ms: u64,
    /// Queue offset of the first record (Java `logicsOffset`).
    pub queue_offset: u64,
    /// Physical offsets of the records of a batch; empty for a single message.
    pub batch_phy_offsets: Vec<u64>,
}

impl AppendMessageResult {
    /// Physical offset behind the last record.
    #[must_use]
    pub fn end_offset(&self) -> u64 {
        self.phy_offset + u64::from(self.wrote_bytes)
    }

    /// Number of records.
    #[must_use]
    pub fn message_count(&self) -> usize {
        self.batch_phy_offsets.len().max(1)
    }

    /// Physical offset of every record, in order.
    pub fn phy_offsets(&self) -> impl Iterator<Item = u64> {
        let single = self.batch_phy_offsets.is_empty().then_some(self.phy_offset);
        self.batch_phy_offsets.iter().copied().chain(single)
    }
}
