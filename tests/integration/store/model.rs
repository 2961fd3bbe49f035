//! The store against a reference model: `PROPTEST_CASES` scales it.
#![expect(clippy::disallowed_methods, reason = "tests read variables")]

use mq_store::config::FlushDiskType;
use mq_tests::crash::model::{Step, find, play};
use mq_tests::crash::stage::small_config;

/// Lists of steps per mode without a variable that says otherwise.
const CASES: u32 = 150;

#[test]
fn a_store_answers_as_its_model() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    for mode in FlushDiskType::ALL {
        if let Some(finding) = find(mode, cases.unwrap_or(CASES), &[]) {
            panic!("{mode:?}, case {}: {finding}", finding.cases);
        }
    }
}

/// What random lists came to, shrunk.
#[test]
fn steps_that_once_failed() {
    let lists = [
        // The first record is synced and dispatched only after the cut behind it.
        vec![Step::PutAndGo(3), Step::Truncate(1), Step::Put(2)],
        // The same where dispatching does not wait for a sync.
        vec![Step::Put(3), Step::Truncate(1), Step::Put(2)],
        // A watermark that was sampled before the cut is written after it.
        vec![
            Step::Put(5),
            Step::Pass(960),
            Step::Truncate(6),
            Step::Put(7),
            Step::Truncate(24),
            Step::Kill,
        ],
        // Expiry that was asked for once takes a file whose time does not tell yet that it is young.
        vec![Step::Put(5), Step::Expire, Step::Put(18), Step::Truncate(1)],
        vec![Step::Put(21), Step::PutAndGo(5), Step::Truncate(9), Step::PutAndGo(2), Step::Kill],
    ];
    for mode in FlushDiskType::ALL {
        for steps in &lists {
            play(steps, &small_config(mode))
                .unwrap_or_else(|broken| panic!("{mode:?} {steps:?}: {broken}"));
        }
    }
}
