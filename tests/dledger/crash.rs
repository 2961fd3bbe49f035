//! Every crash point of what a log does, and every disk that it may leave: what was synced is there after a power loss,
//! what was appended after a kill, what was cut stays cut, and a start finds the same again.
//!
//! `CRASH_IMAGES=1000` asks for so many images per operation.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use mq_dledger_log::StoredTerm;
use mq_protocol::dledger_entry::EntryHead;
use mq_protocol::message_codec::{decode_record, patch_phy_offset};
use mq_tests::crash::enumeration::size_of;
use mq_tests::crash::known::Crash;
use mq_tests::crash::outcomes::{Outcome, outcomes};
use mq_tests::crash::stage::{Camera, Point, number_of};

use super::*;

/// Distinct images that every operation must come to.
const IMAGES_MIN: usize = 60;

/// A message with properties, which no checksum covers, of which some go over the end of a page.
fn record(number: u32) -> Vec<u8> {
    let keys = "k".repeat(100 + number as usize * 173 % 500);
    let properties = format!("KEYS\u{1}{keys}\u{2}");
    let (body, host) = (body(number), ([10, 0, 0, 1], 10911).into());
    let plain = RecordFields::plain("T", &body, host, 1_700_000_000_000);
    let mut record = Vec::new();
    RecordFields { properties: &properties, ..plain }.encode(&mut record).unwrap();
    record
}

/// What is known at a crash point. Messages by their numbers, of which each is appended once.
#[derive(Clone, Debug, Default)]
struct Known {
    /// What may stand at an index.
    may: BTreeMap<i64, BTreeSet<u32>>,
    /// What was appended, and is there after a kill.
    written: BTreeMap<i64, u32>,
    /// What was synced, and is there after a power loss.
    synced: BTreeMap<i64, u32>,
    /// Below this nothing needs to be there.
    expired_below: i64,
    /// The term that was persisted last, and the one that is on its way.
    terms: (i64, i64),
}

/// A log that is watched.
struct Stage {
    log: Arc<DLedgerLog>,
    known: Arc<Mutex<Known>>,
}

impl Stage {
    fn learn<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        change(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn append(&self, term: i64, numbers: Range<u32>) {
        for number in numbers {
            let index = self.log.end_index() + 1;
            self.learn(|known| known.may.entry(index).or_default().insert(number));
            self.log.append_as_leader(term, &mut record(number)).unwrap();
            self.learn(|known| known.written.insert(index, number));
        }
    }

    async fn sync(&self) {
        let index = self.log.sync().await.unwrap().index;
        self.learn(|known| known.synced = known.written.range(..=index).map(pair).collect());
    }

    async fn checkpoint(&self, committed_index: i64) {
        self.log.write_checkpoint(committed_index).await.unwrap();
        self.sync().await;
    }

    async fn truncate(&self, keep_through: i64) {
        self.learn(|known| {
            known.written.retain(|index, _| *index <= keep_through);
            known.synced.retain(|index, _| *index <= keep_through);
        });
        self.log.truncate(keep_through, 1).await.unwrap();
        self.learn(|known| known.may.retain(|index, _| *index <= keep_through));
    }

    async fn reset(&self, index: i64, pos: u64) {
        self.learn(|known| {
            known.written.clear();
            known.synced.clear();
        });
        self.log.reset(index, pos, 1).await.unwrap();
        self.learn(|known| known.may.clear());
    }

    /// Appends an entry that a leader has there.
    fn push(&self, index: i64, pos: u64, number: u32) {
        let mut body = record(number);
        patch_phy_offset(&mut body, pos as i64 + 48);
        self.learn(|known| known.may.entry(index).or_default().insert(number));
        let head = EntryHead::new(index, 9, pos as i64, body.len() as i32);
        self.log.append_as_follower(&head, &body).unwrap();
        self.learn(|known| known.written.insert(index, number));
    }

    async fn persist(&self, term: i64) {
        self.learn(|known| known.terms.1 = term);
        let vote_leader = Some(format!("n{term}"));
        self.log.persist_term(&StoredTerm { term, vote_leader, is_blank: false }).await.unwrap();
        self.learn(|known| known.terms.0 = term);
    }

    async fn expire(&self, committed_index: i64) {
        self.learn(|known| known.expired_below = committed_index + 1);
        while self.log.expire_oldest(u64::MAX, committed_index).await.unwrap().is_some() {}
    }
}

fn pair((index, number): (&i64, &u32)) -> (i64, u32) {
    (*index, *number)
}

/// What a start finds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    begin_index: i64,
    entries: Vec<(i64, u32)>,
    term: i64,
    committed_index: i64,
}

