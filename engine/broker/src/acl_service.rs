//! [`AclService`]: who may ask this broker for what, over the files of accounts (RocketMQ 4.9 `PlainPermissionManager`,
//! `AclFileWatchService`).
//!
//! The files are `conf/plain_acl.yml` and what is below `conf/acl`. A start without sound ones is refused. While the broker
//! runs they are looked at twice a second; what has changed counts once it has been the same for two looks, so that no half
//! file does. Files that cannot be used change nothing, and it is said once.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mq_acl::change::{check_account, split};
use mq_acl::{AclDenied, AclFile, AclRules, FILE_BYTES_MAX};
use mq_env::Env;
use mq_env::disk::Disk;
use mq_env::disk::replaced_file::replace_file;
use mq_protocol::body::acl::GetBrokerClusterAclConfigResponseBody;
use mq_protocol::body::topic_config::DataVersion;
use mq_protocol::codes::RequestCode;
use mq_protocol::header::acl::CreateAccessConfigRequestHeader;
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{Channel, LogLimit, ProcessError, RequestGuard};

use crate::config::BrokerConfig;
use crate::error::BrokerError;
use crate::limits::log_limit;
use crate::{lock, now_ms};

/// Time between two looks at the files.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);
/// Directories below `conf/acl` are looked into so deep.
const DIR_DEPTH_MAX: usize = 8;
/// Files at most.
const FILES_MAX: usize = 256;
/// Characters of a refusal that a log line shows: who asks chose its name.
const SHOWN_CHARS_MAX: usize = 200;

/// The files by path, in the order in which they count.
type Contents = Vec<(PathBuf, Vec<u8>)>;

/// Access control.
pub(crate) struct AclService {
    env: Env,
    paths: Paths,
    cluster: String,
    loaded: Mutex<Arc<Loaded>>,
    /// One at a time reads the files to change them or to follow them.
    watched: tokio::sync::Mutex<Watched>,
    refused_log: LogLimit,
}

struct Paths {
    default_file: PathBuf,
    dir: PathBuf,
}

/// What the files say, and the rules that come of it.
struct Loaded {
    contents: Contents,
    files: Vec<(PathBuf, AclFile)>,
    versions: BTreeMap<String, DataVersion>,
    rules: AclRules,
}

#[derive(Default)]
struct Watched {
    /// What the last look found, if it is not what counts.
    candidate: Option<Contents>,
    /// What was said last of files that cannot be used.
    complaint: Option<String>,
}

impl AclService {
    /// Reads the files; `None` without `aclEnable`.
    ///
    /// # Errors
    /// When they are not there or cannot be used: the broker would be open to everybody, or closed to all.
    pub(crate) fn load(env: &Env, config: &BrokerConfig) -> Result<Option<Self>, BrokerError> {
        if !config.acl_enable {
            return Ok(None);
        }
        let refused = |why: String| {
            BrokerError::Acl(format!(
                "aclEnable=true, but {why}; without accounts the broker does not start"
            ))
        };
        let home = config.rocketmq_home.as_ref().ok_or_else(|| {
            let file = config.acl_plain_file.display();
            refused(format!(
                "nothing says below which directory {file} is: set rocketmqHome, or the environment variable \
                 ROCKETMQ_HOME"
            ))
        })?;
        let paths =
            Paths { default_file: home.join(&config.acl_plain_file), dir: home.join("conf/acl") };
        let contents = paths.read(&*env.disk).map_err(refused)?;
        let cluster = config.broker_cluster_name.clone();
        let loaded = Loaded::new(contents, &cluster, now_ms(&*env.clock)).map_err(refused)?;
        loaded.say("read");
        Ok(Some(AclService {
            env: env.clone(),
            paths,
            cluster,
            loaded: Mutex::new(Arc::new(loaded)),
            watched: tokio::sync::Mutex::default(),
            refused_log: log_limit(),
        }))
    }

    /// Follows the files.
    pub(crate) async fn watch(self: Arc<Self>) {
        loop {
            tokio::time::sleep(WATCH_INTERVAL).await;
            self.look().await;
        }
    }

    async fn look(&self) {
        let mut watched = self.watched.lock().await;
        match self.changed(&mut watched) {
            Ok(None) => watched.complaint = None,
            Ok(Some(loaded)) => {
                watched.complaint = None;
                loaded.say("read anew");
                *lock(&self.loaded) = Arc::new(loaded);
            }
            Err(complaint) => {
                if watched.complaint.as_ref() != Some(&complaint) {
                    tracing::error!("{complaint}; the accounts stay what they were");
                }
                watched.complaint = Some(complaint);
            }
        }
    }

    /// What the files say now, if it is new and has been the same for two looks.
    fn changed(&self, watched: &mut Watched) -> Result<Option<Loaded>, String> {
        let contents = self.paths.read(&*self.env.disk)?;
        let before = watched.candidate.take();
        if contents == self.loaded().contents {
            return Ok(None);
        }
        if before.as_ref() != Some(&contents) {
            watched.candidate = Some(contents);
            // As it was before this look, so that nothing is said twice.
            return watched.complaint.clone().map_or(Ok(None), Err);
        }
        let loaded = self.load_from(contents.clone(), now_ms(&*self.env.clock));
        watched.candidate = Some(contents).filter(|_| loaded.is_err());
        loaded.map(Some)
    }

