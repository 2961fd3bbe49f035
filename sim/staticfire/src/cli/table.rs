//! [`Table`]: columns without lines, two blanks apart, and the words of its cells. A [`Layout`] prints rows
//! that are not known yet when the first one is.

/// Where columns stand.
pub(crate) struct Layout {
    widths: Vec<usize>,
    to_the_right: Vec<bool>,
}

impl Layout {
    /// Columns as wide as the widest cell; one whose title begins with `>` is aligned to the right.
    pub(crate) fn of<T: AsRef<str>>(header: &[T], rows: &[Vec<String>]) -> Layout {
        let width = |cell: &str| cell.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        let widths = header.iter().enumerate().map(|(column, title)| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            let widest = cells.map(|cell| width(cell)).max().unwrap_or(0);
            widest.max(width(title.as_ref().trim_start_matches('>')))
        });
        let to_the_right = header.iter().map(|title| title.as_ref().starts_with('>'));
        Layout { widths: widths.collect(), to_the_right: to_the_right.collect() }
    }

    /// A row, each line of it indented by two blanks and without blanks at its end.
    pub(crate) fn row<T: AsRef<str>>(&self, cells: &[T]) -> String {
        let height = cells.iter().map(|cell| cell.as_ref().lines().count()).max().unwrap_or(0);
        let mut text = String::new();
        for number in 0..height {
            let mut line = String::new();
            for (column, cell) in cells.iter().enumerate() {
                let part = cell.as_ref().lines().nth(number).unwrap_or_default();
                let width = self.widths[column];
                line += &match self.to_the_right[column] {
                    true => format!("  {part:>width$}"),
                    false => format!("  {part:width$}"),
                };
            }
            text += line.trim_end();
            text += "\n";
        }
        text
    }

    /// The titles.
    pub(crate) fn header<T: AsRef<str>>(&self, header: &[T]) -> String {
        let titles: Vec<&str> =
            header.iter().map(|it| it.as_ref().trim_start_matches('>')).collect();
        self.row(&titles)
    }
}

/// A table under construction. Cells may have several lines.
pub(crate) struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with `header`; a column whose title begins with `>` is aligned to the right.
    pub(crate) fn new<T: AsRef<str>>(header: &[T]) -> Table {
        let header = header.iter().map(|title| title.as_ref().to_owned()).collect();
        Table { header, rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The lines, each indented by two blanks and without blanks at its end.
    pub(crate) fn render(&self) -> String {
        let layout = Layout::of(&self.header, &self.rows);
        let rows: String = self.rows.iter().map(|row| layout.row(row)).collect();
        layout.header(&self.header) + &rows
    }
}

/// Breaks a text between words so that no line is longer than `width`, where words are not.
pub(crate) fn wrapped(text: &str, width: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
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
    fn texts_break_between_words() {
        assert_eq!(
            wrapped("never where the page cache keeps", 10),
            "never\nwhere the\npage cache\nkeeps"
        );
        assert_eq!(wrapped("same", 3), "same");
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
