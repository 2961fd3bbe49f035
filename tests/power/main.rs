//! A broker on a real kernel that loses power under traffic, again and again over one disk, and the
//! simulated disk beside it.
//!
//! `POWER_CUTS` says how many cuts per flush type; `tests/power/run` installs what is needed and
//! makes twenty. Without a kernel only what was seen before is held against the simulated disk.
#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]
#![expect(clippy::print_stdout, reason = "figures are read by people")]
#![expect(clippy::disallowed_methods, reason = "tests read variables and wait")]

mod machine;
mod simulated;
mod story;

use std::collections::BTreeSet;

use mq_store::config::FlushDiskType;
use mq_tests::skip::skipped;

use crate::story::Story;

/// Cuts per flush type when nobody says how many.
const CUTS: u32 = 1;

/// What real power losses were seen to make of files; see `docs/power.md`.
const SEEN: &str = include_str!("seen.txt");

/// What somebody asked for.
fn cuts_asked() -> Option<u32> {
    std::env::var("POWER_CUTS").ok().map(|text| text.parse().unwrap())
}

fn seen() -> BTreeSet<String> {
    SEEN.lines().map(str::to_owned).collect()
}

async fn loses_power_again_and_again(flush_disk_type: FlushDiskType) {
    let dir = tempfile::tempdir().unwrap();
    let mut story = match Story::begin(dir.path(), flush_disk_type) {
        Ok(story) => story,
        Err(reason) => {
            assert_eq!(cuts_asked(), None, "no power can be cut: {reason}");
            return skipped("real power", &reason);
        }
    };
    for _ in 0..cuts_asked().unwrap_or(CUTS) {
        story.round().await;
    }
    story.end().await;
    let simulated = tokio::task::spawn_blocking(simulated::outcomes_of_simulated_power_losses);
    let simulated = simulated.await.unwrap();
    let only_real: Vec<&String> = story.outcomes.difference(&simulated).collect();
    assert!(only_real.is_empty(), "the simulated disk does not have: {only_real:#?}");
    let seen = seen();
    // Simulated all the same: no failure, but worth a line in the file.
    for new in story.outcomes.difference(&seen) {
        println!("never seen before, for tests/power/seen.txt: {new}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_losses_under_sync_flush_lose_nothing() {
    loses_power_again_and_again(FlushDiskType::SyncFlush).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_losses_under_async_flush_lose_what_was_not_flushed() {
    loses_power_again_and_again(FlushDiskType::AsyncFlush).await;
}

#[test]
fn the_simulated_disk_has_every_outcome_of_real_power_losses() {
    let simulated = simulated::outcomes_of_simulated_power_losses();
    let seen = seen();
    let only_real: Vec<&String> = seen.difference(&simulated).collect();
    println!("the simulated disk has {} outcomes, reality showed {}", simulated.len(), seen.len());
    for outcome in simulated.difference(&seen) {
        println!("only simulated: {outcome}");
    }
    assert!(only_real.is_empty(), "only real: {only_real:#?}");
}
