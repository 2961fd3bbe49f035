//! How a crate tests a story of its own.

#[test]
fn a_sync_master_hands_over() {
    staticfire::testing::check("stories/hand-over.toml");
}
