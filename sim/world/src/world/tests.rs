//! Life, death, time and determinism of worlds.

mod machines;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mq_env::Env;
use mq_env::probe::Event;
use rand::Rng as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::trace::{FaultKind, ProcessStep, TraceEvent};

async fn ms(millis: u64) {
    sleep(Duration::from_millis(millis)).await;
}

/// Answers each request of 8 bytes on port 1000 with itself.
async fn serve(context: ProcessContext) -> std::io::Result<()> {
    let env = context.env;
    let listener = env.net.bind(SocketAddr::from(([0, 0, 0, 0], 1_000))).await?;
    loop {
        let mut stream = listener.accept().await?;
        let probe = env.probe.clone();
        env.tasks.spawn("serve", async move {
            while let Ok(request) = stream.read_u64().await {
                probe.emit(&Event::Synced { from: request, to: request + 1 });
                ms(5).await;
                if stream.write_u64(request).await.is_err() {
                    break;
                }
            }
        });
    }
}

/// Sends `count` requests to the server, at random intervals; returns how many were answered.
async fn ask(env: &Env, count: u64) -> u64 {
    let mut rng = env.rng.stream("pauses");
    let mut answered = 0;
    for number in 0..count {
        ms(rng.random_range(0..20)).await;
        let Ok(mut stream) = env.net.connect("server:1000").await else { continue };
        let answer = async {
            stream.write_u64(number).await?;
            stream.read_u64().await
        };
        if let Ok(Ok(answer)) = timeout(Duration::from_secs(3), answer).await {
            assert_eq!(answer, number);
            answered += 1;
        }
    }
    answered
}

/// A server, three clients, and some of every fault.
fn story(seed: u64) -> Run<u64> {
    World::run(WorldConfig::default(), seed, async |world| {
        let server = world.add_machine("server", MachineConfig::default());
        let serving = server.add_process("server", serve);
        serving.start();
        let answered = Rc::new(Cell::new(0));
        let clients: Vec<_> = (0..3)
            .map(|number| {
                let machine = world.add_machine(&format!("m{number}"), MachineConfig::default());
                let answered = Rc::clone(&answered);
                let client = machine.add_process(&format!("client{number}"), move |context| {
                    let answered = Rc::clone(&answered);
                    async move {
                        let count = ask(&context.env, 100).await;
                        answered.set(answered.get() + count);
                    }
                });
                client.start();
                client
            })
            .collect();
        ms(300).await;
        serving.restart();
        ms(300).await;
        let cut =
            world.partition(&Partition::between(&[server.id()], &[clients[0].machine().id()]));
        clients[1].pause();
        ms(2_000).await;
        world.heal(cut);
        clients[1].resume();
        server.power_loss();
        ms(500).await;
        server.power_on();
        ms(50).await;
        server.start_all();
        for client in &clients {
            client.ended().await;
        }
        answered.get()
    })
}

#[test]
fn one_seed_is_one_run_and_another_is_another() {
    let (one, again, other) = (story(1), story(1), story(2));
    let answered = one.value.clone().unwrap();
    assert!((200..300).contains(&answered), "{answered}\n{}", one.trace);
    assert_eq!((one.trace.digest(), one.stats), (again.trace.digest(), again.stats));
    assert_eq!(one.trace.records(), again.trace.records());
    assert_ne!(one.trace.digest(), other.trace.digest());
    let unproven = |fault: &crate::trace::FaultSummary| fault.bitten_us.is_none();
    assert!(!one.trace.faults().iter().any(unproven), "{}", one.trace);
}

#[test]
fn an_idle_hour_costs_polls_for_its_timers_only() {
    let config = WorldConfig { writeback_interval_ms: 0, ..WorldConfig::default() };
    let run = World::run(config, 3, async |world| {
        for number in 0..6 {
            let machine = world.add_machine(&format!("m{number}"), MachineConfig::default());
            let process = machine.add_process(&format!("p{number}"), |context| async move {
                context.env.tasks.spawn("heartbeat", async {
                    loop {
                        sleep(Duration::from_secs(30)).await;
                    }
                });
                context.shutdown.cancelled().await;
            });
            process.start();
        }
        sleep(Duration::from_secs(3_600)).await;
    });
    assert_eq!(run.stats.simulated_ms, 3_600_000);
    // 120 heartbeats; the six processes beat at the same instants.
    assert!(run.stats.world_polls < 130, "{:?}", run.stats);
    assert!(run.stats.task_polls < 6 * 125, "{:?}", run.stats);
    assert_eq!(run.stats.net.events, 0);
}

