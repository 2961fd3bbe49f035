//! [`Tables`]: a table for each group, row by row as the rows get done.

use std::collections::BTreeMap;

use staticfire::campaign::Figures;
use staticfire::conf::ClusterConf;
use staticfire::conf::row::ConfRow;

use super::Tried;
use super::render::{fault, lost, promised, recovery, rpo, unavailable, unavailable_median, why};
use crate::cli::table::{Layout, count, grouped, wrapped};

const HEADER: [&str; 12] = [
    "fault",
    "recover by",
    "promise",
    "4.9",
    ">acked",
    ">lost",
    ">skipped",
    ">unknown",
    ">RPO",
    ">unavailable",
    ">at worst",
    "why",
];

/// Widest line of what 4.9 does.
const UPSTREAM_WIDTH: usize = 21;

/// The tables of a cluster. Rows of a group whose mode was shown before are held back for as long as they say
/// what was shown.
pub(super) struct Tables<'a> {
    cluster: &'a ClusterConf,
    rows: &'a [ConfRow],
    seeds: u64,
    all: bool,
    /// What came of the groups, by their names.
    came: BTreeMap<String, Vec<(String, Figures)>>,
    shown: Vec<String>,
    /// Shown groups that the present one is like so far.
    twins: Vec<String>,
    /// Lines that say the same as a twin's.
    held: String,
    layout: Layout,
}

impl<'a> Tables<'a> {
    /// The tables of `rows`, which come group by group; `all`: each group has its own.
    pub(super) fn new(
        cluster: &'a ClusterConf,
        rows: &'a [ConfRow],
        seeds: u64,
        all: bool,
    ) -> Self {
        Tables {
            cluster,
            rows,
            seeds,
            all,
            came: BTreeMap::new(),
            shown: Vec::new(),
            twins: Vec::new(),
            held: String::new(),
            layout: Layout::of(&HEADER, &[]),
        }
    }

    /// The next row; what can be printed now.
    pub(super) fn add(&mut self, tried: &Tried) -> String {
        let group = &tried.row.group;
        let figures = tried.outcome.figures();
        let done = self.came.get(group).map_or(0, Vec::len);
        if done == 0 {
            self.begin(group);
        }
        self.held += &self.line(tried, done, &figures);
        let (id, came) = (&tried.row.row.id, &self.came);
        self.twins.retain(|twin| {
            let row = came.get(twin).and_then(|rows| rows.get(done));
            row.is_some_and(|(other, theirs)| other == id && theirs.agrees_with(&figures))
        });
        self.came.entry(group.clone()).or_default().push((id.clone(), figures));
        let is_last = done + 1 == self.rows_of(group).count();
        let mut text = match self.twins.first() {
            Some(twin) if is_last => {
                self.held.clear();
                format!("{group}: as {twin}: same modes, same results (--all shows them)\n")
            }
            Some(_) => String::new(),
            None => std::mem::take(&mut self.held),
        };
        if is_last {
            if self.twins.is_empty() {
                self.shown.push(group.clone());
            }
            text += "\n";
        }
        text
    }

    fn rows_of<'b>(&'b self, group: &'b str) -> impl Iterator<Item = &'b ConfRow> {
        self.rows.iter().filter(move |row| row.group == *group)
    }

    /// Title and header of a group, held back until its first row differs from a twin's.
    fn begin(&mut self, group: &str) {
        let mode = |name: &str| {
            let found = self.cluster.groups.iter().find(|group| group.name == name);
            found.map_or("", |group| group.mode.as_str())
        };
        let messages = self.rows_of(group).next().map_or(0, ConfRow::messages);
        let is_twin = |other: &&String| {
            let same_rows = self.rows_of(other).count() == self.rows_of(group).count();
            !self.all && same_rows && mode(other) == mode(group)
        };
        self.twins = self.shown.iter().filter(is_twin).cloned().collect();
        let widest = grouped(self.seeds.saturating_mul(u64::from(messages)).saturating_mul(2));
        let cells = self.rows_of(group).map(|row| {
            let mut cells = known_cells(row);
            let lost = format!("{widest} (all)");
            cells.extend(
                [widest.as_str(), &lost, "", "", "9.9 s", "9.9 s", "9.9 s"].map(str::to_owned),
            );
            cells
        });
        self.layout = Layout::of(&HEADER, &cells.collect::<Vec<_>>());
        let (seeds, messages) = (count(self.seeds, "seed"), count(messages.into(), "message"));
        self.held = format!("{group}: {} · {seeds} a row, {messages} a seed\n", mode(group));
        self.held += &self.layout.header(&HEADER);
    }

    fn line(&self, tried: &Tried, done: usize, figures: &Figures) -> String {
        let mut cells = known_cells(&tried.row);
        let before = done.checked_sub(1).and_then(|at| self.rows_of(&tried.row.group).nth(at));
        if before.is_some_and(|before| before.row.fault == tried.row.row.fault) {
            cells[0].clear();
        }
        cells.extend([
            grouped(figures.acked),
            lost(figures),
            grouped(figures.skipped),
            grouped(figures.unknown),
            rpo(figures),
            unavailable_median(figures),
            unavailable(figures),
            why(tried, figures),
        ]);
        self.layout.row(&cells)
    }
}

/// The cells that are known before anything has run.
fn known_cells(row: &ConfRow) -> Vec<String> {
    vec![
        fault(&row.row),
        recovery(&row.row).to_owned(),
        promised(row),
        wrapped(&row.row.upstream, UPSTREAM_WIDTH),
    ]
}
