//! Producer and consumers of RocketMQ, over `mq-env`.
//!
//! | module | holds |
//! |---|---|
//! | [`error`] | [`ClientError`], [`SendError`], [`StartError`] |
//! | `route`, `name_servers`, `unique_id` | what a client knows of the cluster, whom it asks, its message ids |
//! | [`api`] | the requests as functions, [`SendResult`], [`PullResult`] |
//! | [`instance`], `consumers`, `remoting_processor` | [`ClientInstance`]: connections and services shared by producers and consumers; what brokers ask it |
//! | [`producer`] | [`Producer`] |
//! | [`transaction_producer`], `transaction_checks` | [`TransactionProducer`], and how brokers ask it |
//! | [`pull_client`] | [`PullClient`], reading without a group |
//! | [`push_consumer`] | [`PushConsumer`], a member of a consumer group |
//! | [`allocate`], `rebalance` | which queues it owns |
//! | `pull_service`, [`flow_control`], `process_queue`, `consume_service`, `offset_store`, `local_offset_store` | pulling, caching, consuming, how far: at the broker, or in a file |
//! | `consume_in_order`, `queue_locks`, `queue_lease` | consuming in order, and the locks that it takes |
//! | [`idempotence`] | [`Deduplicator`](idempotence::Deduplicator): a listener gets each business key once |
//! | `consumer_admin` | what operators ask of a consumer |
//!
//! Not here: batches, ACL, namespaces.

pub mod error;

mod route;

mod name_servers;

mod unique_id;

pub mod api;

pub mod instance;

pub mod producer;

mod consumers;

mod remoting_processor;

pub mod transaction_producer;

mod transaction_checks;

pub mod pull_client;

pub mod push_consumer;

pub mod allocate;

mod rebalance;

mod pull_service;

pub mod flow_control;

mod process_queue;

mod consume_service;

mod consume_in_order;

mod queue_locks;

mod queue_lease;

mod offset_store;

mod local_offset_store;

pub mod idempotence;

pub use allocate::AllocateMessageQueueStrategy;
pub use api::{PullResult, PullStatus, SendResult, SendStatus};
pub use error::{ClientError, SendError, StartError};
pub use flow_control::FlowControl;
mod consumer_admin;

pub use instance::{ClientConfig, ClientInstance};
pub use producer::{Producer, ProducerConfig};
pub use pull_client::PullClient;
pub use push_consumer::{
    ConsumeResult, Consumption, MessageListener, MessageSelector, PushConsumer, PushConsumerConfig,
};
pub use transaction_producer::{
    LocalTransactionState, TransactionListener, TransactionProducer, TransactionSendResult,
};
