//! What peers see of a process or machine that dies, or sleeps.

use super::*;

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
