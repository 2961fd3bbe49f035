//! [`PullMessageProcessor`]: messages for consumers, PULL_MESSAGE (11) and LITE_PULL_MESSAGE (361)
//! (RocketMQ 4.9 `PullMessageProcessor`).
//!
//! A pull that finds nothing may be held; when it is woken, or its time is over, it is executed a
//! second time and answered whatever comes of it.

use std::sync::Arc;
use std::time::Duration;

use mq_protocol::body::heartbeat::{MessageModel, SQL92, SubscriptionData, TAG};
use mq_protocol::body::subscription_group::SubscriptionGroupConfig;
use mq_protocol::codes::ResponseCode;
use mq_protocol::header::pull_message::PullMessageRequestHeader;
use mq_protocol::message::RETRY_GROUP_TOPIC_PREFIX;
use mq_protocol::remoting_command::RemotingCommand;
use mq_protocol::sys_flag::{PermName, PullSysFlag};
use mq_remoting::{
    Channel, ProcessError, ProcessOutcome, ProcessResult, RequestProcessor, Responder,
};
use mq_store::config::UpstreamSwitch;
use mq_store::plant::{Plant, planted_on_this_thread};
use mq_store::{GetMessageResult, GetMessageStatus};
use tokio::time::Instant;

use super::pull_result::{PullRules, pull_response};
use super::{FAQ, no_property_filter, refuse};
use crate::broker_stats_manager::HandedOut;
use crate::consumer_manager::FoundSubscription;
use crate::context::BrokerContext;
use crate::held_pulls::HeldPull;
use crate::pull_request_hold::PullRequest;
use crate::subscription::{Subscription, SubscriptionKind};
use crate::subscription_group_manager::NoGroup;

/// A pull that asks for more is answered as if it asked for as many: a store looks at no fewer units of a
/// queue than messages that it is asked for. Clients of RocketMQ ask for 1,024 at most.
const MSG_NUMS_MAX: usize = 16_384;

/// What a subscription is told that cannot be read.
const PARSE_FAILED: &str = "parse the consumer's subscription failed";

/// What a group is told whose expression does not compile.
const NO_FILTER_DATA: &str =
    "The broker's consumer filter data is not exist!Your expression may be wrong!";

/// Answers 11 and 361.
pub(crate) struct PullMessageProcessor {
    context: Arc<BrokerContext>,
}

impl PullMessageProcessor {
    pub(crate) fn new(context: Arc<BrokerContext>) -> Self {
        PullMessageProcessor { context }
    }

    /// Answers a pull that was held. A group that was deleted meanwhile is made again, as by a pull that comes now.
    pub(crate) fn execute_again(&self, pull: PullRequest) {
        if pull.responder.channel().is_closed() {
            return;
        }
        if let Some(group) = self.context.groups.find(&pull.header.consumer_group) {
            return self.answer(pull, &group);
        }
        let pulls = PullMessageProcessor::new(Arc::clone(&self.context));
        self.context.env.tasks.spawn_until_cancelled("pull of a deleted group", async move {
            match pulls.context.groups.find_or_create(&pull.header.consumer_group).await {
                Ok(group) => pulls.answer(pull, &group),
                Err(missing) => pull.responder.respond(no_group(&pull.header, &missing)),
            }
        });
    }

    /// The second attempt of a pull, which is answered whatever comes of it.
    fn answer(&self, pull: PullRequest, group: &SubscriptionGroupConfig) {
        let PullRequest { header, carried, responder } = pull;
        let checked = check_pull(&self.context, &header, group, responder.channel());
        let response = match checked.and_then(|()| self.read(&header, group, carried)) {
            Ok(read) => read.response,
            Err(error) => refuse(error.code, error.remark),
        };
        responder.respond(response);
    }

