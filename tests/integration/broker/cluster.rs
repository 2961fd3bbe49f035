//! A name server, brokers and a client, each on a machine of its own.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use mq_broker::config::BrokerConfig;
use mq_broker::{BrokerController, BrokerError};
use mq_client::{ClientConfig, ClientInstance};
use mq_env::Env;
use mq_namesrv::{NamesrvConfig, NamesrvController};
use mq_protocol::body::heartbeat::{HeartbeatData, SubscriptionData};
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::fastjson::to_bytes;
use mq_protocol::header::CustomHeader;
use mq_protocol::header::admin::CreateTopicRequestHeader;
use mq_protocol::header::pull_message::PullMessageRequestHeader;
use mq_protocol::header::send_message::{SendMessageRequestHeader, SendMessageResponseHeader};
use mq_protocol::remoting_command::RemotingCommand;
use mq_protocol::sys_flag::PullSysFlag;
use mq_remoting::{ProcessorTable, RemotingClient, RemotingClientConfig};
use mq_servers::monitor::{Monitor, WatchedBroker};
use mq_store::config::{BrokerRole, StoreConfig};
use staticfire_world::trace::TraceEvent;
use staticfire_world::world::{
    MachineConfig, MachineHandle, ProcessContext, ProcessHandle, World, WorldConfig, WorldHandle,
};

pub(crate) const NAMESRV: &str = "ns:9876";
const PORT: u16 = 10_911;

/// A world with a name server and a client.
pub(crate) struct Cluster {
    pub(crate) world: WorldHandle,
    pub(crate) client: RemotingClient,
    pub(crate) namesrv: ProcessHandle,
}

/// A broker of a [`Cluster`].
pub(crate) struct Broker {
    pub(crate) machine: MachineHandle,
    pub(crate) process: ProcessHandle,
    /// Main address.
    pub(crate) addr: String,
    /// Address of the fast port.
    pub(crate) fast_addr: String,
    config: BrokerConfig,
    store_config: StoreConfig,
}

impl Cluster {
    pub(crate) fn new(world: WorldHandle) -> Self {
        let machine = world.add_machine("ns", MachineConfig::default());
        let namesrv = machine.add_process("namesrv", |context| async move {
            let config = NamesrvConfig::default();
            let namesrv = NamesrvController::start(context.env, config).await?;
            context.shutdown.cancelled().await;
            namesrv.shutdown().await;
            Ok::<(), std::io::Error>(())
        });
        namesrv.start();
        let client = new_client(&world, "client", ProcessorTable::default());
        Cluster { world, client, namesrv }
    }

    /// A master called `a`, running, with settings changed by `edit`.
    pub(crate) async fn master(
        &self,
        edit: impl FnOnce(&mut BrokerConfig, &mut StoreConfig),
    ) -> Broker {
        let broker = self.broker("a", 0, BrokerRole::AsyncMaster, edit);
        broker.start().await;
        broker
    }

    /// A slave of `a`, running.
    pub(crate) async fn slave(&self) -> Broker {
        let broker = self.broker("a", 1, BrokerRole::Slave, |_, _| {});
        broker.start().await;
        broker
    }

    /// A broker that does not run yet, on the machine `name-id`.
    pub(crate) fn broker(
        &self,
        name: &str,
        broker_id: u64,
        role: BrokerRole,
        edit: impl FnOnce(&mut BrokerConfig, &mut StoreConfig),
    ) -> Broker {
        let machine_name = format!("{name}-{broker_id}");
        let machine = self.world.add_machine(&machine_name, MachineConfig::default());
        let mut config = BrokerConfig::new(name);
        config.broker_id = broker_id;
        config.namesrv_addrs = vec![NAMESRV.to_owned()];
        let mut store_config = StoreConfig::at("/store");
        store_config.broker_role = role;
        store_config.mapped_file_size_commit_log = 1 << 20;
        store_config.mapped_file_size_consume_queue = 20 * 1_000;
        edit(&mut config, &mut store_config);
        let process =
            machine.add_process(&machine_name, main_of(config.clone(), store_config.clone()));
        let addr = format!("{}:{PORT}", machine.ip());
        let fast_addr = format!("{}:{}", machine.ip(), PORT - 2);
        Broker { machine, process, addr, fast_addr, config, store_config }
    }

