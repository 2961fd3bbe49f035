//! What a DLedger group shows to consumers: a quorum of its copies holds it, as `flushDiskType` says.

use std::sync::Arc;

use mq_protocol::ack_rule::Held;
use staticfire_world::trace::TraceRecord;

use super::{BrokerEntry, State, copy_on, held};
use crate::check::Violation;
use crate::check::visibility::{self, Visible};

impl State {
    /// Judges a dispatch of a DLedger group's broker. Once a copy has lost pages nobody can tell any more who held what when
    /// it was committed.
    pub(super) fn judge_shown(
        &self,
        process: &Arc<str>,
        broker: &BrokerEntry,
        record: &TraceRecord,
        phy_offset: u64,
    ) -> Option<Violation> {
        if self.has_lost_pages(&broker.group) {
            return None;
        }
        let range = broker.view.record_range(phy_offset);
        let bytes = broker.view.read(range.clone());
        let is_live = super::log_view::is_record(phy_offset, &bytes);
        let own = held(is_live, || broker.view.is_durable(range.clone()));
        let others = self.others(process, broker);
        let others = others.map(|(_, other)| copy_on(broker, other, &bytes, range.clone()));
        let mut holds: Vec<Held> = others.flatten().chain([own]).collect();
        holds.sort_unstable_by(|one, other| other.cmp(one));
        visibility::check(&Visible {
            phy_offset,
            ordinal: record.ordinal,
            broker: record.source.to_string(),
            promised: broker.acks.own,
            // What the weakest of the best that are a quorum has.
            held: holds.get(broker.acks.other_copies).copied().unwrap_or(Held::Process),
        })
    }

    fn has_lost_pages(&self, group: &Arc<str>) -> bool {
        let is_damaged = |(name, _): &(&Arc<str>, &BrokerEntry)| {
            self.damaged.get(*name).is_some_and(|noted| !noted.is_empty())
        };
        let mut members = self.brokers.iter().filter(|(_, entry)| entry.group == *group);
        self.torn.contains(group) || members.any(|it| is_damaged(&it))
    }
}
