//! What a master knows of its slaves: `Replicas`, the book of their connections and reports.
//!
//! A report counts up to the end of the master's own log when it arrives, so a slave that is ahead
//! (it kept a tail that the master lost) confirms nothing that it never got. The highest counted
//! report is `push2_slave_max_offset`, which never falls: that some slave had those bytes stays
//! true. Whether slaves are close enough is asked of those that are connected now.
//!
//! The protocol names no replica; its address without the port is its identity, so that a slave
//! that reconnects is not taken for one that has nothing.
//!
//! Whatever was reported before this store became, or ceased to be, a slave is void: the log has lost bytes
//! since, maybe, and has others in their place.
//!
//! Java origin: `HAService.push2SlaveMaxOffset`, `connectionCount` and `isSlaveOK` of RocketMQ 4.9,
//! where one all-time maximum over whatever was reported serves every purpose.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard};

use tokio::sync::oneshot;

use crate::config::{StoreConfig, UpstreamSwitch};
use crate::plant::{Plant, planted_on_this_thread};
use crate::role::RoleWatch;
use crate::sync::lock;

/// The slaves of one master.
pub(crate) struct Replicas {
    fallbehind_bytes_max: u64,
    counts_beyond_end: bool,
    role: RoleWatch,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    /// The [`RoleWatch::changes`] that this book is about.
    role_changes: u64,
    connections: BTreeMap<ConnectionId, Connected>,
    next_connection: u64,
    /// Last counted report of each replica, connected or not.
    acks: BTreeMap<IpAddr, u64>,
    push2_slave_max_offset: u64,
    /// Who waits for an offset, in order of offset, then of arrival.
    waiting: BTreeMap<WaitKey, oneshot::Sender<()>>,
    next_wait: u64,
}

struct Connected {
    peer: SocketAddr,
    ack: Option<u64>,
}

type WaitKey = (u64, u64);

/// Names one connection for as long as the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConnectionId {
    role_changes: u64,
    number: u64,
}

impl ConnectionId {
    /// The [`RoleWatch::changes`] at which the connection was made.
    pub(crate) fn role_changes(self) -> u64 {
        self.role_changes
    }
}

/// A connected slave, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlaveStatus {
    /// Its address.
    pub address: SocketAddr,
    /// The end of its log as counted last; nothing before its first report.
    pub push_ack_offset: Option<u64>,
}

impl Replicas {
    pub(crate) fn new(config: &StoreConfig, role: RoleWatch) -> Self {
        Replicas {
            fallbehind_bytes_max: config.ha_slave_fallbehind_max,
            counts_beyond_end: counts_beyond_end(config),
            role,
            book: Mutex::default(),
        }
    }

