//! What an operator asks of brokers while a story goes on: topics are made, or get more queues, and consumer groups go on
//! elsewhere (RocketMQ 4.9 `mqadmin updateTopic`, `resetOffsetByTime`). Whatever brokers say is what the history keeps.

use std::time::Duration;

use futures::future::join_all;
use mq_env::Env;
use mq_protocol::body::offset_table::ResetOffsetBody;
use mq_protocol::body::topic_config::{TopicConfig, TopicConfigSerializeWrapper};
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::fastjson::from_slice;
use mq_protocol::header::admin::CreateTopicRequestHeader;
use mq_protocol::header::client::ResetOffsetRequestHeader;
use mq_protocol::header::offset::{
    OffsetResponseHeader, QueryConsumerOffsetRequestHeader, QueryConsumerOffsetResponseHeader,
    QueueRequestHeader, SearchOffsetRequestHeader, UpdateConsumerOffsetRequestHeader,
};
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{ProcessorTable, RemotingClient, RemotingClientConfig, RemotingError};
use staticfire_judge::history::{OffsetReset, QueueKey};
use tokio::time::{Instant, sleep, timeout};

use super::Cluster;
use crate::plan::{ResetTo, WorkloadPlan};
use crate::run::error::StandError;

/// Process of the operator.
const OPERATOR: &str = "operator";

/// For how long an operator tries, once a second.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// After so long an operator's process sleeps.
const ERRAND_LIMIT: Duration = Duration::from_secs(300);

/// How long an answer may take.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// The timestamp of a reset that means the end of a queue.
const END_OF_QUEUE: i64 = -1;

/// A consumer group that goes on elsewhere in a topic.
#[derive(Clone)]
pub(super) struct Reset {
    /// `brokerName`, and where its master is.
    broker_name: String,
    address: String,
    topic: String,
    group: String,
    pub(super) queues: i32,
    to: ResetTo,
}

/// What came of it at one broker.
#[derive(Default)]
pub(super) struct Moved {
    /// Queue ids with the offsets before and after.
    pub(super) queues: Vec<(i32, Option<i64>, i64)>,
    /// Why it came to nothing.
    pub(super) failed: Option<String>,
    /// An answer was lost: where the group was sent to is not known.
    pub(super) is_open: bool,
}

impl Moved {
    /// It came to nothing.
    pub(super) fn to_nothing(why: String) -> Self {
        Moved { failed: Some(why), ..Moved::default() }
    }
}

impl Cluster {
    /// Makes a topic on the masters of its workloads, or gives it more queues.
    pub(super) async fn create_topic(&self, topic: &str, queues: u32) {
        let what = format!("create_topic {topic} ({queues} queues)");
        let known = self.queues_of(topic);
        if known.is_some_and(|known| known >= queues) {
            return self.had_no_effect(&what, "it has as many already");
        }
        let masters = self.masters_with(topic);
        let name = topic.to_owned();
        let may_be_there = self.deleted_topics.borrow().contains(topic);
        let made = self.errand(move |env| async move {
            let client = new_client(&env);
            let making = masters.iter().map(async |(_, to)| {
                // Whoever sends by an old route brings it back, with queues that nobody may take away then.
                let present = match may_be_there {
                    true => queues_at(&client, to, &name).await,
                    false => 0,
                };
                create_topic(&client, to, &name, queues.max(present)).await
            });
            let made = join_all(making).await;
            client.shutdown().await;
            made
        });
        let made = made.await.unwrap_or_else(|why| vec![Err(StandError::NotDone(why))]);
        if made.iter().any(Result::is_ok) {
            self.topics.borrow_mut().insert(topic.to_owned(), queues);
            self.deleted_topics.borrow_mut().remove(topic);
        } else if let Some(Err(error)) = made.into_iter().next() {
            self.had_no_effect(&what, &error.to_string());
        }
    }

    /// Queues per broker group of a topic; `None` as long as nobody has made it.
    #[must_use]
    pub fn queues_of(&self, topic: &str) -> Option<u32> {
        self.topics.borrow().get(topic).copied()
    }

