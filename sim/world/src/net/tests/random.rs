//! Whatever the links do, a stream is a prefix of what was written, and whole once all is healed.

use rand::Rng as _;
use rand::seq::IndexedRandom as _;

use super::*;

const MACHINES: usize = 3;
const MESSAGES: u32 = 40;

/// Writes numbers of random widths with random pauses, then closes; `None` if the connection broke.
async fn produce(
    mut stream: Stream,
    mut rng: rand_chacha::ChaCha8Rng,
    pause_ms: u64,
) -> Option<()> {
    for number in 0..MESSAGES {
        let width = rng.random_range(4..3_000);
        let mut frame = vec![0; width];
        frame[..4].copy_from_slice(&number.to_be_bytes());
        stream.write_u32(u32::try_from(width).unwrap()).await.ok()?;
        stream.write_all(&frame).await.ok()?;
        ms(rng.random_range(0..pause_ms)).await;
    }
    stream.shutdown().await.ok()?;
    let mut end = [0; 1];
    (stream.read(&mut end).await.ok()? == 0).then_some(())
}

/// Checks order until the stream ends; returns how many numbers came.
async fn consume(mut stream: Stream) -> u32 {
    let mut next = 0;
    loop {
        let Ok(width) = stream.read_u32().await else { return next };
        let mut frame = vec![0; width as usize];
        let Ok(_) = stream.read_exact(&mut frame).await else { return next };
        assert_eq!(frame[..4], next.to_be_bytes());
        next += 1;
    }
}

/// Cuts and changes random links for a while, each cut for less than `longest_ms`, then heals all.
async fn trouble(world: &WorldHandle, ids: &[MachineId], longest_ms: u64) {
    let mut rng = world.rng().stream("trouble");
    for _ in 0..30 {
        let [from, to] = [0, 1].map(|_| *ids.choose(&mut rng).unwrap());
        match rng.random_range(0..4) {
            0 => drop(world.partition(&Partition::one_way(&[from], &[to]))),
            1 => drop(world.isolate(from)),
            2 if from != to => {
                let profile = LinkProfile {
                    latency_ms: rng.random_range(0..30),
                    jitter_ms: rng.random_range(0..30),
                    bandwidth_bytes_per_s: rng.random_bool(0.5).then_some(50_000),
                    loss_per_million: rng.random_range(0..20_000),
                };
                world.set_link(from, to, profile);
            }
            _ => world.heal_all(),
        }
        ms(rng.random_range(0..longest_ms / 8)).await;
    }
    world.heal_all();
    ids.iter().for_each(|id| world.reset_links_of(*id));
}

/// Runs streams between all machines in trouble; returns how many of them came through whole.
fn run(seed: u64, longest_ms: u64) -> (usize, usize, u64) {
    World::test(seed, async |world| {
        let nodes: Vec<_> =
            (0..MACHINES).map(|number| Node::new(&world, &format!("m{number}"))).collect();
        let ids: Vec<_> = nodes.iter().map(Node::id).collect();
        let mut streams = Vec::new();
        for (number, node) in nodes.iter().enumerate() {
            let listener = node.listen().await;
            for (peer, other) in nodes.iter().enumerate() {
                let client = other.net().connect(&format!("m{number}:9876")).await.unwrap();
                let server = listener.accept().await.unwrap();
                let rng = world.rng().stream(&format!("{peer} to {number}"));
                streams.push((produce(client, rng, longest_ms / 10), consume(server)));
            }
        }
        let both = streams.into_iter().map(async |(produce, consume)| {
            let received = timeout(Duration::from_secs(3_600), consume);
            let (produced, received) = tokio::join!(produce, received);
            (produced, received.unwrap_or(0))
        });
        let (ended, ()) =
            tokio::join!(futures::future::join_all(both), trouble(&world, &ids, longest_ms));
        let whole = ended.iter().filter(|(_, received)| *received == MESSAGES).count();
        let sure = ended.iter().filter(|(produced, _)| produced.is_some());
        assert!(sure.clone().all(|(_, received)| *received == MESSAGES), "{ended:?}");
        (whole, sure.count(), world.trace().digest())
    })
}

#[test]
fn streams_survive_whatever_heals_within_the_budget() {
    for seed in 100..140 {
        let (whole, sure, _) = run(seed, 4_000);
        assert_eq!((whole, sure), (MACHINES * MACHINES, MACHINES * MACHINES), "seed {seed}");
    }
}

#[test]
fn streams_break_where_cuts_outlast_the_budget_and_runs_repeat() {
    let mut broken = 0;
    for seed in 200..220 {
        let first = run(seed, 120_000);
        assert_eq!(first, run(seed, 120_000), "seed {seed}");
        assert!(first.1 >= MACHINES, "a machine always reaches itself");
        broken += MACHINES * MACHINES - first.0;
    }
    assert!(broken > 20, "{broken}");
}
