//! Every crash point of every operation of the store, as far as the size goes:
//! `CRASH_IMAGES=10000` asks for so many images per operation.
#![expect(clippy::disallowed_methods, reason = "tests read variables")]

use mq_tests::crash::enumeration::size_of;
use mq_tests::crash::{OPERATIONS, enumerate};
use staticfire::campaign::sweep::{SweepOptions, sweep};

/// Distinct images that every operation must come to.
const IMAGES_MIN: usize = 200;

#[test]
fn every_operation_may_crash_at_any_point() {
    let size = size_of(std::env::var("CRASH_IMAGES").ok());
    let mut total = 0;
    let mut too_few = Vec::new();
    let rows = sweep(&OPERATIONS, &SweepOptions::quiet(), |it| enumerate(it, size, &[]));
    for row in rows {
        let row = row.unwrap_or_else(|finding| panic!("{finding}"));
        println!("{row}");
        total += row.images + row.recovery_images;
        if row.images < IMAGES_MIN {
            too_few.push(row.operation);
        }
    }
    println!("{total} distinct images");
    assert!(too_few.is_empty(), "{too_few:?} come to less than {IMAGES_MIN}");
}
