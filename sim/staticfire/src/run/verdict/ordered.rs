//! What is known of groups that consume in order.

use std::collections::BTreeSet;

use staticfire_judge::check::Violation;
use staticfire_judge::check::offsets::excuse::Excuses;
use staticfire_judge::check::order::{self, Facts};
use staticfire_world::trace::{Name, Trace};

use super::duplicated::restarts;
use crate::plan::Plan;
use crate::run::Story;

/// Judges the order, where something is sent or consumed in order.
pub(super) fn check(
    plan: &Plan,
    story: &Story,
    trace: &Trace,
    not_owed: &BTreeSet<u32>,
    excuses: &Excuses,
) -> Vec<Violation> {
    let groups = plan.workloads.iter().flat_map(|work| work.all_consumer_groups());
    if groups.into_iter().any(|it| it.orderly) || plan.workloads.iter().any(|it| it.ordered) {
        return order::check(&story.history, &facts(plan, story, trace, not_owed), excuses);
    }
    Vec::new()
}

/// What the checker is fed with.
fn facts(plan: &Plan, story: &Story, trace: &Trace, not_owed: &BTreeSet<u32>) -> Facts {
    let groups = plan.workloads.iter().flat_map(|work| work.all_consumer_groups());
    let orderly = groups.filter(|group| group.orderly).map(|group| Name::from(group.name));
    let unread = story.groups.iter().filter(|group| group.unread.is_some());
    Facts {
        orderly: orderly.collect(),
        restarts: restarts(story, trace),
        not_owed: not_owed.clone(),
        unread: unread.map(|group| Name::from(&*group.name)).collect(),
    }
}
