//! [`Desk`]: where somebody calls `mqadmin`.

use std::ffi::OsString;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mq_admin::{AdminError, MqAdmin, Surroundings};
use mq_client::{ClientInstance, ConsumeResult, PushConsumer, PushConsumerConfig};
use mq_env::Env;
use mq_protocol::body::heartbeat::ConsumeFromWhere;
use mq_protocol::message::MessageExt;
use staticfire_world::world::{MachineConfig, ProcessContext, ProcessHandle, World, WorldHandle};

use crate::broker::cluster::{Broker, Cluster, NAMESRV, seconds};

/// Tells a story of a name server, a master, and somebody at a desk.
pub(super) fn at_desk(story: impl AsyncFnOnce(Cluster, Broker, Desk)) {
    World::test(1, async |world| {
        let cluster = Cluster::new(world);
        let master = cluster.master(|_, _| {}).await;
        let desk = Desk::new(&cluster.world);
        seconds(1).await;
        story(cluster, master, desk).await;
    });
}

/// A machine at which `mqadmin` is called.
pub(super) struct Desk {
    process: ProcessHandle,
    pub(super) surroundings: Surroundings,
}

impl Desk {
    /// A machine of its own, from which the name server is known.
    pub(super) fn new(world: &WorldHandle) -> Self {
        let machine = world.add_machine("desk", MachineConfig::default());
        let process = machine.add_process("desk", |context: ProcessContext| async move {
            context.shutdown.cancelled().await;
        });
        process.start();
        let namesrv_addr = Some(NAMESRV.to_owned());
        let surroundings = Surroundings { namesrv_addr, ..Surroundings::default() };
        Desk { process, surroundings }
    }

    pub(super) fn env(&self) -> Env {
        self.process.env().unwrap()
    }

    /// What a command prints, and how it ends.
    pub(super) async fn call(&self, line: &str) -> (String, Result<(), AdminError>) {
        let args = std::iter::once("mqadmin").chain(line.split_whitespace()).map(OsString::from);
        let args = MqAdmin::read(args).unwrap_or_else(|error| panic!("{line}: {error}"));
        let mut out = Vec::new();
        let result = args.run(&self.env(), &self.surroundings, &mut out).await;
        (String::from_utf8(out).unwrap(), result)
    }

    /// What a command prints that does what it is asked to.
    pub(super) async fn prints(&self, line: &str) -> String {
        let (text, result) = self.call(line).await;
        result.unwrap_or_else(|error| panic!("{line}: {error}\n{text}"));
        text
    }

    /// What a command says that fails, and what it has printed before.
    pub(super) async fn fails(&self, line: &str) -> (String, AdminError) {
        let (text, result) = self.call(line).await;
        (text.clone(), result.err().unwrap_or_else(|| panic!("{line}: {text}")))
    }

    /// What a command prints within a time that goes on until somebody stops it.
    pub(super) async fn watches(&self, line: &str, time: Duration) -> String {
        let args = std::iter::once("mqadmin").chain(line.split_whitespace()).map(OsString::from);
        let args = MqAdmin::read(args).unwrap();
        let mut out = Vec::new();
        let env = self.env();
        let running = args.run(&env, &self.surroundings, &mut out);
        assert!(tokio::time::timeout(time, running).await.is_err(), "{line} has ended");
        String::from_utf8(out).unwrap()
    }
}

/// The words of each line.
pub(super) fn words(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split_whitespace().collect()).collect()
}

/// A member of a group, and the bodies that it was given.
pub(super) async fn consumer(
    instance: &ClientInstance,
    group: &str,
    topic: &str,
) -> (PushConsumer, Arc<Mutex<Vec<String>>>) {
    let given = Arc::<Mutex<Vec<String>>>::default();
    let sink = Arc::clone(&given);
    let config = PushConsumerConfig {
        consume_from_where: ConsumeFromWhere::ConsumeFromFirstOffset,
        ..PushConsumerConfig::new(group, topic, "*")
    };
    let listener = move |messages: &[Arc<MessageExt>]| {
        let bodies = messages.iter().map(|it| String::from_utf8_lossy(&it.message.body).into());
        sink.lock().unwrap().extend(bodies);
        ConsumeResult::Success.into()
    };
    (PushConsumer::start(instance, config, Arc::new(listener)).await.unwrap(), given)
}
