//! What peers get, over sockets of this machine: answers, refusals, and no more time or room than the limits say.
#![expect(clippy::unwrap_used, reason = "in fixtures of tests a panic is the right end")]

#[path = "../../remoting/tests/remoting/memory_net.rs"]
mod memory_net;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use mq_env::Env;
use mq_http::{HttpServer, Limits, Request, Response, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Says what it was asked, one fact a line.
async fn echo(request: Request) -> Response {
    let Request { method, path, query, body, .. } = &request;
    let form = request.form();
    let agent = request.header("user-agent").unwrap_or("nobody");
    match path.as_str() {
        "/never" => std::future::pending().await,
        "/moved" => Response::error(303, "elsewhere").with_header("location", "/"),
        "/broken" => Response::text("").with_header("bad name", "x"),
        _ => Response::text(format!("{method} {path} {query:?} {agent} {} {form:?}", body.len())),
    }
}

async fn server(env: Env, limits: Limits) -> (Env, HttpServer) {
    let listener = env.net.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
    let server = serve(&env, listener, echo, limits).unwrap();
    (env, server)
}

/// Sends bytes, and reads until the server closes.
async fn said(env: &Env, server: &HttpServer, bytes: &[u8]) -> String {
    let mut stream = env.net.connect(&server.local_addr().to_string()).await.unwrap();
    // A server that refuses a long head may close before it has read all of it.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_request_is_read_whole_and_answered() {
    let (env, server) = server(Env::os(), Limits::default()).await;
    let asked = b"GET /a%20b/c?x=1&y=%26+z&x=2 HTTP/1.1\r\nHost: h\r\nUser-Agent: me\r\n\r\n";
    let answer = said(&env, &server, asked).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\ncontent-type: text/plain; charset=utf-8\r\n"), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert!(!answer.contains("\r\ndate:"), "{answer}");
    let told = r#"GET /a b/c [("x", "1"), ("y", "& z"), ("x", "2")] me 0 []"#;
    assert!(answer.ends_with(told), "{answer}");

    let asked = b"POST /form HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
                  4\r\nk=v&\r\n3\r\nw=%\r\n2\r\n41\r\n0\r\n\r\n";
    let answer = said(&env, &server, asked).await;
    assert!(answer.ends_with(r#"POST /form [] nobody 9 [("k", "v"), ("w", "A")]"#), "{answer}");

    let answer = said(&env, &server, b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(
        answer.contains("\r\ncontent-length: 21\r\n") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
    let answer = said(&env, &server, b"GET /moved HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 303 See Other\r\n"), "{answer}");
    assert!(answer.contains("\r\nlocation: /\r\n"), "{answer}");
}

#[tokio::test]
async fn what_is_too_much_or_wrong_is_refused() {
    let limits = Limits { body_bytes_max: 8, head_bytes_max: 0, ..Limits::default() };
    let (env, server) = server(Env::os(), limits).await;
    let long_head = [&b"GET / HTTP/1.1\r\nx: "[..], &[b'y'; 9000], b"\r\n\r\n"].concat();
    for (asked, status) in [
        (&b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\n12345678"[..], "200"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n123456789", "413"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n123456789\r\n0\r\n\r\n", "413"),
        (b"GET /%ff HTTP/1.1\r\nHost: h\r\n\r\n", "400"),
        (b"GET /broken HTTP/1.1\r\nHost: h\r\n\r\n", "500"),
        (b"\x16\x03\x01 no HTTP\r\n\r\n", "400"),
        (&long_head, "431"),
    ] {
        let answer = said(&env, &server, asked).await;
        let text = String::from_utf8_lossy(&asked[..asked.len().min(60)]);
        assert_eq!(answer.split(' ').nth(1), Some(status), "{text:?}: {answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_is_slow_is_closed_and_room_is_for_the_next() {
    let limits =
        Limits { connections_max: 2, exchange_max: Duration::from_secs(5), ..Limits::default() };
    let (env, server) = server(memory_net::memory_env(), limits).await;
    let addr = server.local_addr().to_string();
    let mut silent = env.net.connect(&addr).await.unwrap();
    let mut slow = env.net.connect(&addr).await.unwrap();
    slow.write_all(b"GET /never HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    // Two are open, so that this one waits until they are closed.
    let answer = said(&env, &server, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    for stream in [&mut silent, &mut slow] {
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    }
    server.shutdown().await;
    assert!(env.net.connect(&addr).await.is_err());
}
