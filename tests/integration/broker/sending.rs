//! Sends: what is stored, what is refused, and with which words.

use bytes::BytesMut;
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::header::namesrv::GetRouteInfoRequestHeader;
use mq_protocol::header::send_message::{
    ConsumerSendMsgBackRequestHeader, SendMessageRequestHeader, SendMessageResponseHeader,
};
use mq_protocol::message::{MessageExt, OffsetMessageId};
use mq_protocol::message_codec::{BatchEntry, decode_messages, encode_batch_entry};
use mq_protocol::remoting_command::RemotingCommand;
use mq_store::config::{BrokerRole, FlushDiskType};
use staticfire_world::world::World;

use super::cluster::{
    Broker, Cluster, NAMESRV, pull_header, seconds, send_header, send_request,
    test_without_writeback,
};

async fn send(
    cluster: &Cluster,
    broker: &Broker,
    header: &SendMessageRequestHeader,
) -> RemotingCommand {
    cluster.ask(&broker.addr, send_request(header, "body")).await
}

/// Every message of queue 0.
async fn read(cluster: &Cluster, broker: &Broker, topic: &str) -> Vec<MessageExt> {
    let header = pull_header("G", topic, 0);
    let response = cluster.call(&broker.addr, RequestCode::PULL_MESSAGE, &header).await;
    decode_messages(&response.body)
}

#[test]
fn a_send_creates_its_topic_and_tells_where_the_message_is() {
    World::test(1, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        let header = SendMessageRequestHeader {
            queue_id: 2,
            properties: Some("b\u{1}1\u{2}WAIT\u{1}true\u{2}a\u{1}2\u{2}".to_owned()),
            ..send_header("T")
        };
        let response = send(&cluster, &broker, &header).await;
        assert_eq!((response.code, response.remark.as_deref()), (ResponseCode::SUCCESS, None));
        let sent: SendMessageResponseHeader = response.header().unwrap();
        let store_host = broker.addr.parse().unwrap();
        let id = OffsetMessageId { store_host, phy_offset: 0 };
        assert_eq!((sent.msg_id, sent.queue_id, sent.queue_offset), (id.to_string(), 2, 0));
        assert_eq!(response.ext_fields.get("MSG_REGION"), Some("DefaultRegion"));
        assert_eq!(response.ext_fields.get("TRACE_ON"), Some("true"));

        let view = RemotingCommand::request(RequestCode::VIEW_MESSAGE_BY_ID, &()).with_header(
            &mq_protocol::header::query_message::ViewMessageRequestHeader { offset: 0 },
        );
        let stored = decode_messages(&cluster.ask(&broker.fast_addr, view).await.body);
        let properties: Vec<_> = stored[0].message.properties.iter().collect();
        assert_eq!(properties, [("b", "1"), ("a", "2"), ("CLUSTER", "DefaultCluster")]);
        assert_eq!((stored[0].store_host, stored[0].queue_id), (store_host, 2));

        let route = GetRouteInfoRequestHeader {
            topic: "T".to_owned(),
            accept_standard_json_only: Some(true),
        };
        let route = cluster.call(NAMESRV, RequestCode::GET_ROUTEINFO_BY_TOPIC, &route).await;
        assert_eq!(route.code, ResponseCode::SUCCESS, "the topic was registered at once");
    });
}

#[test]
fn a_batch_becomes_one_record_per_message() {
    World::test(2, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        let mut body = BytesMut::new();
        for text in ["one", "two"] {
            let entry = BatchEntry { flag: 0, body: text.as_bytes(), properties: "k\u{1}v" };
            encode_batch_entry(&entry, &mut body).unwrap();
        }
        let header = SendMessageRequestHeader { batch: Some(true), ..send_header("T") };
        let request =
            RemotingCommand::request(RequestCode::SEND_BATCH_MESSAGE, &header).with_body(body);
        let response = cluster.ask(&broker.addr, request).await;
        let sent: SendMessageResponseHeader = response.header().unwrap();
        assert_eq!(sent.msg_id.split(',').count(), 2);
        let messages = read(&cluster, &broker, "T").await;
        let bodies: Vec<_> =
            messages.iter().map(|it| (it.queue_offset, &it.message.body)).collect();
        assert_eq!(bodies, [(0, &"one".into()), (1, &"two".into())]);
        assert_eq!(messages[1].message.properties.get("CLUSTER"), Some("DefaultCluster"));
    });
}

