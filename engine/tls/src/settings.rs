//! [`TlsSettings`]: what operators say of TLS.
//!
//! RocketMQ 4.9 takes it from system properties of Java, and from the lines of a file that overrule them
//! (`tls.config.file`, `/etc/rocketmq/tls.properties` without it). There are no such properties here: the same names are keys
//! of the broker's or name server's own file, and the other file overrules them as well. `tls.server.mode` may stand in
//! either.
//!
//! What asks for a protection that would not be there is refused: 4.9 passes over a key that it does not know, a certificate
//! in test mode, and a client's certificate that nothing is held against.

use std::io;
use std::path::{Path, PathBuf};

use mq_env::disk::Disk;
use mq_protocol::properties_file::{NOT_FROM_FILE, PropertiesFile, PropertyEntry, as_written};

use crate::error::TlsError;

/// The file of 4.9, which need not be there.
const DEFAULT_FILE: &str = "/etc/rocketmq/tls.properties";

/// Which connections a server takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// Plain ones.
    Disabled,
    /// Both kinds.
    Permissive,
    /// Encrypted ones.
    Enforcing,
}

/// Whether a server asks for the certificate of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// No.
    None,
    /// Yes, and one that it does not have is no fault.
    Optional,
    /// Yes.
    Require,
}

/// A certificate with what comes between it and its root, and its key, both in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// `….certPath`.
    pub cert_path: PathBuf,
    /// `….keyPath`.
    pub key_path: PathBuf,
}

/// What operators say of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// `tls.server.mode`.
    pub mode: TlsMode,
    /// `tls.server.certPath` and `.keyPath`; without them the server makes a certificate for itself
    /// (`tls.test.mode.enable`).
    pub server: Option<KeyPair>,
    /// `tls.server.need.client.auth`.
    pub client_auth: ClientAuth,
    /// `tls.server.trustCertPath`: roots of clients.
    pub server_trust: Option<PathBuf>,
    /// `tls.enable`, `useTLS`: connections to others are encrypted. As in 4.9 those of a server that enforces are.
    pub client_enable: bool,
    /// `tls.client.certPath` and `.keyPath`.
    pub client: Option<KeyPair>,
    /// `tls.client.trustCertPath` if `tls.client.authServer`; without it whoever answers is believed.
    pub client_trust: Option<PathBuf>,
}

impl Default for TlsSettings {
    /// What holds without a line.
    fn default() -> Self {
        TlsSettings {
            mode: TlsMode::Permissive,
            server: None,
            client_auth: ClientAuth::None,
            server_trust: None,
            client_enable: false,
            client: None,
            client_trust: None,
        }
    }
}

/// One entry, and the file in which it stands.
struct Line {
    file: String,
    entry: PropertyEntry,
}

/// What both files say, the later line first.
#[derive(Default)]
struct Lines(Vec<Line>);

impl TlsSettings {
    /// Takes what concerns TLS out of `file`, called `name`, and adds what the file that it names says.
    ///
    /// # Errors
    /// A sentence with file and line.
    pub fn take(file: &mut PropertiesFile, name: &str, disk: &dyn Disk) -> Result<Self, TlsError> {
        let own = file.take(|entry| entry.key.starts_with("tls.") || entry.key == "useTLS");
        let mut lines = Lines::default();
        lines.add(name, own);
        let (path, is_named) = match lines.get("tls.config.file") {
            Some(line) => (PathBuf::from(line.value()), true),
            None => (PathBuf::from(DEFAULT_FILE), false),
        };
        if let Some(more) = read(&path, is_named, disk)? {
            lines.add(&path.display().to_string(), more.entries().to_vec());
        }
        lines.settings()
    }

