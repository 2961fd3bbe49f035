//! Typed bodies against recorded JSON.

use std::collections::BTreeMap;

use mq_protocol::body::cluster::*;
use mq_protocol::body::connection::*;
use mq_protocol::body::consume_stats::*;
use mq_protocol::body::heartbeat::*;
use mq_protocol::body::lock::*;
use mq_protocol::body::offset_table::*;
use mq_protocol::body::running_info::*;
use mq_protocol::body::subscription_group::*;
use mq_protocol::body::tables::*;
use mq_protocol::body::topic_config::*;
use mq_protocol::body::topic_route::TopicRouteData;
use mq_protocol::fastjson::{Json, JsonReadError, from_slice, to_bytes};
use mq_protocol::header::namesrv::{GetRouteInfoRequestHeader, RegisterBrokerRequestHeader};
use mq_protocol::remoting_command::RemotingCommand;

use super::fixture::{Row, rows};

fn again<T: Json>(body: &[u8]) -> Result<Vec<u8>, JsonReadError> {
    from_slice::<T>(body).map(|value| to_bytes(&value).to_vec())
}

/// The body written again from its value, `None` for bodies that are no JSON.
fn body_again(
    row: &Row,
    command: &RemotingCommand,
    request: Option<&RemotingCommand>,
) -> Option<Result<Vec<u8>, JsonReadError>> {
    let body = &command.body[..];
    Some(match (row.is_response(), row.request_code?) {
        (false, 34) => again::<HeartbeatData>(body),
        (false, 41 | 42) => again::<LockBatchRequestBody>(body),
        (false, 46) => again::<CheckClientRequestBody>(body),
        (false, 103) => register_body(command),
        (false, 200) => again::<SubscriptionGroupConfig>(body),
        (false, 220) | (true, 222) => again::<ResetOffsetBody>(body),
        (_, 322) => again::<DataVersion>(body),
        (true, 21) => again::<TopicConfigSerializeWrapper>(body),
        (true, 28 | 103 | 219) => again::<KvTable>(body),
        (true, 38) => again::<GetConsumerListByGroupResponseBody>(body),
        (true, 41) => again::<LockBatchResponseBody>(body),
        (true, 43) => again::<ConsumerOffsetSerializeWrapper>(body),
        (true, 45) => again::<DelayOffsetSerializeWrapper>(body),
        (true, 105) => route(body, request?),
        (true, 106) => again::<ClusterInfo>(body),
        (true, 201) => again::<SubscriptionGroupWrapper>(body),
        (true, 202) => again::<TopicStatsTable>(body),
        (true, 203) => again::<ConsumerConnection>(body),
        (true, 204) => again::<ProducerConnection>(body),
        (true, 206 | 224 | 304 | 305 | 311) => again::<TopicList>(body),
        (true, 208) => again::<ConsumeStats>(body),
        (true, 221 | 223) => again::<GetConsumerStatusBody>(body),
        (true, 300) => again::<GroupList>(body),
        (true, 303) => again::<QueryConsumeTimeSpanBody>(body),
        (true, 307) => again::<ConsumerRunningInfo>(body),
        (true, 309) => again::<ConsumeMessageDirectlyResult>(body),
        (true, 315) => again::<BrokerStatsData>(body),
        (true, 317) => again::<ConsumeStatsList>(body),
        (true, 321) => again::<QueryConsumeQueueResponseBody>(body),
        (true, 328) => again::<ProducerTableInfo>(body),
        _ => return None,
    })
}

/// The plain form is compared as it is. Another deflater gives other bytes, so that of the
/// compressed form only the value is compared, and the checksum.
fn register_body(command: &RemotingCommand) -> Result<Vec<u8>, JsonReadError> {
    let header: RegisterBrokerRequestHeader = command.header().unwrap();
    assert_eq!(header.body_crc32, register_body_crc32(&command.body));
    let limits = RegisterBodyLimits { topics_max: 10_000, plain_bytes_max: 1 << 20 };
    let value = RegisterBrokerBody::decode(&command.body, header.compressed, &limits).unwrap();
    if !header.compressed {
        return Ok(value.encode(false).to_vec());
    }
    let again = RegisterBrokerBody::decode(&value.encode(true), true, &limits);
    assert_eq!(again.as_ref(), Ok(&value));
    assert!(!value.topic_config_serialize_wrapper.topic_config_table.is_empty());
    Ok(command.body.to_vec())
}

fn route(body: &[u8], request: &RemotingCommand) -> Result<Vec<u8>, JsonReadError> {
    let header: GetRouteInfoRequestHeader = request.header().unwrap();
    let is_standard = header.accept_standard_json_only.unwrap_or(false);
    let value: TopicRouteData = from_slice(body)?;
    Ok(value.encode_for(request.version, is_standard).to_vec())
}

#[test]
fn typed_bodies_of_java_peers_are_written_byte_for_byte() {
    let mut requests = BTreeMap::new();
    let mut counts: BTreeMap<(bool, i32), usize> = BTreeMap::new();
    for row in rows() {
        let command = row.command();
        let key = (row.scenario, row.conn.clone(), row.opaque);
        if !row.is_response() {
            requests.insert(key.clone(), command.clone());
        }
        let is_java = row.is_java(&command) && !row.is_hand_made(&command);
        if command.body.is_empty() || !is_java {
            continue;
        }
        let Some(again) = body_again(&row, &command, requests.get(&key)) else { continue };
        let again = again.unwrap_or_else(|error| panic!("{}: {error}", row.label()));
        assert_eq!(
            String::from_utf8_lossy(&again),
            String::from_utf8_lossy(&command.body),
            "{}",
            row.label()
        );
        *counts.entry((row.is_response(), row.request_code.unwrap())).or_default() += 1;
    }
    let total: usize = counts.values().sum();
    println!("{total} bodies of {} kinds", counts.len());
    assert!(total > 1000 && counts.len() >= 38);
}

#[test]
fn heartbeats_of_other_clients_are_read() {
    let mut consumers = 0;
    for row in rows().iter().filter(|row| row.code == 34 && !row.is_response()) {
        let heartbeat: HeartbeatData = from_slice(&row.command().body).unwrap();
        assert!(!heartbeat.client_id.is_empty());
        for consumer in &heartbeat.consumer_data_set {
            for subscription in &consumer.subscription_data_set {
                assert_eq!(subscription.code_set.len(), subscription.tags_set.len());
            }
            consumers += 1;
        }
    }
    assert!(consumers > 100);
}