    fn load_from(&self, contents: Contents, now_ms: i64) -> Result<Loaded, String> {
        Loaded::new(contents, &self.cluster, now_ms)
    }

    fn loaded(&self) -> Arc<Loaded> {
        Arc::clone(&lock(&self.loaded))
    }

    /// Changes an account, or makes one in the default file (50).
    ///
    /// # Errors
    /// A sentence.
    pub(crate) async fn update_account(
        &self,
        asked: &CreateAccessConfigRequestHeader,
    ) -> Result<(), String> {
        check_account(asked)?;
        let access_key = asked.access_key.as_deref().unwrap_or_default();
        let changed = self.change(|loaded, now_ms| {
            let index = loaded.file_of(access_key).unwrap_or(loaded.default_file());
            vec![(index, loaded.file(index).with_account(asked, now_ms))]
        });
        changed.await.map(drop)
    }

    /// Removes an account (51) from every file that has it; whether there was one.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) async fn delete_account(&self, access_key: &str) -> Result<bool, String> {
        let changed = self.change(|loaded, now_ms| {
            let without = |index: usize| {
                Some((index, loaded.file(index).without_account(access_key, now_ms)?))
            };
            // The one that counts goes last: should a write fail, no other one takes its place.
            (0..loaded.files.len()).rev().filter_map(without).collect()
        });
        changed.await
    }

    /// Replaces the addresses that need no signature in one of the files (53), the default one if none is named; whether
    /// there is such a file.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) async fn update_global_white_addrs(
        &self,
        addrs: &str,
        path: Option<&str>,
    ) -> Result<bool, String> {
        let pick = |loaded: &Loaded| match path.filter(|path| !path.is_empty()) {
            None => Some(loaded.default_file()),
            Some(path) => loaded.files.iter().position(|(there, _)| there == Path::new(path)),
        };
        let changed = self.change(|loaded, now_ms| {
            let addrs = split(addrs).filter(|it| !it.trim().is_empty());
            let with = |index| (index, loaded.file(index).with_global_white_addrs(addrs, now_ms));
            pick(loaded).map(with).into_iter().collect()
        });
        changed.await
    }

    /// Writes files anew, in the order in which `edit` names them with their texts; whether there were any. What an operator
    /// wrote by hand a moment ago is not lost by it.
    async fn change(
        &self,
        edit: impl FnOnce(&Loaded, i64) -> Vec<(usize, String)>,
    ) -> Result<bool, String> {
        let mut watched = self.watched.lock().await;
        let mut contents = self.read_at_rest().await?;
        let now_ms = now_ms(&*self.env.clock);
        let edits = edit(&self.load_from(contents.clone(), now_ms)?, now_ms);
        if edits.is_empty() {
            return Ok(false);
        }
        let indices: Vec<usize> = edits.iter().map(|(index, _)| *index).collect();
        for (index, text) in edits {
            contents[index].1 = text.into_bytes();
        }
        let changed = self.load_from(contents, now_ms)?;
        for index in indices {
            let (path, content) = &changed.contents[index];
            // Renamed over the old one: a copy of that would keep secrets that nobody looks after.
            let written = replace_file(&*self.env.disk, path, |_| false, content).await;
            written.map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
        }
        changed.say("changed");
        watched.candidate = None;
        *lock(&self.loaded) = Arc::new(changed);
        Ok(true)
    }

    /// The files as they are. Who finds them other than they were loaded may have met them half written, and looks again.
    ///
    /// # Errors
    /// What cannot be read, and files that are being written.
    async fn read_at_rest(&self) -> Result<Contents, String> {
        let contents = self.paths.read(&*self.env.disk)?;
        if contents == self.loaded().contents {
            return Ok(contents);
        }
        tokio::time::sleep(WATCH_INTERVAL).await;
        if self.paths.read(&*self.env.disk)? == contents {
            return Ok(contents);
        }
        Err("the files of accounts are being written; ask again once that is done".to_owned())
    }

    /// The version of the default file, and of each (52).
    pub(crate) fn versions(&self) -> (DataVersion, BTreeMap<String, DataVersion>) {
        let loaded = self.loaded();
        let (default_file, _) = &loaded.files[loaded.default_file()];
        let of_default = loaded.versions.get(&shown(default_file)).copied();
        (of_default.unwrap_or_default(), loaded.versions.clone())
    }

    /// Every account and every global address (54).
    pub(crate) fn config(&self) -> GetBrokerClusterAclConfigResponseBody {
        let loaded = self.loaded();
        let mut body = GetBrokerClusterAclConfigResponseBody::default();
        let mut names = std::collections::BTreeSet::new();
        for (_, file) in &loaded.files {
            body.global_white_addrs.extend(file.global_white_addrs().map(str::to_owned));
            let firsts = file.accounts().filter(|it| names.insert(it.access_key.clone()));
            body.plain_access_configs.extend(firsts.cloned());
        }
        body
    }
}

