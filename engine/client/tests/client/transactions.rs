//! Transactional producers: what is sent when, and what is answered.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mq_client::{
    LocalTransactionState, ProducerConfig, SendStatus, TransactionListener, TransactionProducer,
};
use mq_env::BoxFuture;
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::header::transaction::CheckTransactionStateRequestHeader;
use mq_protocol::message::{Message, MessageConst, MessageExt};
use mq_protocol::remoting_command::RemotingCommand;

use crate::fake_cluster::{Answer, FakeCluster, MASTER_A};

/// Answers as it is told, and remembers what it was asked.
#[derive(Default)]
struct Local {
    executes: Mutex<Vec<LocalTransactionState>>,
    log: Mutex<Vec<String>>,
}

impl Local {
    fn answer(&self, what: &str, message: &Message) -> BoxFuture<'static, LocalTransactionState> {
        let key = message.properties.get(MessageConst::UNIQ_KEY).unwrap();
        self.log.lock().unwrap().push(format!("{what} {key}"));
        let state = self.executes.lock().unwrap().pop().unwrap();
        Box::pin(std::future::ready(state))
    }
}

impl TransactionListener for Local {
    fn execute_local_transaction(
        &self,
        message: &Message,
    ) -> BoxFuture<'static, LocalTransactionState> {
        self.answer("execute", message)
    }

    fn check_local_transaction(
        &self,
        message: &MessageExt,
    ) -> BoxFuture<'static, LocalTransactionState> {
        self.answer("check", &message.message)
    }
}

/// A cluster, a producer of group `P` and its listener, which will answer with these states.
async fn start(states: &[LocalTransactionState]) -> (FakeCluster, TransactionProducer, Arc<Local>) {
    let cluster = FakeCluster::start().await;
    cluster.route("T", &["a"], 1);
    let local = Arc::new(Local::default());
    local.executes.lock().unwrap().extend(states.iter().rev());
    let client = cluster.client("p");
    let producer =
        TransactionProducer::new(&client, ProducerConfig::new("P"), Arc::clone(&local) as Arc<_>);
    (cluster, producer, local)
}

async fn soon() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// A question about the half message at an offset of the only queue.
fn question(cluster: &FakeCluster, offset: i64) -> RemotingCommand {
    let header = CheckTransactionStateRequestHeader {
        tran_state_table_offset: offset,
        commit_log_offset: 77,
        msg_id: None,
        transaction_id: None,
        offset_msg_id: None,
    };
    let body = cluster.record("a", 0, "T", offset as usize);
    RemotingCommand::request(RequestCode::CHECK_TRANSACTION_STATE, &header).with_body(body)
}

#[tokio::test(start_paused = true)]
async fn a_local_transaction_runs_behind_its_half_message_and_its_end_is_told() {
    use LocalTransactionState::{CommitMessage, RollbackMessage, Unknow};
    let (cluster, producer, local) = start(&[CommitMessage, RollbackMessage, Unknow]).await;
    for (n, (state, code)) in
        [(CommitMessage, 8), (RollbackMessage, 12), (Unknow, 0)].into_iter().enumerate()
    {
        let mut message = Message::new("T", "x".to_owned());
        message.properties.insert(MessageConst::DELAY, "3");
        let result = producer.send_message_in_transaction(message).await.unwrap();
        soon().await;
        assert_eq!(result.local_transaction_state, state);
        let key = result.send_result.msg_id;
        assert_eq!(local.log.lock().unwrap().pop(), Some(format!("execute {key}")));
        let log = cluster.take_log("3");
        let log: Vec<_> =
            log.iter().filter(|it| it.starts_with("310") || it.starts_with("37")).collect();
        let at = 1_000 + n;
        assert_eq!(log[0], &format!("310 a-0 T {key} flag 4"));
        assert_eq!(log[1], &format!("37 {MASTER_A} P {n} at {at}: {code} told"));
    }
    let record = cluster.record("a", 0, "T", 0);
    let half = mq_protocol::message_codec::decode_message(&record).unwrap().message;
    let property = |name| half.properties.get(name).map(str::to_owned);
    assert_eq!(property(MessageConst::TRAN_MSG).as_deref(), Some("true"));
    assert_eq!(property(MessageConst::PGROUP).as_deref(), Some("P"));
    assert_eq!(property(MessageConst::DELAY), None, "a half message waits for its end alone");
}

#[tokio::test(start_paused = true)]
async fn a_half_message_without_its_guarantee_is_rolled_back_and_nothing_runs() {
    let (cluster, producer, local) = start(&[]).await;
    let code = Answer::Code(ResponseCode::FLUSH_DISK_TIMEOUT);
    cluster.answer(MASTER_A, RequestCode::SEND_MESSAGE_V2, &[code]);
    let sent =
        producer.send_message_in_transaction(Message::new("T", "x".to_owned())).await.unwrap();
    soon().await;
    assert_eq!(sent.send_result.send_status, SendStatus::FlushDiskTimeout);
    assert_eq!(sent.local_transaction_state, LocalTransactionState::RollbackMessage);
    assert_eq!(cluster.take_log("37 "), [format!("37 {MASTER_A} P 0 at 1000: 12 told")]);
    assert!(local.log.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn questions_are_answered_for_as_long_as_there_is_a_producer() {
    use LocalTransactionState::{CommitMessage, Unknow};
    let (cluster, producer, local) = start(&[Unknow, CommitMessage]).await;
    let sent =
        producer.send_message_in_transaction(Message::new("T", "x".to_owned())).await.unwrap();
    tokio::time::sleep(Duration::from_secs(31)).await;
    cluster.take_log("");
    cluster.ask_producer("P", question(&cluster, 0));
    soon().await;
    assert_eq!(cluster.take_log("37 "), [format!("37 {MASTER_A} P 0 at 77: 8 asked")]);
    let key = sent.send_result.msg_id;
    assert_eq!(local.log.lock().unwrap().pop(), Some(format!("check {key}")));

    drop(producer);
    cluster.ask_producer("P", question(&cluster, 0));
    soon().await;
    assert_eq!(cluster.take_log("37 "), [] as [String; 0]);
}
