//! `mqadmin console`: what it answers browsers of a cluster, of brokers that are gone, and to whom it answers nothing.

mod browser;

use std::sync::Arc;
use std::time::Duration;

use mq_client::{
    ClientInstance, ConsumeResult, Producer, ProducerConfig, PushConsumer, PushConsumerConfig,
};
use mq_protocol::body::heartbeat::ConsumeFromWhere;
use mq_protocol::message::{Message, MessageConst, MessageExt};
use serde_json::json;
use staticfire_world::world::World;

use self::browser::{Browser, with_console};
use super::desk::{Desk, at_desk, consumer};
use crate::broker::cluster::{Cluster, new_instance, seconds};

/// What is markup to whoever does not take care.
const HOSTILE: &str = "<script>alert(1)</script>";

#[test]
fn the_cluster_table_says_who_is_unreachable() {
    World::test(1, async |world| {
        let cluster = Cluster::new(world);
        let (master, slave) = (cluster.master(|_, _| {}).await, cluster.slave().await);
        let desk = Desk::new(&cluster.world);
        seconds(1).await;
        cluster.send(&master.addr, "TBW102", "x").await;
        with_console(&desk, "", async |browser| {
            let table = browser.get("/api/brokers").await;
            assert_eq!(table["name_servers"], json!(["ns:9876"]));
            let rows = table["brokers"]["items"].as_array().unwrap();
            let cell = |row: usize, name: &str| rows[row][name].clone();
            assert_eq!((cell(0, "id"), cell(1, "id")), (json!(0), json!(1)));
            assert_eq!(
                (cell(0, "broker"), cell(0, "cluster")),
                (json!("a"), json!("DefaultCluster"))
            );
            assert_eq!(cell(0, "role"), "master (ASYNC_MASTER)");
            assert_eq!((cell(1, "role"), cell(1, "address")), (json!("slave"), json!(slave.addr)));
            assert_eq!(
                (cell(0, "today_produced"), cell(0, "yesterday_produced")),
                (json!(1), json!(0))
            );
            assert!(cell(0, "version").as_str().unwrap().starts_with("V4_9"), "{table}");

            let broker = browser.get(&format!("/api/broker?address={}", master.addr)).await;
            let has = |list: &str, key: &str, value: &str| {
                let pair = json!({ "key": key, "value": value });
                broker[list].as_array().unwrap().contains(&pair)
            };
            assert!(has("settings", "brokerRole", "ASYNC_MASTER"), "{broker}");
            assert!(has("status", "msgPutTotalTodayNow", "1"), "{broker}");

            // One stands still, as a broker that hangs; the row says so, and soon.
            slave.machine.pause();
            let begin = tokio::time::Instant::now();
            let table = browser.get("/api/brokers").await;
            assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
            let rows = table["brokers"]["items"].as_array().unwrap();
            let trouble = rows[1]["trouble"].as_str().unwrap();
            assert!(trouble.starts_with(&format!("unreachable: no reply from {}", slave.addr)));
            assert!(rows[1].get("produce_tps").is_none() && rows[0].get("trouble").is_none());

            // Whatever a browser names, nobody is asked that is no broker.
            let refused = browser.refused("/api/broker?address=ns:9876").await;
            assert_eq!(refused, (502, "the name server knows no broker at ns:9876".into()));
        })
        .await;
    });
}

