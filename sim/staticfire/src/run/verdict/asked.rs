//! What became of requests.

use staticfire_judge::check::{Violation, replies};
use staticfire_world::trace::Trace;

use super::duplicated::troubled_from;
use crate::plan::Plan;
use crate::run::Story;

/// Judges the replies, where something was asked.
pub(super) fn check(plan: &Plan, story: &Story, trace: &Trace) -> Vec<Violation> {
    if plan.workloads.iter().all(|work| work.request_reply.is_none()) {
        return Vec::new();
    }
    // Whatever was disturbed until the end may have taken a connection.
    replies::check(&story.history, troubled_from(plan, trace).is_none())
}
