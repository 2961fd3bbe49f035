//! Typed headers against recorded ext fields.

use std::collections::{BTreeMap, BTreeSet};

use mq_protocol::ext_fields::ExtFields;
use mq_protocol::header::admin::*;
use mq_protocol::header::client::*;
use mq_protocol::header::namesrv::*;
use mq_protocol::header::offset::*;
use mq_protocol::header::pull_message::*;
use mq_protocol::header::query_message::*;
use mq_protocol::header::send_message::*;
use mq_protocol::header::transaction::*;
use mq_protocol::header::{CustomHeader, HeaderError};
use mq_protocol::remoting_command::RemotingCommand;

use super::fixture::rows;

/// Ext fields that hooks and newer clients add to any request, and the broker to send responses.
const EXTRA_FIELDS: [&str; 8] = [
    "AccessKey",
    "Signature",
    "OnsChannel",
    "ReqT",
    "bname",
    "_UNIQUE_KEY_QUERY",
    "MSG_REGION",
    "TRACE_ON",
];

/// Requests without a header.
const BARE_REQUESTS: [i32; 22] = [
    21, 25, 26, 28, 34, 41, 42, 43, 45, 46, 54, 106, 200, 201, 206, 304, 305, 306, 311, 316, 319,
    328,
];

/// Decodes the typed header and flattens it again.
fn again<H: CustomHeader>(command: &RemotingCommand) -> Result<ExtFields, HeaderError> {
    let mut fields = ExtFields::absent();
    command.header::<H>()?.encode(&mut fields);
    Ok(fields)
}

fn again_send(command: &RemotingCommand) -> Result<ExtFields, HeaderError> {
    let mut fields = ExtFields::absent();
    command.header::<SendMessageRequestHeader>()?.encode_for(command.code, &mut fields);
    Ok(fields)
}

/// The flattened typed header of a request, `None` for codes without one.
fn request_header(command: &RemotingCommand) -> Option<Result<ExtFields, HeaderError>> {
    Some(match command.code {
        10 | 310 | 320 | 325 => again_send(command),
        11 => again::<PullMessageRequestHeader>(command),
        12 => again::<QueryMessageRequestHeader>(command),
        14 => again::<QueryConsumerOffsetRequestHeader>(command),
        15 => again::<UpdateConsumerOffsetRequestHeader>(command),
        17 => again::<CreateTopicRequestHeader>(command),
        29 => again::<SearchOffsetRequestHeader>(command),
        30..=32 => again::<QueueRequestHeader>(command),
        33 => again::<ViewMessageRequestHeader>(command),
        35 => again::<UnregisterClientRequestHeader>(command),
        36 => again::<ConsumerSendMsgBackRequestHeader>(command),
        37 => again::<EndTransactionRequestHeader>(command),
        38 | 40 | 203 => again::<ConsumerGroupRequestHeader>(command),
        39 => again::<CheckTransactionStateRequestHeader>(command),
        100 => again::<PutKvConfigRequestHeader>(command),
        101 | 102 => again::<KvConfigRequestHeader>(command),
        103 => again::<RegisterBrokerRequestHeader>(command),
        104 | 322 => again::<BrokerIdentityRequestHeader>(command),
        105 => again::<GetRouteInfoRequestHeader>(command),
        202 | 300 => again::<TopicRequestHeader>(command),
        204 => again::<GetProducerConnectionListRequestHeader>(command),
        205 | 327 => again::<WritePermOfBrokerRequestHeader>(command),
        207 => again::<DeleteSubscriptionGroupRequestHeader>(command),
        208 => again::<GetConsumeStatsRequestHeader>(command),
        215 => again::<DeleteTopicRequestHeader>(command),
        219 => again::<GetKvListByNamespaceRequestHeader>(command),
        220 | 222 => again::<ResetOffsetRequestHeader>(command),
        221 | 223 => again::<GetConsumerStatusRequestHeader>(command),
        224 => again::<GetTopicsByClusterRequestHeader>(command),
        303 => again::<QueryConsumeTimeSpanRequestHeader>(command),
        307 => again::<GetConsumerRunningInfoRequestHeader>(command),
        309 => again::<ConsumeMessageDirectlyResultRequestHeader>(command),
        314 => again::<CloneGroupOffsetRequestHeader>(command),
        315 => again::<ViewBrokerStatsDataRequestHeader>(command),
        317 => again::<GetConsumeStatsInBrokerHeader>(command),
        321 => again::<QueryConsumeQueueRequestHeader>(command),
        323 => again::<ResumeCheckHalfMessageRequestHeader>(command),
        326 => again::<ReplyMessageRequestHeader>(command),
        code if BARE_REQUESTS.contains(&code) => again::<()>(command),
        _ => return None,
    })
}

