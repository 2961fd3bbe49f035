//! Plans for fuzzing: shapes over topology, modes, faults, workload and noise, and the plan of each.
//!
//! The core of a plan is a row of the expected matrix, which says what is promised. Around it stand
//! things that change no promise: more slaves and name servers, small files, other rates and
//! windows, and *noise*, faults that heal by themselves and destroy nothing.
//!
//! What a part of a shape may be is said once, by the constants: [`Shape::draw`] draws from them, and
//! so does whoever wants to shrink what it drew.

use std::ops::{Range, RangeInclusive};

use mq_env::rng::Rng;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use crate::plan::{Action, EventPlan, Millis, Plan, Trigger};
use crate::stories::matrix_rows::{self, MatrixRow};
use crate::stories::rows;
use crate::stories::story::Roles;

/// A harmless disturbance: it strikes, and passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noise {
    /// The link between master and slave is slow for a while.
    SlowLink,
    /// The slave is not scheduled for a while.
    PauseSlave,
    /// The master's disk is slow for a while.
    SlowDisk,
    /// Master and slave cannot reach each other for a while.
    Partition,
    /// Syncs of the master's disk do not return for a while.
    HungDisk,
    /// Somebody else fills the master's disk for a while.
    FullDisk,
}

impl Noise {
    /// All of them.
    pub const ALL: [Noise; 6] = [
        Noise::SlowLink,
        Noise::PauseSlave,
        Noise::SlowDisk,
        Noise::Partition,
        Noise::HungDisk,
        Noise::FullDisk,
    ];
}

/// Name servers of a shape.
pub const NAMESRVS: RangeInclusive<u32> = 1..=2;
/// Its sends.
pub const MESSAGES: Range<u32> = 60..250;
/// Its producers.
pub const PRODUCERS: RangeInclusive<u32> = 1..=3;
/// Sends that each of them keeps in flight.
pub const WINDOW: RangeInclusive<u32> = 1..=8;
/// Sends that each of them starts per second.
pub const RATE_PER_SECOND: Range<u32> = 20..300;
/// `mappedFileSizeCommitLog`; 0 leaves the default.
pub const COMMIT_LOG_FILE_BYTES: [u32; 4] = [0, 8_192, 16_384, 65_536];
/// Its longest body.
pub const BODY_BYTES_MAX: Range<u32> = 32..2_000;
/// Its disturbances.
pub const NOISE: Range<usize> = 0..3;
/// Acknowledgements before a disturbance.
pub const NOISE_ACKS: Range<u32> = 1..60;
/// How long it lasts, milliseconds.
pub const NOISE_MS: Range<u64> = 50..2_000;

/// How long a disk stays full at least: a store that looks every `LOOK_MS` notices.
const FULL_MS: u64 = 1_500;
/// `cleanResourceInterval` where a disk gets full; a quiet store looks every sixth time.
const LOOK_MS: &str = "200";

/// Longer than the outages and disturbances of a generated story take together.
const STORY_SECONDS: u32 = 40;

/// What a generated plan is made of.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Index of the row in the expected matrix, without those of DLedger groups.
    pub row: usize,
    /// Seed of the story's draws.
    pub story_seed: u64,
    /// Name servers.
    pub namesrvs: u32,
    /// Sends.
    pub messages: u32,
    /// Producers.
    pub producers: u32,
    /// Sends in flight per producer.
    pub window: u32,
    /// Sends per second and producer.
    pub rate_per_second: u32,
    /// `mappedFileSizeCommitLog`; 0 leaves the default.
    pub commit_log_file_bytes: u32,
    /// Longest body.
    pub body_bytes_max: u32,
    /// Disturbances: acknowledgements before it, milliseconds it lasts, what it is.
    pub noise: Vec<(u32, u64, Noise)>,
}

impl Shape {
    /// Draws one, every row of a master with equal weight.
    #[must_use]
    pub fn draw(draw: &mut ChaCha8Rng) -> Self {
        let row = draw.random_range(0..rows_of_masters().len());
        let disturbances = draw.random_range(NOISE);
        Shape {
            row,
            story_seed: draw.random(),
            namesrvs: draw.random_range(NAMESRVS),
            messages: draw.random_range(MESSAGES),
            producers: draw.random_range(PRODUCERS),
            window: draw.random_range(WINDOW),
            rate_per_second: draw.random_range(RATE_PER_SECOND),
            commit_log_file_bytes: one_of(draw, &COMMIT_LOG_FILE_BYTES),
            body_bytes_max: draw.random_range(BODY_BYTES_MAX),
            noise: (0..disturbances)
                .map(|_| {
                    let (acks, ms) = (draw.random_range(NOISE_ACKS), draw.random_range(NOISE_MS));
                    (acks, ms, one_of(draw, &Noise::ALL))
                })
                .collect(),
        }
    }

