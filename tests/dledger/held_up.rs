//! A group of three with what a node must outlive: a member that pushes what cannot be, and a disk without room.

use std::time::Duration;

use mq_dledger::Role;
use mq_protocol::body::dledger::{
    Base64Bytes, DLedgerBody, DLedgerEntryBody, DLedgerHeartBeatRequest, DLedgerPushRequest,
    DLedgerPushType,
};
use mq_protocol::codes::{DLedgerRequestCode, DLedgerResponseCode};
use mq_protocol::fastjson::{Json, from_slice, to_bytes};
use mq_protocol::message_codec::patch_phy_offset;
use mq_protocol::remoting_command::RemotingCommand;
use mq_protocol::sys_flag::MessageSysFlag;
use mq_remoting::RemotingClient;
use staticfire_world::world::{World, WorldHandle};

use super::group::client;
use super::rig::{Node, Rig, message};
use super::*;

/// Size of the rig's data files.
const FILE: usize = 8 * DATA_FILE;

/// Somebody who speaks to a follower in its leader's name.
struct Liar {
    client: RemotingClient,
    addr: String,
    leader_id: Option<String>,
    follower_id: Option<String>,
    term: i64,
}

impl Liar {
    fn between(world: &WorldHandle, rig: &Rig, follower: &Node) -> Self {
        let leader = rig.leader().unwrap().running().unwrap();
        let follower = follower.running().unwrap().self_id().to_owned();
        let number = follower[1..].parse::<usize>().unwrap();
        Liar {
            client: client(world),
            addr: format!("10.0.0.{}:40911", number + 1),
            leader_id: Some(leader.self_id().to_owned()),
            follower_id: Some(follower),
            term: leader.status().get().term,
        }
    }

    /// The code that it is answered with, if it is.
    async fn ask(&self, code: i32, body: &impl Json) -> Option<i32> {
        let request = RemotingCommand::request(code, &()).with_body(to_bytes(body));
        let answer = self.client.invoke(&self.addr, request, Duration::from_secs(1)).await.ok()?;
        Some(from_slice::<DLedgerBody>(&answer.body).unwrap().code)
    }

    async fn beat(&self) -> Option<i32> {
        let beat = DLedgerHeartBeatRequest {
            group: Some("g".to_owned()),
            leader_id: self.leader_id.clone(),
            local_id: self.leader_id.clone(),
            remote_id: self.follower_id.clone(),
            term: self.term,
            ..DLedgerHeartBeatRequest::default()
        };
        self.ask(DLedgerRequestCode::HEART_BEAT, &beat).await
    }

    /// Pushes a sound message as the entry `index` at `pos`.
    async fn push(&self, push_type: DLedgerPushType, index: i64, pos: u64) -> Option<i32> {
        let mut body = message(9_000);
        patch_phy_offset(&mut body, pos as i64 + 48);
        let entry = DLedgerEntryBody {
            index,
            magic: 1,
            pos: pos as i64,
            size: body.len() as i32 + 48,
            term: self.term,
            body: Base64Bytes(body.into()),
            ..DLedgerEntryBody::default()
        };
        let push = DLedgerPushRequest {
            commit_index: -1,
            group: Some("g".to_owned()),
            leader_id: self.leader_id.clone(),
            ledger_begin_index: (push_type == DLedgerPushType::Truncate).then_some(index),
            local_id: self.leader_id.clone(),
            push_type,
            remote_id: self.follower_id.clone(),
            term: self.term,
            ..DLedgerPushRequest::default()
        };
        self.ask(DLedgerRequestCode::PUSH, &push.with_entries(vec![entry])).await
    }
}

#[test]
fn entries_that_cannot_lie_where_they_say_are_not_taken_and_end_no_node() {
    World::test(13, async |world| {
        let rig = Rig::start(&world, 3, |_| ());
        rig.append(20).await;
        rig.converge().await;
        let follower = rig.follower();
        let liar = Liar::between(&world, &rig, follower);
        let log = follower.running().unwrap().log().clone();
        let (end, pos) = (log.end_index(), log.end_pos());
        for (push_type, index, pos) in [
            (DLedgerPushType::Append, end + 1, pos + 8),
            (DLedgerPushType::Append, end + 1, 2 * FILE as u64),
            (DLedgerPushType::Truncate, end + 5, pos),
        ] {
            assert_eq!(liar.push(push_type, index, pos).await, None, "entry {index} at {pos}");
            assert!(follower.status_is(|it| it.role == Role::Follower), "entry {index} at {pos}");
        }
        assert_eq!((log.end_index(), log.end_pos()), (end, pos));
        // What is not going to be taken anyway is answered.
        let gap = liar.push(DLedgerPushType::Append, end + 7, pos + 8).await;
        assert_eq!(gap, Some(DLedgerResponseCode::INCONSISTENT_STATE));
        rig.append(20).await;
        rig.converge().await;
    });
}

#[test]
fn pushes_that_wait_for_the_core_have_an_end_in_bytes() {
    World::test(14, async |world| {
        let rig = Rig::start(&world, 3, |config| config.max_received_bytes = 500);
        rig.append(20).await;
        rig.converge().await;
        let follower = rig.follower();
        let mut liar = Liar::between(&world, &rig, follower);
        let end = follower.running().unwrap().log().end_index();
        // It waits for room for the new term.
        assert!(follower.machine.disk().fill(0));
        liar.term += 1;
        assert_eq!(liar.beat().await, None);
        assert_eq!(liar.push(DLedgerPushType::Append, end + 7, 0).await, None, "it is queued");
        let second = liar.push(DLedgerPushType::Append, end + 7, 0).await;
        assert_eq!(second, Some(DLedgerResponseCode::PUSH_REQUEST_IS_FULL));
        follower.machine.disk().unfill();
        rig.append(20).await;
        rig.converge().await;
    });
}

#[test]
fn a_leader_without_room_for_its_first_entry_waits_for_it() {
    World::test(15, async |world| {
        let rig = Rig::start(&world, 3, |_| ());
        rig.append(10).await;
        rig.converge().await;
        // Room for terms and checkpoints, and for no further data file.
        for node in &rig.nodes {
            assert!(node.machine.disk().fill(FILE as u64 / 2));
        }
        let old = rig.leader().unwrap().clone();
        let running = old.running().unwrap();
        let room = FILE - running.log().end_pos() as usize % FILE;
        let filler = message_of_size(room - 8 - 48);
        let append = async move |_| running.append(vec![filler]).await;
        assert!(matches!(old.process.run(append).await, Ok(Ok(_))));
        rig.converge().await;
        old.process.kill();
        let leads = |it: &mq_dledger_node::Status| it.role == Role::Leader && !it.is_ready;
        let one_waits = || rig.nodes.iter().any(|node| node.status_is(leads));
        rig.eventually("another one leads, and waits", one_waits).await;
        rig.nodes.iter().for_each(|node| node.machine.disk().unfill());
        rig.append(10).await;
        old.restart();
        rig.converge().await;
    });
}

/// A message in no queue, of so many bytes.
fn message_of_size(size: usize) -> Vec<u8> {
    let record = |body: &[u8]| {
        let plain = RecordFields::plain("T", body, ([10, 0, 0, 1], 10911).into(), 1);
        let fields = RecordFields { sys_flag: MessageSysFlag::TRANSACTION_PREPARED, ..plain };
        let mut record = Vec::new();
        fields.encode(&mut record).unwrap();
        record
    };
    record(&vec![b'x'; size - record(b"").len()])
}