/// The flattened typed header of a response, `None` for those without one.
fn response_header(
    request_code: i32,
    command: &RemotingCommand,
) -> Option<Result<ExtFields, HeaderError>> {
    let is_success = command.code == 0;
    Some(match request_code {
        10 | 310 | 320 | 325 if command.ext_fields.get("msgId").is_some() => {
            again::<SendMessageResponseHeader>(command)
        }
        11 if !command.ext_fields.is_empty() => again::<PullMessageResponseHeader>(command),
        12 => again::<QueryMessageResponseHeader>(command),
        14 if is_success => again::<QueryConsumerOffsetResponseHeader>(command),
        26 if is_success => again::<GetBrokerConfigResponseHeader>(command),
        29..=31 if is_success => again::<OffsetResponseHeader>(command),
        32 if is_success => again::<GetEarliestMsgStoretimeResponseHeader>(command),
        101 => again::<GetKvConfigResponseHeader>(command),
        103 => again::<RegisterBrokerResponseHeader>(command),
        205 if is_success => again::<WipeWritePermOfBrokerResponseHeader>(command),
        322 if is_success => again::<QueryDataVersionResponseHeader>(command),
        327 if is_success => again::<AddWritePermOfBrokerResponseHeader>(command),
        _ => return None,
    })
}

fn set_of(fields: &ExtFields) -> BTreeSet<(&str, &str)> {
    fields.iter().filter(|(name, _)| !EXTRA_FIELDS.contains(name)).collect()
}

#[test]
fn typed_headers_of_java_peers_keep_every_field() {
    let (mut requests, mut responses): (BTreeMap<i32, usize>, BTreeMap<i32, usize>) =
        Default::default();
    for row in rows() {
        let command = row.command();
        if !row.is_java(&command) || row.is_hand_made(&command) {
            continue;
        }
        let (again, counts) = match row.request_code {
            Some(code) if row.is_response() => {
                (response_header(code, &command), responses.entry(code))
            }
            Some(code) => (request_header(&command), requests.entry(code)),
            None => continue,
        };
        let Some(again) = again else { continue };
        let again = again.unwrap_or_else(|error| panic!("{}: {error}", row.label()));
        assert_eq!(set_of(&again), set_of(&command.ext_fields), "{}", row.label());
        *counts.or_default() += 1;
    }
    let total: usize = requests.values().chain(responses.values()).sum();
    println!(
        "{total} headers over {} codes of requests and {} of responses",
        requests.len(),
        responses.len()
    );
    assert!(total > 3300 && requests.len() >= 69 && responses.len() >= 17);
}

#[test]
fn typed_headers_of_other_clients_are_read() {
    let mut codes = BTreeSet::new();
    for row in rows() {
        let command = row.command();
        if row.is_java(&command) {
            continue;
        }
        let again = request_header(&command).expect("a header for every code");
        let again = again.unwrap_or_else(|error| panic!("{}: {error}", row.label()));
        for (name, value) in again.iter().filter(|(_, value)| *value != "false") {
            assert_eq!(command.ext_fields.get(name), Some(value), "{}", row.label());
        }
        codes.insert(command.code);
    }
    assert_eq!(codes, BTreeSet::from([10, 11, 14, 15, 34, 35, 38, 105, 310]));
}

#[test]
fn hand_made_requests_are_read_or_refused_by_field() {
    let mut refused = Vec::new();
    for row in rows() {
        let command = row.command();
        if !row.is_hand_made(&command) {
            continue;
        }
        match request_header(&command) {
            Some(Err(error)) => refused.push(format!("{}: {error}", command.code)),
            Some(Ok(_)) => {}
            None => assert!([9998, 9999].contains(&command.code), "{}", row.label()),
        }
    }
    assert_eq!(
        refused,
        [
            "310: the custom field <d> is missing",
            "310: the custom field <d> has no int value: four",
        ]
    );
}
