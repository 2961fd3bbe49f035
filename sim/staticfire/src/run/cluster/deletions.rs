//! An operator deletes a topic: on the master of every broker group in use, then at every name server; or a consumer
//! group, with what it had committed (RocketMQ 4.9 `mqadmin deleteTopic`, `deleteSubGroup`). Whatever the brokers say is what
//! the history keeps.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::header::admin::DeleteSubscriptionGroupRequestHeader;
use mq_protocol::header::namesrv::DeleteTopicRequestHeader;
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{RemotingClient, RemotingError};
use staticfire_judge::history::TopicDeletion;
use tokio::time::{Instant, sleep};

use super::Cluster;
use super::operator::{ANSWER_TIMEOUT, Moved, PATIENCE, Reset, new_client, refusal};
use crate::plan::ResetTo;

/// What came of it at one server.
#[derive(Default)]
struct Asked {
    /// Requests that may have arrived.
    times: u32,
    /// Why it came to nothing; `None` once the server has confirmed it.
    failed: Option<String>,
}

impl Cluster {
    /// Deletes a topic.
    pub(super) async fn delete_topic(&self, topic: &str) {
        let (trace, masters) = (self.trace().clone(), self.masters_with(topic));
        let (at_us, ordinal) = (trace.now_us(), trace.len() as u64);
        let (orders, namesrvs) = (masters.clone(), self.namesrv_addrs());
        let name = topic.to_owned();
        let asked = self.errand(move |env| async move {
            let client = new_client(&env);
            let until = Instant::now() + PATIENCE;
            let code = RequestCode::DELETE_TOPIC_IN_BROKER;
            let brokers = orders.iter().map(|(_, to)| ask(&client, to, code, &name, until));
            let asked = join_all(brokers).await;
            let code = RequestCode::DELETE_TOPIC_IN_NAMESRV;
            let servers = namesrvs.iter().map(|to| ask(&client, to, code, &name, until));
            join_all(servers).await;
            client.shutdown().await;
            asked
        });
        // Of an operator that did not come back nobody knows what he had asked.
        let asked = asked.await.unwrap_or_else(|why| {
            let open = |_: &_| Asked { times: u32::MAX, failed: Some(why.clone()) };
            masters.iter().map(open).collect()
        });
        if let Some(Some(why)) = asked.iter().map(|it| it.failed.clone()).reduce(Option::and) {
            self.had_no_effect(&format!("delete_topic {topic}"), &why);
        }
        if asked.iter().any(|it| it.times > 0) {
            self.topics.borrow_mut().remove(topic);
            self.deleted_topics.borrow_mut().insert(topic.to_owned());
        }
        let Some(traffic) = self.traffic.get() else { return };
        for ((group, _), asked) in masters.iter().zip(asked) {
            let deletion = TopicDeletion {
                topic: trace.name(topic),
                group: trace.name(group),
                asked: asked.times,
                is_confirmed: asked.failed.is_none(),
                at_us,
                ordinal,
                ended_us: trace.now_us(),
                ended: trace.len() as u64,
            };
            traffic.history().deletions.push(deletion);
        }
    }

    /// Deletes a consumer group. Who comes to its queues next is told that it has committed nothing.
    pub(super) async fn delete_group(&self, group: &str) {
        let topics: BTreeSet<String> = self
            .workloads
            .iter()
            .filter(|work| work.all_consumer_groups().iter().any(|it| it.name == group))
            .map(|work| work.topic.clone())
            .collect();
        let ordinal = self.trace().len() as u64;
        let resets: Vec<Reset> =
            topics.iter().flat_map(|topic| self.resets(group, topic, ResetTo::Earliest)).collect();
        let (orders, name) = (resets.clone(), group.to_owned());
        let moved = self.errand(move |env| async move {
            let client = new_client(&env);
            let until = Instant::now() + PATIENCE;
            let moved = orders.iter().map(|it| it.forget(&client, &name, until));
            let moved = join_all(moved).await;
            client.shutdown().await;
            moved
        });
        let moved = moved
            .await
            .unwrap_or_else(|why| resets.iter().map(|_| Moved::to_nothing(why.clone())).collect());
        if let Some(Some(why)) = moved.iter().map(|it| it.failed.clone()).reduce(Option::and) {
            self.had_no_effect(&format!("delete_group {group}"), &why);
        }
        for (reset, moved) in resets.iter().zip(&moved) {
            self.note_reset(reset, moved, ordinal);
        }
    }

    /// Whether a topic was deleted, and may be there again because somebody sent to it.
    pub(in crate::run) fn was_deleted(&self, topic: &str) -> bool {
        self.deleted_topics.borrow().contains(topic)
    }
}

impl Reset {
    /// Has the broker forget the group, and what it had committed.
    async fn forget(&self, client: &RemotingClient, group: &str, until: Instant) -> Moved {
        let mut queues = Vec::new();
        for queue_id in 0..self.queues {
            match self.committed(client, queue_id, until).await {
                Ok(before) => queues.push((queue_id, before, 0)),
                Err(why) => return Moved::to_nothing(why),
            }
        }
        let group_name = group.to_owned();
        let header = DeleteSubscriptionGroupRequestHeader { group_name, remove_offset: true };
        let code = RequestCode::DELETE_SUBSCRIPTIONGROUP;
        let request = || RemotingCommand::request(code, &header);
        // What is not answered may have been carried out: the group is where it was, or at the begin.
        let failed = self.ask(client, request, until).await.err();
        Moved { queues, failed: None, is_open: failed.is_some() }
    }
}

/// Asks until the server says yes.
async fn ask(
    client: &RemotingClient,
    address: &str,
    code: i32,
    topic: &str,
    until: Instant,
) -> Asked {
    let header = DeleteTopicRequestHeader { topic: topic.to_owned(), cluster_name: None };
    let mut asked = Asked { times: 0, failed: Some(format!("{address} was not asked in time")) };
    while Instant::now() < until {
        let request = RemotingCommand::request(code, &header);
        match client.invoke(address, request, ANSWER_TIMEOUT).await {
            Err(error @ RemotingError::Connect { .. }) => asked.failed = Some(error.to_string()),
            answer => {
                asked.times += 1;
                match answer {
                    Ok(answer) if answer.code == ResponseCode::SUCCESS => {
                        return Asked { failed: None, ..asked };
                    }
                    Ok(answer) => asked.failed = Some(refusal(&answer)),
                    Err(error) => asked.failed = Some(error.to_string()),
                }
            }
        }
        sleep(Duration::from_secs(1)).await;
    }
    asked
}
