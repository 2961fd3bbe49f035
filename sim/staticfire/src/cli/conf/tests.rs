//! How results are shown: made-up figures on a real directory.

use super::*;
use crate::cli::samples;

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios/conf/hosts-2m-2s-sync");

fn load(sets: &[&str]) -> (ClusterConf, Vec<ConfRow>) {
    let sets: Vec<Overlay> = sets.iter().map(|set| set.parse().expect("a setting")).collect();
    let cluster = conf::load_dir(Path::new(DIR), &sets).expect("a sound directory");
    let rows = ConfRow::all(Path::new("DIR"), &sets, &cluster);
    (cluster, rows)
}

/// The rows of some faults, each with the losses of its runs.
fn tried(rows: Vec<ConfRow>, losses: &[(&str, &[u32])]) -> Vec<Tried> {
    let of = |row: &ConfRow| losses.iter().find(|(place, _)| *place == row.place());
    let rows = rows.into_iter();
    rows.filter_map(|row| {
        let (_, lost) = of(&row)?;
        let outcome = samples::outcome(lost);
        Some(Tried { row, outcome })
    })
    .collect()
}

/// The tables as they stand in the end.
fn shown(cluster: &ClusterConf, tried: &[Tried], all: bool) -> String {
    let rows: Vec<ConfRow> = tried.iter().map(|tried| tried.row.clone()).collect();
    let mut tables = Tables::new(cluster, &rows, 2, all);
    tried.iter().map(|tried| tables.add(tried)).collect()
}

const LOSSES: [(&str, &[u32]); 6] = [
    ("broker-a/kill_master/restart", &[0, 0]),
    ("broker-a/power_all/restart", &[0, 0]),
    ("broker-a/power_all/promote", &[0, 31]),
    ("broker-b/kill_master/restart", &[0, 0]),
    ("broker-b/power_all/restart", &[0, 0]),
    ("broker-b/power_all/promote", &[7, 0]),
];

#[test]
fn a_table_a_group_and_what_it_adds_up_to() {
    let (cluster, rows) = load(&[]);
    let tried = tried(rows, &LOSSES);
    let mut text = shown(&cluster, &tried, false);
    text += &render::summary(&tried);
    text += &render::commands(&tried);
    insta::assert_snapshot!("table", text);
}

#[test]
fn groups_that_fared_differently_have_a_table_each() {
    let (cluster, rows) = load(&[]);
    let is_hidden = |tried: &[Tried], all| {
        shown(&cluster, tried, all).contains("as broker-a: same modes, same results")
    };
    let mut tried = tried(rows, &LOSSES);
    assert!(is_hidden(&tried, false));
    assert!(!is_hidden(&tried, true));
    tried[5].outcome = samples::outcome(&[0, 0]);
    assert!(!is_hidden(&tried, false));
}

#[test]
fn broken_and_vacuous_rows_stand_out() {
    let (cluster, rows) = load(&[]);
    let mut tried = tried(rows, &LOSSES[..3]);
    tried[0].outcome = samples::broken();
    tried[1].outcome = samples::vacuous();
    let all: Vec<&Tried> = tried.iter().collect();
    let mut text = shown(&cluster, &tried, false);
    text += &failures::broken(&tried[0].subject(), &tried[0].outcome, Colour::Off);
    text += &render::limits(&tried, Some(30), Some(9_000));
    text += &render::summary(&tried);
    insta::assert_snapshot!("broken", text);
    assert_eq!(exit(&all, false), Exit::Broken);
    assert_eq!(exit(&all[1..], false), Exit::Nothing);
    assert_eq!(exit(&all[2..], false), Exit::Kept);
    assert_eq!(exit(&all[2..], true), Exit::Broken);
}

#[test]
fn what_if_has_columns_now_and_then() {
    let (now, now_rows) = load(&[]);
    let (then, then_rows) = load(&["broker-a-s.flushDiskType=SYNC_FLUSH"]);
    let then_losses = LOSSES.map(|(place, _)| (place, &[0, 0][..]));
    let (now_tried, then_tried) = (tried(now_rows, &LOSSES), tried(then_rows, &then_losses));
    insta::assert_snapshot!("what_if", what_if::table(&now, &then, &now_tried, &then_tried));
}

#[test]
fn advice_follows_the_terms_of_the_bound() {
    let (_, rows) = load(&[
        "brokerRole=ASYNC_MASTER",
        "broker-a-s.brokerRole=SLAVE",
        "broker-b-s.brokerRole=SLAVE",
        "broker-a.flushDiskType=ASYNC_FLUSH",
    ]);
    let words = |place: &str| -> Vec<String> {
        let row = rows.iter().find(|row| row.place() == place).expect("a row");
        advice::advice(row).iter().map(|advice| advice.words()).collect()
    };
    assert_eq!(words("broker-a/kill_master/promote"), ["brokerRole=SYNC_MASTER on broker-a"]);
    assert_eq!(words("broker-a/power_master/restart"), ["flushDiskType=SYNC_FLUSH on broker-a"]);
    let both = ["brokerRole=SYNC_MASTER on broker-a", "flushDiskType=SYNC_FLUSH on broker-a-s"];
    assert_eq!(words("broker-a/power_all/promote"), both);
    assert_eq!(words("broker-a/disk_master/restart"), ["promote broker-a-s, which has a copy"]);
    assert!(words("broker-a/kill_master/restart").is_empty());
    let (_, rows) = load(&[
        "brokerRole=ASYNC_MASTER",
        "broker-a-s.brokerRole=SLAVE",
        "broker-b-s.brokerRole=SLAVE",
        "flushDiskType=ASYNC_FLUSH",
        "transientStorePoolEnable=true",
    ]);
    let row = rows.iter().find(|row| row.place() == "broker-a/kill_master/restart").unwrap();
    let words: Vec<_> = advice::advice(row).iter().map(|advice| advice.words()).collect();
    assert_eq!(words, ["transientStorePoolEnable=false on broker-a"]);
}
