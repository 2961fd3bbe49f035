//! `store`: a store directory of RocketMQ 4.9 or of ours, examined without changing it.

mod render;

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use mq_broker::config::{BrokerConfig, ConfigFinding, LocalDefaults, Severity};
use mq_env::Env;
use mq_env::disk::Disk;
use mq_protocol::properties_file::{PropertiesFile, PropertyEntry};
use mq_store::config::StoreConfig;
use mq_store::doctor::{DoctorError, StoreDir};

use crate::cli::output;
use crate::cli::{Exit, StoreArgs, StoreCommand, StoreDumpArgs, StoreRecoverArgs, StoreVerifyArgs};

/// The keys that say where a store is.
const ROOT_KEY: &str = "storePathRootDir";
const LOG_KEY: &str = "storePathCommitLog";
const ENTRIES_KEY: &str = "storePathDLedgerCommitLog";

/// Serves `store`.
pub(crate) fn store(args: &StoreArgs) -> Exit {
    let outcome = match &args.command {
        StoreCommand::Dump(args) => dump(args),
        StoreCommand::Verify(args) => verify(args),
        StoreCommand::Recover(args) => recover(args),
    };
    outcome.unwrap_or_else(|complaint| {
        output::complaint(&complaint.text);
        complaint.exit
    })
}

/// What is said on stderr, and to the shell.
struct Complaint {
    text: String,
    exit: Exit,
}

impl Complaint {
    fn bad_input(text: impl std::fmt::Display, help: &str) -> Self {
        let help = if help.is_empty() { String::new() } else { format!("  help: {help}\n") };
        Complaint { text: format!("error: {text}\n{help}"), exit: Exit::BadInput }
    }
}

impl From<DoctorError> for Complaint {
    fn from(error: DoctorError) -> Self {
        let help = match &error {
            DoctorError::NotAStore(_) => "give the directory that storePathRootDir names",
            DoctorError::CopyExists(_) => "give a directory that does not exist yet, or is empty",
            DoctorError::Locked(_) => "stop the broker, or examine a snapshot of the directory",
            DoctorError::Overlap(..) => "give a directory outside the store",
            DoctorError::Start(_) | DoctorError::Refused(_) => {
                "`staticfire store verify` shows all of it; --salvage passes damage over"
            }
            DoctorError::SeveralLogs(_) => "move away all but the one that dLegerSelfId names",
            DoctorError::NoLog(_) | DoctorError::Io { .. } => "",
        };
        let is_start = matches!(error, DoctorError::Start(_) | DoctorError::Refused(_));
        let exit = if is_start { Exit::Broken } else { Exit::BadInput };
        Complaint { exit, ..Complaint::bad_input(error, help) }
    }
}

fn dump(args: &StoreDumpArgs) -> Result<Exit, Complaint> {
    with_env(|env| {
        let dir = open(&env.disk, &args.dir, args.conf.as_deref())?;
        let log = absolute(dir.commit_log_dir())?;
        let bar = progress_bar(dir.log_bytes()?, "dump");
        let mut progress = |bytes| bar.inc(bytes);
        let Some(out) = &args.out else {
            // A reader that has seen enough closes the pipe.
            let mut out = BufWriter::new(io::stdout().lock());
            return match dir.list(&mut out, &mut progress) {
                Err(DoctorError::Io { source, .. }) if is_closed(&source) => Ok(Exit::Kept),
                listed => Ok(listed.map(|()| Exit::Kept)?),
            };
        };
        for dir in [absolute(&args.dir)?, log] {
            refuse_overlap(&dir, &absolute(out)?)?;
        }
        let refused = |error| DoctorError::Io { path: out.clone(), source: error };
        env.disk.create_dir_all(out).map_err(refused)?;
        let mut files = |name: &str| -> Result<Box<dyn Write>, DoctorError> {
            let path = out.join(name);
            let file = output::create(&path).map_err(io::Error::other);
            Ok(Box::new(file.map_err(|source| DoctorError::Io { path, source })?))
        };
        dir.dump(&mut files, &mut progress)?;
        bar.finish_and_clear();
        Ok(Exit::Kept)
    })
}

fn verify(args: &StoreVerifyArgs) -> Result<Exit, Complaint> {
    with_env(|env| {
        let dir = open(&env.disk, &args.dir, args.conf.as_deref())?;
        let bar = progress_bar(dir.log_bytes()?, "verify");
        let verdict = dir.verify(&mut |bytes| bar.inc(bytes))?;
        bar.finish_and_clear();
        let text = if args.json {
            render::json(&verdict)
        } else {
            render::verdict(&examined(&args.dir, &dir), &verdict)
        };
        output::result(&text);
        Ok(if verdict.is_sound() { Exit::Kept } else { Exit::Broken })
    })
}

fn recover(args: &StoreRecoverArgs) -> Result<Exit, Complaint> {
    with_env(|env| {
        let (from, to) = (absolute(&args.dir)?, absolute(&args.out)?);
        let dir = open(&env.disk, &from, args.conf.as_deref())?;
        let all = dir.bytes()?;
        let bar = progress_bar(all, "copy");
        let runtime = tokio::runtime::Handle::current();
        let mut progress = |bytes| {
            bar.inc(bytes);
            if bar.position() >= all {
                bar.set_prefix("start");
            }
        };
        let recovered = dir.recover(env.clone(), &to, args.salvage, &mut progress);
        let recovered = runtime.block_on(recovered)?;
        bar.finish_and_clear();
        let text = if args.json {
            render::json(&recovered)
        } else {
            render::recovered(&args.out, &recovered)
        };
        output::result(&text);
        Ok(if recovered.is_any_dropped() { Exit::Broken } else { Exit::Kept })
    })
}

