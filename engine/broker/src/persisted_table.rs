//! [`PersistedTable`]: a table that is replaced as a whole and whose every version is on disk before
//! anybody sees it, with the exception that its owner asks for (topics, subscription groups).
//!
//! Changes that wait for the disk share one write: whoever writes takes along all that were made by
//! then. So many changes at once cost few writes of the whole file, and each is answered once the
//! version that has it is durable. A large table is not written again at once: changes made one by one
//! cost no more of the disk than [`BYTES_PER_SECOND`].

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use mq_env::disk::Disk;
use mq_store::metadata_file::replace_metadata;
use tokio::time::Instant;

use crate::lock;

/// How much of a table is written a second, however many changes there are. A file that is written in
/// less than a millisecond at this rate is not waited for.
const BYTES_PER_SECOND: u64 = 8 << 20;

/// A table and its file. Readers take a snapshot.
pub(crate) struct PersistedTable<T> {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    encode: fn(&T) -> Bytes,
    staged: Mutex<Staged<T>>,
    /// Held by whoever writes: when the next write may begin.
    writing: tokio::sync::Mutex<Option<Instant>>,
    published: RwLock<Arc<Version<T>>>,
}

/// A version that is on disk, and its content once somebody asked for it.
struct Version<T> {
    table: T,
    content: OnceLock<Bytes>,
}

/// The published version with every change since.
struct Staged<T> {
    table: T,
    /// What the changes that nobody writes yet will come to.
    open: Option<Arc<Batch>>,
    /// What the newest change will come to, or has.
    newest: Option<Arc<Batch>>,
}

/// What became of changes that shared a write.
type Batch = OnceLock<Result<(), WriteError>>;

/// An [`io::Error`] for everybody who shared the write.
#[derive(Clone)]
struct WriteError {
    kind: io::ErrorKind,
    text: String,
}

impl<T> Version<T> {
    fn new(table: T) -> Arc<Self> {
        Arc::new(Version { table, content: OnceLock::new() })
    }
}

