//! [`Cast`]: the machines and copies of a directory in another mode, for `conf --compare` (ADR 13).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use mq_protocol::properties_file::PropertiesFile;

use crate::conf::source::{DirectorySource, ParsedFile};
use crate::conf::{BrokerConf, BrokerGroup, ClusterConf, Finding};

/// The fewest members of which one may be away.
const DLEDGER_MEMBERS: usize = 3;

/// Where the first member that listens to others does so; each one has a port of its own, as some share a machine.
const PEER_PORT: u16 = 40_911;

/// What says in which mode a broker runs, and what leads to where it ran: all of it is written anew.
const WRITTEN_ANEW: [&str; 12] = [
    "brokerRole",
    "brokerId",
    "brokerIP1",
    "brokerIP2",
    "flushDiskType",
    "haMasterAddress",
    "enableDLegerCommitLog",
    "dLegerGroup",
    "dLegerPeers",
    "dLegerSelfId",
    "preferredLeaderId",
    "storePathDLedgerCommitLog",
];

/// A mode that every group of a directory can be run in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cast {
    /// ASYNC_MASTER and its slaves, ASYNC_FLUSH.
    AsyncMaster,
    /// SYNC_MASTER and its slaves, ASYNC_FLUSH.
    SyncMaster,
    /// SYNC_MASTER and its slaves, SYNC_FLUSH.
    SyncMasterSyncFlush,
    /// A DLedger group, ASYNC_FLUSH.
    DLedger,
    /// A DLedger group, SYNC_FLUSH.
    DLedgerSyncFlush,
}

impl Cast {
    /// All, from the weakest promise on.
    pub const ALL: [Cast; 5] = [
        Cast::AsyncMaster,
        Cast::SyncMaster,
        Cast::SyncMasterSyncFlush,
        Cast::DLedger,
        Cast::DLedgerSyncFlush,
    ];

    /// Whether the members elect the master.
    #[must_use]
    pub fn is_dledger(self) -> bool {
        matches!(self, Cast::DLedger | Cast::DLedgerSyncFlush)
    }

    /// Whether an acknowledgement waits for a second copy.
    #[must_use]
    pub fn needs_a_second_copy(self) -> bool {
        matches!(self, Cast::SyncMaster | Cast::SyncMasterSyncFlush)
    }

