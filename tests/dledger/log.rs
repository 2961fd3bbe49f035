//! The log without crashes: places, cuts, expiry, what is refused, and what a start makes of damage.

use std::time::Duration;

use mq_dledger_log::{ReadError, StoredTerm, Synced};
use mq_protocol::dledger_entry::{EntryHead, entry_blank};
use mq_protocol::message_codec::patch_phy_offset;
use staticfire_world::disk::{FlushErrorMode, FlushFault};

use super::*;

fn data_path(from: u64) -> std::path::PathBuf {
    config().data_dir.join(format!("{from:020}"))
}

fn index_path(from: u64) -> std::path::PathBuf {
    config().dir.join(format!("index/{from:020}"))
}

/// Appends messages with these numbers.
fn append(log: &DLedgerLog, term: i64, numbers: std::ops::Range<u32>) {
    for number in numbers {
        log.append_as_leader(term, &mut record(number)).unwrap();
    }
}

/// Of which numbers the messages are, and their terms, from the first entry to the last.
fn read(log: &DLedgerLog) -> Vec<(i64, u32)> {
    let entries = log.begin_index()..=log.end_index();
    let read = |index| {
        let entry = log.entry(index).unwrap();
        let record = mq_protocol::message_codec::decode_record(entry.body()).unwrap();
        assert_eq!(record.phy_offset(), entry.head.pos + 48);
        (entry.head.term, mq_tests::crash::stage::number_of(record.body()))
    };
    entries.map(read).collect()
}

fn numbered(term: i64, numbers: std::ops::Range<u32>) -> Vec<(i64, u32)> {
    numbers.map(|number| (term, number)).collect()
}

/// A disk with a log of 40 entries over several files, closed in order.
fn disk_of_40() -> Arc<SimDisk> {
    let disk = disk();
    live(&disk, &config(), async |opened| {
        append(&opened.log, 1, 0..40);
        opened.log.close(30).await.unwrap();
    })
    .unwrap();
    disk
}

#[test]
fn a_cut_and_a_start_end_behind_the_last_entry_and_not_behind_a_blank() {
    let disk = disk();
    let (first, second) = live(&disk, &config(), async |opened| {
        let log = &opened.log;
        append(log, 1, 0..3);
        let end = log.end_pos();
        // Too long for what is left of the file.
        let mut long = record(0);
        long.resize(DATA_FILE - 100, 0);
        let first = log.append_as_leader(1, &mut long).unwrap();
        assert_eq!(first.pos, DATA_FILE as u64, "a file of its own");
        log.truncate(2, 1).await.unwrap();
        assert_eq!((log.end_index(), log.end_pos()), (2, end));
        (first, log.append_as_leader(2, &mut record(3)).unwrap())
    })
    .unwrap();
    assert_eq!((first.index, second.index), (3, 3));
    assert!(second.pos < first.pos, "the room of the blank is used");
    live(&disk, &config(), async |opened| {
        let expected = [numbered(1, 0..3), numbered(2, 3..4)].concat();
        assert_eq!(read(&opened.log), expected);
    })
    .unwrap();
}

#[test]
fn a_follower_has_entries_where_their_leader_has_them_or_not_at_all() {
    live(&disk(), &config(), async |opened| {
        let log = &opened.log;
        let at =
            |index, term, pos: u64| EntryHead::new(index, term, pos as i64, record(0).len() as i32);
        log.append_as_follower(&at(0, 2, 0), &record(0)).unwrap();
        let end = log.end_pos();
        let said = |head| log.append_as_follower(&head, &record(0)).unwrap_err().to_string();
        assert!(said(at(2, 2, end)).contains("does not continue entry 0 of term 2"));
        assert!(said(at(1, 1, end)).contains("does not continue entry 0 of term 2"));
        assert!(said(at(1, 2, end + 1)).contains("mappedFileSizeCommitLog must be the same"));
        let short = EntryHead { body_len: 3, size: 51, ..at(1, 2, end) };
        assert!(said(short).contains("does not continue"));
        // A Java leader that was started again behind a blank begins a file.
        log.append_as_follower(&at(1, 2, DATA_FILE as u64), &record(0)).unwrap();
        assert_eq!(log.select(end, 8).as_deref(), Some(&entry_blank(DATA_FILE - end as usize)[..]));
        assert_eq!((log.end_index(), log.entry(1).unwrap().head.pos), (1, DATA_FILE as i64));
    })
    .unwrap();
}