    /// The first attempt: commits the offset that the pull carries, and holds it if it may wait.
    /// Nothing comes back for a pull that is held.
    fn execute(
        &self,
        mut header: PullMessageRequestHeader,
        group: &SubscriptionGroupConfig,
        responder: Responder,
    ) -> Option<RemotingCommand> {
        let refused = |error: ProcessError| Some(refuse(error.code, error.remark));
        let checked = check_pull(&self.context, &header, group, responder.channel());
        let carried = match checked.and_then(|()| self.carried_subscription(&mut header)) {
            Ok(carried) => carried,
            Err(error) => return refused(error),
        };
        let read = match self.read(&header, group, carried.clone()) {
            Ok(read) => read,
            Err(error) => return refused(error),
        };
        if PullSysFlag::has(header.sys_flag, PullSysFlag::COMMIT_OFFSET) && !self.context.is_slave()
        {
            // A refused commit does not fail the pull; it is logged where it is refused.
            let _ = self.context.commit_offset(
                responder.channel().id(),
                &header.consumer_group,
                &header.topic,
                header.queue_id,
                match planted_on_this_thread(Plant::PullCommitsItself) {
                    true => header.queue_offset,
                    false => header.commit_offset,
                },
            );
        }
        let may_wait = PullSysFlag::has(header.sys_flag, PullSysFlag::SUSPEND);
        if read.response.code == ResponseCode::PULL_NOT_FOUND && may_wait {
            let pull = PullRequest { header, carried, responder };
            return self.suspend(pull, read.subscription).err().and_then(refused);
        }
        Some(read.response)
    }

    /// Holds a pull that found nothing, unless too many are held.
    fn suspend(&self, pull: PullRequest, subscription: Subscription) -> Result<(), ProcessError> {
        let header = &pull.header;
        let config = self.context.live();
        let suspend_ms = if config.long_polling_enable {
            u64::try_from(header.suspend_timeout_ms).unwrap_or(0)
        } else {
            config.short_polling_time_ms
        };
        let hold = &self.context.pull_hold;
        let (topic, queue_id) = (header.topic.clone(), header.queue_id);
        let pull = HeldPull {
            pull_from_offset: header.queue_offset,
            deadline: hold.deadline(Duration::from_millis(suspend_ms)),
            filter: subscription.filter,
            channel: pull.responder.channel().id(),
            payload: pull,
        };
        let max_offset = || self.context.max_offset(&topic, queue_id);
        let held = hold.suspend(&topic, queue_id, pull, max_offset);
        held.map_err(|reached| ProcessError::new(ResponseCode::SYSTEM_BUSY, reached.to_string()))
    }

    /// Reads what a pull asks for that was checked.
    fn read(
        &self,
        header: &PullMessageRequestHeader,
        group: &SubscriptionGroupConfig,
        carried: Option<Subscription>,
    ) -> Result<Read, ProcessError> {
        let subscription = self.subscription(header, group, carried)?;
        let store = &self.context.store;
        let max_msg_nums = usize::try_from(header.max_msg_nums).unwrap_or(0).min(MSG_NUMS_MAX);
        // The queue id was checked.
        let queue_id = header.queue_id as u32;
        let mut result = match u64::try_from(header.queue_offset) {
            Ok(offset) => {
                let filter = &subscription.filter;
                store.get_message(&header.topic, queue_id, offset, max_msg_nums, filter)
            }
            Err(_) => self.read_below_zero(header, queue_id),
        };
        if result.status == GetMessageStatus::OffsetOverflowBadly {
            result.next_begin_offset = self.offset_to_resume_at(header, &result);
        }
        let config = self.context.live();
        let rules = PullRules {
            group,
            slave_read_enable: config.slave_read_enable,
            keeps_offsets: self.context.is_slave() && !store.config().offset_check_in_slave,
        };
        let begun = Instant::now();
        let response = pull_response(header, &result, &rules);
        if response.code == ResponseCode::SUCCESS {
            let handed_out = HandedOut {
                messages: result.messages.len() as u64,
                bytes: result.buffer_total_bytes as u64,
                latency: begun.elapsed(),
            };
            self.context.stats.get(&header.consumer_group, &header.topic, queue_id, handed_out);
        }
        Ok(Read { response, subscription })
    }

