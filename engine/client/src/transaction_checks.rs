//! [`TransactionChecks`]: questions of brokers about half messages, on their way to the producer that sent
//! them (RocketMQ 4.9 `checkTransactionState`).
//!
//! A question that nobody can take is left unanswered: the broker asks again, this client or another one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use mq_protocol::codes::RequestCode;
use mq_protocol::header::transaction::{
    CheckTransactionStateRequestHeader, EndTransactionRequestHeader,
};
use mq_protocol::message::{MessageConst, MessageExt};
use mq_protocol::message_codec::decode_message;
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{Channel, ProcessError};
use tokio::sync::mpsc;

use crate::instance::ClientInstance;
use crate::transaction_producer::{LocalTransactionState, TransactionListener};

/// Questions that may wait for a producer (`checkRequestHoldMax`).
const CHECK_REQUEST_HOLD_MAX: usize = 2_000;

/// A broker wants to know what became of a local transaction.
pub(crate) struct Check {
    group: String,
    header: CheckTransactionStateRequestHeader,
    message: MessageExt,
    /// Where the answer goes.
    channel: Channel,
}

/// The producers of a client that can be asked, by group.
#[derive(Default)]
pub(crate) struct TransactionChecks {
    groups: Mutex<BTreeMap<String, mpsc::WeakSender<Check>>>,
}

impl TransactionChecks {
    /// From now on questions about `group` come out of the receiver, as long as the sender is kept.
    pub(crate) fn register(&self, group: &str) -> (mpsc::Sender<Check>, mpsc::Receiver<Check>) {
        let (sender, receiver) = mpsc::channel(CHECK_REQUEST_HOLD_MAX);
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.insert(group.to_owned(), sender.downgrade());
        (sender, receiver)
    }

    /// Takes a question (39) in.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn ask(
        &self,
        channel: &Channel,
        request: &RemotingCommand,
    ) -> Result<(), ProcessError> {
        let message = decode_message(&request.body)?;
        let group = message.message.properties.get(MessageConst::PGROUP).unwrap_or_default();
        let check = Check {
            group: group.to_owned(),
            header: request.header()?,
            channel: channel.clone(),
            message,
        };
        if let Err(reason) = self.hand_over(check) {
            tracing::info!(reason, "a question about a transaction is not answered");
        }
        Ok(())
    }

    fn hand_over(&self, check: Check) -> Result<(), &'static str> {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let producer = groups.get(&check.group).and_then(mpsc::WeakSender::upgrade);
        let producer = producer.ok_or("no producer of its group is here")?;
        producer.try_send(check).map_err(|_| "too many wait")
    }
}

/// Asks the listener, one question after another (one `checkThreadPool` thread), and tells each broker.
pub(crate) async fn answer(
    mut checks: mpsc::Receiver<Check>,
    listener: Arc<dyn TransactionListener>,
    instance: ClientInstance,
) {
    while let Some(check) = checks.recv().await {
        let state = listener.check_local_transaction(&check.message).await;
        let request = RemotingCommand::request(RequestCode::END_TRANSACTION, &check.ends(state));
        let remoting = instance.api().remoting();
        let request = remoting.hooked(check.channel.remote_addr(), request);
        if let Err(error) = check.channel.oneway(request) {
            tracing::info!(group = check.group, %error, "an answer about a transaction is not sent");
        }
    }
}

impl Check {
    fn ends(&self, state: LocalTransactionState) -> EndTransactionRequestHeader {
        let uniq_key = self.message.message.properties.get(MessageConst::UNIQ_KEY);
        EndTransactionRequestHeader {
            producer_group: self.group.clone(),
            tran_state_table_offset: self.header.tran_state_table_offset,
            commit_log_offset: self.header.commit_log_offset,
            commit_or_rollback: state.sys_flag(),
            from_transaction_check: true,
            msg_id: uniq_key.map_or_else(|| self.message.msg_id(), str::to_owned),
            transaction_id: self.header.transaction_id.clone(),
            broker_name: None,
        }
    }
}
