//! The two ids of a message: the one its position gives it, and the one its client gave it.

use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// The offset message id: upper-case hexadecimal of the store host's ip (4 or 16 bytes) and port
/// (i32), and of the physical offset (i64); 32 or 56 digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OffsetMessageId {
    /// Address of the broker that stored the message.
    pub store_host: SocketAddr,
    /// Physical offset in its CommitLog.
    pub phy_offset: i64,
}

/// A text is no offset message id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not 32 or 56 hexadecimal digits of address and offset")]
pub struct MessageIdError;

impl Display for OffsetMessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.store_host.ip() {
            IpAddr::V4(ip) => write!(f, "{:08X}", ip.to_bits())?,
            IpAddr::V6(ip) => write!(f, "{:032X}", ip.to_bits())?,
        }
        write!(f, "{:08X}{:016X}", self.store_host.port(), self.phy_offset)
    }
}

impl FromStr for OffsetMessageId {
    type Err = MessageIdError;

    /// Accepts lower-case digits, too. A port above 65535 is refused.
    fn from_str(text: &str) -> Result<Self, MessageIdError> {
        if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(MessageIdError);
        }
        let ip_digits = match text.len() {
            32 => 8,
            56 => 32,
            _ => return Err(MessageIdError),
        };
        let (ip, rest) = text.split_at(ip_digits);
        let (port, offset) = rest.split_at(8);
        let ip = if ip_digits == 8 {
            u32::from_str_radix(ip, 16).map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)))
        } else {
            u128::from_str_radix(ip, 16).map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits)))
        };
        let port = u32::from_str_radix(port, 16).map(u16::try_from);
        let offset = u64::from_str_radix(offset, 16);
        match (ip, port, offset) {
            (Ok(ip), Ok(Ok(port)), Ok(offset)) => Ok(OffsetMessageId {
                store_host: SocketAddr::new(ip, port),
                phy_offset: offset as i64,
            }),
            _ => Err(MessageIdError),
        }
    }
}

/// What makes a client's message ids unique: the parts of a `UNIQ_KEY` that stay the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UniqKeySource {
    /// Address of the client.
    pub ip: IpAddr,
    /// Process id; its low 16 bits count.
    pub pid: u32,
    /// Any number that tells apart what shares address and process (in Java a class loader).
    pub loader_hash: i32,
}

impl UniqKeySource {
    /// The key of one message (RocketMQ 4.9 `MessageClientIDSetter.createUniqID`): upper-case
    /// hexadecimal of ip, pid (i16), loader hash (i32), `month_ms` (i32) and `counter` (i16).
    ///
    /// `month_ms` are the milliseconds since the current month began, see [`ms_into_month`].
    #[must_use]
    pub fn key(&self, month_ms: i32, counter: u16) -> String {
        let ip = match self.ip {
            IpAddr::V4(ip) => format!("{:08X}", ip.to_bits()),
            IpAddr::V6(ip) => format!("{:032X}", ip.to_bits()),
        };
        let pid = self.pid & 0xffff;
        format!("{ip}{pid:04X}{:08X}{month_ms:08X}{counter:04X}", self.loader_hash)
    }
}

/// Milliseconds between the start of the month and `now_ms`, both in a zone that is
/// `utc_offset_ms` ahead of UTC. Late in long months the number wraps into the negative, as in Java.
#[must_use]
pub fn ms_into_month(now_ms: i64, utc_offset_ms: i64) -> i32 {
    const DAY_MS: i64 = 86_400_000;
    let local_ms = now_ms + utc_offset_ms;
    let days = local_ms.div_euclid(DAY_MS);
    let ms_of_day = local_ms.rem_euclid(DAY_MS);
    // Days since 0000-03-01 in years that begin in March: the month is a linear function of the
    // day of the year (after Howard Hinnant's civil_from_days).
    let shifted = days + 719_468;
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5;
    (day_of_month * DAY_MS + ms_of_day) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(address: &str, phy_offset: i64) -> OffsetMessageId {
        OffsetMessageId { store_host: address.parse().unwrap(), phy_offset }
    }

    #[test]
    fn offset_ids_come_back() {
        assert_eq!(id("127.0.0.1:10911", 0xAB).to_string(), "7F00000100002A9F00000000000000AB");
        for id in [id("127.0.0.1:10911", 0xAB), id("[fe80::1]:65535", i64::MAX), id("1.2.3.4:0", 0)]
        {
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(id.to_string().to_lowercase().parse(), Ok(id));
        }
    }

    #[test]
    fn other_texts_are_no_offset_ids() {
        for text in [
            "",
            "7F00000100002A9F00000000000000A",
            "7F00000100012A9F00000000000000AB",
            "+F00000100002A9F00000000000000AB",
            "7F00000100002A9F00000000000000ä",
        ] {
            assert_eq!(text.parse::<OffsetMessageId>(), Err(MessageIdError), "{text}");
        }
    }

    #[test]
    fn uniq_keys_have_the_layout_of_java() {
        let source = UniqKeySource {
            ip: "127.0.0.1".parse().unwrap(),
            pid: 0x1_111E,
            loader_hash: 0x124E_0E2F,
        };
        assert_eq!(source.key(0x2A68_A1A8, 0xB800), "7F000001111E124E0E2F2A68A1A8B800");
        let source = UniqKeySource { ip: "::1".parse().unwrap(), pid: 1, loader_hash: -1 };
        let key = source.key(-1, 2);
        assert_eq!(key, "000000000000000000000000000000010001FFFFFFFFFFFFFFFF0002");
        assert_eq!(key.len(), 56);
    }

    #[test]
    fn a_month_begins_at_local_midnight() {
        const HOUR_MS: i64 = 3_600_000;
        // 2024-03-01 00:00:00 UTC, after a leap day.
        let march = 1_709_251_200_000;
        assert_eq!(ms_into_month(march, 0), 0);
        assert_eq!(ms_into_month(march - 1, 0), (29i64 * 86_400_000 - 1) as i32);
        assert_eq!(ms_into_month(march - 1, HOUR_MS), HOUR_MS as i32 - 1);
        // 1970-01-02 and 2026-11-21 07:39:14.326 UTC.
        assert_eq!(ms_into_month(86_400_000, 0), 86_400_000);
        assert_eq!(ms_into_month(1_795_246_754_326, 0), 20 * 86_400_000 + 27_554_326);
    }
}
