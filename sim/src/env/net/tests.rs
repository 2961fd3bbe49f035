//! What applications see of the network, in worlds of two or three machines.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mq_env::net::{Listener, Net, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::{LinkProfile, MachineId, SegmentInfo, Verdict};
use crate::trace::TraceEvent;
use crate::world::{MachineConfig, MachineHandle, Partition, ProcessHandle, World, WorldHandle};

const PORT: u16 = 9_876;
const BUDGET_MS: u64 = 15_000;

/// A machine with one process that does nothing by itself.
struct Node {
    machine: MachineHandle,
    process: ProcessHandle,
}

impl Node {
    fn new(world: &WorldHandle, name: &str) -> Node {
        let machine = world.add_machine(name, MachineConfig::default());
        let process = machine.add_process(&format!("p-{name}"), |context| async move {
            context.shutdown.cancelled().await;
        });
        process.start();
        Node { machine, process }
    }

    fn net(&self) -> Arc<dyn Net> {
        self.process.env().unwrap().net
    }

    fn id(&self) -> MachineId {
        self.machine.id()
    }

    async fn listen(&self) -> Box<dyn Listener> {
        self.net().bind(SocketAddr::from(([0, 0, 0, 0], PORT))).await.unwrap()
    }
}

/// Two nodes, a listener on the second, and a connection from the first to it.
struct Pair {
    one: Node,
    two: Node,
    listener: Box<dyn Listener>,
    client: Stream,
    server: Stream,
}

async fn pair(world: &WorldHandle) -> Pair {
    let (one, two) = (Node::new(world, "one"), Node::new(world, "two"));
    let listener = two.listen().await;
    let client = one.net().connect("two:9876").await.unwrap();
    let server = listener.accept().await.unwrap();
    Pair { one, two, listener, client, server }
}

