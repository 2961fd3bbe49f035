//! The enumerator: an operation's points, their outcomes, and what starts make of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use mq_store::config::{BrokerRole, StoreConfig};
use staticfire_world::disk::SimDisk;

use super::known::{Crash, Knowledge, Known, Violation, violation};
use super::operations::Operation;
use super::outcomes::{Outcome, outcomes};
use super::stage::{Camera, Stage, plant_on_this_thread};
use super::state::{State, inspect};

/// How often points are drawn for that have more outcomes than can be tried.
const ROUNDS: usize = 30;

/// How far an enumeration goes.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Images that an operation is to come to, about.
    pub images: usize,
    /// Outcomes of a point up to which all of them are tried.
    pub exhaustive: usize,
    /// Of so many distinct images the recovery of one is imaged, too.
    pub recoveries: usize,
    /// Power losses tried per point of a recovery.
    pub recovery_outcomes: usize,
}

impl Size {
    /// What every run of the tests does.
    pub const SMALL: Size =
        Size { images: 400, exhaustive: 40, recoveries: 300, recovery_outcomes: 1 };

    /// A size for `images` per operation.
    #[must_use]
    pub fn of(images: usize) -> Self {
        Size { images, exhaustive: 600, recoveries: 80, recovery_outcomes: 2 }
    }
}

/// What an enumeration came to.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// The operation.
    pub operation: &'static str,
    /// Points of it.
    pub points: usize,
    /// Points all of whose outcomes were tried.
    pub exhausted: usize,
    /// Distinct images of it.
    pub images: usize,
    /// Distinct images of recoveries from some of those.
    pub recovery_images: usize,
    /// Distinct states that starts found.
    pub states: usize,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<28} {:>6} points ({:>4} wholly) × {:>6} images + {:>6} in recovery → {:>6} states",
            self.operation,
            self.points,
            self.exhausted,
            self.images,
            self.recovery_images,
            self.states
        )
    }
}

/// A promise that was broken at a crash point.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Which promise.
    pub violation: Violation,
    /// Where.
    pub at: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.violation)
    }
}

/// Tries the crash points of `operation` under planted bugs, if any.
///
/// # Errors
/// The first promise that is broken.
pub fn enumerate(operation: &Operation, size: Size, plants: &[String]) -> Result<Row, Finding> {
    let mut config = operation.config();
    config.plant(plants).expect("plants of this build");
    plant_on_this_thread(&config);
    let played = operation.play(&config);
    let points = played
        .map_err(|violation| Finding { violation, at: format!("{}, no crash", operation.name) })?;
    let mut trial = Trial::new(operation, config);
    trial.row.points = points.len();
    let draws = size.images.div_ceil(points.len()).max(2);
    let mut open: Vec<usize> = (0..points.len()).collect();
    for round in 0..ROUNDS {
        let mut still_open = Vec::new();
        for number in open {
            let seed = (round * points.len() + number) as u64;
            let all = if round == 0 { size.exhaustive } else { 0 };
            let (found, is_all) = outcomes(&points[number].image, all, draws, seed);
            if !is_all {
                still_open.push(number);
            }
            trial.try_all(found, &points[number].known, number, size)?;
        }
        open = still_open;
        if round == 0 {
            trial.row.exhausted = points.len() - open.len();
        }
        if trial.images.len() >= size.images {
            break;
        }
    }
    trial.row.images = trial.images.len();
    trial.row.recovery_images = trial.recovery_images.len();
    trial.row.states = trial.states.len();
    Ok(trial.row)
}

struct Trial {
    config: StoreConfig,
    images: BTreeSet<u64>,
    recovery_images: BTreeSet<u64>,
    states: BTreeSet<u64>,
    /// What a start finds on an image.
    found: BTreeMap<u64, Arc<State>>,
    row: Row,
}

impl Trial {
    fn new(operation: &Operation, mut config: StoreConfig) -> Self {
        // Whoever starts again may be asked to take messages.
        config.broker_role = BrokerRole::AsyncMaster;
        Trial {
            config,
            images: BTreeSet::new(),
            recovery_images: BTreeSet::new(),
            states: BTreeSet::new(),
            found: BTreeMap::new(),
            row: Row { operation: operation.name, ..Row::default() },
        }
    }

