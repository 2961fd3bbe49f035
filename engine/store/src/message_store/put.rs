//! Puts: checks, append, then flush and replica outcomes in parallel.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::Either;
use mq_env::BoxFuture;
use mq_env::probe::{Event, Probe};
use mq_protocol::ack_rule::{AckRule, Held};
use mq_protocol::message::{PROPERTIES_BYTES_MAX, TOPIC_BYTES_MAX};
use mq_protocol::message_codec::{decode_batch, join_batch_properties};
use mq_protocol::sys_flag::MessageSysFlag;
use mq_protocol::topic_deletion::says_deletion;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::MessageStore;
use crate::config::BrokerRole;
use crate::consume_queue_store::is_directory_name;
use crate::delay_level::delay_level;
use crate::message_inner::MessageInner;
use crate::plant::Plant;
use crate::put_result::{AppendMessageResult, PutMessageResult, PutMessageStatus};
use crate::record::EncodedRecords;
use crate::stats::StoreStats;

/// What a record may have beyond `maxMessageSize` for everything that is not its body.
const RECORD_OVERHEAD_MAX: usize = 64 << 10;

/// A put on its way: appended already, or refused; with nothing to wait for it needs no memory.
pub type PutFuture = Either<Ready<PutMessageResult>, WaitingPut>;

/// A stored message whose status is still to come.
pub struct WaitingPut {
    outcome: BoxFuture<'static, PutMessageResult>,
    /// The outcome if nobody waits for it any more.
    given_up: PutMessageResult,
    probe: Probe,
    stats: Arc<StoreStats>,
    begun: Instant,
}

/// What the log made of a put.
enum Put {
    Appended(AppendMessageResult),
    /// Asked of the group that keeps the log.
    Proposed(BoxFuture<'static, PutMessageResult>),
}

/// What is still to come of a stored message's status.
struct Outstanding {
    flush: Option<oneshot::Receiver<PutMessageStatus>>,
    replica: Option<BoxFuture<'static, PutMessageStatus>>,
}

impl MessageStore {
    /// Stores a message (RocketMQ 4.9 `asyncPutMessage`), one with a delay level where it waits until
    /// it is due. It is appended before this returns, so calls in order are records in order; the
    /// future waits for what the mode asks for.
    pub fn put_message(&self, message: &MessageInner) -> PutFuture {
        match self.config.message_delay_level.delayed(message) {
            None => self.put_due_message(message),
            Some(delayed) => match check_message(self, message) {
                Ok(()) => self.put_due_message(&delayed),
                Err(status) => self.answer(Instant::now(), false, Err(status)),
            },
        }
    }

    /// As [`MessageStore::put_message`], but under the message's own topic whatever its delay level: for
    /// a delayed message that is due.
    pub fn put_due_message(&self, message: &MessageInner) -> PutFuture {
        self.put_record(message, || check_message(self, message))
    }

    /// Stores a batch: its body holds the messages, which become one record each, behind one
    /// another and all or none (RocketMQ 4.9 `asyncPutMessages`).
    pub fn put_messages(&self, batch: &MessageInner) -> PutFuture {
        self.put_records(batch, |records| {
            check_batch(self, batch)?;
            self.encode_batch(batch, records)
        })
    }

    /// Stores what is one record, if the store takes puts and `check` has nothing against it.
    pub(super) fn put_record(
        &self,
        message: &MessageInner,
        check: impl FnOnce() -> Result<(), PutMessageStatus>,
    ) -> PutFuture {
        self.put_records(message, |records| {
            check()?;
            records.encode(message).map_err(|_| PutMessageStatus::MessageIllegal)
        })
    }

    /// Stores the records that `encode` makes of a message, if the store takes puts.
    fn put_records(
        &self,
        message: &MessageInner,
        encode: impl FnOnce(&mut EncodedRecords) -> Result<(), PutMessageStatus>,
    ) -> PutFuture {
        let begun = Instant::now();
        let role = match self.check_store() {
            Ok(role) => role,
            Err(status) => return self.answer(begun, false, Err(status)),
        };
        let put = EncodedRecords::with_reused(|records| {
            encode(records)?;
            match &self.log.consensus {
                Some(consensus) => {
                    Ok(Put::Proposed(self.log.propose(&**consensus, message, records)))
                }
                None => self.log.append(message, records).map(Put::Appended),
            }
        });
        match put {
            Ok(Put::Appended(appended)) => {
                self.answer(begun, message.wait_store_ok, Ok((appended, role)))
            }
            Ok(Put::Proposed(outcome)) => Either::Right(WaitingPut {
                outcome: counted(Arc::clone(&self.stats), outcome),
                // As if no quorum had come to it in time.
                given_up: PutMessageResult::refused(PutMessageStatus::OsPageCacheBusy),
                probe: self.env.probe.clone(),
                stats: Arc::clone(&self.stats),
                begun,
            }),
            Err(status) => self.answer(begun, false, Err(status)),
        }
    }

