//! What no compiler says of the tree: module docs and maps, file lengths, banned words, machine paths, dead links,
//! who knows whom, what is compiled when.
#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]
#![expect(clippy::disallowed_methods, reason = "the project's own files, not an engine's")]

use std::fs;
use std::path::{Path, PathBuf};

/// A file of more lines holds more than one subject.
const LINES_MAX: usize = 500;

/// Text that stays out of every file, in two halves so that this file passes, and why.
const BANNED: [(&str, &str, &str); 11] = [
    ("/wor", "k/", "a path of somebody's machine"),
    ("/tmp/bash", "_jobs", "a path of somebody's machine"),
    ("/root/", ".", "a path of somebody's machine"),
    ("/Us", "ers/", "a path of somebody's machine"),
    ("[all", "ow(", "an expectation says when it is not needed any more"),
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
        // Built, fetched or git's own (a file, in a worktree).
        if matches!(name, "target" | ".git") {
            continue;
        }
        if path.is_dir() {
            collect(&path, sources);
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
fn every_expectation_has_a_reason() {
    assert_none(|source| {
        let is_rust = source.has_extension("rs");
        let expected = source.text.split(concat!("[exp", "ect(")).skip(1).filter(|_| is_rust);
        let bare = expected
            .filter_map(|rest| rest.split_once(")]"))
            .filter(|(inside, _)| !inside.contains("reason = \""));
        bare.map(|(inside, _)| format!("{}: {inside} without a reason", source.path)).collect()
    });
}

/// A `select!` of tokio's draws the branch that it tries first, and no seed decides which.
#[test]
fn every_select_is_in_order() {
    assert_none(|source| {
        let is_ours = source.path == "engine/env/src/select.rs" || source.path == "tests/tidy.rs";
        let lines = source.text.lines().enumerate();
        let lines = lines.filter(|_| source.has_extension("rs") && !is_ours);
        let selects = lines.filter(|(_, line)| {
            let code = line.split("//").next().unwrap_or("");
            code.replace("mq_env::select!", "").contains("select!")
        });
        selects
            .map(|(index, _)| format!("{}:{}: mq_env::select!", source.path, index + 1))
            .collect()
    });
}

/// What is compiled into the engine may depend on the target, on tests and on planted bugs, and on nothing
/// else: there is no build for the simulator.
#[test]
fn the_engine_is_one_engine() {
    const KNOWN: [&str; 6] = [
        "test",
        "feature = \"plants\"",
        "target_os = \"linux\"",
        "target_family = \"wasm\"",
        "not(target_family = \"wasm\")",
        "not(feature = \"plants\")",
    ];
    assert_none(|source| {
        let is_engine = source.path.starts_with("engine/") && source.has_extension("rs");
        let conditions = source.text.lines().filter(|_| is_engine).filter_map(|line| {
            line.trim().strip_prefix("#[cfg(").or(line.trim().strip_prefix("#![cfg("))
        });
        let conditions = conditions.filter_map(|rest| rest.split_once(")]")).map(|(it, _)| it);
        let unknown = conditions.filter(|condition| !KNOWN.contains(condition));
        unknown.map(|it| format!("{}: compiled only for {it}", source.path)).collect()
    });
}

/// Imports go down only: the crates that each of ours may name, for its tests as well.
#[test]
fn crates_know_only_those_below() {
    let below: [(&str, &[&str]); 21] = [
        ("engine/env", &[]),
        ("engine/dledger", &["mq-env"]),
        ("engine/dledger_log", &["mq-dledger", "mq-env", "mq-mapped-file", "mq-protocol"]),
        (
            "engine/dledger_node",
            &["mq-dledger", "mq-dledger-log", "mq-env", "mq-protocol", "mq-remoting"],
        ),
        ("engine/protocol", &[]),
        ("engine/acl", &["mq-protocol"]),
        ("engine/filter", &["mq-protocol"]),
        ("engine/mapped_file", &["mq-env"]),
        ("engine/remoting", &["mq-env", "mq-protocol"]),
        ("engine/http", &["mq-env"]),
        ("engine/store", &["mq-env", "mq-protocol", "mq-mapped-file"]),
        ("engine/namesrv", &["mq-env", "mq-protocol", "mq-remoting"]),
        ("engine/client", &["mq-env", "mq-protocol", "mq-remoting"]),
        ("engine/admin", &["mq-client", "mq-env", "mq-http", "mq-protocol"]),
        (
            "engine/broker",
            &[
                "mq-acl",
                "mq-dledger",
                "mq-dledger-log",
                "mq-dledger-node",
                "mq-env",
                "mq-filter",
                "mq-mapped-file",
                "mq-protocol",
                "mq-remoting",
                "mq-store",
            ],
        ),
        ("engine/tls", &["mq-env", "mq-protocol", "mq-remoting"]),
        // Only tests depend on these: neither the simulator nor its first build knows of TLS.
        (
            "engine/servers",
            &[
                "mq-admin",
                "mq-broker",
                "mq-env",
                "mq-http",
                "mq-namesrv",
                "mq-protocol",
                "mq-remoting",
                "mq-store",
                "mq-tls",
            ],
        ),
        ("sim/world", &["mq-env"]),
        // The environment is what the world implements: tests write the disks that the judge reads.
        ("sim/judge", &["mq-env", "mq-protocol", "mq-mapped-file", "staticfire-world"]),
        ("tests/portable", &["staticfire", "mq-tests"]),
        ("tests/stranger", &["staticfire"]),
    ];
    let sources = sources();
    for (dir, may_know) in below {
        let path = format!("{dir}/Cargo.toml");
        let manifest = sources.iter().find(|source| source.path == path).expect(dir);
        let names = manifest.text.lines().filter_map(|line| line.split_once(" = {"));
        let ours = names.map(|(name, _)| name).filter(|name| {
            name.starts_with("mq-") || name.starts_with("staticfire") || *name == "turmoil"
        });
        for name in ours {
            assert!(may_know.contains(&name), "{dir} must not know {name}");
        }
    }
}

/// Whoever builds the simulator builds no cryptography.
#[test]
fn tls_is_the_servers_alone() {
    const KNOW_IT: [&str; 4] =
        ["Cargo.toml", "engine/tls/Cargo.toml", "engine/servers/Cargo.toml", "tests/Cargo.toml"];
    assert_none(|source| {
        if !source.path.ends_with("Cargo.toml") || KNOW_IT.contains(&source.path.as_str()) {
            return vec![];
        }
        let names = source.text.lines().filter_map(|line| line.split_once(" = ")).map(|(it, _)| it);
        let known = names
            .filter(|it| ["mq-tls", "mq-servers", "rcgen"].contains(it) || it.contains("rustls"));
        known.map(|it| format!("{} knows {it}", source.path)).collect()
    });
}

/// The documentation of a crate is the map of its modules.
#[test]
fn every_crate_has_a_map() {
    assert_none(|source| {
        if !source.path.ends_with("src/lib.rs") {
            return vec![];
        }
        let docs: String = source.text.lines().filter(|line| line.starts_with("//!")).collect();
        let modules = source.text.lines().filter_map(|line| {
            line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';')
        });
        let absent = modules.filter(|it| *it != "tests" && !docs.contains(it));
        absent.map(|it| format!("{}: {it} is not on the map", source.path)).collect()
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
