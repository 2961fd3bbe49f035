//! Over the network in memory, under a paused clock: deadlines, idle limits, cut frames, order.

use std::time::Duration;

use bytes::BytesMut;
use mq_protocol::frame;
use mq_remoting::{CloseReason, RemotingError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::fixtures::{ECHO, HOLD, LARGE, SECOND, SLEEP, TestServer, body, client, request};
use crate::memory_net::memory_env;

const SERVER: &str = "10.0.0.2:10911";

#[tokio::test(start_paused = true)]
async fn a_timeout_closes_the_connection_and_fails_what_else_is_in_flight() {
    let env = memory_env();
    let server = TestServer::start(&env, &[SERVER]).await;
    let client = client(&env);
    let begin = Instant::now();
    let (pull, send) = tokio::join!(
        client.invoke_async(SERVER, request(HOLD, "pull"), 30 * SECOND),
        client.invoke(SERVER, request(HOLD, "send"), 3 * SECOND),
    );
    assert_eq!(begin.elapsed(), 3 * SECOND);
    assert!(matches!(send, Err(RemotingError::Timeout { timeout, .. }) if timeout == 3 * SECOND));
    let closed = RemotingError::Closed { addr: SERVER.into(), reason: CloseReason::Requested };
    assert_eq!(pull, Err(closed));
    tokio::task::yield_now().await;
    assert_eq!(server.events(), ["#0 connected", "#0 closed by the peer"]);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_an_async_request_leaves_the_connection_and_the_late_reply_is_dropped() {
    let env = memory_env();
    let server = TestServer::start(&env, &[SERVER]).await;
    let client = client(&env);
    let late = client.invoke_async(SERVER, request(SLEEP, "2000"), SECOND).await;
    assert!(matches!(late, Err(RemotingError::Timeout { .. })), "{late:?}");
    let reply = client.invoke(SERVER, request(SLEEP, "1500"), 2 * SECOND).await.unwrap();
    assert_eq!(body(&reply), "1500");
    assert_eq!(server.events(), ["#0 connected"]);
}

#[tokio::test(start_paused = true)]
async fn a_held_request_is_answered_later_by_its_responder() {
    let env = memory_env();
    let server = TestServer::start(&env, &[SERVER]).await;
    let client = client(&env);
    let begin = Instant::now();
    let answer = async {
        tokio::time::sleep(15 * SECOND).await;
        let responder = server.verbs.held.lock().unwrap().remove(0);
        responder.clone().respond(request(0, "found"));
    };
    let (reply, ()) =
        tokio::join!(client.invoke_async(SERVER, request(HOLD, ""), 30 * SECOND), answer);
    assert_eq!(body(&reply.unwrap()), "found");
    assert_eq!(begin.elapsed(), 15 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed_after_two_minutes_of_silence() {
    let env = memory_env();
    let server = TestServer::start(&env, &[SERVER]).await;
    let mut stream = env.net.connect(SERVER).await.unwrap();
    tokio::time::sleep(100 * SECOND).await;
    let mut frame = BytesMut::new();
    frame::encode(&request(ECHO, ""), &mut frame);
    stream.write_all(&frame).await.unwrap();
    let spoke = Instant::now();
    let mut received = Vec::new();
    stream.read_to_end(&mut received).await.unwrap();
    assert_eq!(spoke.elapsed(), 120 * SECOND);
    tokio::task::yield_now().await;
    assert_eq!(server.events(), ["#0 connected", "#0 idle"]);
}

#[tokio::test(start_paused = true)]
async fn connecting_into_silence_ends_after_three_seconds() {
    let env = memory_env();
    let client = client(&env);
    let begin = Instant::now();
    let error = client.invoke("10.9.0.1:9876", request(ECHO, ""), 10 * SECOND).await;
    assert!(matches!(error, Err(RemotingError::Connect { .. })), "{error:?}");
    assert_eq!(begin.elapsed(), 3 * SECOND);

    let shutdown = async {
        tokio::time::sleep(SECOND).await;
        client.shutdown().await;
    };
    let (error, ()) =
        tokio::join!(client.invoke("10.9.0.1:9876", request(ECHO, ""), 10 * SECOND), shutdown);
    assert!(matches!(error, Err(RemotingError::Closed { .. })), "{error:?}");
    assert_eq!(begin.elapsed(), 4 * SECOND, "shutdown does not wait for the connection");
}

#[tokio::test(start_paused = true)]
async fn frames_may_be_cut_anywhere() {
    let env = memory_env();
    let _server = TestServer::start(&env, &[SERVER]).await;
    let mut stream = env.net.connect(SERVER).await.unwrap();
    let mut frames = BytesMut::new();
    for text in ["one", "two", "three"] {
        frame::encode(&request(ECHO, text), &mut frames);
    }
    for step in 1..20 {
        for chunk in frames.chunks(step) {
            stream.write_all(chunk).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut received = BytesMut::new();
        let mut texts = Vec::new();
        while texts.len() < 3 {
            stream.read_buf(&mut received).await.unwrap();
            while let Some(reply) = frame::decode(&mut received).unwrap() {
                texts.push(body(&reply).to_owned());
            }
        }
        assert_eq!(texts, ["one", "two", "three"], "cut every {step} bytes");
    }
}

/// Replies that a peer does not read stop the reading of its requests; nothing is lost.
#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_not_read_from() {
    const REPLIES: usize = 64;
    let env = memory_env();
    let server = TestServer::start(&env, &[SERVER]).await;
    let stream = env.net.connect(SERVER).await.unwrap();
    let (mut reading, mut writing) = tokio::io::split(stream);
    let writer = async {
        for _ in 0..REPLIES {
            let mut frame = BytesMut::new();
            let mut ask = request(LARGE, &(1 << 20).to_string());
            ask.ext_fields.insert("padding", &"p".repeat(32 << 10));
            frame::encode(&ask, &mut frame);
            writing.write_all(&frame).await.unwrap();
        }
    };
    let reader = async {
        tokio::time::sleep(SECOND).await;
        let processed = server.verbs.seen.lock().unwrap().len();
        assert!((8..REPLIES / 2).contains(&processed), "{processed} processed meanwhile");
        let (mut received, mut replies) = (BytesMut::new(), 0);
        while replies < REPLIES {
            reading.read_buf(&mut received).await.unwrap();
            while frame::decode(&mut received).unwrap().is_some() {
                replies += 1;
            }
        }
    };
    tokio::join!(writer, reader);
}

/// The order in which concurrent requests are processed and answered, as text.
async fn one_run() -> String {
    let env = memory_env();
    let server = TestServer::start(&env, &[SERVER]).await;
    let order = std::sync::Mutex::new(Vec::new());
    let clients: Vec<_> = (0..4).map(|_| client(&env)).collect();
    let asks = (0..40_u64).map(|n| {
        let (client, order) = (&clients[n as usize % 4], &order);
        async move {
            tokio::time::sleep(Duration::from_millis(n % 3)).await;
            let ask = request(SLEEP, &(n % 5).to_string());
            client.invoke(SERVER, ask, SECOND).await.unwrap();
            order.lock().unwrap().push(n);
        }
    });
    futures::future::join_all(asks).await;
    let seen = server.verbs.seen.lock().unwrap().join(" ");
    format!("{seen} | {:?}", order.lock().unwrap())
}

#[test]
fn two_runs_are_the_same() {
    let run = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().enable_io().start_paused(true).build().unwrap().block_on(one_run())
    };
    assert_eq!(run(), run());
}