    /// Every key with the value in force, as in a file; one without a value is empty.
    #[must_use]
    pub fn values_in_force(&self) -> Vec<(&'static str, String)> {
        let shown = |path: Option<&PathBuf>| {
            path.map_or_else(String::new, |path| path.display().to_string())
        };
        let pair = |pair: &Option<KeyPair>| {
            let pair = pair.as_ref();
            (shown(pair.map(|it| &it.cert_path)), shown(pair.map(|it| &it.key_path)))
        };
        let (server, client) = (pair(&self.server), pair(&self.client));
        let mode = match self.mode {
            TlsMode::Disabled => "disabled",
            TlsMode::Permissive => "permissive",
            TlsMode::Enforcing => "enforcing",
        };
        let client_auth = match self.client_auth {
            ClientAuth::None => "none",
            ClientAuth::Optional => "optional",
            ClientAuth::Require => "require",
        };
        vec![
            ("tls.server.mode", mode.to_owned()),
            ("tls.server.certPath", server.0),
            ("tls.server.keyPath", server.1),
            ("tls.server.need.client.auth", client_auth.to_owned()),
            ("tls.server.authClient", self.server_trust.is_some().to_string()),
            ("tls.server.trustCertPath", shown(self.server_trust.as_ref())),
            ("tls.enable", self.client_enable.to_string()),
            ("tls.client.certPath", client.0),
            ("tls.client.keyPath", client.1),
            ("tls.client.authServer", self.client_trust.is_some().to_string()),
            ("tls.client.trustCertPath", shown(self.client_trust.as_ref())),
        ]
    }
}

/// The entries of the second file; `None` if there is none and nobody named it.
fn read(path: &Path, is_named: bool, disk: &dyn Disk) -> Result<Option<PropertiesFile>, TlsError> {
    let unusable = |reason: String| TlsError::File { path: path.to_path_buf(), reason };
    match disk.read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_named => Ok(None),
        Err(error) => Err(unusable(error.to_string())),
        Ok(content) => {
            PropertiesFile::parse(&content).map(Some).map_err(|it| unusable(it.to_string()))
        }
    }
}

impl Line {
    fn value(&self) -> &str {
        self.entry.value.trim()
    }

    fn refused(&self, why: &str) -> TlsError {
        let Line { file, entry } = self;
        let line =
            if entry.line == NOT_FROM_FILE { String::new() } else { format!(":{}", entry.line) };
        let text = format!("{} = {} {why}", as_written(&entry.key), as_written(self.value()));
        TlsError::Setting { place: format!("{file}{line}: "), text }
    }
}

impl Lines {
    fn add(&mut self, file: &str, entries: Vec<PropertyEntry>) {
        let lines = entries.into_iter().map(|entry| Line { file: file.to_owned(), entry });
        self.0.splice(0..0, lines);
    }

    /// The line in force; one without a value is none.
    fn get(&self, key: &str) -> Option<&Line> {
        self.0.iter().find(|line| line.entry.key == key).filter(|line| !line.value().is_empty())
    }

    fn path(&self, key: &str) -> Option<PathBuf> {
        self.get(key).map(|line| PathBuf::from(line.value()))
    }

