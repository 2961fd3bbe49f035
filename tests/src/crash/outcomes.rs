//! What a crash may leave of an image.

use std::sync::Arc;

use mq_env::rng::Rng;
use rand::Rng as _;
use staticfire_world::disk::{DiskImage, SimDisk};

use super::known::Crash;

/// A disk that a start may find.
pub struct Outcome {
    /// The disk.
    pub disk: Arc<SimDisk>,
    /// How it came about.
    pub crash: Crash,
}

/// A kill and all power losses, if those are at most `exhaustive`; else the kill, the least and the most
/// that a power loss leaves, and `draws` seeded ones. Whether they are all.
#[must_use]
pub fn outcomes(
    image: &DiskImage,
    exhaustive: usize,
    draws: usize,
    seed: u64,
) -> (Vec<Outcome>, bool) {
    let mut found = vec![Outcome { disk: image.after_kill(), crash: Crash::Kill }];
    let all = every_power_loss(image, exhaustive);
    let is_all = all.is_some();
    let lost = all.unwrap_or_else(|| drawn(image, draws, seed));
    found.extend(lost.into_iter().map(|disk| Outcome { disk, crash: Crash::PowerLoss }));
    (found, is_all)
}

/// Every outcome, or nothing when there are more than `bound`.
fn every_power_loss(image: &DiskImage, bound: usize) -> Option<Vec<Arc<SimDisk>>> {
    if bound == 0 {
        return None;
    }
    let mut disks = Vec::new();
    // Choices made so far, each with the number of its outcomes: an odometer.
    let mut choices: Vec<(u64, u64)> = Vec::new();
    loop {
        let mut at = 0;
        let disk = image.after_kill();
        disk.power_loss_by(&mut |options| {
            if at == choices.len() {
                choices.push((0, options));
            }
            at += 1;
            choices[at - 1].0
        });
        disks.push(disk);
        // At least so many are still to come as the last choice has outcomes.
        let widest = choices.iter().fold(1_u64, |least, (_, options)| least.max(*options));
        if disks.len() > bound || widest > bound as u64 {
            return None;
        }
        while choices.last().is_some_and(|(choice, options)| choice + 1 == *options) {
            choices.pop();
        }
        match choices.last_mut() {
            Some((choice, _)) => *choice += 1,
            None => return Some(disks),
        }
    }
}

/// The extremes, and `draws` outcomes of which a half is drawn evenly from all there are, the other with
/// the luck of a whole cut drawn first.
fn drawn(image: &DiskImage, draws: usize, seed: u64) -> Vec<Arc<SimDisk>> {
    let lost_by = |choose: &mut dyn FnMut(u64) -> u64| {
        let disk = image.after_kill();
        disk.power_loss_by(choose);
        disk
    };
    let mut disks = vec![lost_by(&mut |_| 0), lost_by(&mut |options| options - 1)];
    let mut rng = Rng::from_seed(seed).stream("outcomes");
    for number in 0..draws {
        disks.push(if number % 2 == 0 {
            lost_by(&mut |options| rng.random_range(0..options))
        } else {
            image.after_power_loss(&mut rng).0
        });
    }
    disks
}