    /// Has a consumer group go on elsewhere.
    pub(super) async fn reset_offset(&self, group: &str, topic: &str, to: ResetTo) {
        let what = format!("reset_offset {group} ({topic}, {to})");
        let ordinal = self.trace().len() as u64;
        let resets = self.resets(group, topic, to);
        let orders = resets.clone();
        let moved = self.errand(move |env| async move {
            let client = new_client(&env);
            let now_ms = i64::try_from(env.clock.now_millis()).unwrap_or(i64::MAX);
            let until = Instant::now() + PATIENCE;
            let moved = orders.iter().map(|it| it.carry_out(&client, now_ms, until));
            let moved = join_all(moved).await;
            client.shutdown().await;
            moved
        });
        let moved = moved.await.unwrap_or_else(|why| {
            let nothing = |_: &Reset| Moved { is_open: true, ..Moved::to_nothing(why.clone()) };
            resets.iter().map(nothing).collect()
        });
        let failures = moved.iter().filter_map(|it| it.failed.clone());
        let is_moved = |(_, before, after): &(i32, Option<i64>, i64)| before.unwrap_or(0) != *after;
        if !moved.iter().flat_map(|it| &it.queues).any(is_moved) {
            let why = failures.clone().next();
            self.had_no_effect(
                &what,
                &why.unwrap_or_else(|| "the group is there already".to_owned()),
            );
        }
        for (reset, moved) in resets.iter().zip(&moved) {
            self.note_reset(reset, moved, ordinal);
        }
    }

    /// What is to be reset of a group, by broker group.
    pub(super) fn resets(&self, group: &str, topic: &str, to: ResetTo) -> Vec<Reset> {
        let queues = i32::try_from(self.queues_of(topic).unwrap_or_default()).unwrap_or(i32::MAX);
        let resets = self.masters_with(topic).into_iter().map(|(broker_name, address)| Reset {
            broker_name,
            address,
            topic: topic.to_owned(),
            group: group.to_owned(),
            queues,
            to,
        });
        resets.collect()
    }

    pub(super) fn note_reset(&self, reset: &Reset, moved: &Moved, ordinal: u64) {
        let Some(traffic) = self.traffic.get() else { return };
        let trace = self.trace();
        // A lost answer may have sent the group anywhere, but for the beginning.
        let anywhere = moved.is_open && reset.to != ResetTo::Earliest;
        let all = (0..reset.queues).map(|queue_id| (queue_id, None, 0));
        let queues = if moved.queues.is_empty() { all.collect() } else { moved.queues.clone() };
        for (queue_id, before, after) in queues {
            let known = |offset: i64| u64::try_from(offset).unwrap_or_default();
            let reset = OffsetReset {
                consumer_group: trace.name(&reset.group),
                queue: QueueKey {
                    group: trace.name(&reset.broker_name),
                    topic: trace.name(&reset.topic),
                    queue_id: queue_id.unsigned_abs(),
                },
                from: before.map_or(0, known),
                to: if anywhere { u64::MAX } else { known(after) },
                at_us: trace.now_us(),
                ordinal,
            };
            if moved.failed.is_none() || anywhere {
                traffic.history().offset_resets.push(reset);
            }
        }
    }

    /// The masters of the broker groups whose queues workloads use for a topic, by `brokerName`.
    pub(super) fn masters_with(&self, topic: &str) -> Vec<(String, String)> {
        let works: Vec<&WorkloadPlan> =
            self.workloads.iter().filter(|work| work.topic == topic).collect();
        let mut groups: Vec<String> = self.brokers.values().map(|it| it.group()).collect();
        groups.sort();
        groups.dedup();
        let used = groups.into_iter().filter(|group| works.iter().any(|it| it.uses(group)));
        used.filter_map(|group| Some((group.clone(), self.master_of(&group)?.address()))).collect()
    }

    /// Has the operator's process do something.
    pub(super) async fn errand<T: 'static, F: Future<Output = T> + 'static>(
        &self,
        code: impl FnOnce(Env) -> F + 'static,
    ) -> Result<T, String> {
        let operator = self.node(OPERATOR);
        match timeout(ERRAND_LIMIT, operator.run(code)).await {
            Ok(done) => done.map_err(|_| "the operator's process does not run".to_owned()),
            Err(_) => Err("the operator came to no end".to_owned()),
        }
    }
}