    /// Whether the store takes puts at the moment, and as what: the answer keeps what was in force when
    /// the put came, whatever the store becomes meanwhile.
    fn check_store(&self) -> Result<BrokerRole, PutMessageStatus> {
        let role = self.role.get();
        if role == BrokerRole::Slave || !self.flags.is_writeable() {
            return Err(PutMessageStatus::ServiceNotAvailable);
        }
        if self.log.is_os_page_cache_busy() {
            return Err(PutMessageStatus::OsPageCacheBusy);
        }
        Ok(role)
    }

    fn encode_batch(
        &self,
        batch: &MessageInner,
        records: &mut EncodedRecords,
    ) -> Result<(), PutMessageStatus> {
        let entries = decode_batch(&batch.body).map_err(|_| PutMessageStatus::MessageIllegal)?;
        if entries.is_empty() {
            return Err(PutMessageStatus::MessageIllegal);
        }
        let body_size_max = self.live.get().max_message_size;
        let mut properties = String::new();
        for entry in &entries {
            properties.clear();
            join_batch_properties(entry.properties, &batch.properties, &mut properties);
            check_properties(&properties)?;
            if entry.body.len() > body_size_max {
                return Err(PutMessageStatus::MessageIllegal);
            }
            let encoded = records.encode_entry(batch, entry, &properties);
            encoded.map_err(|_| PutMessageStatus::MessageIllegal)?;
            // Every entry repeats topic and properties of the batch: seen before it takes memory.
            if records.bytes().len() > body_size_max + RECORD_OVERHEAD_MAX {
                return Err(PutMessageStatus::MessageIllegal);
            }
        }
        Ok(())
    }

    /// Registers the waits of a stored message and combines their outcomes.
    fn answer(
        &self,
        begun: Instant,
        wait: bool,
        appended: Result<(AppendMessageResult, BrokerRole), PutMessageStatus>,
    ) -> PutFuture {
        let (appended, role) = match appended {
            Ok(appended) => appended,
            Err(status) => {
                self.stats.answered(begun, status);
                report_done(&self.env.probe, status, None);
                return Either::Left(ready(PutMessageResult::refused(status)));
            }
        };
        assert!(role != BrokerRole::Slave, "a slave takes no puts");
        assert!(appended.wrote_bytes > 0, "what was appended has an end behind its begin");
        note_stored(&self.stats, &appended);
        let rule = self.planted_rule(self.config.ack_rule(role, wait));
        let outstanding = self.outstanding(rule, appended.end_offset());
        if outstanding.is_nothing() {
            let status = PutMessageStatus::PutOk;
            self.stats.answered(begun, status);
            report_done(&self.env.probe, status, Some(&appended));
            return Either::Left(ready(PutMessageResult { status, append: Some(appended) }));
        }
        let stored = |status: PutMessageStatus, appended| {
            assert!(status.is_stored(), "what was appended is stored: {status:?}");
            PutMessageResult { status, append: Some(appended) }
        };
        Either::Right(WaitingPut {
            given_up: stored(outstanding.given_up(), appended.clone()),
            outcome: Box::pin(async move { stored(outstanding.status().await, appended) }),
            probe: self.env.probe.clone(),
            stats: Arc::clone(&self.stats),
            begun,
        })
    }

    /// What a message that ends at `end_offset` has to wait for by `rule`.
    fn outstanding(&self, rule: AckRule, end_offset: u64) -> Outstanding {
        assert!(rule.other_copies <= 1, "replication confirms one copy: {rule:?}");
        let (syncs, copies) = (rule.waits_for_sync(), rule.waits_for_copies());
        Outstanding {
            flush: syncs.then(|| self.group_commit.submit(end_offset)),
            replica: copies.then(|| self.replica_gate.wait(end_offset)),
        }
    }

    /// The rule as it should be, without what a plant takes away.
    fn planted_rule(&self, rule: AckRule) -> AckRule {
        let forgets_sync = self.config.planted(Plant::SendOkBeforeFlush);
        let forgets_copies = self.config.planted(Plant::SendOkBeforeReplica);
        AckRule {
            own: if forgets_sync { rule.own.min(Held::PageCache) } else { rule.own },
            other_copies: if forgets_copies { 0 } else { rule.other_copies },
            any_copies: rule.any_copies,
        }
    }
}

impl WaitingPut {
    /// Waits no longer: as if the time had been over. The message stays stored.
    #[must_use]
    pub fn give_up(self) -> PutMessageResult {
        self.tell(&self.given_up);
        self.given_up
    }

