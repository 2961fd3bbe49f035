//! [`BrokerProcess`]: a broker (or name server) as a child process, and [`BrokerSettings`], a broker's
//! configuration file.
#![expect(clippy::disallowed_methods, reason = "the program itself, and ports of this machine")]

use std::fs::OpenOptions;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use mq_store::config::FlushDiskType;

/// Lines of the broker's log that a failing test shows.
const LOG_LINES_SHOWN: usize = 40;

/// The configuration of a broker.
#[derive(Clone, Debug)]
pub struct BrokerSettings {
    /// Where the configuration and what the broker says lie.
    pub dir: PathBuf,
    /// `storePathRootDir`.
    pub store_dir: PathBuf,
    /// The name server.
    pub namesrv_addr: String,
    /// The main port; the two below and the next one are taken, too.
    pub listen_port: u16,
    /// `flushDiskType`.
    pub flush_disk_type: FlushDiskType,
    /// More lines for the file, `key=value` each.
    pub more: Vec<String>,
}

/// The line that has a broker take messages however full the disk is.
const ANY_DISK: &str = "diskSpaceWarningLevelRatio=100";

impl BrokerSettings {
    /// The same broker on a disk of its own, which may be too full for it and is looked at every second.
    #[must_use]
    pub fn on_own_disk(mut self) -> Self {
        self.more.retain(|line| line != ANY_DISK);
        self.more.push("cleanResourceInterval=1000".to_owned());
        self
    }

    /// A master with small files in `dir`, on free ports.
    #[must_use]
    pub fn small(dir: &Path, namesrv_addr: &str, flush_disk_type: FlushDiskType) -> Self {
        let sizes = ["mappedFileSizeCommitLog=65536", "mappedFileSizeConsumeQueue=2000"];
        let index = ["maxHashSlotNum=100", "maxIndexNum=400"];
        // How full the disk is of the machine that runs the tests is nobody's business.
        let disk = [ANY_DISK, "cleanFileForciblyEnable=false"];
        BrokerSettings {
            dir: dir.to_path_buf(),
            store_dir: dir.join("store"),
            namesrv_addr: namesrv_addr.to_owned(),
            listen_port: free_port(),
            flush_disk_type,
            more: sizes.iter().chain(&index).chain(&disk).map(|&line| line.to_owned()).collect(),
        }
    }

    /// The text of the configuration file.
    #[must_use]
    pub fn properties(&self) -> String {
        let BrokerSettings { namesrv_addr, listen_port, more, .. } = self;
        format!(
            "brokerClusterName=DefaultCluster\nbrokerName=broker-a\nbrokerId=0\n\
             brokerIP1=127.0.0.1\nbrokerIP2=127.0.0.1\nnamesrvAddr={namesrv_addr}\n\
             listenPort={listen_port}\nbrokerRole=ASYNC_MASTER\nflushDiskType={}\n\
             storePathRootDir={}\nstorePathCommitLog={}\n{}\n",
            self.flush_disk_type.name(),
            self.store_dir.display(),
            self.store_dir.join("commitlog").display(),
            more.join("\n")
        )
    }

    /// Writes the configuration file; returns its path.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn write(&self) -> PathBuf {
        let path = self.dir.join("broker.properties");
        let mut file = OpenOptions::new();
        let mut file = file.write(true).create(true).truncate(true).open(&path).unwrap();
        file.write_all(self.properties().as_bytes()).unwrap();
        path
    }
}

/// A running process. Dropping it kills it.
pub struct BrokerProcess {
    child: Child,
    log: PathBuf,
}

impl BrokerProcess {
    /// Starts `program` (an `mqbroker`) with the settings written to a file. What it says goes to
    /// `broker.log`.
    ///
    /// # Panics
    /// When there is no such program.
    #[must_use]
    pub fn start(program: &Path, settings: &BrokerSettings) -> Self {
        let mut command = Command::new(program);
        command.arg("-c").arg(settings.write());
        BrokerProcess::run(command, settings.dir.join("broker.log"))
    }

    /// Runs `command`. What it says goes to `log`.
    ///
    /// # Panics
    /// When there is no such program.
    #[must_use]
    pub fn run(mut command: Command, log: PathBuf) -> Self {
        let sink = OpenOptions::new().create(true).append(true).open(&log).unwrap();
        command.stdin(Stdio::null()).stdout(sink.try_clone().unwrap()).stderr(sink);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        BrokerProcess { child, log }
    }

    /// The number of the process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How the process ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Its anonymous resident memory: without what it has mapped of files.
    ///
    /// # Panics
    /// When the machine does not tell it.
    #[must_use]
    pub fn anonymous_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// `kill -9`; the process is gone when this returns.
    ///
    /// # Panics
    /// When it had ended by itself.
    pub fn kill(mut self) {
        self.kill_in_place();
    }

    /// As [`BrokerProcess::kill`], for who keeps the process in a field.
    ///
    /// # Panics
    /// When it had ended by itself.
    pub fn kill_in_place(&mut self) {
        assert_eq!(self.ended(), None, "the broker ended by itself");
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// An orderly stop, by SIGTERM.
    ///
    /// # Panics
    /// When the broker does not end with success.
    pub fn stop(self) {
        let status = self.terminate();
        assert!(status.success(), "the broker ended with {status}");
    }

    /// SIGTERM; returns how the process ended.
    ///
    /// # Panics
    /// When it cannot be told.
    pub fn terminate(mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        self.child.wait().unwrap()
    }
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        // Both fail when the process has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            show_end_of(&self.log);
        }
    }
}

#[expect(clippy::disallowed_methods, clippy::print_stderr, reason = "for who reads the failure")]
fn show_end_of(log: &Path) {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let shown = lines.len().saturating_sub(LOG_LINES_SHOWN);
    eprintln!("the end of {}:\n{}", log.display(), lines[shown..].join("\n"));
}

/// A port with which a broker can start. It lies below those that connections are given, so that
/// it is still free when a killed broker starts again.
#[must_use]
pub fn free_port() -> u16 {
    use rand::Rng as _;
    let mut ports = mq_env::rng::Rng::from_os().stream("ports");
    loop {
        let port = ports.random_range(15_000..32_000);
        let is_free = |port: u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
        if [port - 2, port, port + 1].into_iter().all(is_free) {
            return port;
        }
    }
}
