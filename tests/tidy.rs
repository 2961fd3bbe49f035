//! What no compiler says of the tree: module docs, file lengths, banned words, dead links, machine paths.
#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]
#![expect(clippy::disallowed_methods, reason = "the project's own files, not an engine's")]

use std::fs;
use std::path::{Path, PathBuf};

/// A file of more lines holds more than one subject.
const LINES_MAX: usize = 500;

/// Text that stays out of every file, in two halves so that this file passes, and why.
const BANNED: [(&str, &str, &str); 8] = [
    ("/wor", "k/", "a path of somebody's machine"),
    ("/tmp/bash", "_jobs", "a path of somebody's machine"),
    ("TO", "DO", "what is left stands in docs/status.md"),
    ("FIX", "ME", "what is left stands in docs/status.md"),
    ("todo", "!(", "a stub"),
    ("unimpl", "emented!(", "a stub"),
    ("#[ign", "ore", "a test that does not run tests nothing"),
    ("tokio_un", "stable", "a crate outside the workspace has no such flag"),
];

/// A file with its path from the root of the project.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|it| it == extension)
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Every text file of the project.
fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    collect(&root(), &mut sources);
    assert!(sources.iter().any(|source| source.path == "Cargo.toml"), "not the project's root");
    sources
}

fn collect(dir: &Path, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            // Built, fetched or git's own.
            let is_ours = !matches!(name, "target" | ".git");
            if is_ours {
                collect(&path, sources);
            }
        } else if let Ok(text) = fs::read_to_string(&path) {
            let path = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            sources.push(Source { path, text });
        }
    }
}

/// What `find` has to say of every source, or nothing.
fn assert_none(find: impl Fn(&Source) -> Vec<String>) {
    let found: Vec<String> = sources().iter().flat_map(find).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_module_says_what_it_is() {
    assert_none(|source| {
        let has_docs = !source.has_extension("rs") || source.text.starts_with("//!");
        if has_docs { vec![] } else { vec![format!("{} does not begin with //!", source.path)] }
    });
}

#[test]
fn every_file_holds_one_subject() {
    assert_none(|source| {
        let lines = if source.has_extension("rs") { source.text.lines().count() } else { 0 };
        let is_long = lines > LINES_MAX;
        if is_long { vec![format!("{}: {lines} lines", source.path)] } else { vec![] }
    });
}

#[test]
fn nothing_banned_is_said() {
    assert_none(|source| {
        let lines = source.text.lines().enumerate();
        let said = lines.flat_map(|(index, line)| {
            let banned =
                BANNED.iter().filter(move |(one, two, _)| line.contains(&[*one, *two].concat()));
            banned.map(move |(one, two, why)| (index + 1, one, two, why))
        });
        said.map(|(line, one, two, why)| format!("{}:{line}: {one}{two}: {why}", source.path))
            .collect()
    });
}

#[test]
fn links_lead_somewhere() {
    assert_none(|source| {
        if !source.has_extension("md") {
            return vec![];
        }
        let dir = root().join(&source.path);
        let dead = links(&source.text).into_iter().filter(|link| {
            let file = link.split('#').next().unwrap_or("");
            let is_local =
                !file.is_empty() && !file.contains("://") && !file.starts_with("mailto:");
            is_local && !dir.parent().unwrap().join(file).exists()
        });
        dead.map(|link| format!("{}: {link} leads nowhere", source.path)).collect()
    });
}

/// Targets of `[text](target)`.
fn links(markdown: &str) -> Vec<&str> {
    let behind_texts = markdown.split("](").skip(1);
    behind_texts.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target).collect()
}

#[test]
fn links_are_found() {
    assert_eq!(links("see [a](b.md) and [c](d/e.md#f), not (g)"), ["b.md", "d/e.md#f"]);
}
