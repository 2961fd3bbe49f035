//! What happens to stores: bits rot, files are cut, lost, doubled, renamed, and settings change.

use rand::{Rng as _, RngCore};

use super::Files;
use mq_store::config::StoreConfig;

/// Does one or two things to a store, and says what.
pub(super) fn corrupt(
    rng: &mut impl RngCore,
    files: &mut Files,
    config: &mut StoreConfig,
) -> String {
    let mut said = corrupt_once(rng, files, config);
    if rng.random_ratio(1, 4) {
        said += &format!("; {}", corrupt_once(rng, files, config));
    }
    said
}

fn corrupt_once(rng: &mut impl RngCore, files: &mut Files, config: &mut StoreConfig) -> String {
    match rng.random_range(0..30) {
        0..=3 => flip(rng, files, "commitlog/"),
        4 => garbage(rng, files, "commitlog/"),
        5 => zero(rng, files, "commitlog/"),
        6 | 7 => flip(rng, files, "consumequeue/"),
        8 => garbage(rng, files, "consumequeue/"),
        9 => zero(rng, files, "consumequeue/"),
        10 | 11 => flip(rng, files, "index/"),
        12 => flip(rng, files, "checkpoint"),
        13 => garbage(rng, files, "checkpoint"),
        14 => flip(rng, files, "durable"),
        15 => flip(rng, files, "config/"),
        16 => garbage(rng, files, "config/"),
        17 => spoil_table(rng, files),
        18 => cut(rng, files),
        19 => extend(rng, files),
        20 => remove(rng, files, ""),
        21 => remove(rng, files, "commitlog/"),
        22 => remove(rng, files, "consumequeue/"),
        23 => double(rng, files, "commitlog/"),
        24 => rename(rng, files),
        25 => stray(rng, files),
        26 => remove_all(rng, files),
        27 => resize(rng, config),
        28 => toggle_abort(files),
        _ => remove(rng, files, "config/"),
    }
}

fn pick<'a, T>(rng: &mut impl RngCore, from: &'a [T]) -> &'a T {
    &from[rng.random_range(0..from.len())]
}

/// A file below `prefix` that has a byte.
fn a_file(rng: &mut impl RngCore, files: &Files, prefix: &str) -> Option<String> {
    let names =
        files.iter().filter(|(name, content)| name.starts_with(prefix) && !content.is_empty());
    let names: Vec<_> = names.map(|(name, _)| name.clone()).collect();
    (!names.is_empty()).then(|| pick(rng, &names).clone())
}

/// A place in a file, mostly where something is.
fn a_place(rng: &mut impl RngCore, content: &[u8]) -> usize {
    let used = content.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
    if rng.random_ratio(9, 10) {
        rng.random_range(0..used)
    } else {
        rng.random_range(0..content.len())
    }
}

fn change(
    rng: &mut impl RngCore,
    files: &mut Files,
    prefix: &str,
    what: &str,
    change: impl FnOnce(&mut dyn RngCore, &mut Vec<u8>) -> String,
) -> String {
    let Some(name) = a_file(rng, files, prefix) else { return format!("no {prefix} to {what}") };
    let content = files.get_mut(&name).unwrap();
    let said = change(rng, content);
    format!("{what} {name} {said}")
}

fn flip(rng: &mut impl RngCore, files: &mut Files, prefix: &str) -> String {
    change(rng, files, prefix, "flip", |mut rng, content| {
        let (at, bit) = (a_place(&mut rng, content), rng.random_range(0..8));
        content[at] ^= 1 << bit;
        format!("at {at}, bit {bit}")
    })
}

fn garbage(rng: &mut impl RngCore, files: &mut Files, prefix: &str) -> String {
    change(rng, files, prefix, "garbage in", |mut rng, content| {
        let at = a_place(&mut rng, content);
        let len = rng.random_range(1..64).min(content.len() - at);
        rng.fill_bytes(&mut content[at..at + len]);
        format!("at {at}, {len} bytes")
    })
}

fn zero(rng: &mut impl RngCore, files: &mut Files, prefix: &str) -> String {
    change(rng, files, prefix, "zeros in", |mut rng, content| {
        let at = a_place(&mut rng, content);
        let len = (1_usize << rng.random_range(0..16)).min(content.len() - at);
        content[at..at + len].fill(0);
        format!("at {at}, {len} bytes")
    })
}