    /// The row behind it.
    ///
    /// # Panics
    /// When the shape was not made for this table.
    #[must_use]
    pub fn row(&self) -> MatrixRow {
        rows_of_masters().swap_remove(self.row)
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let row = self.row();
        let mut plan = rows::plan(&row, self.story_seed, &[]);
        plan.cluster.namesrv = Some(self.namesrvs);
        plan.cluster.properties.clear();
        if self.commit_log_file_bytes > 0 {
            let mut set = |key: &str, value: u32| {
                plan.cluster.properties.insert(key.to_owned(), value.to_string());
            };
            set("mappedFileSizeCommitLog", self.commit_log_file_bytes);
            set("mappedFileSizeConsumeQueue", 400);
            set("haMaxDivergedBytes", 4 << 20);
        }
        if self.noise.iter().any(|(_, _, noise)| *noise == Noise::FullDisk) {
            let properties = &mut plan.cluster.properties;
            properties.insert("cleanResourceInterval".to_owned(), LOOK_MS.to_owned());
        }
        let work = &mut plan.workloads[0];
        work.messages = self.messages;
        work.producers = self.producers;
        work.window = self.window;
        // A workload ends after twenty times its messages: they must last as long as the story.
        let rate_max = self.messages * 20 / (STORY_SECONDS * self.producers);
        work.rate_per_second = self.rate_per_second.min(rate_max.max(1));
        work.body_bytes = [32, self.body_bytes_max];
        let slave = row.slave_flush.map(|_| "a-s");
        let roles = Roles::of("a", "a", slave);
        let mut draw = Rng::from_seed(self.story_seed).child(&row.id).stream("story");
        let story = rows::events(&row, roles, self.messages, &mut draw);
        plan.events = self.noise_events(slave);
        plan.events.extend(story);
        plan
    }

    /// Noise comes first, each disturbance healed before the next event.
    fn noise_events(&self, slave: Option<&str>) -> Vec<EventPlan> {
        let mut events = Vec::new();
        for (index, (acks, lasts_ms, noise)) in self.noise.iter().enumerate() {
            let Some((strike, heal)) = noise_actions(*noise, slave) else { continue };
            let when = if index == 0 || events.is_empty() {
                Trigger::Acks(*acks)
            } else {
                Trigger::AcksSincePrevious(*acks)
            };
            events.push(EventPlan::when(when, strike));
            let least_ms = if *noise == Noise::FullDisk { FULL_MS } else { 0 };
            let delay = Millis((*lasts_ms).max(least_ms));
            events.push(EventPlan::when(Trigger::Previous, heal).delayed(delay));
        }
        events
    }
}

/// The rows that plans are made around. Noise knows a master and a slave by their names, and no DLedger group has either.
#[must_use]
pub fn rows_of_masters() -> Vec<MatrixRow> {
    let mut rows = matrix_rows::all();
    rows.retain(|row| !row.is_dledger());
    rows
}

/// A disturbance and its end; `None` for one that needs a slave where there is none.
fn noise_actions(noise: Noise, slave: Option<&str>) -> Option<(Action, Action)> {
    let master = "a".to_owned();
    let calm = Action::Calm { node: master.clone() };
    match noise {
        Noise::SlowDisk => {
            return Some((Action::SlowDisk { node: master, sync: Millis(200) }, calm));
        }
        Noise::HungDisk => return Some((Action::HangDisk { node: master }, calm)),
        Noise::FullDisk => {
            return Some((Action::FillDisk { node: master, free_bytes: 0 }, calm));
        }
        _ => {}
    }
    let slave = slave?.to_owned();
    let between = [master, slave.clone()];
    Some(match noise {
        Noise::SlowLink => (Action::SlowLink { between, latency: Millis(120) }, calm),
        Noise::PauseSlave => {
            (Action::Pause { node: slave.clone() }, Action::Resume { node: slave })
        }
        _ => (
            Action::Partition { between: between.clone(), one_way: false },
            Action::Heal { between },
        ),
    })
}

fn one_of<T: Copy>(draw: &mut ChaCha8Rng, all: &[T]) -> T {
    all[draw.random_range(0..all.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_drawn_shape_is_a_valid_plan_and_survives_its_file() {
        let mut draw = Rng::from_seed(1).stream("shapes");
        let mut rows = std::collections::BTreeSet::new();
        for _ in 0..2_000 {
            let shape = Shape::draw(&mut draw);
            let plan = shape.plan();
            assert_eq!(Plan::parse(&plan.to_toml()).as_ref(), Ok(&plan), "{shape:?}");
            rows.insert(shape.row);
        }
        assert_eq!(rows.len(), rows_of_masters().len(), "every row is drawn");
    }
}
