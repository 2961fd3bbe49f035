//! Disks and clocks of machines under kill, power loss and worse.

use std::path::Path;

use mq_env::disk::{Disk, MappedRegion, PAGE_SIZE};

use super::*;
use crate::trace::MachineStep;

const LOG: &str = "/store/commitlog/0";

/// Writes "synced" and "cached" into two pages of a mapped file, syncs the first and waits.
async fn write(env: Env) -> MappedRegion {
    env.disk.create_dir_all(Path::new("/store/commitlog")).unwrap();
    let region = env.disk.map(Path::new(LOG), 2 * PAGE_SIZE).unwrap();
    for dir in ["/", "/store", "/store/commitlog"] {
        env.disk.sync(Path::new(dir)).await.unwrap();
    }
    region.write(0, b"synced");
    env.disk.sync(Path::new(LOG)).await.unwrap();
    env.disk.flush(&region, 0..PAGE_SIZE).await.unwrap();
    region.write(PAGE_SIZE, b"cached");
    region
}

fn machine_with_writer(world: &WorldHandle) -> (MachineHandle, ProcessHandle) {
    let machine = world.add_machine("m", MachineConfig::default());
    let process = machine.add_process("writer", |context| async move {
        let held = write(context.env).await;
        std::future::pending::<()>().await;
        drop(held);
    });
    process.start();
    (machine, process)
}

/// What the file holds, as a new process would read it.
fn content(machine: &MachineHandle) -> Option<(String, String)> {
    let handle = machine.disk().handle("reader");
    let bytes = handle.read(Path::new(LOG)).ok()?;
    let text = |at: usize| String::from_utf8_lossy(&bytes[at..at + 6]).into_owned();
    Some((text(0), text(PAGE_SIZE)))
}

fn pair(one: &str, two: &str) -> Option<(String, String)> {
    Some((one.to_owned(), two.to_owned()))
}

fn without_writeback() -> WorldConfig {
    WorldConfig { writeback_interval_ms: 0, ..WorldConfig::default() }
}

#[test]
fn a_kill_keeps_the_page_cache_and_a_power_loss_what_was_synced() {
    let run = World::run(without_writeback(), 20, async |world| {
        let (machine, process) = machine_with_writer(&world);
        ms(100).await;
        process.kill();
        assert_eq!(content(&machine), pair("synced", "cached"));
        machine.power_loss_worst();
        assert_eq!(machine.last_power_loss().unwrap().dropped_pages(), 1);
        machine.power_on();
        assert_eq!(content(&machine), pair("synced", "\0\0\0\0\0\0"));
        machine.destroy_disk();
        machine.power_on();
        assert_eq!(content(&machine), None);
        let steps = world.trace().records().into_iter().filter_map(|record| match record.event {
            TraceEvent::Machine(step) => Some(step),
            _ => None,
        });
        use MachineStep::{DiskDestroyed, PowerLost, PoweredOn};
        let steps: Vec<_> = steps.collect();
        assert_eq!(steps, [PowerLost, PoweredOn, PowerLost, DiskDestroyed, PoweredOn]);
    });
    assert_eq!((run.value, run.failures.len()), (Ok(()), 0));
}

#[test]
fn background_writeback_reaches_the_platter_in_time() {
    World::test(21, async |world| {
        let (machine, _) = machine_with_writer(&world);
        ms(3_600_000).await;
        machine.power_loss_worst();
        assert_eq!(content(&machine), pair("synced", "cached"));
    });
}

#[test]
fn each_power_loss_draws_anew() {
    let kept = |seed| {
        World::test(seed, async |world| {
            let (machine, process) = machine_with_writer(&world);
            let mut kept = Vec::new();
            for _ in 0..12 {
                ms(100).await;
                machine.power_loss();
                machine.power_on();
                kept.push(content(&machine));
                assert_eq!(process.status(), ProcessStatus::LostPower);
                machine.start_all();
            }
            kept
        })
    };
    assert_eq!(kept(22), kept(22));
    assert!(kept(22).iter().any(|content| *content != kept(22)[0]));
}

#[test]
fn a_drop_that_touches_the_disk_of_a_dead_process_is_a_failure() {
    struct MarksOnDrop(MappedRegion);
    impl Drop for MarksOnDrop {
        fn drop(&mut self) {
            self.0.write(0, b"clean");
        }
    }
    let run = World::run(without_writeback(), 23, async |world| {
        let machine = world.add_machine("m", MachineConfig::default());
        let process = machine.add_process("p", |context| async move {
            let held = MarksOnDrop(write(context.env).await);
            std::future::pending::<()>().await;
            drop(held);
        });
        process.start();
        ms(100).await;
        process.kill();
    });
    assert_eq!((run.failures.len(), run.failures[0].task), (1, "drop"));
}

#[test]
fn machines_have_their_own_wall_clocks() {
    World::test(24, async |world| {
        let epoch_ms = WorldConfig::default().epoch_ms;
        let shanghai = MachineConfig {
            clock_offset_ms: -500,
            utc_offset_seconds: 8 * 3_600,
            ..MachineConfig::default()
        };
        ms(1_000).await;
        let late = world.add_machine("late", shanghai);
        let plain = world.add_machine("plain", MachineConfig::default());
        let read = |machine: &MachineHandle| {
            let process = machine.processes().remove(0);
            process.env().unwrap().clock.now_millis() - epoch_ms
        };
        for machine in [&late, &plain] {
            machine.add_process(machine.name(), |_| std::future::pending::<()>()).start();
        }
        assert_eq!((read(&late), read(&plain)), (500, 1_000));
        late.jump_clock(60_000);
        late.freeze_clock();
        ms(1_000).await;
        assert_eq!((read(&late), read(&plain)), (60_500, 2_000));
        late.steady_clock();
        ms(1_000).await;
        assert_eq!((read(&late), read(&plain)), (61_500, 3_000));
        let faults = world.trace().faults();
        assert_eq!((faults[0].bitten_us, faults[1].bitten_us), (None, Some(2_000_000)));
        assert!(faults.iter().all(|fault| fault.healed_us.is_some()));
    });
}
