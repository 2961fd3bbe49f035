//! Messages leave a store by the rules of retention and no other way: the oldest CommitLog file goes, and
//! only when by the broker's clock nothing was written to it for `fileReservedTime`, or when more of the disk is used than
//! `diskSpaceCleanForciblyRatio`.

use super::{Checker, Violation};

/// A CommitLog file that a store says it removed, with what was known at that instant.
#[derive(Clone, Debug)]
pub struct Removal {
    /// Process that keeps the log.
    pub broker: String,
    /// First byte of the file.
    pub from: u64,
    /// First byte behind it.
    pub to: u64,
    /// First byte of the log afterwards, as the directory shows; `None` when no file is left.
    pub min_after: Option<u64>,
    /// Microseconds since something was written to the file, by the clock of the broker's machine; `None` when that was
    /// never seen.
    pub idle_us: Option<u64>,
    /// `fileReservedTime` in microseconds.
    pub reserved_us: u64,
    /// Used share of the disk before the file went, in percent.
    pub used_percent: u64,
    /// `diskSpaceCleanForciblyRatio`; `None` where `cleanFileForciblyEnable` is off.
    pub forcibly_above_percent: Option<u64>,
    /// Ordinal of the trace event.
    pub ordinal: u64,
}

/// Judges one removal.
#[must_use]
pub fn check(removal: &Removal) -> Option<Violation> {
    let is_old = removal.idle_us.is_none_or(|idle| idle >= removal.reserved_us);
    let is_forced = removal.forcibly_above_percent.is_some_and(|it| removal.used_percent > it);
    let why = match removal.min_after {
        None => "the last file went".to_owned(),
        Some(min) if min < removal.from => format!("the log begins at {min}, before it"),
        Some(min) if min > removal.to => format!("the log begins only at {min}"),
        _ if is_old || is_forced => return None,
        _ => format!(
            "too early: it was written {} s before, and {} % of the disk are used",
            removal.idle_us.unwrap_or_default() / 1_000_000,
            removal.used_percent
        ),
    };
    let Removal { broker, from, to, .. } = removal;
    let text = format!("{broker} removed {from}..{to} of its log: {why}");
    Some(Violation::new(Checker::Expiry, text).at(removal.ordinal))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_US: u64 = 3_600_000_000;

    /// The oldest file, an hour old.
    fn removal() -> Removal {
        Removal {
            broker: "a".to_owned(),
            from: 1_000,
            to: 2_000,
            min_after: Some(2_000),
            idle_us: Some(HOUR_US),
            reserved_us: HOUR_US,
            used_percent: 10,
            forcibly_above_percent: Some(85),
            ordinal: 7,
        }
    }

    fn complaint(doctor: impl FnOnce(&mut Removal)) -> Option<String> {
        let mut doctored = removal();
        doctor(&mut doctored);
        check(&doctored).map(|violation| violation.text)
    }

    #[test]
    fn what_the_rules_allow_passes() {
        assert_eq!(complaint(|_| {}), None);
        assert_eq!(complaint(|it| (it.idle_us, it.used_percent) = (Some(0), 86)), None);
    }

    #[test]
    fn doctored_removals_are_found() {
        let early = complaint(|it| it.idle_us = Some(HOUR_US - 1)).unwrap();
        assert!(early.contains("too early: it was written 3599 s before"), "{early}");
        let at_level = complaint(|it| (it.idle_us, it.used_percent) = (Some(0), 85));
        assert!(at_level.unwrap().contains("85 % of the disk"));
        let forbidden = complaint(|it| {
            (it.idle_us, it.used_percent, it.forcibly_above_percent) = (Some(0), 99, None);
        });
        assert!(forbidden.unwrap().contains("too early"));
        assert!(complaint(|it| it.min_after = Some(0)).unwrap().contains("begins at 0, before it"));
        assert!(complaint(|it| it.min_after = Some(3_000)).unwrap().contains("only at 3000"));
        assert!(complaint(|it| it.min_after = None).unwrap().contains("last file"));
    }
}