#[test]
fn a_kill_drops_tasks_and_nothing_of_their_end_is_seen() {
    struct Dropped(Env, Arc<AtomicU32>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.probe.emit(&Event::Life { what: "dropped" });
            let late = Arc::clone(&self.1);
            self.0.tasks.spawn("late", async move {
                late.fetch_add(100, Ordering::Relaxed);
            });
        }
    }
    let drops = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&drops);
    World::test(4, async |world| {
        let machine = world.add_machine("m", MachineConfig::default());
        let process = machine.add_process("p", move |context| {
            let held = Dropped(context.env.clone(), Arc::clone(&counter));
            async move {
                context.env.probe.emit(&Event::Life { what: "serving" });
                context.shutdown.cancelled().await;
                drop(held);
            }
        });
        process.start();
        ms(1).await;
        process.kill();
        assert_eq!(process.status(), ProcessStatus::Killed);
        assert!(process.env().is_none());
        ms(1).await;
        let lives = |records: &[crate::trace::TraceRecord]| {
            let life = |event: &TraceEvent| matches!(event, TraceEvent::Life { .. });
            records.iter().filter(|record| life(&record.event)).count()
        };
        assert_eq!(world.trace().read(lives), 1);
    });
    assert_eq!(drops.load(Ordering::Relaxed), 1);
}

#[test]
fn a_fault_without_anything_to_hit_does_not_bite() {
    World::test(5, async |world| {
        let machine = world.add_machine("m", MachineConfig::default());
        let process = machine.add_process("p", |_| async { std::future::pending::<()>().await });
        process.kill();
        process.pause();
        assert!(!process.is_paused());
        process.start();
        ms(1).await;
        process.pause();
        ms(1_000).await;
        process.resume();
        machine.jump_clock(1_000);
        world.partition(&Partition::between(&[machine.id()], &[machine.id()]));
        let faults = world.trace().faults();
        assert_eq!(faults.len(), 5);
        assert!(faults.iter().all(|fault| fault.bitten_us.is_none()), "{}", world.trace());
        process.env().unwrap().clock.now_millis();
        let bitten = world.trace().faults().into_iter().find(|fault| fault.bitten_us.is_some());
        assert_eq!(bitten.unwrap().kind, FaultKind::Clock);
        machine.power_loss();
        machine.power_loss();
        machine.power_on();
        let power: Vec<_> = world.trace().faults().split_off(5);
        assert_eq!((power[0].bitten_us, power[1].bitten_us), (Some(1_001_000), None));
        assert_eq!((power[0].healed_us, power[1].healed_us), (Some(1_001_000), None));
    });
}

#[test]
fn a_panic_ends_its_process_and_fails_the_run() {
    let run = World::run(WorldConfig::default(), 6, async |world| {
        let machine = world.add_machine("m", MachineConfig::default());
        let after = Rc::new(Cell::new(false));
        let flag = Rc::clone(&after);
        let process = machine.add_process("p", move |context| {
            let flag = Rc::clone(&flag);
            async move {
                context.env.tasks.spawn("shaky", async {
                    ms(5).await;
                    panic!("no more of {}", 7);
                });
                ms(5).await;
                ms(1).await;
                flag.set(true);
            }
        });
        process.start();
        let status = process.ended().await;
        assert_eq!(world.now_ms(), 5);
        ms(10).await;
        (status, after.get())
    });
    let (status, after) = run.value.unwrap();
    let ProcessStatus::Panicked(text) = status else { panic!("{status:?}") };
    assert!(text.starts_with("no more of 7 (") && text.contains("tests.rs:"), "{text}");
    assert!(!after);
    assert_eq!((run.failures.len(), run.failures[0].task), (1, "shaky"));
    assert_eq!((run.failures[0].at_us, &*run.failures[0].process), (5_000, "p"));
}

#[test]
fn a_process_stops_in_order_or_is_killed_at_the_deadline() {
    World::test(7, async |world| {
        let machine = world.add_machine("m", MachineConfig::default());
        let orderly = machine.add_process("orderly", |context| async move {
            context.shutdown.cancelled().await;
            ms(50).await;
            context.env.tasks.shutdown().await;
        });
        let stubborn = machine.add_process("stubborn", |_| std::future::pending::<()>());
        let failing = machine.add_process("failing", |_| async { Err::<(), _>("no disk") });
        machine.start_all();
        let ended = StopOutcome::Ended(ProcessStatus::Exited(Ok(())));
        assert_eq!(orderly.stop(Duration::from_secs(1)).await, ended);
        assert_eq!(world.now_ms(), 50);
        assert_eq!(stubborn.stop(Duration::from_secs(1)).await, StopOutcome::Killed);
        assert_eq!(world.now_ms(), 1_050);
        assert_eq!(failing.ended().await, ProcessStatus::Exited(Err("no disk".into())));
        assert_eq!(
            failing.stop(Duration::from_secs(1)).await,
            StopOutcome::Ended(failing.status())
        );
    });
}