#[test]
fn a_message_that_failed_too_often_becomes_a_dead_letter() {
    World::test(3, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        let retried = |times, limit| SendMessageRequestHeader {
            reconsume_times: Some(times),
            max_reconsume_times: limit,
            ..send_header("%RETRY%G")
        };
        send(&cluster, &broker, &retried(15, None)).await;
        send(&cluster, &broker, &retried(16, None)).await;
        send(&cluster, &broker, &retried(1, Some(1))).await;
        let retries = read(&cluster, &broker, "%RETRY%G").await;
        assert_eq!(retries.iter().map(|it| it.reconsume_times).collect::<Vec<_>>(), [15]);
        let dead = read(&cluster, &broker, "%DLQ%G").await;
        assert_eq!(dead.iter().map(|it| it.reconsume_times).collect::<Vec<_>>(), [16, 1]);
        assert_eq!(dead[0].message.delay_level(), 0);
    });
}

#[test]
fn a_message_given_back_comes_again_from_the_retry_topic() {
    World::test(4, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|_, _| {}).await;
        cluster.send(&broker.addr, "T", "body").await;
        let back = |offset, delay_level| ConsumerSendMsgBackRequestHeader {
            offset,
            group: "G".to_owned(),
            delay_level,
            max_reconsume_times: Some(2),
            ..ConsumerSendMsgBackRequestHeader::default()
        };
        let code = RequestCode::CONSUMER_SEND_MSG_BACK;
        let response = cluster.call(&broker.addr, code, &back(0, 0)).await;
        assert_eq!((response.code, response.ext_fields.is_present()), (0, false));
        seconds(9).await;
        assert!(read(&cluster, &broker, "%RETRY%G").await.is_empty());
        seconds(2).await;
        let retries = read(&cluster, &broker, "%RETRY%G").await;
        assert_eq!((retries[0].reconsume_times, retries[0].message.delay_level()), (1, 3));
        assert_eq!(retries[0].message.properties.get("RETRY_TOPIC"), Some("T"));
        let origin = retries[0].message.properties.get("ORIGIN_MESSAGE_ID").unwrap().to_owned();

        cluster.call(&broker.addr, code, &back(retries[0].phy_offset, 5)).await;
        seconds(61).await;
        let retries = read(&cluster, &broker, "%RETRY%G").await;
        assert_eq!((retries[1].reconsume_times, retries[1].message.delay_level()), (2, 5));
        assert_eq!(retries[1].message.properties.get("RETRY_TOPIC"), Some("T"));
        assert_eq!(retries[1].message.properties.get("ORIGIN_MESSAGE_ID"), Some(&*origin));

        cluster.call(&broker.addr, code, &back(retries[1].phy_offset, 0)).await;
        cluster.call(&broker.addr, code, &back(0, -1)).await;
        let dead = read(&cluster, &broker, "%DLQ%G").await;
        assert_eq!(dead.iter().map(|it| it.reconsume_times).collect::<Vec<_>>(), [3, 1]);
    });
}

#[test]
fn the_status_of_the_put_is_the_code_of_the_reply() {
    World::test(6, async |world| {
        let cluster = Cluster::new(world);
        let broker =
            cluster.broker("a", 0, BrokerRole::SyncMaster, |_, store| store.max_message_size = 16);
        broker.start().await;
        let response = send(&cluster, &broker, &send_header("T")).await;
        assert_eq!(response.code, ResponseCode::SLAVE_NOT_AVAILABLE);
        assert!(response.header::<SendMessageResponseHeader>().is_ok());
        let impatient = SendMessageRequestHeader {
            properties: Some("WAIT\u{1}false".to_owned()),
            ..send_header("T")
        };
        let response = send(&cluster, &broker, &impatient).await;
        assert_eq!(response.code, ResponseCode::SUCCESS);
        let long = send_request(&send_header("T"), "more than sixteen bytes");
        let response = cluster.ask(&broker.addr, long).await;
        assert_eq!(response.code, ResponseCode::MESSAGE_ILLEGAL);
        assert_eq!(read(&cluster, &broker, "T").await.len(), 2);
    });
}

#[test]
fn an_unknown_topic_needs_permission_to_come_into_being() {
    World::test(7, async |world| {
        let cluster = Cluster::new(world);
        let broker = cluster.master(|config, _| config.auto_create_topic_enable = false).await;
        let response = send(&cluster, &broker, &send_header("T")).await;
        assert_eq!(response.code, ResponseCode::TOPIC_NOT_EXIST);
        let retry = send(&cluster, &broker, &send_header("%RETRY%G")).await;
        assert_eq!(retry.code, ResponseCode::SUCCESS);
    });
}

#[test]
fn a_topic_is_as_durable_as_its_messages() {
    test_without_writeback(8, async |world| {
        let cluster = Cluster::new(world);
        let broker =
            cluster.master(|_, store| store.flush_disk_type = FlushDiskType::SyncFlush).await;
        cluster.send(&broker.addr, "T", "body").await;
        cluster.power_cycle(&broker);
        broker.start().await;
        assert_eq!(read(&cluster, &broker, "T").await.len(), 1);
    });
}
