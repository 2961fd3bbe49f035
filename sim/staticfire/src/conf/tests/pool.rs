//! What a transient store pool changes.

use std::collections::BTreeMap;

use super::*;
use crate::stories::matrix_rows::MatrixRow;

#[test]
fn a_transient_pool_that_acknowledges_changes_what_is_promised() {
    let rows = |sets: &[&str]| {
        let files = [("a.properties", MASTER), ("a-s.properties", SLAVE)];
        let group = check_with(&files, sets).expect("sound").groups.remove(0);
        let of = |row: &MatrixRow| {
            (
                format!("{}/{}", row.fault_name(), row.recovery),
                format!("{} {}", row.ours, row.bound),
            )
        };
        let rows: BTreeMap<_, _> = group.rows().iter().map(of).collect();
        (group.mode, rows)
    };
    let (_, without) = rows(&[]);
    let (mode, with) = rows(&["a.transientStorePoolEnable=true"]);
    assert_eq!(mode, "ASYNC_MASTER + ASYNC_FLUSH + transient store pool, slave ASYNC_FLUSH");
    for (place, now, then) in [
        ("kill_master/restart", "never ", "may master_uncommitted"),
        ("kill_master/promote", "may lag", "may master_uncommitted+lag"),
        ("power_master/restart", "may master_unflushed", "may master_unflushed+master_uncommitted"),
        ("pause_master/none", "never ", "never "),
        ("kill_slave/restart", "never ", "never "),
        ("disk_master/restart", "all ", "all "),
    ] {
        assert_eq!((&*without[place], &*with[place]), (now, then), "{place}");
    }
    for set in ["a.brokerRole=SYNC_MASTER", "a.flushDiskType=SYNC_FLUSH"] {
        assert_eq!(rows(&[set, "a.transientStorePoolEnable=true"]).1, rows(&[set]).1, "{set}");
    }
    let text = rendered(&[("a.properties", MASTER)], &["a.transientStorePoolEnable=true"]);
    insta::assert_snapshot!(text, @"warning  a.properties (--set)  transientStorePoolEnable: messages are acknowledged up to 400 ms before they leave the process; if it is killed, they are lost");
}
