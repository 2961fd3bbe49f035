//! Consumption in order: who is given what while members come, go and are away longer than their locks last.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mq_client::{
    ClientConfig, ClientInstance, ConsumeResult, Consumption, MessageListener, PushConsumer,
    PushConsumerConfig,
};
use mq_protocol::body::heartbeat::ConsumeFromWhere;
use mq_protocol::codes::RequestCode;
use mq_protocol::header::send_message::SendMessageRequestHeader;
use mq_protocol::message_codec::decode_messages;
use staticfire_world::trace::TraceEvent;
use staticfire_world::world::{
    MachineConfig, ProcessContext, ProcessHandle, World, WorldConfig, WorldHandle,
};

use super::cluster::{Broker, Cluster, NAMESRV, pull_header, seconds, send_header, send_request};

const QUEUES: i32 = 4;

/// How long the listener has each message.
const TAKES: Duration = Duration::from_millis(150);

/// What the listeners of all members were given.
#[derive(Default)]
struct Queues {
    queues: BTreeMap<i32, Handed>,
    /// Calls of listeners in all.
    calls: usize,
    /// What was done for at least the second time.
    repeated: usize,
    /// What should not have been given. A panic would only make it come again.
    wrong: Vec<String>,
}

/// What was given of one queue.
#[derive(Debug, Default)]
struct Handed {
    /// Offsets below are done.
    done: i64,
    /// The member that is at work on it, and on which offset.
    at_work: Option<(&'static str, i64)>,
}

impl Queues {
    /// Nobody else is at work on the queue, and everything before the message is done.
    fn enter(&mut self, member: &'static str, queue_id: i32, offset: i64) {
        let queue = self.queues.entry(queue_id).or_default();
        if queue.at_work.is_some() || offset > queue.done {
            self.wrong.push(format!("{member} is given {offset} of {queue_id}, where {queue:?}"));
        }
        queue.at_work = Some((member, offset));
        self.calls += 1;
        self.repeated += usize::from(offset < queue.done);
    }

    fn leave(&mut self, member: &'static str, queue_id: i32, offset: i64) {
        let queue = self.queues.entry(queue_id).or_default();
        // Else it was asleep while others went on.
        if queue.at_work == Some((member, offset)) {
            queue.at_work = None;
            queue.done = queue.done.max(offset + 1);
        }
    }

    /// A member falls asleep in its listeners, which nobody can prevent from going on when it wakes.
    fn fall_asleep(&mut self, member: &'static str) {
        for queue in self.queues.values_mut() {
            queue.at_work = queue.at_work.filter(|(at_work, _)| *at_work != member);
        }
    }

