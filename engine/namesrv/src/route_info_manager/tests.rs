//! The rules as scripts: what happens, and what a client would be told then.
//!
//! ```text
//! register a-1 h2 v3 T=4,U=8 #2 @30    broker "a" id 1 at address h2 registers version 3 of topics
//!                                      T and U (4 and 8 queues) by connection 2 at second 30
//! version h2 v3 @60                    asks whether h2 is known with version 3
//! unregister a-1 h2 | close #2 | scan @130 | wipe a | add a | delete T
//! route T                              prints addresses, queues and permission per broker name
//! clusters | topics                    print what these requests would answer
//! ```

use mq_protocol::body::OrderedMap;

use super::*;

/// Plays `script` and returns what its steps printed.
fn play(script: &str) -> String {
    let (mut manager, start) = (RouteInfoManager::default(), Instant::now());
    let lines = script.lines().map(str::trim).filter(|line| !line.is_empty());
    let printed = lines.filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let text = step(&mut manager, start, &words).trim_end().to_owned();
        (!text.is_empty()).then_some(text)
    });
    printed.collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn check(script: &str, expected: &str) {
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    assert_eq!(play(script), expected.join("\n"));
}

fn step(manager: &mut RouteInfoManager, start: Instant, words: &[&str]) -> String {
    let at = |word: &str| start + Duration::from_secs(word[1..].parse().unwrap());
    let channel = |word: &str| ChannelId(word[1..].parse().unwrap());
    match *words {
        ["register", broker, addr, version, topics, conn, time] => {
            let header = register_header(broker, addr);
            let topics = topic_table(version, topics);
            let found = manager.register_broker(&header, &topics, channel(conn), at(time)).unwrap();
            match (found.master_addr, found.ha_server_addr) {
                (None, None) => String::new(),
                (master, ha) => format!("{broker}: master {} ha {}", master.unwrap(), ha.unwrap()),
            }
        }
        ["version", addr, version, time] => {
            let asked = data_version(version);
            let (changed, known) = manager.query_data_version(addr, asked, at(time));
            let known = known.map_or("nothing".into(), |known| format!("v{}", known.counter));
            format!("{addr}: changed {changed}, known {known}")
        }
        ["unregister", broker, addr] => {
            let RegisterBrokerRequestHeader { broker_name, cluster_name, broker_id, .. } =
                register_header(broker, addr);
            let broker_addr = addr.to_owned();
            manager.unregister_broker(&BrokerIdentityRequestHeader {
                broker_name,
                broker_addr,
                cluster_name,
                broker_id,
            });
            String::new()
        }
        ["close", conn] => {
            format!("close: {}", manager.on_channel_closed(channel(conn)).unwrap_or_default())
        }
        ["scan", time] => {
            let expired = manager.scan_not_active_broker(at(time));
            let expired: Vec<_> =
                expired.iter().map(|(addr, conn)| format!("{addr}{conn}")).collect();
            format!("expired: {}", expired.join(" "))
        }
        ["wipe", name] => format!("wiped {}", manager.wipe_write_perm_of_broker(name)),
        ["add", name] => format!("added {}", manager.add_write_perm_of_broker(name)),
        ["delete", topic] => {
            manager.delete_topic(topic, None);
            String::new()
        }
        ["delete", topic, cluster] => {
            manager.delete_topic(topic, Some(cluster));
            String::new()
        }
        ["route", topic] => format!("{topic}: {}", route(manager, topic)),
        ["topics"] => manager.all_topic_list().join(" "),
        ["topics", cluster] => manager.topics_by_cluster(cluster).join(" "),
        ["system"] => format!("{:?}", manager.system_topic_list()),
        ["clusters"] => {
            let clusters = manager.cluster_info().cluster_addr_table;
            let texts =
                clusters.iter().map(|(name, brokers)| format!("{name}={}", brokers.join("+")));
            format!("clusters: {}", texts.collect::<Vec<_>>().join(" "))
        }
        _ => panic!("no such step: {words:?}"),
    }
}

/// `name-id`, or `cluster/name-id`.
fn register_header(broker: &str, addr: &str) -> RegisterBrokerRequestHeader {
    let (cluster, broker) = broker.split_once('/').unwrap_or(("C", broker));
    let (name, id) = broker.rsplit_once('-').unwrap();
    RegisterBrokerRequestHeader {
        broker_name: name.into(),
        broker_addr: addr.into(),
        cluster_name: cluster.into(),
        ha_server_addr: format!("{addr}-ha"),
        broker_id: id.parse().unwrap(),
        ..RegisterBrokerRequestHeader::default()
    }
}