impl Reset {
    /// As `resetOffsetByTime` does: by way of the members, and without any by commits in the group's name.
    async fn carry_out(&self, client: &RemotingClient, now_ms: i64, until: Instant) -> Moved {
        let mut before = Vec::new();
        for queue_id in 0..self.queues {
            match self.committed(client, queue_id, until).await {
                Ok(offset) => before.push(offset),
                Err(why) => return Moved::to_nothing(why),
            }
        }
        let timestamp = match self.to {
            ResetTo::Earliest => 0,
            ResetTo::Latest => END_OF_QUEUE,
            ResetTo::Before(ago) => now_ms.saturating_sub_unsigned(ago.0).max(0),
        };
        let (topic, group) = (self.topic.clone(), self.group.clone());
        let header = ResetOffsetRequestHeader { topic, group, timestamp, is_force: true };
        let request =
            || RemotingCommand::request(RequestCode::INVOKE_BROKER_TO_RESET_OFFSET, &header);
        let stays = (0..).zip(&before).map(|(queue_id, at)| (queue_id, *at, at.unwrap_or(0)));
        let failed = Some(format!("{} did not answer in time", self.broker_name));
        let mut moved = Moved { queues: stays.collect(), failed, is_open: false };
        while Instant::now() < until {
            match client.invoke(&self.address, request(), ANSWER_TIMEOUT).await {
                Ok(answer) if answer.code == ResponseCode::SUCCESS => {
                    moved.failed = None;
                    moved.queues = told(&answer, &before);
                    return moved;
                }
                Ok(answer) if answer.code == ResponseCode::CONSUMER_NOT_ONLINE => {
                    return self.commit(client, timestamp, &before, until).await;
                }
                Ok(answer) => moved.failed = Some(refusal(&answer)),
                Err(error) => {
                    moved.is_open |= !matches!(error, RemotingError::Connect { .. });
                    moved.failed = Some(error.to_string());
                }
            }
            sleep(Duration::from_secs(1)).await;
        }
        moved
    }

    /// Commits in the name of a group without members.
    async fn commit(
        &self,
        client: &RemotingClient,
        timestamp: i64,
        before: &[Option<i64>],
        until: Instant,
    ) -> Moved {
        let mut moved = Moved::default();
        for (queue_id, before) in (0..).zip(before) {
            let target = match self.target(client, queue_id, timestamp, until).await {
                Ok(target) => target,
                Err(why) => {
                    moved.failed = Some(why);
                    break;
                }
            };
            // What is not answered may have been carried out.
            moved.queues.push((queue_id, *before, target));
            let header = UpdateConsumerOffsetRequestHeader {
                consumer_group: self.group.clone(),
                topic: self.topic.clone(),
                queue_id,
                commit_offset: target,
            };
            let code = RequestCode::UPDATE_CONSUMER_OFFSET;
            let request = || RemotingCommand::request(code, &header);
            if let Err(why) = self.ask(client, request, until).await {
                moved.failed = Some(why);
                break;
            }
        }
        if !moved.queues.is_empty() {
            moved.failed = None;
        }
        moved
    }

    /// Where the group stands in a queue, if anywhere.
    pub(super) async fn committed(
        &self,
        client: &RemotingClient,
        queue_id: i32,
        until: Instant,
    ) -> Result<Option<i64>, String> {
        let (consumer_group, topic) = (self.group.clone(), self.topic.clone());
        let header = QueryConsumerOffsetRequestHeader { consumer_group, topic, queue_id };
        let request = || RemotingCommand::request(RequestCode::QUERY_CONSUMER_OFFSET, &header);
        let answer = self.ask(client, request, until).await?;
        if answer.code == ResponseCode::QUERY_NOT_FOUND {
            return Ok(None);
        }
        let header = answer.header::<QueryConsumerOffsetResponseHeader>();
        header.map(|it| Some(it.offset)).map_err(|error| error.to_string())
    }

    /// The offset of a queue that a timestamp means.
    async fn target(
        &self,
        client: &RemotingClient,
        queue_id: i32,
        timestamp: i64,
        until: Instant,
    ) -> Result<i64, String> {
        let topic = self.topic.clone();
        let request = || match timestamp {
            END_OF_QUEUE => {
                let header = QueueRequestHeader { topic: topic.clone(), queue_id };
                RemotingCommand::request(RequestCode::GET_MAX_OFFSET, &header)
            }
            timestamp => {
                let header =
                    SearchOffsetRequestHeader { topic: topic.clone(), queue_id, timestamp };
                RemotingCommand::request(RequestCode::SEARCH_OFFSET_BY_TIMESTAMP, &header)
            }
        };
        let answer = self.ask(client, request, until).await?;
        let header = answer.header::<OffsetResponseHeader>();
        header.map(|it| it.offset).map_err(|error| error.to_string())
    }