async fn read_text(stream: &mut Stream, len: usize) -> String {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

async fn read_error(stream: &mut Stream) -> ErrorKind {
    stream.read_u8().await.unwrap_err().kind()
}

async fn ms(millis: u64) {
    sleep(Duration::from_millis(millis)).await;
}

#[test]
fn a_round_trip_takes_the_links_latencies() {
    World::test(1, async |world| {
        let Pair { one, two, mut client, mut server, .. } = pair(&world).await;
        assert_eq!(world.now_ms(), 3);
        world.set_link_one_way(one.id(), two.id(), LinkProfile::latency(20));
        client.write_all(b"ping").await.unwrap();
        assert_eq!(read_text(&mut server, 4).await, "ping");
        assert_eq!(world.now_ms(), 23);
        server.write_all(b"pong").await.unwrap();
        assert_eq!(read_text(&mut client, 4).await, "pong");
        assert_eq!(world.now_ms(), 24);
        assert_eq!(world.trace().faults()[0].bitten_us, Some(3_000));
    });
}

#[test]
fn a_partition_holds_bytes_and_the_heal_delivers_them_in_order() {
    World::test(2, async |world| {
        let Pair { one, two, mut client, mut server, .. } = pair(&world).await;
        client.write_all(b"under way ").await.unwrap();
        let cut = world.partition(&Partition::between(&[one.id()], &[two.id()]));
        assert!(!world.partition_effects(cut).has_bitten());
        client.write_all(b"held ").await.unwrap();
        ms(10).await;
        client.write_all(b"and held").await.unwrap();
        assert!(timeout(Duration::from_secs(5), server.read_u8()).await.is_err());
        let effects = world.heal(cut);
        assert_eq!((effects.held_segments, effects.held_bytes), (3, 23));
        assert_eq!(read_text(&mut server, 23).await, "under way held and held");
        // The budget was stopped by the heal.
        ms(2 * BUDGET_MS).await;
        server.write_all(b"!").await.unwrap();
        assert_eq!(read_text(&mut client, 1).await, "!");
        let fault = &world.trace().faults()[0];
        assert_eq!((fault.bitten_us, fault.healed_us), (Some(3_000), Some(5_013_000)));
    });
}

#[test]
fn unanswered_bytes_time_out_and_the_other_side_is_reset_when_it_speaks() {
    World::test(3, async |world| {
        let Pair { one, two, mut client, mut server, .. } = pair(&world).await;
        let cut = world.partition(&Partition::between(&[one.id()], &[two.id()]));
        let began = world.now_ms();
        client.write_all(b"lost").await.unwrap();
        assert_eq!(read_error(&mut client).await, ErrorKind::TimedOut);
        assert_eq!(world.now_ms() - began, BUDGET_MS);
        assert_eq!(client.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
        world.heal(cut);
        assert!(timeout(Duration::from_secs(60), server.read_u8()).await.is_err());
        server.write_all(b"anybody?").await.unwrap();
        assert_eq!(read_error(&mut server).await, ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_one_way_cut_lets_bytes_through_but_not_their_acknowledgements() {
    World::test(4, async |world| {
        let Pair { one, two, mut client, mut server, .. } = pair(&world).await;
        world.partition(&Partition::one_way(&[two.id()], &[one.id()]));
        let began = world.now_ms();
        client.write_all(b"request").await.unwrap();
        assert_eq!(read_text(&mut server, 7).await, "request");
        server.write_all(b"held").await.unwrap();
        assert_eq!(read_error(&mut client).await, ErrorKind::TimedOut);
        assert_eq!(world.now_ms() - began, BUDGET_MS + 1);
    });
}

#[test]
fn a_one_way_cut_that_heals_costs_nothing_but_time() {
    World::test(5, async |world| {
        let Pair { one, two, mut client, mut server, .. } = pair(&world).await;
        let cut = world.partition(&Partition::one_way(&[two.id()], &[one.id()]));
        client.write_all(b"request").await.unwrap();
        assert_eq!(read_text(&mut server, 7).await, "request");
        ms(BUDGET_MS - 100).await;
        assert!(!world.partition_effects(cut).has_bitten());
        server.write_all(b"reply").await.unwrap();
        assert_eq!(world.heal(cut).held_segments, 1);
        assert_eq!(read_text(&mut client, 5).await, "reply");
        ms(2 * BUDGET_MS).await;
        client.write_all(b"again").await.unwrap();
        assert_eq!(read_text(&mut server, 5).await, "again");
    });
}

#[test]
fn overlapping_partitions_hold_until_the_last_heals() {
    World::test(6, async |world| {
        let Pair { one, two, mut client, mut server, .. } = pair(&world).await;
        let all = [one.id(), two.id()];
        let first = world.partition(&Partition::between(&[one.id()], &[two.id()]));
        let second = world.partition(&Partition::isolate(two.id(), &all));
        client.write_all(b"x").await.unwrap();
        world.heal(first);
        assert!(timeout(Duration::from_secs(1), server.read_u8()).await.is_err());
        assert_eq!(world.heal(second).held_segments, 1);
        assert_eq!(server.read_u8().await.unwrap(), b'x');
    });
}

#[test]
fn an_isolated_machine_still_reaches_itself() {
    World::test(7, async |world| {
        let (one, two) = (Node::new(&world, "one"), Node::new(&world, "two"));
        world.partition(&Partition::isolate(two.id(), &[one.id(), two.id()]));
        let listener = two.listen().await;
        for target in ["two:9876", "127.0.0.1:9876", "localhost:9876"] {
            two.net().connect(target).await.unwrap();
            listener.accept().await.unwrap();
        }
        assert_eq!(world.now_ms(), 0);
        let connecting = one.net();
        let error = connecting.connect("two:9876").await.unwrap_err();
        assert_eq!((error.kind(), world.now_ms()), (ErrorKind::TimedOut, BUDGET_MS));
    });
}

#[test]
fn the_peer_of_a_killed_process_reads_to_the_end() {
    World::test(8, async |world| {
        let Pair { two, mut client, mut server, .. } = pair(&world).await;
        server.write_all(b"last words").await.unwrap();
        two.process.kill();
        assert_eq!(read_text(&mut client, 10).await, "last words");
        assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
        client.write_all(b"hello?").await.unwrap();
        ms(2).await;
        assert_eq!(client.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn the_peer_of_a_process_killed_with_unread_bytes_is_reset() {
    World::test(9, async |world| {
        let Pair { two, mut client, mut server, .. } = pair(&world).await;
        server.write_all(b"last words").await.unwrap();
        client.write_all(b"never read").await.unwrap();
        ms(5).await;
        two.process.kill();
        ms(5).await;
        assert_eq!(read_text(&mut client, 10).await, "last words");
        assert_eq!(read_error(&mut client).await, ErrorKind::ConnectionReset);
        assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
        let resets = |records: &[crate::trace::TraceRecord]| {
            let reset = |event: &TraceEvent| matches!(event, TraceEvent::ConnectionReset { .. });
            records.iter().filter(|record| reset(&record.event)).count()
        };
        assert_eq!(world.trace().read(resets), 1);
        let refused = two.machine.processes()[0].status();
        assert_eq!(refused, crate::world::ProcessStatus::Killed);
    });
}

#[test]
fn a_power_loss_is_silence_and_after_the_reboot_a_reset() {
    World::test(10, async |world| {
        let Pair { two, mut client, mut server, .. } = pair(&world).await;
        server.write_all(b"never sent: the link is cut first").await.unwrap();
        two.machine.power_loss();
        assert!(timeout(Duration::from_secs(3_600), client.read_u8()).await.is_err());
        client.write_all(b"into the void").await.unwrap();
        ms(5_000).await;
        client.write_all(b" and again").await.unwrap();
        two.machine.power_on();
        let back = world.now_ms();
        assert_eq!(read_error(&mut client).await, ErrorKind::ConnectionReset);
        assert_eq!(world.now_ms() - back, 2);
    });
}

#[test]
fn a_half_open_connection_that_rests_learns_of_the_reboot_when_it_speaks() {
    World::test(11, async |world| {
        let Pair { two, mut client, server, .. } = pair(&world).await;
        drop(server);
        let Pair { one: three, two: four, client: mut resting, server: _held, .. } = {
            drop((two, client.shutdown().await));
            let (three, four) = (Node::new(&world, "three"), Node::new(&world, "four"));
            let listener = four.listen().await;
            let client = three.net().connect("four:9876").await.unwrap();
            let server = listener.accept().await.unwrap();
            Pair { one: three, two: four, listener, client, server }
        };
        four.machine.power_loss();
        ms(1_000).await;
        four.machine.power_on();
        assert!(timeout(Duration::from_secs(3_600), resting.read_u8()).await.is_err());
        resting.write_all(b"x").await.unwrap();
        assert_eq!(read_error(&mut resting).await, ErrorKind::ConnectionReset);
        drop(three);
    });
}

#[test]
fn a_machine_that_stays_off_costs_the_whole_budget() {
    World::test(12, async |world| {
        let Pair { one, two, mut client, .. } = pair(&world).await;
        two.machine.power_loss();
        let began = world.now_ms();
        client.write_all(b"x").await.unwrap();
        assert_eq!(read_error(&mut client).await, ErrorKind::TimedOut);
        assert_eq!(world.now_ms() - began, BUDGET_MS);
        let refused = one.net().connect("two:9876").await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn connects_are_refused_time_out_or_fail_by_name() {
    World::test(13, async |world| {
        let (one, two) = (Node::new(&world, "one"), Node::new(&world, "two"));
        world.add_host("broker-a.example", two.machine.ip());
        let net = one.net();
        let kind = async |target: &str| net.connect(target).await.unwrap_err().kind();
        assert_eq!(kind("two:9876").await, ErrorKind::ConnectionRefused);
        assert_eq!(world.now_ms(), 2);
        assert_eq!(kind("nobody:9876").await, ErrorKind::NotFound);
        assert_eq!(kind("two").await, ErrorKind::InvalidInput);
        assert_eq!(kind("[::1]:9876").await, ErrorKind::ConnectionRefused);
        assert_eq!(kind("[fe80::1]:9876").await, ErrorKind::NetworkUnreachable);
        assert_eq!(kind("192.0.2.1:9876").await, ErrorKind::TimedOut);
        let listener = two.listen().await;
        let stream = net.connect("Broker-A.example:9876").await.unwrap();
        assert_eq!(stream.peer_addr(), SocketAddr::new(two.machine.ip(), PORT));
        assert_eq!(listener.accept().await.unwrap().peer_addr(), stream.local_addr());
    });
}

#[test]
fn a_blocked_connect_goes_through_after_the_heal_and_counts_as_a_bite() {
    World::test(14, async |world| {
        let (one, two) = (Node::new(&world, "one"), Node::new(&world, "two"));
        let listener = two.listen().await;
        for cut in [
            Partition::one_way(&[one.id()], &[two.id()]),
            Partition::one_way(&[two.id()], &[one.id()]),
        ] {
            let cut = world.partition(&cut);
            let net = one.net();
            let connecting = net.connect("two:9876");
            let mut connecting = std::pin::pin!(connecting);
            assert!(timeout(Duration::from_secs(4), &mut connecting).await.is_err());
            assert!(timeout(Duration::from_millis(1), listener.accept()).await.is_err());
            assert!(world.heal(cut).has_bitten());
            connecting.await.unwrap();
            listener.accept().await.unwrap();
        }
    });
}

#[test]
fn a_connect_that_is_given_up_leaves_nothing_behind() {
    World::test(15, async |world| {
        let (one, two) = (Node::new(&world, "one"), Node::new(&world, "two"));
        let listener = two.listen().await;
        world.set_link(one.id(), two.id(), LinkProfile::latency(50));
        let net = one.net();
        assert!(timeout(Duration::from_millis(70), net.connect("two:9876")).await.is_err());
        assert!(timeout(Duration::from_secs(1), listener.accept()).await.is_err());
        assert!(net.connect("two:9876").await.is_ok());
        listener.accept().await.unwrap();
    });
}

#[test]
fn unaccepted_connections_are_reset_with_their_listener() {
    World::test(16, async |world| {
        let (one, two) = (Node::new(&world, "one"), Node::new(&world, "two"));
        let listener = two.listen().await;
        let mut client = one.net().connect("two:9876").await.unwrap();
        ms(5).await;
        drop(listener);
        assert_eq!(read_error(&mut client).await, ErrorKind::ConnectionReset);
        let again = two.listen().await;
        assert_eq!(again.local_addr().unwrap().port(), PORT);
    });
}

#[test]
fn a_listener_survives_the_pause_of_its_process_and_bytes_wait_in_its_buffers() {
    World::test(17, async |world| {
        let Pair { one, two, listener, mut client, mut server } = pair(&world).await;
        two.process.pause();
        one.net().connect("two:9876").await.unwrap();
        let sent = {
            let (mut sent, chunk) = (0, [7; 1_000]);
            while let Ok(wrote) = timeout(Duration::from_secs(1), client.write(&chunk)).await {
                sent += wrote.unwrap();
            }
            sent
        };
        assert_eq!(sent, 256 * 1024);
        // A full window of a live peer is no reason to time out.
        ms(10 * BUDGET_MS).await;
        two.process.resume();
        listener.accept().await.unwrap();
        let mut all = vec![0; sent];
        server.read_exact(&mut all).await.unwrap();
        assert!(all.iter().all(|byte| *byte == 7));
        timeout(Duration::from_secs(1), client.write_all(b"x")).await.unwrap().unwrap();
    });
}

#[test]
fn reads_are_cut_anywhere_and_lose_nothing() {
    World::test(18, async |world| {
        let Pair { mut client, mut server, .. } = pair(&world).await;
        let sent: Vec<u8> = (0..200_000_u32).flat_map(|number| number.to_be_bytes()).collect();
        let (mut received, mut lens) = (Vec::new(), Vec::new());
        let send = async {
            client.write_all(&sent).await.unwrap();
            client.shutdown().await.unwrap();
        };
        let receive = async {
            let mut buf = [0; 4_096];
            loop {
                let len = server.read(&mut buf).await.unwrap();
                if len == 0 {
                    break;
                }
                received.extend_from_slice(&buf[..len]);
                lens.push(len);
            }
        };
        tokio::join!(send, receive);
        assert!(received == sent);
        let short = lens.iter().filter(|len| **len < 4_096).count();
        assert!(lens.contains(&1) && short * 4 < lens.len(), "{short} of {}", lens.len());
    });
}

#[test]
fn a_closed_direction_ends_reads_and_the_other_still_works() {
    World::test(19, async |world| {
        let Pair { mut client, mut server, .. } = pair(&world).await;
        client.write_all(b"request").await.unwrap();
        client.shutdown().await.unwrap();
        let mut request = Vec::new();
        server.read_to_end(&mut request).await.unwrap();
        assert_eq!(request, b"request");
        server.write_all(b"reply").await.unwrap();
        assert_eq!(read_text(&mut client, 5).await, "reply");
        assert_eq!(client.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

/// Sends "first", "second", "third" under a rule for segments that contain "second".
async fn under_rule(world: &WorldHandle, verdict: Verdict) -> Pair {
    let mut pair = pair(world).await;
    world.add_rule(
        move |segment: &SegmentInfo<'_>| {
            if segment.bytes == b"second" { verdict } else { Verdict::Pass }
        },
    );
    for text in ["first", "second", "third"] {
        pair.client.write_all(text.as_bytes()).await.unwrap();
    }
    pair
}

#[test]
fn a_rule_delays_resets_cuts_or_stalls() {
    World::test(20, async |world| {
        let Pair { mut server, .. } = under_rule(&world, Verdict::DelayMs(500)).await;
        assert_eq!(read_text(&mut server, 5).await, "first");
        let before = world.now_ms();
        assert_eq!(read_text(&mut server, 11).await, "secondthird");
        assert_eq!(world.now_ms() - before, 500);
    });
    World::test(21, async |world| {
        let Pair { mut server, mut client, .. } =
            under_rule(&world, Verdict::ResetConnection).await;
        assert_eq!(read_text(&mut server, 5).await, "first");
        assert_eq!(read_error(&mut server).await, ErrorKind::ConnectionReset);
        assert_eq!(read_error(&mut client).await, ErrorKind::ConnectionReset);
    });
    World::test(22, async |world| {
        let Pair { mut server, .. } = under_rule(&world, Verdict::CutAfter(2)).await;
        assert_eq!(read_text(&mut server, 7).await, "firstse");
        assert_eq!(read_error(&mut server).await, ErrorKind::ConnectionReset);
    });
    World::test(23, async |world| {
        let Pair { mut server, mut client, .. } = under_rule(&world, Verdict::Stall).await;
        assert_eq!(read_text(&mut server, 5).await, "first");
        assert_eq!(read_error(&mut client).await, ErrorKind::TimedOut);
        assert!(timeout(Duration::from_secs(60), server.read_u8()).await.is_err());
    });
}

#[test]
fn a_removed_rule_has_no_say() {
    World::test(24, async |world| {
        let Pair { mut client, mut server, .. } = pair(&world).await;
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let rule = world.add_rule(move |_: &SegmentInfo<'_>| {
            counter.fetch_add(1, Ordering::Relaxed);
            Verdict::Pass
        });
        client.write_all(b"a").await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), b'a');
        world.remove_rule(rule);
        client.write_all(b"b").await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), b'b');
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_lossy_link_is_late_and_loses_nothing() {
    World::test(25, async |world| {
        let Pair { one, two, mut client, mut server, .. } = pair(&world).await;
        let lossy =
            LinkProfile { jitter_ms: 5, loss_per_million: 50_000, ..LinkProfile::latency(2) };
        world.set_link(one.id(), two.id(), lossy);
        let mut slow = 0;
        for number in 0..200_u32 {
            let began = world.now_ms();
            client.write_u32(number).await.unwrap();
            assert_eq!(server.read_u32().await.unwrap(), number);
            slow += u32::from(world.now_ms() - began >= 200);
        }
        assert!((2..30).contains(&slow), "{slow}");
        world.reset_links_of(two.id());
        let began = world.now_ms();
        client.write_u32(1).await.unwrap();
        server.read_u32().await.unwrap();
        assert_eq!(world.now_ms() - began, 1);
    });
}

#[test]
fn a_machine_has_aliases_and_both_families() {
    World::test(26, async |world| {
        let addrs = ["10.9.0.1", "192.168.7.1", "fd00::1"].map(|addr| addr.parse().unwrap());
        let machine = world
            .add_machine("m", MachineConfig { addrs: addrs.to_vec(), ..MachineConfig::default() });
        let peer = world.add_machine(
            "peer",
            MachineConfig {
                addrs: ["10.9.0.2", "fd00::2"].map(|addr| addr.parse().unwrap()).to_vec(),
                ..MachineConfig::default()
            },
        );
        let start = |machine: &MachineHandle, name: &str| {
            let process = machine.add_process(name, |_| std::future::pending::<()>());
            process.start();
            process.env().unwrap().net
        };
        let (server, client) = (start(&machine, "server"), start(&peer, "client"));
        assert_eq!(server.local_ip(), addrs[0]);
        let any = server.bind("[::]:80".parse().unwrap()).await.unwrap();
        for target in ["10.9.0.1:80", "192.168.7.1:80", "[fd00::1]:80", "m:80"] {
            let stream = client.connect(target).await.unwrap();
            assert_eq!(stream.local_addr().is_ipv6(), target.starts_with('['));
            any.accept().await.unwrap();
        }
        let taken = server.bind("10.9.0.1:80".parse().unwrap()).await.err().map(|e| e.kind());
        assert_eq!(taken, Some(ErrorKind::AddrInUse));
        let foreign = server.bind("10.9.0.2:80".parse().unwrap()).await.err().map(|e| e.kind());
        assert_eq!(foreign, Some(ErrorKind::AddrNotAvailable));
        let one = server.bind("192.168.7.1:81".parse().unwrap()).await.unwrap();
        assert!(client.connect("192.168.7.1:81").await.is_ok());
        assert_eq!(client.connect("m:81").await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        drop(one);
    });
}

#[test]
fn sockets_of_a_dead_process_fail() {
    World::test(27, async |world| {
        let Pair { one, two, listener, mut server, .. } = pair(&world).await;
        let (net, dead) = (one.net(), two.net());
        two.process.kill();
        assert!(dead.bind(SocketAddr::from(([0, 0, 0, 0], 1))).await.is_err());
        assert!(dead.connect("one:1").await.is_err());
        assert!(listener.accept().await.is_err());
        let error: io::Error = server.write(b"x").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        let refused = net.connect("two:9876").await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
}
