//! [`BrokerProcess`]: a broker of a plan with its `.properties`, which an operator may edit between
//! two starts.

use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mq_protocol::ack_rule::{AckRule, Held};
use mq_store::config::{BrokerRole, FlushDiskType, StoreConfig, UpstreamSwitch};
use staticfire_judge::ledger::{BrokerEntry, Ledger, LogView, Retention, StoreDirs};

use crate::lock;
use crate::plan::{BrokerPlan, Plan};
use crate::run::error::StandError;
use crate::run::program::{Configured, Program};
use crate::run::stage::{Machine, Process};

/// The delay level of a first redelivery.
const FIRST_RETRY_LEVEL: u32 = 3;

const HOUR_US: u64 = 3_600_000_000;

/// A broker process and its configuration; clones name the same one.
#[derive(Clone)]
pub struct BrokerProcess {
    name: String,
    handle: Rc<dyn Process>,
    machine: Rc<dyn Machine>,
    configured: Arc<Mutex<Configured>>,
}

impl BrokerProcess {
    /// Adds the process of `broker` to its machine.
    ///
    /// # Errors
    /// Properties, upstream switches or plants that make no sense.
    pub fn add(
        machine: &Rc<dyn Machine>,
        broker: &BrokerPlan,
        plan: &Plan,
    ) -> Result<Self, StandError> {
        let switches = plan.upstream.iter().map(|name| name.parse());
        let upstream: Result<Vec<UpstreamSwitch>, String> = switches.collect();
        let configured = Configured::read(
            &broker.name,
            broker.properties.clone(),
            upstream.map_err(StandError::Name)?,
            plan.plants.clone(),
        )?;
        let configured = Arc::new(Mutex::new(configured));
        let shared = Arc::clone(&configured);
        let program = Program::Broker(Rc::new(move || lock(&shared).clone()));
        let handle = machine.add_process(&broker.name, program);
        Ok(BrokerProcess {
            name: broker.name.clone(),
            handle,
            machine: Rc::clone(machine),
            configured,
        })
    }

    /// Process name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process.
    #[must_use]
    pub fn handle(&self) -> &Rc<dyn Process> {
        &self.handle
    }

    /// The machine it stands on.
    #[must_use]
    pub fn machine(&self) -> &Rc<dyn Machine> {
        &self.machine
    }

    /// `brokerName`.
    #[must_use]
    pub fn group(&self) -> String {
        lock(&self.configured).broker.broker_name.clone()
    }

    /// Whether its file makes it a master.
    #[must_use]
    pub fn is_master(&self) -> bool {
        lock(&self.configured).store.broker_role != BrokerRole::Slave
    }

    /// Whether its file makes it a member of a DLedger group: then no file says who is the master.
    #[must_use]
    pub fn is_dledger(&self) -> bool {
        lock(&self.configured).store.dledger.is_some()
    }

    /// What its acknowledgements rest on by its file.
    #[must_use]
    pub fn acks(&self) -> AckRule {
        acks(&lock(&self.configured).store)
    }

