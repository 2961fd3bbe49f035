//! What peers that want too much get: over the network in memory, under a paused clock, counted in requests
//! that were looked at and bytes that were asked for.

use std::time::Duration;

use bytes::BytesMut;
use mq_env::Env;
use mq_env::net::Stream;
use mq_protocol::frame;
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::RemotingServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::fixtures::{ECHO, HOLD, LARGE, SECOND, SLEEP, TestServer, body, client, request};
use crate::memory_net::memory_env;

const SERVER: &str = "10.0.0.2:10911";
const MIB: usize = 1 << 20;

fn frames(requests: impl IntoIterator<Item = RemotingCommand>) -> BytesMut {
    let mut frames = BytesMut::new();
    requests.into_iter().for_each(|request| frame::encode(&request, &mut frames));
    frames
}

async fn send(env: &Env, frames: &[u8]) -> Stream {
    let mut stream = env.net.connect(SERVER).await.unwrap();
    stream.write_all(frames).await.unwrap();
    stream
}

fn seen(server: &TestServer) -> usize {
    server.verbs.seen.lock().unwrap().len()
}

/// How many connections ended with a reason that `says` this.
fn closed(server: &TestServer, says: &str) -> usize {
    server.events().iter().filter(|event| event.contains(says)).count()
}

async fn settled() {
    tokio::time::sleep(Duration::from_millis(10)).await;
}