fn data_version(version: &str) -> DataVersion {
    DataVersion { counter: version[1..].parse().unwrap(), timestamp: 7 }
}

fn topic_table(version: &str, topics: &str) -> TopicConfigSerializeWrapper {
    let topics = topics.split(',').filter_map(|topic| topic.split_once('='));
    let topic_config_table: OrderedMap<_, _> = topics
        .map(|(name, queues)| (name.into(), TopicConfig::new(name, queues.parse().unwrap(), 6)))
        .collect();
    TopicConfigSerializeWrapper { data_version: data_version(version), topic_config_table }
}

fn route(manager: &RouteInfoManager, topic: &str) -> String {
    let Some(route) = manager.pickup_topic_route_data(topic) else { return "none".into() };
    let texts = route.queue_datas.iter().map(|queue| {
        let mut brokers = route.broker_datas.iter();
        let broker = brokers.find(|broker| broker.broker_name == queue.broker_name);
        let addrs = broker.map(|broker| {
            let addrs = broker.broker_addrs.iter().map(|(id, addr)| format!("{id}={addr}"));
            addrs.collect::<Vec<_>>().join(",")
        });
        let addrs = addrs.unwrap_or("-".into());
        format!("{}[{addrs}] {}q perm {}", queue.broker_name, queue.write_queue_nums, queue.perm)
    });
    texts.collect::<Vec<_>>().join("; ")
}

#[test]
fn a_master_and_its_slave_register() {
    check(
        "route T
         register a-1 h2 v1 T=4 #2 @0
         route T
         register a-0 h1 v1 T=4,U=8 #1 @1
         register a-1 h2 v1 T=4 #2 @2
         route T
         route U
         clusters",
        "T: none
         T: none
         a-1: master h1 ha h1-ha
         T: a[0=h1,1=h2] 4q perm 6
         U: a[0=h1,1=h2] 8q perm 6
         clusters: C=a",
    );
}

#[test]
fn topics_are_published_when_the_version_changed_and_never_taken_back() {
    check(
        "register a-0 h1 v1 T=4 #1 @0
         register a-0 h1 v1 T=9 #1 @30
         route T
         register a-0 h1 v2 U=8 #1 @60
         route T
         route U
         topics",
        "T: a[0=h1] 4q perm 6
         T: a[0=h1] 4q perm 6
         U: a[0=h1] 8q perm 6
         T U",
    );
}

#[test]
fn a_topic_that_was_deleted_comes_back_where_a_broker_still_has_it() {
    check(
        "register a-0 h1 v1 T=4,U=8 #1 @0
         delete T
         route T
         version h1 v1 @10
         register a-0 h1 v1 T=4,U=8 #1 @30
         route T
         version h1 v1 @31
         delete T
         register a-0 h1 v2 U=8 #1 @60
         route T
         route U",
        "T: none
         h1: changed true, known v1
         T: a[0=h1] 4q perm 6
         h1: changed false, known v1
         T: none
         U: a[0=h1] 8q perm 6",
    );
}

#[test]
fn the_last_master_wins_and_a_new_address_publishes_again() {
    check(
        "register a-0 h1 v1 T=4 #1 @0
         register a-0 h2 v1 T=8 #2 @1
         route T
         register a-0 h1 v1 T=4 #1 @30
         route T",
        "T: a[0=h2] 8q perm 6
         T: a[0=h1] 8q perm 6",
    );
}

#[test]
fn an_address_has_one_id_so_a_promotion_is_one_step() {
    check(
        "register a-0 h1 v1 T=4 #1 @0
         register a-1 h2 v1 T=4 #2 @0
         register a-0 h2 v1 T=4 #2 @30
         route T
         close #1
         route T",
        "a-1: master h1 ha h1-ha
         T: a[0=h2] 4q perm 6
         close: h1
         T: a[0=h2] 4q perm 6",
    );
}

#[test]
fn a_promoted_slave_publishes_what_it_registered_in_vain_before() {
    check(
        "register a-1 h2 v1 T=4 #2 @0
         route T
         register a-0 h2 v1 T=4 #2 @30
         route T",
        "T: none
         T: a[0=h2] 4q perm 6",
    );
}

