//! [`Subject`]: something that runs under seeds, and the text by which the command line names it.
//!
//! | text | means |
//! |---|---|
//! | `scenarios/ha/flapping-link.toml` | a scenario file |
//! | `matrix:SYNC_FLUSH/none/-/kill_master/restart` | a row of the expected matrix on a group of its own |
//! | `swarm` | plans that are drawn, one per seed |
//! | `conf:DIR#GROUP/FAULT/RECOVERY` | a row of the matrix on a group of a directory's cluster |
//! | `conf:DIR#GROUP@MODE/FAULT/RECOVERY` | the same in another mode, as `conf --compare` runs it |

use std::io;
use std::path::{Path, PathBuf};

use crate::conf::row::ConfRow;
use crate::conf::{self, Cast, Finding, Overlay};
use crate::plan::Plan;
use crate::stories::matrix_rows::{self, MatrixRow};
use crate::stories::{rows, swarm};

const MATRIX: &str = "matrix:";
const CONF: &str = "conf:";
const SWARM: &str = "swarm";

/// Something that runs under seeds.
#[derive(Clone, Debug)]
pub enum Subject {
    /// A scenario file.
    File {
        /// Where it lies.
        path: PathBuf,
        /// What it says.
        plan: Box<Plan>,
    },
    /// A row of the expected matrix on a group of its own.
    Row {
        /// The row.
        row: Box<MatrixRow>,
        /// Upstream behaviours switched on, by name.
        upstream: Vec<String>,
    },
    /// A row of the expected matrix on a group of a directory's cluster.
    Conf(Box<ConfRow>),
    /// Drawn plans.
    Swarm,
}

/// Why a text names nothing that can run.
#[derive(Debug)]
pub enum Unusable {
    /// In one sentence.
    Text(String),
    /// The directory has errors.
    Findings(Vec<Finding>),
}

impl From<String> for Unusable {
    fn from(text: String) -> Self {
        Unusable::Text(text)
    }
}

impl Subject {
    /// What `text` names. `overlays` belong to `conf:`, `upstream` (names) to `matrix:`.
    ///
    /// # Errors
    /// Nothing is called so, or it cannot be read.
    pub fn parse(
        text: &str,
        overlays: &[Overlay],
        upstream: &[String],
    ) -> Result<Subject, Unusable> {
        let misplaced = |option| Unusable::Text(format!("{option} has no meaning for {text}"));
        if !text.starts_with(CONF) && !overlays.is_empty() {
            return Err(misplaced("--set"));
        }
        if !text.starts_with(MATRIX) && !upstream.is_empty() {
            return Err(misplaced("--upstream"));
        }
        if text == SWARM {
            return Ok(Subject::Swarm);
        }
        if let Some(id) = text.strip_prefix(MATRIX) {
            let row = matrix_rows::all().into_iter().find(|row| row.id == id);
            let row = row.ok_or_else(|| format!("{id:?} is no row of the matrix"))?;
            return Ok(Subject::Row { row: Box::new(row), upstream: upstream.to_vec() });
        }
        match text.strip_prefix(CONF) {
            Some(rest) => parse_conf(rest, overlays),
            None => Ok(Subject::read(Path::new(text))?),
        }
    }

    /// The scenario in a file.
    ///
    /// # Errors
    /// The file cannot be read or is no plan.
    pub fn read(path: &Path) -> Result<Subject, String> {
        let named = |error: String| format!("{}: {error}", path.display());
        let text = read(path).map_err(|error| named(error.to_string()))?;
        let plan = Plan::parse(&text).map_err(named)?;
        Ok(Subject::File { path: path.to_owned(), plan: Box::new(plan) })
    }

    /// The scenarios in `paths`, in that order; of a directory all `.toml` files below it, by path.
    ///
    /// # Errors
    /// The first file that cannot be read or is no plan; a directory without any.
    #[expect(clippy::disallowed_methods, reason = "the user's files, not simulated ones")]
    pub fn below(paths: &[PathBuf]) -> Result<Vec<Subject>, String> {
        let mut files = Vec::new();
        for path in paths {
            if path.is_dir() {
                let before = files.len();
                collect(path, &mut files)
                    .map_err(|error| format!("{}: {error}", path.display()))?;
                if files.len() == before {
                    return Err(format!("{}: no .toml file below it", path.display()));
                }
            } else {
                files.push(path.clone());
            }
        }
        files.iter().map(|path| Subject::read(path)).collect()
    }

