//! [`AllocateMessageQueueStrategy`]: how the queues of a topic are divided among the members of a consumer group
//! (the strategies of RocketMQ 4.9 `client.consumer.rebalance`).
//!
//! All members of a group must have the same strategy: each computes its share by itself.

mod consistent_hash;
mod machine_room;

use mq_env::plant::{Plant, planted_on_this_thread};
use mq_protocol::message::MessageQueue;

use consistent_hash::allocate_by_consistent_hash;
use machine_room::allocate_by_machine_room;
pub use machine_room::{MachineRoomNearby, MachineRoomResolver};

/// Virtual nodes that a member has on the ring of [`AllocateMessageQueueStrategy::ConsistentHash`], unless told
/// otherwise (`virtualNodeCnt`).
pub const VIRTUAL_NODE_CNT: usize = 10;

/// How queues are divided.
#[derive(Clone, Debug, Default)]
pub enum AllocateMessageQueueStrategy {
    /// Consecutive runs whose lengths differ by at most one, the longer ones first (`AVG`).
    #[default]
    Averagely,
    /// One after the other in turn (`AVG_BY_CIRCLE`).
    AveragelyByCircle,
    /// Always these, whoever else is there (`CONFIG`).
    Config(Vec<MessageQueue>),
    /// Those of brokers called `room@name` in one of these machine rooms, averagely (`MACHINE_ROOM`).
    MachineRoom(Vec<String>),
    /// Those of the member's own machine room, and a share of those of rooms without members
    /// (`MACHINE_ROOM_NEARBY`).
    MachineRoomNearby(Box<MachineRoomNearby>),
    /// By hashes on a ring, so that few queues move when members come and go (`CONSISTENT_HASH`).
    ConsistentHash {
        /// How many places on the ring each member has.
        virtual_node_cnt: usize,
    },
}

/// Why queues cannot be divided: everybody keeps what they have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no machine room is known of {0}")]
pub struct NoMachineRoom(pub String);

impl AllocateMessageQueueStrategy {
    /// What RocketMQ calls it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Averagely => "AVG".to_owned(),
            Self::AveragelyByCircle => "AVG_BY_CIRCLE".to_owned(),
            Self::Config(_) => "CONFIG".to_owned(),
            Self::MachineRoom(_) => "MACHINE_ROOM".to_owned(),
            Self::MachineRoomNearby(nearby) => {
                format!("MACHINE_ROOM_NEARBY-{}", nearby.within_a_room.name())
            }
            Self::ConsistentHash { .. } => "CONSISTENT_HASH".to_owned(),
        }
    }

    /// The queues of `client_id`. Both lists must be sorted; who is not among `client_ids` gets none, but
    /// with [`AllocateMessageQueueStrategy::Config`].
    ///
    /// # Errors
    /// When the machine room of a broker or of a member is not known.
    pub fn allocate(
        &self,
        client_id: &str,
        queues: &[MessageQueue],
        client_ids: &[String],
    ) -> Result<Vec<MessageQueue>, NoMachineRoom> {
        if let Self::Config(configured) = self {
            return Ok(configured.clone());
        }
        let Some(index) = client_ids.iter().position(|id| id == client_id) else {
            return Ok(Vec::new());
        };
        match self {
            Self::Averagely | Self::Config(_) => {
                Ok(allocate_averagely(index, queues, client_ids.len()))
            }
            Self::AveragelyByCircle => {
                Ok(queues.iter().skip(index).step_by(client_ids.len()).cloned().collect())
            }
            Self::MachineRoom(rooms) => {
                Ok(allocate_by_machine_room(rooms, index, queues, client_ids.len()))
            }
            Self::MachineRoomNearby(nearby) => nearby.allocate(client_id, queues, client_ids),
            Self::ConsistentHash { virtual_node_cnt } => {
                let node_cnt = *virtual_node_cnt;
                Ok(allocate_by_consistent_hash(node_cnt, client_id, queues, client_ids))
            }
        }
    }
}

