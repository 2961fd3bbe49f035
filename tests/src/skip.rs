//! Tests that the machine does not permit say so where people see it.

use std::io::Write as _;

/// Says that a test showed nothing, and why: on standard error itself, past the capture of the test
/// runner, which shows only what failing tests print.
pub fn skipped(what: &str, reason: &str) {
    let mut stderr = std::io::stderr().lock();
    writeln!(stderr, "SKIP: {what}: {reason}").unwrap();
}