#[test]
fn it_is_known_before_whether_entries_can_lie_where_their_leader_has_them() {
    live(&disk(), &config(), async |opened| {
        let log = &opened.log;
        append(log, 1, 0..3);
        let size = record(7).len() as u64 + 48;
        let file = DATA_FILE as u64;
        let check = |first, is_anew, pos: &[u64]| {
            let head =
                |(index, pos): (i64, &u64)| EntryHead::new(index, 2, *pos as i64, size as i32 - 48);
            let heads: Vec<_> = (first..).zip(pos).map(head).collect();
            log.check_places(first, is_anew, &heads).map_err(|error| error.to_string())
        };
        let end = log.end_pos();
        let cut_at = log.end_of(0).unwrap();
        let possible = [
            (3, false, vec![end, end + size]),
            (3, false, vec![end, file, file + size]),
            (1, false, vec![cut_at, cut_at + size]),
            (0, false, vec![3 * file]),
            (9, true, vec![5 * file, 5 * file + size]),
            (3, false, vec![]),
        ];
        for (first, is_anew, pos) in possible {
            assert_eq!(check(first, is_anew, &pos), Ok(()), "{first} at {pos:?}");
        }
        let impossible = [
            (3, false, vec![end + 8], "here it would follow"),
            (3, false, vec![2 * file], "here it would follow"),
            (3, false, vec![end, end + size + 8], "here it would follow"),
            (1, false, vec![end], "here it would follow"),
            (0, false, vec![8], "no file begins there"),
            (9, true, vec![5 * file + 8], "no file begins there"),
            (9, false, vec![end], "entry 8 is not there"),
        ];
        for (first, is_anew, pos, why) in impossible {
            let said = check(first, is_anew, &pos).unwrap_err();
            assert!(said.contains(why), "{first} at {pos:?}: {said}");
        }
    })
    .unwrap();
}

#[test]
fn a_start_that_its_caller_refuses_changes_nothing() {
    let disk = disk();
    live(&disk, &config(), async |opened| append(&opened.log, 1, 0..3)).unwrap();
    run(async {
        let handle = disk.handle("node");
        let epoch = handle.epoch();
        let before = disk.image().digest();
        let may_open = |term: Option<&StoredTerm>, has_entries| {
            assert!(term.is_none() && has_entries);
            Err::<(), _>(LogError::Poisoned)
        };
        let refused = DLedgerLog::open_if(&env(handle, 1), config(), may_open).await;
        assert!(matches!(refused, Err(LogError::Poisoned)));
        assert_eq!(disk.image().digest(), before);
        disk.process_died(epoch);
    });
}

#[test]
fn what_is_not_there_is_not_read() {
    live(&disk(), &config(), async |opened| {
        let log = &opened.log;
        append(log, 1, 0..2);
        assert_eq!(log.entry(-1).unwrap_err(), ReadError::Expired { index: -1, begin_index: 0 });
        assert_eq!(log.entry(2).unwrap_err(), ReadError::Beyond { index: 2, end_index: 1 });
        assert!(log.select(log.end_pos() - 1, 2).is_none());
        let too_long = log.append_as_leader(1, &mut vec![0; DATA_FILE]).unwrap_err();
        let expected = format!("entry 2 at offset {}: 8240 bytes of 8184 at most", log.end_pos());
        assert_eq!(too_long.to_string(), expected);
    })
    .unwrap();
}

