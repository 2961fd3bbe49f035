//! The scenario files: each is a plan, each is told under several seeds, and each keeps its promise.

use std::path::{Path, PathBuf};

use staticfire::campaign::sweep::{SweepOptions, sweep};
use staticfire::plan::Plan;
use staticfire::run::report::Verdict;
use staticfire::run::run;

/// Seeds under which every story is told here; `staticfire run` takes more.
const SEEDS: std::ops::Range<u64> = 0..2;

/// Folders below `scenarios/` whose `.toml` files are stories.
const FOLDERS: [&str; 12] = [
    "clock",
    "cluster",
    "consume",
    "disk",
    "dledger",
    "ha",
    "kinds",
    "operate",
    "order",
    "store",
    "transaction",
    "verified",
];

#[test]
fn every_story_is_kept() {
    let stories = stories();
    let jobs: Vec<_> =
        stories.iter().flat_map(|story| SEEDS.map(move |seed| (story, seed))).collect();
    let failures = sweep(&jobs, &SweepOptions::quiet(), |((file, plan), seed)| {
        let repro = format!("staticfire run {file} --seeds {seed}..{}", seed + 1);
        let report = run(plan, *seed, &repro).report;
        let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
        let findings = findings.join("\n  ");
        (report.verdict != Verdict::Kept)
            .then(|| format!("{}: {file} seed {seed}\n  {findings}\n  {repro}", report.verdict))
    });
    let failures: Vec<String> = failures.into_iter().flatten().collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// A story outside the known folders would never be told here; one that does not say what it shows
/// is of no use to its reader.
#[test]
fn no_scenario_file_is_forgotten() {
    let mut files = Vec::new();
    collect(&root(), &mut files);
    for file in &files {
        let folder = file.strip_prefix(root()).unwrap().iter().next().unwrap();
        let folder = folder.to_str().unwrap();
        assert!(FOLDERS.contains(&folder), "{} is in no folder of stories", file.display());
    }
    let stories = stories();
    assert_eq!(stories.len(), files.len());
    let titles: std::collections::BTreeSet<_> =
        stories.iter().map(|(_, plan)| plan.title.as_str()).collect();
    assert_eq!(titles.len(), stories.len(), "two stories have one title");
    for (file, plan) in &stories {
        assert!(!plan.holds.is_empty(), "{file} says nothing of what must hold");
        let is_upstream = file.ends_with("-upstream.toml");
        assert_eq!(is_upstream, !plan.upstream.is_empty(), "{file}: name and switches differ");
    }
}

/// The stories by file name from the repository's root.
fn stories() -> Vec<(String, Plan)> {
    let mut files = Vec::new();
    for folder in FOLDERS {
        collect(&root().join(folder), &mut files);
    }
    files.into_iter().map(|file| read(&file)).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("scenarios")
}

#[expect(clippy::disallowed_methods, reason = "the repository's files, not simulated ones")]
fn read(file: &Path) -> (String, Plan) {
    let text = std::fs::read_to_string(file).unwrap();
    let below = file.strip_prefix(root()).unwrap();
    let plan = Plan::parse(&text).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
    (format!("scenarios/{}", below.display()), plan)
}

#[expect(clippy::disallowed_methods, reason = "the repository's folders, not simulated ones")]
fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
}
