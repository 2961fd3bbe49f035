//! Requests with good, wrong and no credentials, each with what it may not do.

use bytes::Bytes;
use mq_protocol::acl::signature;
use mq_protocol::body::heartbeat::{ConsumerData, HeartbeatData, SubscriptionData};
use mq_protocol::body::lock::LockBatchRequestBody;
use mq_protocol::codes::RequestCode as Code;
use mq_protocol::fastjson::to_bytes;

use super::*;

const RULES: &str = "globalWhiteRemoteAddresses:\n- 10.0.0.*\naccounts:\n- accessKey: RocketMQ\n  secretKey: 12345678\n  \
                     whiteRemoteAddress: 10.0.1.1\n  defaultTopicPerm: DENY\n  defaultGroupPerm: SUB\n  topicPerms:\n  \
                     - pub=PUB\n  - sub=SUB\n  - both=PUB|SUB\n  groupPerms:\n  - denied=DENY\n- accessKey: admin12\n  \
                     secretKey: 12345678\n  admin: true\n- accessKey: narrow1\n  secretKey: 12345678\n  admin: true\n  \
                     topicPerms: [sub=SUB]\n";
const ELSEWHERE: &str = "192.168.0.1";

fn rules() -> AclRules {
    let file = AclFile::parse(RULES.as_bytes()).expect("rules");
    AclRules::new([("plain_acl.yml", &file)]).of_cluster("C")
}

fn request(code: i32, fields: &[(&str, &str)]) -> RemotingCommand {
    let mut request = RemotingCommand::request(code, &());
    for (name, value) in fields {
        request.ext_fields.insert(name, value);
    }
    request
}

fn signed(mut request: RemotingCommand, access_key: &str, secret_key: &str) -> RemotingCommand {
    request.ext_fields.insert(ACCESS_KEY, access_key);
    let signature = signature(&request.ext_fields, &request.body, secret_key);
    request.ext_fields.insert(SIGNATURE, &signature);
    request
}

/// What the rules say of it, in words; nothing if it passes.
fn said(request: &RemotingCommand, addr: &str) -> String {
    let addr = addr.parse().expect("an address");
    rules().check(request, addr).err().map_or_else(String::new, |denied| denied.to_string())
}

/// The same for a request of account `RocketMQ`.
fn said_of(request: RemotingCommand) -> String {
    said(&signed(request, "RocketMQ", "12345678"), ELSEWHERE)
}

#[test]
fn a_name_has_to_be_proven() {
    let send = || request(Code::SEND_MESSAGE_V2, &[("a", "g"), ("b", "pub")]);
    assert_eq!(said(&signed(send(), "RocketMQ", "12345678"), ELSEWHERE), "");
    assert_eq!(said(&send(), ELSEWHERE), "No accessKey is configured");
    assert_eq!(said(&signed(send(), "nobody", "12345678"), ELSEWHERE), "No acl config for nobody");
    let wrong = "Check signature failed for accessKey=RocketMQ";
    assert_eq!(said(&signed(send(), "RocketMQ", "12345679"), ELSEWHERE), wrong);
    let mut unsigned = send();
    unsigned.ext_fields.insert(ACCESS_KEY, "RocketMQ");
    assert_eq!(said(&unsigned, ELSEWHERE), wrong);
    let mut changed = signed(send(), "RocketMQ", "12345678");
    changed.ext_fields.insert("b", "both");
    assert_eq!(said(&changed, ELSEWHERE), wrong);
    let mut longer = signed(send(), "RocketMQ", "12345678");
    longer.body = Bytes::from_static(b"x");
    assert_eq!(said(&longer, ELSEWHERE), wrong);
}

#[test]
fn addresses_may_stand_for_a_signature() {
    let admin = request(Code::UPDATE_AND_CREATE_TOPIC, &[]);
    assert_eq!(said(&admin, "10.0.0.9"), "", "a global one for anything");
    let mut named = admin.clone();
    named.ext_fields.insert(ACCESS_KEY, "RocketMQ");
    assert_eq!(said(&named, "10.0.1.1"), "", "that of an account with its name");
    assert_eq!(said(&admin, "10.0.1.1"), "No accessKey is configured");
    named.ext_fields.insert(ACCESS_KEY, "admin12");
    assert_eq!(said(&named, "10.0.1.1"), "Check signature failed for accessKey=admin12");
}

