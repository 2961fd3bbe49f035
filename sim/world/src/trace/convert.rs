//! From the engine's borrowed probe events to owned trace events.

use mq_env::probe::Event;

use super::Names;
use super::event::{TraceEvent, UniqKey};

/// Copies an event; names that occurred before cost no allocation.
pub(super) fn owned(event: &Event<'_>, names: &mut Names) -> TraceEvent {
    match *event {
        Event::Appended { phy_offset, size_bytes, topic, queue_id, queue_offset, uniq_key } => {
            let topic = names.get(topic);
            let uniq_key = uniq_key.map(|key| {
                UniqKey::parse_hex(key).unwrap_or_else(|| UniqKey::Text(names.get(key)))
            });
            TraceEvent::Appended { phy_offset, size_bytes, topic, queue_id, queue_offset, uniq_key }
        }
        Event::Committed { from, to } => TraceEvent::Committed { from, to },
        Event::Synced { from, to } => TraceEvent::Synced { from, to },
        Event::SyncFailed { from, to, error } => {
            TraceEvent::SyncFailed { from, to, error: names.get(error) }
        }
        Event::Dispatched { phy_offset, topic, queue_id, queue_offset } => {
            TraceEvent::Dispatched { phy_offset, topic: names.get(topic), queue_id, queue_offset }
        }
        Event::PutDone { phy_offset, end_offset, status } => {
            TraceEvent::PutDone { phy_offset, end_offset, status: names.get(status) }
        }
        Event::Recovered { min_phy_offset, max_phy_offset, dropped_bytes, reason } => {
            let reason = names.get(reason);
            TraceEvent::Recovered { min_phy_offset, max_phy_offset, dropped_bytes, reason }
        }
        Event::Truncated { from, to, reason } => {
            TraceEvent::Truncated { from, to, reason: names.get(reason) }
        }
        Event::Quarantined { from, to, messages } => TraceEvent::Quarantined { from, to, messages },
        Event::HaSent { slave, from, to } => {
            TraceEvent::HaSent { slave: names.get(slave), from, to }
        }
        Event::HaReceived { from, to } => TraceEvent::HaReceived { from, to },
        Event::SlaveAcked { slave, offset } => {
            TraceEvent::SlaveAcked { slave: names.get(slave), offset }
        }
        ref other => rare(other, names),
    }
}

fn rare(event: &Event<'_>, names: &mut Names) -> TraceEvent {
    match *event {
        Event::Expired { file, reason } => {
            TraceEvent::Expired { file: names.get(file), reason: names.get(reason) }
        }
        Event::RefusedToFollow { reason } => {
            TraceEvent::RefusedToFollow { reason: names.get(reason) }
        }
        Event::SlaveConnected { slave } => TraceEvent::SlaveConnected { slave: names.get(slave) },
        Event::SlaveGone { slave, reason } => {
            TraceEvent::SlaveGone { slave: names.get(slave), reason: names.get(reason) }
        }
        Event::OffsetClamped { group, topic, queue_id, from, to } => {
            let (group, topic) = (names.get(group), names.get(topic));
            TraceEvent::OffsetClamped { group, topic, queue_id, from, to }
        }
        Event::OffsetCommitted { group, topic, broker_name, queue_id, offset } => {
            let [group, topic, broker_name] = [group, topic, broker_name].map(|it| names.get(it));
            TraceEvent::OffsetCommitted { group, topic, broker_name, queue_id, offset }
        }
        Event::OffsetQueried { group, topic, broker_name, queue_id, offset } => {
            let [group, topic, broker_name] = [group, topic, broker_name].map(|it| names.get(it));
            TraceEvent::OffsetQueried { group, topic, broker_name, queue_id, offset }
        }
        Event::PullOffset { group, topic, broker_name, queue_id, offset } => {
            let [group, topic, broker_name] = [group, topic, broker_name].map(|it| names.get(it));
            TraceEvent::PullOffset { group, topic, broker_name, queue_id, offset }
        }
        Event::QueueGivenUp { group, topic, broker_name, queue_id } => {
            let [group, topic, broker_name] = [group, topic, broker_name].map(|it| names.get(it));
            TraceEvent::QueueGivenUp { group, topic, broker_name, queue_id }
        }
        Event::BecameMaster { term } => TraceEvent::BecameMaster { term },
        Event::CeasedMaster { term } => TraceEvent::CeasedMaster { term },
        Event::Route { what } => TraceEvent::Route { what: names.get(what) },
        Event::Life { what } => TraceEvent::Life { what: names.get(what) },
        ref other => TraceEvent::Other { what: names.get(&format!("{other:?}")) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_names_are_shared() {
        let mut names = Names::default();
        let mut topic = || {
            let event =
                Event::Dispatched { phy_offset: 0, topic: "T", queue_id: 0, queue_offset: 0 };
            match owned(&event, &mut names) {
                TraceEvent::Dispatched { topic, .. } => topic,
                other => panic!("{other:?}"),
            }
        };
        assert!(std::sync::Arc::ptr_eq(&topic(), &topic()));
    }
}
