//! [`HaClient`]: a slave's side of replication.
//!
//! Connect, prove that the own log is a prefix of the master's (setting aside what is not), report
//! the log's end, append what arrives. The proof comes after the connection is made: a master that
//! dies between the two takes the connection with it, so bytes are only ever appended from the very
//! process that the proof was about, or an older one with the same history.
//!
//! A store that is to be no slave any more is left where nothing is half done: `lock_following` is free
//! once it appends nothing more.
//!
//! A SYNC_FLUSH slave reports what it has synced, any other what its page cache holds.
//!
//! Java origin: `HAService.HAClient` of RocketMQ 4.9, which appends to whatever it has.

use std::sync::Arc;
use std::time::Duration;

use mq_env::Env;
use mq_env::net::Stream;
use mq_env::probe::Event;
use mq_env::watched::Watched;
use mq_protocol::ha_frame::{TRANSFER_HEADER_BYTES, TransferDecoder, encode_report};
use tokio::io::{AsyncReadExt, AsyncWriteExt, WriteHalf};
use tokio::time::Instant;

use super::follow_state::FollowState;
use super::joining::{Joined, Joining, NOT_A_SLAVE};
use crate::commit_log::CommitLog;
use crate::config::{BrokerRole, StoreConfig, UpstreamSwitch};
use crate::error::StoreError;
use crate::log_end::LogEndWatch;
use crate::message_store::MessageStore;
use crate::plant::{Plant, planted_on_this_thread};
use crate::role::RoleWatch;

/// Limit of one attempt to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Least time between the starts of two attempts: a master that comes back is followed again soon.
const ATTEMPT_INTERVAL: Duration = Duration::from_secs(1);

/// The same where only an operator could change what the next attempt will find.
const REFUSED_INTERVAL: Duration = Duration::from_secs(5);

/// How long a slave looks for a master before that is worth a warning,
const FIRST_WARNING: Duration = Duration::from_secs(20);
/// and how long before it is worth another one.
const WARNING_INTERVAL: Duration = Duration::from_secs(30);

/// Room for what one read takes in: two slices of the default size with their headers.
const READ_BYTES: usize = 72 << 10;
const _: () = assert!(READ_BYTES >= 2 * ((32 << 10) + TRANSFER_HEADER_BYTES));

/// Follows a master whenever the store is a slave.
pub(crate) struct HaClient {
    pub(crate) env: Env,
    pub(crate) config: Arc<StoreConfig>,
    pub(crate) store: Arc<MessageStore>,
    pub(crate) joining: Arc<Joining>,
    /// The master's HA address as the broker knows it.
    pub(crate) master_address: Watched<Option<String>>,
    pub(crate) state: Watched<FollowState>,
}

/// For how long and why a slave has followed nobody, for the operator.
struct Search {
    since: Instant,
    warn_at: Instant,
    reason: String,
}

impl Search {
    fn begin() -> Self {
        let since = Instant::now();
        Search { since, warn_at: since + FIRST_WARNING, reason: String::new() }
    }

    /// Says why there is still nobody: once per reason, and as a warning when it lasts.
    fn note(&mut self, master: &str, reason: &str) {
        let now = Instant::now();
        if now >= self.warn_at {
            let seconds = (now - self.since).as_secs();
            tracing::warn!("this slave has followed no master for {seconds} s; {master}: {reason}");
            self.warn_at = now + WARNING_INTERVAL;
        } else if self.reason != reason {
            tracing::info!(master, reason, "not following");
        }
        reason.clone_into(&mut self.reason);
    }
}

impl HaClient {
    /// Follows until cancelled, whenever the store is a slave.
    pub(crate) async fn run(mut self) {
        let store = Arc::clone(&self.store);
        loop {
            store.role().may_follow().await;
            {
                let _following = store.lock_following().await;
                self.follow().await;
            }
            self.state.set(FollowState::Idle);
        }
    }

    /// Follows until the store is to be no slave any more.
    async fn follow(&mut self) {
        let role = self.store.role().clone();
        let mut search = Search::begin();
        loop {
            let master = mq_env::select! {
                () = role.must_not_follow() => return,
                master = self.next_master(&mut search) => master,
            };
            let attempt = Instant::now();
            self.attempt(&master, &mut search).await;
            let is_refused = self.state.read(|state| state.refusal().is_some());
            let interval = if is_refused { REFUSED_INTERVAL } else { ATTEMPT_INTERVAL };
            mq_env::select! {
                () = role.must_not_follow() => return,
                () = tokio::time::sleep_until(attempt + interval) => {}
            }
        }
    }