    fn done(&self) -> i64 {
        self.queues.values().map(|queue| queue.done).sum()
    }
}

fn listener(member: &'static str, queues: &Arc<Mutex<Queues>>) -> MessageListener {
    let queues = Arc::clone(queues);
    Arc::new(move |messages| {
        let (queue_id, offset) = (messages[0].queue_id, messages[0].queue_offset);
        queues.lock().unwrap().enter(member, queue_id, offset);
        let queues = Arc::clone(&queues);
        Consumption::Later(Box::pin(async move {
            tokio::time::sleep(TAKES).await;
            queues.lock().unwrap().leave(member, queue_id, offset);
            ConsumeResult::Success
        }))
    })
}

fn in_order() -> PushConsumerConfig {
    PushConsumerConfig {
        consume_orderly: true,
        consume_from_where: ConsumeFromWhere::ConsumeFromFirstOffset,
        ..PushConsumerConfig::new("G", "T", "*")
    }
}

/// A member of the group on a machine of its own, running.
fn member(
    world: &WorldHandle,
    name: &'static str,
    config: PushConsumerConfig,
    listener: MessageListener,
) -> ProcessHandle {
    let machine = world.add_machine(name, MachineConfig::default());
    let process = machine.add_process(name, move |context: ProcessContext| {
        let (config, listener) = (config.clone(), Arc::clone(&listener));
        async move {
            let client_config = ClientConfig {
                namesrv_addrs: vec![NAMESRV.to_owned()],
                instance_name: name.to_owned(),
                ..ClientConfig::default()
            };
            let client = ClientInstance::start(context.env.clone(), client_config);
            let consumer = PushConsumer::start(&client, config, listener).await.unwrap();
            context.shutdown.cancelled().await;
            consumer.shutdown().await;
            client.shutdown().await;
        }
    });
    process.start();
    process
}

/// Sends to the queues in turn, a message each 100 ms.
async fn send(cluster: &Cluster, broker: &Broker, count: i32) {
    for n in 0..count {
        let header = SendMessageRequestHeader { queue_id: n % QUEUES, ..send_header("T") };
        cluster.ask(&broker.addr, send_request(&header, "body")).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn committed(event: &TraceEvent) -> Option<(u32, u64)> {
    match event {
        TraceEvent::OffsetCommitted { topic, queue_id, offset, .. } if &**topic == "T" => {
            Some((*queue_id, *offset))
        }
        _ => None,
    }
}

#[test]
fn members_come_go_and_fall_asleep_and_each_queue_stays_in_order() {
    for seed in 0..6 {
        World::test(seed, async |world| {
            let cluster = Cluster::new(world.clone());
            let broker = cluster.master(|_, _| {}).await;
            let queues = Arc::<Mutex<Queues>>::default();
            let join = |name| member(&world, name, in_order(), listener(name, &queues));
            let story = async {
                let one = join("one");
                seconds(20).await;
                let two = join("two");
                seconds(40).await;
                // Sleeps beyond what a broker keeps locks for; some seeds are forgotten as members, too.
                let asleep = if seed % 2 == 0 { &one } else { &two };
                asleep.pause();
                queues.lock().unwrap().fall_asleep(if seed % 2 == 0 { "one" } else { "two" });
                seconds(80 + 20 * seed).await;
                asleep.resume();
                seconds(30).await;
                let three = join("three");
                seconds(40).await;
                three.stop(Duration::from_secs(60)).await;
                seconds(90).await;
                (one, two)
            };
            let count = 2_000;
            let (_members, ()) = tokio::join!(story, send(&cluster, &broker, count));
            seconds(120).await;
            let queues = queues.lock().unwrap();
            assert!(queues.wrong.is_empty(), "{:#?}", queues.wrong);
            assert_eq!(queues.done(), i64::from(count), "nothing is lost");
            // A queue whose lock ran out goes on where its last commit says.
            assert!(queues.repeated < 200, "{} of {} calls", queues.repeated, queues.calls);
            let mut highest = BTreeMap::<u32, u64>::new();
            for (queue_id, offset) in cluster.events(committed) {
                let before = highest.insert(queue_id, offset).unwrap_or(0);
                assert!(offset >= before, "queue {queue_id} is set back from {before} to {offset}");
            }
            assert_eq!(highest.values().sum::<u64>(), count as u64);
        });
    }
}

#[test]
fn a_message_consumed_in_vain_holds_its_queue_until_it_is_a_dead_letter() {
    let config = WorldConfig::default();
    let run = World::run(config, 1, async |world| {
        let cluster = Cluster::new(world.clone());
        let broker = cluster.master(|_, _| {}).await;
        for body in ["good", "bad", "good", "worse", "good"] {
            cluster.send(&broker.addr, "T", body).await;
        }
        let seen = Arc::new(Mutex::new(Vec::new()));
        let listener: MessageListener = {
            let seen = Arc::clone(&seen);
            Arc::new(move |messages| {
                let message = &messages[0];
                seen.lock().unwrap().push((message.queue_offset, message.reconsume_times));
                let fails = match &message.message.body[..] {
                    b"bad" => message.reconsume_times < 2,
                    b"worse" => true,
                    _ => false,
                };
                if fails { ConsumeResult::ReconsumeLater } else { ConsumeResult::Success }.into()
            })
        };
        let config = PushConsumerConfig { reconsume_times_max: 3, ..in_order() };
        let member = member(&world, "one", config, listener);
        seconds(60).await;
        let expected =
            [(0, 0), (1, 0), (1, 1), (1, 2), (2, 0), (3, 0), (3, 1), (3, 2), (3, 3), (4, 0)];
        assert_eq!(*seen.lock().unwrap(), expected);
        member.stop(Duration::from_secs(60)).await;
        let dead = pull_header("reader", "%DLQ%G", 0);
        let dead = cluster.call(&broker.addr, RequestCode::PULL_MESSAGE, &dead).await;
        let dead = decode_messages(&dead.body);
        assert_eq!(dead.len(), 1, "it is there at once");
        assert_eq!(&dead[0].message.body[..], b"worse");
    });
    assert!(run.failures.is_empty(), "{:?}", run.failures);
    assert_eq!(run.value, Ok(()));
}
