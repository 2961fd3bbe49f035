//! [`ReplicatedTables`]: in DLedger mode the master's tables are in the group's log, so that whoever leads next has what a majority
//! has.
//!
//! Topics, consumer groups, consumer offsets and delay offsets, as they are asked for by slaves, become messages of a topic of the
//! system, a queue for each table; what a queue ends with is the table: one message, or as many as it takes (`parts`). A master writes
//! a table that has changed once a second at most, and less often the larger it is; what an operator changes it writes before it
//! answers. Whoever follows takes the tables
//! over as they come, and a new master does before it takes puts. RocketMQ 4.9 has slaves ask for them every ten seconds
//! (`slave_synchronize`), so that a new master's are up to ten seconds old: the switch `tables-by-slave-sync`, and what is done
//! in a group with members of Apache's (`dLegerJavaPeers`).

mod parts;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mq_protocol::fastjson::{Json, from_slice};
use mq_store::config::UpstreamSwitch;
use mq_store::{MessageInner, PutMessageStatus};

use crate::context::BrokerContext;
use parts::{FoundTable, PartMessage, PartSize};

/// Nobody sends to it, and no client reads it.
pub(crate) const TABLES_TOPIC: &str = "rmq_sys_dledger_tables";

/// How often a master looks for changes, and a slave for tables.
const INTERVAL: Duration = Duration::from_secs(1);

/// So many bytes of tables a second are written at most, but one table.
const BYTES_PER_SECOND: u64 = 1 << 20;

/// Which table; its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Table {
    Topics,
    Groups,
    ConsumerOffsets,
    DelayOffsets,
}

impl Table {
    /// In the order in which they are taken over: offsets are of topics and groups.
    const ALL: [Table; 4] =
        [Table::Topics, Table::Groups, Table::ConsumerOffsets, Table::DelayOffsets];

    fn queue_id(self) -> u32 {
        self as u32
    }

    fn name(self) -> &'static str {
        match self {
            Table::Topics => "topics",
            Table::Groups => "consumer groups",
            Table::ConsumerOffsets => "consumer offsets",
            Table::DelayOffsets => "delay offsets",
        }
    }
}

/// What of the tables is in the log.
#[derive(Default)]
pub(crate) struct ReplicatedTables {
    state: tokio::sync::Mutex<[Known; Table::ALL.len()]>,
}

/// The newest version of a table that this broker wrote or took over.
#[derive(Default)]
struct Known {
    /// Queue offset behind its last message.
    end: u64,
    content: Bytes,
    /// It was said that the table, as it is by now, cannot be written.
    is_too_large: bool,
}

impl ReplicatedTables {
    /// Whether the tables of this broker come from the group's log. Not beside a member of Apache's: he writes none and takes none
    /// over, so that what the log has were older than what slaves ask him for, and what he asks his master for.
    pub(crate) fn are_in_use(context: &BrokerContext) -> bool {
        let config = context.store.config();
        let is_switched_off = config.upstream(UpstreamSwitch::TablesBySlaveSync);
        let is_ours_alone = config.dledger.as_ref().is_some_and(|it| it.java_peers.is_empty());
        is_ours_alone && !is_switched_off
    }

    /// Whether somebody who led has written tables.
    pub(crate) fn are_there(context: &BrokerContext) -> bool {
        ReplicatedTables::are_in_use(context)
            && context.store.max_offset_in_queue(TABLES_TOPIC, Table::Topics.queue_id()) > 0
    }

    /// Writes the tables that have changed; how many bytes. What is refused is written the next time.
    pub(crate) async fn write(&self, context: &BrokerContext) -> u64 {
        if !ReplicatedTables::are_in_use(context) || context.is_slave() {
            return 0;
        }
        let mut state = self.state.lock().await;
        let mut written_bytes = 0;
        for (table, known) in Table::ALL.into_iter().zip(state.iter_mut()) {
            let content = content(context, table);
            if content == known.content || !known.may_write(context, table, content.len()) {
                continue;
            }
            match put(context, table, &content).await {
                Ok(end) => {
                    written_bytes += content.len() as u64;
                    (known.end, known.content) = (end, content);
                }
                Err(status) => {
                    let (table, status) = (table.name(), status.name());
                    tracing::warn!(table, status, "a table is not replicated yet");
                    break;
                }
            }
        }
        written_bytes
    }

    /// Takes over the tables that others have written since the last time.
    pub(crate) async fn take_over(&self, context: &BrokerContext) {
        if !ReplicatedTables::are_in_use(context) {
            return;
        }
        let mut state = self.state.lock().await;
        for (table, known) in Table::ALL.into_iter().zip(state.iter_mut()) {
            let end = context.store.max_offset_in_queue(TABLES_TOPIC, table.queue_id());
            let taken = match parts::newest(&context.store, table.queue_id(), known.end..end).await
            {
                Ok(None) => continue,
                Ok(Some(found)) if is_outdated(context, &found) => {
                    tracing::warn!(
                        table = table.name(),
                        "what the log has of a table is older than what a broker of Apache's left: it is not taken over"
                    );
                    known.end = found.end;
                    continue;
                }
                Ok(Some(FoundTable { end, content, .. })) => {
                    adopt(context, table, &content).await.map(|()| (end, content))
                }
                Err(error) => Err(error),
            };
            match taken {
                Ok((end, content)) => (known.end, known.content) = (end, content),
                Err(error) => {
                    tracing::error!(table = table.name(), error, "a table cannot be taken over");
                }
            }
        }
    }