/// Runs `body` with the operating system's environment.
fn with_env(body: impl FnOnce(&Env) -> Result<Exit, Complaint>) -> Result<Exit, Complaint> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| Complaint::bad_input(error, ""))?;
    let _entered = runtime.enter();
    body(&Env { probe: mq_env::probe::Probe::silent(), ..Env::os() })
}

fn open(disk: &Arc<dyn Disk>, dir: &Path, conf: Option<&Path>) -> Result<StoreDir, Complaint> {
    let Some(conf) = conf else { return Ok(StoreDir::open(Arc::clone(disk), dir, None)?) };
    let (file, mut config) = read_config(&**disk, conf)?;
    let is_elsewhere = |key: &str| match key {
        LOG_KEY => config.store_path_commit_log.is_some(),
        _ => config.dledger.as_ref().is_some_and(|dledger| dledger.store_path.is_some()),
    };
    let named = [ENTRIES_KEY, LOG_KEY].into_iter().filter(|key| is_elsewhere(key));
    let named: Vec<_> = named.filter_map(|key| file.get(key)).collect();
    if let Some(log) = &config.store_path_commit_log {
        let log = relocated(&file, &config, dir, log)?;
        config.store_path_commit_log = Some(log).filter(|log| *log != dir.join("commitlog"));
    }
    let entries = config.dledger.as_ref().and_then(|dledger| dledger.store_path.clone());
    let entries = entries.map(|entries| relocated(&file, &config, dir, &entries)).transpose()?;
    if let Some(dledger) = &mut config.dledger {
        dledger.store_path = entries;
    }
    match StoreDir::open(Arc::clone(disk), dir, Some(&config)) {
        Err(DoctorError::NoLog(missing)) => {
            let is_it = |entry: &&PropertyEntry| missing.ends_with(entry.value.trim());
            let entry = named.iter().copied().find(is_it).or(named.first().copied());
            let error = DoctorError::NoLog(missing);
            let Some(PropertyEntry { line, key, value, .. }) = entry else {
                return Err(error.into());
            };
            let text = format!("{}: line {line}: {key} = {value}: {error}", conf.display());
            Err(Complaint::bad_input(text, "name the directory that holds the CommitLog's files"))
        }
        opened => Ok(opened?),
    }
}

/// Where a log is that the broker has in `path`. One that it has in its root is looked for in `dir`, which may be a copy of
/// the root.
fn relocated(
    file: &PropertiesFile,
    config: &StoreConfig,
    dir: &Path,
    path: &Path,
) -> Result<PathBuf, Complaint> {
    let path = absolute(path)?;
    let mut inside = path.strip_prefix(absolute(dir)?);
    if file.get(ROOT_KEY).is_some() {
        inside = inside.or(path.strip_prefix(absolute(&config.store_path_root_dir)?));
    }
    Ok(inside.map_or(path.clone(), |inside| dir.join(inside)))
}

/// The store, and its log if that is elsewhere.
fn examined(dir: &Path, store: &StoreDir) -> String {
    let log = store.commit_log_dir();
    let is_inside = log == dir.join("commitlog");
    let log = if is_inside { String::new() } else { format!(", log {}", log.display()) };
    format!("{}{log}", dir.display())
}

/// What a broker's `.properties` say of its store.
fn read_config(disk: &dyn Disk, path: &Path) -> Result<(PropertiesFile, StoreConfig), Complaint> {
    let refuse = |why: String| Complaint::bad_input(format!("{}: {why}", path.display()), "");
    let text = disk.read(path).map_err(|error| refuse(error.to_string()))?;
    let file = PropertiesFile::parse(&text).map_err(|error| refuse(error.to_string()))?;
    let local = LocalDefaults {
        host_name: "broker".to_owned(),
        home_dir: PathBuf::from("/"),
        total_memory_bytes: 16 << 30,
    };
    let (_, config, findings) = BrokerConfig::parse(&file, &local);
    let is_error = |it: &ConfigFinding| it.severity == Severity::Error;
    match findings.into_iter().find(is_error) {
        Some(finding) => Err(refuse(format!("line {}: {}", finding.line, finding.text))),
        None => Ok((file, config)),
    }
}

/// The path from the root on, so that two can be compared.
fn absolute(path: &Path) -> Result<PathBuf, Complaint> {
    let absolute = std::path::absolute(path);
    absolute.map_err(|error| Complaint::bad_input(format!("{}: {error}", path.display()), ""))
}

/// A dump into the store would change it.
fn refuse_overlap(store: &Path, out: &Path) -> Result<(), DoctorError> {
    if out.starts_with(store) {
        return Err(DoctorError::Overlap(store.to_path_buf(), out.to_path_buf()));
    }
    Ok(())
}

fn is_closed(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// Shows itself on a terminal only.
fn progress_bar(bytes: u64, what: &str) -> ProgressBar {
    let template = "{prefix} {wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left";
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(bytes).with_style(style).with_prefix(what.to_owned())
}
