//! The unit of a ConsumeQueue file, big-endian:
//!
//! ```text
//! 0  physical offset i64
//! 8  size            i32   of the record, in bytes
//! 12 tags code       i64   hash of the tag; delivery time in the queues of delayed messages
//! ```

/// Size of a unit in bytes.
pub const CQ_STORE_UNIT_BYTES: usize = 20;

/// One unit: where a queue's message is in the CommitLog.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsumeQueueUnit {
    /// Physical offset of the record.
    pub phy_offset: i64,
    /// Size of the record in bytes.
    pub size: i32,
    /// See [`tags_code`](crate::message::tags_code).
    pub tags_code: i64,
}

impl ConsumeQueueUnit {
    /// What stands before the first unit of a queue that does not begin at 0.
    pub const FILLER: ConsumeQueueUnit =
        ConsumeQueueUnit { phy_offset: 0, size: i32::MAX, tags_code: 0 };

    /// The unit as bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; CQ_STORE_UNIT_BYTES] {
        let mut unit = [0; CQ_STORE_UNIT_BYTES];
        unit[..8].copy_from_slice(&self.phy_offset.to_be_bytes());
        unit[8..12].copy_from_slice(&self.size.to_be_bytes());
        unit[12..].copy_from_slice(&self.tags_code.to_be_bytes());
        unit
    }

    /// The unit at the front of `bytes`, `None` if there are fewer than 20.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (phy_offset, rest) = bytes.split_first_chunk()?;
        let (size, rest) = rest.split_first_chunk()?;
        let (tags_code, _) = rest.split_first_chunk()?;
        Some(ConsumeQueueUnit {
            phy_offset: i64::from_be_bytes(*phy_offset),
            size: i32::from_be_bytes(*size),
            tags_code: i64::from_be_bytes(*tags_code),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_comes_back() {
        let unit = ConsumeQueueUnit { phy_offset: 0x0102_0304_0506_0708, size: 9, tags_code: -1 };
        assert_eq!(ConsumeQueueUnit::decode(&unit.encode()), Some(unit));
        assert_eq!(unit.encode()[..12], [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 9]);
        assert_eq!(ConsumeQueueUnit::decode(&unit.encode()[..19]), None);
    }
}