    /// Forgets what it wrote: a new master writes all its tables.
    pub(crate) async fn begin_as_master(&self) {
        for known in self.state.lock().await.iter_mut() {
            known.content = Bytes::new();
        }
    }

    /// Writes and takes over, as long as the role stays.
    pub(crate) async fn run(context: Arc<BrokerContext>) {
        let tables = &context.tables;
        loop {
            let written_bytes = if context.is_slave() {
                tables.take_over(&context).await;
                0
            } else {
                tables.write(&context).await
            };
            let pause = Duration::from_millis(written_bytes * 1_000 / BYTES_PER_SECOND);
            tokio::time::sleep(INTERVAL.max(pause)).await;
        }
    }
}

/// Whether the group was led by who keeps his tables in files alone, since a table was written into the log.
fn is_outdated(context: &BrokerContext, found: &FoundTable) -> bool {
    context.dledger.as_ref().is_some_and(|log| log.was_led_by_java_since(found.phy_offset))
}

fn content(context: &BrokerContext, table: Table) -> Bytes {
    match table {
        Table::Topics => context.topics.content(),
        Table::Groups => context.groups.content(),
        Table::ConsumerOffsets => context.offsets.content(),
        Table::DelayOffsets => mq_protocol::fastjson::to_bytes(&context.delay_offsets.wrapper()),
    }
}

impl Known {
    /// Whether a table of that size can be written. Where it cannot, this is said once.
    fn may_write(&mut self, context: &BrokerContext, table: Table, bytes: usize) -> bool {
        let max_bytes = PartSize::of(&context.store.live_config()).table_bytes_max();
        let is_too_large = bytes > max_bytes;
        if is_too_large && !self.is_too_large {
            let table = table.name();
            tracing::error!(
                table,
                bytes,
                max_bytes,
                "a table is too large for the group's log: whoever leads next has an older one; raise maxMessageSize, or \
                 delete what nobody uses"
            );
        }
        self.is_too_large = is_too_large;
        !is_too_large
    }
}

/// Puts a table behind what its queue has; where the queue ends then.
async fn put(
    context: &BrokerContext,
    table: Table,
    content: &Bytes,
) -> Result<u64, PutMessageStatus> {
    let size = PartSize::of(&context.store.live_config());
    let parts = size.count(content.len());
    let mut end = 0;
    for (part, range) in size.split(content.len()).enumerate() {
        let part = PartMessage::of(content.slice(range), part, parts);
        let put = context.store.put_message(&message(context, table, part)).await;
        match put.append {
            Some(append) if put.status == PutMessageStatus::PutOk => end = append.queue_offset + 1,
            _ => return Err(put.status),
        }
    }
    Ok(end)
}

fn message(context: &BrokerContext, table: Table, part: PartMessage) -> MessageInner {
    MessageInner {
        topic: TABLES_TOPIC.to_owned(),
        queue_id: table.queue_id(),
        flag: 0,
        sys_flag: part.sys_flag,
        body: part.body,
        properties: part.properties,
        born_timestamp_ms: context.env.clock.now_millis() as i64,
        born_host: context.store_host,
        store_host: context.store_host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        wait_store_ok: true,
    }
}

async fn adopt(context: &BrokerContext, table: Table, content: &[u8]) -> Result<(), String> {
    match table {
        Table::Topics => {
            let queues = context.store.consume_queues();
            let has_queues = |topic: &str| !queues.queue_ids(topic).is_empty();
            let adopted = context.topics.adopt(read(content)?, has_queues).await;
            adopted.map(drop).map_err(|error| error.to_string())
        }
        Table::Groups => {
            let wrapper = read(content)?;
            let gone = context.groups.missing_in(&wrapper);
            let adopted = context.groups.adopt(wrapper, |_| false).await;
            adopted.map_err(|error| error.to_string())?;
            // Deleted on the master with what they had committed.
            gone.iter().for_each(|group| context.offsets.remove_group(group));
            Ok(())
        }
        Table::ConsumerOffsets => {
            context.offsets.overwrite(read(content)?);
            Ok(())
        }
        Table::DelayOffsets => {
            let adopted = context.delay_offsets.adopt(read(content)?).await;
            adopted.map_err(|error| error.to_string())
        }
    }
}

fn read<T: Json>(content: &[u8]) -> Result<T, String> {
    from_slice(content).map_err(|error| error.to_string())
}
