//! What `mqnamesrv` is told: its configuration file and its command line.

use std::path::Path;

use mq_broker::config::nearest;
use mq_env::Env;
use mq_namesrv::NamesrvConfig;
use mq_namesrv::config::NamesrvConfigError;
use mq_protocol::properties_file::{PropertiesFile, PropertyEntry};
use mq_tls::TlsSettings;

use crate::Failure;

/// How another port is chosen.
pub const PORT_REMEDY: &str = "listenPort in the configuration file, or -p PORT";

/// Everything that `mqnamesrv` is told.
pub struct NamesrvFile {
    /// What it obeys.
    pub config: NamesrvConfig,
    /// And the encryption of its connections.
    pub tls: TlsSettings,
    /// Mistakes that refuse the start, in sentences.
    pub mistakes: Vec<String>,
    /// What has no effect, in sentences.
    pub warnings: Vec<String>,
}

impl NamesrvFile {
    /// Reads `path`, else what operators changed before. `port` overrules what it says.
    ///
    /// # Errors
    /// When it cannot be read at all, or asks for an encryption that cannot be.
    pub fn read(env: &Env, path: Option<&Path>, port: Option<u16>) -> Result<Self, Failure> {
        let mut config = at_home();
        let mut file = PropertiesFile::default();
        let mut name = "the command line".to_owned();
        // What operators changed counts again, although nobody names the file; 4.9 forgets it.
        let kept = env.disk.stat(&config.config_store_path).is_ok();
        let path =
            path.map(Path::to_path_buf).or_else(|| kept.then(|| config.config_store_path.clone()));
        if let Some(path) = &path {
            name = path.display().to_string();
            file = properties(env, path, &name)?;
        }
        let tls = TlsSettings::take(&mut file, &name, &*env.disk);
        let tls = tls.map_err(|error| Failure::new(Failure::INPUT, error.to_string()))?;
        let (mistakes, warnings) = apply(&mut config, file, &name);
        config.config_store_path = path.unwrap_or(config.config_store_path);
        config.listen_port = port.unwrap_or(config.listen_port);
        Ok(NamesrvFile { config, tls, mistakes, warnings })
    }

    /// Says in the log what is to be said but for the first mistake.
    ///
    /// # Errors
    /// That one.
    pub fn say_findings(&self) -> Result<(), Failure> {
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
        for mistake in self.mistakes.iter().skip(1) {
            tracing::error!("{mistake}");
        }
        match self.mistakes.first() {
            Some(first) => Err(Failure::new(Failure::INPUT, first)),
            None => Ok(()),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "files are below the home directory")]
fn at_home() -> NamesrvConfig {
    let mut config = NamesrvConfig::default();
    if let Some(home) = std::env::home_dir() {
        config.kv_config_path = home.join(config.kv_config_path);
        config.config_store_path = home.join(config.config_store_path);
    }
    config
}

fn properties(env: &Env, path: &Path, name: &str) -> Result<PropertiesFile, Failure> {
    let content = env.disk.read(path).map_err(|error| {
        let text = format!(
            "the configuration file {name} cannot be read ({error}): -c takes the path of a file"
        );
        Failure::new(Failure::INPUT, text)
    })?;
    PropertiesFile::parse(&content).map_err(|error| {
        Failure::new(Failure::INPUT, format!("configuration file {name}, {error}"))
    })
}

/// Takes over what the file called `name` says besides TLS; mistakes, and what has no effect.
fn apply(
    config: &mut NamesrvConfig,
    mut file: PropertiesFile,
    name: &str,
) -> (Vec<String>, Vec<String>) {
    let (mut mistakes, mut warnings) = (Vec::new(), Vec::new());
    let unknown = loop {
        match config.apply(&file) {
            Ok(unknown) => break unknown,
            Err(error) => {
                let NamesrvConfigError::Value { line, .. } = &error;
                file.take(|entry| entry.line == *line);
                mistakes.push(format!("configuration file {name}, {error}"));
            }
        }
    };
    for entry in unknown {
        match promises_protection(&entry.key) {
            true => mistakes.push(unprotected(name, &entry)),
            false => warnings.push(without_effect(name, &entry)),
        }
    }
    (mistakes, warnings)
}

fn unprotected(name: &str, PropertyEntry { line, key, .. }: &PropertyEntry) -> String {
    format!(
        "configuration file {name}, line {line}: {key} asks for a protection that this name server does not have, and \
         everything would be open; take the key out to serve all the same"
    )
}

fn without_effect(name: &str, PropertyEntry { line, key, .. }: &PropertyEntry) -> String {
    let known = NamesrvConfig::default().to_properties();
    let keys = known.lines().filter_map(|line| line.split_once('=')).map(|(key, _)| key);
    let meant = nearest(key, keys).map(|meant| format!("; {meant}?")).unwrap_or_default();
    format!("configuration file {name}, line {line}: {key} has no effect here{meant}")
}

/// Whether an operator who sets `key` believes that peers are kept out or cannot listen.
fn promises_protection(key: &str) -> bool {
    let key = key.to_lowercase();
    ["tls", "acl", "auth"].iter().any(|word| key.starts_with(word)) || key.ends_with("tls")
}