#[test]
fn whoever_syncs_it_is_known() {
    live(&disk(), &config(), async |opened| {
        let log = &opened.log;
        append(log, 1, 0..3);
        log.appended().await;
        assert_eq!(log.synced().index, -1);
        log.write_checkpoint(1).await.unwrap();
        assert_eq!((log.synced().index, log.is_dirty()), (2, false));
        let is_told = tokio::time::timeout(Duration::from_secs(1), log.appended()).await;
        assert!(is_told.is_ok(), "whoever waits for syncs looks up");
        let synced = log.truncate(0, 5).await.unwrap();
        assert_eq!((synced, log.synced()), (Synced { generation: 5, index: 0 }, synced));
    })
    .unwrap();
}

#[test]
fn an_emptied_log_goes_on_where_its_leader_s_begins() {
    let disk = disk_of_40();
    let begin = 5 * DATA_FILE as u64;
    live(&disk, &config(), async |opened| {
        opened.log.reset(100, begin, 1).await.unwrap();
        assert!(opened.log.is_empty());
        assert_eq!((opened.log.begin_index(), opened.log.end_index()), (100, 99));
    })
    .unwrap();
    let head = |index, pos| EntryHead::new(index, 3, pos, record(1).len() as i32);
    let mut body = record(1);
    patch_phy_offset(&mut body, begin as i64 + 48);
    live(&disk, &config(), async |opened| {
        assert_eq!((opened.log.begin_index(), opened.log.end_index()), (100, 99));
        let view = opened.log.view().unwrap();
        assert_eq!((view.begin_index(), view.end_index()), (100, 99));
        opened.log.append_as_follower(&head(100, begin as i64), &body).unwrap();
        opened.log.sync().await.unwrap();
    })
    .unwrap();
    disk.power_loss_worst();
    live(&disk, &config(), async |opened| {
        assert_eq!((opened.log.begin_index(), opened.log.end_index()), (100, 100));
        assert_eq!(opened.log.entry(100).unwrap().head, head(100, begin as i64));
        let refused = opened.log.reset(7, 5, 1).await.unwrap_err().to_string();
        assert!(refused.contains("no file begins there"), "{refused}");
        assert!(opened.log.is_poisoned());
    })
    .unwrap();
}

#[test]
fn what_has_expired_goes_file_by_file_as_far_as_it_is_committed() {
    let disk = disk_of_40();
    let expired = live(&disk, &config(), async |opened| {
        let log = &opened.log;
        assert_eq!(log.expire_oldest(0, 30).await.unwrap(), None, "nothing is that old");
        let mut begins = Vec::new();
        while let Some(begin) = log.expire_oldest(u64::MAX, 30).await.unwrap() {
            assert_eq!(log.begin_index(), begin);
            begins.push(begin);
        }
        assert!(log.entry(begins[0] - 1).is_err());
        begins
    })
    .unwrap();
    assert!(expired.len() > 1 && expired.is_sorted(), "{expired:?}");
    assert!(expired.iter().all(|begin| *begin <= 30), "{expired:?}");
    let begin = *expired.last().unwrap();
    live(&disk, &config(), async |opened| {
        assert_eq!((opened.log.begin_index(), opened.log.end_index()), (begin, 39));
        assert_eq!(read(&opened.log), numbered(1, begin as u32..40));
        append(&opened.log, 2, 40..41);
    })
    .unwrap();
    assert!(!disk.exists(&data_path(0)) && !disk.exists(&index_path(0)));
}