#[test]
fn administrators_alone_change_what_is_everybodys() {
    for code in [17, 25, 50, 51, 52, 53, 54, 200, 207, 215, 306, 316, 323, 329] {
        let denied = said_of(request(code, &[]));
        let wanted =
            format!("Need admin permission for request code={code}, but accessKey=RocketMQ is not");
        assert_eq!(denied, wanted);
        assert_eq!(said(&signed(request(code, &[]), "admin12", "12345678"), ELSEWHERE), "");
    }
    for code in [21, 28, 30, 43, 9999] {
        assert_eq!(said_of(request(code, &[])), "", "{code} asks for nothing");
    }
}

#[test]
fn an_administrator_with_permissions_has_these() {
    let send =
        |topic| signed(request(Code::SEND_MESSAGE, &[("topic", topic)]), "narrow1", "12345678");
    assert_eq!(said(&send("sub"), ELSEWHERE), "No default permission for topic:sub");
    let send = signed(request(Code::SEND_MESSAGE, &[("topic", "any")]), "admin12", "12345678");
    assert_eq!(said(&send, ELSEWHERE), "");
}

#[test]
fn sends_ask_for_their_topic() {
    let codes = [(10, "topic"), (310, "b"), (320, "b"), (324, "topic"), (325, "b")];
    for (code, name) in codes {
        let send = |topic| said_of(request(code, &[(name, topic)]));
        assert_eq!((send("pub"), send("both")), (String::new(), String::new()));
        assert_eq!(send("sub"), "No default permission for topic:sub");
        assert_eq!(send("other"), "No default permission for topic:other");
        assert_eq!(send("RMQ_SYS_TRACE_TOPIC"), "", "traces are everybody's");
        assert_eq!(send("%RETRY%any"), "", "by the group's default");
        // Whatever group the sender names: it is the topic's that counts.
        let borrowed = request(code, &[(name, "%RETRY%denied"), ("group", "any"), ("a", "any")]);
        assert_eq!(said_of(borrowed), "No default permission for group:denied");
        // Decoding does not look at the code: the long name counts, in whatever order both are there.
        for both in [[("topic", "sub"), ("b", "pub")], [("b", "pub"), ("topic", "sub")]] {
            assert_eq!(said_of(request(code, &both)), "No default permission for topic:sub");
        }
        assert_eq!(said_of(request(code, &[("topic", "pub"), ("b", "sub")])), "");
        for other in ["topic", "b"] {
            let denied = said_of(request(code, &[(other, "sub")]));
            assert_eq!(denied, "No default permission for topic:sub", "{code} {other}");
        }
    }
}

#[test]
fn replies_to_the_clusters_own_topic_are_everybodys() {
    let own = |code, name| said_of(request(code, &[(name, "C_REPLY_TOPIC")]));
    for (code, name) in [(324, "topic"), (325, "b"), (324, "b"), (325, "topic")] {
        assert_eq!(own(code, name), "");
        let another = said_of(request(code, &[(name, "D_REPLY_TOPIC")]));
        assert_eq!(another, "No default permission for topic:D_REPLY_TOPIC");
        let hidden = said_of(request(code, &[("b", "C_REPLY_TOPIC"), ("topic", "sub")]));
        assert_eq!(hidden, "No default permission for topic:sub");
    }
    assert_eq!(own(310, "b"), "No default permission for topic:C_REPLY_TOPIC", "no reply");
}

#[test]
fn what_lies_somewhere_is_read_by_its_topic() {
    let view = || request(Code::VIEW_MESSAGE_BY_ID, &[("offset", "0")]);
    let read = |request: &RemotingCommand, addr: &str, topic: &str| {
        let checked = rules().check_read(request, addr.parse().expect("an address"), topic);
        checked.err().map_or_else(String::new, |denied| denied.to_string())
    };
    let signed_view = signed(view(), "RocketMQ", "12345678");
    for topic in ["sub", "both", "%RETRY%any"] {
        assert_eq!(read(&signed_view, ELSEWHERE, topic), "", "{topic}");
    }
    for topic in ["pub", "other", "%DLQ%any", "RMQ_SYS_TRACE_TOPIC"] {
        let denied = read(&signed_view, ELSEWHERE, topic);
        assert_eq!(denied, format!("No default permission for topic:{topic}"));
    }
    let denied = read(&signed_view, ELSEWHERE, "%RETRY%denied");
    assert_eq!(denied, "No default permission for group:denied");
    assert_eq!(read(&signed(view(), "admin12", "12345678"), ELSEWHERE, "other"), "");
    assert_eq!(read(&view(), "10.0.0.9", "other"), "", "as its address stands for anything");
    assert_eq!(read(&view(), ELSEWHERE, "sub"), "No accessKey is configured");
    let wrong = read(&signed(view(), "RocketMQ", "87654321"), ELSEWHERE, "sub");
    assert_eq!(wrong, "Check signature failed for accessKey=RocketMQ");
}

