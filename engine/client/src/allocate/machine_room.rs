//! Division by machine rooms (RocketMQ 4.9 `AllocateMessageQueueByMachineRoom`, `AllocateMachineRoomNearby`).

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use mq_protocol::message::MessageQueue;

use super::{AllocateMessageQueueStrategy, NoMachineRoom};

/// Says where brokers and consumers stand.
pub trait MachineRoomResolver: Debug + Send + Sync {
    /// The machine room of a queue's broker; `None` or an empty name if nobody knows.
    fn broker_deploy_in(&self, queue: &MessageQueue) -> Option<String>;

    /// The machine room of a consumer; `None` or an empty name if nobody knows.
    fn consumer_deploy_in(&self, client_id: &str) -> Option<String>;
}

/// What [`AllocateMessageQueueStrategy::MachineRoomNearby`] needs.
#[derive(Clone, Debug)]
pub struct MachineRoomNearby {
    /// How the queues of one room are divided.
    pub within_a_room: AllocateMessageQueueStrategy,
    /// Where everybody stands.
    pub resolver: Arc<dyn MachineRoomResolver>,
}

impl MachineRoomNearby {
    /// Every member's share within its room, and of the rooms in which no member is.
    pub(super) fn allocate(
        &self,
        client_id: &str,
        queues: &[MessageQueue],
        client_ids: &[String],
    ) -> Result<Vec<MessageQueue>, NoMachineRoom> {
        let known = |room: Option<String>, of: String| {
            room.filter(|room| !room.is_empty()).ok_or(NoMachineRoom(of))
        };
        let mut queues_in = BTreeMap::<String, Vec<MessageQueue>>::new();
        for queue in queues {
            let room = known(self.resolver.broker_deploy_in(queue), format!("{queue:?}"))?;
            queues_in.entry(room).or_default().push(queue.clone());
        }
        let mut members_in = BTreeMap::<String, Vec<String>>::new();
        for id in client_ids {
            let room = known(self.resolver.consumer_deploy_in(id), format!("consumer {id}"))?;
            members_in.entry(room).or_default().push(id.clone());
        }
        let mine = self.resolver.consumer_deploy_in(client_id).unwrap_or_default();
        let mut share = Vec::new();
        if let (Some(queues), Some(members)) = (queues_in.remove(&mine), members_in.get(&mine)) {
            share.extend(self.within_a_room.allocate(client_id, &queues, members)?);
        }
        for (_, queues) in queues_in.iter().filter(|(room, _)| !members_in.contains_key(*room)) {
            share.extend(self.within_a_room.allocate(client_id, queues, client_ids)?);
        }
        Ok(share)
    }
}

/// The queues of member `index` among those in `rooms`: an equal run, and one of what is left.
pub(super) fn allocate_by_machine_room(
    rooms: &[String],
    index: usize,
    queues: &[MessageQueue],
    member_count: usize,
) -> Vec<MessageQueue> {
    let near: Vec<_> = queues.iter().filter(|queue| is_in(rooms, &queue.broker_name)).collect();
    let (share, rest) = (near.len() / member_count, near.len() % member_count);
    let run = near[share * index..share * (index + 1)].iter();
    let left = (index < rest).then(|| &near[share * member_count + index]);
    run.chain(left).map(|queue| (*queue).clone()).collect()
}

/// Whether a broker is called `room@name`. As Java splits, an `@` at the end counts for nothing.
fn is_in(rooms: &[String], broker_name: &str) -> bool {
    match broker_name.trim_end_matches('@').split_once('@') {
        Some((room, name)) => !name.contains('@') && rooms.iter().any(|it| it == room),
        None => false,
    }
}
