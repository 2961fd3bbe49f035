//! [`HaConnection`]: a master's side of one replication connection.
//!
//! Reader and writer share a task; when either ends, the connection ends. The writer starts with the
//! slave's first report, wakes when the log grows and sleeps until the next heartbeat otherwise.
//! Bytes go from the mapped file to the socket without a copy.
//!
//! Java origin: `HAConnection` with its `ReadSocketService` and `WriteSocketService`, RocketMQ 4.9.

use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use mq_env::net::Stream;
use mq_env::probe::{Event, Probe};
use mq_protocol::ha_frame::{REPORT_BYTES, ReportDecoder, TransferHeader};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::replicas::{ConnectionId, Replicas, counts_beyond_end};
use crate::commit_log::CommitLog;
use crate::config::{FlushDiskType, StoreConfig, UpstreamSwitch};
use crate::plant::{Plant, planted_on_this_thread};
use crate::role::RoleWatch;

/// Reports are 8 bytes; a slave that sends more of them at once is read in several turns.
const READ_BYTES: usize = 1 << 10;
const _: () = assert!(READ_BYTES.is_multiple_of(REPORT_BYTES));

/// One connected slave, until it goes.
pub(crate) struct HaConnection {
    pub(crate) config: Arc<StoreConfig>,
    pub(crate) probe: Probe,
    pub(crate) log: Arc<CommitLog>,
    pub(crate) replicas: Arc<Replicas>,
    pub(crate) role: RoleWatch,
    pub(crate) id: ConnectionId,
    /// The slave's address, for people.
    pub(crate) slave: String,
}

impl HaConnection {
    /// Serves the slave until the connection ends; why it did.
    pub(crate) async fn serve(&self, stream: Stream) -> String {
        let (read_half, write_half) = tokio::io::split(stream);
        let (request, requested) = oneshot::channel();
        mq_env::select! {
            () = self.role.changed_since(self.id.role_changes()) => {
                "this broker's role has changed".to_owned()
            }
            reason = self.read_reports(read_half, request) => reason,
            reason = self.transfer(write_half, requested) => reason,
        }
    }

    /// Reads reports; the first one becomes the request that the writer waits for.
    async fn read_reports(
        &self,
        mut slave: ReadHalf<Stream>,
        request: oneshot::Sender<u64>,
    ) -> String {
        let silence_max = Duration::from_millis(self.config.ha_housekeeping_interval_ms);
        let mut request = Some(request);
        let mut decoder = ReportDecoder::default();
        let mut buffer = [0; READ_BYTES];
        loop {
            let read = match tokio::time::timeout(silence_max, slave.read(&mut buffer)).await {
                Err(_) => return format!("no report for {silence_max:?}"),
                Ok(Err(error)) => return error.to_string(),
                Ok(Ok(0)) => return "closed by the slave".to_owned(),
                Ok(Ok(read)) => read,
            };
            let offset = match decoder.push(&buffer[..read]) {
                Err(error) => return error.to_string(),
                Ok(None) => continue,
                Ok(Some(offset)) => offset,
            };
            let own_end = self.log.max_offset();
            // 4.9 lets the first report pass, whatever it says, and believes it.
            let is_believed = request.is_some() && counts_beyond_end(&self.config);
            if offset > own_end && !is_believed {
                return format!("reports {offset}, beyond this log's end {own_end}");
            }
            let offset = self.replicas.report(self.id, offset, own_end);
            self.probe.emit(&Event::SlaveAcked { slave: &self.slave, offset });
            if let Some(request) = request.take() {
                // The writer only goes together with this reader.
                let _ = request.send(offset);
            }
        }
    }

    /// Sends the log from where the slave asks.
    async fn transfer(
        &self,
        mut slave: WriteHalf<Stream>,
        requested: oneshot::Receiver<u64>,
    ) -> String {
        let Ok(request) = requested.await else { return std::future::pending().await };
        let mut writer = Writer {
            slave: &mut slave,
            last_write: Instant::now(),
            heartbeat_interval: super::heartbeat_interval(&self.config),
        };
        match self.transfer_from(request, &mut writer).await {
            Ok(reason) => reason,
            Err(error) => error.to_string(),
        }
    }

    async fn transfer_from(
        &self,
        request: u64,
        writer: &mut Writer<'_>,
    ) -> Result<String, std::io::Error> {
        let mut growth = match self.sends_unsynced() {
            true => self.log.watch_max_offset(),
            false => self.log.watch_flushed_offset(),
        };
        let mut next = self.start_offset(request);
        writer.heartbeat(next).await?;
        loop {
            let end = growth.see();
            let min_offset = self.log.min_offset();
            if next < min_offset {
                self.report_gap(next, min_offset);
                next = min_offset;
            }
            if next < end {
                let room = usize::try_from(end - next).unwrap_or(usize::MAX);
                let Some(data) = self.log.data(next) else {
                    return Ok(format!("offset {next} cannot be read"));
                };
                let slice = data.truncated(room.min(self.config.ha_transfer_batch_size.max(1)));
                assert!(!slice.is_empty() && slice.start_offset() == next, "slices join");
                assert!(next + slice.len() as u64 <= end, "no more is sent than may be");
                writer.send(next, &slice).await?;
                let from = next;
                next += slice.len() as u64;
                self.probe.emit(&Event::HaSent { slave: &self.slave, from, to: next });
                continue;
            }
            if next > self.log.max_offset() && !counts_beyond_end(&self.config) {
                return Ok(format!("this log was cut below {next}"));
            }
            mq_env::select! {
                _ = growth.changed() => {}
                () = tokio::time::sleep_until(writer.heartbeat_due()) => {
                    writer.heartbeat(next).await?;
                }
            }
        }
    }

    /// Where the transfer to a slave begins that asks for `request`.
    fn start_offset(&self, request: u64) -> u64 {
        if request != 0 {
            let from_file_start = planted_on_this_thread(Plant::ResumesAtFileStart);
            return if from_file_start { self.log.file_start(request) } else { request };
        }
        if self.config.upstream(UpstreamSwitch::SlaveStartsAtLastFile) {
            let max_offset = self.log.max_offset();
            return self.log.file_start(max_offset);
        }
        self.log.min_offset()
    }

    /// Under SYNC_FLUSH only what is synced goes out: what this machine can still lose must not
    /// outlive it elsewhere.
    fn sends_unsynced(&self) -> bool {
        self.config.flush_disk_type == FlushDiskType::AsyncFlush
            || self.config.upstream(UpstreamSwitch::SendUnflushed)
    }

    fn report_gap(&self, next: u64, min_offset: u64) {
        tracing::warn!(
            slave = self.slave,
            next,
            min_offset,
            "the slave wants what this log no longer has: it is filled from this log's minimum"
        );
    }
}

/// The sending half of a connection.
struct Writer<'a> {
    slave: &'a mut WriteHalf<Stream>,
    last_write: Instant,
    heartbeat_interval: Duration,
}

impl Writer<'_> {
    fn heartbeat_due(&self) -> Instant {
        self.last_write + self.heartbeat_interval
    }

    async fn heartbeat(&mut self, next: u64) -> std::io::Result<()> {
        self.send(next, &[]).await
    }

    async fn send(&mut self, phy_offset: u64, body: &[u8]) -> std::io::Result<()> {
        assert!(i32::try_from(body.len()).is_ok(), "a slice lies in one file");
        let header = TransferHeader { phy_offset, body_bytes: body.len() as u32 }.encode();
        self.slave.write_all_buf(&mut Buf::chain(&header[..], body)).await?;
        self.slave.flush().await?;
        self.last_write = Instant::now();
        Ok(())
    }
}