/// One copy of a table, or both.
fn spoil_table(rng: &mut impl RngCore, files: &mut Files) -> String {
    let tables = ["topics", "consumerOffset", "subscriptionGroup", "delayOffset"];
    let table = pick(rng, &tables);
    let suffixes: &[&str] =
        [&["json"][..], &["json.bak"], &["json", "json.bak"]][rng.random_range(0..3)];
    let content = pick(rng, &[&[0; 300][..], b"", b"{\"a\":", b"\xff\xff", b"[]", b"{}"]).to_vec();
    for suffix in suffixes {
        files.insert(format!("config/{table}.{suffix}"), content.clone());
    }
    format!("{table} {suffixes:?} is {:?}", String::from_utf8_lossy(&content))
}

fn cut(rng: &mut impl RngCore, files: &mut Files) -> String {
    change(rng, files, "", "cut", |mut rng, content| {
        let len = *pick(&mut rng, &[0, content.len() / 2, content.len() - 1]);
        content.truncate(len);
        format!("to {len}")
    })
}

fn extend(rng: &mut impl RngCore, files: &mut Files) -> String {
    change(rng, files, "", "extend", |rng, content| {
        let more = rng.random_range(1..5_000);
        let from = content.len();
        content.resize(from + more, 0);
        if rng.random_ratio(1, 2) {
            rng.fill_bytes(&mut content[from..]);
        }
        format!("by {more}")
    })
}

fn remove(rng: &mut impl RngCore, files: &mut Files, prefix: &str) -> String {
    let Some(name) = a_file(rng, files, prefix) else { return format!("no {prefix} to remove") };
    files.remove(&name);
    format!("remove {name}")
}

fn remove_all(rng: &mut impl RngCore, files: &mut Files) -> String {
    let prefix = ["config/", "commitlog/", "index/", "consumequeue/"][rng.random_range(0..4)];
    files.retain(|name, _| !name.starts_with(prefix));
    format!("remove {prefix}")
}

/// Another file in a row is what some file is.
fn double(rng: &mut impl RngCore, files: &mut Files, prefix: &str) -> String {
    let Some(name) = a_file(rng, files, prefix) else { return format!("no {prefix} to double") };
    let to = neighbour(&name, files[&name].len() as i64);
    files.insert(to.clone(), files[&name].clone());
    format!("{name} also as {to}")
}

fn rename(rng: &mut impl RngCore, files: &mut Files) -> String {
    let prefix = *pick(rng, &["commitlog/", "consumequeue/", "index/", "config/", "checkpoint"]);
    let Some(name) = a_file(rng, files, prefix) else { return format!("no {prefix} to rename") };
    let len = files[&name].len() as i64;
    let by = *pick(rng, &[1, len, -len, 100 * len]);
    let content = files.remove(&name).unwrap();
    let to = neighbour(&name, by);
    files.insert(to.clone(), content);
    format!("{name} renamed to {to}")
}

/// The name with the number at its end changed; another name where there is none.
fn neighbour(name: &str, by: i64) -> String {
    let (dir, last) = name.rsplit_once('/').unwrap_or(("", name));
    match last.parse::<i64>() {
        Ok(number) => format!("{dir}/{:0width$}", (number + by).max(0), width = last.len()),
        Err(_) => format!("{name}.old"),
    }
}

fn stray(rng: &mut impl RngCore, files: &mut Files) -> String {
    let name = *pick(
        rng,
        &[
            "notes.txt",
            "commitlog/notes.txt",
            "commitlog/0001",
            "consumequeue/notes.txt",
            "consumequeue/GoldenA/x/00000000000000000000",
            "consumequeue/GoldenA/07/00000000000000000000",
            "consumequeue/GoldenA/0/notes.txt",
            "index/notes.txt",
            "config/notes.json",
        ],
    );
    files.insert(name.to_owned(), b"notes".to_vec());
    format!("stray {name}")
}

fn resize(rng: &mut impl RngCore, config: &mut StoreConfig) -> String {
    let (log, queue) = (config.mapped_file_size_commit_log, config.mapped_file_size_consume_queue);
    match rng.random_range(0..6) {
        0 => config.mapped_file_size_commit_log = 2 * log,
        1 => config.mapped_file_size_commit_log = log / 2,
        2 => config.mapped_file_size_consume_queue = 2 * queue,
        3 => config.mapped_file_size_consume_queue = queue / 2,
        4 => config.mapped_file_size_consume_queue = 6_000_000,
        _ => config.max_hash_slot_num = 200,
    }
    let StoreConfig { mapped_file_size_commit_log, mapped_file_size_consume_queue, .. } = config;
    format!("sizes {mapped_file_size_commit_log} {mapped_file_size_consume_queue}")
}

fn toggle_abort(files: &mut Files) -> String {
    if files.remove("abort").is_none() {
        files.insert("abort".to_owned(), Vec::new());
    }
    "abort is there, or is not".to_owned()
}