impl AclService {
    /// Whether who sent `request`, which passed already, may read a message of `topic` as well.
    ///
    /// # Errors
    /// The refusal, as it goes to the sender.
    pub(crate) fn check_read(
        &self,
        channel: &Channel,
        request: &RemotingCommand,
        topic: &str,
    ) -> Result<(), ProcessError> {
        let checked = self.loaded().rules.check_read(request, channel.peer_addr().ip(), topic);
        checked.map_err(|denied| self.refused(channel, request, &denied))
    }

    /// What 4.9 says, and a line in the log.
    fn refused(
        &self,
        channel: &Channel,
        request: &RemotingCommand,
        denied: &AclDenied,
    ) -> ProcessError {
        let denied = denied.to_string();
        if let Some(more) = self.refused_log.pass() {
            let shown: String = denied.escape_debug().take(SHOWN_CHARS_MAX).collect();
            let code = request.code;
            let name = RequestCode::name(code).unwrap_or("an unknown request");
            tracing::warn!(
                "refused {name} ({code}) of {}: {shown} ({more} more since the last line like this)",
                channel.remote_addr()
            );
        }
        ProcessError::system(format!("org.apache.rocketmq.acl.common.AclException: {denied}"))
    }
}

impl RequestGuard for AclService {
    fn admit(&self, channel: &Channel, request: &RemotingCommand) -> Result<(), ProcessError> {
        let checked = self.loaded().rules.check(request, channel.peer_addr().ip());
        checked.map_err(|denied| self.refused(channel, request, &denied))
    }
}

impl Loaded {
    /// # Errors
    /// A sentence that names file and line.
    fn new(contents: Contents, cluster: &str, now_ms: i64) -> Result<Self, String> {
        let mut files = Vec::with_capacity(contents.len());
        let mut versions = BTreeMap::new();
        for (path, content) in &contents {
            let file = AclFile::parse(content)
                .map_err(|error| format!("{} cannot be used: {error}", path.display()))?;
            let unversioned = DataVersion { counter: 0, timestamp: now_ms };
            versions.insert(shown(path), file.data_version().unwrap_or(unversioned));
            files.push((path.clone(), file));
        }
        let named: Vec<(String, &AclFile)> =
            files.iter().map(|(path, file)| (shown(path), file)).collect();
        let rules = AclRules::new(named.iter().map(|(path, file)| (path.as_str(), *file)));
        let rules = rules.of_cluster(cluster);
        Ok(Loaded { contents, files, versions, rules })
    }

    fn say(&self, what: &str) {
        for warning in self.rules.warnings() {
            tracing::warn!("{warning}");
        }
        let (accounts, files) = (self.rules.account_count(), self.files.len());
        tracing::info!("access control: {accounts} accounts in {files} files {what}");
    }

    /// Which file has the account.
    fn file_of(&self, access_key: &str) -> Option<usize> {
        self.files
            .iter()
            .position(|(_, file)| file.accounts().any(|it| it.access_key == access_key))
    }

    fn file(&self, index: usize) -> &AclFile {
        &self.files[index].1
    }

    fn default_file(&self) -> usize {
        self.files.len() - 1
    }
}

impl Paths {
    /// Every file, the default one last, as 4.9 reads them.
    ///
    /// # Errors
    /// A sentence that names what cannot be read.
    fn read(&self, disk: &dyn Disk) -> Result<Contents, String> {
        let mut paths = Vec::new();
        collect(disk, &self.dir, 0, &mut paths)?;
        paths.retain(|path| *path != self.default_file);
        paths.push(self.default_file.clone());
        let read = |path: PathBuf| {
            let content = read_bounded(disk, &path);
            let content =
                content.map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
            Ok((path, content))
        };
        paths.into_iter().map(read).collect()
    }
}

/// One byte more than a file may have tells that it has too many.
fn read_bounded(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    disk.read_at(path, 0, FILE_BYTES_MAX + 1)
}

/// Adds the `.yml` and `.yaml` files below `dir`, in the order of their names.
fn collect(
    disk: &dyn Disk,
    dir: &Path,
    depth: usize,
    paths: &mut Vec<PathBuf>,
) -> Result<(), String> {
    let entries = match disk.list(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound && depth == 0 => return Ok(()),
        Err(error) => return Err(format!("{} cannot be read: {error}", dir.display())),
    };
    for entry in entries {
        let path = dir.join(&entry.name);
        if entry.is_dir && depth < DIR_DEPTH_MAX {
            collect(disk, &path, depth + 1, paths)?;
        } else if !entry.is_dir && [".yml", ".yaml"].iter().any(|it| entry.name.ends_with(it)) {
            paths.push(path);
        }
        if paths.len() > FILES_MAX {
            return Err(format!("{} has more than {FILES_MAX} files of accounts", dir.display()));
        }
    }
    Ok(())
}

/// A path as tools get it.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
