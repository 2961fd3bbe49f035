//! Runs of terms, lengths, watermarks.

use crate::{EntryMeta, LogView, NO_TERM};

fn log(begin: i64, terms: &[i64]) -> LogView {
    LogView::recovered(begin, terms.iter().map(|term| EntryMeta { term: *term, size_bytes: 100 }))
}

#[test]
fn every_entry_has_the_term_it_was_given() {
    let terms = [1, 1, 3, 3, 3, 7];
    let log = log(4, &terms);
    let read: Vec<i64> = (4..10).filter_map(|index| log.term_of(index)).collect();
    assert_eq!(read, terms);
    assert_eq!((log.term_of(3), log.term_of(10)), (None, None));
    assert_eq!((log.begin_index(), log.end_index(), log.end_term()), (4, 9, 7));
    assert_eq!((LogView::empty(0).end_index(), LogView::empty(0).end_term()), (-1, NO_TERM));
}

#[test]
fn what_can_be_equal_ends_where_terms_grow() {
    let log = log(0, &[1, 1, 3, 3, 7]);
    assert_eq!(log.last_index_of_term_up_to(3, 4), 3);
    assert_eq!(log.last_index_of_term_up_to(2, 4), 1);
    assert_eq!(log.last_index_of_term_up_to(9, 2), 2);
    assert_eq!(log.last_index_of_term_up_to(0, 4), -1);
}

#[test]
fn a_cut_lowers_what_is_safe_and_voids_syncs_under_way() {
    let mut log = log(0, &[1, 1, 1]);
    let generation = log.generation();
    log.cut(0);
    assert_eq!((log.end_index(), log.written_index(), log.synced_index()), (0, 0, 0));
    log.append(&[EntryMeta { term: 2, size_bytes: 5 }, EntryMeta { term: 2, size_bytes: 6 }]);
    log.mark_synced(generation, 2);
    assert_eq!(log.synced_index(), 0, "the sync was of the entries that are gone");
    log.mark_synced(log.generation(), 1);
    assert_eq!((log.written_index(), log.synced_index()), (1, 1));
    assert_eq!(log.entry(2), Some(EntryMeta { term: 2, size_bytes: 6 }));
}

#[test]
fn retention_takes_entries_and_leaves_their_runs_right() {
    let mut log = log(0, &[1, 1, 3, 3]);
    log.drop_below(3);
    assert_eq!((log.begin_index(), log.term_of(2), log.term_of(3)), (3, None, Some(3)));
    log.drop_below(100);
    assert_eq!((log.begin_index(), log.end_index()), (3, 3), "the last entry stays");
    log.cut(2);
    assert!(log.is_empty());
    log.append(&[EntryMeta { term: 4, size_bytes: 1 }]);
    assert_eq!((log.begin_index(), log.term_of(3)), (3, Some(4)));
}

#[test]
fn batches_are_bounded_and_never_empty() {
    let log = log(0, &[1; 10]);
    assert_eq!(log.batch(0, 100, 350).len(), 3);
    assert_eq!(log.batch(0, 2, 350).len(), 2);
    assert_eq!(log.batch(0, 100, 10).len(), 1, "one entry may be longer than a batch");
    assert_eq!(log.batch(9, 100, 1_000).len(), 1);
    assert!(log.batch(10, 100, 1_000).is_empty() && log.batch(0, 0, 1_000).is_empty());
}

#[test]
fn lengths_of_old_entries_are_forgotten() {
    let mut log = log(0, &[]);
    for _ in 0..20_000 {
        log.append(&[EntryMeta { term: 1, size_bytes: 7 }]);
    }
    assert_eq!(log.entry(0), Some(EntryMeta { term: 1, size_bytes: 0 }));
    assert_eq!(log.entry(19_999), Some(EntryMeta { term: 1, size_bytes: 7 }));
    assert_eq!(log.batch(0, 100, 4_096).len(), 1, "what has no known length goes alone");
}

#[test]
fn a_log_that_is_looked_up_is_the_one_that_was_read() {
    for (begin, terms) in
        [(0, vec![]), (7, vec![]), (0, vec![1]), (4, vec![1, 1, 3, 3, 3, 7]), (2, vec![5; 40])]
    {
        let read = log(begin, &terms);
        let end = begin + terms.len() as i64 - 1;
        let mut asked = 0;
        let looked = LogView::looked_up(begin, end, |index| {
            asked += 1;
            read.entry(index).ok_or(index)
        });
        assert_eq!(looked, Ok(read));
        assert!(asked <= terms.len() + 24, "{asked} look-ups for {} entries", terms.len());
    }
    assert_eq!(LogView::looked_up(0, 3, Err::<EntryMeta, i64>), Err(0));
}
