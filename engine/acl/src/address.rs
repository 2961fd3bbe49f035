//! [`RemoteAddresses`]: patterns of addresses from which requests need no signature (RocketMQ 4.9
//! `RemoteAddressStrategyFactory`).
//!
//! | written | means |
//! |---|---|
//! | nothing | no address |
//! | `*`, `*.*.*.*`, `*:*:*:*:*:*:*:*` | every address |
//! | `192.168.1.7`, `1050::5:600:300c` | this one |
//! | `192.168.1.*`, `192.168.1-9.*`, `1050:0:0:0:5:600:0-300c:*` | parts within a range |
//! | `192.168.1.{4,7}`, `1050::5:600:{300c,300d}` | the last part is one of these |
//! | `192.168.1.7,192.168.2.7` | any of these |
//!
//! 4.9 looks at one range and at nothing behind it: `192.*.5.*` means `192.*.*.*` there. Here every part counts, and
//! several patterns may be split by commas.

use std::net::IpAddr;
use std::ops::RangeInclusive;

/// Addresses that patterns name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteAddresses {
    /// `None` is every address.
    patterns: Option<Vec<Pattern>>,
}

/// A range for each part of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    V4([RangeInclusive<u16>; 4]),
    V6([RangeInclusive<u16>; 8]),
}

const EVERY: [&str; 3] = ["*", "*.*.*.*", "*:*:*:*:*:*:*:*"];

impl RemoteAddresses {
    /// No address.
    pub const NONE: RemoteAddresses = RemoteAddresses { patterns: Some(Vec::new()) };

    /// Reads what a file writes.
    ///
    /// # Errors
    /// A sentence that names the pattern in question.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if EVERY.contains(&text) {
            return Ok(RemoteAddresses { patterns: None });
        }
        let items = outside_of_braces(text).into_iter().map(str::trim);
        let mut patterns = Vec::new();
        for item in items.filter(|item| !item.is_empty()) {
            if EVERY.contains(&item) {
                return Ok(RemoteAddresses { patterns: None });
            }
            let understood = parse_item(item, &mut patterns);
            understood.ok_or_else(|| {
                format!(
                    "{item:?} is no address and no pattern of addresses; allowed: 192.168.0.1, 192.168.0.*, \
                     192.168.0-9.*, 192.168.0.{{1,2}}, the like of IPv6, several split by commas, or *"
                )
            })?;
        }
        Ok(RemoteAddresses { patterns: Some(patterns) })
    }

    /// Whether `addr` is one of them.
    #[must_use]
    pub fn contain(&self, addr: IpAddr) -> bool {
        let Some(patterns) = &self.patterns else { return true };
        match addr.to_canonical() {
            IpAddr::V4(addr) => {
                let parts = addr.octets().map(u16::from);
                patterns
                    .iter()
                    .any(|it| matches!(it, Pattern::V4(ranges) if within(ranges, &parts)))
            }
            IpAddr::V6(addr) => {
                let parts = addr.segments();
                patterns
                    .iter()
                    .any(|it| matches!(it, Pattern::V6(ranges) if within(ranges, &parts)))
            }
        }
    }

    /// Whether every address is one of them.
    #[must_use]
    pub fn contain_every(&self) -> bool {
        self.patterns.is_none()
    }
}

fn within(ranges: &[RangeInclusive<u16>], parts: &[u16]) -> bool {
    ranges.iter().zip(parts).all(|(range, part)| range.contains(part))
}