#[test]
fn an_index_is_made_of_the_entries_again() {
    type Damage = (&'static str, fn(&SimDisk, &dyn Disk));
    let damages: [Damage; 5] = [
        ("all of it is gone", |_, handle| {
            for from in [0, 512, 1024] {
                handle.remove(&index_path(from)).unwrap();
            }
        }),
        ("its last file is gone", |_, handle| handle.remove(&index_path(1024)).unwrap()),
        ("one in the middle is gone", |_, handle| handle.remove(&index_path(512)).unwrap()),
        ("its first is gone", |_, handle| handle.remove(&index_path(0)).unwrap()),
        ("the last record is another", |disk, _| {
            assert!(disk.rot(&index_path(1024), 32 * 7 + 11, 1))
        }),
    ];
    for (what, damage) in damages {
        let disk = disk_of_40();
        let handle = disk.handle("fool");
        damage(&disk, &*handle);
        disk.process_died(handle.epoch());
        live(&disk, &config(), async |opened| {
            assert_eq!(read(&opened.log), numbered(1, 0..40), "{what}");
        })
        .unwrap();
    }
}

#[test]
fn damage_below_what_was_synced_refuses_the_start_and_above_it_is_the_end() {
    let disk = disk_of_40();
    let at = 2 * DATA_FILE as u64 + 700;
    assert!(disk.rot(&data_path(2 * DATA_FILE as u64), 700, 0x10));
    let before = disk.image().digest();
    let refused = live(&disk, &config(), async |_| ()).unwrap_err().to_string();
    assert!(
        refused.contains("is damaged at offset") && refused.contains("must not vote"),
        "{refused}"
    );
    assert_eq!(disk.image().digest(), before, "nothing is changed");
    // To DLedger's rules it is where the log ends.
    let handle = disk.handle("operator");
    handle.remove(&config().dir.join("checkpoint")).unwrap();
    disk.process_died(handle.epoch());
    let kept = live(&disk, &config(), async |opened| {
        assert!(opened.dropped_bytes > 0);
        assert!(opened.log.end_pos() <= at);
        append(&opened.log, 2, 40..41);
        read(&opened.log)
    })
    .unwrap();
    let (last, kept) = kept.split_last().unwrap();
    assert_eq!(*last, (2, 40));
    assert_eq!(kept, numbered(1, 0..kept.len() as u32));
}

#[test]
fn files_that_are_missing_or_short_refuse_the_start() {
    type Damage = fn(&dyn Disk);
    let damages: [(&str, Damage); 4] = [
        ("entries 0 to 16 are missing", |handle| handle.remove(&data_path(0)).unwrap()),
        ("is missing", |handle| handle.remove(&data_path(DATA_FILE as u64)).unwrap()),
        ("has 100 bytes", |handle| {
            let bytes = handle.read_at(&data_path(0), 0, 100).unwrap();
            handle.write(&data_path(0), &bytes).unwrap();
        }),
        ("currterm is damaged (currTerm is missing)", |handle| {
            handle.write(&config().dir.join("currterm"), b"voteLeader=n1").unwrap();
        }),
    ];
    for (expected, damage) in damages {
        let disk = disk_of_40();
        let handle = disk.handle("fool");
        damage(&*handle);
        disk.process_died(handle.epoch());
        let before = disk.image().digest();
        let refused = live(&disk, &config(), async |_| ()).unwrap_err().to_string();
        assert!(refused.contains(expected), "{expected}: {refused}");
        assert_eq!(disk.image().digest(), before, "{expected}: nothing is changed");
    }
}

#[test]
fn a_failed_sync_ends_a_log_and_a_full_disk_only_an_entry() {
    let disk = disk();
    live(&disk, &config(), async |opened| {
        let log = &opened.log;
        append(log, 1, 0..2);
        log.sync().await.unwrap();
        // The second data file finds no room.
        assert!(disk.fill(0));
        let mut long = record(0);
        long.resize(DATA_FILE - 100, 0);
        assert!(log.make_room([long.len() + 48]).unwrap_err().is_disk_full());
        assert!(log.append_as_leader(1, &mut long).unwrap_err().is_disk_full());
        assert!(!log.is_poisoned());
        append(log, 1, 2..3);
        disk.unfill();
        log.make_room([long.len() + 48]).unwrap();
        let mode = FlushErrorMode::Clean;
        disk.fail_flushes(FlushFault { path_contains: String::new(), times: None, mode });
        assert!(log.sync().await.is_err());
        assert!(log.is_poisoned());
        disk.clear_flush_faults();
        assert!(matches!(log.sync().await, Err(LogError::Poisoned)));
        assert!(matches!(log.append_as_leader(1, &mut record(3)), Err(LogError::Poisoned)));
        assert!(matches!(log.truncate(0, 1).await, Err(LogError::Poisoned)));
    })
    .unwrap();
}