    /// Where a group goes on whose consumer stands beyond the queue's end. RocketMQ 4.9 sends it to
    /// the end, past everything that was stored since a truncation; its committed offset was
    /// moved to where the log ended then. A group without one goes to the end here, too, but for topics
    /// that were deleted and are there again: it has seen nothing of those.
    fn offset_to_resume_at(
        &self,
        header: &PullMessageRequestHeader,
        result: &GetMessageResult,
    ) -> u64 {
        let end = result.next_begin_offset;
        if self.context.store.config().upstream(UpstreamSwitch::OffsetsBeyondEnd)
            || planted_on_this_thread(Plant::ResumesAtTheEnd)
        {
            return end;
        }
        let PullMessageRequestHeader { consumer_group, topic, queue_id, .. } = header;
        let committed = self.context.tell_offset(consumer_group, topic, *queue_id);
        let committed = committed.and_then(|offset| u64::try_from(offset).ok());
        let begins_anew = || self.context.store.was_deleted(topic);
        match committed {
            Some(offset) => offset.max(result.min_offset).min(end),
            None if begins_anew() => result.min_offset,
            None => end,
        }
    }

    /// What a pull from a negative offset gives.
    fn read_below_zero(
        &self,
        header: &PullMessageRequestHeader,
        queue_id: u32,
    ) -> GetMessageResult {
        let store = &self.context.store;
        let min_offset = store.min_offset_in_queue(&header.topic, queue_id);
        let max_offset = store.max_offset_in_queue(&header.topic, queue_id);
        let is_empty = max_offset == 0;
        GetMessageResult {
            status: if is_empty {
                GetMessageStatus::NoMessageInQueue
            } else {
                GetMessageStatus::OffsetTooSmall
            },
            next_begin_offset: min_offset,
            min_offset,
            max_offset,
            messages: Vec::new(),
            buffer_total_bytes: 0,
            suggest_pulling_from_slave: false,
        }
    }

    /// The subscription that a request carries, if it does; taken out of its header, which may be held.
    fn carried_subscription(
        &self,
        header: &mut PullMessageRequestHeader,
    ) -> Result<Option<Subscription>, ProcessError> {
        let expression = header.subscription.take();
        let expression_type = header.expression_type.take();
        header.broker_name = None;
        if !PullSysFlag::has(header.sys_flag, PullSysFlag::SUBSCRIPTION) {
            return Ok(None);
        }
        let expression = expression.as_deref().unwrap_or_default();
        let parse_failed =
            |remark| ProcessError::new(ResponseCode::SUBSCRIPTION_PARSE_FAILED, remark);
        let (topic, sub_version) = (&header.topic, header.sub_version);
        let subscription = match expression_type {
            Some(other) if !(other.is_empty() || other == TAG) => {
                SubscriptionData::by_expression(topic, other, expression, sub_version)
            }
            _ => {
                // Counted before anything is made of them.
                let checked = self.context.consumers.check_tags(expression.split("||").count());
                checked.map_err(|reached| parse_failed(reached.to_string()))?;
                SubscriptionData::by_tags(topic, expression, sub_version)
                    .map_err(|_| parse_failed(PARSE_FAILED.to_owned()))?
            }
        };
        let subscription = Subscription::from(&subscription);
        match &subscription.kind {
            SubscriptionKind::Broken(why) => Err(parse_failed(format!("{PARSE_FAILED}: {why}"))),
            _ => Ok(Some(subscription)),
        }
    }

    /// The subscription that the request carries, or else the group's.
    fn subscription(
        &self,
        header: &PullMessageRequestHeader,
        group: &SubscriptionGroupConfig,
        carried: Option<Subscription>,
    ) -> Result<Subscription, ProcessError> {
        let subscription = match carried {
            Some(carried) => carried,
            None => self.registered_subscription(header, group)?,
        };
        let config = self.context.live();
        if !subscription.is_tag_type() && !config.enable_property_filter {
            return Err(no_property_filter(SQL92));
        }
        let is_retry = header.topic.starts_with(RETRY_GROUP_TOPIC_PREFIX);
        match self.context.consumers.expressions(&header.consumer_group) {
            Some(expressions) if is_retry && config.filter_support_retry => {
                Ok(subscription.with_retried(expressions))
            }
            _ => Ok(subscription),
        }
    }