    /// The configured master, else the one that the broker names, as soon as it does.
    async fn next_master(&mut self, search: &mut Search) -> String {
        // 4.9 takes a shorter text for none.
        if let Some(fixed) = self.config.ha_master_address.as_ref().filter(|text| text.len() >= 6) {
            return fixed.clone();
        }
        loop {
            mq_env::select! {
                address = self.master_address.wait_for(Option::is_some) => {
                    return address.unwrap_or_default();
                }
                () = tokio::time::sleep_until(search.warn_at) => {
                    search.note("unknown", "no name server names one");
                }
            }
        }
    }

    /// One connection from the first proof to its end.
    async fn attempt(&self, master: &str, search: &mut Search) {
        // A master that must not be followed is not even connected to: it would count this slave.
        let stream = match self.joining.join(master).await {
            Joined::May { .. } => self.connect(master).await,
            Joined::Refused { reason } => return self.refuse(reason),
            Joined::Later { reason } => return self.idle(master, &reason, search),
        };
        let stream = match stream {
            Ok(stream) => stream,
            Err(reason) => return self.idle(master, &reason, search),
        };
        let (is_proven, starts_until) = match self.joining.join(master).await {
            Joined::May { is_proven, starts_until } => (is_proven, starts_until),
            Joined::Refused { reason } => return self.refuse(reason),
            Joined::Later { reason } => return self.idle(master, &reason, search),
        };
        tracing::info!(master, is_proven, end = self.store.commit_log().max_offset(), "following");
        let following = FollowState::Following { master: master.to_owned(), is_proven };
        self.state.set(following);
        let reason = match Session::open(self, stream, starts_until).await {
            Ok(mut session) => session.run().await,
            Err(reason) => reason,
        };
        *search = Search::begin();
        self.idle(master, &reason, search);
    }

    async fn connect(&self, master: &str) -> Result<Stream, String> {
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, self.env.net.connect(master));
        let connected = mq_env::select! {
            () = self.store.role().must_not_follow() => return Err(NOT_A_SLAVE.to_owned()),
            connected = connecting => connected,
        };
        match connected {
            Err(_) => Err(format!("no connection within {CONNECT_TIMEOUT:?}")),
            Ok(Err(error)) => Err(error.to_string()),
            Ok(Ok(stream)) => Ok(stream),
        }
    }

    fn idle(&self, master: &str, reason: &str, search: &mut Search) {
        search.note(master, reason);
        self.state.set(FollowState::Idle);
    }

    /// Says it once per reason, for the operator to act on.
    fn refuse(&self, reason: String) {
        if self.state.read(|state| state.refusal() == Some(&reason)) {
            return;
        }
        tracing::error!("{reason}");
        self.env.probe.emit(&Event::RefusedToFollow { reason: &reason });
        self.state.set(FollowState::Refused { reason });
    }
}

/// One connection on which the slave reports.
struct Session<'a> {
    client: &'a HaClient,
    log: &'a CommitLog,
    stream: tokio::io::ReadHalf<Stream>,
    reports: Reports,
    decoder: TransferDecoder,
    /// See [`Joined::May`].
    starts_until: Option<u64>,
    /// Nothing when the master's silence goes unnoticed.
    silence_max: Option<Duration>,
    last_read: Instant,
}

/// The reports of one connection.
struct Reports {
    master: WriteHalf<Stream>,
    write_timeout: Duration,
    heartbeat_interval: Duration,
    last_report: Instant,
    reported: u64,
    role: RoleWatch,
    /// Follows what may be reported.
    reportable: LogEndWatch,
}

