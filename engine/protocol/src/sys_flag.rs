//! Bit sets of the protocol: `sysFlag` of messages and of pull requests, topic permissions.

/// Bits of a message's `sysFlag` (RocketMQ 4.9 `MessageSysFlag`).
pub struct MessageSysFlag;

impl MessageSysFlag {
    /// The body is compressed.
    pub const COMPRESSED: i32 = 0x1;
    /// The topic allows several tags per message.
    pub const MULTI_TAGS: i32 = 0x2;
    /// Both transaction bits.
    pub const TRANSACTION_MASK: i32 = 0xC;
    /// Not part of a transaction (also: a stored half message).
    pub const TRANSACTION_NOT: i32 = 0;
    /// A half message on its way to the broker.
    pub const TRANSACTION_PREPARED: i32 = 0x4;
    /// A committed message of a transaction.
    pub const TRANSACTION_COMMIT: i32 = 0x8;
    /// A rolled-back message of a transaction.
    pub const TRANSACTION_ROLLBACK: i32 = 0xC;
    /// `bornHost` is an IPv6 address.
    pub const BORNHOST_V6: i32 = 0x10;
    /// `storeHost` is an IPv6 address.
    pub const STOREHOST_V6: i32 = 0x20;
    /// The three bits of the compression type.
    pub const COMPRESSION_TYPE_MASK: i32 = 0x700;
    /// Compression type LZ4.
    pub const COMPRESSION_LZ4: i32 = 0x100;
    /// Compression type ZSTD.
    pub const COMPRESSION_ZSTD: i32 = 0x200;
    /// Compression type ZLIB; 0 means the same (clients before 4.9.4).
    pub const COMPRESSION_ZLIB: i32 = 0x300;

    /// The transaction bits of `sys_flag`.
    #[must_use]
    pub const fn transaction_type(sys_flag: i32) -> i32 {
        sys_flag & Self::TRANSACTION_MASK
    }

    /// `sys_flag` with its transaction bits replaced by `transaction_type`.
    #[must_use]
    pub const fn with_transaction_type(sys_flag: i32, transaction_type: i32) -> i32 {
        (sys_flag & !Self::TRANSACTION_MASK) | transaction_type
    }

    /// `sys_flag` without the mark of a compressed body and without its type.
    #[must_use]
    pub const fn without_compression(sys_flag: i32) -> i32 {
        sys_flag & !(Self::COMPRESSED | Self::COMPRESSION_TYPE_MASK)
    }
}

/// Bits of a pull request's `sysFlag` (RocketMQ 4.9 `PullSysFlag`).
pub struct PullSysFlag;

impl PullSysFlag {
    /// The request carries an offset to commit.
    pub const COMMIT_OFFSET: i32 = 0x1;
    /// The broker may hold the request until there is something to read.
    pub const SUSPEND: i32 = 0x2;
    /// The request carries its subscription.
    pub const SUBSCRIPTION: i32 = 0x4;
    /// Filter class (dead feature).
    pub const CLASS_FILTER: i32 = 0x8;
    /// A lite pull consumer asks.
    pub const LITE_PULL: i32 = 0x10;

    /// Whether `bit` is set in `sys_flag`.
    #[must_use]
    pub const fn has(sys_flag: i32, bit: i32) -> bool {
        sys_flag & bit != 0
    }
}

/// Bits of `topicSysFlag`: what a topic has to do with units (RocketMQ 4.9 `TopicSysFlag`).
pub struct TopicSysFlag;

impl TopicSysFlag {
    /// It is a unit's.
    pub const UNIT: i32 = 0x1;
    /// Units subscribe to it.
    pub const UNIT_SUB: i32 = 0x2;
}

/// Bits of `perm` of topics and brokers (RocketMQ 4.9 `PermName`).
pub struct PermName;

impl PermName {
    /// New topics may be created after this one's pattern.
    pub const INHERIT: i32 = 0x1;
    /// Producers may send.
    pub const WRITE: i32 = 0x2;
    /// Consumers may pull.
    pub const READ: i32 = 0x4;
    /// Reserved.
    pub const PRIORITY: i32 = 0x8;
    /// What topics have by default.
    pub const READ_WRITE: i32 = Self::READ | Self::WRITE;

    /// Whether `perm` allows reading.
    #[must_use]
    pub const fn is_readable(perm: i32) -> bool {
        perm & Self::READ != 0
    }

    /// Whether `perm` allows writing.
    #[must_use]
    pub const fn is_writeable(perm: i32) -> bool {
        perm & Self::WRITE != 0
    }

    /// Whether topics may be created after the pattern of one with `perm`.
    #[must_use]
    pub const fn is_inherited(perm: i32) -> bool {
        perm & Self::INHERIT != 0
    }
}
