//! [`RoleWatch`]: a store's role, which may change while it runs.
//!
//! Begins as `brokerRole` says. Everybody who asks for the role asks here, and only the store that was
//! opened with it changes it ([`crate::MessageStore::change_role`]). While it changes between master and
//! slave the store is neither: it takes no puts, tells nobody of arrivals, and follows nobody. Whoever
//! asks then is told that it is a slave.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mq_env::watched::Watched;

use crate::config::BrokerRole;

/// Bits of [`Standing`] that say what it is; those above count changes.
const WHAT_BITS: u32 = 2;
/// Neither master nor slave, behind the numbers of the roles.
const BETWEEN: u64 = BrokerRole::ALL.len() as u64;

/// A role that is watched; clones share it.
#[derive(Clone, Debug)]
pub struct RoleWatch {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// For those who only look: every put does.
    present: AtomicU64,
    watched: Watched<Standing>,
}

/// What a store is, and how often it became or ceased to be a slave, in one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing(u64);

impl Standing {
    fn of(role: BrokerRole, changes: u64) -> Self {
        let index = BrokerRole::ALL.iter().position(|it| *it == role).unwrap_or(0);
        Standing(changes << WHAT_BITS | index as u64)
    }

    fn changes(self) -> u64 {
        self.0 >> WHAT_BITS
    }

    fn is_between(self) -> bool {
        self.0 & ((1 << WHAT_BITS) - 1) == BETWEEN
    }

    fn role(self) -> BrokerRole {
        let index = self.0 & ((1 << WHAT_BITS) - 1);
        BrokerRole::ALL.get(index as usize).copied().unwrap_or(BrokerRole::Slave)
    }
}

impl RoleWatch {
    /// Begins as `role`.
    #[must_use]
    pub fn new(role: BrokerRole) -> Self {
        let standing = Standing::of(role, 0);
        let (present, watched) = (AtomicU64::new(standing.0), Watched::new(standing));
        RoleWatch { shared: Arc::new(Shared { present, watched }) }
    }

    /// The role; that of a slave while it changes.
    #[must_use]
    pub fn get(&self) -> BrokerRole {
        self.standing().role()
    }

    /// Whether the store copies a master, or is to begin or to cease to.
    #[must_use]
    pub fn is_slave(&self) -> bool {
        self.get() == BrokerRole::Slave
    }

    /// Whether the store takes puts by its role.
    #[must_use]
    pub fn is_master(&self) -> bool {
        !self.is_slave()
    }

    /// Resolves to the role once it is as `is_wanted` says. Cancel safe.
    pub async fn wait_for(&self, mut is_wanted: impl FnMut(BrokerRole) -> bool) -> BrokerRole {
        let watched = &self.shared.watched;
        watched.wait_for(|standing| is_wanted(standing.role())).await.role()
    }

    /// Resolves once the store may append what a master sends: when it is a slave for good.
    pub(crate) async fn may_follow(&self) {
        let is_slave = |it: &Standing| !it.is_between() && it.role() == BrokerRole::Slave;
        self.shared.watched.wait_for(is_slave).await;
    }

    /// Resolves once it may not any more.
    pub(crate) async fn must_not_follow(&self) {
        let leaves = |it: &Standing| it.is_between() || it.role() != BrokerRole::Slave;
        self.shared.watched.wait_for(leaves).await;
    }

    /// How often the store became or ceased to be a slave. What was agreed upon with others before is void.
    pub(crate) fn changes(&self) -> u64 {
        self.standing().changes()
    }

    /// Resolves once there are more [`RoleWatch::changes`] than `seen`.
    pub(crate) async fn changed_since(&self, seen: u64) {
        self.shared.watched.wait_for(|standing| standing.changes() > seen).await;
    }

    /// Replaces one kind of master by another.
    pub(crate) fn set_master(&self, role: BrokerRole) {
        let standing = self.standing();
        assert!(role != BrokerRole::Slave && self.is_master(), "only a master stays one");
        self.publish(Standing::of(role, standing.changes()));
    }

    /// The store is neither master nor slave, until the change is settled. One that is given up leaves a
    /// slave.
    pub(crate) fn begin_change(&self) -> RoleChange {
        let standing = self.standing();
        assert!(!standing.is_between(), "one change at a time");
        self.publish(Standing((standing.changes() + 1) << WHAT_BITS | BETWEEN));
        RoleChange { watch: self.clone(), becomes: BrokerRole::Slave }
    }

    fn standing(&self) -> Standing {
        Standing(self.shared.present.load(Ordering::SeqCst))
    }

    fn publish(&self, standing: Standing) {
        self.shared.watched.modify(|watched| {
            assert!(standing.changes() >= watched.changes(), "changes are counted upwards");
            self.shared.present.store(standing.0, Ordering::SeqCst);
            *watched = standing;
        });
    }
}

/// A change of the role that goes on for as long as this lives.
pub(crate) struct RoleChange {
    watch: RoleWatch,
    becomes: BrokerRole,
}

impl RoleChange {
    /// Ends the change: the store is `role` from now on.
    pub(crate) fn settle(mut self, role: BrokerRole) {
        assert!(self.watch.standing().is_between(), "a change is settled once");
        self.becomes = role;
    }
}

impl Drop for RoleChange {
    fn drop(&mut self) {
        let changes = self.watch.changes() + 1;
        self.watch.publish(Standing::of(self.becomes, changes));
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn a_store_whose_role_changes_is_neither() {
        let role = RoleWatch::new(BrokerRole::SyncMaster);
        let changes = role.changes();
        assert!(role.is_master() && role.may_follow().now_or_never().is_none());
        let change = role.begin_change();
        assert_eq!((role.get(), role.is_master()), (BrokerRole::Slave, false));
        assert!(role.may_follow().now_or_never().is_none(), "it follows nobody yet");
        assert!(role.must_not_follow().now_or_never().is_some());
        assert!(role.changed_since(changes).now_or_never().is_some());
        change.settle(BrokerRole::Slave);
        assert!(role.may_follow().now_or_never().is_some());
        assert!(role.must_not_follow().now_or_never().is_none());
    }

    #[test]
    fn a_change_that_is_given_up_leaves_a_slave() {
        let role = RoleWatch::new(BrokerRole::Slave);
        drop(role.begin_change());
        assert!(role.may_follow().now_or_never().is_some());
        role.begin_change().settle(BrokerRole::AsyncMaster);
        let changes = role.changes();
        role.set_master(BrokerRole::SyncMaster);
        assert_eq!((role.get(), role.changes()), (BrokerRole::SyncMaster, changes));
        assert_eq!(role.wait_for(|it| it != BrokerRole::Slave).now_or_never(), Some(role.get()));
    }
}