/// The queues of member `index` (`AllocateMessageQueueAveragely`).
fn allocate_averagely(
    index: usize,
    queues: &[MessageQueue],
    member_count: usize,
) -> Vec<MessageQueue> {
    let (share, longer) = (queues.len() / member_count, queues.len() % member_count);
    let start = index * share + index.min(longer);
    let len = share + usize::from(index < longer && !planted_on_this_thread(Plant::QueueOfNobody));
    queues[start..start + len].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues(broker_name: &str, count: i32) -> Vec<MessageQueue> {
        let queue = |queue_id| MessageQueue {
            topic: "T".to_owned(),
            broker_name: broker_name.to_owned(),
            queue_id,
        };
        (0..count).map(queue).collect()
    }

    fn members(count: usize) -> Vec<String> {
        (0..count).map(|member| format!("c{member}")).collect()
    }

    /// The queue ids of each member.
    fn shares(
        strategy: &AllocateMessageQueueStrategy,
        queues: &[MessageQueue],
        members: &[String],
    ) -> Vec<Vec<i32>> {
        let share = |id: &String| strategy.allocate(id, queues, members).unwrap();
        members.iter().map(|id| share(id).iter().map(|it| it.queue_id).collect()).collect()
    }

    /// By hand from `AllocateMessageQueueAveragely`.
    #[test]
    fn averagely_is_in_runs() {
        let shares = |queue_count, member_count| {
            let strategy = AllocateMessageQueueStrategy::default();
            shares(&strategy, &queues("a", queue_count), &members(member_count))
        };
        assert_eq!(shares(4, 1), [vec![0, 1, 2, 3]]);
        assert_eq!(shares(8, 3), [vec![0, 1, 2], vec![3, 4, 5], vec![6, 7]]);
        assert_eq!(shares(4, 2), [vec![0, 1], vec![2, 3]]);
        assert_eq!(shares(2, 3), [vec![0], vec![1], vec![]]);
        assert_eq!(shares(0, 2), [Vec::<i32>::new(), vec![]]);
    }

    /// By hand from `AllocateMessageQueueAveragelyByCircle`: those whose index modulo the members is one's own.
    #[test]
    fn by_circle_is_in_turn() {
        let shares = |queue_count, member_count| {
            let strategy = AllocateMessageQueueStrategy::AveragelyByCircle;
            shares(&strategy, &queues("a", queue_count), &members(member_count))
        };
        assert_eq!(shares(8, 3), [vec![0, 3, 6], vec![1, 4, 7], vec![2, 5]]);
        assert_eq!(shares(2, 3), [vec![0], vec![1], vec![]]);
    }

    /// By hand from `AllocateMessageQueueByMachineRoom`: equal runs first, then what is left one by one from the
    /// front. Names that are not of two parts are in no room.
    #[test]
    fn by_machine_room_is_what_is_in_the_rooms() {
        let mut all = queues("r1@a", 4);
        all.extend(queues("r2@a", 9));
        all.extend(queues("r3@a", 1));
        all.extend(queues("r1", 9));
        all.extend(queues("r1@a@b", 9));
        for (index, queue) in all.iter_mut().enumerate() {
            queue.queue_id = index as i32;
        }
        let rooms = ["r1", "r3"].map(str::to_owned).to_vec();
        let strategy = AllocateMessageQueueStrategy::MachineRoom(rooms);
        // Five queues (0 to 3, and 13) for three members: one each, then 3 and 13 for the first two.
        assert_eq!(shares(&strategy, &all, &members(3)), [vec![0, 3], vec![1, 13], vec![2]]);
        assert_eq!(shares(&strategy, &all, &members(2)), [vec![0, 1, 13], vec![2, 3]]);
    }

    /// By hand from `AllocateMachineRoomNearby`: rooms have their own members; a room without any is everybody's.
    #[test]
    fn nearby_is_ones_own_room_and_a_share_of_empty_ones() {
        #[derive(Debug)]
        struct FirstLetter;
        impl MachineRoomResolver for FirstLetter {
            fn broker_deploy_in(&self, queue: &MessageQueue) -> Option<String> {
                queue.broker_name.get(..1).map(str::to_owned)
            }
            fn consumer_deploy_in(&self, client_id: &str) -> Option<String> {
                client_id.get(..1).map(str::to_owned)
            }
        }
        let nearby = MachineRoomNearby {
            within_a_room: AllocateMessageQueueStrategy::Averagely,
            resolver: std::sync::Arc::new(FirstLetter),
        };
        let strategy = AllocateMessageQueueStrategy::MachineRoomNearby(Box::new(nearby));
        assert_eq!(strategy.name(), "MACHINE_ROOM_NEARBY-AVG");
        let all = [queues("x1", 3), queues("y1", 2), queues("z1", 3)].concat();
        let members = ["x1", "x2", "y1"].map(str::to_owned);
        // Nobody is in room z: its three queues go one to each of the three.
        assert_eq!(shares(&strategy, &all, &members), [vec![0, 1, 0], vec![2, 1], vec![0, 1, 2]]);
        let nowhere = strategy.allocate("", &all, &[String::new()]);
        assert_eq!(nowhere, Err(NoMachineRoom("consumer ".to_owned())));
    }

    #[test]
    fn by_config_is_what_is_configured() {
        let configured = queues("b", 2);
        let strategy = AllocateMessageQueueStrategy::Config(configured.clone());
        assert_eq!(strategy.allocate("x", &queues("a", 4), &members(2)), Ok(configured));
    }

    #[test]
    fn a_stranger_gets_nothing() {
        for strategy in [
            AllocateMessageQueueStrategy::Averagely,
            AllocateMessageQueueStrategy::AveragelyByCircle,
            AllocateMessageQueueStrategy::ConsistentHash { virtual_node_cnt: VIRTUAL_NODE_CNT },
        ] {
            assert_eq!(strategy.allocate("x", &queues("a", 4), &members(2)), Ok(Vec::new()));
        }
    }
}
