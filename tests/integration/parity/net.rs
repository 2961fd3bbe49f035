//! The network: each body runs over the loopback of the operating system, then between two machines
//! of a simulated world, then over the loopback of one.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mq_env::Env;
use mq_env::net::{Listener, Net, Stream};
use staticfire_world::world::{MachineConfig, World};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Two parties and the address at which the first reaches the second.
struct Parties {
    client: Arc<dyn Net>,
    server: Arc<dyn Net>,
    server_ip: IpAddr,
}

impl Parties {
    async fn bind(&self, port: u16) -> io::Result<Box<dyn Listener>> {
        self.server.bind(SocketAddr::new(self.server_ip, port)).await
    }

    async fn connect(&self, port: u16) -> io::Result<Stream> {
        self.client.connect(&SocketAddr::new(self.server_ip, port).to_string()).await
    }

    /// The client's and the server's side of a new connection, and the listener.
    async fn pair(&self) -> (Stream, Stream, Box<dyn Listener>) {
        let listener = self.bind(0).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = self.connect(port).await.unwrap();
        let server = listener.accept().await.unwrap();
        (client, server, listener)
    }
}

/// Runs `body`, which asserts, everywhere.
fn everywhere(body: impl AsyncFn(Parties)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server_ip = Ipv4Addr::LOCALHOST.into();
    runtime.block_on(async {
        let (client, server) = (Env::os().net, Env::os().net);
        body(Parties { client, server, server_ip }).await;
    });
    for seed in 0..4 {
        World::test(seed, async |world| {
            let nets = ["one", "two"].map(|name| {
                let machine = world.add_machine(name, MachineConfig::default());
                let process = machine.add_process(name, |_| std::future::pending::<()>());
                process.start();
                process.env().unwrap().net
            });
            let [client, server] = nets;
            let loopback = Parties { client: server.clone(), server: server.clone(), server_ip };
            body(loopback).await;
            let server_ip = server.local_ip();
            body(Parties { client, server, server_ip }).await;
        });
    }
}

/// Long enough for what was sent to have arrived.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

