//! The RocketMQ broker. Entry point: [`BrokerController::start`].
//!
//! Modules in reading order:
//!
//! - [`config`] what a broker obeys, [`error`] why it does not start, `preflight` what would keep it from that, `ports` what it
//!   listens on;
//! - `controller` start and shutdown, `context` what everything shares, `limits` how much is kept, `live_config` what
//!   operators change meanwhile;
//! - `processor` the requests it answers, `work_queue` those that wait for their turn, `waiting_sends` those that wait
//!   for the store;
//! - `topic_config_manager`, `subscription_group_manager` over `persisted_table`,
//!   `consumer_offset_manager`, `delay_offset_manager` over `offset_file`: its tables;
//!   `offset_guard` offsets beyond a queue's end;
//! - `schedule_message_service` delivers delayed messages; `transactional_message`: how the messages of
//!   transactions are stored; `transaction_ends`: each ends once; `transaction_check_service` asks about those
//!   that nobody ends, `transaction_questions` counts that, `transaction_check_put_back` does as 4.9 does;
//!   `real_message`: what waits under a topic of the broker's own;
//! - `client_channel`, `client_groups`, `producer_manager`, `consumer_manager`,
//!   `client_housekeeping`: its clients; `subscription` what they want;
//!   `rebalance_lock_manager` who of them may consume in order;
//! - `broker_stats_manager` what passed per topic, queue and group; [`metrics`] all figures of a moment;
//! - `acl_service` who may ask for what, over the files of accounts;
//! - `pull_request_hold` over `held_pulls`: long polling;
//! - `dledger_commit_log` a DLedger node as the store's log, `replicated_tables` what else a group agrees on;
//! - `outer_api` what it asks of others, `registration` at name servers, `slave_synchronize` from
//!   its master.

pub mod config;
pub mod error;

mod ports;
mod preflight;

mod controller;

mod context;

mod limits;

mod live_config;

mod processor;

mod waiting_sends;
mod work_queue;

mod topic_config_manager;

mod subscription_group_manager;

mod persisted_table;

mod offset_file;
mod consumer_offset_manager;

mod delay_offset_manager;

mod offset_guard;

mod real_message;
mod schedule_message_service;

mod transaction_check_put_back;
mod transaction_check_service;
mod transaction_ends;
mod transaction_questions;
mod transactional_message;

mod client_channel;

mod client_groups;

mod producer_manager;

mod consumer_manager;
mod subscription;

mod client_housekeeping;

mod rebalance_lock_manager;

mod broker_stats_manager;

pub mod metrics;

mod acl_service;

mod pull_request_hold;

mod held_pulls;

mod outer_api;

mod registration;

mod slave_synchronize;

mod dledger_commit_log;
mod replicated_tables;

use std::sync::{Mutex, MutexGuard, PoisonError};

use mq_env::clock::Clock;

pub use controller::BrokerController;
pub use error::{BrokerError, RoleError};
pub use mq_protocol::topic_validator::{
    RMQ_SYS_TRANS_CHECK_MAX_TIME_TOPIC, RMQ_SYS_TRANS_HALF_TOPIC,
};
pub use ports::{PortUse, ports};
pub use preflight::preflight;

/// Takes a lock. A panic of another holder ends the process anyway, so its mark is ignored.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The wall clock in milliseconds, as records and versions have it.
pub(crate) fn now_ms(clock: &dyn Clock) -> i64 {
    i64::try_from(clock.now_millis()).unwrap_or(i64::MAX)
}