    /// `flushDiskType` as written.
    #[must_use]
    pub fn flush_name(&self) -> &'static str {
        match lock(&self.configured).store.flush_disk_type {
            FlushDiskType::SyncFlush => "SYNC_FLUSH",
            FlushDiskType::AsyncFlush => "ASYNC_FLUSH",
        }
    }

    /// Whether its limits let the clients of a plan with so many brokers in.
    ///
    /// # Errors
    /// The key that keeps some away.
    pub fn has_room(&self, plan: &Plan, brokers: usize) -> Result<(), StandError> {
        super::room::check(&self.name, &lock(&self.configured).broker, plan, brokers)
    }

    /// Whether clients may send to it and read from it, as they do to its master.
    ///
    /// # Errors
    /// `brokerPermission` keeps them out.
    pub fn lets_clients_in(&self) -> Result<(), StandError> {
        let broker = &lock(&self.configured).broker;
        let (process, perm) = (self.name.clone(), broker.broker_permission);
        let kept_from = broker.keeps_clients_from();
        kept_from.map_or(Ok(()), |what| Err(StandError::KeptOut { process, perm, what }))
    }

    /// How long a half message that nobody ends may wait until it was asked about, with one more round for
    /// an answer that came to nothing.
    #[must_use]
    pub fn transaction_patience(&self) -> Duration {
        let broker = &lock(&self.configured).broker;
        let rounds_ms = broker.transaction_check_interval_ms.saturating_mul(2);
        Duration::from_millis(broker.transaction_timeout_ms.saturating_add(rounds_ms))
    }

    /// The longest delay of the first `times` redeliveries of a message that consumers give back.
    #[must_use]
    pub fn redelivery_delay(&self, times: u32) -> Duration {
        let levels = FIRST_RETRY_LEVEL..FIRST_RETRY_LEVEL.saturating_add(times);
        levels.map(|level| self.delay(level)).max().unwrap_or_default()
    }

    /// What messages of a delay level wait.
    #[must_use]
    pub fn delay(&self, level: u32) -> Duration {
        let levels = &lock(&self.configured).store.message_delay_level;
        Duration::from_millis(levels.deliver_time_ms(level as usize, 0))
    }

    /// `brokerId`.
    #[must_use]
    pub fn broker_id(&self) -> u64 {
        lock(&self.configured).broker.broker_id
    }

    /// `ip:port` that clients use.
    #[must_use]
    pub fn address(&self) -> String {
        let configured = lock(&self.configured);
        let ip = configured.broker.broker_ip1.clone();
        let ip = ip.unwrap_or_else(|| self.machine.ip().to_string());
        super::host_port(&ip, configured.broker.listen_port)
    }

    /// Edits the file: takes effect with the next start.
    ///
    /// # Errors
    /// When the result makes no sense.
    pub fn edit(&self, changes: &[(&str, &str)]) -> Result<(), StandError> {
        let mut configured = lock(&self.configured);
        let mut properties = configured.properties.clone();
        for (key, value) in changes {
            properties.insert((*key).to_owned(), (*value).to_owned());
        }
        let (upstream, plants) = (configured.upstream.clone(), configured.plants.clone());
        *configured = Configured::read(&self.name, properties, upstream, plants)?;
        Ok(())
    }

    /// Has the next starts pass over damage, or refuse because of it.
    pub fn set_salvage(&self, salvage: bool) {
        lock(&self.configured).store.salvage = salvage;
    }

    /// Tells the ledger where the store lies and which role the file gives.
    pub fn tell(&self, ledger: &Ledger) {
        let configured = lock(&self.configured);
        let store = &configured.store;
        let unit_bytes = 20;
        let dirs = StoreDirs {
            commit_log: store.commit_log_dir(),
            has_entries: store.dledger.is_some(),
            commit_log_file_bytes: store.mapped_file_size_commit_log as u64,
            consume_queue: store.store_path_root_dir.join("consumequeue"),
            consume_queue_file_bytes: (store.mapped_file_size_consume_queue as u64)
                .next_multiple_of(unit_bytes),
            delay_levels_ms: store.message_delay_level.delays_ms().to_vec(),
        };
        ledger.set_broker(
            &self.name,
            BrokerEntry {
                group: Arc::from(&*configured.broker.broker_name),
                view: LogView::new(Arc::clone(self.machine.disk()), dirs),
                master: store.broker_role != BrokerRole::Slave,
                acks: acks(store),
                uncommitted_ms_max: store
                    .is_transient_store_pool_enable()
                    .then(|| store.uncommitted_ms_max()),
                retention: Retention {
                    reserved_us: store.file_reserved_time_hours.saturating_mul(HOUR_US),
                    forcibly_above_percent: store
                        .clean_file_forcibly_enable
                        .then_some(store.disk_space_clean_forcibly_ratio),
                },
            },
        );
    }
}

/// What a broker with such a file owes whoever it acknowledges a message with `WAIT=true` to, or its master.
/// The engine's own `StoreConfig::ack_rule` is what is judged by it, and not asked.
fn acks(store: &StoreConfig) -> AckRule {
    if let Some(dledger) = &store.dledger {
        let held = match store.flush_disk_type {
            FlushDiskType::SyncFlush => Held::Platter,
            FlushDiskType::AsyncFlush => Held::PageCache,
        };
        return AckRule::quorum_of(
            dledger.peers.split(';').filter(|it| !it.trim().is_empty()).count(),
            held,
        );
    }
    let (own, other_copies) = match (store.broker_role, store.flush_disk_type) {
        (BrokerRole::SyncMaster, FlushDiskType::SyncFlush) => (Held::Platter, 1),
        (BrokerRole::SyncMaster, FlushDiskType::AsyncFlush) => (Held::PageCache, 1),
        (_, FlushDiskType::SyncFlush) => (Held::Platter, 0),
        (BrokerRole::AsyncMaster, _) if store.transient_store_pool_enable => (Held::Process, 0),
        (_, FlushDiskType::AsyncFlush) => (Held::PageCache, 0),
    };
    AckRule { own, other_copies, any_copies: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both derive it from the same file, and neither believes the other.
    #[test]
    fn engine_and_stand_read_the_same_rule_from_a_file() {
        for role in BrokerRole::ALL {
            for flush in FlushDiskType::ALL {
                for pool in [false, true] {
                    let mut store = StoreConfig::at("unused");
                    (store.broker_role, store.flush_disk_type) = (role, flush);
                    store.transient_store_pool_enable = pool;
                    let own = store.ack_rule(role, true);
                    assert_eq!(own, acks(&store), "{role:?}, {flush:?}, pool {pool}");
                }
            }
        }
    }
}