impl<T: Clone> PersistedTable<T> {
    /// A table that begins with `table` and writes to `path` what `encode` makes of it.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        path: PathBuf,
        encode: fn(&T) -> Bytes,
        table: T,
    ) -> Self {
        PersistedTable {
            disk,
            path,
            encode,
            staged: Mutex::new(Staged { table: table.clone(), open: None, newest: None }),
            writing: tokio::sync::Mutex::new(None),
            published: RwLock::new(Version::new(table)),
        }
    }

    /// Looks at the present version.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.published.read().unwrap_or_else(PoisonError::into_inner).table)
    }

    /// The present version as it is on disk. Encoded at most once.
    pub(crate) fn content(&self) -> Bytes {
        let version = self.published();
        version.content.get_or_init(|| (self.encode)(&version.table)).clone()
    }

    /// Lets `change` change the newest version at once; when it says that it did, the result is
    /// written to disk, maybe together with other changes, and becomes the present version. Returns
    /// whether it did. Who changes nothing waits for the changes that it saw.
    ///
    /// # Errors
    /// The change's own error, then it must have changed nothing; or what the disk says: the present
    /// version is then as it was, for everybody who shared the write.
    pub(crate) async fn update<E: From<io::Error>>(
        &self,
        change: impl FnOnce(&mut T) -> Result<bool, E>,
    ) -> Result<bool, E> {
        let (is_changed, batch) = {
            let mut staged = lock(&self.staged);
            let is_changed = change(&mut staged.table)?;
            (is_changed, staged.batch_of(is_changed))
        };
        if let Some(batch) = batch {
            self.settled(&batch).await?;
        }
        Ok(is_changed)
    }

    /// As [`PersistedTable::update`], in memory only: the next version that is written has the
    /// change. For what a restart may lose.
    pub(crate) async fn update_unwritten(&self, change: impl Fn(&mut T) -> bool) {
        // What is being written does not have the change, and is published as a whole.
        let _writing = self.writing.lock().await;
        let mut staged = lock(&self.staged);
        // Somebody else's change may have it already, and wait to be written: nobody sees that yet.
        change(&mut staged.table);
        let mut published = self.published.write().unwrap_or_else(PoisonError::into_inner);
        let version = Arc::make_mut(&mut published);
        if change(&mut version.table) {
            version.content = OnceLock::new();
        }
    }

    /// Resolves when the changes of `batch` are on disk, or not to be.
    async fn settled(&self, batch: &Batch) -> io::Result<()> {
        let mut not_before = self.writing.lock().await;
        if batch.get().is_none() {
            if let Some(not_before) = *not_before {
                tokio::time::sleep_until(not_before).await;
            }
            *not_before = self.write(batch).await;
        }
        match batch.get() {
            None | Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(io::Error::new(error.kind, error.text.clone())),
        }
    }

    /// Writes every change that was made by now. That is those of `batch`, of which an earlier writer
    /// may have been cancelled, and those of the open one. Returns when the next write may begin.
    async fn write(&self, batch: &Batch) -> Option<Instant> {
        let (table, open) = {
            let mut staged = lock(&self.staged);
            (staged.table.clone(), staged.open.take())
        };
        let version = Version::new(table);
        let content = version.content.get_or_init(|| (self.encode)(&version.table));
        let pause_ms = content.len() as u64 * 1_000 / BYTES_PER_SECOND;
        let not_before = (pause_ms > 0).then(|| Instant::now() + Duration::from_millis(pause_ms));
        let published = self.published();
        let before = published.content.get().map(|content| &**content);
        let written = replace_metadata(&*self.disk, &self.path, before, content).await;
        let outcome = match written {
            Ok(()) => {
                *self.published.write().unwrap_or_else(PoisonError::into_inner) = version;
                Ok(())
            }
            Err(error) => {
                let error = WriteError { kind: error.kind(), text: error.to_string() };
                self.take_back(&error);
                Err(error)
            }
        };
        for settled in [Some(batch), open.as_deref()].into_iter().flatten() {
            let _ = settled.set(outcome.clone());
        }
        not_before
    }

    /// Forgets every change that is not on disk: those made during a failed write stand on its own.
    fn take_back(&self, error: &WriteError) {
        let mut staged = lock(&self.staged);
        staged.table = self.published().table.clone();
        if let Some(open) = staged.open.take() {
            let _ = open.set(Err(error.clone()));
        }
    }

    fn published(&self) -> Arc<Version<T>> {
        Arc::clone(&self.published.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T: Clone> Clone for Version<T> {
    fn clone(&self) -> Self {
        Version { table: self.table.clone(), content: self.content.clone() }
    }
}

impl<T> Staged<T> {
    /// What a change, or somebody who looked, has to wait for.
    fn batch_of(&mut self, is_changed: bool) -> Option<Arc<Batch>> {
        if is_changed {
            let open = self.open.get_or_insert_with(Arc::default);
            self.newest = Some(Arc::clone(open));
        }
        self.newest.clone().filter(|newest| newest.get().is_none())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use futures::FutureExt as _;
    use futures::future::join_all;
    use mq_env::disk::DiskLayer;
    use mq_env::{BoxFuture, Env};

    use super::*;

    /// Counts the files that are written, and fails on demand.
    pub(crate) struct Counting {
        below: Arc<dyn Disk>,
        syncs: AtomicUsize,
        fails: AtomicBool,
    }

    impl Counting {
        pub(crate) fn new() -> Arc<Self> {
            Arc::new(Counting {
                below: Env::os().disk,
                syncs: AtomicUsize::new(0),
                fails: AtomicBool::new(false),
            })
        }

        /// From now on nothing can be written, or everything can.
        pub(crate) fn fail(&self, fails: bool) {
            self.fails.store(fails, Ordering::Relaxed);
        }

        /// Files that were written until now.
        pub(crate) fn files_written(&self) -> usize {
            self.syncs.load(Ordering::Relaxed)
        }
    }

    impl DiskLayer for Counting {
        fn below(&self) -> &dyn Disk {
            &*self.below
        }

        fn sync<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<()>> {
            Box::pin(async move {
                // Others get their turn, as during a real sync.
                tokio::task::yield_now().await;
                if path.extension().is_some_and(|extension| extension == "tmp") {
                    self.syncs.fetch_add(1, Ordering::Relaxed);
                }
                if self.fails.load(Ordering::Relaxed) {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                self.below.sync(path).await
            })
        }
    }

    type Names = BTreeSet<usize>;

    struct Fixture {
        disk: Arc<Counting>,
        table: PersistedTable<Names>,
        path: PathBuf,
        _dir: tempfile::TempDir,
    }

    fn encode(names: &Names) -> Bytes {
        format!("{names:?}").replace('{', "[").replace('}', "]").into()
    }

    fn fixture() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let disk = Counting::new();
        let path = dir.path().join("table.json");
        let table = PersistedTable::new(disk.clone(), path.clone(), encode, Names::new());
        Fixture { disk, table, path, _dir: dir }
    }

    impl Fixture {
        async fn insert(&self, name: usize) -> io::Result<bool> {
            let insert = |names: &mut Names| Ok::<_, io::Error>(names.insert(name));
            let inserted = self.table.update(insert).await;
            if inserted.is_ok() {
                // Who is answered finds the change on disk and in the present version.
                let file = String::from_utf8(self.disk.below.read(&self.path).unwrap()).unwrap();
                assert!(file[1..file.len() - 1].split(", ").any(|it| it == name.to_string()));
                assert!(self.table.read(|names| names.contains(&name)));
            }
            inserted
        }
    }

    #[tokio::test]
    async fn changes_that_wait_share_a_write() {
        for count in [100, 10_000] {
            let fixture = fixture();
            let inserted = join_all((0..count).map(|name| fixture.insert(name))).await;
            assert!(inserted.into_iter().all(|it| it.unwrap()));
            assert!(fixture.disk.files_written() <= 3);
            assert_eq!(fixture.table.content(), encode(&(0..count).collect()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_table_is_not_written_for_each_of_many_changes() {
        let fixture = fixture();
        let inserted =
            join_all((0..100_000).map(|name| {
                fixture.table.update(move |names| Ok::<_, io::Error>(names.insert(name)))
            }))
            .await;
        assert!(inserted.into_iter().all(|it| it.unwrap()));
        let (begin, before) = (Instant::now(), fixture.disk.files_written());
        for name in 100_000..100_010 {
            fixture.insert(name).await.unwrap();
        }
        assert_eq!(fixture.disk.files_written() - before, 10);
        let written_bytes = 10 * fixture.table.content().len() as u64;
        let paused = begin.elapsed() + Duration::from_millis(100);
        assert!(paused.as_millis() as u64 >= written_bytes * 1_000 / BYTES_PER_SECOND);
    }

    #[tokio::test]
    async fn who_changes_nothing_waits_for_what_it_saw() {
        let fixture = fixture();
        let inserted = join_all([fixture.insert(7), fixture.insert(7)]).await;
        assert_eq!(inserted.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [true, false]);
        assert!(!fixture.insert(7).await.unwrap());
        assert_eq!(fixture.disk.files_written(), 1);
    }

    #[tokio::test]
    async fn a_failed_write_takes_back_every_change_that_shared_it() {
        let fixture = fixture();
        fixture.insert(1).await.unwrap();
        fixture.disk.fail(true);
        let inserted = join_all([2, 3, 2].map(|name| fixture.insert(name))).await;
        for result in inserted {
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::StorageFull);
        }
        assert_eq!(fixture.table.read(Names::clone), Names::from([1]));
        fixture.table.update_unwritten(|names| names.insert(4)).await;
        assert_eq!(fixture.table.content(), encode(&Names::from([1, 4])));

        fixture.disk.fail(false);
        fixture.insert(3).await.unwrap();
        assert_eq!(fixture.table.read(Names::clone), Names::from([1, 3, 4]));
        assert_eq!(fixture.disk.below.read(&fixture.path).unwrap(), b"[1, 3, 4]");
    }

    /// The same change twice on a full disk, the second under way while the first gives up writing it.
    #[tokio::test]
    async fn what_lives_in_memory_is_seen_although_somebody_else_is_writing_it() {
        let Fixture { disk, table, _dir, .. } = fixture();
        disk.fail(true);
        let writing = table.writing.lock().await;
        let mut second = Box::pin(table.update(|names| Ok::<_, io::Error>(names.insert(1))));
        assert!(second.as_mut().now_or_never().is_none(), "it is staged, and waits");
        drop(writing);
        // A writer before it: the lock is handed over in order.
        let first = table.update_unwritten(|names| names.insert(1));
        let (second, ()) = tokio::join!(second, first);
        assert!(second.is_err());
        assert!(table.read(|names| names.contains(&1)));
        let mut third = Box::pin(table.update(|names| Ok::<_, io::Error>(names.insert(2))));
        assert!(third.as_mut().now_or_never().is_none());
        drop(third);
        table.update_unwritten(|names| names.insert(2)).await;
        assert!(table.read(|names| names.contains(&2)), "staged by somebody who went away");
    }

    #[tokio::test]
    async fn a_writer_that_is_cancelled_leaves_its_changes_to_the_next() {
        let fixture = fixture();
        assert!(fixture.insert(1).now_or_never().is_none());
        fixture.insert(2).await.unwrap();
        assert_eq!(fixture.table.read(Names::clone), Names::from([1, 2]));
    }
}
