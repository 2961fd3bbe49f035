//! Who has which queue, who lived when, and how far groups had committed: what the trace tells of consumption, for
//! the judge.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use staticfire_judge::check::lateness::Pace;
use staticfire_judge::check::ownership::{Facts, Group};
use staticfire_judge::history::{
    GroupOffset, GroupQueue, History, OffsetStep, PullOffset, QueueKey,
};
use staticfire_judge::timeline::{Node, Role, Timeline};
use staticfire_judge::watch::{Raise, TenureStep};
use staticfire_world::trace::{Name, Trace, TraceEvent, TraceRecord};

use crate::lock;
use crate::plan::{Plan, expand};
use crate::run::Clients;
use crate::run::cluster::Cluster;

/// What is known of consumption when a story ends.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// Of the groups whose members share the messages.
    pub(super) ownership: Facts,
    /// What takes its time.
    pub(super) pace: Pace,
}

impl Watched {
    /// What is known now.
    pub(super) fn of(cluster: &Cluster, clients: &Clients, plan: &Plan) -> Self {
        let trace = cluster.trace();
        let latency_us = plan.cluster.link_latency.0 * 1_000;
        let groups = clients.works.iter().flat_map(|work| work.plan.all_consumer_groups());
        let shared = groups.filter(|group| !group.broadcast).map(|group| {
            let listener_us = group.consume_time.0 * 1_000;
            (trace.name(&group.name), Group { orderly: group.orderly, listener_us })
        });
        let mut timeline = Timeline::of(trace, nodes(cluster, clients, plan));
        timeline.add_deletions(&clients.traffic.history().deletions);
        let ownership = Facts {
            groups: shared.collect(),
            made: made(cluster, clients, plan, &timeline),
            timeline,
            latency_us,
            until_us: trace.now_us(),
        };
        Watched { ownership, pace: pace(plan, trace) }
    }
}

/// The name servers, the brokers and the members of consumer groups.
fn nodes(cluster: &Cluster, clients: &Clients, plan: &Plan) -> Vec<Node> {
    let trace = cluster.trace();
    let node = |name: &str, role: Role| {
        let machine = Name::clone(cluster.node(name).machine().name());
        Node { name: trace.name(name), machine, role }
    };
    let namesrvs = expand::expand(&plan.cluster).namesrvs;
    let namesrvs = namesrvs.iter().map(|it| node(&it.name, Role::NameServer));
    let brokers = cluster.brokers().values();
    let brokers = brokers.map(|it| node(it.name(), Role::Broker(trace.name(&it.group()))));
    let mut nodes: Vec<Node> = namesrvs.chain(brokers).collect();
    for work in &clients.works {
        for group in work.plan.all_consumer_groups() {
            let role = || Role::Member(trace.name(&group.name));
            nodes.extend(work.plan.consumer_names(&group).map(|name| node(&name, role())));
        }
    }
    nodes
}

/// The queues that the operator made before any consumer was started.
fn made(
    cluster: &Cluster,
    clients: &Clients,
    plan: &Plan,
    timeline: &Timeline,
) -> BTreeMap<QueueKey, u64> {
    let trace = cluster.trace();
    let members = timeline.nodes.iter().filter(|node| matches!(node.role, Role::Member(_)));
    let starts = members.flat_map(|node| timeline.lives_of(&node.name)).map(|life| life.start);
    let Some(made_us) = starts.min() else { return BTreeMap::new() };
    let mut queues = BTreeMap::new();
    let later = plan.late_topics();
    for work in clients.works.iter().filter(|work| !later.contains(&work.plan.topic)) {
        let groups = cluster.brokers().values().map(|broker| broker.group());
        for group in groups.filter(|group| work.uses(group)) {
            for queue_id in 0..work.plan.queues {
                let (group, topic) = (trace.name(&group), trace.name(&work.plan.topic));
                queues.insert(QueueKey { group, topic, queue_id }, made_us);
            }
        }
    }
    queues
}

