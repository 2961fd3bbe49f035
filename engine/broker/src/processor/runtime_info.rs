//! GET_BROKER_RUNTIME_INFO (28): what a broker is doing (RocketMQ 4.9 `AdminBrokerProcessor.prepareRuntimeInfo`,
//! `DefaultMessageStore.getRuntimeInfo`).

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use mq_protocol::body::tables::KvTable;
use mq_protocol::codes::MqVersion;
use mq_store::delay_level::SCHEDULE_TOPIC;
use mq_store::stats::{DayTotals, GetRates, PUT_TIME_NAMES, StoreStats};
use mq_store::used_percent;

use crate::context::{BrokerContext, max_offset};
use crate::work_queue::WorkQueue;

/// The windows of rates, in seconds.
const WINDOWS_SECONDS: [u64; 3] = [10, 60, 600];

/// The table that is told.
#[derive(Default)]
struct RuntimeInfo(KvTable);

impl RuntimeInfo {
    fn put(&mut self, key: &str, value: impl Display) {
        self.0.table.insert(key.to_owned(), value.to_string());
    }

    /// A Java double: with its point.
    fn put_double(&mut self, key: &str, value: f64) {
        self.put(key, format_args!("{value:?}"));
    }
}

/// Every key of 4.9 with its value.
pub(super) fn runtime_info(context: &BrokerContext) -> KvTable {
    let mut info = RuntimeInfo::default();
    info.put("brokerVersionDesc", MqVersion::CURRENT_NAME);
    info.put("brokerVersion", MqVersion::CURRENT);
    let start = context.live().start_accept_send_request_timestamp_ms;
    info.put("startAcceptSendRequestTimeStamp", start);
    let stats = context.store.stats();
    counters(&mut info, stats);
    rates(&mut info, stats);
    put_times(&mut info, stats);
    days(&mut info, "msgPutTotal", stats.put_days());
    days(&mut info, "msgGetTotal", stats.get_days());
    log(&mut info, context);
    disks(&mut info, context);
    deliveries(&mut info, context);
    queues(&mut info, context);
    info.0
}

fn counters(info: &mut RuntimeInfo, stats: &StoreStats) {
    let puts = stats.put_totals();
    // Who divides by it gets a number.
    let messages = puts.messages.max(1);
    info.put("bootTimestamp", stats.boot_timestamp_ms());
    info.put("runtime", in_words(stats.uptime()));
    info.put("putMessageEntireTimeMax", puts.entire_time_max_ms);
    info.put("putMessageTimesTotal", messages);
    info.put("putMessageFailedTimes", puts.failed);
    info.put("putMessageSizeTotal", puts.bytes);
    info.put_double("putMessageAverageSize", puts.bytes as f64 / messages as f64);
    info.put("getMessageEntireTimeMax", stats.get_totals().entire_time_max_ms);
    // Records are dispatched out of the log, here as in 4.9: none waits in a buffer.
    info.put("dispatchMaxBuffer", 0);
}

/// A rate of which there are too few samples yet is left empty, but for the total one, which everybody must be able to
/// read as a number.
fn rates(info: &mut RuntimeInfo, stats: &StoreStats) {
    let of_puts = WINDOWS_SECONDS.map(|seconds| stats.put_tps(seconds));
    let of_gets = WINDOWS_SECONDS.map(|seconds| stats.get_rates(seconds));
    let of = |pick: fn(GetRates) -> f64| of_gets.map(|rates| rates.map(pick));
    info.put("putTps", three(of_puts));
    info.put("getFoundTps", three(of(|rates| rates.found)));
    info.put("getMissTps", three(of(|rates| rates.missed)));
    let total = of(|rates| rates.found + rates.missed).map(|rate| rate.or(Some(0.0)));
    info.put("getTotalTps", three(total));
    info.put("getTransferedTps", three(of(|rates| rates.transferred)));
}

fn three(rates: [Option<f64>; 3]) -> String {
    rates.map(|rate| rate.map(|rate| format!("{rate:?}")).unwrap_or_default()).join(" ")
}

fn put_times(info: &mut RuntimeInfo, stats: &StoreStats) {
    let counts = stats.put_time_counts();
    let classes = PUT_TIME_NAMES.iter().zip(counts);
    let text: String = classes.map(|(name, count)| format!("{name}:{count} ")).collect();
    info.put("putMessageDistributeTime", text);
    for (key, share) in [("putLatency99", 0.99), ("putLatency999", 0.999)] {
        info.put(key, format_args!("{:.2}", stats.put_latency_ms(share)));
    }
}

fn days(info: &mut RuntimeInfo, prefix: &str, totals: DayTotals) {
    info.put(&format!("{prefix}YesterdayMorning"), totals.yesterday_morning);
    info.put(&format!("{prefix}TodayMorning"), totals.today_morning);
    info.put(&format!("{prefix}TodayNow"), totals.now);
}