    fn try_all(
        &mut self,
        outcomes: Vec<Outcome>,
        known: &Known,
        number: usize,
        size: Size,
    ) -> Result<(), Finding> {
        for (which, outcome) in outcomes.into_iter().enumerate() {
            let name = self.row.operation;
            let at = || format!("{name}, point {number}, outcome {which} ({:?})", outcome.crash);
            let tried = self.try_image(&outcome, known, &at, Some(size));
            tried.map_err(|violation| Finding { violation, at: at() })?;
        }
        Ok(())
    }

    /// Starts on `outcome` unless that was done before, and asks whether what is found keeps what was
    /// promised. With a size, the recovery of some is tried, too.
    fn try_image(
        &mut self,
        outcome: &Outcome,
        known: &Known,
        at: &dyn Fn() -> String,
        size: Option<Size>,
    ) -> Result<Arc<State>, Violation> {
        let image = outcome.disk.image();
        let digest = image.digest();
        let is_new = match size {
            Some(_) => self.images.insert(digest),
            None => !self.images.contains(&digest) && self.recovery_images.insert(digest),
        };
        let present = self.found.get(&digest).cloned();
        let state = match present {
            Some(state) => state,
            None => {
                let state = Arc::new(self.start_twice(&outcome.disk, at)?);
                let mut hasher = DefaultHasher::new();
                state.hash(&mut hasher);
                self.states.insert(hasher.finish());
                self.found.insert(digest, Arc::clone(&state));
                state
            }
        };
        known.check(&state, outcome.crash, self.config.flush_disk_type)?;
        if let Some(size) =
            size.filter(|size| is_new && (self.images.len() - 1).is_multiple_of(size.recoveries))
        {
            self.crash_recovery(&image.after_kill(), known, outcome.crash, &state, at, size)?;
        }
        Ok(state)
    }

    /// A start, another after a kill, and a third after a power loss, which takes a message.
    fn start_twice(
        &self,
        disk: &Arc<SimDisk>,
        at: &dyn Fn() -> String,
    ) -> Result<State, Violation> {
        let knowledge = Knowledge::default();
        let once = async |stage: &Stage| {
            stage.dispatched().await;
            inspect(stage)
        };
        let first = Stage::live(disk, &self.config, 10, &knowledge, once)?;
        if self.found.len().is_multiple_of(2) {
            disk.power_loss_worst();
        }
        let second = Stage::live(disk, &self.config, 11, &knowledge, async |stage| {
            let found = once(stage).await?;
            if !found.is_as(&first) {
                let what = format!("{}: {first}, then {found}", at());
                return violation("recovers-once", what);
            }
            let number = 1000;
            stage.put(number..number + 1).await;
            stage.dispatched().await;
            let found = inspect(stage)?;
            if found.records.len() != first.records.len() + 1 {
                return violation("goes-on", format!("{} records", found.records.len()));
            }
            Ok(())
        });
        second.map(|()| first)
    }

    /// Crashes a recovery after each of its micro-operations.
    fn crash_recovery(
        &mut self,
        disk: &Arc<SimDisk>,
        known: &Known,
        crash: Crash,
        found: &State,
        at: &dyn Fn() -> String,
        size: Size,
    ) -> Result<(), Violation> {
        let knowledge = Knowledge::default();
        let camera = Camera::start(disk, &knowledge);
        Stage::live(disk, &self.config, 10, &knowledge, async |_| Ok(()))?;
        let points = camera.stop();
        for (number, point) in points.iter().enumerate() {
            let (inner, _) = outcomes(&point.image, 0, size.recovery_outcomes, number as u64);
            for outcome in inner {
                let at = || format!("{}; point {number} of its recovery", at());
                // The page cache that a kill left may be lost while it is looked at.
                let may_differ = crash == Crash::Kill && outcome.crash == Crash::PowerLoss;
                let outcome = Outcome { crash: crash.max(outcome.crash), ..outcome };
                let again = self.try_image(&outcome, known, &at, None).and_then(|again| {
                    if may_differ || again.is_as(found) {
                        return Ok(());
                    }
                    violation("recovers-once", format!("{found}, then {again}"))
                });
                again.map_err(|broken| Violation {
                    what: format!("{}: {}", at(), broken.what),
                    ..broken
                })?;
            }
        }
        Ok(())
    }
}

/// [`Size::SMALL`], unless a variable asks for so many images per operation.
#[must_use]
pub fn size_of(variable: Option<String>) -> Size {
    let images = variable.and_then(|text| text.parse().ok());
    images.map_or(Size::SMALL, Size::of)
}
