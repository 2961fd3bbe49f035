//! A producer process: it starts sends at its rate, keeps at most a window of them in flight, and
//! slows down while they fail.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mq_env::Env;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use staticfire_world::trace::Name;
use staticfire_world::world::ProcessContext;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until};

use super::Workload;
use super::draft::{Draft, Drawn};
use super::sender::Sender;
use crate::lock;
use crate::plan::WorkloadPlan;

/// A send that was not acknowledged keeps its place in the window for this long, so that a cluster
/// in trouble is not flooded and the story's messages last.
const BACK_OFF: Duration = Duration::from_millis(300);

/// Main function of a producer process.
pub async fn run(context: ProcessContext, work: Arc<Workload>) {
    let ProcessContext { env, shutdown, name, .. } = context;
    let client = work.traffic.client(&env, &name);
    let sender = Sender::of(&client, &env, &name, &work);
    let sending = send_all(&env, &name, &work, &sender);
    let _ = shutdown.run_until_cancelled(sending).await;
    shutdown.cancelled().await;
    client.shutdown().await;
}

async fn send_all(env: &Env, name: &Name, work: &Arc<Workload>, sender: &Sender) {
    let window = Arc::new(Semaphore::new(work.plan.window as usize));
    let keys = Arc::new(Mutex::new((0..work.plan.window).collect::<BTreeSet<_>>()));
    let mut draw = env.rng.stream("workload");
    let mut left = work.left_in_outbox(name).into_iter();
    let began = Instant::now();
    let mut due = began;
    while let Ok(place) = Arc::clone(&window).acquire_owned().await {
        sleep_until(due).await;
        let now = Instant::now();
        due = now.max(due) + interval(&work.plan, now - began);
        let (drawn, again) = match left.next() {
            Some(found) => (work.takes_again().then_some(found).into_iter().collect(), true),
            None => (draw_all(&mut draw, &work.plan, &work.take_numbers()), false),
        };
        if drawn.is_empty() {
            return;
        }
        work.enter_outbox(name, &drawn);
        let (work, sender, name) = (Arc::clone(work), sender.clone(), Arc::clone(name));
        // Each place in the window is a key, whose messages go one after the other.
        let key = lock(&keys).pop_first();
        let keys = Arc::clone(&keys);
        env.tasks.spawn("send", async move {
            let sharding_key = key.filter(|_| work.plan.ordered);
            let sharding_key =
                sharding_key.map(|key| work.traffic.trace().name(&format!("{name}-{key}")));
            let draft = |it| Draft::new(&work, &name, it, sharding_key.clone(), again);
            let drafts = drawn.into_iter().map(draft).collect();
            if !sender.send(&name, &work, drafts).await {
                sleep(BACK_OFF).await;
            }
            lock(&keys).extend(key);
            drop(place);
        });
    }
}

/// Time until the next send is due, `elapsed` after the first one.
fn interval(plan: &WorkloadPlan, elapsed: Duration) -> Duration {
    let bursts = plan.burst.filter(|burst| {
        let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        elapsed_ms >= burst.every.0 && elapsed_ms % burst.every.0 < burst.lasts.0
    });
    let rate_per_second = bursts.map_or(plan.rate_per_second, |burst| burst.rate_per_second);
    Duration::from_millis((1_000 / u64::from(rate_per_second)).max(1))
}

/// Lengths of bodies, and whether the messages, which are sent together, wait for what the broker promises.
fn draw_all(draw: &mut ChaCha8Rng, plan: &WorkloadPlan, numbers: &[u32]) -> Vec<Drawn> {
    let [shortest, longest] = plan.body_bytes;
    let mut wait = None;
    let drawn = numbers.iter().map(|number| {
        let len = draw.random_range(shortest..=longest) as usize;
        let wait =
            *wait.get_or_insert_with(|| draw.random_range(0..100) >= plan.wait_false_percent);
        Drawn { number: *number, len, wait }
    });
    drawn.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{BurstPlan, Millis};

    #[test]
    fn bursts_begin_after_their_interval_and_end() {
        let burst = BurstPlan { every: Millis(1_000), lasts: Millis(100), rate_per_second: 500 };
        let plan =
            WorkloadPlan { rate_per_second: 10, burst: Some(burst), ..WorkloadPlan::default() };
        let at = |ms: u64| interval(&plan, Duration::from_millis(ms)).as_millis();
        assert_eq!(
            [0, 50, 999, 1_000, 1_099, 1_100, 2_050, 2_100].map(at),
            [100, 100, 100, 2, 2, 100, 2, 100]
        );
    }
}