    /// The reply to `request`.
    pub(crate) async fn ask(&self, addr: &str, request: RemotingCommand) -> RemotingCommand {
        self.client.invoke_async(addr, request, Duration::from_secs(60)).await.unwrap()
    }

    /// The reply to a request with a header and without a body.
    pub(crate) async fn call(
        &self,
        addr: &str,
        code: i32,
        header: &impl CustomHeader,
    ) -> RemotingCommand {
        self.ask(addr, RemotingCommand::request(code, header)).await
    }

    /// Sends one message and returns its queue offset.
    pub(crate) async fn send(&self, addr: &str, topic: &str, body: &'static str) -> i64 {
        let request = send_request(&send_header(topic), body);
        let response = self.ask(addr, request).await;
        assert_eq!(response.code, ResponseCode::SUCCESS, "{:?}", response.remark);
        response.header::<SendMessageResponseHeader>().unwrap().queue_offset
    }

    /// Makes a topic of four queues.
    pub(crate) async fn create_topic(&self, broker: &Broker, topic: &str) {
        let header = CreateTopicRequestHeader::new(topic, 4);
        let code = RequestCode::UPDATE_AND_CREATE_TOPIC;
        assert_eq!(self.call(&broker.addr, code, &header).await.code, ResponseCode::SUCCESS);
    }

    /// The power of a broker's machine fails and comes back: nothing is left that was not synced.
    pub(crate) fn power_cycle(&self, broker: &Broker) {
        broker.machine.power_loss_worst();
        broker.machine.power_on();
        // The client would find out by itself, with its next request.
        self.client.close(&broker.addr);
        self.client.close(&broker.fast_addr);
    }

    /// What happened so far that `pick` picks.
    pub(crate) fn events<T>(&self, pick: impl Fn(&TraceEvent) -> Option<T>) -> Vec<T> {
        let picked = |records: &[staticfire_world::trace::TraceRecord]| {
            records.iter().filter_map(|record| pick(&record.event)).collect()
        };
        self.world.trace().read(picked)
    }
}

