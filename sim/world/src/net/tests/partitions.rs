//! Cut links: what is held, what times out, what a heal brings back.

use super::*;

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
        let first = world.partition(&Partition::between(&[one.id()], &[two.id()]));
        let second = world.isolate(two.id());
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
        world.isolate(two.id());
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
fn a_window_does_not_open_while_its_news_cannot_travel() {
    World::test(29, async |world| {
        let Pair { one, two, mut client, mut server, .. } = pair(&world).await;
        let cut = world.partition(&Partition::one_way(&[two.id()], &[one.id()]));
        let read_all = async {
            let (mut all, mut buf) = (0, vec![0; 64 * 1024]);
            while let Ok(len) = timeout(Duration::from_secs(1), server.read(&mut buf)).await {
                all += len.unwrap();
            }
            all
        };
        let write_all = async {
            let chunk = vec![0; 64 * 1024];
            while let Ok(len) = timeout(Duration::from_secs(1), client.write(&chunk)).await {
                len.unwrap();
            }
        };
        let (read_bytes, ()) = tokio::join!(read_all, write_all);
        assert_eq!(read_bytes, 256 * 1024);
        world.heal(cut);
        client.write_all(b"more").await.unwrap();
        assert_eq!(read_text(&mut server, 4).await, "more");
    });
}
