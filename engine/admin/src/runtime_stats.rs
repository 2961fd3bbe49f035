//! [`RuntimeStats`]: what a broker says of how it is doing (28), read as its columns are.

use mq_protocol::body::tables::KvTable;

/// The pairs of a broker, all of them texts. What it does not say, or what is no number, counts as nothing.
#[derive(Clone, Debug, Default)]
pub struct RuntimeStats(pub KvTable);

/// Messages that a broker stored, or handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Stored.
    Put,
    /// Handed out.
    Get,
}

impl RuntimeStats {
    /// The text of a key; empty where there is none.
    #[must_use]
    pub fn text(&self, key: &str) -> &str {
        self.0.table.get(key).map_or("", String::as_str)
    }

    /// The whole number of a key; 0 where there is none.
    #[must_use]
    pub fn number(&self, key: &str) -> i64 {
        self.text(key).parse().unwrap_or(0)
    }

    /// Messages stored per second, over the last ten.
    #[must_use]
    pub fn put_tps(&self) -> f64 {
        first_number(self.text("putTps"))
    }

    /// Messages handed out per second, over the last ten.
    #[must_use]
    pub fn get_tps(&self) -> f64 {
        first_number(self.text("getTransferedTps"))
    }

    /// Messages between the last two midnights.
    #[must_use]
    pub fn yesterday(&self, counted: Counted) -> i64 {
        self.between(counted, "YesterdayMorning", "TodayMorning")
    }

    /// Messages since midnight.
    #[must_use]
    pub fn today(&self, counted: Counted) -> i64 {
        self.between(counted, "TodayMorning", "TodayNow")
    }

    fn between(&self, counted: Counted, from: &str, to: &str) -> i64 {
        let kind = match counted {
            Counted::Put => "Put",
            Counted::Get => "Get",
        };
        let total = |when: &str| self.number(&format!("msg{kind}Total{when}"));
        // A broker may say anything.
        total(to).saturating_sub(total(from))
    }
}

/// The first number of those that a blank splits; 0 without one.
fn first_number(text: &str) -> f64 {
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_nothing() {
        assert_eq!(["  ", "x 1", "2.5 1"].map(first_number), [0.0, 0.0, 2.5]);
        let table = [("msgPutTotalTodayNow", "9"), ("msgPutTotalTodayMorning", "4")];
        let table = table.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let stats = RuntimeStats(KvTable { table });
        assert_eq!((stats.today(Counted::Put), stats.today(Counted::Get)), (5, 0));
        assert_eq!(stats.yesterday(Counted::Put), 4);
    }
}