async fn read_text(stream: &mut Stream, len: usize) -> String {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

/// What a read gives: bytes, or an error.
async fn read(stream: &mut Stream) -> Result<Vec<u8>, ErrorKind> {
    let mut bytes = [0; 64];
    let len = stream.read(&mut bytes).await.map_err(|error| error.kind())?;
    Ok(bytes[..len].to_vec())
}

#[test]
fn nobody_listens() {
    everywhere(async |parties| {
        let port = {
            let listener = parties.bind(0).await.unwrap();
            listener.local_addr().unwrap().port()
        };
        let error = parties.connect(port).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn an_echo_comes_back() {
    everywhere(async |parties| {
        let (mut client, mut server, _listener) = parties.pair().await;
        for text in ["one", "and another"] {
            client.write_all(text.as_bytes()).await.unwrap();
            let request = read_text(&mut server, text.len()).await;
            server.write_all(request.as_bytes()).await.unwrap();
            assert_eq!(read_text(&mut client, text.len()).await, text);
        }
    });
}

#[test]
fn both_sides_agree_on_the_addresses() {
    everywhere(async |parties| {
        let (client, server, listener) = parties.pair().await;
        assert_eq!(client.local_addr(), server.peer_addr());
        assert_eq!(client.peer_addr(), server.local_addr());
        assert_eq!(client.peer_addr(), listener.local_addr().unwrap());
        assert_eq!(client.peer_addr().ip(), parties.server_ip);
    });
}

#[test]
fn half_a_close_leaves_the_other_half() {
    everywhere(async |parties| {
        let (mut client, mut server, _listener) = parties.pair().await;
        client.write_all(b"request").await.unwrap();
        client.shutdown().await.unwrap();
        let mut request = Vec::new();
        server.read_to_end(&mut request).await.unwrap();
        assert_eq!(request, b"request");
        assert_eq!(read(&mut server).await, Ok(vec![]));
        server.write_all(b"reply").await.unwrap();
        assert_eq!(read_text(&mut client, 5).await, "reply");
        let late = client.write(b"x").await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::BrokenPipe);
        client.shutdown().await.unwrap();
    });
}

#[test]
fn a_peer_that_has_read_everything_closes_in_order() {
    everywhere(async |parties| {
        let (mut client, mut server, _listener) = parties.pair().await;
        client.write_all(b"request").await.unwrap();
        read_text(&mut server, 7).await;
        server.write_all(b"reply").await.unwrap();
        drop(server);
        settle().await;
        assert_eq!(read_text(&mut client, 5).await, "reply");
        assert_eq!(read(&mut client).await, Ok(vec![]));
        // The first write finds out, the second is told.
        client.write_all(b"more").await.unwrap();
        settle().await;
        assert_eq!(client.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(read(&mut client).await, Ok(vec![]));
    });
}

#[test]
fn a_peer_that_closes_with_unread_bytes_resets() {
    everywhere(async |parties| {
        let (mut client, mut server, _listener) = parties.pair().await;
        client.write_all(b"never read").await.unwrap();
        server.write_all(b"reply").await.unwrap();
        settle().await;
        drop(server);
        settle().await;
        assert_eq!(read_text(&mut client, 5).await, "reply");
        assert_eq!(read(&mut client).await, Err(ErrorKind::ConnectionReset));
        assert_eq!(read(&mut client).await, Ok(vec![]));
        assert_eq!(client.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_reset_is_told_to_the_writer_if_it_asks_first() {
    everywhere(async |parties| {
        let (mut client, server, _listener) = parties.pair().await;
        client.write_all(b"never read").await.unwrap();
        settle().await;
        drop(server);
        settle().await;
        assert_eq!(client.write(b"x").await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(client.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(read(&mut client).await, Ok(vec![]));
        client.shutdown().await.unwrap();
    });
}

#[test]
fn a_read_that_waits_is_woken_by_the_end() {
    everywhere(async |parties| {
        let (mut client, mut server, _listener) = parties.pair().await;
        let close = async {
            settle().await;
            server.write_all(b"bye").await.unwrap();
            settle().await;
            drop(server);
        };
        let wait = async {
            assert_eq!(read_text(&mut client, 3).await, "bye");
            assert_eq!(read(&mut client).await, Ok(vec![]));
        };
        tokio::join!(close, wait);
    });
}

#[test]
fn an_address_is_bound_once_at_a_time() {
    everywhere(async |parties| {
        let first = parties.bind(0).await.unwrap();
        let port = first.local_addr().unwrap().port();
        assert_ne!(port, 0);
        let second = parties.bind(port).await.err().unwrap();
        assert_eq!(second.kind(), ErrorKind::AddrInUse);
        let other = parties.bind(0).await.unwrap();
        assert_ne!(other.local_addr().unwrap().port(), port);
        drop(first);
        let again = parties.bind(port).await.unwrap();
        assert_eq!(again.local_addr().unwrap(), SocketAddr::new(parties.server_ip, port));
    });
}

#[test]
fn a_port_is_free_again_while_its_connections_live() {
    everywhere(async |parties| {
        let (mut client, mut server, listener) = parties.pair().await;
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        settle().await;
        let error = parties.connect(port).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let _again = parties.bind(port).await.unwrap();
        client.write_all(b"still here").await.unwrap();
        assert_eq!(read_text(&mut server, 10).await, "still here");
    });
}

#[test]
fn connections_wait_to_be_accepted_in_order() {
    everywhere(async |parties| {
        let listener = parties.bind(0).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut clients = Vec::new();
        for _ in 0..5 {
            let mut client = parties.connect(port).await.unwrap();
            client.write_all(b"hello").await.unwrap();
            clients.push(client);
        }
        for client in &clients {
            let mut server = listener.accept().await.unwrap();
            assert_eq!(server.peer_addr(), client.local_addr());
            assert_eq!(read_text(&mut server, 5).await, "hello");
        }
    });
}

#[test]
fn a_listener_that_closes_resets_what_it_did_not_accept() {
    everywhere(async |parties| {
        let listener = parties.bind(0).await.unwrap();
        let mut client = parties.connect(listener.local_addr().unwrap().port()).await.unwrap();
        settle().await;
        drop(listener);
        settle().await;
        assert_eq!(read(&mut client).await, Err(ErrorKind::ConnectionReset));
    });
}

#[test]
fn a_writer_waits_for_its_reader() {
    everywhere(async |parties| {
        let (mut client, mut server, _listener) = parties.pair().await;
        let chunk = vec![1; 64 * 1024];
        let mut sent = 0;
        let blocked = Duration::from_millis(200);
        while let Ok(wrote) = tokio::time::timeout(blocked, client.write(&chunk)).await {
            sent += wrote.unwrap();
        }
        assert!(sent >= chunk.len());
        let mut read_bytes = 0;
        let mut buf = vec![0; 64 * 1024];
        while read_bytes < sent {
            read_bytes += server.read(&mut buf).await.unwrap();
        }
        tokio::time::timeout(blocked, client.write_all(b"!")).await.unwrap().unwrap();
        assert_eq!(read_text(&mut server, 1).await, "!");
    });
}

#[test]
fn a_large_transfer_arrives_whole_while_the_other_direction_is_in_use() {
    everywhere(async |parties| {
        let (client, server, _listener) = parties.pair().await;
        let sent: Arc<[u8]> = (0..1_000_000_u32).flat_map(u32::to_be_bytes).collect();
        let exchange = async |stream: Stream| {
            let (mut reader, mut writer) = tokio::io::split(stream);
            let mut received = Vec::new();
            let write = async {
                writer.write_all(&sent).await.unwrap();
                writer.shutdown().await.unwrap();
            };
            tokio::join!(write, async { reader.read_to_end(&mut received).await.unwrap() });
            received
        };
        let (one, two) = tokio::join!(exchange(client), exchange(server));
        assert!(one == *sent && two == *sent);
    });
}

#[test]
fn many_streams_do_not_mix() {
    everywhere(async |parties| {
        let listener = parties.bind(0).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serve = async {
            let mut streams = Vec::new();
            for _ in 0..20 {
                streams.push(listener.accept().await.unwrap());
            }
            for round in 0..50 {
                for stream in &mut streams {
                    let number = stream.read_u64().await.unwrap();
                    assert_eq!(number % 1_000, round);
                    stream.write_u64(number * 2).await.unwrap();
                }
            }
        };
        let ask = async {
            let mut streams = Vec::new();
            for _ in 0..20 {
                streams.push(parties.connect(port).await.unwrap());
            }
            for round in 0..50 {
                for (id, stream) in (1_u64..).zip(&mut streams) {
                    stream.write_u64(id * 1_000 + round).await.unwrap();
                }
                for (id, stream) in (1_u64..).zip(&mut streams) {
                    assert_eq!(stream.read_u64().await.unwrap(), 2 * (id * 1_000 + round));
                }
            }
        };
        tokio::join!(serve, ask);
    });
}