/// What the settings of a plan say of the time that messages take.
fn pace(plan: &Plan, trace: &Trace) -> Pace {
    let mut pace = Pace {
        latency_us: plan.cluster.link_latency.0 * 1_000,
        sync_us: plan.cluster.sync_latency[1].0 * 1_000,
        delays_us: plan.delay_levels().delays_ms().iter().map(|ms| ms * 1_000).collect(),
        ..Pace::default()
    };
    for work in &plan.workloads {
        let topic = trace.name(&work.topic);
        let level = (work.delay_level > 0).then_some(work.delay_level as usize);
        // Of a topic that several workloads write to nobody knows what was delayed, and how long.
        let is_known = work.transaction.is_none()
            && work.delay_levels.is_none()
            && !pace.topics.contains_key(&topic);
        pace.topics.insert(topic, is_known.then_some(level));
        for group in work.all_consumer_groups() {
            let members = work.consumer_names(&group).filter(|_| group.broadcast);
            let readers = members.chain([group.name.clone()]).map(|it| trace.name(&it));
            match (group.orderly, group.lite_pull) {
                (true, _) => pace.orderly.extend(readers),
                (_, true) => pace.polling.extend(readers),
                _ => {}
            }
        }
    }
    pace
}

/// Lets `history` know of every position that a consumer is set to, of who takes and gives up queues, and of what
/// brokers take for, and give as, groups' offsets.
pub(super) fn watch(trace: &Trace, history: &Arc<Mutex<History>>) {
    let history = Arc::clone(history);
    let is_wanted = |event: &TraceEvent| {
        matches!(
            event,
            TraceEvent::PullOffset { .. }
                | TraceEvent::QueueGivenUp { .. }
                | TraceEvent::OffsetCommitted { .. }
                | TraceEvent::OffsetQueried { .. }
        )
    };
    trace.listen(is_wanted, move |record| {
        note(&mut lock(&history), record);
        ControlFlow::Continue(())
    });
}

fn note(history: &mut History, record: &TraceRecord) {
    let (TraceEvent::PullOffset { group, topic, broker_name, queue_id, .. }
    | TraceEvent::QueueGivenUp { group, topic, broker_name, queue_id }
    | TraceEvent::OffsetCommitted { group, topic, broker_name, queue_id, .. }
    | TraceEvent::OffsetQueried { group, topic, broker_name, queue_id, .. }) = &record.event
    else {
        return;
    };
    let topic = Name::clone(topic);
    let queue = QueueKey { group: Name::clone(broker_name), topic, queue_id: *queue_id };
    match record.event {
        TraceEvent::PullOffset { offset, .. } => {
            note_set(history, record, group, queue.clone(), offset);
            note_tenure(history, record, group, queue, true);
        }
        TraceEvent::OffsetCommitted { offset, .. } => {
            let place = note_offset(history, record, group, queue, OffsetStep::Committed, offset);
            let raise =
                Raise { queue_offset: offset, at_us: record.at_us, ordinal: record.ordinal };
            history.watch.note_committed(place, raise);
        }
        TraceEvent::OffsetQueried { offset, .. } => {
            note_offset(history, record, group, queue, OffsetStep::Told, offset);
        }
        _ => note_tenure(history, record, group, queue, false),
    }
}

/// A consumer reads a queue from an offset on. By broadcasting each member is a reader of its own.
fn note_set(
    history: &mut History,
    record: &TraceRecord,
    group: &Name,
    queue: QueueKey,
    queue_offset: u64,
) {
    let consumer = Name::clone(&record.source);
    let is_alone = history.subscriptions.contains_key(&consumer);
    let consumer_group = Name::clone(if is_alone { &consumer } else { group });
    let ordinal = record.ordinal;
    history.pull_offsets.push(PullOffset {
        consumer,
        consumer_group,
        queue,
        queue_offset,
        ordinal,
    });
}

/// Whether a member of a group has a queue from here on.
fn note_tenure(
    history: &mut History,
    record: &TraceRecord,
    group: &Name,
    queue: QueueKey,
    has_it: bool,
) {
    let (at_us, ordinal) = (record.at_us, record.ordinal);
    let (consumer, consumer_group) = (Name::clone(&record.source), Name::clone(group));
    let step = TenureStep { consumer, consumer_group, queue, has_it, at_us, ordinal };
    history.watch.steps.push(step);
}

/// What a broker took for, or gave as, the offset of a group; returns the group's place.
fn note_offset(
    history: &mut History,
    record: &TraceRecord,
    group: &Name,
    queue: QueueKey,
    step: OffsetStep,
    queue_offset: u64,
) -> GroupQueue {
    let place = (Name::clone(group), queue);
    let (at_us, ordinal) = (record.at_us, record.ordinal);
    let offset = GroupOffset { step, queue_offset, at_us, ordinal };
    history.note_group_offset(place.clone(), offset);
    place
}
