//! `sendMessage`, `sendMsgStatus`, `checkMsgSendRT`, `clusterRT`: messages sent, and how long that takes.

use std::time::Duration;

use clap::{ArgAction, Args};
use mq_client::{Producer, SendResult};
use mq_protocol::message::{Message, MessageConst, MessageQueue};
use mq_protocol::topic_validator::is_not_allowed_send_topic;
use tokio::time::Instant;

use super::message_text::{send_result_text, send_status_name};
use crate::command::{SubCommand, Terminal};
use crate::error::AdminError;
use crate::mq_admin_ext::MqAdminExt;
use crate::text::WITH_SECONDS;

/// The group of what tools send.
const PRODUCER_GROUP: &str = "TOOLS_PRODUCER";

/// Sends a message.
#[derive(Args)]
pub(crate) struct SendMessage {
    /// The topic.
    #[arg(short = 't', long = "topic")]
    topic: String,
    /// The body.
    #[arg(short = 'p', long = "body")]
    body: String,
    /// Index keys, split by blanks.
    #[arg(short = 'k', long = "key", value_name = "KEYS")]
    keys: Option<String>,
    /// The tag.
    #[arg(short = 'c', long = "tags", value_name = "TAG")]
    tags: Option<String>,
    /// The name of the broker to send to.
    #[arg(short = 'b', long = "broker", value_name = "NAME")]
    broker_name: Option<String>,
    /// The queue to send to.
    #[arg(short = 'i', long = "qid", value_name = "ID", requires = "broker_name")]
    queue_id: Option<i32>,
    /// Whether the message is traced; `true` is refused, since nothing here traces.
    #[arg(short = 'm', long = "msgTraceEnable", action = ArgAction::Set, default_value_t = false)]
    trace: bool,
}

impl SubCommand for SendMessage {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        if self.trace {
            let sentence = "messages are not traced here; leave -m out or say -m false";
            return Err(AdminError::Input(sentence.to_owned()));
        }
        if is_not_allowed_send_topic(&self.topic) {
            let sentence = format!("nobody may send to the topic {}", self.topic);
            return Err(AdminError::Input(sentence));
        }
        let producer = terminal.admin.producer(PRODUCER_GROUP);
        let message = self.message();
        let result = match (&self.broker_name, self.queue_id) {
            (Some(broker_name), queue_id) => {
                let queue = MessageQueue {
                    topic: self.topic.clone(),
                    broker_name: broker_name.clone(),
                    queue_id: queue_id.unwrap_or(0),
                };
                producer.send_to(message, &queue).await?
            }
            (None, _) => producer.send(message).await?,
        };
        terminal.print(&sent_text(&result))
    }
}

impl SendMessage {
    fn message(&self) -> Message {
        let mut message = Message::new(self.topic.clone(), self.body.clone());
        let properties = [(MessageConst::KEYS, &self.keys), (MessageConst::TAGS, &self.tags)];
        for (name, value) in properties {
            if let Some(value) = value {
                message.properties.insert(name, value);
            }
        }
        message
    }
}

fn table_row(broker_name: &str, queue_id: &str, sent: &str, last: &str) -> String {
    format!("{broker_name:<32}  {queue_id:<4}  {sent:<20}    {last}\n")
}

fn sent_text(result: &SendResult) -> String {
    let MessageQueue { broker_name, queue_id, .. } = &result.message_queue;
    let status = send_status_name(result.send_status);
    table_row("#Broker Name", "#QID", "#Send Result", "#MsgId")
        + &table_row(broker_name, &queue_id.to_string(), status, &result.msg_id)
}

/// Sends messages to a broker, and shows what it answers and how soon.
#[derive(Args)]
pub(crate) struct SendMsgStatus {
    /// The broker's name, which is a topic of its own as well.
    #[arg(short = 'b', long = "brokerName", value_name = "NAME")]
    broker_name: String,
    /// Length of each message.
    #[arg(short = 's', long = "messageSize", value_name = "BYTES", default_value_t = 128)]
    message_bytes: usize,
    /// How many.
    #[arg(short = 'c', long = "count", default_value_t = 50)]
    count: u64,
}

impl SubCommand for SendMsgStatus {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let producer = terminal.admin.producer("PID_SMSC");
        // The first one opens the connection, which is not to be measured.
        producer.send(sized_message(&self.broker_name, 16)).await?;
        for _ in 0..self.count {
            let begin = Instant::now();
            let result =
                producer.send(sized_message(&self.broker_name, self.message_bytes)).await?;
            terminal.print(&status_text(begin.elapsed(), &result))?;
        }
        Ok(())
    }
}