impl<'a> Session<'a> {
    /// Makes everything reportable that the log holds, and sends the first report.
    async fn open(
        client: &'a HaClient,
        stream: Stream,
        starts_until: Option<u64>,
    ) -> Result<Session<'a>, String> {
        let (config, log) = (&*client.config, &**client.store.commit_log());
        let reports_synced = config.ack_rule(BrokerRole::Slave, true).waits_for_sync()
            && !config.upstream(UpstreamSwitch::SlaveAcksPageCache)
            && !planted_on_this_thread(Plant::SlaveReportsUnsynced);
        let reportable = if reports_synced {
            // The first report says where the transfer begins, so it has to be the log's end.
            log.flush(0).await.map_err(|error| error.to_string())?;
            assert_eq!(log.flushed_offset(), log.max_offset(), "all that was received is synced");
            log.watch_flushed_offset()
        } else {
            log.watch_max_offset()
        };
        let housekeeping = Duration::from_millis(config.ha_housekeeping_interval_ms);
        let (stream, master) = tokio::io::split(stream);
        let now = Instant::now();
        let mut reports = Reports {
            master,
            write_timeout: housekeeping,
            heartbeat_interval: super::heartbeat_interval(config),
            last_report: now,
            reported: log.max_offset(),
            role: client.store.role().clone(),
            reportable,
        };
        if !config.upstream(UpstreamSwitch::FirstReportLate) {
            reports.send(reports.reported).await?;
        }
        let is_unnoticed = config.upstream(UpstreamSwitch::MasterSilenceUnnoticed);
        Ok(Session {
            client,
            log,
            stream,
            reports,
            decoder: TransferDecoder::new(log.file_size()),
            starts_until,
            silence_max: (!is_unnoticed).then_some(housekeeping),
            last_read: now,
        })
    }

    /// Appends and reports until the connection ends; why it did.
    async fn run(&mut self) -> String {
        loop {
            let heartbeat_due = self.reports.heartbeat_due();
            let silence_due = self.silence_max.map(|silence_max| self.last_read + silence_max);
            let silence = async {
                match silence_due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            let step = mq_env::select! {
                read = self.stream.read_buf(self.decoder.buffer(READ_BYTES)) => match read {
                    Err(error) => Err(error.to_string()),
                    Ok(0) => Err("closed by the master".to_owned()),
                    Ok(_) => {
                        self.last_read = Instant::now();
                        self.take_frames().await
                    }
                },
                reportable = self.reports.reportable.changed() => {
                    self.reports.send_above(reportable).await
                }
                () = tokio::time::sleep_until(heartbeat_due) => {
                    self.reports.send(self.reports.reported).await
                }
                () = silence => Err("the master is silent".to_owned()),
                () = self.client.store.role().must_not_follow() => Err(NOT_A_SLAVE.to_owned()),
            };
            if let Err(reason) = step {
                return reason;
            }
        }
    }

    /// Appends every frame that is complete, and reports after each.
    async fn take_frames(&mut self) -> Result<(), String> {
        while let Some(header) = self.decoder.header().map_err(|error| error.to_string())? {
            let end = self.log.max_offset();
            // Checked before the body arrives.
            let offset = header.phy_offset;
            if end == 0 {
                self.check_start(offset)?;
            } else if offset != end {
                return Err(format!("the master sends from {offset}, this log ends at {end}"));
            }
            let frame = self.decoder.take_frame().map_err(|error| error.to_string())?;
            let Some(frame) = frame else { return Ok(()) };
            assert_eq!(frame.body.len(), header.body_bytes as usize, "a frame is a whole one");
            if !frame.body.is_empty() {
                self.append(header.phy_offset, &frame.body).await.map_err(|it| it.to_string())?;
            }
            self.reports.send_progress().await?;
        }
        Ok(())
    }

    async fn append(&mut self, from: u64, body: &[u8]) -> Result<(), StoreError> {
        if self.log.max_offset() == 0 && self.starts_file(from) {
            // Written down durably: recovery does not take the files for ones behind a gap.
            let store = &self.client.store;
            store.reset_to(from, &self.client.config.store_path_root_dir).await?;
        }
        self.log.append_raw(from, body)?;
        let to = from + body.len() as u64;
        assert_eq!(self.log.max_offset(), to, "nobody else appends to a slave's log");
        assert!(self.reports.reported <= to, "no more is reported than is there");
        self.client.env.probe.emit(&Event::HaReceived { from, to });
        Ok(())
    }

    /// Whether a blank log may begin at `offset`. 4.9 takes any.
    fn check_start(&self, offset: u64) -> Result<(), String> {
        match self.starts_until {
            Some(limit) if offset > limit || offset != 0 && !self.starts_file(offset) => {
                Err(format!(
                    "the master sends from {offset}: its log has no file that starts there, so this blank \
                 slave does not"
                ))
            }
            _ => Ok(()),
        }
    }

    /// Whether a file other than the very first starts at `offset`.
    fn starts_file(&self, offset: u64) -> bool {
        offset != 0 && offset.is_multiple_of(self.log.file_size() as u64)
    }
}

impl Reports {
    fn heartbeat_due(&self) -> Instant {
        self.last_report + self.heartbeat_interval
    }

    /// Reports what became reportable since the last report.
    async fn send_progress(&mut self) -> Result<(), String> {
        let reportable = self.reportable.see();
        self.send_above(reportable).await
    }

    async fn send_above(&mut self, reportable: u64) -> Result<(), String> {
        if reportable > self.reported {
            self.send(reportable).await?;
        }
        Ok(())
    }

    async fn send(&mut self, offset: u64) -> Result<(), String> {
        assert!(offset >= self.reported, "what was confirmed stays so: {offset}");
        let write = async {
            self.master.write_all(&encode_report(offset)).await?;
            self.master.flush().await
        };
        let written = mq_env::select! {
            () = self.role.must_not_follow() => return Err(NOT_A_SLAVE.to_owned()),
            written = tokio::time::timeout(self.write_timeout, write) => written,
        };
        match written {
            Err(_) => return Err("the master takes no reports".to_owned()),
            Ok(Err(error)) => return Err(error.to_string()),
            Ok(Ok(())) => {}
        }
        self.reported = offset;
        self.last_report = Instant::now();
        Ok(())
    }
}