/// Opens the log, and asks of every entry whether it is whole.
fn start(disk: &Arc<SimDisk>, goes_on: bool) -> State {
    let state = live(disk, &config(), async |opened| {
        let (log, term) = (&opened.log, opened.term);
        let read = |index| {
            let entry = log.entry(index).unwrap();
            let record = decode_record(entry.body()).unwrap();
            assert_eq!((entry.head.index, record.phy_offset()), (index, entry.head.pos + 48));
            let number = number_of(record.body());
            let mut expected = self::record(number);
            patch_phy_offset(&mut expected, entry.head.pos + 48);
            assert!(entry.body() == expected, "entry {index} is not what was appended");
            (entry.head.term, number)
        };
        let view = log.view().unwrap();
        assert_eq!((view.begin_index(), view.end_index()), (log.begin_index(), log.end_index()));
        let vote = term.as_ref().and_then(|term| term.vote_leader.clone());
        let term = term.map_or(0, |term| term.term);
        assert_eq!(vote.unwrap_or("n0".to_owned()), format!("n{term}"));
        let state = State {
            begin_index: log.begin_index(),
            entries: (log.begin_index()..=log.end_index()).map(read).collect(),
            term,
            committed_index: opened.committed_index,
        };
        if goes_on {
            log.append_as_leader(10, &mut record(999)).unwrap();
            log.sync().await.unwrap();
            assert_eq!(log.entry(log.end_index()).unwrap().head.term, 10);
        }
        state
    });
    state.unwrap_or_else(|error| panic!("a start is refused: {error}"))
}

impl Known {
    /// What of it a start breaks.
    fn check(&self, state: &State, crash: Crash) -> Result<(), String> {
        let found = |index: i64| {
            let at = usize::try_from(index - state.begin_index).ok()?;
            state.entries.get(at).map(|(_, number)| *number)
        };
        let must = if crash == Crash::Kill { &self.written } else { &self.synced };
        for (index, number) in must.range(self.expired_below..) {
            if found(*index) != Some(*number) {
                return Err(format!("entry {index} is {:?} and not {number}", found(*index)));
            }
        }
        for (index, (_, number)) in (state.begin_index..).zip(&state.entries) {
            if !self.may.get(&index).is_some_and(|may| may.contains(number)) {
                return Err(format!("entry {index} is {number}, which is nowhere"));
            }
        }
        if state.term != self.terms.0 && state.term != self.terms.1 {
            return Err(format!("the term is {} and not one of {:?}", state.term, self.terms));
        }
        if state.committed_index >= state.begin_index + state.entries.len() as i64 {
            return Err(format!("{} is committed", state.committed_index));
        }
        Ok(())
    }
}

