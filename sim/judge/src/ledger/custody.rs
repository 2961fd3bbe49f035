//! [`Custody`]: which copies of its group's log owe an acknowledged message, and what became of the others.
//!
//! An acknowledgement rests on copies: those that hold the record when the broker says so, and every copy
//! that gets it later. A copy owes the message until
//!
//! * a fault *takes* it there: a power loss takes what no sync of that disk covered, a destroyed disk
//!   everything, a kill what only the process had, a device the bytes that it damaged;
//! * an act of an operator *passes it over*: another log becomes the group's, one that does not owe it.
//!
//! A message may be lost exactly if the copy that is the group's log at the end does not owe it. No row of
//! a table says so and no word of the engine: the facts come from the simulated disks and from what was
//! done to the machines.
//!
//! In a DLedger group no operator says whose log is the group's: its members vote, and nobody votes for a log that lacks
//! what its own has. So a message may be lost there exactly if no copy owes it any more, or if the voters that lack it were a
//! quorum at some time: those may have chosen one of them ([`LetGo`]). Whoever never had it, or lost it to a power loss
//! or a device, votes. Whoever had its disk destroyed does not, until it has caught up, and then it has it again. Once
//! every member has the message it is owed as before (ADR 12).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// When something happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Ordinal of the trace event that follows.
    pub ordinal: u64,
    /// Simulated microseconds.
    pub at_us: u64,
}

/// A record that was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// First byte.
    pub phy_offset: u64,
    /// First byte behind it.
    pub end_offset: u64,
    /// The workload's number of the message; `None` while only the broker's process has the record.
    pub number: Option<u32>,
    /// Simulated microseconds at which it was appended.
    pub appended_us: u64,
}

/// How a fault took a record from a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakenBy {
    /// The machine lost power before a sync covered the record.
    PowerLoss,
    /// The machine's disk was destroyed.
    DiskDestroyed,
    /// The process was killed while only it had the record.
    Kill,
    /// The device damaged bytes of it.
    Damage,
}

impl fmt::Display for TakenBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TakenBy::PowerLoss => "was not synced at the power loss",
            TakenBy::DiskDestroyed => "was on the disk that was destroyed",
            TakenBy::Kill => "was in process memory at the kill",
            TakenBy::Damage => "was damaged by the device",
        })
    }
}

/// What became of a record at one copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyFate {
    /// The copy owes it.
    Owes,
    /// A fault took it.
    Taken {
        /// Which.
        by: TakenBy,
        /// When.
        at: Moment,
    },
    /// Another log became the group's.
    PassedOver {
        /// The process whose log that is.
        by: Arc<str>,
        /// When.
        at: Moment,
    },
    /// It followed a log that did not owe it, and cut its own.
    Followed,
}

impl fmt::Display for CopyFate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CopyFate::Owes => f.write_str("holds it"),
            CopyFate::Taken { by, at } => write!(f, "{by} (#{})", at.ordinal),
            CopyFate::PassedOver { by, at } => {
                write!(f, "was passed over when {by} became the group's log (#{})", at.ordinal)
            }
            CopyFate::Followed => f.write_str("cut it to follow the group's log"),
        }
    }
}

/// One acknowledgement and the copies that it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    /// The record.
    pub record: Record,
    /// Ordinal of the trace event of the acknowledgement.
    pub acked: u64,
    /// By process, in their order: a few, for which a map would take ten times the room.
    copies: Vec<(Arc<str>, CopyFate)>,
    /// In a DLedger group, whether its members may have let it go.
    vote: Option<LetGo>,
}

/// Whether the voters of a DLedger group that lack a message were a quorum, or nobody had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetGo {
    /// Never, or every member has it again.
    No,
    /// Since the trace event of this ordinal.
    Since(u64),
}

impl Owed {
    /// Whether the log of `process` owes it.
    #[must_use]
    pub fn is_owed_by(&self, process: &str) -> bool {
        let place = self.copies.binary_search_by(|(name, _)| (**name).cmp(process));
        place.is_ok_and(|place| self.copies[place].1 == CopyFate::Owes)
    }

    /// Whether it is owed by the group's log, which is that of `leader` where no members vote.
    #[must_use]
    pub fn is_owed(&self, leader: &str) -> bool {
        match self.vote {
            None => self.is_owed_by(leader),
            Some(vote) => vote == LetGo::No,
        }
    }

    /// How many of a group's `voters` lack it and vote nevertheless, and how many owe it.
    fn weigh(&self, voters: &[Arc<str>]) -> (usize, usize) {
        let (mut lacking, mut owing) = (0, 0);
        for voter in voters {
            let place = self.copies.binary_search_by(|(name, _)| name.cmp(voter));
            match place.ok().map(|place| &self.copies[place].1) {
                Some(CopyFate::Owes) => owing += 1,
                Some(CopyFate::Taken { by: TakenBy::DiskDestroyed, .. }) => {}
                _ => lacking += 1,
            }
        }
        (lacking, owing)
    }

    fn becomes(&mut self, process: &Arc<str>, fate: CopyFate) {
        match self.copies.binary_search_by(|(name, _)| name.cmp(process)) {
            Ok(place) => self.copies[place].1 = fate,
            Err(place) => {
                self.copies.reserve_exact(1);
                self.copies.insert(place, (Arc::clone(process), fate));
            }
        }
    }
}

impl fmt::Display for Owed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (process, fate)) in self.copies.iter().enumerate() {
            let gap = if index == 0 { "" } else { "; " };
            write!(f, "{gap}{process} {fate}")?;
        }
        if let Some(LetGo::Since(ordinal)) = self.vote {
            write!(f, "; voters without it were a quorum (#{ordinal})")?;
        }
        Ok(())
    }
}