fn status_text(took: Duration, result: &SendResult) -> String {
    format!("rt={}ms, SendResult={}\n", took.as_millis(), send_result_text(result))
}

fn sized_message(topic: &str, bytes: usize) -> Message {
    Message::new(topic, vec![b'a'; bytes])
}

/// Sends messages to the queues of a topic in turn, and shows how long each takes.
#[derive(Args)]
pub(crate) struct CheckMsgSendRt {
    /// The topic.
    #[arg(short = 't', long = "topic")]
    topic: String,
    /// How many messages.
    #[arg(short = 'a', long = "amount", default_value_t = 100)]
    amount: u64,
    /// Length of each.
    #[arg(short = 's', long = "size", value_name = "BYTES", default_value_t = 128)]
    message_bytes: usize,
}

impl SubCommand for CheckMsgSendRt {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let queues =
            terminal.admin.pull_client().fetch_subscribe_message_queues(&self.topic).await?;
        if queues.is_empty() {
            let sentence = format!("the topic {} has no queue", self.topic);
            return Err(AdminError::Failed(sentence));
        }
        let producer = terminal.admin.producer(PRODUCER_GROUP);
        terminal.print(&table_row("#Broker Name", "#QID", "#Send Result", "#RT"))?;
        let (mut took, mut failed) = (Vec::new(), 0);
        for queue in queues.iter().cycle().take(self.amount as usize) {
            let begin = Instant::now();
            let message = sized_message(&self.topic, self.message_bytes);
            let is_sent = producer.send_to(message, queue).await.is_ok();
            failed += u64::from(!is_sent);
            took.push(begin.elapsed().as_millis() as u64);
            let (id, rt) = (queue.queue_id.to_string(), begin.elapsed().as_millis().to_string());
            terminal.print(&table_row(&queue.broker_name, &id, &is_sent.to_string(), &rt))?;
        }
        terminal.print(&average_text(&took))?;
        match failed {
            0 => Ok(()),
            failed => Err(AdminError::Failed(format!(
                "{failed} of {} messages to the topic {} were not sent",
                self.amount, self.topic
            ))),
        }
    }
}

/// Without the first one, which opens the connection; of one message there is none.
fn average_text(took_ms: &[u64]) -> String {
    format!("Avg RT: {:.2}\n", average(took_ms))
}

fn average(took_ms: &[u64]) -> f64 {
    let rest = took_ms.get(1..).unwrap_or_default();
    rest.iter().sum::<u64>() as f64 / rest.len() as f64
}

/// Sends messages to every broker again and again, and shows how long that takes.
#[derive(Args)]
pub(crate) struct ClusterRt {
    /// Messages to each broker.
    #[arg(short = 'a', long = "amount", default_value_t = 100)]
    amount: u64,
    /// Length of each.
    #[arg(short = 's', long = "size", value_name = "BYTES", default_value_t = 128)]
    message_bytes: usize,
    /// Only this cluster.
    #[arg(short = 'c', long = "cluster")]
    cluster: Option<String>,
    /// Whether lines are laid out for other programs: time|machine room|cluster|broker|ms.
    #[arg(short = 'p', long = "printLog", action = ArgAction::Set, default_value_t = false)]
    print_log: bool,
    /// The machine room in these lines.
    #[arg(short = 'm', long = "machineRoom", value_name = "NAME", default_value = "noname")]
    machine_room: String,
    /// Seconds between rounds.
    #[arg(short = 'i', long = "interval", value_name = "SECONDS", default_value_t = 10)]
    interval: u64,
}

/// What came of the messages to a broker.
struct BrokerRt {
    cluster: String,
    broker_name: String,
    took_ms: Vec<u64>,
    failed: usize,
}

impl SubCommand for ClusterRt {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let brokers = self.brokers(&terminal.admin).await?;
        let producer = terminal.admin.producer("TEST_PRODUCER_RT");
        if !self.print_log {
            terminal.print(&rt_header())?;
        }
        loop {
            for (cluster, broker_name) in &brokers {
                let rt = self.measure(&producer, cluster, broker_name).await;
                let text = match self.print_log {
                    true => {
                        let now = terminal.time.text(terminal.time.now_ms(), WITH_SECONDS);
                        log_line(&now, &self.machine_room, &rt)
                    }
                    false => rt_row(&rt),
                };
                terminal.print(&text)?;
            }
            tokio::time::sleep(Duration::from_secs(self.interval)).await;
        }
    }
}

