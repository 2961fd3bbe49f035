//! From a row of the expected matrix on a DLedger group and a seed to the events of a plan. Who is struck is told by
//! [seats](Seat): who leads is known only in the run.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use crate::plan::{Action, ClockStep, EventPlan, Millis, Seat, Trigger};
use crate::stories::matrix_rows::{FaultStep, Recovery};

/// How far clocks are set.
const CLOCK_STEPS_MS: [i64; 4] = [-7_200_000, -90_000, 90_000, 7_200_000];

/// A DLedger group under fault.
#[derive(Clone, Copy, Debug)]
pub struct Electorate<'a> {
    /// `brokerName`.
    pub group: &'a str,
    /// Its members.
    pub members: usize,
    /// The most of them that stand on one machine.
    pub on_one_machine: usize,
    /// What fell comes back once another one serves, and never earlier.
    pub is_patient: bool,
}

impl Electorate<'_> {
    /// Members that make a quorum.
    #[must_use]
    pub fn quorum(&self) -> usize {
        self.members / 2 + 1
    }

    /// Whether one machine can take so many that the others are no quorum.
    #[must_use]
    pub fn is_one_machines(&self) -> bool {
        self.members - self.on_one_machine < self.quorum()
    }
}

/// The events of one row for one draw.
#[must_use]
pub fn events(
    fault: &[FaultStep],
    recovery: Recovery,
    electorate: Electorate<'_>,
    messages: u32,
    draw: &mut ChaCha8Rng,
) -> Vec<EventPlan> {
    let seats = Seat::all(electorate.group, electorate.members);
    let seats = seats.iter().map(ToString::to_string).collect();
    let mut story = Story { electorate, seats, draw, events: Vec::new() };
    let first = story.draw.random_range(messages * 15 / 100..=messages * 55 / 100);
    let mut when = Trigger::Acks(first);
    let mut mends = Vec::new();
    for step in fault {
        mends.extend(story.strike(*step, when));
        when = Trigger::AcksSincePrevious(story.draw.random_range(5..=40));
    }
    story.mend(mends, recovery);
    story.events
}

struct Story<'a> {
    electorate: Electorate<'a>,
    /// Names of the members, the leader's first.
    seats: Vec<String>,
    draw: &'a mut ChaCha8Rng,
    events: Vec<EventPlan>,
}

impl Story<'_> {
    /// Adds the events of a step, the first of which comes on `when`; what mends it.
    fn strike(&mut self, step: FaultStep, when: Trigger) -> Vec<Action> {
        let leader = self.seats[0].clone();
        let follower = self.seats.get(1).unwrap_or(&leader).clone();
        let restart = |node: &String| Action::Restart { node: node.clone(), salvage: false };
        let power = |node: &String| Action::PowerLoss { node: node.clone(), worst: false };
        let (strikes, mends) = match step {
            FaultStep::KillMaster => {
                (vec![Action::Kill { node: leader.clone() }], vec![restart(&leader)])
            }
            FaultStep::PowerMaster => (vec![power(&leader)], vec![restart(&leader)]),
            FaultStep::DiskMaster => {
                (vec![Action::DestroyDisk { node: leader.clone() }], vec![restart(&leader)])
            }
            FaultStep::PauseMaster => {
                let resume = Action::Resume { node: leader.clone() };
                (vec![Action::Pause { node: leader }], vec![resume])
            }
            FaultStep::KillSlave => {
                (vec![Action::Kill { node: follower.clone() }], vec![restart(&follower)])
            }
            FaultStep::PowerSlave => (vec![power(&follower)], vec![restart(&follower)]),
            FaultStep::DiskSlave => {
                (vec![Action::DestroyDisk { node: follower.clone() }], vec![restart(&follower)])
            }
            FaultStep::PartitionMasterSlave => self.cut(&[follower], Cut::BothWays),
            FaultStep::IsolateMaster => self.cut(&self.seats[1..], Cut::BothWays),
            FaultStep::MuteMaster => self.cut(&self.seats[1..], Cut::FromLeader),
            FaultStep::DeafenMaster => self.cut(&self.seats[1..], Cut::ToLeader),
            FaultStep::KillMajority => {
                let struck = self.majority();
                let kill = |node: &String| Action::Kill { node: node.clone() };
                (struck.iter().map(kill).collect(), struck.iter().map(restart).collect())
            }
            FaultStep::PowerMajority => {
                let struck = self.majority();
                (struck.iter().map(power).collect(), struck.iter().map(restart).collect())
            }
            FaultStep::PowerAll => {
                let all = Action::PowerLossGroup { group: self.electorate.group.to_owned() };
                let mut members = self.seats.clone();
                if self.draw.random_bool(0.5) {
                    members.reverse();
                }
                (vec![all], members.iter().map(restart).collect())
            }
            FaultStep::ClockMaster => {
                let by_ms = CLOCK_STEPS_MS[self.draw.random_range(0..CLOCK_STEPS_MS.len())];
                (vec![Action::ClockJump { node: leader, by: ClockStep { by_ms } }], Vec::new())
            }
            FaultStep::RollingRestart => {
                self.restart_in_turn(when);
                return Vec::new();
            }
            FaultStep::FlushErrorMaster
            | FaultStep::FlushErrorSlave
            | FaultStep::LagSlave
            | FaultStep::Restart
            | FaultStep::Promote
            | FaultStep::OldMasterReturnsAsSlave => {
                unreachable!("no row of a DLedger group has {step:?}")
            }
        };
        let triggers = std::iter::once(when).chain(std::iter::repeat(Trigger::Previous));
        let events = triggers.zip(strikes).map(|(when, action)| EventPlan::when(when, action));
        self.events.extend(events);
        mends
    }

    /// Cuts the links between the leader and `others`.
    fn cut(&self, others: &[String], cut: Cut) -> (Vec<Action>, Vec<Action>) {
        let leader = &self.seats[0];
        let between = |other: &String| match cut {
            Cut::BothWays | Cut::FromLeader => [leader.clone(), other.clone()],
            Cut::ToLeader => [other.clone(), leader.clone()],
        };
        let one_way = !matches!(cut, Cut::BothWays);
        let strike = |other| Action::Partition { between: between(other), one_way };
        let heal = |other| Action::Heal { between: between(other) };
        (others.iter().map(strike).collect(), others.iter().map(heal).collect())
    }

    /// As many members as make a quorum, the leader among them or not.
    fn majority(&mut self) -> Vec<String> {
        let (all, quorum) = (&self.seats, self.electorate.quorum());
        let struck =
            if self.draw.random_bool(0.5) { &all[..quorum] } else { &all[all.len() - quorum..] };
        struck.to_vec()
    }

    /// Each member is stopped in order and started, those who follow first.
    fn restart_in_turn(&mut self, first: Trigger) {
        let mut when = (first, Millis(0));
        for node in self.seats.clone().into_iter().rev() {
            let stop = Action::Stop { node: node.clone() };
            self.events.push(EventPlan::when(when.0, stop).delayed(when.1));
            let away = Millis(self.draw.random_range(200..=2_000));
            let start = Action::Restart { node, salvage: false };
            self.events.push(EventPlan::when(Trigger::Previous, start).delayed(away));
            when = (Trigger::Previous, Millis(self.draw.random_range(3_000..=8_000)));
        }
    }

    /// Links first: who comes back is to meet the others.
    fn mend(&mut self, mends: Vec<Action>, recovery: Recovery) {
        // Before another one is elected, or while that one has its first messages.
        let waits = self.draw.random_bool(0.5) || self.electorate.is_patient;
        let acks = self.draw.random_range(10..=60);
        let is_served = recovery == Recovery::Elect && !self.electorate.is_one_machines();
        for (index, action) in mends.into_iter().enumerate() {
            let outage = match action {
                Action::Heal { .. } if index > 0 => Millis(0),
                _ => Millis(self.draw.random_range(200..=6_000)),
            };
            let event = if index == 0 && waits && is_served {
                EventPlan::when(Trigger::AcksSincePrevious(acks), action)
            } else {
                EventPlan::when(Trigger::Previous, action).delayed(outage)
            };
            self.events.push(event);
        }
    }
}