    fn registered_subscription(
        &self,
        header: &PullMessageRequestHeader,
        group: &SubscriptionGroupConfig,
    ) -> Result<Subscription, ProcessError> {
        let name = &header.consumer_group;
        let found = self.context.consumers.find_subscription(name, &header.topic);
        let (model, subscription) = match found {
            FoundSubscription::NoGroup => {
                let remark = format!("the consumer's group info not exist{FAQ}");
                return Err(ProcessError::new(ResponseCode::SUBSCRIPTION_NOT_EXIST, remark));
            }
            FoundSubscription::NoTopic(model) => (model, None),
            FoundSubscription::Found(model, subscription) => (model, Some(subscription)),
        };
        if model == MessageModel::Broadcasting && !group.consume_broadcast_enable {
            let remark = format!("the consumer group[{name}] can not consume by broadcast way");
            return Err(ProcessError::new(ResponseCode::NO_PERMISSION, remark));
        }
        let Some(subscription) = subscription else {
            let remark = format!("the consumer's subscription not exist{FAQ}");
            return Err(ProcessError::new(ResponseCode::SUBSCRIPTION_NOT_EXIST, remark));
        };
        if subscription.sub_version < header.sub_version {
            let remark = "the consumer's subscription not latest";
            return Err(ProcessError::new(ResponseCode::SUBSCRIPTION_NOT_LATEST, remark));
        }
        if let SubscriptionKind::Broken(why) = &subscription.kind {
            let remark = format!("{NO_FILTER_DATA} {why}");
            return Err(ProcessError::new(ResponseCode::FILTER_DATA_NOT_EXIST, remark));
        }
        Ok(subscription)
    }
}

impl RequestProcessor for PullMessageProcessor {
    fn process(&self, channel: &Channel, request: RemotingCommand) -> ProcessResult {
        let header: PullMessageRequestHeader = request.header()?;
        if !PermName::is_readable(self.context.live().broker_permission as i32) {
            let ip = self.context.store_host.ip();
            let remark = format!("the broker[{ip}] pulling message is forbidden");
            return Ok(refuse(ResponseCode::NO_PERMISSION, remark).into());
        }
        let responder = channel.responder(&request);
        if let Some(group) = self.context.groups.find(&header.consumer_group) {
            let response = self.execute(header, &group, responder);
            return Ok(response.map_or(ProcessOutcome::Silent, ProcessOutcome::Reply));
        }
        let pulls = PullMessageProcessor::new(Arc::clone(&self.context));
        Ok(ProcessOutcome::later(async move {
            match pulls.context.groups.find_or_create(&header.consumer_group).await {
                Ok(group) => Ok(pulls.execute(header, &group, responder)),
                Err(missing) => Ok(Some(no_group(&header, &missing))),
            }
        }))
    }
}

/// A read, and what was wanted of it.
struct Read {
    response: RemotingCommand,
    subscription: Subscription,
}

fn no_group(header: &PullMessageRequestHeader, missing: &NoGroup) -> RemotingCommand {
    let (group, reason) = (&header.consumer_group, missing.reason());
    let remark = format!("subscription group [{group}] does not exist, {FAQ}{reason}");
    refuse(ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST, remark)
}

/// What can be said before the subscription is known.
fn check_pull(
    context: &BrokerContext,
    header: &PullMessageRequestHeader,
    group: &SubscriptionGroupConfig,
    channel: &Channel,
) -> Result<(), ProcessError> {
    let name = &header.topic;
    if !group.consume_enable {
        let remark = format!("subscription group no permission, {}", header.consumer_group);
        return Err(ProcessError::new(ResponseCode::NO_PERMISSION, remark));
    }
    let Some(topic) = context.topics.select_topic_config(name) else {
        let remark = format!("topic[{name}] not exist, apply first please! {FAQ}");
        return Err(ProcessError::new(ResponseCode::TOPIC_NOT_EXIST, remark));
    };
    if !PermName::is_readable(topic.perm) {
        let remark = format!("the topic[{name}] pulling message is forbidden");
        return Err(ProcessError::new(ResponseCode::NO_PERMISSION, remark));
    }
    if !(0..topic.read_queue_nums).contains(&header.queue_id) {
        let remark = format!(
            "queueId[{}] is illegal, topic:[{name}] topicConfig.readQueueNums:[{}] consumer:[/{}]",
            header.queue_id,
            topic.read_queue_nums,
            channel.peer_addr()
        );
        return Err(ProcessError::new(ResponseCode::SYSTEM_ERROR, remark));
    }
    Ok(())
}