#[test]
fn topics_are_listed_page_by_page() {
    at_desk(async |cluster, master, desk| {
        for number in 0..60 {
            cluster.create_topic(&master, &format!("Orders{number:02}")).await;
        }
        cluster.send(&master.addr, "Orders00", "x").await;
        with_console(&desk, "", async |browser| {
            let list = browser.get("/api/topics?filter=orders").await;
            assert_eq!((&list["total"], &list["pages"]), (&json!(60), &json!(2)));
            assert_eq!(list["items"].as_array().unwrap().len(), 50);
            let note = "50 of 60 topics: page 1 of 2. A filter narrows them.";
            assert_eq!(list["note"], note);
            let row = json!({ "topic": "Orders00", "kind": "normal", "brokers": ["a"],
                              "read_queues": 4, "write_queues": 4 });
            assert_eq!(list["items"][0], row);
            let list = browser.get("/api/topics?filter=orders&page=2").await;
            assert_eq!(list["items"].as_array().unwrap().len(), 10);
            let all = browser.get("/api/topics").await;
            assert!(all["total"].as_u64().unwrap() > 60, "{}", all["total"]);

            let topic = browser.get("/api/topic?topic=Orders00").await;
            let route = json!([{ "cluster": "DefaultCluster", "broker": "a", "permission": "RW-",
                "addresses": [format!("0={}", master.addr)], "read_queues": 4, "write_queues": 4 }]);
            assert_eq!(topic["route"], route);
            let queues = topic["queues"]["items"].as_array().unwrap();
            let ends: i64 = queues.iter().map(|it| it["max_offset"].as_i64().unwrap()).sum();
            assert_eq!((queues.len(), ends), (4, 1), "{topic}");
            assert_eq!(topic["troubles"], json!([]));

            let refused = browser.refused("/api/topic?topic=Nothing").await;
            assert_eq!(refused, (404, "the name server knows no route of the topic Nothing".into()));
            assert_eq!(browser.refused("/api/topic").await, (400, "the query lacks topic=…".into()));
            assert_eq!(browser.refused("/api/topics?page=0").await.0, 400);
            assert_eq!(browser.refused("/api/nothing").await.0, 404);
        })
        .await;
    });
}

#[test]
fn groups_have_members_and_lag() {
    at_desk(async |cluster, master, desk| {
        cluster.create_topic(&master, "T").await;
        let (_machine, instance) = new_instance(&cluster.world, "member");
        let (member, _) = consumer(&instance, "G", "T").await;
        cluster.send(&master.addr, "T", "x").await;
        seconds(30).await;
        with_console(&desk, "", async |browser| {
            let list = browser.get("/api/groups").await;
            let row = &list["items"][0];
            assert_eq!(
                (&row["group"], &row["members"], &row["lag"]),
                (&json!("G"), &json!(1), &json!(0))
            );
            assert_eq!(
                (&row["consume_type"], &row["model"]),
                (&json!("PUSH"), &json!("CLUSTERING"))
            );
            let group = browser.get("/api/group?group=G").await;
            assert_eq!(group["members"]["items"][0]["language"], "RUST");
            assert!(
                group["subscriptions"]["items"]
                    .as_array()
                    .unwrap()
                    .contains(&json!({ "topic": "T", "expression": "*" })),
                "{group}"
            );
            let topic = browser.get("/api/topic?topic=T").await;
            assert_eq!(topic["groups"]["items"], json!(["G"]));

            member.shutdown().await;
            for _ in 0..3 {
                cluster.send(&master.addr, "T", "x").await;
            }
            let row = browser.get("/api/groups?filter=g").await["items"][0].clone();
            assert_eq!((&row["members"], &row["version"]), (&json!(0), &json!("OFFLINE")));
            assert_eq!((&row["lag"], &row["troubles"]), (&json!(3), &json!([])), "{row}");
            let queues = browser.get("/api/group?group=G").await["queues"]["items"].clone();
            let lag: i64 =
                queues.as_array().unwrap().iter().map(|it| it["lag"].as_i64().unwrap()).sum();
            assert_eq!(lag, 3, "{queues}");
            assert_eq!(browser.refused("/api/group?group=Nobody").await.0, 404);
        })
        .await;
    });
}

/// A message whose tag, key, property and body are markup.
fn hostile(topic: &str) -> Message {
    let mut message = Message::new(topic, HOSTILE);
    for name in [MessageConst::TAGS, MessageConst::KEYS, "user"] {
        message.properties.insert(name, HOSTILE);
    }
    message
}