#[test]
fn a_process_starts_again_as_what_it_has_become() {
    World::test(8, async |world| {
        let machine = world.add_machine("m", MachineConfig::default());
        let seen = Rc::new(RefCell::new(Vec::new()));
        let main = |role: &'static str, seen: &Rc<RefCell<Vec<_>>>| {
            let seen = Rc::clone(seen);
            move |context: ProcessContext| {
                let draw: u32 = context.env.rng.stream("x").random();
                seen.borrow_mut().push((role, context.incarnation, draw));
                std::future::pending::<()>()
            }
        };
        let process = machine.add_process("p", main("slave", &seen));
        process.start();
        ms(1).await;
        process.restart();
        ms(1).await;
        process.set_main(main("master", &seen));
        process.restart();
        ms(1).await;
        let seen = seen.borrow();
        let roles: Vec<_> =
            seen.iter().map(|(role, incarnation, _)| (*role, *incarnation)).collect();
        assert_eq!(roles, [("slave", 1), ("slave", 2), ("master", 3)]);
        assert!(seen[0].2 != seen[1].2 && seen[1].2 != seen[2].2);
        assert_eq!(process.incarnation(), 3);
    });
}

#[test]
fn timers_of_a_paused_process_fire_late() {
    World::test(9, async |world| {
        let machine = world.add_machine("m", MachineConfig::default());
        let fired = Rc::new(Cell::new(None));
        let at = Rc::clone(&fired);
        let process = machine.add_process("p", move |_| {
            let at = Rc::clone(&at);
            async move {
                let began = Instant::now();
                ms(100).await;
                at.set(Some(began.elapsed().as_millis()));
                std::future::pending::<()>().await;
            }
        });
        process.start();
        ms(10).await;
        let fault = process.pause();
        assert_eq!(process.pause(), fault);
        ms(1_000).await;
        assert_eq!(fired.get(), None);
        process.resume();
        ms(1).await;
        assert_eq!(fired.get(), Some(1_010));
        let faults = world.trace().faults();
        assert_eq!((faults[0].bitten_us, faults[0].healed_us), (Some(100_000), Some(1_010_000)));
    });
}

#[test]
fn a_fault_on_a_trigger_strikes_before_the_process_goes_on() {
    World::test(10, async |world| {
        let machine = world.add_machine("m", MachineConfig::default());
        let process = machine.add_process("p", |context| async move {
            let probe = context.env.probe.clone();
            let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
            context.env.tasks.spawn("second", async move {
                while let Some(number) = told.recv().await {
                    context.env.probe.emit(&Event::HaReceived { from: 0, to: number });
                }
            });
            for number in 0..100 {
                probe.emit(&Event::Synced { from: 0, to: number });
                tell.send(number).unwrap();
                tokio::task::yield_now().await;
            }
        });
        let trigger =
            world.trace().on(|record| matches!(record.event, TraceEvent::Synced { to: 50, .. }));
        process.start();
        let record = trigger.await;
        let last = world.trace().read(|records| records.last().unwrap().clone());
        assert_eq!(record, last);
        process.kill();
        ms(1).await;
        let late = |event: &TraceEvent| {
            matches!(event, TraceEvent::Synced { .. } | TraceEvent::HaReceived { .. })
        };
        let records = world.trace().records();
        let after = records.iter().skip(usize::try_from(record.ordinal).unwrap() + 1);
        assert_eq!(after.filter(|record| late(&record.event)).count(), 0);
    });
}

#[test]
fn code_runs_inside_a_process_and_dies_with_it() {
    World::test(11, async |world| {
        let machine = world.add_machine("m", MachineConfig::default());
        let process = machine.add_process("p", |_| std::future::pending::<()>());
        assert_eq!(process.run(|_| async {}).await, Err(ProcessGone));
        process.start();
        let local = Rc::new(5);
        let doubled = process.run(move |env| async move {
            ms(3).await;
            (*local * 2, env.net.local_ip().to_string())
        });
        assert_eq!(doubled.await, Ok((10, "10.0.0.1".to_owned())));
        let killer = process.clone();
        world.spawn(async move {
            ms(10).await;
            killer.kill();
        });
        assert_eq!(process.run(|_| ms(100)).await, Err(ProcessGone));
        assert_eq!(world.now_ms(), 13);
    });
}