impl Broker {
    /// Starts the broker and waits until it serves.
    pub(crate) async fn start(&self) {
        self.process.start();
        let env = self.process.env().unwrap();
        for _ in 0..1_000 {
            assert!(self.process.is_running(), "{:?}", self.process.status());
            if env.net.connect(&self.addr).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{} does not serve", self.addr);
    }

    /// Stops the broker in order.
    pub(crate) async fn stop(&self) {
        self.process.stop(Duration::from_secs(60)).await;
    }

    /// What it starts with.
    pub(crate) fn settings(&self) -> (BrokerConfig, StoreConfig) {
        (self.config.clone(), self.store_config.clone())
    }

    /// Changes the settings from the next start on.
    pub(crate) fn edit(&mut self, edit: impl FnOnce(&mut BrokerConfig, &mut StoreConfig)) {
        edit(&mut self.config, &mut self.store_config);
        self.process.set_main(main_of(self.config.clone(), self.store_config.clone()));
    }
}

/// Runs a scenario in a world whose kernels write nothing back by themselves.
pub(crate) fn test_without_writeback(seed: u64, scenario: impl AsyncFnOnce(WorldHandle)) {
    let config = WorldConfig { writeback_interval_ms: 0, ..WorldConfig::default() };
    let run = World::run(config, seed, scenario);
    assert!(run.failures.is_empty(), "{:?}\n{}", run.failures, run.trace);
    assert_eq!(run.value, Ok(()), "{}", run.trace);
}

/// Tells `broker` of the groups of a client; the reply.
pub(crate) async fn heartbeat(
    client: &RemotingClient,
    broker: &Broker,
    data: &HeartbeatData,
) -> RemotingCommand {
    let request = RemotingCommand::request(RequestCode::HEART_BEAT, &());
    let request = request.with_body(to_bytes(data));
    client.invoke(&broker.addr, request, Duration::from_secs(3)).await.unwrap()
}

/// A machine of its own, and what a program there reaches the world through.
pub(crate) fn new_machine(world: &WorldHandle, name: &str) -> (MachineHandle, Env) {
    let machine = world.add_machine(name, MachineConfig::default());
    let process = machine.add_process(name, |context: ProcessContext| async move {
        context.shutdown.cancelled().await;
    });
    process.start();
    (machine, process.env().unwrap())
}

/// A client on a machine of its own, which lets `processors` answer what servers ask.
pub(crate) fn new_client(
    world: &WorldHandle,
    name: &str,
    processors: ProcessorTable,
) -> RemotingClient {
    let (_, env) = new_machine(world, name);
    RemotingClient::new(env, RemotingClientConfig::default(), processors)
}

/// A client of the name server, and its machine.
pub(crate) fn new_instance(world: &WorldHandle, name: &str) -> (MachineHandle, ClientInstance) {
    let (machine, env) = new_machine(world, name);
    let config = ClientConfig {
        namesrv_addrs: vec![NAMESRV.to_owned()],
        instance_name: name.to_owned(),
        ..ClientConfig::default()
    };
    (machine, ClientInstance::start(env, config))
}

fn main_of(
    config: BrokerConfig,
    store_config: StoreConfig,
) -> impl Fn(ProcessContext) -> Pin<Box<dyn Future<Output = Result<(), BrokerError>>>> {
    move |context| {
        let (config, store_config) = (config.clone(), store_config.clone());
        Box::pin(async move {
            let monitor = Monitor::start(&context.env, config.metrics_listen_port).await.unwrap();
            let broker = BrokerController::start(context.env, config, store_config).await?;
            monitor.watch(WatchedBroker(Arc::clone(&broker)));
            context.shutdown.cancelled().await;
            broker.shutdown().await;
            monitor.shutdown().await;
            Ok(())
        })
    }
}

/// A send to queue 0.
pub(crate) fn send_header(topic: &str) -> SendMessageRequestHeader {
    SendMessageRequestHeader {
        producer_group: "P".to_owned(),
        topic: topic.to_owned(),
        default_topic: "TBW102".to_owned(),
        default_topic_queue_nums: 4,
        queue_id: 0,
        born_timestamp: 1,
        ..SendMessageRequestHeader::default()
    }
}

pub(crate) fn send_request(
    header: &SendMessageRequestHeader,
    body: &'static str,
) -> RemotingCommand {
    RemotingCommand::request(RequestCode::SEND_MESSAGE_V2, header).with_body(body)
}

/// A pull of queue 0 for everything from `queue_offset` on, which does not wait.
pub(crate) fn pull_header(group: &str, topic: &str, queue_offset: i64) -> PullMessageRequestHeader {
    PullMessageRequestHeader {
        consumer_group: group.to_owned(),
        topic: topic.to_owned(),
        queue_id: 0,
        queue_offset,
        max_msg_nums: 32,
        sys_flag: PullSysFlag::SUBSCRIPTION,
        subscription: Some("*".to_owned()),
        ..PullMessageRequestHeader::default()
    }
}

/// A pull of queue 0 of T that may be held for `suspend_ms`.
pub(crate) fn waiting(queue_offset: i64, suspend_ms: i64) -> PullMessageRequestHeader {
    PullMessageRequestHeader {
        sys_flag: PullSysFlag::SUBSCRIPTION | PullSysFlag::SUSPEND,
        suspend_timeout_ms: suspend_ms,
        ..pull_header("G", "T", queue_offset)
    }
}

pub(crate) fn subscription(topic: &str, tags: &str, version: i64) -> SubscriptionData {
    SubscriptionData::by_tags(topic, tags, version).unwrap()
}

pub(crate) async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}
