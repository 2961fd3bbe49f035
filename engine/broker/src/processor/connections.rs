//! Who is connected: a consumer group (203), a producer group (204), all producers (328) (RocketMQ 4.9
//! `AdminBrokerProcessor`).

use mq_protocol::body::connection::{
    Connection, ConsumerConnection, ProducerConnection, ProducerInfo, ProducerTableInfo,
};
use mq_protocol::codes::ResponseCode;
use mq_protocol::header::admin::GetProducerConnectionListRequestHeader;
use mq_protocol::header::client::ConsumerGroupRequestHeader;
use mq_remoting::ProcessError;

use crate::client_channel::ClientChannelInfo;
use crate::context::BrokerContext;
use crate::now_ms;

/// Answers 203.
pub(super) fn consumer_connections(
    context: &BrokerContext,
    header: &ConsumerGroupRequestHeader,
) -> Result<ConsumerConnection, ProcessError> {
    let group = &header.consumer_group;
    let Some(found) = context.consumers.describe(group) else {
        let remark = format!("the consumer group[{group}] not online");
        return Err(ProcessError::new(ResponseCode::CONSUMER_NOT_ONLINE, remark));
    };
    let subscriptions = found.subscriptions.iter();
    Ok(ConsumerConnection {
        connection_set: found.members.iter().map(connection).collect(),
        consume_from_where: found.consume_from_where,
        consume_type: found.consume_type,
        message_model: found.message_model,
        subscription_table: subscriptions
            .map(|(topic, it)| (topic.clone(), (**it).clone()))
            .collect(),
    })
}

/// Answers 204.
pub(super) fn producer_connections(
    context: &BrokerContext,
    header: &GetProducerConnectionListRequestHeader,
) -> Result<ProducerConnection, ProcessError> {
    let group = &header.producer_group;
    let members = context.producers.members(group);
    let members = members
        .ok_or_else(|| ProcessError::system(format!("the producer group[{group}] not exist")))?;
    Ok(ProducerConnection { connection_set: members.iter().map(connection).collect() })
}

/// Answers 328.
pub(super) fn all_producers(context: &BrokerContext) -> ProducerTableInfo {
    let now_ms = now_ms(&*context.env.clock);
    let info = |client: &ClientChannelInfo| ProducerInfo {
        client_id: client.client_id.to_string(),
        language: client.language.name().to_owned(),
        last_update_timestamp: now_ms - client.last_update.elapsed().as_millis() as i64,
        remote_ip: format!("/{}", client.channel.peer_addr()),
        version: client.version,
    };
    let groups = context.producers.table().into_iter();
    let data = groups.map(|(group, members)| (group, members.iter().map(info).collect()));
    ProducerTableInfo { data: data.collect() }
}

fn connection(client: &ClientChannelInfo) -> Connection {
    Connection {
        client_addr: client.channel.peer_addr().to_string(),
        client_id: client.client_id.to_string(),
        language: client.language.name().to_owned(),
        version: client.version,
    }
}
