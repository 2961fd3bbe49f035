//! A broker that becomes master or slave while it runs, and the services that only one of the two has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mq_env::BoxFuture;
use mq_env::task::TaskGroup;
use mq_store::config::BrokerRole;
use mq_store::plant::Plant;

use super::BrokerController;
use crate::context::BrokerContext;
use crate::error::RoleError;
use crate::lock;
use crate::replicated_tables::{ReplicatedTables, TABLES_TOPIC};
use crate::schedule_message_service::ScheduleMessageService;
use crate::slave_synchronize::SlaveSynchronize;
use crate::transaction_check_service::TransactionalMessageCheckService;

impl BrokerController {
    /// Makes the broker a master, whose `broker_id` is 0, or a slave, whose id is another one: what a
    /// restart with `brokerRole` and `brokerId` changed would do (RocketMQ 4.9 `changeToMaster`,
    /// `changeToSlave`). Clients stay connected; the name servers hear of it at once. To be awaited to its
    /// end.
    ///
    /// # Errors
    /// A role that does not go with the id, and what kept the store from becoming a master's: the broker is
    /// a slave then.
    pub fn change_role(
        self: &Arc<Self>,
        role: BrokerRole,
        broker_id: u64,
    ) -> BoxFuture<'static, Result<(), RoleError>> {
        let controller = Arc::clone(self);
        Box::pin(async move { controller.change(role, broker_id).await })
    }

    pub(super) async fn change(&self, role: BrokerRole, broker_id: u64) -> Result<(), RoleError> {
        if (role == BrokerRole::Slave) != (broker_id > 0) {
            return Err(RoleError::BrokerId { role: role.name(), broker_id });
        }
        let mut services = self.role_services.lock().await;
        // A copy of the old master's tables must not end after this broker's own changes.
        services.shutdown().await;
        let context = &self.context;
        if context.is_slave() != (role == BrokerRole::Slave) {
            // The name servers tell a new slave who its master is.
            lock(&context.master_addr).take();
            context.ha.set_ha_master_address(None);
        }
        let prepared = prepare(Arc::clone(context), role, broker_id);
        let changed = context.store.change_role_after(role, Box::pin(prepared)).await;
        *services = start_role_services(context, &self.tasks, &self.schedule);
        Ok(changed?)
    }
}

/// What comes before a master takes puts: no offset beyond its log, and whatever the log
/// holds can be read.
pub(super) async fn master_starts(context: &BrokerContext) {
    context.guard.master_starts(&context.outer_api).await;
    if context.store.config().planted(Plant::QueueWithoutTopic) {
        return;
    }
    let (store, queues) = (&context.store, context.store.consume_queues());
    let queue_nums = |topic: &str| {
        let last_stored_ms = |queue_id| {
            let last = store.max_offset_in_queue(topic, queue_id).checked_sub(1)?;
            store.message_store_timestamp(topic, queue_id, last)
        };
        context.topics.queue_nums_told(topic, &queues.queue_ids(topic), last_stored_ms)
    };
    let topics = queues.topics().into_iter().filter(|topic| topic != TABLES_TOPIC);
    let topics: BTreeMap<String, i32> =
        topics.filter_map(|topic| queue_nums(&topic).map(|nums| (topic, nums))).collect();
    let made = context.topics.make_for_queues(&topics).await;
    if !made.is_empty() {
        tracing::warn!(?made, "topics were made, or given queues, of which only the log tells");
    }
}

/// What comes before a new master takes puts or a new slave follows.
async fn prepare(context: Arc<BrokerContext>, role: BrokerRole, broker_id: u64) {
    context.outer_api.set_broker_id(broker_id);
    if role != BrokerRole::Slave {
        context.transaction_ends.reset();
        context.tables.take_over(&context).await;
        context.tables.begin_as_master().await;
        master_starts(&context).await;
        return;
    }
    // As at a master's end: the next one is told how far deliveries have come.
    if let Err(error) = context.delay_offsets.persist(context.store.commit_log()).await {
        tracing::error!(%error, "delay offsets cannot be written");
    }
}

/// Starts what the present role has and the other has not: a slave copies its master's tables; a master
/// delivers delayed messages, writes down how far it has come, and asks about transactions that nobody ends.
pub(super) fn start_role_services(
    context: &Arc<BrokerContext>,
    tasks: &TaskGroup,
    schedule: &Arc<ScheduleMessageService>,
) -> TaskGroup {
    let services = tasks.child();
    if ReplicatedTables::are_in_use(context) {
        let replicating = ReplicatedTables::run(Arc::clone(context));
        services.spawn_until_cancelled("replicated tables", replicating);
    }
    if context.is_slave() {
        let synchronize = SlaveSynchronize::new(Arc::clone(context));
        services.spawn_until_cancelled("slave synchronize", synchronize.run());
    } else {
        let check = TransactionalMessageCheckService::new(Arc::clone(context));
        services.spawn_until_cancelled("transaction check", check.run());
        schedule.start(&services);
        let interval = Duration::from_millis(context.config.flush_delay_offset_interval_ms);
        let (offsets, store) = (Arc::clone(&context.delay_offsets), Arc::clone(&context.store));
        services.spawn_until_cancelled("delay offset persist", offsets.run(store, interval));
    }
    services
}