#[tokio::test(start_paused = true)]
async fn replies_are_counted_before_the_next_one_is_made() {
    let env = memory_env();
    let server = TestServer::start(&env, &[SERVER]).await;
    let asked = frames((0..100).map(|_| request(LARGE, &(4 * MIB).to_string())));
    let mut stream = send(&env, &asked).await;
    settled().await;
    // With their headers two are more than the 8 MiB of the high water.
    assert_eq!(seen(&server), 2);
    let (mut received, mut replies) = (BytesMut::new(), 0);
    while replies < 100 {
        stream.read_buf(&mut received).await.unwrap();
        while frame::decode(&mut received).unwrap().is_some() {
            replies += 1;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_reads_is_served_while_many_do_not() {
    let env = memory_env();
    let config = RemotingServerConfig { out_bytes_max: 8 * MIB, ..RemotingServerConfig::default() };
    let server = TestServer::start_with(&env, &[SERVER], config).await;
    let asked = frames((0..20).map(|_| request(LARGE, &MIB.to_string())));
    let mut hoarders = Vec::new();
    for _ in 0..20 {
        hoarders.push(send(&env, &asked).await);
        settled().await;
    }
    // One brings it to the high water, the next begins at the budget, and at its double nobody goes on.
    assert!(seen(&server) <= 19, "{} MiB were made", seen(&server));
    let begun = Instant::now();
    let client = client(&env);
    for _ in 0..50 {
        let reply = client.invoke(SERVER, request(LARGE, &MIB.to_string()), 20 * SECOND).await;
        assert_eq!(reply.unwrap().body.len(), MIB);
    }
    assert!(begun.elapsed() <= 11 * SECOND, "{:?}", begun.elapsed());
    assert!(closed(&server, "unread replies") > 0, "{:?}", server.events());
    assert_eq!(closed(&server, "closed by"), 0, "whoever reads is not closed");
}

#[tokio::test(start_paused = true)]
async fn unfinished_frames_leave_room_for_others() {
    let env = memory_env();
    let config = RemotingServerConfig {
        partial_frame_bytes_max: 8 * MIB,
        ..RemotingServerConfig::default()
    };
    let server = TestServer::start_with(&env, &[SERVER], config).await;
    let large = frames([request(ECHO, &"x".repeat(2 * MIB))]);
    let mut hoarders = Vec::new();
    for _ in 0..20 {
        // Those that find no room are stuck with what the network holds.
        let part = send(&env, &large[..MIB]);
        hoarders.push(tokio::time::timeout(SECOND, part).await);
    }
    let client = client(&env);
    let begun = Instant::now();
    client.invoke(SERVER, request(ECHO, "small"), SECOND).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO, "small frames go on");
    let reply = client.invoke(SERVER, request(ECHO, &"y".repeat(2 * MIB)), 20 * SECOND).await;
    assert_eq!(reply.unwrap().body.len(), 2 * MIB);
    assert!(begun.elapsed() <= 6 * SECOND, "{:?}", begun.elapsed());
    assert!(closed(&server, "unfinished frames") > 0, "{:?}", server.events());
}

#[tokio::test(start_paused = true)]
async fn a_connection_with_enough_in_work_is_not_read_from() {
    let env = memory_env();
    let config = RemotingServerConfig {
        channel_requests_in_work_max: 10,
        ..RemotingServerConfig::default()
    };
    let server = TestServer::start_with(&env, &[SERVER], config).await;
    let slow = frames((0..35).map(|_| request(SLEEP, "1000")));
    let _slow = send(&env, &slow).await;
    for second in 0..4 {
        settled().await;
        assert_eq!(seen(&server), (10 * (second + 1)).min(35));
        tokio::time::sleep(SECOND).await;
    }

    // Those that a processor keeps count, too, whatever becomes of them.
    let env = memory_env();
    let config =
        RemotingServerConfig { channel_requests_in_work_max: 3, ..RemotingServerConfig::default() };
    let server = TestServer::start_with(&env, &[SERVER], config).await;
    let _held = send(&env, &frames((0..7).map(|_| request(HOLD, "")))).await;
    for dropped in 0..3 {
        settled().await;
        assert_eq!(seen(&server), (3 + dropped * 2).min(7));
        server.verbs.held.lock().unwrap().drain(..2).for_each(drop);
    }
}

#[tokio::test(start_paused = true)]
async fn large_requests_in_work_count_with_their_bytes() {
    let env = memory_env();
    let config = RemotingServerConfig {
        channel_in_work_bytes_max: 2 * MIB,
        ..RemotingServerConfig::default()
    };
    let server = TestServer::start_with(&env, &[SERVER], config).await;
    let mut large = request(SLEEP, "1000");
    large.ext_fields.insert("padding", &"p".repeat(MIB));
    let mut stream = env.net.connect(SERVER).await.unwrap();
    let asked = frames((0..10).map(|_| large.clone()));
    let sending = async { stream.write_all(&asked).await.unwrap() };
    let looking = async {
        settled().await;
        assert_eq!(seen(&server), 2);
    };
    tokio::join!(sending, looking);
}

#[tokio::test(start_paused = true)]
async fn replies_that_become_ready_all_at_once_and_are_not_read_end_the_connection() {
    let env = memory_env();
    let config =
        RemotingServerConfig { channel_out_bytes_max: 10 * MIB, ..RemotingServerConfig::default() };
    let server = TestServer::start_with(&env, &[SERVER], config).await;
    let _stream = send(&env, &frames((0..100).map(|_| request(HOLD, "")))).await;
    settled().await;
    let held = std::mem::take(&mut *server.verbs.held.lock().unwrap());
    let channel = held[0].channel().clone();
    let mut writable = 0;
    for responder in held {
        writable += usize::from(channel.is_writable());
        responder.respond(request(0, "").with_body(vec![7; MIB]));
    }
    // Who asks before stops at the high water of 8 MiB.
    assert_eq!(writable, 8);
    channel.closed().await;
    settled().await;
    assert_eq!(closed(&server, "the peer does not read them"), 1, "{:?}", server.events());
}

#[tokio::test(start_paused = true)]
async fn connections_beyond_the_limit_are_closed_as_they_come() {
    let env = memory_env();
    let config = RemotingServerConfig { connections_max: 2, ..RemotingServerConfig::default() };
    let server = TestServer::start_with(&env, &[SERVER], config).await;
    let first = send(&env, &frames([request(ECHO, "1")])).await;
    let _second = send(&env, &frames([request(ECHO, "2")])).await;
    settled().await;
    let mut third = env.net.connect(SERVER).await.unwrap();
    assert_eq!(third.read(&mut [0; 1]).await.unwrap(), 0);
    assert_eq!(server.server.channels().len(), 2);
    drop(first);
    settled().await;
    let reply = client(&env).invoke(SERVER, request(ECHO, "4"), SECOND).await.unwrap();
    assert_eq!(body(&reply), "4");
}

#[tokio::test(start_paused = true)]
async fn others_are_heard_between_the_frames_of_one_connection() {
    const FRAMES: usize = 2_000;
    let env = memory_env();
    let server = TestServer::start(&env, &[SERVER]).await;
    let mut many = env.net.connect(SERVER).await.unwrap();
    let mut one = env.net.connect(SERVER).await.unwrap();
    settled().await;
    let mut tiny = request(ECHO, "");
    tiny.mark_oneway();
    tiny.serialize_type = mq_protocol::serialize::SerializeType::RocketMq;
    let all = frames((0..FRAMES).map(|_| tiny.clone()));
    assert!(all.len() < 60 << 10, "it has to fit the network's window to arrive at once");
    many.write_all(&all).await.unwrap();
    one.write_all(&frames([request(ECHO, "one")])).await.unwrap();
    settled().await;
    let seen = server.verbs.seen.lock().unwrap().clone();
    assert_eq!(seen.len(), FRAMES + 1);
    let at = seen.iter().position(|text| text == "one").unwrap();
    assert!(at <= 300, "after {at} frames");
}