#[test]
fn topics_stay_while_a_slave_is_left() {
    check(
        "register a-0 h1 v1 T=4 #1 @0
         register a-1 h2 v1 T=4 #2 @0
         close #1
         route T
         unregister a-1 h2
         route T
         clusters
         topics",
        "a-1: master h1 ha h1-ha
         close: h1
         T: a[1=h2] 4q perm 6
         T: none
         clusters:",
    );
}

#[test]
fn a_slave_whose_master_is_gone_is_told_of_none() {
    check(
        "register a-0 h1 v1 T=4 #1 @0
         register a-1 h2 v1 T=4 #2 @0
         close #1
         register a-1 h2 v1 T=4 #2 @30",
        "a-1: master h1 ha h1-ha
         close: h1",
    );
}

#[test]
fn unregistering_takes_the_id_whoever_holds_it() {
    check(
        "register a-0 h1 v1 T=4 #1 @0
         register a-1 h3 v1 T=4 #3 @0
         register a-0 h2 v1 T=4 #2 @1
         unregister a-0 h1
         route T
         register a-0 h2 v1 T=4 #2 @31
         route T",
        "a-1: master h1 ha h1-ha
         T: a[1=h3] 4q perm 6
         T: a[0=h2,1=h3] 4q perm 6",
    );
}

#[test]
fn the_end_of_an_old_connection_takes_nothing_along() {
    check(
        "register a-0 h1 v1 T=4 #1 @0
         register a-0 h1 v1 T=4 #2 @30
         close #1
         route T
         close #2
         route T",
        "close:
         T: a[0=h1] 4q perm 6
         close: h1
         T: none",
    );
}

#[test]
fn silence_counts_from_120_seconds_on() {
    check(
        "register a-0 h1 v1 T=4 #1 @0
         register b-0 h2 v1 T=4 #2 @0
         version h2 v1 @60
         version h1 v2 @60
         scan @120
         scan @121
         route T
         version h1 v1 @122
         scan @180
         scan @181
         topics",
        "h2: changed false, known v1
         h1: changed true, known v1
         expired:
         expired: h1#1
         T: b[0=h2] 4q perm 6
         h1: changed true, known nothing
         expired:
         expired: h2#2",
    );
}

#[test]
fn a_wiped_permission_comes_back_with_the_next_change() {
    check(
        "register a-0 h1 v1 T=4,U=8 #1 @0
         register b-0 h2 v1 T=4 #2 @0
         wipe a
         route T
         register a-0 h1 v1 T=4,U=8 #1 @30
         route U
         register a-0 h1 v2 T=4 #1 @60
         route T
         route U
         add a
         route U
         wipe x",
        "wiped 2
         T: a[0=h1] 4q perm 4; b[0=h2] 4q perm 6
         U: a[0=h1] 8q perm 4
         T: a[0=h1] 4q perm 6; b[0=h2] 4q perm 6
         U: a[0=h1] 8q perm 4
         added 2
         U: a[0=h1] 8q perm 6
         wiped 0",
    );
}

#[test]
fn lists_by_cluster_and_deletion() {
    check(
        "register C/a-0 h1 v1 T=4,U=8 #1 @0
         register D/b-0 h2 v1 T=4,V=1 #2 @0
         topics
         topics D
         topics E
         system
         delete T D
         route T
         delete T
         route T
         delete V D
         topics
         register E/a-0 h1 v2 T=4 #1 @30
         clusters
         close #1
         clusters",
        r#"T U V
         T V
         (["C", "a", "D", "b"], Some("h1"))
         T: a[0=h1] 4q perm 6
         T: none
         U
         clusters: C=a D=b E=a
         close: h1
         clusters: D=b"#,
    );
}

#[test]
fn nothing_is_left_of_what_is_gone() {
    let (mut manager, start) = (RouteInfoManager::default(), Instant::now());
    let empty = format!("{manager:?}");
    let script = "register C/a-0 h1 v1 T=4,U=8 #1 @0
         register D/a-0 h1 v2 V=4 #2 @0
         register C/a-1 h1 v3 T=4 #3 @1
         register C/b-0 h2 v1 T=4 #4 @1
         register C/b-0 h3 v1 T=4 #5 @1
         register C/c-0 h3 v1 W=4 #5 @1
         delete U
         delete T C
         close #3
         close #4
         close #5
         unregister c-0 h3
         scan @200";
    for line in script.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        step(&mut manager, start, &words);
    }
    assert_eq!(format!("{manager:?}"), empty);
}