    /// The book of the present role.
    fn book(&self) -> MutexGuard<'_, Book> {
        let mut book = lock(&self.book);
        let role_changes = self.role.changes();
        if book.role_changes != role_changes {
            // Numbers are not given twice: who held one before must not be taken for another.
            let Book { next_connection, next_wait, .. } = *book;
            assert!(role_changes > book.role_changes, "changes are counted upwards");
            *book = Book { role_changes, next_connection, next_wait, ..Book::default() };
        }
        book
    }

    /// Enters an accepted connection, which counts from now on (RocketMQ 4.9 `connectionCount`).
    pub(crate) fn connect(&self, peer: SocketAddr) -> ConnectionId {
        let mut book = self.book();
        let id = ConnectionId { role_changes: book.role_changes, number: book.next_connection };
        book.next_connection += 1;
        let other = book.connections.insert(id, Connected { peer, ack: None });
        assert!(other.is_none(), "a connection has a number of its own");
        id
    }

    /// Strikes a connection out.
    pub(crate) fn disconnect(&self, id: ConnectionId) {
        if !planted_on_this_thread(Plant::DeadSlaveCounts) {
            self.book().connections.remove(&id);
        }
    }

    /// Enters a report of `offset` while the own log ends at `own_end`; what it counts for.
    pub(crate) fn report(&self, id: ConnectionId, offset: u64, own_end: u64) -> u64 {
        let counted = if self.counts_beyond_end { offset } else { offset.min(own_end) };
        assert!(
            self.counts_beyond_end || counted <= own_end,
            "{counted} of {own_end} bytes confirmed"
        );
        let mut book = self.book();
        let Some(connected) = book.connections.get_mut(&id) else {
            // It is ending, and what it says was said to what this store was before.
            return counted;
        };
        connected.ack = Some(counted);
        let identity = connected.peer.ip();
        book.acks.insert(identity, counted);
        let confirmed =
            if planted_on_this_thread(Plant::AckCountsOwnEnd) { own_end } else { counted };
        if confirmed > book.push2_slave_max_offset {
            book.push2_slave_max_offset = confirmed;
            // Everything from here on waits for more than `confirmed`.
            let still_waiting = book.waiting.split_off(&(confirmed + 1, 0));
            assert!(
                book.waiting.keys().all(|(end, _)| *end <= confirmed),
                "who is confirmed is woken"
            );
            for (_, done) in std::mem::replace(&mut book.waiting, still_waiting) {
                // Whoever stopped waiting needs no answer.
                let _ = done.send(());
            }
        }
        counted
    }

    /// Number of connections, whether or not they have reported.
    pub(crate) fn connection_count(&self) -> usize {
        self.book().connections.len()
    }

    /// The highest offset that any slave confirmed (RocketMQ 4.9 `push2SlaveMaxOffset`).
    pub(crate) fn push2_slave_max_offset(&self) -> u64 {
        self.book().push2_slave_max_offset
    }

    /// Connected slaves in order of connecting.
    pub(crate) fn slaves(&self) -> Vec<SlaveStatus> {
        let book = self.book();
        let status = |connected: &Connected| SlaveStatus {
            address: connected.peer,
            push_ack_offset: connected.ack,
        };
        book.connections.values().map(status).collect()
    }

    /// Whether a slave is connected that lags behind `end_offset` by less than
    /// `haSlaveFallbehindMax` (RocketMQ 4.9 `isSlaveOK`).
    pub(crate) fn is_slave_ok(&self, end_offset: u64) -> bool {
        let book = self.book();
        let known = |connected: &Connected| {
            let remembered = || book.acks.get(&connected.peer.ip()).copied().unwrap_or(0);
            connected.ack.unwrap_or_else(remembered)
        };
        let Some(best) = book.connections.values().map(known).max() else { return false };
        let best = if self.counts_beyond_end { book.push2_slave_max_offset } else { best };
        end_offset.saturating_sub(best) < self.fallbehind_bytes_max
    }

    /// How often this store's role has changed: whoever waits says since when.
    pub(crate) fn role_changes(&self) -> u64 {
        self.book().role_changes
    }

    /// Resolves once a slave has confirmed `end_offset`; at once if one has. `false` when none will: this
    /// store's role has changed since it had changed `role_changes` times.
    pub(crate) async fn confirmed(&self, end_offset: u64, role_changes: u64) -> bool {
        let (key, confirmed) = {
            let mut book = self.book();
            if book.role_changes != role_changes {
                return false;
            }
            if end_offset <= book.push2_slave_max_offset {
                return true;
            }
            let is_behind = |((end, _), _): (&WaitKey, _)| *end > book.push2_slave_max_offset;
            let waits = book.waiting.first_key_value().is_none_or(is_behind);
            assert!(waits, "who is confirmed waits no more");
            let (done, confirmed) = oneshot::channel();
            let key = (end_offset, book.next_wait);
            book.next_wait += 1;
            let other = book.waiting.insert(key, done);
            assert!(other.is_none(), "nobody waits in another's place");
            (key, confirmed)
        };
        let _entry = WaitEntry { replicas: self, key };
        mq_env::select! {
            () = self.role.changed_since(role_changes) => false,
            // The sender leaves the book by being used, or with the book.
            answer = confirmed => answer.is_ok(),
        }
    }
}

/// Whether reports beyond the own log's end count as they stand.
pub(crate) fn counts_beyond_end(config: &StoreConfig) -> bool {
    config.upstream(UpstreamSwitch::AckBeyondLogEnd) || config.planted(Plant::AckBeyondLogEnd)
}

/// Takes a waiter out of the book when it stops waiting.
struct WaitEntry<'a> {
    replicas: &'a Replicas,
    key: WaitKey,
}

