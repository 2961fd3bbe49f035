//! Over TCP of the machine.

use std::sync::Arc;
use std::time::Duration;

use mq_env::Env;
use mq_protocol::codes::ResponseCode;
use mq_protocol::serialize::SerializeType;
use mq_remoting::{ProcessorTable, RemotingClient, RemotingClientConfig, RemotingError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fixtures::{
    ECHO, FAIL, HOLD, LARGE, SECOND, SLEEP, TestServer, Verbs, body, client, request,
};

const LOOPBACK: &str = "127.0.0.1:0";

#[tokio::test]
async fn a_reply_carries_what_was_asked_in_the_serialization_asked() {
    let env = Env::os();
    let server = TestServer::start(&env, &[LOOPBACK]).await;
    let client = client(&env);
    for serialize_type in [SerializeType::Json, SerializeType::RocketMq] {
        let mut ask = request(ECHO, "hello");
        ask.serialize_type = serialize_type;
        ask.ext_fields.insert("topic", "T");
        let reply = client.invoke(&server.addr(), ask, SECOND).await.unwrap();
        assert_eq!((reply.code, body(&reply)), (ResponseCode::SUCCESS, "hello"));
        assert!(reply.is_response());
        assert_eq!(reply.ext_fields.get("topic"), Some("T"));
        assert_eq!(reply.serialize_type, serialize_type);
    }
    assert_eq!(server.events(), ["#0 connected"], "both requests took one connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_answers_overtake_each_other() {
    let env = Env::os();
    let server = TestServer::start(&env, &[LOOPBACK]).await;
    let (client, addr) = (client(&env), server.addr());
    let asks = [30, 1, 20, 0, 10].map(|wait_ms| {
        let ask = request(SLEEP, &wait_ms.to_string());
        async { body(&client.invoke(&addr, ask, SECOND).await.unwrap()).to_owned() }
    });
    assert_eq!(futures::future::join_all(asks).await, ["30", "1", "20", "0", "10"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_concurrent_requests_get_their_own_replies() {
    let env = Env::os();
    let server = TestServer::start(&env, &[LOOPBACK]).await;
    let (client, addr) = (client(&env), server.addr());
    let asks = (0..1000).map(|n| {
        let (client, addr) = (&client, &addr);
        async move {
            let text = format!("{n}-{}", "x".repeat(n));
            let reply = client.invoke(addr, request(ECHO, &text), 10 * SECOND).await.unwrap();
            body(&reply) == text
        }
    });
    assert!(futures::future::join_all(asks).await.into_iter().all(|same| same));
}

#[tokio::test]
async fn large_replies_arrive_whole() {
    let env = Env::os();
    let server = TestServer::start(&env, &[LOOPBACK]).await;
    let client = client(&env);
    for len in [0, 1, 5000, 1 << 20, 9 << 20] {
        let ask = request(LARGE, &len.to_string());
        let reply = client.invoke(&server.addr(), ask, 10 * SECOND).await.unwrap();
        assert_eq!(reply.body.len(), len);
    }
}

#[tokio::test]
async fn every_port_serves() {
    let env = Env::os();
    let server = TestServer::start(&env, &[LOOPBACK, LOOPBACK]).await;
    let client = client(&env);
    for addr in server.addrs() {
        client.invoke(&addr.to_string(), request(ECHO, ""), SECOND).await.unwrap();
    }
    let ports: Vec<u16> =
        server.server.channels().iter().map(|channel| channel.local_addr().port()).collect();
    assert_eq!(ports, server.addrs().iter().map(std::net::SocketAddr::port).collect::<Vec<_>>());
}

#[tokio::test]
async fn one_way_requests_are_processed_and_not_answered() {
    let env = Env::os();
    let server = TestServer::start(&env, &[LOOPBACK]).await;
    let mut stream = env.net.connect(&server.addr()).await.unwrap();
    let mut ask = request(ECHO, "quiet");
    ask.mark_oneway();
    let mut frames = bytes::BytesMut::new();
    mq_protocol::frame::encode(&ask, &mut frames);
    let mut failing = request(FAIL, "quiet too");
    failing.mark_oneway();
    mq_protocol::frame::encode(&failing, &mut frames);
    mq_protocol::frame::encode(&request(ECHO, "loud"), &mut frames);
    stream.write_all(&frames).await.unwrap();
    let mut received = bytes::BytesMut::new();
    let first = loop {
        stream.read_buf(&mut received).await.unwrap();
        if let Some(reply) = mq_protocol::frame::decode(&mut received).unwrap() {
            break reply;
        }
    };
    assert_eq!(body(&first), "loud");
    assert_eq!(*server.verbs.seen.lock().unwrap(), ["quiet", "quiet too", "loud"]);
}

#[tokio::test]
async fn errors_and_unknown_codes_become_replies() {
    let env = Env::os();
    let server = TestServer::start(&env, &[LOOPBACK]).await;
    let client = client(&env);
    let reply = client.invoke(&server.addr(), request(FAIL, ""), SECOND).await.unwrap();
    assert_eq!(reply.code, ResponseCode::SYSTEM_ERROR);
    assert_eq!(reply.remark.as_deref(), Some("the disk is gone"));
    let reply = client.invoke(&server.addr(), request(9999, ""), SECOND).await.unwrap();
    assert_eq!(reply.code, ResponseCode::REQUEST_CODE_NOT_SUPPORTED);
    assert_eq!(reply.remark.as_deref(), Some(" request type 9999 not supported"));
}

#[tokio::test]
async fn the_server_asks_its_client_over_the_same_connection() {
    let env = Env::os();
    let server = TestServer::start(&env, &[LOOPBACK]).await;
    let asked = Arc::new(Verbs::default());
    let table = ProcessorTable::default().register(&[ECHO], Arc::clone(&asked) as Arc<_>);
    let client = RemotingClient::new(env.clone(), RemotingClientConfig::default(), table);
    client.invoke(&server.addr(), request(ECHO, ""), SECOND).await.unwrap();

    let channel = server.server.channels().remove(0);
    let reply = channel.invoke(request(ECHO, "who are you"), SECOND).await.unwrap();
    assert_eq!(body(&reply), "who are you");
    channel.oneway(request(ECHO, "never mind")).unwrap();
    let reply = channel.invoke(request(9999, ""), SECOND).await.unwrap();
    assert_eq!(reply.code, ResponseCode::REQUEST_CODE_NOT_SUPPORTED);
    assert_eq!(*asked.seen.lock().unwrap(), ["who are you", "never mind"]);
}

#[tokio::test]
async fn a_bad_frame_closes_the_connection() {
    let env = Env::os();
    let server = TestServer::start(&env, &[LOOPBACK]).await;
    let mut stream = env.net.connect(&server.addr()).await.unwrap();
    stream.write_all(&[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]).await.unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
    tokio::task::yield_now().await;
    let events = server.events();
    assert!(events.len() == 2 && events[1].starts_with("#0 bad frame: "), "{events:?}");
}

#[tokio::test]
async fn nobody_listening_is_a_connect_error() {
    let env = Env::os();
    let free = env.net.bind(LOOPBACK.parse().unwrap()).await.unwrap().local_addr().unwrap();
    let error = client(&env).invoke(&free.to_string(), request(ECHO, ""), SECOND).await;
    assert!(matches!(error, Err(RemotingError::Connect { .. })), "{error:?}");
}

#[tokio::test]
async fn shutdown_of_the_server_fails_what_is_held_and_the_client_reconnects_to_the_next() {
    let env = Env::os();
    let server = TestServer::start(&env, &[LOOPBACK]).await;
    let (client, addr) = (client(&env), server.addr());
    let held = client.invoke(&addr, request(HOLD, ""), 10 * SECOND);
    let shutdown = async {
        while server.verbs.held.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        server.server.shutdown().await;
    };
    let (held, ()) = tokio::join!(held, shutdown);
    assert!(matches!(held, Err(RemotingError::Closed { .. })), "{held:?}");
    assert_eq!(server.events(), ["#0 connected", "#0 closed by this side"]);

    let refused = client.invoke(&addr, request(ECHO, ""), SECOND).await;
    assert!(matches!(refused, Err(RemotingError::Connect { .. })), "{refused:?}");
    let _next = TestServer::start(&env, &[&addr]).await;
    client.invoke(&addr, request(ECHO, ""), SECOND).await.unwrap();
    client.shutdown().await;
    let after = client.invoke(&addr, request(ECHO, ""), SECOND).await;
    assert!(matches!(after, Err(RemotingError::Closed { .. })), "{after:?}");
}