/// Which way nothing gets through.
#[derive(Clone, Copy)]
enum Cut {
    BothWays,
    FromLeader,
    ToLeader,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stories::matrix_rows;
    use mq_env::rng::Rng;

    const THREE: Electorate<'static> =
        Electorate { group: "a", members: 3, on_one_machine: 1, is_patient: false };

    fn told(fault: &str, recovery: Recovery, seed: u64) -> Vec<String> {
        let mut draw = Rng::from_seed(seed).stream("story");
        let fault = matrix_rows::parse_fault(fault).unwrap();
        let events = events(&fault, recovery, THREE, 200, &mut draw);
        events.iter().map(|event| event.action.to_string()).collect()
    }

    #[test]
    fn rows_become_stories_of_seats() {
        assert_eq!(
            told("kill_master", Recovery::Elect, 1),
            ["kill leader of a", "restart leader of a"]
        );
        assert_eq!(
            told("deafen_master", Recovery::Elect, 1),
            [
                "partition follower of a -> leader of a",
                "partition follower 2 of a -> leader of a",
                "heal follower of a | leader of a",
                "heal follower 2 of a | leader of a"
            ]
        );
        assert_eq!(
            told("partition_master_slave+disk_master", Recovery::Elect, 1),
            [
                "partition leader of a | follower of a",
                "destroy_disk leader of a",
                "heal leader of a | follower of a",
                "restart leader of a"
            ]
        );
        assert_eq!(told("power_majority", Recovery::Restart, 1).len(), 4);
        assert_eq!(told("power_all", Recovery::Restart, 1).len(), 4);
        let rolling = told("rolling_restart", Recovery::Elect, 1);
        assert_eq!(rolling[4..], ["stop leader of a", "restart leader of a"]);
    }

    #[test]
    fn a_majority_is_drawn_with_the_leader_and_without() {
        let struck = |seed| told("kill_majority", Recovery::Restart, seed)[0].clone();
        let struck: std::collections::BTreeSet<String> = (0..20).map(struck).collect();
        assert!(struck.iter().eq(["kill follower of a", "kill leader of a"]), "{struck:?}");
    }

    #[test]
    fn who_shares_a_machine_falls_together() {
        let one = |members, on_one_machine| Electorate { members, on_one_machine, ..THREE };
        let is_one_machines = |of: Electorate<'_>| of.is_one_machines();
        assert!(!is_one_machines(one(3, 1)) && is_one_machines(one(3, 2)));
        assert!(!is_one_machines(one(5, 2)) && is_one_machines(one(5, 3)));
        assert!(is_one_machines(one(2, 1)) && is_one_machines(one(1, 1)));
    }
}