#[test]
fn what_consumers_do_asks_for_topic_and_group() {
    for code in [11, 14, 15, 361] {
        let pull =
            |topic, group| said_of(request(code, &[("topic", topic), ("consumerGroup", group)]));
        assert_eq!((pull("sub", "any"), pull("%RETRY%any", "any")), (String::new(), String::new()));
        assert_eq!(pull("pub", "any"), "No default permission for topic:pub");
        assert_eq!(pull("sub", "denied"), "No default permission for group:denied");
    }
    assert_eq!(said_of(request(12, &[("topic", "pub")])), "No default permission for topic:pub");
    let by_consumer_group = [35, 38, 307, 309].map(|code| (code, "consumerGroup"));
    for (code, name) in by_consumer_group.into_iter().chain([36, 222, 223].map(|it| (it, "group")))
    {
        assert_eq!(said_of(request(code, &[(name, "any")])), "");
        let denied = said_of(request(code, &[(name, "denied")]));
        assert_eq!(denied, "No default permission for group:denied", "{code}");
    }
    for code in [222, 223] {
        let denied = said_of(request(code, &[("topic", "pub"), ("group", "any")]));
        assert_eq!(denied, "No default permission for topic:pub", "{code}");
    }
    assert_eq!(said_of(request(35, &[("producerGroup", "denied")])), "");
    let clone = |topic, source, target| {
        said_of(request(314, &[("topic", topic), ("srcGroup", source), ("destGroup", target)]))
    };
    assert_eq!(
        (clone("sub", "any", "any"), clone("", "any", "any")),
        (String::new(), String::new())
    );
    assert_eq!(clone("pub", "any", "any"), "No default permission for topic:pub");
    assert_eq!(clone("sub", "denied", "any"), "No default permission for group:denied");
    assert_eq!(clone("sub", "any", "denied"), "No default permission for group:denied");
}

#[test]
fn bodies_name_groups_as_well() {
    let heartbeat = |group: &str, topic: &str| {
        let subscription = SubscriptionData { topic: topic.to_owned(), ..Default::default() };
        let consumer = ConsumerData {
            group_name: group.to_owned(),
            subscription_data_set: vec![subscription],
            ..Default::default()
        };
        let body = HeartbeatData { consumer_data_set: vec![consumer], ..Default::default() };
        said_of(request(Code::HEART_BEAT, &[]).with_body(to_bytes(&body)))
    };
    assert_eq!(heartbeat("any", "sub"), "");
    assert_eq!(heartbeat("denied", "sub"), "No default permission for group:denied");
    assert_eq!(heartbeat("any", "pub"), "No default permission for topic:pub");
    for code in [Code::LOCK_BATCH_MQ, Code::UNLOCK_BATCH_MQ] {
        let body =
            LockBatchRequestBody { consumer_group: "denied".to_owned(), ..Default::default() };
        let lock = request(code, &[]).with_body(to_bytes(&body));
        assert_eq!(said_of(lock), "No default permission for group:denied");
        let unread = said_of(request(code, &[]).with_body("no json"));
        assert!(unread.starts_with("the body cannot be read: "), "{unread}");
    }
}

#[test]
fn the_first_of_two_accounts_of_a_name_counts() {
    let file = |secret: &str| {
        let text = format!("accounts:\n- accessKey: RocketMQ\n  secretKey: {secret}\n");
        AclFile::parse(text.as_bytes()).expect("a file")
    };
    let (one, other) = (file("first678"), file("second78"));
    let rules = AclRules::new([("acl/a.yml", &one), ("plain_acl.yml", &other)]);
    let wanted = "plain_acl.yml: accessKey RocketMQ is there a second time; the first one counts";
    assert_eq!(rules.warnings(), [wanted]);
    let passes = |secret| {
        let request = signed(request(Code::GET_MAX_OFFSET, &[]), "RocketMQ", secret);
        rules.check(&request, ELSEWHERE.parse().expect("an address")).is_ok()
    };
    assert!(passes("first678") && !passes("second78"));
}