fn log(info: &mut RuntimeInfo, context: &BrokerContext) {
    let store = &context.store;
    let log = store.commit_log();
    info.put("commitLogMinOffset", log.min_offset());
    info.put("commitLogMaxOffset", log.max_offset());
    info.put("dispatchBehindBytes", store.dispatch_behind_bytes());
    info.put("pageCacheLockTimeMills", log.lock_time_ms());
    match store.earliest_stored_ms() {
        Some(stored_ms) => info.put("earliestMessageTimeStamp", stored_ms),
        None => info.put("earliestMessageTimeStamp", -1),
    }
    info.put("remainTransientStoreBufferNumbs", log.remain_transient_store_buffer_numbs());
    if let Some(bytes) = log.remain_how_many_data_to_commit() {
        info.put("remainHowManyDataToCommit", human_readable(bytes));
    }
    // Both may move meanwhile.
    let unsynced = log.max_offset().saturating_sub(log.flushed_offset());
    info.put("remainHowManyDataToFlush", human_readable(unsynced));
}

fn disks(info: &mut RuntimeInfo, context: &BrokerContext) {
    let (disk, config) = (&*context.env.disk, context.store.config());
    let ratio = |dir: &Path| used_percent(disk, dir).map_or(-1.0, |it| it as f64 / 100.0);
    let (log, root) = (config.commit_log_dir(), &config.store_path_root_dir);
    info.put_double("commitLogDiskRatio", ratio(&log));
    info.put_double(&format!("commitLogDiskRatio_{}", log.display()), ratio(&log));
    info.put_double("consumeQueueDiskRatio", ratio(&root.join("consumequeue")));
    if let Ok(space) = disk.space(root) {
        let [total, free] = [space.total_bytes, space.free_bytes].map(human_readable);
        info.put("commitLogDirCapacity", format_args!("Total : {total}, Free : {free}."));
    }
}

fn deliveries(info: &mut RuntimeInfo, context: &BrokerContext) {
    for (level, offset) in context.delay_offsets.wrapper().offset_table {
        let end = max_offset(&context.store, SCHEDULE_TOPIC, level - 1);
        info.put(&format!("scheduleMessageOffset_{level}"), format_args!("{offset},{end}"));
    }
}

/// Pulls and queries are begun as soon as they are read, so that none waits.
fn queues(info: &mut RuntimeInfo, context: &BrokerContext) {
    let queues = &context.work_queues;
    let head_wait_ms = |queue: &WorkQueue| queue.head_wait().as_millis();
    info.put("sendThreadPoolQueueSize", queues.sends.size());
    info.put("sendThreadPoolQueueCapacity", queues.sends.capacity());
    info.put("sendThreadPoolQueueHeadWaitTimeMills", head_wait_ms(&queues.sends));
    for kind in ["pull", "query"] {
        let capacity = format!("{kind}ThreadPoolQueueCapacity");
        info.put(&capacity, context.config.echoed(&capacity).unwrap_or_default());
        info.put(&format!("{kind}ThreadPoolQueueSize"), 0);
        info.put(&format!("{kind}ThreadPoolQueueHeadWaitTimeMills"), 0);
    }
    info.put("EndTransactionQueueSize", queues.end_transactions.size());
    info.put("EndTransactionThreadPoolQueueCapacity", queues.end_transactions.capacity());
}

fn in_words(uptime: Duration) -> String {
    let seconds = uptime.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    let (hours, minutes, seconds) = (hours % 24, minutes % 60, seconds % 60);
    format!("[ {days} days, {hours} hours, {minutes} minutes, {seconds} seconds ]")
}

/// Bytes as RocketMQ 4.9 shows them (`MixAll.humanReadableByteCount`): `17 B`, `1.5 KiB`.
fn human_readable(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    let power = bytes.ilog2() / 10;
    let count = bytes as f64 / (1_u64 << (10 * power)) as f64;
    format!("{count:.1} {}", UNITS[power as usize - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_read_as_in_java() {
        let day = Duration::from_secs(86_400 + 2 * 3_600 + 3 * 60 + 4);
        assert_eq!(in_words(day), "[ 1 days, 2 hours, 3 minutes, 4 seconds ]");
        let shown = [0, 1_023, 1_536, 270_582_939_648].map(human_readable);
        assert_eq!(shown, ["0 B", "1023 B", "1.5 KiB", "252.0 GiB"]);
    }

    #[test]
    fn what_is_not_known_yet_is_empty() {
        assert_eq!(three([Some(3.0), None, None]), "3.0  ");
        assert_eq!(three([None; 3]), "  ");
    }
}