    /// The plan of one seed.
    #[must_use]
    pub fn plan(&self, seed: u64) -> Plan {
        match self {
            Subject::File { plan, .. } => Plan::clone(plan),
            Subject::Row { row, upstream } => rows::plan(row, seed, upstream),
            Subject::Conf(conf) => conf.plan(seed),
            Subject::Swarm => swarm::plan(seed),
        }
    }

    /// The text that names it; [`Subject::parse`] reads it back.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Subject::File { path, .. } => path.display().to_string(),
            Subject::Row { row, .. } => format!("{MATRIX}{}", row.id),
            Subject::Conf(conf) => format!("{CONF}{}#{}", conf.dir.display(), conf.place()),
            Subject::Swarm => SWARM.to_owned(),
        }
    }

    /// The command that tells the run of one seed again, event by event.
    #[must_use]
    pub fn explain(&self, seed: u64) -> String {
        let mut command = format!("staticfire replay {} --seed {seed}", quoted(&self.name()));
        match self {
            Subject::File { .. } | Subject::Swarm => {}
            Subject::Row { upstream, .. } => {
                upstream.iter().for_each(|name| command += &format!(" --upstream {name}"));
            }
            Subject::Conf(conf) => command += &set_options(&conf.overlays),
        }
        command
    }

    /// The command that judges one seed again.
    #[must_use]
    pub fn rerun(&self, seed: u64) -> String {
        match self {
            Subject::File { .. } => {
                let end = seed.saturating_add(1);
                format!("staticfire run {} --seeds {seed}..{end}", quoted(&self.name()))
            }
            Subject::Swarm => {
                format!("staticfire swarm --seeds {seed}..{}", seed.saturating_add(1))
            }
            _ => self.explain(seed),
        }
    }
}

/// `--set` options as they follow a command.
#[must_use]
pub fn set_options(overlays: &[Overlay]) -> String {
    overlays.iter().map(|overlay| format!(" --set {}", quoted(&overlay.to_string()))).collect()
}

/// A word as a shell takes it for one.
#[must_use]
pub fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:#=,@%".contains(c);
    if !word.is_empty() && !word.starts_with('#') && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn parse_conf(rest: &str, overlays: &[Overlay]) -> Result<Subject, Unusable> {
    let Some((dir, place)) = rest.rsplit_once('#') else {
        return Err(format!("{CONF}{rest}: expected {CONF}DIR#GROUP/FAULT/RECOVERY").into());
    };
    let dir = Path::new(dir);
    let cluster = conf::load_dir(dir, overlays).map_err(Unusable::Findings)?;
    let group = place.split('/').next().unwrap_or_default();
    let mut rows = match group.rsplit_once('@') {
        Some((_, cast)) => {
            let cast: Cast = cast.parse().map_err(Unusable::Text)?;
            ConfRow::all_cast(dir, overlays, &cluster, cast).map_err(Unusable::Findings)?
        }
        None => ConfRow::all(dir, overlays, &cluster),
    };
    let places: Vec<String> = rows.iter().map(ConfRow::place).collect();
    let found = places.iter().position(|known| known == place);
    let absent = || format!("{}: no row {place:?} (rows: {})", dir.display(), places.join(", "));
    Ok(Subject::Conf(Box::new(rows.swap_remove(found.ok_or_else(absent)?))))
}

#[expect(clippy::disallowed_methods, reason = "the user's directory, not a simulated one")]
fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries: io::Result<Vec<_>> = std::fs::read_dir(dir)?.collect();
    let mut paths: Vec<PathBuf> = entries?.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the user's file, not a simulated one")]
