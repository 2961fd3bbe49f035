//! `--check`: whether a program would start, found without starting it. Nothing is made or changed.

use std::fmt::Write as _;
use std::path::Path;

use mq_broker::config::Severity;
use mq_env::Env;
use mq_env::net::{Listener, any_addr};
use mq_store::used_percent;
use rustix::fs::{Access, access};

use crate::broker_file::{BrokerFile, refuses};
use crate::namesrv_file::{NamesrvFile, PORT_REMEDY};
use crate::{Failure, refusals};

/// What was found, in the order in which it was.
#[derive(Default)]
pub struct Report {
    lines: Vec<(Severity, String)>,
    /// Exit code of the first mistake in what the program is told, else of what the machine does not give.
    code: u8,
}

impl Report {
    /// A mistake in what the program is told.
    pub fn input(&mut self, sentence: String) {
        self.code = Failure::INPUT;
        self.lines.push((Severity::Error, sentence));
    }

    /// What the machine does not give.
    pub fn machine(&mut self, sentence: String) {
        if self.code == 0 {
            self.code = Failure::MACHINE;
        }
        self.lines.push((Severity::Error, sentence));
    }

    /// Either of them.
    pub fn failure(&mut self, failure: Failure) {
        match failure.code {
            Failure::INPUT => self.input(failure.sentence),
            _ => self.machine(failure.sentence),
        }
    }

    /// What does not keep the program from starting.
    pub fn remark(&mut self, severity: Severity, sentence: String) {
        self.lines.push((severity, sentence));
    }

    /// Everything, a line each.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (severity, sentence) in &self.lines {
            // A String takes whatever is written.
            let _ = writeln!(text, "{severity}: {sentence}");
        }
        text
    }

    /// How a check of `name` ends.
    ///
    /// # Errors
    /// Where something keeps the program from starting.
    pub fn outcome(&self, name: &str) -> Result<(), Failure> {
        let count =
            |it: Severity| self.lines.iter().filter(|(severity, _)| *severity == it).count();
        match count(Severity::Error) {
            0 => Ok(()),
            errors => {
                let sentence = format!("{name} is not fit to start: {errors} error(s), see above");
                Err(Failure::new(self.code, sentence))
            }
        }
    }
}

/// Checks what a broker is told, its directories and its ports.
pub async fn check_broker(env: &Env, told: &BrokerFile) -> Report {
    let mut report = Report::default();
    for finding in &told.findings {
        match refuses(finding) {
            true => report.input(told.described(finding)),
            false => report.remark(finding.severity, told.described(finding)),
        }
    }
    let (config, store) = (&told.config, &told.store_config);
    if let Err(error) = mq_tls::encrypted(env, told.tls.clone()) {
        report.input(error.to_string());
    }
    for refused in mq_broker::preflight(env, config, store) {
        report.failure(refusals::of_broker(&refused, &store.store_path_root_dir));
    }
    let log_dir = store.commit_log_dir();
    writable(env, &mut report, &store.store_path_root_dir, "storePathRootDir");
    if !log_dir.starts_with(&store.store_path_root_dir) {
        writable(env, &mut report, &log_dir, "storePathCommitLog");
    }
    space(env, &mut report, told);
    let mut listeners = Vec::new();
    for used in mq_broker::ports(config, store).unwrap_or_default() {
        let remedy = "the key in brackets sets it";
        free_port(env, &mut report, &mut listeners, (used.port, used.purpose, remedy)).await;
    }
    report
}

/// Checks what a name server is told, where its files are to be, and its ports.
pub async fn check_namesrv(env: &Env, told: &NamesrvFile) -> Report {
    let mut report = Report::default();
    told.mistakes.iter().for_each(|mistake| report.input(mistake.clone()));
    told.warnings.iter().for_each(|it| report.remark(Severity::Warning, it.clone()));
    let config = &told.config;
    if let Err(error) = mq_tls::encrypted(env, told.tls.clone()) {
        report.input(error.to_string());
    }
    for (path, key) in
        [(&config.kv_config_path, "kvConfigPath"), (&config.config_store_path, "configStorePath")]
    {
        writable(env, &mut report, path.parent().unwrap_or(Path::new(".")), key);
    }
    let mut listeners = Vec::new();
    let clients = (config.listen_port, "clients", PORT_REMEDY);
    free_port(env, &mut report, &mut listeners, clients).await;
    if config.metrics_listen_port != 0 {
        let metrics = (config.metrics_listen_port, "metrics", "metricsListenPort");
        free_port(env, &mut report, &mut listeners, metrics).await;
    }
    report
}

/// Whether files can be made in `dir`, which `key` names, or it in what is there of the way to it.
pub fn writable(env: &Env, report: &mut Report, dir: &Path, key: &str) {
    let there = dir.ancestors().find(|dir| env.disk.stat(dir).is_ok());
    // A relative path begins in the working directory.
    let there = there.unwrap_or(Path::new("."));
    let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
    let refused = match env.disk.stat(there) {
        Ok(stat) if !stat.is_dir => Some(std::io::ErrorKind::NotADirectory.into()),
        _ => access(there, Access::WRITE_OK | Access::EXEC_OK).err().map(std::io::Error::from),
    };
    if let Some(error) = refused {
        let (shown, advice) = (there.display(), refusals::advice(&error, key));
        let wanted = if there == dir {
            String::new()
        } else {
            format!(", where {} is to be", dir.display())
        };
        report.machine(format!("{key}: {shown} cannot be written{wanted}: {error}{advice}"));
    }
}

/// Whether the file systems have room for a broker that takes messages.
fn space(env: &Env, report: &mut Report, told: &BrokerFile) {
    let store = &told.store_config;
    let dir = store.commit_log_dir();
    let there = dir.ancestors().find(|dir| env.disk.stat(dir).is_ok());
    let Some(there) = there.filter(|it| !it.as_os_str().is_empty()) else { return };
    let Ok(space) = env.disk.space(there) else { return };
    let wanted = store.mapped_file_size_commit_log as u64;
    let has_files = env.disk.list(&dir).is_ok_and(|files| !files.is_empty());
    if !has_files && space.free_bytes < wanted {
        report.machine(format!(
            "the file system of {} has {} bytes left; the first file of the CommitLog takes {wanted} \
             (mappedFileSizeCommitLog): free space there, or set another storePathRootDir",
            dir.display(),
            space.free_bytes
        ));
    }
    let level = store.disk_space_warning_level_ratio;
    if let Some(percent) = used_percent(&*env.disk, there).filter(|percent| *percent > level) {
        report.remark(
            Severity::Warning,
            format!(
                "the file system of {} is used to {percent} %: above {level} % (diskSpaceWarningLevelRatio) a broker \
                 takes no messages",
                dir.display()
            ),
        );
    }
}

/// Whether a port can be listened on, beside those that `listeners` have already.
pub async fn free_port(
    env: &Env,
    report: &mut Report,
    listeners: &mut Vec<(u16, Box<dyn Listener>)>,
    (port, purpose, remedy): (u16, &str, &str),
) {
    if listeners.iter().any(|(taken, _)| *taken == port) {
        report.input(format!(
            "port {port} is to serve two purposes, one of them {purpose}: {remedy}"
        ));
        return;
    }
    match env.net.bind(any_addr(port)).await {
        Ok(listener) => listeners.push((port, listener)),
        Err(error) => report.failure(refusals::of_port(port, purpose, remedy, &error)),
    }
}
