//! Plans for fuzzing: a proptest strategy over topology, modes, faults, workload and noise.
//!
//! The core of a plan is a row of the expected matrix, which says what is promised. Around it stand
//! things that change no promise: more slaves and name servers, small files, other rates and
//! windows, and *noise*, faults that heal by themselves and destroy nothing. Shrinking removes noise
//! first, then makes the workload smaller.

use mq_env::rng::Rng;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::matrix_rows::{self, MatrixRow};
use crate::plan::{Action, EventPlan, Millis, Plan, Trigger};
use crate::rows;
use crate::story::Roles;

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

/// How long a disk stays full at least: a store that looks every `LOOK_MS` notices.
const FULL_MS: u64 = 1_500;
/// `cleanResourceInterval` where a disk gets full; a quiet store looks every sixth time.
const LOOK_MS: &str = "200";

/// Longer than the outages and disturbances of a generated story take together.
const STORY_SECONDS: u32 = 40;

/// What a generated plan is made of; proptest shrinks its parts.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Index of the row in the expected matrix.
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

/// Shapes of every row of the matrix, with equal weight.
pub fn shapes() -> impl Strategy<Value = Shape> {
    let noise = prop_oneof![
        Just(Noise::SlowLink),
        Just(Noise::PauseSlave),
        Just(Noise::SlowDisk),
        Just(Noise::Partition),
        Just(Noise::HungDisk),
        Just(Noise::FullDisk),
    ];
    let disturbance = (1..60_u32, 50..2_000_u64, noise);
    let sizes = prop_oneof![Just(0_u32), Just(8_192), Just(16_384), Just(65_536)];
    (
        0..matrix_rows::all().len(),
        any::<u64>(),
        1..=2_u32,
        (60..250_u32, 1..=3_u32, 1..=8_u32, 20..300_u32),
        sizes,
        32..2_000_u32,
        prop::collection::vec(disturbance, 0..3),
    )
        .prop_map(
            |(row, story_seed, namesrvs, work, commit_log_file_bytes, body_max, noise)| Shape {
                row,
                story_seed,
                namesrvs,
                messages: work.0,
                producers: work.1,
                window: work.2,
                rate_per_second: work.3,
                commit_log_file_bytes,
                body_bytes_max: body_max,
                noise,
            },
        )
}

/// The shape of a seed, as the root of what it shrinks to. Same seed, same shape.
///
/// # Panics
/// Never: no part of [`shapes`] rejects a draw.
#[must_use]
pub fn tree(seed: u64) -> impl ValueTree<Value = Shape> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    shapes().new_tree(&mut runner).expect("every draw is a shape")
}

/// The shape of a seed.
#[must_use]
pub fn shape(seed: u64) -> Shape {
    tree(seed).current()
}

impl Shape {
    /// The row behind it.
    ///
    /// # Panics
    /// When the shape was not made for this table.
    #[must_use]
    pub fn row(&self) -> MatrixRow {
        matrix_rows::all().swap_remove(self.row)
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
        plan.workload.messages = self.messages;
        plan.workload.producers = self.producers;
        plan.workload.window = self.window;
        // A workload ends after twenty times its messages: they must last as long as the story.
        let rate_max = self.messages * 20 / (STORY_SECONDS * self.producers);
        plan.workload.rate_per_second = self.rate_per_second.min(rate_max.max(1));
        plan.workload.body_bytes = [32, self.body_bytes_max];
        let slave = row.slave_flush.map(|_| "a-s");
        let roles = Roles { group: "a", master: "a", slave };
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
            events.push(EventPlan { at: None, when: Some(when), delay: Millis(0), action: strike });
            let least_ms = if *noise == Noise::FullDisk { FULL_MS } else { 0 };
            let delay = Millis((*lasts_ms).max(least_ms));
            let when = Some(Trigger::Previous);
            events.push(EventPlan { at: None, when, delay, action: heal });
        }
        events
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    proptest! {
        #[test]
        fn every_shape_is_a_valid_plan_and_survives_its_file(shape in shapes()) {
            let plan = shape.plan();
            let again = Plan::parse(&plan.to_toml()).map_err(TestCaseError::fail)?;
            prop_assert_eq!(again, plan);
        }
    }
}