fn read(path: &Path) -> io::Result<String> {
    std::fs::read_to_string(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Millis, Trigger};

    const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios/conf/hosts-2m-2s-sync");

    const ALONE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios/conf/noslave-2m");

    fn parse(text: &str) -> Result<Subject, Unusable> {
        Subject::parse(text, &[], &[])
    }

    #[test]
    fn names_are_read_back() {
        let id = "matrix:SYNC_FLUSH/none/-/kill_master/restart";
        let conf = format!("conf:{DIR}#broker-b/power_all/promote");
        let cast = format!("conf:{DIR}#broker-b@DLEDGER+SYNC_FLUSH/kill_master/elect");
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios/ha/flapping-link.toml")
            .to_owned();
        for name in [id.to_owned(), conf, cast, file] {
            let subject = parse(&name).unwrap();
            assert_eq!(subject.name(), name);
            let seedless = subject.explain(7).replace(" --seed 7", "");
            assert_eq!(seedless, format!("staticfire replay {name}"));
            assert_eq!(subject.plan(3), parse(&name).unwrap().plan(3));
        }
    }

    #[test]
    fn options_belong_to_the_command() {
        let set: Overlay = "broker-a-s.flushDiskType=SYNC_FLUSH".parse().unwrap();
        let conf = format!("conf:{DIR}#broker-a/power_all/promote");
        let subject = Subject::parse(&conf, std::slice::from_ref(&set), &[]).unwrap();
        assert!(
            subject.explain(1).ends_with(" --seed 1 --set broker-a-s.flushDiskType=SYNC_FLUSH")
        );
        assert_eq!(subject.rerun(1), subject.explain(1));
        let id = "matrix:SYNC_FLUSH/none/-/kill_master/restart";
        let upstream = ["send-unflushed".to_owned()];
        let row = Subject::parse(id, &[], &upstream).unwrap();
        assert!(row.explain(1).ends_with(" --seed 1 --upstream send-unflushed"));
        assert_eq!(row.plan(1).upstream, upstream);
        assert!(Subject::parse(id, &[set], &[]).is_err());
        assert!(Subject::parse(&conf, &[], &upstream).is_err());
    }

    #[test]
    fn what_is_not_there_is_named() {
        for (name, text) in [
            ("matrix:SYNC_FLUSH/none", "no row of the matrix"),
            ("conf:somewhere", "expected conf:DIR#GROUP/FAULT/RECOVERY"),
            (&format!("conf:{DIR}#broker-a/power_all"), "rows: broker-a/kill_master/restart, "),
            ("no-such.toml", "no-such.toml: "),
        ] {
            let Err(Unusable::Text(error)) = parse(name) else { panic!("{name}") };
            assert!(error.contains(text), "{error}");
        }
        assert!(matches!(parse("conf:no/such#a/b/c"), Err(Unusable::Findings(_))));
    }

    #[test]
    fn a_sync_master_alone_is_struck_by_the_clock() {
        let sets = ["brokerRole=SYNC_MASTER".parse().unwrap()];
        let name = format!("conf:{}#broker-a/flush_error_master+power_master/restart", ALONE);
        let plan = Subject::parse(&name, &sets, &[]).unwrap().plan(1);
        assert!(plan.events[0].at.is_some());
        assert!(plan.events.iter().all(|event| {
            !matches!(event.when, Some(Trigger::Acks(_) | Trigger::AcksSincePrevious(_)))
        }));
        assert_eq!(plan.check.sends_within, None);
        let before = Subject::parse(&name, &[], &[]).unwrap().plan(1);
        assert_eq!(before.check.sends_within, Some(Millis(120_000)));
    }

    #[test]
    fn words_are_quoted_where_a_shell_would_split_them() {
        assert_eq!(quoted("conf:a/b#c/d+e/f"), "conf:a/b#c/d+e/f");
        assert_eq!(quoted("my cluster"), "'my cluster'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }

    #[test]
    fn a_row_on_a_cluster_takes_the_group_under_fault() {
        let Subject::Conf(conf) =
            parse(&format!("conf:{DIR}#broker-b/kill_master/promote")).unwrap()
        else {
            panic!("a row");
        };
        assert_eq!((conf.master.as_str(), conf.slave.as_deref()), ("broker-b", Some("broker-b-s")));
        let plan = conf.plan(4);
        assert_eq!((plan.workloads[0].group.as_str(), plan.messages()), ("broker-b", 500));
        assert_eq!(plan.cluster.brokers.len(), 4);
    }
}
