//! Producer and consumers of RocketMQ, over `mq-env`.
//!
//! | module | holds |
//! |---|---|
//! | [`error`] | [`ClientError`], [`SendError`], [`StartError`] |
//! | `route`, `name_servers`, `unique_id` | what a client knows of the cluster, whom it asks, its message ids |
//! | [`api`] | the requests as functions, [`SendResult`], [`PullResult`] |
//! | [`client_config`], [`namespace`] | [`ClientConfig`]; names that tenants of a cluster have for themselves |
//! | [`instance`], `heartbeat`, `remoting_processor`, `rpc_hooks` | [`ClientInstance`]: connections and services shared by producers and consumers; what it tells brokers of itself; what they ask it; what it adds to its requests |
//! | [`producer`], `latency_fault` | [`Producer`]; which brokers it leaves alone |
//! | [`message_batch`], [`selector`] | several messages in one request; queues by the sender's choice |
//! | [`request_reply`] | messages that are answered |
//! | [`transaction_producer`], `transaction_checks` | [`TransactionProducer`], and how brokers ask it |
//! | [`pull_client`] | [`PullClient`], reading without a group |
//! | [`push_consumer`] | [`PushConsumer`], a member of a consumer group |
//! | [`lite_pull_consumer`] | [`LitePullConsumer`], a consumer that reads when it likes |
//! | `consumer_inner`, `consumers`, `consumer_group` | consumers as their instance and their brokers see them |
//! | [`allocate`], `rebalance` | which queues it owns |
//! | `pull_service`, [`flow_control`], `process_queue`, `consume_service`, `offset_store`, `local_offset_store` | pulling, caching, consuming, how far: at the broker, or in a file |
//! | `consume_in_order`, `queue_locks`, `queue_lease` | consuming in order, and the locks that it takes |
//! | [`idempotence`] | [`Deduplicator`](idempotence::Deduplicator): a listener gets each business key once |
//! | `consumer_admin`, `admin` | what operators ask of a consumer; what their tools (`mq-admin`) ask of servers |
//!
//! Not here: TLS, which is the environment's (`mq_tls::encrypted`), message traces.

pub mod error;

mod route;

mod name_servers;

mod unique_id;

pub mod api;

pub mod client_config;

pub mod namespace;

pub mod instance;

mod heartbeat;

mod latency_fault;

pub mod message_batch;

pub mod selector;

pub mod producer;

pub mod request_reply;

mod remoting_processor;

mod rpc_hooks;

pub mod transaction_producer;

mod transaction_checks;

pub mod pull_client;

mod consumer_inner;

mod consumers;

mod consumer_group;

pub mod push_consumer;

pub mod lite_pull_consumer;

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

mod consumer_admin;

mod admin;

pub use allocate::AllocateMessageQueueStrategy;
pub use api::{PullResult, PullStatus, SendResult, SendStatus};
pub use client_config::ClientConfig;
pub use error::{ClientError, RequestError, SendError, StartError};
pub use flow_control::FlowControl;
pub use instance::ClientInstance;
pub use lite_pull_consumer::{LitePullConsumer, LitePullConsumerConfig, LitePullError};
pub use message_batch::split_messages;
pub use producer::{Producer, ProducerConfig};
pub use pull_client::PullClient;
pub use push_consumer::{
    ConsumeResult, Consumption, MessageListener, MessageSelector, PushConsumer, PushConsumerConfig,
};
pub use request_reply::{RequestOutcome, RequestResponseFuture, create_reply_message};
pub use rpc_hooks::SessionCredentials;
pub use selector::{JavaHashCode, MessageQueueSelector, SelectMessageQueueByHash};
pub use transaction_producer::{
    LocalTransactionState, TransactionListener, TransactionProducer, TransactionSendResult,
};
