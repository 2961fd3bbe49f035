//! Bytes on their way: latency, loss, short reads, closed directions, rules.

use super::*;

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
