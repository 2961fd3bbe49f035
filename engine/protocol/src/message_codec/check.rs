//! Whether the bytes at a position of a CommitLog are a record, the end of a file, or torn.

use super::{
    BLANK_MAGIC_CODE, MAGIC_POSITION, RecordError, RecordView, TOTAL_SIZE_POSITION, body_crc,
    decode_record, i32_at,
};

/// What recovery asks of a record beyond its layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRules {
    /// The physical offset that the record has to state.
    pub phy_offset: Option<i64>,
    /// Whether the body has to match its CRC.
    pub body_crc: bool,
    /// Whether the topic has to be UTF-8 and the properties free of NUL.
    pub texts: bool,
}

impl RecordRules {
    /// Everything has to agree. Layout, magic and CRC alone accept what is left of an older
    /// record at another place, and damage outside the body.
    #[must_use]
    pub const fn strict(phy_offset: i64) -> Self {
        RecordRules { phy_offset: Some(phy_offset), body_crc: true, texts: true }
    }

    /// What a log still has to agree with that was walked when it was opened.
    #[must_use]
    pub const fn own(phy_offset: u64) -> Self {
        RecordRules { phy_offset: Some(phy_offset as i64), body_crc: false, texts: false }
    }

    /// What RocketMQ 4.9 asks (`CommitLog.checkMessageAndReturnSize`).
    #[must_use]
    pub const fn upstream(check_body_crc: bool) -> Self {
        RecordRules { phy_offset: None, body_crc: check_body_crc, texts: false }
    }
}

/// What is at a position of a CommitLog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordCheck<'a> {
    /// A record that meets the rules.
    Valid(RecordView<'a>),
    /// The blank that ends a file.
    Blank {
        /// Bytes to the end of the file as it states, itself included.
        size: i32,
    },
    /// Size and magic are zero: nothing was written here, or it never reached the disk.
    Zeros,
    /// Neither.
    Torn(TornReason),
}

/// What is wrong with a torn record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TornReason {
    /// Fewer than eight bytes are left.
    #[error("fewer than 8 bytes are left")]
    NoRoom,
    /// The layout is not that of a record.
    #[error(transparent)]
    Layout(#[from] RecordError),
    /// The record states another physical offset.
    #[error("the record says that it is at physical offset {0}")]
    PhyOffset(i64),
    /// The body does not match its CRC.
    #[error("the body's CRC is {computed:#x}, the record says {stored:#x}")]
    BodyCrc {
        /// As stated.
        stored: i32,
        /// Of the bytes.
        computed: i32,
    },
    /// The topic is not UTF-8.
    #[error("the topic is not UTF-8")]
    Topic,
    /// The properties hold a NUL.
    #[error("the properties hold a NUL byte")]
    Properties,
}

/// Examines the front of `bytes`, which reach to the end of the file (or of what is readable).
#[must_use]
pub fn check_record<'a>(bytes: &'a [u8], rules: &RecordRules) -> RecordCheck<'a> {
    let (Some(size), Some(magic)) =
        (i32_at(bytes, TOTAL_SIZE_POSITION), i32_at(bytes, MAGIC_POSITION))
    else {
        return RecordCheck::Torn(TornReason::NoRoom);
    };
    if magic == BLANK_MAGIC_CODE {
        return RecordCheck::Blank { size };
    }
    if magic == 0 && size == 0 {
        return RecordCheck::Zeros;
    }
    match decode_record(bytes).map_err(TornReason::Layout).and_then(|view| meets(view, rules)) {
        Ok(view) => RecordCheck::Valid(view),
        Err(reason) => RecordCheck::Torn(reason),
    }
}

fn meets<'a>(view: RecordView<'a>, rules: &RecordRules) -> Result<RecordView<'a>, TornReason> {
    if rules.phy_offset.is_some_and(|phy_offset| phy_offset != view.phy_offset()) {
        return Err(TornReason::PhyOffset(view.phy_offset()));
    }
    if rules.texts && std::str::from_utf8(view.topic_bytes()).is_err() {
        return Err(TornReason::Topic);
    }
    if rules.texts && view.properties_bytes().contains(&0) {
        return Err(TornReason::Properties);
    }
    if rules.body_crc && !view.body().is_empty() {
        let (stored, computed) = (view.body_crc(), body_crc(view.body()));
        if stored != computed {
            return Err(TornReason::BodyCrc { stored, computed });
        }
    }
    Ok(view)
}
