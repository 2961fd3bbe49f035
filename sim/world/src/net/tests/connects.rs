//! Connecting, listening, names and addresses.

use super::*;

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
fn a_machine_that_loses_power_inside_the_handshake_refuses_after_the_reboot() {
    // The SYN arrives after 10 ms, the SYN-ACK after 20, the last ACK after 30.
    for (off_ms, refused) in [(5, true), (15, true), (25, false)] {
        World::test(28, async |world| {
            let (one, two) = (Node::new(&world, "one"), Node::new(&world, "two"));
            let _listener = two.listen().await;
            world.set_link(one.id(), two.id(), LinkProfile::latency(10));
            let power = two.machine.clone();
            world.spawn(async move {
                ms(off_ms).await;
                power.power_loss();
                ms(1_000).await;
                power.power_on();
            });
            let net = one.net();
            match net.connect("two:9876").await {
                Err(error) => {
                    assert_eq!((error.kind(), refused), (ErrorKind::ConnectionRefused, true));
                }
                Ok(mut stream) => {
                    assert!(!refused);
                    assert_eq!(read_error(&mut stream).await, ErrorKind::ConnectionReset);
                }
            }
            assert!((1_020..1_060).contains(&world.now_ms()), "{}", world.now_ms());
        });
    }
}