    fn truth(&self, key: &str) -> Result<Option<bool>, TlsError> {
        let of = |line: &Line| match line.value().to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(line.refused("is neither true nor false")),
        };
        self.get(key).map(of).transpose()
    }

    fn settings(&self) -> Result<TlsSettings, TlsError> {
        self.check_names()?;
        let mode = self.mode()?;
        let is_test = self.is_test_mode()?;
        let server = self.key_pair("tls.server.certPath", "tls.server.keyPath")?;
        if server.is_none() && !is_test && mode != TlsMode::Disabled {
            let text = "tls.server.certPath and tls.server.keyPath name no certificate, and tls.test.mode.enable=false \
                        makes none: name one, or set tls.server.mode=disabled";
            return Err(TlsError::Setting { place: String::new(), text: text.to_owned() });
        }
        let client_auth = self.client_auth()?;
        let enable = self.truth("tls.enable")?.or(self.truth("useTLS")?);
        Ok(TlsSettings {
            mode,
            server,
            client_auth,
            server_trust: self.path("tls.server.trustCertPath"),
            client_enable: enable.unwrap_or(mode == TlsMode::Enforcing),
            client: self.key_pair("tls.client.certPath", "tls.client.keyPath")?,
            client_trust: self.client_trust()?,
        })
    }

    fn check_names(&self) -> Result<(), TlsError> {
        const KNOWN: [&str; 14] = [
            "useTLS",
            "tls.enable",
            "tls.config.file",
            "tls.test.mode.enable",
            "tls.server.mode",
            "tls.server.need.client.auth",
            "tls.server.certPath",
            "tls.server.keyPath",
            "tls.server.authClient",
            "tls.server.trustCertPath",
            "tls.client.certPath",
            "tls.client.keyPath",
            "tls.client.authServer",
            "tls.client.trustCertPath",
        ];
        for line in &self.0 {
            let key = line.entry.key.as_str();
            if key.ends_with(".keyPassword") && !line.value().is_empty() {
                // The value is a secret.
                let mut line = Line { file: line.file.clone(), entry: line.entry.clone() };
                line.entry.value = "…".to_owned();
                return Err(line.refused(
                    "is the password of an encrypted key, which is not read: write the key without one \
                     (openssl pkcs8 -in KEY -out PLAIN), readable for the server alone",
                ));
            }
            if !KNOWN.contains(&key) && !key.ends_with(".keyPassword") {
                return Err(line.refused("is no key of TLS"));
            }
        }
        Ok(())
    }

    fn mode(&self) -> Result<TlsMode, TlsError> {
        let Some(line) = self.get("tls.server.mode") else { return Ok(TlsMode::Permissive) };
        match line.value() {
            "disabled" => Ok(TlsMode::Disabled),
            "permissive" => Ok(TlsMode::Permissive),
            "enforcing" => Ok(TlsMode::Enforcing),
            _ => Err(line.refused("is no mode; allowed: disabled, permissive, enforcing")),
        }
    }

    /// Whether the server makes its own certificate: if nothing else is said. 4.9 does so whatever else is said.
    fn is_test_mode(&self) -> Result<bool, TlsError> {
        let others = [
            "tls.server.certPath",
            "tls.server.keyPath",
            "tls.server.trustCertPath",
            "tls.client.certPath",
            "tls.client.keyPath",
            "tls.client.trustCertPath",
        ];
        let other = others.iter().find_map(|key| self.get(key));
        match (self.truth("tls.test.mode.enable")?, other) {
            (Some(true), Some(other)) => {
                Err(other.refused("is not used in test mode; take out tls.test.mode.enable=true"))
            }
            (said, other) => Ok(said.unwrap_or(other.is_none())),
        }
    }

    fn key_pair(&self, cert: &str, key: &str) -> Result<Option<KeyPair>, TlsError> {
        match (self.path(cert), self.path(key), self.get(cert).or(self.get(key))) {
            (Some(cert_path), Some(key_path), _) => Ok(Some(KeyPair { cert_path, key_path })),
            (_, _, Some(alone)) => {
                Err(alone.refused(&format!("needs the other one of {cert} and {key}")))
            }
            (_, _, None) => Ok(None),
        }
    }

    /// Who asks for certificates holds them against something: 4.9 does so with `tls.server.authClient` alone.
    fn client_auth(&self) -> Result<ClientAuth, TlsError> {
        let asks = self.get("tls.server.need.client.auth");
        let auth = match asks.map(|line| (line, line.value())) {
            None | Some((_, "none")) => ClientAuth::None,
            Some((_, "optional")) => ClientAuth::Optional,
            Some((_, "require")) => ClientAuth::Require,
            Some((line, _)) => {
                return Err(line.refused("is no way to ask; allowed: none, optional, require"));
            }
        };
        let checks = self.truth("tls.server.authClient")?.unwrap_or(false);
        let has_trust = self.get("tls.server.trustCertPath").is_some();
        let refused = match (auth, checks, has_trust) {
            (ClientAuth::None, false, false) | (ClientAuth::Optional | ClientAuth::Require, true, true) => None,
            (ClientAuth::None, false, true) => self.get("tls.server.trustCertPath").map(|line| {
                line.refused(
                    "has no effect: set tls.server.authClient=true and tls.server.need.client.auth=require as well",
                )
            }),
            (ClientAuth::None, true, _) => self.get("tls.server.authClient").map(|line| {
                line.refused("has no effect: nobody is asked; set tls.server.need.client.auth=require as well")
            }),
            _ => asks.map(|line| {
                line.refused(
                    "takes any certificate: set tls.server.authClient=true and tls.server.trustCertPath as well",
                )
            }),
        };
        refused.map_or(Ok(auth), Err)
    }

    fn client_trust(&self) -> Result<Option<PathBuf>, TlsError> {
        let checks = self.truth("tls.client.authServer")?.unwrap_or(false);
        let asks = self.get("tls.client.authServer").filter(|_| checks);
        match (asks, self.get("tls.client.trustCertPath")) {
            (Some(line), None) => Err(line.refused(
                "needs tls.client.trustCertPath: certificates of the machine are not looked for",
            )),
            (None, Some(line)) => {
                Err(line.refused("has no effect: set tls.client.authServer=true as well"))
            }
            (_, trust) => Ok(trust.map(|line| PathBuf::from(line.value()))),
        }
    }
}

#[cfg(test)]
mod tests;