impl Drop for WaitEntry<'_> {
    fn drop(&mut self) {
        self.replicas.book().waiting.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::config::BrokerRole;

    fn replicas(upstream: Option<UpstreamSwitch>) -> Replicas {
        let mut config = StoreConfig::at("unused");
        config.ha_slave_fallbehind_max = 100;
        config.upstream.extend(upstream);
        Replicas::new(&config, RoleWatch::new(BrokerRole::SyncMaster))
    }

    fn peer(last: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], port))
    }

    fn is_ready(future: impl Future<Output = bool>) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        pin!(future).poll(&mut context) == Poll::Ready(true)
    }

    #[test]
    fn a_report_beyond_the_end_counts_up_to_the_end() {
        let replicas = replicas(None);
        let slave = replicas.connect(peer(1, 1));
        assert_eq!(replicas.report(slave, 1_000, 600), 600);
        assert_eq!(replicas.push2_slave_max_offset(), 600);
        assert!(is_ready(replicas.confirmed(600, replicas.role_changes())));
        assert!(!is_ready(replicas.confirmed(601, replicas.role_changes())));
    }

    #[test]
    fn upstream_believes_any_report() {
        let replicas = replicas(Some(UpstreamSwitch::AckBeyondLogEnd));
        let slave = replicas.connect(peer(1, 1));
        replicas.report(slave, 1_000, 600);
        replicas.disconnect(slave);
        assert!(is_ready(replicas.confirmed(1_000, replicas.role_changes())));
        assert!(!replicas.is_slave_ok(1_000));
        replicas.connect(peer(2, 1));
        assert!(replicas.is_slave_ok(1_099));
    }

    #[test]
    fn what_was_confirmed_stays_confirmed() {
        let replicas = replicas(None);
        let slave = replicas.connect(peer(1, 1));
        replicas.report(slave, 500, 600);
        replicas.report(slave, 300, 600);
        replicas.disconnect(slave);
        assert_eq!((replicas.push2_slave_max_offset(), replicas.connection_count()), (500, 0));
        assert!(is_ready(replicas.confirmed(500, replicas.role_changes())));
    }

    #[test]
    fn lag_is_measured_at_connected_slaves() {
        let replicas = replicas(None);
        assert!(!replicas.is_slave_ok(0));
        let (near, far) = (replicas.connect(peer(1, 1)), replicas.connect(peer(2, 1)));
        assert!(replicas.is_slave_ok(99));
        assert!(!replicas.is_slave_ok(100));
        replicas.report(near, 500, 600);
        replicas.report(far, 300, 600);
        assert!(replicas.is_slave_ok(599));
        replicas.disconnect(near);
        assert!(!replicas.is_slave_ok(599));
        // The near one comes back from another port: it is remembered before it reports.
        let near = replicas.connect(peer(1, 2));
        assert!(replicas.is_slave_ok(599));
        replicas.report(near, 0, 600);
        assert!(!replicas.is_slave_ok(599));
        let slaves = replicas.slaves();
        assert_eq!(slaves[0], SlaveStatus { address: peer(2, 1), push_ack_offset: Some(300) });
        assert_eq!(slaves[1], SlaveStatus { address: peer(1, 2), push_ack_offset: Some(0) });
    }

    #[test]
    fn what_was_reported_to_a_former_role_is_void() {
        let replicas = replicas(None);
        let slave = replicas.connect(peer(1, 1));
        replicas.report(slave, 500, 600);
        let mut context = Context::from_waker(Waker::noop());
        let mut waiting = pin!(replicas.confirmed(600, replicas.role_changes()));
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        replicas.role.begin_change().settle(BrokerRole::Slave);
        assert_eq!(waiting.poll(&mut context), Poll::Ready(false), "nobody confirms it any more");
        replicas.role.begin_change().settle(BrokerRole::SyncMaster);
        assert!(!is_ready(replicas.confirmed(1, replicas.role_changes())));
        replicas.report(slave, 600, 600);
        assert_eq!((replicas.push2_slave_max_offset(), replicas.connection_count()), (0, 0));
        let anew = replicas.connect(peer(1, 2));
        replicas.disconnect(slave);
        replicas.report(anew, 1, 600);
        assert!(is_ready(replicas.confirmed(1, replicas.role_changes())));
    }

    #[test]
    fn waiters_leave_no_trace() {
        let replicas = replicas(None);
        let slave = replicas.connect(peer(1, 1));
        assert!(!is_ready(replicas.confirmed(10, replicas.role_changes())));
        assert!(lock(&replicas.book).waiting.is_empty());
        let mut context = Context::from_waker(Waker::noop());
        let (mut low, mut high) = (
            pin!(replicas.confirmed(10, replicas.role_changes())),
            pin!(replicas.confirmed(11, replicas.role_changes())),
        );
        assert!(low.as_mut().poll(&mut context).is_pending());
        assert!(high.as_mut().poll(&mut context).is_pending());
        replicas.report(slave, 10, 20);
        assert!(low.poll(&mut context).is_ready());
        assert!(high.poll(&mut context).is_pending());
        assert_eq!(lock(&replicas.book).waiting.len(), 1);
    }
}