    /// The mode in one word, as the names of runs have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Cast::AsyncMaster => "ASYNC_MASTER",
            Cast::SyncMaster => "SYNC_MASTER",
            Cast::SyncMasterSyncFlush => "SYNC_MASTER+SYNC_FLUSH",
            Cast::DLedger => "DLEDGER",
            Cast::DLedgerSyncFlush => "DLEDGER+SYNC_FLUSH",
        }
    }

    fn flush(self) -> &'static str {
        match self {
            Cast::SyncMasterSyncFlush | Cast::DLedgerSyncFlush => "SYNC_FLUSH",
            Cast::AsyncMaster | Cast::SyncMaster | Cast::DLedger => "ASYNC_FLUSH",
        }
    }

    /// Machines that a group of so many copies lacks for this mode.
    #[must_use]
    pub fn lacks(self, copies: usize) -> usize {
        if self.is_dledger() { DLEDGER_MEMBERS.saturating_sub(copies) } else { 0 }
    }

    /// The cluster in this mode: each group with the copies that it has, on the machines on which they stand; a DLedger group
    /// of fewer than three with as many more, each on a machine of its own.
    ///
    /// # Errors
    /// What the files say that does not fit together then.
    pub fn of(self, cluster: &ClusterConf) -> Result<ClusterConf, Vec<Finding>> {
        let hosts = cluster.hosts.iter().map(|(name, address)| format!("{address} {name}\n"));
        let source = DirectorySource { hosts: Some(hosts.collect()), ..DirectorySource::default() };
        let mut files = Vec::new();
        let mut new_machines = NewMachines::beside(cluster);
        let mut ports = PEER_PORT..;
        for group in &cluster.groups {
            let mut seats: Vec<Seat<'_>> = copies(group)
                .map(|it| &cluster.brokers[it])
                .map(|broker| Seat { broker, stem: broker.stem.clone(), address: broker.address })
                .collect();
            for number in 0..self.lacks(seats.len()) {
                let broker = seats[0].broker;
                let stem = format!("{}-more-{}", broker.stem, number + 1);
                seats.push(Seat { broker, stem, address: new_machines.next() });
            }
            let peer = |(number, seat): (usize, &Seat<'_>)| {
                let port = ports.next().unwrap_or(PEER_PORT);
                format!("n{number}-{}", std::net::SocketAddr::new(seat.address, port))
            };
            let peers: Vec<String> = seats.iter().enumerate().map(peer).collect();
            let peers = peers.join(";");
            let seats = seats.iter().enumerate();
            files.extend(seats.map(|(number, seat)| self.file(group, number, seat, &peers)));
        }
        ClusterConf::of_files(&source, files, Vec::new())
    }

    fn file(self, group: &BrokerGroup, number: usize, seat: &Seat<'_>, peers: &str) -> ParsedFile {
        let mut properties = PropertiesFile::default();
        for entry in seat.broker.file.entries() {
            if !WRITTEN_ANEW.contains(&&*entry.key) {
                properties.set(&entry.key, &entry.value);
            }
        }
        properties.set("brokerName", &group.name);
        properties.set("brokerIP1", &seat.address.to_string());
        properties.set("flushDiskType", self.flush());
        if self.is_dledger() {
            properties.set("enableDLegerCommitLog", "true");
            properties.set("dLegerGroup", &group.name);
            properties.set("dLegerPeers", peers);
            properties.set("dLegerSelfId", &format!("n{number}"));
        } else {
            let role = match (number, self) {
                (0, Cast::AsyncMaster) => "ASYNC_MASTER",
                (0, _) => "SYNC_MASTER",
                _ => "SLAVE",
            };
            properties.set("brokerRole", role);
            properties.set("brokerId", &number.to_string());
        }
        ParsedFile {
            name: format!("{}.properties", seat.stem),
            stem: seat.stem.clone(),
            properties,
        }
    }
}

/// Where a copy stands, and the file of the broker that it is like.
struct Seat<'a> {
    broker: &'a BrokerConf,
    stem: String,
    address: IpAddr,
}

/// The brokers of a group that have a copy, or would if they found their master: indices into the cluster's brokers.
pub fn copies(group: &BrokerGroup) -> impl Iterator<Item = usize> {
    group.members().chain(group.cut_off.iter().copied())
}

/// Machines that no broker and no name server stands on.
struct NewMachines {
    taken: BTreeSet<IpAddr>,
}

impl NewMachines {
    fn beside(cluster: &ClusterConf) -> Self {
        let machines = cluster.machines.iter().map(|machine| machine.address);
        let hosts = cluster.hosts.iter().map(|(_, address)| *address);
        NewMachines { taken: machines.chain(hosts).collect() }
    }

    fn next(&mut self) -> IpAddr {
        let free = (1..u8::MAX).flat_map(|net| (1..u8::MAX).map(move |host| [10, 101, net, host]));
        let free = free.map(IpAddr::from).find(|address| !self.taken.contains(address));
        let address = free.expect("fewer brokers than addresses");
        self.taken.insert(address);
        address
    }
}

impl fmt::Display for Cast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Cast {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let by_name: BTreeMap<&str, Cast> = Cast::ALL.iter().map(|it| (it.name(), *it)).collect();
        let names: Vec<&str> = by_name.keys().copied().collect();
        let unknown = || format!("{text:?} is no mode to compare (allowed: {})", names.join(", "));
        by_name.get(text).copied().ok_or_else(unknown)
    }
}