#[test]
fn a_process_may_kill_itself_through_the_world() {
    World::test(12, async |world| {
        let machine = world.add_machine("m", MachineConfig::default());
        let inside = world.clone();
        let after = Rc::new(Cell::new(false));
        let flag = Rc::clone(&after);
        let process = machine.add_process("p", move |_| {
            let (world, flag) = (inside.clone(), Rc::clone(&flag));
            async move {
                ms(5).await;
                world.process("p").unwrap().kill();
                ms(1).await;
                flag.set(true);
            }
        });
        process.start();
        assert_eq!(process.ended().await, ProcessStatus::Killed);
        ms(10).await;
        assert!(!after.get());
        process.restart();
        assert!(process.is_running());
    });
}

#[test]
fn a_world_that_goes_nowhere_is_stopped() {
    let config = WorldConfig { limit_ms: 60_000, ..WorldConfig::default() };
    let run = World::run(config.clone(), 13, async |_| std::future::pending::<()>().await);
    assert_eq!((run.value, run.stats.simulated_ms), (Err(Stopped::TimeLimit), 60_000));
    let config = WorldConfig { polls_per_instant_max: 1_000, ..config };
    let run = World::run(config, 13, async |world| {
        let machine = world.add_machine("m", MachineConfig::default());
        let spinning = machine.add_process("spinning", |_| async {
            for _ in 0..u64::MAX {
                tokio::task::yield_now().await;
            }
        });
        ms(7).await;
        spinning.start();
        std::future::pending::<()>().await;
    });
    assert_eq!(run.value, Err(Stopped::Livelock("spinning".into())));
    assert_eq!(run.stats.simulated_ms, 7);
}

#[test]
fn a_world_that_does_too_much_while_time_passes_is_stopped() {
    let config = WorldConfig { polls_per_second_max: 10_000, ..WorldConfig::default() };
    let run = World::run(config, 13, async |world| {
        let machine = world.add_machine("m", MachineConfig::default());
        let busy = machine.add_process("busy", |_| async {
            for turn in 1..u64::MAX {
                if turn.is_multiple_of(100) { ms(1).await } else { tokio::task::yield_now().await }
            }
        });
        busy.start();
        std::future::pending::<()>().await;
    });
    let is_overrun =
        |it: &Stopped| matches!(it, Stopped::Overrun { process, .. } if &**process == "busy");
    assert!(run.value.as_ref().is_err_and(is_overrun), "{:?}", run.value);
    assert!((90..110).contains(&run.stats.simulated_ms), "{:?}", run.stats);
}

#[test]
fn processes_woken_together_run_in_an_order_drawn_from_the_seed() {
    let order = |seed, shuffle| {
        let config = WorldConfig { shuffle, ..WorldConfig::default() };
        let run = World::run(config, seed, async |world| {
            let machine = world.add_machine("m", MachineConfig::default());
            for number in 0..5 {
                machine.add_process(&format!("p{number}"), |_| async { ms(5).await });
            }
            machine.start_all();
            ms(10).await;
        });
        let ended = |record: &crate::trace::TraceRecord| {
            matches!(record.event, TraceEvent::Process(ProcessStep::Exited))
                .then(|| record.source.to_string())
        };
        run.trace.read(|records| records.iter().filter_map(ended).collect::<Vec<_>>())
    };
    assert_eq!(order(1, false), ["p0", "p1", "p2", "p3", "p4"]);
    assert_eq!(order(1, true), order(1, true));
    assert!((1..6).any(|seed| order(seed, true) != order(seed + 1, true)));
}

#[test]
fn a_ring_of_five_leaves_everyone_a_majority() {
    let all: Vec<_> = (0..5).map(crate::net::MachineId).collect();
    let cut = Partition::majority_ring(&all);
    let links: Vec<_> = all.iter().flat_map(|one| all.iter().map(|two| (*one, *two))).collect();
    let reached = |from| {
        let open = |link: &&(_, _)| link.0 == from && !cut.cuts(**link);
        links.iter().filter(open).count()
    };
    assert!(all.iter().all(|machine| reached(*machine) == 3));
}

#[test]
#[should_panic(expected = "scenario is wrong")]
fn a_panic_of_the_scenario_is_the_callers() {
    World::test(14, async |world| {
        let machine = world.add_machine("m", MachineConfig::default());
        machine.add_process("p", |_| std::future::pending::<()>()).start();
        ms(1).await;
        panic!("the scenario is wrong");
    });
}
