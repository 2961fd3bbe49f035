//! [`TransactionProducer`]: messages that come to be together with a local transaction, or not at all
//! (RocketMQ 4.9 `TransactionMQProducer`).
//!
//! The message is sent as a *half message*, which no consumer sees. Once it is stored the local transaction
//! runs, and its outcome is told to the broker, without waiting for an answer. Should that be lost, or the
//! outcome be unknown, the broker asks, this producer or another one of its group.

use std::sync::Arc;

use mq_env::BoxFuture;
use mq_env::plant::{Plant, planted_on_this_thread};
use mq_protocol::header::transaction::EndTransactionRequestHeader;
use mq_protocol::message::{Message, MessageConst, MessageExt, OffsetMessageId};
use mq_protocol::sys_flag::MessageSysFlag;
use tokio::sync::mpsc;

use crate::api::{SendResult, SendStatus};
use crate::error::{ClientError, SendError};
use crate::instance::ClientInstance;
use crate::namespace::{queue_with_namespace, with_namespace};
use crate::producer::{Producer, ProducerConfig};
use crate::transaction_checks::{self, Check};

/// What became of a local transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalTransactionState {
    /// The message is to be delivered (`COMMIT_MESSAGE`).
    CommitMessage,
    /// It never was (`ROLLBACK_MESSAGE`).
    RollbackMessage,
    /// Not known yet: the broker asks later (`UNKNOW`).
    Unknow,
}

impl LocalTransactionState {
    /// `commitOrRollback` of END_TRANSACTION.
    pub(crate) fn sys_flag(self) -> i32 {
        match self {
            LocalTransactionState::CommitMessage => MessageSysFlag::TRANSACTION_COMMIT,
            LocalTransactionState::RollbackMessage => MessageSysFlag::TRANSACTION_ROLLBACK,
            LocalTransactionState::Unknow if planted_on_this_thread(Plant::UnknownIsRolledBack) => {
                MessageSysFlag::TRANSACTION_ROLLBACK
            }
            LocalTransactionState::Unknow => MessageSysFlag::TRANSACTION_NOT,
        }
    }
}

/// The local side of a transaction. Its id is the message's `UNIQ_KEY`.
pub trait TransactionListener: Send + Sync {
    /// Runs the local transaction: its half message is stored.
    fn execute_local_transaction(
        &self,
        message: &Message,
    ) -> BoxFuture<'static, LocalTransactionState>;

    /// Says what became of a local transaction, which may have run in another process, may still run, or
    /// may never have begun. Of one that may still be about to run, UNKNOW is the answer: a rollback is final.
    /// One question is answered at a time.
    fn check_local_transaction(
        &self,
        message: &MessageExt,
    ) -> BoxFuture<'static, LocalTransactionState>;
}

/// What became of a message and of its transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionSendResult {
    /// The half message.
    pub send_result: SendResult,
    /// The outcome that the broker was told, if it heard of it.
    pub local_transaction_state: LocalTransactionState,
}

/// A producer of messages in transactions; clones are the same one. Questions are answered as long as there
/// is one.
#[derive(Clone)]
pub struct TransactionProducer {
    producer: Producer,
    listener: Arc<dyn TransactionListener>,
    /// Keeps the group's questions coming.
    _checks: mpsc::Sender<Check>,
}

impl TransactionProducer {
    /// A producer whose group can be asked from the next heartbeat on. The last one of a group is asked.
    #[must_use]
    pub fn new(
        instance: &ClientInstance,
        config: ProducerConfig,
        listener: Arc<dyn TransactionListener>,
    ) -> Self {
        let group = with_namespace(instance.namespace(), &config.group);
        let (sender, receiver) = instance.transaction_checks().register(&group);
        let answering =
            transaction_checks::answer(receiver, Arc::clone(&listener), instance.clone());
        instance.tasks().spawn_until_cancelled("client transaction checks", answering);
        TransactionProducer { producer: Producer::new(instance, config), listener, _checks: sender }
    }

    /// Sends a half message, runs the local transaction and tells the broker. A half message that was
    /// stored without its guarantee is rolled back, and nothing runs.
    ///
    /// # Errors
    /// As [`Producer::send`]: nothing ran. A half message that was stored all the same will be asked about.
    pub async fn send_message_in_transaction(
        &self,
        mut message: Message,
    ) -> Result<TransactionSendResult, SendError> {
        self.producer.instance().set_uniq_key(&mut message);
        let properties = &mut message.properties;
        properties.insert(MessageConst::TRAN_MSG, "true");
        properties.insert(MessageConst::PGROUP, self.producer.group());
        properties.remove(MessageConst::DELAY);
        let send_result = self.producer.send(message.clone()).await?;
        let local_transaction_state = match send_result.send_status {
            SendStatus::SendOk => self.listener.execute_local_transaction(&message).await,
            _ => LocalTransactionState::RollbackMessage,
        };
        if let Err(error) = self.end_transaction(&send_result, local_transaction_state).await {
            tracing::info!(msg_id = send_result.msg_id, %error, "an end of a transaction is not sent");
        }
        Ok(TransactionSendResult { send_result, local_transaction_state })
    }

    async fn end_transaction(
        &self,
        half: &SendResult,
        state: LocalTransactionState,
    ) -> Result<(), ClientError> {
        let instance = self.producer.instance();
        let queue = queue_with_namespace(instance.namespace(), &half.message_queue);
        let addr = instance.master_addr(&queue.topic, &queue.broker_name).await?;
        let id = half.offset_msg_id.parse::<OffsetMessageId>();
        let id = id.map_err(|error| ClientError::bad_answer(&addr, &error))?;
        let header = EndTransactionRequestHeader {
            producer_group: self.producer.group().to_owned(),
            tran_state_table_offset: half.queue_offset,
            commit_log_offset: id.phy_offset,
            commit_or_rollback: state.sys_flag(),
            from_transaction_check: false,
            msg_id: half.msg_id.clone(),
            transaction_id: Some(half.msg_id.clone()),
            broker_name: Some(queue.broker_name),
        };
        instance.api().end_transaction_oneway(&addr, &header)
    }
}
