//! How fast messages go in and out: `cargo bench -p mq-store`.

use std::sync::Arc;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use mq_env::Env;
use mq_env::probe::Probe;
use mq_store::config::StoreConfig;
use mq_store::{MessageFilter, MessageInner, MessageStore, PutMessageStatus};

fn main() {
    divan::main();
}

struct Bench {
    runtime: tokio::runtime::Runtime,
    store: Arc<MessageStore>,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let store = runtime.block_on(async {
            let env = Env { probe: Probe::silent(), ..Env::os() };
            let mut config = StoreConfig::at(dir.path().join("store")).on_any_disk();
            config.mapped_file_size_commit_log = 256 << 20;
            MessageStore::open(env, Arc::new(config)).await.expect("a store")
        });
        Bench { runtime, store, _dir: dir }
    }
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

/// ASYNC_FLUSH puts from one thread, while another dispatches and syncs them.
#[divan::bench(args = [128, 1024, 16384], sample_count = 20, sample_size = 1000)]
fn put(bencher: Bencher<'_, '_>, body_len: usize) {
    let bench = Bench::new();
    let message = message(body_len);
    let _entered = bench.runtime.enter();
    bencher.counter(ItemsCount::new(1_usize)).counter(BytesCount::new(body_len)).bench_local(
        || {
            let result = futures::executor::block_on(bench.store.put_message(&message));
            assert_eq!(result.status, PutMessageStatus::PutOk);
        },
    );
}

/// Reads of 32 messages, zero-copy.
#[divan::bench]
fn get_32(bencher: Bencher<'_, '_>) {
    let bench = Bench::new();
    bench.runtime.block_on(async {
        for _ in 0..1000 {
            bench.store.put_message(&message(1024)).await;
        }
        while bench.store.dispatch_behind_bytes() > 0 {
            tokio::task::yield_now().await;
        }
    });
    bencher.counter(ItemsCount::new(32_usize)).bench_local(|| {
        let result = bench.store.get_message("BenchTopic", 0, 500, 32, &MessageFilter::All);
        assert_eq!(result.messages.len(), 32);
    });
}
