//! Tests by name that find what only shows as a delay in stories, or what no workload asks for. Each says what is wrong,
//! or nothing.

use std::time::Duration;

use mq_namesrv::route_info_manager::{BROKER_EXPIRED, RouteInfoManager};
use mq_protocol::body::topic_config::{TopicConfig, TopicConfigSerializeWrapper};
use mq_protocol::header::namesrv::{BrokerIdentityRequestHeader, RegisterBrokerRequestHeader};
use mq_remoting::ChannelId;
use tokio::time::Instant;

/// A test: what it finds wrong.
pub type Named = fn() -> Option<String>;

/// All of them.
pub const ALL: [(&str, Named); 3] = [
    ("mq-namesrv: who leaves takes nobody along", who_leaves_takes_nobody_along),
    (
        "mq-namesrv: a connection that ends takes no newer registration along",
        an_old_connection_takes_nothing_along,
    ),
    ("mq-namesrv: a silent broker is in no route", a_silent_broker_is_in_no_route),
];

/// Registers broker `id` of group `a` at `h<id>` over a connection.
fn register(routes: &mut RouteInfoManager, id: i64, connection: u64, now: Instant) {
    let broker = RegisterBrokerRequestHeader {
        broker_name: "a".to_owned(),
        broker_addr: format!("h{id}"),
        broker_id: id,
        ..RegisterBrokerRequestHeader::default()
    };
    let mut topics = TopicConfigSerializeWrapper::default();
    let topic = TopicConfig::new("T", 4, 6);
    topics.topic_config_table.insert("T".to_owned(), topic);
    let registered = routes.register_broker(&broker, &topics, ChannelId(connection), now);
    registered.expect("there is room for two brokers");
}

fn addrs(routes: &RouteInfoManager) -> Vec<String> {
    let route = routes.pickup_topic_route_data("T");
    let brokers = route.into_iter().flat_map(|route| route.broker_datas);
    brokers.flat_map(|broker| broker.broker_addrs.into_values().collect::<Vec<_>>()).collect()
}

fn expect(routes: &RouteInfoManager, wanted: &[&str]) -> Option<String> {
    let found = addrs(routes);
    (found != wanted).then(|| format!("the route has {found:?}, not {wanted:?}"))
}

fn who_leaves_takes_nobody_along() -> Option<String> {
    let (mut routes, now) = (RouteInfoManager::default(), Instant::now());
    register(&mut routes, 0, 1, now);
    register(&mut routes, 1, 2, now);
    routes.unregister_broker(&BrokerIdentityRequestHeader {
        broker_name: "a".to_owned(),
        broker_addr: "h1".to_owned(),
        broker_id: 1,
        ..BrokerIdentityRequestHeader::default()
    });
    expect(&routes, &["h0"])
}

fn an_old_connection_takes_nothing_along() -> Option<String> {
    let (mut routes, now) = (RouteInfoManager::default(), Instant::now());
    register(&mut routes, 0, 1, now);
    register(&mut routes, 0, 2, now);
    routes.on_channel_closed(ChannelId(1));
    expect(&routes, &["h0"])
}

fn a_silent_broker_is_in_no_route() -> Option<String> {
    let (mut routes, now) = (RouteInfoManager::default(), Instant::now());
    register(&mut routes, 0, 1, now);
    register(&mut routes, 1, 2, now + BROKER_EXPIRED);
    routes.scan_not_active_broker(now + BROKER_EXPIRED + Duration::from_millis(1));
    expect(&routes, &["h1"])
}
