//! What a request says and what it then touches: the same topic, or one that is asked for once it is known.

use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::header::CustomHeader;
use mq_protocol::header::client::ConsumeMessageDirectlyResultRequestHeader;
use mq_protocol::header::query_message::ViewMessageRequestHeader;
use mq_protocol::header::send_message::{
    ConsumerSendMsgBackRequestHeader, SendMessageResponseHeader,
};
use mq_protocol::message::OffsetMessageId;
use mq_protocol::message_codec::decode_messages;
use mq_protocol::remoting_command::RemotingCommand;
use staticfire_world::world::World;

use super::{Guarded, RECORDED, by_admin, signed};
use crate::broker::cluster::{Cluster, pull_header, seconds, send_header};

/// A request of account `RocketMQ`.
fn by_user(code: i32, header: &impl CustomHeader) -> RemotingCommand {
    signed(RemotingCommand::request(code, header), "RocketMQ", "12345678")
}

/// What the guard lets pass and what is stored are the same topic, whatever the code and the names of the fields.
#[test]
fn no_send_and_no_reply_goes_to_another_topic_than_was_asked_for() {
    World::test(11, async |world| {
        let guarded = Guarded::started(Cluster::new(world), RECORDED).await;
        let codes = [
            RequestCode::SEND_MESSAGE,
            RequestCode::SEND_MESSAGE_V2,
            RequestCode::SEND_REPLY_MESSAGE,
            RequestCode::SEND_REPLY_MESSAGE_V2,
        ];
        for code in codes {
            let mut request = RemotingCommand::request(code, &send_header("AclTopic"));
            request.ext_fields.insert("topic", "Secret");
            let refused = guarded.said(signed(request, "RocketMQ", "12345678")).await;
            let why = "No default permission for topic:Secret".to_owned();
            assert_eq!(refused, (ResponseCode::SYSTEM_ERROR, why), "{code}");
        }
        // Past the guard; nobody waits for it.
        let reply = by_user(325, &send_header("DefaultCluster_REPLY_TOPIC"));
        let unpushed = "reply message properties[REPLY_TO_CLIENT] is null".to_owned();
        assert_eq!(guarded.said(reply).await, (ResponseCode::SYSTEM_ERROR, unpushed));
        let no_reply = by_user(310, &send_header("DefaultCluster_REPLY_TOPIC"));
        let why = "No default permission for topic:DefaultCluster_REPLY_TOPIC".to_owned();
        assert_eq!(guarded.said(no_reply).await, (ResponseCode::SYSTEM_ERROR, why));
    });
}

/// A position in the log says nothing of the topic that lies there.
#[test]
fn who_names_a_position_may_read_what_lies_there() {
    World::test(12, async |world| {
        let guarded = Guarded::started(Cluster::new(world), RECORDED).await;
        let addr = &guarded.broker.addr;
        let mut ids = Vec::new();
        for topic in ["AclTopic", "AclPubOnly"] {
            let send = by_user(RequestCode::SEND_MESSAGE_V2, &send_header(topic));
            let sent: SendMessageResponseHeader =
                guarded.cluster.ask(addr, send).await.header().unwrap();
            ids.push(sent.msg_id.parse::<OffsetMessageId>().unwrap());
        }
        let offsets = [ids[0].phy_offset, ids[1].phy_offset];
        let passed = (ResponseCode::SUCCESS, String::new());
        let why = "No default permission for topic:AclPubOnly".to_owned();
        let refused = (ResponseCode::SYSTEM_ERROR, why);

        let view = |offset| {
            let header = ViewMessageRequestHeader { offset };
            RemotingCommand::request(RequestCode::VIEW_MESSAGE_BY_ID, &header)
        };
        let by_user_again = |request| signed(request, "RocketMQ", "12345678");
        assert_eq!(guarded.said(by_user_again(view(offsets[0]))).await, passed);
        assert_eq!(guarded.said(by_user_again(view(offsets[1]))).await, refused);
        assert_eq!(guarded.said(by_admin(view(offsets[1]))).await, passed);

        // Java names the topic here, others do not; what it names is not what is copied.
        let back = |offset, origin_topic: Option<&str>| {
            let header = ConsumerSendMsgBackRequestHeader {
                offset,
                group: "CG_acl".to_owned(),
                origin_topic: origin_topic.map(str::to_owned),
                ..ConsumerSendMsgBackRequestHeader::default()
            };
            by_user(RequestCode::CONSUMER_SEND_MSG_BACK, &header)
        };
        assert_eq!(guarded.said(back(offsets[1], Some("AclTopic"))).await, refused);
        assert_eq!(guarded.said(back(offsets[1], None)).await, refused);
        assert_eq!(guarded.said(back(offsets[0], None)).await, passed);
        seconds(15).await;
        let pull = pull_header("CG_acl", "%RETRY%CG_acl", 0);
        let pulled = guarded.cluster.ask(addr, by_user(RequestCode::PULL_MESSAGE, &pull)).await;
        let retries = decode_messages(&pulled.body);
        assert_eq!(retries.len(), 1, "the refused ones left no copy");
        let again = back(retries[0].phy_offset, Some("AclTopic"));
        assert_eq!(guarded.said(again).await, passed, "it lies in the group's retry topic");

        let directly = |id: &OffsetMessageId| {
            let header = ConsumeMessageDirectlyResultRequestHeader {
                consumer_group: "CG_acl".to_owned(),
                client_id: Some("c".to_owned()),
                msg_id: Some(id.to_string()),
                broker_name: None,
            };
            by_user(RequestCode::CONSUME_MESSAGE_DIRECTLY, &header)
        };
        assert_eq!(guarded.said(directly(&ids[1])).await, refused);
        let offline = "The Consumer <CG_acl> <c> not online".to_owned();
        assert_eq!(guarded.said(directly(&ids[0])).await, (ResponseCode::SYSTEM_ERROR, offline));
    });
}
