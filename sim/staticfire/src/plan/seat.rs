//! [`Seat`]: a member of a DLedger group by what it is when its story begins. Nobody knows before a run who is elected:
//! `leader of a` is whoever leads when the first event that names a seat of the group is carried out, and stays so.

use std::fmt;
use std::str::FromStr;

/// A member of a DLedger group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seat {
    /// `brokerName`.
    pub group: String,
    /// 0: the one that leads; from 1 on the others, by their process names.
    pub place: usize,
}

impl Seat {
    /// All seats of a group of so many members, the leader's first.
    #[must_use]
    pub fn all(group: &str, members: usize) -> Vec<Seat> {
        (0..members).map(|place| Seat { group: group.to_owned(), place }).collect()
    }
}

impl fmt::Display for Seat {
    /// `leader of a`, `follower of a`, `follower 2 of a`, …
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = &self.group;
        match self.place {
            0 => write!(f, "leader of {group}"),
            1 => write!(f, "follower of {group}"),
            place => write!(f, "follower {place} of {group}"),
        }
    }
}

impl FromStr for Seat {
    type Err = ();

    /// Process names with a blank are seats, and nothing else is.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (who, group) = text.split_once(" of ").ok_or(())?;
        let place = match who.strip_prefix("follower") {
            None if who == "leader" => 0,
            Some("") => 1,
            Some(number) => number.strip_prefix(' ').and_then(|it| it.parse().ok()).ok_or(())?,
            None => return Err(()),
        };
        let seat = Seat { group: group.to_owned(), place };
        if seat.to_string() == text { Ok(seat) } else { Err(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_read_as_they_are_written() {
        let names: Vec<String> = Seat::all("a", 3).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["leader of a", "follower of a", "follower 2 of a"]);
        for (place, name) in names.iter().enumerate() {
            assert_eq!(name.parse(), Ok(Seat { group: "a".to_owned(), place }));
        }
        for other in ["a", "a-s", "follower 1 of a", "follower 0 of a", "leaders of a", "x of a"] {
            assert_eq!(other.parse::<Seat>(), Err(()), "{other}");
        }
    }
}
