//! From a row of the expected matrix (a fault and a recovery) and a seed to the events of a plan.
//!
//! The seed draws when the fault strikes (a number of acknowledgements, often at the very instant of
//! one that no slave holds yet), how long the outage lasts and what else may vary without leaving the
//! row. All draws come from the stream `story`.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use crate::plan::{Action, EventPlan, FlushErrorPages, Millis, Trigger};
use crate::stories::elected::{self, Electorate};
use crate::stories::matrix_rows::{FaultStep, Recovery};

/// The processes of the group under fault.
#[derive(Clone, Copy, Debug)]
pub struct Roles<'a> {
    /// `brokerName`.
    pub group: &'a str,
    /// Process of the master.
    pub master: &'a str,
    /// Process of the slave that would be promoted.
    pub slave: Option<&'a str>,
    /// A DLedger group, whose members have neither role.
    pub elected: Option<Electorate<'a>>,
}

impl<'a> Roles<'a> {
    /// A master with its slave, if it has one.
    #[must_use]
    pub fn of(group: &'a str, master: &'a str, slave: Option<&'a str>) -> Self {
        Roles { group, master, slave, elected: None }
    }
}

/// The events of one row for one draw.
#[must_use]
pub fn events(
    fault: &[FaultStep],
    recovery: Recovery,
    roles: Roles<'_>,
    messages: u32,
    draw: &mut ChaCha8Rng,
) -> Vec<EventPlan> {
    if let Some(electorate) = roles.elected {
        return elected::events(fault, recovery, electorate, messages, draw);
    }
    let mut story = Story { roles, draw, events: Vec::new(), replicated: roles.slave.is_some() };
    let first = story.draw.random_range(messages * 15 / 100..=messages * 55 / 100);
    let strikes_unreplicated = story.replicated && story.draw.random_bool(0.5);
    let mut next = if strikes_unreplicated {
        When::On(Trigger::UnreplicatedAckAfter(first))
    } else {
        When::On(Trigger::Acks(first))
    };
    for step in fault {
        story.step(*step, next);
        next = story.pause_before_next(*step);
    }
    story.recover(fault, recovery);
    story.events
}

/// When the next event is due.
enum When {
    /// On this trigger.
    On(Trigger),
    /// After the previous event, this much later.
    After(Millis),
}

struct Story<'a> {
    roles: Roles<'a>,
    draw: &'a mut ChaCha8Rng,
    events: Vec<EventPlan>,
    replicated: bool,
}

