//! Messages that no honest node sends: a node must answer or ignore them, and stay up.

use mq_env::rng::Rng;
use rand::RngCore;
use rand_chacha::ChaCha8Rng;

use super::cluster::Cluster;
use super::schedules::number;
use super::stories::led_by;
use crate::{
    Body, EntryMeta, Event, LeadershipTransfer, Message, NodeId, PushRequest, PushResponse,
    PushType, ResponseCode, VoteRequest, VoteResponse, VoteResult,
};

/// Messages without a variable that says otherwise.
const MESSAGES: u64 = 200_000;

fn any(draws: &mut ChaCha8Rng) -> i64 {
    let edges = [i64::MIN, -2, -1, 0, 1, 2, 3, 4, 5, 1 << 40, i64::MAX / 2, i64::MAX - 1, i64::MAX];
    // Mostly small: what is nearly right goes deepest.
    let at = draws.next_u64() as usize;
    if at.is_multiple_of(8) { edges[at / 8 % edges.len()] } else { (at / 8 % 7) as i64 - 1 }
}

fn one_of<T: Copy>(draws: &mut ChaCha8Rng, all: &[T]) -> T {
    all[draws.next_u64() as usize % all.len()]
}

fn code(draws: &mut ChaCha8Rng) -> ResponseCode {
    use ResponseCode::{ExpiredTerm, InconsistentState, Success, TermNotReady};
    one_of(draws, &[Success, Success, InconsistentState, ExpiredTerm, TermNotReady])
}

fn body(draws: &mut ChaCha8Rng) -> Body {
    let types = [PushType::Append, PushType::Commit, PushType::Compare, PushType::Truncate];
    match draws.next_u64() % 8 {
        0 => Body::VoteRequest(VoteRequest {
            ledger_end_index: any(draws),
            ledger_end_term: any(draws),
            is_pre_vote: any(draws) > 1,
        }),
        1 => Body::VoteResponse(VoteResponse {
            result: one_of(draws, &[VoteResult::Accept, VoteResult::RejectTermNotReady]),
            is_pre_vote: any(draws) > 1,
        }),
        2 => Body::HeartBeatRequest { ledger_end_index: Some(any(draws)) },
        3 => Body::HeartBeatResponse(code(draws)),
        4 | 5 => Body::PushRequest(PushRequest {
            push_type: one_of(draws, &types),
            commit_index: any(draws),
            first_index: any(draws),
            entries: (0..draws.next_u64() % 4)
                .map(|_| EntryMeta { term: any(draws), size_bytes: 1 })
                .collect(),
            ledger_begin_index: (any(draws) > 1).then(|| any(draws)),
        }),
        6 => Body::PushResponse(PushResponse {
            push_type: one_of(draws, &types),
            code: code(draws),
            index: any(draws),
            count: any(draws) as u32,
            begin_index: any(draws),
            end_index: any(draws),
            conflict: (any(draws) > 1).then(|| (any(draws), any(draws))),
        }),
        _ => Body::LeadershipTransferRequest(LeadershipTransfer {
            transfer_id: NodeId(any(draws) as u16),
            transferee_id: NodeId(any(draws) as u16),
            take_leadership_ledger_index: any(draws),
        }),
    }
}

#[test]
fn nonsense_takes_no_node_down() {
    let mut draws = Rng::from_seed(number("DLEDGER_FIRST_SEED", 0)).stream("nonsense");
    let mut begin: Cluster = led_by(NodeId(0), &[]);
    // Logs of several terms, one of them with a tail that the others lack.
    begin.propose(NodeId(0));
    begin.deliver_all();
    begin.step(NodeId(0), Event::TransferLeadership(NodeId(2)));
    begin.deliver_all();
    begin.propose(NodeId(2));
    begin.drop_all();
    begin.propose(NodeId(2));
    begin.drop_all();
    let mut cluster = begin.clone();
    for at in 0..number("DLEDGER_NONSENSE", MESSAGES) {
        if at.is_multiple_of(8) {
            cluster = begin.clone();
        }
        let from = NodeId((draws.next_u64() % 4) as u16);
        let to = NodeId((draws.next_u64() % 3) as u16);
        let message = Message { from, to, term: any(&mut draws), body: body(&mut draws) };
        let node = cluster.node_mut(to);
        let now_ms = node.core.now_ms + draws.next_u64() % 500;
        // Bodies are the harness's own, so that the core alone is told.
        let commands = node.core.step(Event::Received(message), now_ms);
        for command in commands {
            let (generation, index) = (node.core.log().generation(), node.core.log().end_index());
            let done = match command {
                crate::Command::PersistTermAndVote(state) => Event::TermAndVotePersisted(state),
                crate::Command::Append { .. } => Event::Synced { generation, index },
                _ => continue,
            };
            node.core.step(done, now_ms);
        }
    }
}
