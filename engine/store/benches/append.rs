//! How fast messages go in and out, beside what bounds it: `cargo bench -p mq-store --bench append`.

use std::sync::Arc;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use mq_env::Env;
use mq_env::disk::MappedRegion;
use mq_env::probe::Probe;
use mq_protocol::message_codec::decode_record;
use mq_store::config::{FlushDiskType, StoreConfig};
use mq_store::{MessageFilter, MessageInner, MessageStore, PutMessageStatus};

fn main() {
    divan::main();
}

/// Size of a CommitLog file, and of the mapping that stands for one.
const FILE_BYTES: usize = 256 << 20;
/// Messages that one producer sends in a round, each when the last one is answered.
const SENT_BY_EACH: usize = 32;

struct Bench {
    runtime: tokio::runtime::Runtime,
    store: Arc<MessageStore>,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new(flush_disk_type: FlushDiskType) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let store = runtime.block_on(async {
            let mut config = StoreConfig::at(dir.path().join("store")).on_any_disk();
            config.mapped_file_size_commit_log = FILE_BYTES;
            config.flush_disk_type = flush_disk_type;
            MessageStore::open(env(), Arc::new(config)).await.expect("a store")
        });
        Bench { runtime, store, dir }
    }

    /// What a message becomes in the log.
    fn record(&self, body_len: usize) -> Vec<u8> {
        let _entered = self.runtime.enter();
        let put = futures::executor::block_on(self.store.put_message(&message(body_len)));
        let appended = put.append.expect("a message that is stored");
        let record = self.store.look_message_by_offset(appended.phy_offset).expect("just stored");
        record.to_vec()
    }

    /// A mapping like a CommitLog file's, in the same directory.
    fn mapping(&self) -> MappedRegion {
        let _entered = self.runtime.enter();
        env().disk.map(&self.dir.path().join("bare"), FILE_BYTES).expect("a mapping")
    }
}

fn env() -> Env {
    Env { probe: Probe::silent(), ..Env::os() }
}

fn message(body_len: usize) -> MessageInner {
    MessageInner {
        topic: "BenchTopic".to_owned(),
        queue_id: 0,
        flag: 0,
        sys_flag: 0,
        body: vec![b'x'; body_len].into(),
        properties: "UNIQ_KEY\u{1}7F000001111E124E0E2F2A68A1A8B800\u{2}WAIT\u{1}true".to_owned(),
        born_timestamp_ms: 1,
        born_host: ([127, 0, 0, 1], 1000).into(),
        store_host: ([127, 0, 0, 1], 10911).into(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        wait_store_ok: true,
    }
}

/// The limit of `put`: the bytes of the record are copied to where the last ones ended.
#[divan::bench(args = [128, 1024], sample_count = 100, sample_size = 1000)]
fn bare_copy(bencher: Bencher<'_, '_>, body_len: usize) {
    let bench = Bench::new(FlushDiskType::AsyncFlush);
    let (record, mapping) = (bench.record(body_len), bench.mapping());
    let mut at = 0;
    bencher.counter(ItemsCount::new(1_usize)).counter(BytesCount::new(body_len)).bench_local(
        || {
            if at + record.len() > FILE_BYTES {
                at = 0;
            }
            mapping.write(at, black_box(&record));
            at += record.len();
        },
    );
}

/// ASYNC_FLUSH puts from one thread, while another dispatches and syncs them.
#[divan::bench(args = [128, 1024], sample_count = 100, sample_size = 1000)]
fn put(bencher: Bencher<'_, '_>, body_len: usize) {
    let bench = Bench::new(FlushDiskType::AsyncFlush);
    let message = message(body_len);
    let _entered = bench.runtime.enter();
    bencher.counter(ItemsCount::new(1_usize)).counter(BytesCount::new(body_len)).bench_local(
        || {
            let result = futures::executor::block_on(bench.store.put_message(&message));
            assert_eq!(result.status, PutMessageStatus::PutOk);
        },
    );
}

/// The limit of `group_commit` with one producer: a record is copied and synced, and then the next one.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn bare_msync(bencher: Bencher<'_, '_>) {
    let bench = Bench::new(FlushDiskType::AsyncFlush);
    let (record, mapping) = (bench.record(1024), bench.mapping());
    let (disk, mut at) = (bench.runtime.block_on(async { env().disk }), 0);
    bencher.counter(ItemsCount::new(SENT_BY_EACH)).bench_local(|| {
        bench.runtime.block_on(async {
            for _ in 0..SENT_BY_EACH {
                mapping.write(at, &record);
                disk.flush(&mapping, at..at + record.len()).await.expect("a sync");
                at += record.len();
            }
        });
    });
}

/// SYNC_FLUSH puts of 1 KiB by that many producers, each of which waits for its answers.
#[divan::bench(args = [1, 16, 128], sample_count = 20, sample_size = 1)]
fn group_commit(bencher: Bencher<'_, '_>, producers: usize) {
    let bench = Bench::new(FlushDiskType::SyncFlush);
    let message = message(1024);
    let produce = async || {
        for _ in 0..SENT_BY_EACH {
            let result = bench.store.put_message(&message).await;
            assert_eq!(result.status, PutMessageStatus::PutOk);
        }
    };
    bencher.counter(ItemsCount::new(producers * SENT_BY_EACH)).bench_local(|| {
        bench.runtime.block_on(futures::future::join_all((0..producers).map(|_| produce())));
    });
}

/// A store with messages of 1 KiB in one queue, all of them visible.
fn filled() -> Bench {
    let bench = Bench::new(FlushDiskType::AsyncFlush);
    bench.runtime.block_on(async {
        for _ in 0..1000 {
            bench.store.put_message(&message(1024)).await;
        }
        while bench.store.dispatch_behind_bytes() > 0 {
            tokio::task::yield_now().await;
        }
    });
    bench
}

/// Reads of 32 messages, zero-copy.
#[divan::bench]
fn get_32(bencher: Bencher<'_, '_>) {
    let bench = filled();
    bencher.counter(ItemsCount::new(32_usize)).bench_local(|| {
        let result = bench.store.get_message("BenchTopic", 0, 500, 32, &MessageFilter::All);
        assert_eq!(result.messages.len(), 32);
    });
}

/// The limit of `get_32`: the same messages where their places are known.
#[divan::bench]
fn bare_select_32(bencher: Bencher<'_, '_>) {
    let bench = filled();
    let found = bench.store.get_message("BenchTopic", 0, 500, 32, &MessageFilter::All);
    let place = |record: &[u8]| {
        let record = decode_record(record).expect("a record");
        (record.phy_offset() as u64, record.size())
    };
    let places: Vec<_> = found.messages.iter().map(|record| place(record)).collect();
    bencher.counter(ItemsCount::new(32_usize)).bench_local(|| {
        let log = bench.store.commit_log();
        let select = |(phy_offset, size): &(u64, usize)| log.message(*phy_offset, *size);
        let messages: Vec<_> = places.iter().filter_map(select).collect();
        assert_eq!(messages.len(), 32);
    });
}
