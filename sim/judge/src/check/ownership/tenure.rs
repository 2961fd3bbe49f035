//! [`Tenures`]: who had a queue when.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use crate::timeline::Timeline;
use crate::watch::TenureStep;

/// The owners of a queue.
pub(super) struct Tenures<'a> {
    /// In the order of their beginnings.
    tenures: Vec<Tenure<'a>>,
}

struct Tenure<'a> {
    taken: &'a TenureStep,
    /// Without the times in which the owner was paused.
    times: Vec<Range<u64>>,
}

impl Tenure<'_> {
    /// When its owner had it last.
    fn until_us(&self) -> u64 {
        self.times.last().map_or(self.taken.at_us, |it| it.end)
    }
}

/// A time in which a queue had no owner, or more than one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) time: Range<u64>,
    /// Whoever had it in that time; empty if nobody did.
    pub(super) owners: BTreeSet<Arc<str>>,
}

impl<'a> Tenures<'a> {
    /// From what the members said. Whoever dies gives everything up.
    pub(super) fn of(steps: &[&'a TenureStep], timeline: &Timeline) -> Self {
        let mut tenures = Vec::new();
        for (index, taken) in steps.iter().enumerate().filter(|(_, step)| step.has_it) {
            let own = steps[index + 1..].iter().filter(|it| it.consumer == taken.consumer);
            let next = own.map(|it| it.at_us).next().unwrap_or(u64::MAX);
            let until = next.min(timeline.end_after(&taken.consumer, taken.at_us));
            let lives = timeline.lives_of(&taken.consumer).iter();
            let times = lives.map(|life| life.start.max(taken.at_us)..life.end.min(until));
            tenures.push(Tenure { taken, times: times.filter(|it| !it.is_empty()).collect() });
        }
        Tenures { tenures }
    }

    /// Each time that somebody took the queue who neither had it nor was the last one who had: that one, and the taking.
    pub(super) fn moves(&self) -> impl Iterator<Item = (&'a Arc<str>, &'a TenureStep)> {
        let mut until: BTreeMap<&str, u64> = BTreeMap::new();
        let mut last: Option<&Tenure<'a>> = None;
        let mut moves = Vec::new();
        for tenure in &self.tenures {
            let Tenure { taken, .. } = tenure;
            // Whoever is set to another place says once more that it has the queue.
            let goes_on = until.get(&*taken.consumer) == Some(&taken.at_us);
            let before = last.map(|it| &it.taken.consumer).filter(|it| **it != taken.consumer);
            moves.extend(before.filter(|_| !goes_on).map(|before| (before, *taken)));
            until.insert(&taken.consumer, tenure.until_us());
            if last.is_none_or(|last| last.until_us() <= tenure.until_us()) {
                last = Some(tenure);
            }
        }
        moves.into_iter()
    }

    /// The times within `range` in which nobody had it, and those in which several did.
    pub(super) fn stretches(&self, range: Range<u64>) -> Vec<Stretch> {
        let mut times: BTreeSet<u64> = [range.start, range.end].into();
        let within = |at: &u64| range.contains(at);
        let all = self.tenures.iter().flat_map(|it| &it.times);
        times.extend(all.flat_map(|it| [it.start, it.end]).filter(within));
        let times: Vec<u64> = times.into_iter().collect();
        let mut stretches: Vec<Stretch> = Vec::new();
        for pair in times.windows(2) {
            let owners = self.owners_at(pair[0]);
            if owners.len() == 1 {
                continue;
            }
            let (is_empty, start) = (owners.is_empty(), pair[0]);
            let goes_on =
                |it: &&mut Stretch| it.time.end == start && it.owners.is_empty() == is_empty;
            match stretches.last_mut().filter(goes_on) {
                Some(last) => {
                    last.time.end = pair[1];
                    last.owners.extend(owners);
                }
                None => stretches.push(Stretch { time: start..pair[1], owners }),
            }
        }
        stretches
    }

    /// When somebody took it, or had it no more.
    pub(super) fn edges(&self) -> impl Iterator<Item = u64> {
        self.tenures.iter().flat_map(|it| &it.times).flat_map(|it| [it.start, it.end])
    }

    pub(super) fn owners_at(&self, at_us: u64) -> BTreeSet<Arc<str>> {
        let has_it = |it: &&Tenure<'_>| it.times.iter().any(|time| time.contains(&at_us));
        let owners = self.tenures.iter().filter(has_it);
        owners.map(|it| Arc::clone(&it.taken.consumer)).collect()
    }
}