#[test]
fn messages_are_found_and_held_against_groups() {
    at_desk(async |cluster, master, desk| {
        desk.prints(&format!("updateTopic -b {} -t T -r 1 -w 1", master.addr)).await;
        let (_machine, instance) = new_instance(&cluster.world, "member");
        let (member, _) = consumer(&instance, "G", "T").await;
        let producer = Producer::new(&instance, ProducerConfig::new("P"));
        let sent = producer.send(hostile("T")).await.unwrap();
        seconds(30).await;
        let sent_by = world_now_ms(&desk);
        for _ in 0..24 {
            producer.send(Message::new("T", "later")).await.unwrap();
        }
        member.shutdown().await;
        with_console(&desk, "", async |browser| {
            let key = browser::encoded(HOSTILE);
            let mut places = Vec::new();
            for query in [
                format!("id={}", sent.offset_msg_id),
                format!("topic=T&id={}", sent.msg_id),
                format!("topic=T&key={key}"),
                format!("topic=T&end={sent_by}"),
            ] {
                let found = browser.get(&format!("/api/messages?{query}")).await;
                assert_eq!(found["messages"]["total"], 1, "{query}: {found}");
                let row = &found["messages"]["items"][0];
                assert_eq!((&row["id"], &row["keys"]), (&json!(sent.msg_id), &json!(HOSTILE)));
                places.push(format!(
                    "address={}&offset={}",
                    row["address"].as_str().unwrap(),
                    row["offset"]
                ));
            }
            places.dedup();
            let [place] = &places[..] else { panic!("{places:?}") };
            let it = browser.get(&format!("/api/message?{place}")).await;
            assert_eq!((&it["body"], &it["tags"]), (&json!({ "text": HOSTILE }), &json!(HOSTILE)));
            assert!(
                it["properties"]
                    .as_array()
                    .unwrap()
                    .contains(&json!({ "name": "user", "value": HOSTILE }))
            );
            let state = json!({ "group": "G", "state": "NOT_ONLINE",
                "reason": "CODE:206 DESC:the consumer group[G] not online" });
            assert_eq!(it["groups"]["items"], json!([state]));

            let newest = browser.get("/api/messages?topic=T").await;
            let list = &newest["messages"];
            assert_eq!((&list["total"], &list["pages"]), (&json!(25), &json!(2)));
            let note =
                "20 of 25 messages, at most 20 of each queue, the newest first: page 1 of 2.";
            assert_eq!(
                (&list["note"], &list["items"][0]["queue_offset"]),
                (&json!(note), &json!(24))
            );
            let older = browser.get("/api/messages?topic=T&page=2").await;
            let offsets = older["messages"]["items"].as_array().unwrap().iter();
            let offsets: Vec<_> = offsets.map(|it| it["queue_offset"].as_i64().unwrap()).collect();
            assert_eq!(offsets.len(), 5, "{older}");
            assert!(offsets.contains(&0) && offsets.contains(&4), "{offsets:?}");

            // The address in an id is asked only if a broker is there.
            let id = "0A00006300002A9F0000000000000000";
            let refused = browser.refused(&format!("/api/messages?id={id}")).await;
            assert_eq!(refused, (502, "the name server knows no broker at 10.0.0.99:10911".into()));
            assert_eq!(browser.refused("/api/messages?id=X").await.0, 400);
            let (_member, _) = consumer(&instance, "G", "T").await;
            seconds(30).await;
            let it = browser.get(&format!("/api/message?{place}")).await;
            assert_eq!(it["groups"]["items"][0]["state"], "CONSUMED", "{it}");
        })
        .await;
    });
}

fn world_now_ms(desk: &Desk) -> u64 {
    desk.env().clock.now_millis()
}

/// A member that gives up what it is given as `T`'s, and takes what it is given as a dead letter.
async fn who_gives_up(instance: &ClientInstance) -> PushConsumer {
    let config = PushConsumerConfig {
        consume_from_where: ConsumeFromWhere::ConsumeFromFirstOffset,
        reconsume_times_max: 0,
        ..PushConsumerConfig::new("G", "T", "*")
    };
    let listener = |messages: &[Arc<MessageExt>]| match messages[0].message.topic.as_str() {
        "T" => ConsumeResult::ReconsumeLater.into(),
        _ => ConsumeResult::Success.into(),
    };
    PushConsumer::start(instance, config, Arc::new(listener)).await.unwrap()
}