    fn tell(&self, result: &PutMessageResult) {
        self.stats.answered(self.begun, result.status);
        report_done(&self.probe, result.status, result.append.as_ref());
    }
}

impl Future for WaitingPut {
    type Output = PutMessageResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<PutMessageResult> {
        let outcome = self.outcome.as_mut().poll(cx);
        if let Poll::Ready(result) = &outcome {
            self.tell(result);
        }
        outcome
    }
}

impl Outstanding {
    /// What a put is told that waits no longer.
    fn given_up(&self) -> PutMessageStatus {
        if self.replica.is_some() {
            PutMessageStatus::FlushSlaveTimeout
        } else {
            PutMessageStatus::FlushDiskTimeout
        }
    }

    fn is_nothing(&self) -> bool {
        self.flush.is_none() && self.replica.is_none()
    }

    /// The flush status first; a replica status that is not OK replaces it.
    async fn status(self) -> PutMessageStatus {
        let flush = async {
            match self.flush {
                // The sender goes unused when the log is poisoned or the store is closed.
                Some(flush) => flush.await.unwrap_or(PutMessageStatus::FlushDiskTimeout),
                None => PutMessageStatus::PutOk,
            }
        };
        let replica = async {
            match self.replica {
                Some(replica) => replica.await,
                None => PutMessageStatus::PutOk,
            }
        };
        match futures::future::join(flush, replica).await {
            (flush, PutMessageStatus::PutOk) => flush,
            (_, replica) => replica,
        }
    }
}

fn note_stored(stats: &StoreStats, appended: &AppendMessageResult) {
    let (count, bytes) = (appended.message_count() as u64, u64::from(appended.wrote_bytes));
    stats.stored(count, bytes, appended.store_timestamp_ms);
}

/// What is proposed counts as stored once it is committed.
fn counted(
    stats: Arc<StoreStats>,
    outcome: BoxFuture<'static, PutMessageResult>,
) -> BoxFuture<'static, PutMessageResult> {
    Box::pin(async move {
        let result = outcome.await;
        if let Some(appended) = &result.append {
            note_stored(&stats, appended);
        }
        result
    })
}

fn check_message(store: &MessageStore, message: &MessageInner) -> Result<(), PutMessageStatus> {
    // No producer deletes a topic by what it writes on a message.
    if says_deletion(message.sys_flag, &message.properties) {
        return Err(PutMessageStatus::MessageIllegal);
    }
    check_topic(&message.topic)?;
    check_properties(&message.properties)?;
    let record_size = message.body.len() + message.properties.len() + message.topic.len();
    let body_size_max = store.live.get().max_message_size;
    if message.body.len() > body_size_max || record_size > body_size_max + RECORD_OVERHEAD_MAX {
        return Err(PutMessageStatus::MessageIllegal);
    }
    Ok(())
}

fn check_batch(store: &MessageStore, batch: &MessageInner) -> Result<(), PutMessageStatus> {
    check_topic(&batch.topic)?;
    check_properties(&batch.properties)?;
    let is_transaction = MessageSysFlag::transaction_type(batch.sys_flag) != 0;
    let is_delayed = delay_level(&batch.properties) > 0;
    if is_transaction || is_delayed || batch.body.len() > store.live.get().max_message_size {
        return Err(PutMessageStatus::MessageIllegal);
    }
    Ok(())
}

pub(super) fn check_topic(topic: &str) -> Result<(), PutMessageStatus> {
    if is_directory_name(topic) && topic.len() <= TOPIC_BYTES_MAX {
        Ok(())
    } else {
        Err(PutMessageStatus::MessageIllegal)
    }
}

/// Java counts UTF-16 units first and encoded bytes later. A NUL would make the record look torn.
fn check_properties(properties: &str) -> Result<(), PutMessageStatus> {
    if properties.len() > PROPERTIES_BYTES_MAX {
        let is_long_text = properties.encode_utf16().count() > PROPERTIES_BYTES_MAX;
        return Err(if is_long_text {
            PutMessageStatus::MessageIllegal
        } else {
            PutMessageStatus::PropertiesSizeExceeded
        });
    }
    if properties.as_bytes().contains(&0) {
        return Err(PutMessageStatus::MessageIllegal);
    }
    Ok(())
}

fn report_done(probe: &Probe, status: PutMessageStatus, appended: Option<&AppendMessageResult>) {
    probe.emit(&Event::PutDone {
        phy_offset: appended.map(|appended| appended.phy_offset),
        end_offset: appended.map(AppendMessageResult::end_offset),
        status: status.name(),
    });
}