impl Story<'_> {
    /// A sync error strikes before the next step or not at all: one that has not come by then would strike
    /// a start, which is another story.
    fn push(&mut self, when: When, action: Action) {
        if let Some(EventPlan { action: Action::FlushError { node, .. }, .. }) = self.events.last()
        {
            let calm = Action::Calm { node: node.clone() };
            self.put(when, calm);
            self.put(When::After(Millis(0)), action);
        } else {
            self.put(when, action);
        }
    }

    fn put(&mut self, when: When, action: Action) {
        let (trigger, delay) = match when {
            When::On(trigger) => (trigger, Millis(0)),
            When::After(delay) => (Trigger::Previous, delay),
        };
        self.events.push(EventPlan::when(trigger, action).delayed(delay));
    }

    fn master(&self) -> String {
        self.roles.master.to_owned()
    }

    /// Rows with a slave are only taken for groups that have one.
    fn slave(&self) -> String {
        self.roles.slave.unwrap_or(self.roles.master).to_owned()
    }

    fn outage(&mut self) -> When {
        When::After(Millis(self.draw.random_range(200..=6_000)))
    }

    fn step(&mut self, step: FaultStep, when: When) {
        let (master, slave) = (self.master(), self.slave());
        let between = [master.clone(), slave.clone()];
        let action = match step {
            FaultStep::KillMaster => Action::Kill { node: master },
            FaultStep::PowerMaster => Action::PowerLoss { node: master, worst: false },
            FaultStep::PowerAll => Action::PowerLossGroup { group: self.roles.group.to_owned() },
            FaultStep::DiskMaster => Action::DestroyDisk { node: master },
            FaultStep::PauseMaster => Action::Pause { node: master },
            FaultStep::FlushErrorMaster => {
                Action::FlushError { node: master, count: 1, mode: FlushErrorPages::Clean }
            }
            FaultStep::KillSlave => Action::Kill { node: slave },
            FaultStep::PowerSlave => Action::PowerLoss { node: slave, worst: false },
            FaultStep::DiskSlave => Action::DestroyDisk { node: slave },
            FaultStep::FlushErrorSlave => {
                Action::FlushError { node: slave, count: 1, mode: FlushErrorPages::Clean }
            }
            FaultStep::LagSlave => {
                let latency = Millis(self.draw.random_range(50..=400));
                Action::SlowLink { between, latency }
            }
            FaultStep::PartitionMasterSlave => Action::Partition { between, one_way: false },
            FaultStep::Restart => Action::Restart { node: master, salvage: false },
            FaultStep::Promote => Action::Promote { node: slave },
            FaultStep::OldMasterReturnsAsSlave => Action::RejoinAsSlave { node: master },
            FaultStep::IsolateMaster
            | FaultStep::MuteMaster
            | FaultStep::DeafenMaster
            | FaultStep::KillMajority
            | FaultStep::PowerMajority
            | FaultStep::RollingRestart
            | FaultStep::ClockMaster => unreachable!("only rows of DLedger groups have {step:?}"),
        };
        self.push(when, action);
    }

    /// What lies between `step` and the next one of the row.
    fn pause_before_next(&mut self, step: FaultStep) -> When {
        match step {
            // The slave's disk and the master's fail together: a slave that was down for long
            // would have been noticed (and acknowledges nothing meanwhile).
            FaultStep::PowerSlave => When::After(Millis(self.draw.random_range(0..=20))),
            // Life goes on for a while: the next fault must find new acknowledgements.
            FaultStep::Restart | FaultStep::LagSlave => {
                When::On(Trigger::AcksSincePrevious(self.draw.random_range(10..=60)))
            }
            FaultStep::FlushErrorMaster => When::After(Millis(self.draw.random_range(600..=3_000))),
            _ => self.outage(),
        }
    }

    fn recover(&mut self, fault: &[FaultStep], recovery: Recovery) {
        let last = fault.last().copied();
        match recovery {
            Recovery::Restart => self.restart(fault),
            Recovery::Promote if !fault.contains(&FaultStep::Promote) => {
                let when = self.outage();
                let slave = self.slave();
                self.push(when, Action::Promote { node: slave });
            }
            Recovery::Promote => {}
            Recovery::Elect => unreachable!("no master and no slave elects another"),
            Recovery::None => {
                let outage = self.outage();
                let (master, slave) = (self.master(), self.slave());
                match last {
                    Some(FaultStep::PauseMaster) => {
                        self.push(outage, Action::Resume { node: master });
                    }
                    Some(FaultStep::PartitionMasterSlave) => {
                        self.push(outage, Action::Heal { between: [master, slave] });
                    }
                    _ => self.push(outage, Action::Calm { node: slave }),
                }
            }
        }
        if fault.contains(&FaultStep::PartitionMasterSlave) && recovery == Recovery::Promote {
            let outage = self.outage();
            let between = [self.master(), self.slave()];
            self.push(outage, Action::Heal { between });
        }
        if fault.contains(&FaultStep::LagSlave) && recovery == Recovery::Promote {
            let slave = self.slave();
            self.push(When::After(Millis(100)), Action::Calm { node: slave });
        }
    }

    /// Restarts what the fault took down, in an order drawn from the seed where there is a choice.
    fn restart(&mut self, fault: &[FaultStep]) {
        let slave_fault = fault.iter().any(|step| {
            matches!(
                step,
                FaultStep::KillSlave
                    | FaultStep::PowerSlave
                    | FaultStep::DiskSlave
                    | FaultStep::FlushErrorSlave
            )
        });
        let all = fault.contains(&FaultStep::PowerAll) && self.replicated;
        let mut nodes = if slave_fault { vec![self.slave()] } else { vec![self.master()] };
        if all {
            nodes.push(self.slave());
            if self.draw.random_bool(0.5) {
                nodes.reverse();
            }
        }
        for node in nodes {
            let outage = self.outage();
            self.push(outage, Action::Restart { node, salvage: false });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mq_env::rng::Rng;

    fn names(fault: &[FaultStep], recovery: Recovery, seed: u64) -> Vec<String> {
        let roles = Roles::of("a", "a", Some("a-s"));
        let mut draw = Rng::from_seed(seed).stream("story");
        let events = events(fault, recovery, roles, 500, &mut draw);
        let name = |event: &EventPlan| format!("{:?}", event.action);
        events.iter().map(|e| name(e).split([' ', '{']).next().unwrap().to_owned()).collect()
    }

    #[test]
    fn rows_become_stories() {
        use FaultStep::*;
        let double = [PowerMaster, Restart, DiskMaster];
        assert_eq!(
            names(&double, Recovery::Promote, 1),
            ["PowerLoss", "Restart", "DestroyDisk", "Promote"]
        );
        let returns = [KillMaster, Promote, OldMasterReturnsAsSlave];
        assert_eq!(names(&returns, Recovery::Promote, 1), ["Kill", "Promote", "RejoinAsSlave"]);
        assert_eq!(
            names(&[PartitionMasterSlave], Recovery::Promote, 1),
            ["Partition", "Promote", "Heal"]
        );
        assert_eq!(names(&[PauseMaster], Recovery::None, 1), ["Pause", "Resume"]);
        assert_eq!(names(&[PowerAll], Recovery::Restart, 1).len(), 3);
        assert_eq!(names(&[DiskSlave], Recovery::Restart, 1), ["DestroyDisk", "Restart"]);
        let error = [FlushErrorMaster, PowerMaster];
        let story = ["FlushError", "Calm", "PowerLoss", "Restart"];
        assert_eq!(names(&error, Recovery::Restart, 1), story, "no start meets the error");
    }

    #[test]
    fn a_seed_draws_the_same_story_again() {
        let roles = Roles::of("a", "a", Some("a-s"));
        let draw = |seed| {
            let mut stream = Rng::from_seed(seed).stream("story");
            events(&[FaultStep::KillMaster], Recovery::Restart, roles, 500, &mut stream)
        };
        assert_eq!(draw(3), draw(3));
        assert!((0..20).any(|seed| draw(seed) != draw(3)));
    }
}
