//! What would refuse a start of a broker, found without starting it: nothing is made, changed or listened on.

use std::sync::Arc;

use mq_env::Env;
use mq_store::MessageStore;
use mq_store::config::StoreConfig;
use mq_store::role::RoleWatch;

use crate::acl_service::AclService;
use crate::config::BrokerConfig;
use crate::consumer_offset_manager::ConsumerOffsetManager;
use crate::delay_offset_manager::DelayOffsetManager;
use crate::error::BrokerError;
use crate::ports::check_listen_port;
use crate::subscription_group_manager::SubscriptionGroupManager;
use crate::topic_config_manager::TopicConfigManager;
use crate::transaction_questions::TransactionQuestions;

/// Everything that would refuse a start with these settings but for ports, rights and space: files of accounts, tables,
/// marks and the files of the log. What the log holds is looked at by a start alone (and by `staticfire store verify`).
#[must_use]
pub fn preflight(env: &Env, config: &BrokerConfig, store_config: &StoreConfig) -> Vec<BrokerError> {
    let role = RoleWatch::new(store_config.broker_role);
    let looks = [
        check_listen_port(config),
        AclService::load(env, config).map(drop),
        TopicConfigManager::load(env, config, store_config, &role).map(drop).map_err(Into::into),
        SubscriptionGroupManager::load(env, config, store_config, &role)
            .map(drop)
            .map_err(Into::into),
        ConsumerOffsetManager::load(env, config, store_config).map(drop).map_err(Into::into),
        DelayOffsetManager::load(env, store_config).map(drop).map_err(Into::into),
        TransactionQuestions::load(env, store_config).map(drop).map_err(Into::into),
        MessageStore::preflight(&Arc::clone(&env.disk), store_config).map_err(Into::into),
    ];
    looks.into_iter().filter_map(Result::err).collect()
}
