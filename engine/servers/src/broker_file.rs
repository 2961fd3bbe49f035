//! What `mqbroker` is told: its configuration file, its command line, and what the machine says of itself.

use std::path::{Path, PathBuf};

use mq_broker::config::{BrokerConfig, ConfigFinding, ConfigFindingKind, LocalDefaults, Severity};
use mq_env::Env;
use mq_protocol::properties_file::{NOT_FROM_FILE, PropertiesFile};
use mq_store::config::StoreConfig;
use mq_tls::TlsSettings;

use crate::Failure;

/// Physical memory where the machine does not say.
const TOTAL_MEMORY_BYTES_UNKNOWN: u64 = 16 << 30;

/// Everything that `mqbroker` is told.
pub struct BrokerFile {
    /// How the file is called, for sentences.
    pub name: String,
    /// What it says.
    pub file: PropertiesFile,
    /// What of that the broker obeys.
    pub config: BrokerConfig,
    /// And its store.
    pub store_config: StoreConfig,
    /// And the encryption of its connections.
    pub tls: TlsSettings,
    /// What is to be said of the file.
    pub findings: Vec<ConfigFinding>,
}

impl BrokerFile {
    /// Reads `path`; without one all keys have their defaults. `namesrv_addr` overrules what it says.
    ///
    /// # Errors
    /// When it cannot be read at all, or asks for an encryption that cannot be.
    pub fn read(
        env: &Env,
        path: Option<&Path>,
        namesrv_addr: Option<&str>,
    ) -> Result<Self, Failure> {
        let input = |sentence: String| Failure::new(Failure::INPUT, sentence);
        let (name, content) = match path {
            None => ("the command line".to_owned(), Vec::new()),
            Some(path) => {
                let name = path.display().to_string();
                let content = env.disk.read(path);
                let unread = |error| input(format!("{name} cannot be read: {error}"));
                (name.clone(), content.map_err(unread)?)
            }
        };
        let parsed = PropertiesFile::parse(&content);
        let mut file = parsed.map_err(|error| input(format!("{name}: {error}")))?;
        if let Some(addresses) = namesrv_addr {
            file.set("namesrvAddr", addresses);
        }
        set_home(&mut file);
        let tls = TlsSettings::take(&mut file, &name, &*env.disk);
        let tls = tls.map_err(|error| not_started(&error.to_string()))?;
        let (mut config, store_config, findings) = BrokerConfig::parse(&file, &local_defaults(env));
        config.broker_config_path = path.map(Path::to_path_buf);
        config.values_besides = tls.values_in_force();
        config.values_besides.push(("useTLS", tls.client_enable.to_string()));
        Ok(BrokerFile { name, file, config, store_config, tls, findings })
    }

    /// Says every finding in the log but for the first that refuses a start.
    ///
    /// # Errors
    /// That one.
    pub fn say_findings(&self) -> Result<(), Failure> {
        let (fatal, others): (Vec<_>, Vec<_>) = self.findings.iter().partition(|it| refuses(it));
        for finding in others.into_iter().chain(fatal.iter().skip(1).copied()) {
            let said = self.described(finding);
            match finding.severity {
                Severity::Error => tracing::error!("{said}"),
                Severity::Warning => tracing::warn!("{said}"),
                Severity::Note => tracing::info!("{said}"),
            }
        }
        match fatal.first() {
            Some(first) => Err(not_started(&self.described(first))),
            None => Ok(()),
        }
    }

    /// A finding in words, with its place.
    #[must_use]
    pub fn described(&self, finding: &ConfigFinding) -> String {
        let ConfigFinding { line, text, allowed, suggestion, .. } = finding;
        let line = if *line == NOT_FROM_FILE { String::new() } else { format!(":{line}") };
        let allowed = allowed.as_ref().map(|it| format!("; allowed: {it}")).unwrap_or_default();
        let suggestion = suggestion.as_ref().map(|it| format!("; {it}?")).unwrap_or_default();
        format!("{}{line}: {text}{allowed}{suggestion}", self.name)
    }
}

/// Whether a broker does not start with such a finding.
#[must_use]
pub fn refuses(finding: &ConfigFinding) -> bool {
    finding.severity == Severity::Error || finding.kind == ConfigFindingKind::NotProtected
}

/// A broker that does not start for what it is told.
#[must_use]
pub fn not_started(why: &str) -> Failure {
    Failure::new(Failure::INPUT, format!("{why}; the broker does not start"))
}

/// As for 4.9 the environment says where `conf` is, unless the file does.
#[expect(clippy::disallowed_methods, reason = "the program's own environment")]
fn set_home(file: &mut PropertiesFile) {
    if let (None, Ok(home)) = (file.get("rocketmqHome"), std::env::var("ROCKETMQ_HOME")) {
        file.set("rocketmqHome", &home);
    }
}

/// What the machine says of itself.
#[expect(clippy::disallowed_methods, reason = "storePathRootDir is below the home directory")]
fn local_defaults(env: &Env) -> LocalDefaults {
    let read = |path: &str| {
        let content = env.disk.read(Path::new(path)).unwrap_or_default();
        String::from_utf8_lossy(&content).into_owned()
    };
    let host_name = read("/proc/sys/kernel/hostname").trim().to_owned();
    LocalDefaults {
        host_name: if host_name.is_empty() { "DEFAULT_BROKER".to_owned() } else { host_name },
        home_dir: std::env::home_dir().unwrap_or_else(|| PathBuf::from("/")),
        total_memory_bytes: total_memory_bytes(&read("/proc/meminfo"))
            .unwrap_or(TOTAL_MEMORY_BYTES_UNKNOWN),
    }
}

/// The line `MemTotal:       16384000 kB`.
fn total_memory_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_the_line_that_names_it() {
        let meminfo = "MemTotal:       16384000 kB\nMemFree:         1 kB\n";
        assert_eq!(total_memory_bytes(meminfo), Some(16_384_000 << 10));
        assert_eq!(total_memory_bytes("MemFree: 1 kB"), None);
    }
}