/// Splits at the commas that are in no braces.
fn outside_of_braces(text: &str) -> Vec<&str> {
    let (mut items, mut begin, mut is_inside) = (Vec::new(), 0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => is_inside = true,
            b'}' => is_inside = false,
            b',' if !is_inside => {
                items.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    items.push(&text[begin..]);
    items
}

/// Adds the patterns of `192.168.0.{1,2}`, or the one of anything else.
fn parse_item(item: &str, patterns: &mut Vec<Pattern>) -> Option<()> {
    let Some((head, lasts)) = item.strip_suffix('}').and_then(|it| it.split_once('{')) else {
        patterns.push(parse_pattern(item)?);
        return Some(());
    };
    if !head.ends_with(['.', ':']) {
        return None;
    }
    for last in lasts.split(',') {
        patterns.push(parse_pattern(&format!("{head}{}", last.trim()))?);
    }
    Some(())
}

fn parse_pattern(text: &str) -> Option<Pattern> {
    if !text.contains(':') {
        let parts: Option<Vec<_>> = text.split('.').map(|part| range(part, 10, 255)).collect();
        return parts?.try_into().ok().map(Pattern::V4);
    }
    let parts = |text: &str| -> Option<Vec<RangeInclusive<u16>>> {
        text.split(':').filter(|_| !text.is_empty()).map(|it| range(it, 16, u16::MAX)).collect()
    };
    let all = match text.split_once("::") {
        None => parts(text)?,
        Some((head, tail)) => {
            let (mut head, tail) = (parts(head)?, parts(tail)?);
            let zeros = 8_usize.checked_sub(head.len() + tail.len()).filter(|it| *it > 0)?;
            head.extend(std::iter::repeat_n(0..=0, zeros));
            head.extend(tail);
            head
        }
    };
    all.try_into().ok().map(Pattern::V6)
}

/// `*`, `7` or `1-9`.
fn range(text: &str, radix: u32, max: u16) -> Option<RangeInclusive<u16>> {
    let text = text.trim();
    if text == "*" {
        return Some(0..=max);
    }
    let number = |text: &str| {
        let has_digits_alone = !text.is_empty() && text.chars().all(|it| it.is_digit(radix));
        u16::from_str_radix(text, radix).ok().filter(|it| has_digits_alone && *it <= max)
    };
    let (start, end) = text.split_once('-').unwrap_or((text, text));
    let range = number(start)?..=number(end)?;
    (!range.is_empty()).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contain(pattern: &str, addr: &str) -> bool {
        let addresses = RemoteAddresses::parse(pattern).expect(pattern);
        addresses.contain(addr.parse().expect(addr))
    }

    /// Of `addrs` those that `pattern` names.
    fn picked<'a>(pattern: &str, addrs: &[&'a str]) -> Vec<&'a str> {
        addrs.iter().copied().filter(|addr| contain(pattern, addr)).collect()
    }

    #[test]
    fn patterns_name_what_they_say() {
        let v4 = ["192.168.0.1", "192.168.0.2", "192.168.5.1", "192.169.5.1", "10.0.0.1"];
        for (pattern, named) in [
            ("192.168.0.1", &v4[..1]),
            ("192.168.0.*", &v4[..2]),
            ("192.168.*.*", &v4[..3]),
            ("192.*.5.*", &v4[2..4]),
            ("192.168-169.1-9.*", &v4[2..4]),
            ("192.168.0.{1,2}", &v4[..2]),
            ("10.0.0.1, 192.169.5.*", &v4[3..]),
            ("*.*.*.*", &v4[..]),
            ("", &[]),
            ("10.0.0.0-0", &[]),
        ] {
            assert_eq!(picked(pattern, &v4), named, "{pattern}");
        }
    }

    #[test]
    fn addresses_of_six_are_compared_by_value() {
        let v6 = ["1050::5:600:300c", "1050::5:600:300d", "1051::1", "::1"];
        for (pattern, named) in [
            ("1050:0000:0000:0000:0005:0600:300c", &v6[..0]),
            ("1050:0000:0000:0000:0000:0005:0600:300C", &v6[..1]),
            ("1050::5:600:{300c,300D}", &v6[..2]),
            ("1050:0:0:0:0:5:600:3000-300c", &v6[..1]),
            ("1050-1051:*:*:*:*:*:*:*", &v6[..3]),
            ("1051::*", &v6[2..3]),
            ("::1", &v6[3..]),
            ("*:*:*:*:*:*:*:*", &v6[..]),
        ] {
            match RemoteAddresses::parse(pattern) {
                Ok(_) => assert_eq!(picked(pattern, &v6), named, "{pattern}"),
                // Seven parts and nothing left out are no address.
                Err(_) => assert_eq!(pattern.matches(':').count(), 6, "{pattern}"),
            }
        }
        assert!(contain("10.0.0.1", "::ffff:10.0.0.1"), "an address of four on a socket of both");
        assert!(!contain("10.0.0.1", "::1") && !contain("::1", "10.0.0.1"));
    }

    #[test]
    fn what_is_no_pattern_is_refused_by_name() {
        for text in [
            "1.2.3",
            "1.2.3.4.5",
            "256.1.1.1",
            "1.2.3.9-1",
            "1.2.3.-4",
            "a.b.c.d",
            "1.2.3.{4",
            "1.2.3{4}",
            "1.2.3.+4",
            "::1::2",
            "1:2:3",
            "1:2:3:4:5:6:7:8::",
            "10000::1",
            "1.2.3.{}",
            "host",
        ] {
            let error = RemoteAddresses::parse(text).expect_err(text);
            assert!(error.starts_with(&format!("{text:?} is no address")), "{error}");
        }
        assert!(RemoteAddresses::parse(" * ").expect("all").contain_every());
        assert!(RemoteAddresses::parse("1.1.1.1,*").expect("all").contain_every());
        assert!(!RemoteAddresses::NONE.contain_every());
    }
}
