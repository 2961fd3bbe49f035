//! What applications see of the network, in worlds of two or three machines.

mod connects;
mod deaths;
mod partitions;
mod random;
mod streams;

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mq_env::net::{Listener, Net, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::{LinkProfile, MachineId, SegmentInfo, Verdict};
use crate::trace::TraceEvent;
use crate::world::{MachineConfig, MachineHandle, Partition, ProcessHandle, World, WorldHandle};

const PORT: u16 = 9_876;
const BUDGET_MS: u64 = 15_000;

/// A machine with one process that does nothing by itself.
struct Node {
    machine: MachineHandle,
    process: ProcessHandle,
}

impl Node {
    fn new(world: &WorldHandle, name: &str) -> Node {
        let machine = world.add_machine(name, MachineConfig::default());
        let process = machine.add_process(&format!("p-{name}"), |context| async move {
            context.shutdown.cancelled().await;
        });
        process.start();
        Node { machine, process }
    }

    fn net(&self) -> Arc<dyn Net> {
        self.process.env().unwrap().net
    }

    fn id(&self) -> MachineId {
        self.machine.id()
    }

    async fn listen(&self) -> Box<dyn Listener> {
        self.net().bind(SocketAddr::from(([0, 0, 0, 0], PORT))).await.unwrap()
    }
}

/// Two nodes, a listener on the second, and a connection from the first to it.
struct Pair {
    one: Node,
    two: Node,
    listener: Box<dyn Listener>,
    client: Stream,
    server: Stream,
}

async fn pair(world: &WorldHandle) -> Pair {
    let (one, two) = (Node::new(world, "one"), Node::new(world, "two"));
    let listener = two.listen().await;
    let client = one.net().connect("two:9876").await.unwrap();
    let server = listener.accept().await.unwrap();
    Pair { one, two, listener, client, server }
}

async fn read_text(stream: &mut Stream, len: usize) -> String {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

async fn read_error(stream: &mut Stream) -> ErrorKind {
    stream.read_u8().await.unwrap_err().kind()
}

async fn ms(millis: u64) {
    sleep(Duration::from_millis(millis)).await;
}
