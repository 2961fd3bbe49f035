//! `--set`: the cluster as it is beside the cluster as it would be.

use staticfire::campaign::Figures;
use staticfire::conf::ClusterConf;

use super::Tried;
use super::render::{fault, lost, promised, recovery, rpo, unavailable, why};
use crate::cli::table::{Table, count};

/// The rows that differ, with `now` and `then` columns; then how many stayed the same.
pub(super) fn table(
    now: &ClusterConf,
    then: &ClusterConf,
    now_tried: &[Tried],
    then_tried: &[Tried],
) -> String {
    let mut text = String::new();
    for group in &then.groups {
        let before = now.groups.iter().find(|other| other.name == group.name);
        let mode = before.map_or("–", |before| before.mode.as_str());
        if mode == group.mode {
            text += &format!("{}: {}\n", group.name, group.mode);
        } else {
            text += &format!("{}: now {mode}, then {}\n", group.name, group.mode);
        }
        text += &rows(&of(now_tried, &group.name), &of(then_tried, &group.name));
        text += "\n";
    }
    text
}

fn of<'a>(tried: &'a [Tried], group: &str) -> Vec<&'a Tried> {
    tried.iter().filter(|tried| tried.row.group == group).collect()
}

fn rows(now: &[&Tried], then: &[&Tried]) -> String {
    let place = |tried: &Tried| tried.row.place();
    let gone = now.iter().filter(|a| !then.iter().any(|b| place(a) == place(b)));
    let pairs = then
        .iter()
        .map(|b| (now.iter().find(|a| place(a) == place(b)).copied(), Some(*b)))
        .chain(gone.map(|a| (Some(*a), None)));
    let mut table = Table::new(&[
        "fault",
        "recover by",
        "promise now",
        "then",
        ">lost now",
        ">then",
        ">RPO now",
        ">then",
        ">unavailable now",
        ">then",
        "why then",
    ]);
    let (mut differ, mut same) = (0, 0);
    for (now, then) in pairs {
        if let (Some(a), Some(b)) = (now, then)
            && !is_different(a, b)
        {
            same += 1;
            continue;
        }
        differ += 1;
        let Some(either) = then.or(now) else { continue };
        let cell = |tried: Option<&Tried>, of: &dyn Fn(&Tried, &Figures) -> String| {
            tried.map_or_else(|| "–".to_owned(), |tried| of(tried, &tried.outcome.figures()))
        };
        let both = |of: &dyn Fn(&Tried, &Figures) -> String| [cell(now, of), cell(then, of)];
        let mut cells = vec![fault(&either.row.row), recovery(&either.row.row).to_owned()];
        cells.extend(both(&|tried, _| promised(&tried.row)));
        cells.extend(both(&|_, figures| lost(figures)));
        cells.extend(both(&|_, figures| rpo(figures)));
        cells.extend(both(&|_, figures| unavailable(figures)));
        cells.push(cell(then, &|tried, figures| why(tried, figures)));
        table.row(cells);
    }
    match (differ, same) {
        (0, 0) => String::new(),
        (0, same) => format!("  all {} stayed the same\n", count(same, "row")),
        (_, 0) => table.render(),
        (_, same) => format!("{}  {} stayed the same\n", table.render(), count(same, "row")),
    }
}

/// Whether a row changed: its promise, what came of it, or its loss by more than a quarter (a change
/// anywhere shifts every schedule a little).
fn is_different(now: &Tried, then: &Tried) -> bool {
    let (a, b) = (now.outcome.figures(), then.outcome.figures());
    promised(&now.row) != promised(&then.row)
        || !a.agrees_with(&b)
        || a.lost.abs_diff(b.lost) * 4 > a.lost.max(b.lost)
}