/// What is done before, and what is filmed.
type Operation = (&'static str, fn(&Stage) -> Act<'_>, fn(&Stage) -> Act<'_>);
type Act<'a> = mq_env::BoxFuture<'a, ()>;

macro_rules! act {
    (|$stage:ident| $body:block) => {
        |$stage: &Stage| -> Act<'_> { Box::pin(async move { $body }) }
    };
}

const OPERATIONS: [Operation; 9] = [
    (
        "append",
        act!(|it| { it.append(1, 0..3) }),
        act!(|it| {
            it.append(1, 3..8);
            it.sync().await;
            it.append(2, 8..11);
            it.sync().await;
        }),
    ),
    (
        "roll",
        act!(|it| { it.append(1, 0..10) }),
        act!(|it| {
            it.append(1, 10..26);
            it.sync().await;
            it.append(1, 26..36);
            it.sync().await;
        }),
    ),
    (
        "file made ahead",
        act!(|it| { it.append(1, 0..13) }),
        act!(|it| {
            it.log.allocate_ahead().await.unwrap();
            it.append(1, 13..24);
            it.sync().await;
            it.log.allocate_ahead().await.unwrap();
        }),
    ),
    (
        "checkpoint",
        act!(|it| { it.append(1, 0..10) }),
        act!(|it| {
            it.checkpoint(4).await;
            it.append(1, 10..20);
            it.checkpoint(12).await;
            it.append(1, 20..23);
        }),
    ),
    (
        "truncate",
        act!(|it| {
            it.append(1, 0..20);
            it.checkpoint(6).await;
        }),
        act!(|it| {
            it.append(2, 20..26);
            it.truncate(21).await;
            it.append(3, 26..29);
            it.sync().await;
            it.truncate(8).await;
            it.append(4, 29..33);
            it.sync().await;
        }),
    ),
    (
        "truncate to nothing",
        act!(|it| {
            it.append(1, 0..20);
            it.checkpoint(-1).await;
        }),
        act!(|it| {
            it.truncate(-1).await;
            it.append(2, 20..22);
            it.sync().await;
        }),
    ),
    (
        "reset",
        act!(|it| {
            it.append(1, 0..20);
            it.checkpoint(-1).await;
        }),
        act!(|it| {
            let pos = 5 * DATA_FILE as u64;
            it.reset(50, pos).await;
            it.push(50, pos, 50);
            it.sync().await;
            it.push(51, pos + 48 + record(50).len() as u64, 51);
            it.checkpoint(50).await;
        }),
    ),
    (
        "expire",
        act!(|it| {
            it.append(1, 0..40);
            it.checkpoint(20).await;
        }),
        act!(|it| {
            it.append(1, 40..42);
            it.expire(30).await;
            it.append(1, 42..44);
            it.sync().await;
        }),
    ),
    (
        "term",
        act!(|it| { it.persist(1).await }),
        act!(|it| {
            for term in 2..6 {
                it.persist(term).await;
                it.append(term, term as u32..term as u32 + 1);
                it.sync().await;
            }
        }),
    ),
];

/// The points of an operation.
fn play((_, before, filmed): &Operation) -> Vec<Point<Known>> {
    let disk = disk();
    live(&disk, &config(), async |opened| {
        let stage = Stage { log: opened.log, known: Arc::default() };
        before(&stage).await;
        let known = Arc::clone(&stage.known);
        let camera = Camera::film(&disk, move || known.lock().unwrap().clone());
        filmed(&stage).await;
        camera.stop()
    })
    .unwrap()
}

/// What the trials of an operation came to.
#[derive(Default)]
struct Trial {
    name: &'static str,
    images: BTreeSet<u64>,
    states: BTreeMap<u64, State>,
}

impl Trial {
    /// Starts on `outcome` unless that was done before; a start finds the same again.
    fn state_on(&mut self, outcome: &Outcome) -> State {
        let digest = outcome.disk.image().digest();
        if let Some(state) = self.states.get(&digest) {
            return state.clone();
        }
        let found = start(&outcome.disk, false);
        if self.states.len().is_multiple_of(2) {
            outcome.disk.power_loss_worst();
        }
        assert_eq!(start(&outcome.disk, true), found, "what a start found it finds again");
        let longer = start(&outcome.disk, false);
        assert_eq!(longer.entries.last(), Some(&(10, 999)));
        assert_eq!(longer.entries[..longer.entries.len() - 1], found.entries);
        self.states.insert(digest, found.clone());
        found
    }

    fn try_point(&mut self, number: usize, point: &Point<Known>, draws: usize, exhaustive: usize) {
        let (found, _) = outcomes(&point.image, exhaustive, draws, number as u64);
        for (which, outcome) in found.into_iter().enumerate() {
            let image = outcome.disk.image();
            let is_new = self.images.insert(image.digest());
            let state = self.state_on(&outcome);
            if let Err(broken) = point.known.check(&state, outcome.crash) {
                let (name, crash) = (self.name, outcome.crash);
                panic!("{name}, point {number}, outcome {which} ({crash:?}): {broken}\n{state:?}");
            }
            if is_new && self.images.len().is_multiple_of(40) {
                self.crash_recovery(&image.after_kill(), &point.known, outcome.crash, &state);
            }
        }
    }

    /// Crashes a start after each of its micro-operations.
    fn crash_recovery(&mut self, disk: &Arc<SimDisk>, known: &Known, crash: Crash, found: &State) {
        let camera = Camera::film(disk, || ());
        live(disk, &config(), async |_| ()).unwrap();
        for (number, point) in camera.stop().iter().enumerate() {
            for outcome in outcomes(&point.image, 0, 1, number as u64).0 {
                let again = self.state_on(&outcome);
                let crash = crash.max(outcome.crash);
                known.check(&again, crash).unwrap();
                // What only the page cache had may be lost while it is looked at.
                let may_differ = crash != Crash::Kill;
                assert!(may_differ || again == *found, "{found:?}, then {again:?}");
            }
        }
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "tests read variables")]
fn a_log_may_crash_at_any_point() {
    let size = size_of(std::env::var("CRASH_IMAGES").ok());
    for operation in &OPERATIONS {
        let points = play(operation);
        let mut trial = Trial { name: operation.0, ..Trial::default() };
        let draws = (size.images / points.len()).max(2);
        for (number, point) in points.iter().enumerate() {
            trial.try_point(number, point, draws, size.exhaustive);
        }
        let (images, states) = (trial.images.len(), trial.states.len());
        println!(
            "{:<20} {:>4} points, {images:>5} images, {states:>5} starts",
            trial.name,
            points.len()
        );
        assert!(images >= IMAGES_MIN, "{} comes to {images} images", trial.name);
    }
}