impl ClusterRt {
    /// Clusters and names of brokers.
    async fn brokers(&self, admin: &MqAdminExt) -> Result<Vec<(String, String)>, AdminError> {
        let clusters = match &self.cluster {
            Some(cluster) => vec![cluster.clone()],
            None => {
                let info = admin.examine_broker_cluster_info().await?;
                info.cluster_addr_table.into_keys().collect()
            }
        };
        let mut brokers = Vec::new();
        for cluster in clusters {
            let names = admin.brokers_of_cluster(&cluster).await?.into_iter();
            brokers.extend(names.map(|broker| (cluster.clone(), broker.broker_name)));
        }
        Ok(brokers)
    }

    /// Every broker has a topic that is called as it is.
    async fn measure(&self, producer: &Producer, cluster: &str, broker_name: &str) -> BrokerRt {
        let (mut took_ms, mut failed) = (Vec::new(), 0);
        for _ in 0..self.amount {
            let begin = Instant::now();
            let sent = producer.send(sized_message(broker_name, self.message_bytes)).await;
            failed += usize::from(sent.is_err());
            took_ms.push(begin.elapsed().as_millis() as u64);
        }
        BrokerRt {
            cluster: cluster.to_owned(),
            broker_name: broker_name.to_owned(),
            took_ms,
            failed,
        }
    }
}

fn rt_header() -> String {
    let [cluster, broker, rt] = ["#Cluster Name", "#Broker Name", "#RT"];
    let [sent, failed] = ["#successCount", "#failCount"];
    format!("{cluster:<24}  {broker:<24}  {rt:<4}  {sent:<8}  {failed:<8}\n")
}

fn rt_row(rt: &BrokerRt) -> String {
    let BrokerRt { cluster, broker_name, took_ms, failed } = rt;
    let (average, sent) = (format!("{:.2}", average(took_ms)), took_ms.len() - failed);
    format!("{cluster:<24}  {broker_name:<24}  {average:<8}  {sent:<16}  {failed:<16}\n")
}

fn log_line(now: &str, machine_room: &str, rt: &BrokerRt) -> String {
    let BrokerRt { cluster, broker_name, took_ms, .. } = rt;
    format!("{now}|{machine_room}|{cluster}|{broker_name}|{:.0}\n", average(took_ms))
}

#[cfg(test)]
mod tests {
    use mq_client::SendStatus;

    use super::*;

    fn result(topic: &str, queue_id: i32, msg_id: &str, offset_msg_id: &str) -> SendResult {
        SendResult {
            send_status: SendStatus::SendOk,
            msg_id: msg_id.into(),
            offset_msg_id: offset_msg_id.into(),
            message_queue: MessageQueue {
                topic: topic.into(),
                broker_name: "broker-a".into(),
                queue_id,
            },
            queue_offset: 1,
            attempts: 1,
        }
    }

    #[test]
    fn results_are_printed_as_they_were_recorded() {
        let sent = result("TK", 1, "7F00000168F74E0E2F2A92B71EB60000", "");
        assert_eq!(sent_text(&sent), include_str!("../../fixtures/42-sendMessage.txt"));
        let (id, place) = ("7F00000169874E0E2F2A92B72FA70001", "7F00000100002A9F0000000000AB0CEE");
        let text = status_text(Duration::from_millis(8), &result("broker-a", 0, id, place));
        assert_eq!(text, include_str!("../../fixtures/43-sendMsgStatus.txt"));
    }

    #[test]
    fn times_are_printed_as_they_were_recorded() {
        let took = [1257, 5, 4, 9, 10];
        let mut text = table_row("#Broker Name", "#QID", "#Send Result", "#RT");
        for (rt, id) in took.iter().zip([0, 1, 2, 3, 0]) {
            text += &table_row("broker-a", &id.to_string(), "true", &rt.to_string());
        }
        text += &average_text(&took);
        assert_eq!(text, include_str!("../../fixtures/58-checkMsgSendRT.txt"));
    }

    #[test]
    fn brokers_are_printed_as_they_were_recorded() {
        let rt = |took_ms| BrokerRt {
            cluster: "C1".into(),
            broker_name: "broker-a".into(),
            took_ms,
            failed: 0,
        };
        let text = rt_header() + &rt_row(&rt(vec![7]));
        assert_eq!(text, include_str!("../../fixtures/59-clusterRT.txt"));
        assert!(rt_row(&rt(vec![100, 2, 3])).contains("  2.50      3  "));
        assert_eq!(log_line("now", "room", &rt(vec![9, 2, 4])), "now|room|C1|broker-a|3\n");
    }
}
