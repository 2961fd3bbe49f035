//! [`Table`]: columns without lines, two blanks apart, and the words of its cells.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement};

/// A table under construction. Cells may have several lines.
pub(crate) struct Table(comfy_table::Table);

impl Table {
    /// A table with `header`; a column whose title begins with `>` is aligned to the right.
    pub(crate) fn new<T: AsRef<str>>(header: &[T]) -> Table {
        let mut table = comfy_table::Table::new();
        table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        let title = |title: &T| title.as_ref().trim_start_matches('>').to_owned();
        table.set_header(header.iter().map(title).collect::<Vec<String>>());
        for (column, title) in table.column_iter_mut().zip(header) {
            column.set_padding((2, 0));
            if title.as_ref().starts_with('>') {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        Table(table)
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.0.add_row(cells);
    }

    /// The lines, each indented by two blanks and without blanks at its end.
    pub(crate) fn render(&self) -> String {
        self.0.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    if number < 1_000 {
        return number.to_string();
    }
    format!("{} {:03}", grouped(number / 1_000), number % 1_000)
}

/// A duration: `0.4 s`, `31 s`.
pub(crate) fn seconds(ms: u64) -> String {
    if ms < 10_000 {
        let tenths = (ms + 50) / 100;
        format!("{}.{} s", tenths / 10, tenths % 10)
    } else {
        format!("{} s", (ms + 500) / 1_000)
    }
}

/// `1 run`, `2 runs`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_without_blanks() {
        let mut table = Table::new(&["fault", ">lost", "why"]);
        table.row(vec!["kill".into(), grouped(12_345), "first\n→ second".into()]);
        table.row(vec!["power loss".into(), "0".into(), String::new()]);
        let lines = ["  fault         lost  why", "  kill        12 345  first"];
        let rest = ["                      → second", "  power loss       0", ""];
        assert_eq!(table.render(), [&lines[..], &rest[..]].concat().join("\n"));
    }

    #[test]
    fn numbers_and_times_are_made_for_reading() {
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000_007), "1 000 007");
        assert_eq!(
            (seconds(0), seconds(449), seconds(9_940)),
            ("0.0 s".into(), "0.4 s".into(), "9.9 s".into())
        );
        assert_eq!((seconds(10_000), seconds(31_499)), ("10 s".into(), "31 s".into()));
        assert_eq!((count(1, "run"), count(0, "run")), ("1 run".into(), "0 runs".into()));
    }
}
