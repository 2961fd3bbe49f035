//! Process death, power, partitions, links and rules.

use super::connection::{Body, EndState, Side};
use super::fabric::State;
use super::profile::LinkProfile;
use super::rule::{Rule, RuleId};
use super::{ClosedSockets, MachineId, OwnerId, PartitionEffects};
use crate::trace::FaultId;

impl State {
    pub(super) fn process_died(&mut self, owner: OwnerId) -> ClosedSockets {
        let mut closed = ClosedSockets::default();
        self.owners[owner.0 as usize].alive = false;
        for listener in self.listeners_where(|listening| listening.owner == owner) {
            self.close_listener(listener);
            closed.listeners += 1;
        }
        for conn in 0..self.connections.len() as u64 {
            for side in Side::BOTH {
                let Some(connection) = self.connection(conn) else { break };
                let end = connection.end(side);
                if end.owner == owner && !end.released {
                    self.close(conn, side);
                    closed.connections += 1;
                }
            }
        }
        closed
    }

    pub(super) fn power_loss(&mut self, machine: MachineId) -> ClosedSockets {
        let mut closed = ClosedSockets::default();
        self.links.set_up(machine, false);
        for owner in &mut self.owners {
            owner.alive &= owner.machine != machine;
        }
        for listener in self.listeners_where(|listening| listening.machine == machine) {
            self.listeners.remove(&listener);
            closed.listeners += 1;
        }
        for conn in 0..self.connections.len() as u64 {
            for side in Side::BOTH {
                let Some(connection) = self.connection(conn) else { break };
                let end = connection.end(side);
                if end.machine == Some(machine) && end.state != EndState::Absent {
                    closed.connections += u32::from(!end.released);
                    end.released = true;
                    end.forget(None);
                    connection.flow(side).clear();
                    // An answer to a SYN is gone with the flow: the SYN is repeated.
                    if connection.end(side.other()).state == EndState::SynSent {
                        self.acknowledgement_lost(conn, side.other());
                    }
                }
            }
            self.remove_if_over(conn);
        }
        closed
    }

    pub(super) fn power_on(&mut self, machine: MachineId) {
        self.links.set_up(machine, true);
        self.resume_flows();
    }

    pub(super) fn cut(&mut self, fault: FaultId, links: &[(MachineId, MachineId)]) {
        self.links.cut(fault, links);
    }

    pub(super) fn mend(&mut self, fault: FaultId) -> PartitionEffects {
        self.links.mend(fault);
        self.resume_flows();
        self.links.effects(fault)
    }

    pub(super) fn partition_effects(&self, fault: FaultId) -> PartitionEffects {
        self.links.effects(fault)
    }

    pub(super) fn set_link(
        &mut self,
        from: MachineId,
        to: MachineId,
        profile: Option<LinkProfile>,
        fault: Option<FaultId>,
    ) {
        self.links.set_profile(from, to, profile, fault);
    }

    pub(super) fn add_rule(&mut self, rule: Box<dyn Rule>) -> RuleId {
        let id = self.next_seq();
        self.rules.push((id, rule));
        RuleId(id)
    }

    pub(super) fn remove_rule(&mut self, rule: RuleId) {
        self.rules.retain(|(id, _)| *id != rule.0);
    }

    fn listeners_where(&self, fits: impl Fn(&super::fabric::Listening) -> bool) -> Vec<u64> {
        let listeners = self.listeners.iter();
        listeners.filter(|(_, listening)| fits(listening)).map(|(id, _)| *id).collect()
    }

    /// Lets travel what was held and is not blocked any more: segments, and lost answers.
    fn resume_flows(&mut self) {
        for conn in 0..self.connections.len() as u64 {
            for side in Side::BOTH {
                let Some(connection) = self.connections[conn as usize].as_deref_mut() else {
                    break;
                };
                let (from, to) = connection.route(side);
                let flow = connection.flow(side);
                if flow.held && !flow.stalled && !self.links.blocked(from, to) {
                    self.release(conn, side);
                }
                let Some(connection) = self.connections[conn as usize].as_deref_mut() else {
                    break;
                };
                if connection.flow(side).ack_blocked && !self.links.blocked(to, from) {
                    self.answer_again(conn, side);
                }
            }
        }
    }

    /// Sends the held segments of `side` anew, in order.
    fn release(&mut self, conn: u64, side: Side) {
        let Some(connection) = self.connection(conn) else { return };
        let flow = connection.flow(side);
        flow.held = false;
        if !flow.ack_blocked {
            flow.retrying = None;
        }
        let queue = std::mem::take(&mut flow.queue);
        for segment in queue {
            self.send(conn, side, segment.body);
        }
    }

    /// The answers to what `side` sent can travel again: acknowledgements and window updates
    /// arrive; a repeated segment meets whatever its receiver has become.
    fn answer_again(&mut self, conn: u64, side: Side) {
        let Some(connection) = self.connection(conn) else { return };
        let state = connection.end(side).state;
        let peer_state = connection.end(side.other()).state;
        let flow = connection.flow(side);
        flow.ack_blocked = false;
        let read_bytes = std::mem::take(&mut flow.unacked_read_bytes);
        flow.outstanding_bytes = flow.outstanding_bytes.saturating_sub(read_bytes);
        if !flow.held {
            flow.retrying = None;
        }
        let waker = connection.end(side).writer.take();
        match (state, peer_state) {
            (EndState::SynSent, EndState::Absent) => return self.resend_syn(conn),
            (EndState::Gone, _) => {}
            (_, EndState::Gone) => self.send_reset(conn, side.other(), true),
            _ => {}
        }
        self.wake(waker);
    }

    /// The SYN was refused and the refusal lost: the next try asks again.
    fn resend_syn(&mut self, conn: u64) {
        let Some(connection) = self.connection(conn) else { return };
        if connection.flow(Side::Initiator).queue.is_empty() {
            self.send(conn, Side::Initiator, Body::Syn);
        }
    }
}