    /// Asks until the broker says yes, or that there is nothing.
    pub(super) async fn ask(
        &self,
        client: &RemotingClient,
        request: impl Fn() -> RemotingCommand,
        until: Instant,
    ) -> Result<RemotingCommand, String> {
        let mut last = String::new();
        while Instant::now() < until {
            match client.invoke(&self.address, request(), ANSWER_TIMEOUT).await {
                Ok(answer)
                    if [ResponseCode::SUCCESS, ResponseCode::QUERY_NOT_FOUND]
                        .contains(&answer.code) =>
                {
                    return Ok(answer);
                }
                Ok(answer) => last = refusal(&answer),
                Err(error) => last = error.to_string(),
            }
            sleep(Duration::from_secs(1)).await;
        }
        Err(format!("{}: {last}", self.broker_name))
    }
}

/// The offsets that a broker says it sent a group to, beside those before.
fn told(answer: &RemotingCommand, before: &[Option<i64>]) -> Vec<(i32, Option<i64>, i64)> {
    let body: ResetOffsetBody = from_slice(&answer.body).unwrap_or_default();
    let queues = body.offset_table.into_iter().map(|(queue, offset)| {
        let index = usize::try_from(queue.queue_id).unwrap_or(usize::MAX);
        (queue.queue_id, before.get(index).copied().flatten(), offset)
    });
    queues.collect()
}

pub(super) fn refusal(answer: &RemotingCommand) -> String {
    format!("code {}: {}", answer.code, answer.remark.as_deref().unwrap_or_default())
}

pub(super) fn new_client(env: &Env) -> RemotingClient {
    let remoting = RemotingClientConfig::default();
    RemotingClient::new(env.clone(), remoting, ProcessorTable::default())
}

/// Creates a topic as an operator does, or gives it more queues, trying until the broker is up.
///
/// # Errors
/// Its last refusal.
pub(in crate::run) async fn create_topic(
    client: &RemotingClient,
    address: &str,
    topic: &str,
    queues: u32,
) -> Result<(), StandError> {
    let header = CreateTopicRequestHeader::new(topic, i32::try_from(queues).unwrap_or(i32::MAX));
    let request = || RemotingCommand::request(RequestCode::UPDATE_AND_CREATE_TOPIC, &header);
    insist(client, address, &format!("topic {topic}"), request).await
}

/// How many queues a broker has of a topic, as far as it says so.
async fn queues_at(client: &RemotingClient, address: &str, topic: &str) -> u32 {
    let request = RemotingCommand::request(RequestCode::GET_ALL_TOPIC_CONFIG, &());
    let Ok(response) = client.invoke(address, request, ANSWER_TIMEOUT).await else { return 0 };
    let Ok(table) = from_slice::<TopicConfigSerializeWrapper>(&response.body) else { return 0 };
    let nums = |it: &TopicConfig| it.read_queue_nums.max(it.write_queue_nums);
    table.topic_config_table.get(topic).map_or(0, nums).try_into().unwrap_or_default()
}

/// Sends a request for `what` until the broker is up and carries it out.
///
/// # Errors
/// Its last refusal.
pub(in crate::run) async fn insist(
    client: &RemotingClient,
    address: &str,
    what: &str,
    request: impl Fn() -> RemotingCommand,
) -> Result<(), StandError> {
    let mut last = String::new();
    for _ in 0..60 {
        match client.invoke(address, request(), ANSWER_TIMEOUT).await {
            Ok(response) if response.code == ResponseCode::SUCCESS => return Ok(()),
            Ok(response) => last = format!("code {}: {:?}", response.code, response.remark),
            Err(error) => last = error.to_string(),
        }
        sleep(Duration::from_millis(500)).await;
    }
    Err(StandError::NotMade { what: what.to_owned(), address: address.to_owned(), last })
}
