//! The store against a reference model: `PROPTEST_CASES` scales it.
#![expect(clippy::disallowed_methods, reason = "tests read variables")]

use mq_store::config::FlushDiskType;
use mq_tests::crash::model::find;

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