/// The custody of one group's acknowledged messages.
#[derive(Clone, Debug, Default)]
pub struct Custody {
    /// The process whose log is the group's.
    leader: Option<Arc<str>>,
    /// The members that vote, of a DLedger group; ascending.
    voters: Vec<Arc<str>>,
    /// By first byte, in the order of the trace: offsets above a cut are used again.
    owed: BTreeMap<u64, Vec<Owed>>,
}

impl Custody {
    /// The group is a DLedger group, and `process` one of its members.
    pub fn votes(&mut self, process: &Arc<str>) {
        if let Err(place) = self.voters.binary_search(process) {
            self.voters.insert(place, Arc::clone(process));
        }
    }

    /// A record was acknowledged while `copies` held it, the broker's own first.
    pub fn acknowledged<'a>(
        &mut self,
        record: Record,
        acked: u64,
        copies: impl Iterator<Item = &'a Arc<str>>,
    ) {
        let vote = (!self.voters.is_empty()).then_some(LetGo::No);
        let mut owed = Owed { record, acked, copies: Vec::new(), vote };
        copies.for_each(|process| owed.becomes(process, CopyFate::Owes));
        weigh(&mut owed, &self.voters, acked);
        // Few places are acknowledged twice.
        let here = self.owed.entry(record.phy_offset).or_default();
        here.reserve_exact(1);
        here.push(owed);
    }

    /// The log of `process` as it is now: `found` gives the number of the record that lies at the place
    /// of another. `is_alive`: a process works on it, so that what it has is no chance survivor of a power
    /// loss.
    pub fn seen(
        &mut self,
        process: &Arc<str>,
        is_alive: bool,
        found: impl Fn(&Record) -> Option<u32>,
    ) {
        let leader = self.leader.clone();
        for owed in self.all() {
            let found = found(&owed.record);
            // What was in process memory alone has reached its file.
            if owed.record.number.is_none() && owed.is_owed_by(process) {
                owed.record.number = found;
            }
            let holds = found.is_some() && found == owed.record.number;
            if holds && is_alive {
                owed.becomes(process, CopyFate::Owes);
            } else if !holds && matches!(owed.vote, Some(LetGo::Since(_))) {
                // Its members may cut it.
                if owed.is_owed_by(process) {
                    owed.becomes(process, CopyFate::Followed);
                }
            } else if !holds && owed.is_owed_by(process) {
                // Whoever follows a log has what that log has.
                let follows = leader.as_ref().filter(|leader| *leader != process);
                if follows.is_some_and(|leader| !owed.is_owed_by(leader)) {
                    owed.becomes(process, CopyFate::Followed);
                }
            }
        }
    }

    /// A fault takes from the log of `process` what `is_taken` says.
    pub fn taken(
        &mut self,
        process: &Arc<str>,
        by: TakenBy,
        at: Moment,
        is_taken: impl Fn(&Record) -> bool,
    ) {
        // A member without a disk has forgotten what it may vote against, whether it had it or not.
        let forgets = by == TakenBy::DiskDestroyed && !self.voters.is_empty();
        for owed in self.all().filter(|owed| forgets || owed.is_owed_by(process)) {
            if is_taken(&owed.record) {
                owed.becomes(process, CopyFate::Taken { by, at });
            }
        }
    }

    /// In a DLedger group, looks who may have been outvoted by now, and who has everything again.
    pub fn weigh(&mut self, ordinal: u64) {
        let voters = std::mem::take(&mut self.voters);
        self.all().for_each(|owed| weigh(owed, &voters, ordinal));
        self.voters = voters;
    }

    /// Whether the group's log owes something.
    #[must_use]
    pub fn owes(&self, owed: &Owed) -> bool {
        match owed.vote {
            None => self.leader.as_ref().is_some_and(|leader| owed.is_owed_by(leader)),
            Some(vote) => vote == LetGo::No,
        }
    }

    /// The log of `process` becomes, or is again, the group's: what it does not owe is passed over.
    pub fn leads(&mut self, process: &Arc<str>, at: Moment) {
        self.leader = Some(Arc::clone(process));
        for owed in self.all().filter(|owed| !owed.is_owed_by(process)) {
            let fates = owed.copies.iter_mut().map(|(_, fate)| fate);
            for fate in fates.filter(|fate| **fate == CopyFate::Owes) {
                *fate = CopyFate::PassedOver { by: Arc::clone(process), at };
            }
        }
    }

    /// The process whose log is the group's, as far as it was said.
    #[must_use]
    pub fn leader(&self) -> Option<&Arc<str>> {
        self.leader.as_ref()
    }

    /// The acknowledgement that a producer got for the record at `phy_offset`: the last one before its
    /// trace event `ordinal`.
    #[must_use]
    pub fn of(&self, phy_offset: u64, ordinal: u64) -> Option<&Owed> {
        self.owed.get(&phy_offset)?.iter().rev().find(|owed| owed.acked < ordinal)
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Owed> {
        self.owed.values_mut().flatten()
    }
}

fn weigh(owed: &mut Owed, voters: &[Arc<str>], ordinal: u64) {
    let Some(vote) = owed.vote else { return };
    let (lacking, owing) = owed.weigh(voters);
    match vote {
        LetGo::No if owing == 0 || lacking > voters.len() / 2 => {
            owed.vote = Some(LetGo::Since(ordinal));
        }
        LetGo::Since(_) if owing == voters.len() => owed.vote = Some(LetGo::No),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