#[test]
fn dead_letters_are_sent_again_where_that_is_allowed() {
    at_desk(async |cluster, master, desk| {
        desk.prints(&format!("updateTopic -b {} -t T -r 1 -w 1", master.addr)).await;
        let (_machine, instance) = new_instance(&cluster.world, "member");
        let member = who_gives_up(&instance).await;
        let producer = Producer::new(&instance, ProducerConfig::new("P"));
        producer.send(hostile("T")).await.unwrap();
        seconds(40).await;
        with_console(&desk, "--allow-changes", async |browser| {
            let groups = browser.get("/api/dead-letters").await;
            assert_eq!(groups["items"], json!([{ "group": "G", "letters": 1 }]));
            let letters = browser.get("/api/dead-letters?group=G").await;
            let letter = letters["messages"]["items"][0].clone();
            assert_eq!((&letter["topic"], &letter["keys"]), (&json!("%DLQ%G"), &json!(HOSTILE)));
            assert_eq!(browser.refused("/api/dead-letters?group=Nobody").await.0, 404);

            let order =
                json!({ "group": "G", "address": letter["address"], "offset": letter["offset"] });
            let told = browser.post(&order).await.unwrap();
            assert_eq!(told["result"], "CR_SUCCESS", "{told}");
            // It is where it was, as in RocketMQ.
            let letters = browser.get("/api/dead-letters?group=G").await;
            assert_eq!(letters["messages"]["total"], 1);

            let elsewhere = json!({ "group": "G", "address": letter["address"], "offset": 0 });
            let (status, error) = browser.post(&elsewhere).await.unwrap_err();
            assert_eq!(status, 404, "{error}");
            let (status, error) = browser.post(&json!({ "group": "G" })).await.unwrap_err();
            assert!(status == 400 && error.contains("missing field"), "{error}");
            member.shutdown().await;
            let (status, error) = browser.post(&order).await.unwrap_err();
            assert!(
                status == 404 && error.starts_with("nobody of the group G is online"),
                "{error}"
            );
        })
        .await;
    });
}

#[test]
fn nothing_is_changed_unless_that_is_allowed() {
    at_desk(async |_, _, desk| {
        with_console(&desk, "", async |browser| {
            let order = json!({ "group": "G", "address": "a-0:10911", "offset": 0 });
            let (status, error) = browser.post(&order).await.unwrap_err();
            assert!(status == 403 && error.contains("--allow-changes"), "{error}");
        })
        .await;
    });
}

#[test]
fn other_pages_are_kept_out() {
    at_desk(async |_, _, desk| {
        with_console(&desk, "--allow-changes", async |browser: &Browser| {
            let page = browser.ask("GET", "/", &[]).await;
            assert_eq!(page.status, 200);
            assert!(
                page.head
                    .contains("content-security-policy: default-src 'none'; script-src 'self'")
            );
            assert!(page.head.contains("x-content-type-options: nosniff"), "{}", page.head);
            assert!(!page.head.contains("access-control"), "{}", page.head);
            for file in ["/console.js", "/views.js", "/elements.js", "/console.css"] {
                assert_eq!(browser.ask("GET", file, &[]).await.status, 200, "{file}");
            }
            let rebound = browser.ask("GET", "/api/brokers", &[("Host", "evil.example")]).await;
            assert_eq!(rebound.status, 403);
            let token = browser.token().await;
            for headers in [
                &[("X-Console-Token", "0"), ("Origin", browser.origin())][..],
                &[("X-Console-Token", &*token), ("Origin", "http://evil.example")],
            ] {
                let answer = browser.ask("POST", "/api/dead-letters/resend", headers).await;
                assert_eq!(answer.status, 403, "{headers:?}");
            }
            assert_eq!(browser.ask("POST", "/api/topics", &[]).await.status, 405);
            // Who is let in is told of the body that he lacks.
            let headers = [("X-Console-Token", &*token), ("Origin", browser.origin())];
            let answer = browser.ask("POST", "/api/dead-letters/resend", &headers).await;
            assert_eq!((answer.status, answer.json()["error"].is_string()), (400, true));
        })
        .await;
    });
}

#[test]
fn a_console_that_cannot_listen_says_so() {
    at_desk(async |_, _, mut desk| {
        with_console(&desk, "", async |_| {
            let (_, error) = desk.fails("console").await;
            let text = error.to_string();
            assert!(text.starts_with("127.0.0.1:8080 cannot be listened on: "), "{text}");
        })
        .await;
        desk.surroundings.namesrv_addr = None;
        let (_, error) = desk.fails("console").await;
        assert!(error.is_input(), "{error}");
    });
}
