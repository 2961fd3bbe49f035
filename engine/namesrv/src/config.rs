//! [`NamesrvConfig`], the settings of a name server.

use std::net::SocketAddr;
use std::path::PathBuf;

use mq_env::net::any_addr;
use mq_protocol::properties_file::{PropertiesFile, PropertyEntry};
use mq_remoting::RemotingServerConfig;

use crate::limits::NamesrvLimits;

/// Settings of a name server, with RocketMQ's defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamesrvConfig {
    /// Port listened on, on every address (`listenPort`); 0 lets the machine choose.
    pub listen_port: u16,
    /// Port for figures and health over HTTP (`metricsListenPort`); 0 for none.
    pub metrics_listen_port: u16,
    /// Where the key-value table is kept (`kvConfigPath`).
    pub kv_config_path: PathBuf,
    /// Where settings that operators change are kept (`configStorePath`); the file that it was started with, if any.
    pub config_store_path: PathBuf,
    /// Whether routes carry the order configuration of their topic (`orderMessageEnable`).
    pub order_message_enable: bool,
    /// What peers may make it keep.
    pub limits: NamesrvLimits,
    /// `server…`: what their connections may hold.
    pub server: RemotingServerConfig,
}

impl Default for NamesrvConfig {
    fn default() -> Self {
        NamesrvConfig {
            listen_port: 9876,
            metrics_listen_port: 0,
            kv_config_path: PathBuf::from("namesrv/kvConfig.json"),
            config_store_path: PathBuf::from("namesrv/namesrv.properties"),
            order_message_enable: false,
            limits: NamesrvLimits::default(),
            server: RemotingServerConfig::default(),
        }
    }
}

/// Why a configuration file is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamesrvConfigError {
    /// A value does not parse.
    #[error("line {line}: {key} = {value:?} is no {expected}")]
    Value {
        /// Line of the entry.
        line: usize,
        /// Its key.
        key: String,
        /// What it says.
        value: String,
        /// What is allowed.
        expected: &'static str,
    },
}

impl NamesrvConfig {
    /// Takes over what a `.properties` file says; keys it does not know are returned.
    ///
    /// # Errors
    /// See [`NamesrvConfigError`].
    pub fn apply(
        &mut self,
        file: &PropertiesFile,
    ) -> Result<Vec<PropertyEntry>, NamesrvConfigError> {
        let mut unknown = Vec::new();
        for entry in file.entries() {
            let key = self.keys().into_iter().find(|(name, _)| *name == entry.key);
            let Some((_, field)) = key else {
                unknown.push(entry.clone());
                continue;
            };
            field.set(entry.value.trim()).map_err(|expected| NamesrvConfigError::Value {
                line: entry.line,
                key: entry.key.clone(),
                value: entry.value.clone(),
                expected,
            })?;
        }
        Ok(unknown)
    }

    /// Every key with the value in force, as lines of a `.properties` file.
    #[must_use]
    pub fn to_properties(&self) -> String {
        let mut config = self.clone();
        config.keys().iter().map(|(name, field)| format!("{name}={}\n", field.show())).collect()
    }

    fn keys(&mut self) -> [(&'static str, Field<'_>); 19] {
        let NamesrvConfig { limits, server, .. } = self;
        [
            ("listenPort", Field::U16(&mut self.listen_port)),
            ("kvConfigPath", Field::Path(&mut self.kv_config_path)),
            ("metricsListenPort", Field::U16(&mut self.metrics_listen_port)),
            ("configStorePath", Field::Path(&mut self.config_store_path)),
            ("orderMessageEnable", Field::Bool(&mut self.order_message_enable)),
            ("registerBrokerTopicsMax", Field::Usize(&mut limits.register_topics_max)),
            ("registerBrokerBodyBytesMax", Field::Usize(&mut limits.register_body_bytes_max)),
            ("registeredBrokersMax", Field::Usize(&mut limits.brokers_max)),
            ("registeredTopicsMax", Field::Usize(&mut limits.topics_max)),
            ("kvConfigBytesMax", Field::Usize(&mut limits.kv_bytes_max)),
            ("serverChannelMaxIdleTimeSeconds", Field::U64(&mut server.channel_max_idle_seconds)),
            ("serverConnectionsMax", Field::Usize(&mut server.connections_max)),
            (
                "serverChannelOutHighWaterBytes",
                Field::Usize(&mut server.channel_out_high_water_bytes),
            ),
            ("serverChannelOutBytesMax", Field::Usize(&mut server.channel_out_bytes_max)),
            ("serverOutBytesMax", Field::Usize(&mut server.out_bytes_max)),
            ("serverPartialFrameBytesMax", Field::Usize(&mut server.partial_frame_bytes_max)),
            ("serverBudgetPatienceMillis", Field::U64(&mut server.budget_patience_ms)),
            (
                "serverChannelRequestsInWorkMax",
                Field::Usize(&mut server.channel_requests_in_work_max),
            ),
            ("serverChannelInWorkBytesMax", Field::Usize(&mut server.channel_in_work_bytes_max)),
        ]
    }

    pub(crate) fn listen_addr(&self) -> SocketAddr {
        any_addr(self.listen_port)
    }
}

/// The field that a key sets.
enum Field<'a> {
    Bool(&'a mut bool),
    U16(&'a mut u16),
    U64(&'a mut u64),
    Usize(&'a mut usize),
    Path(&'a mut PathBuf),
}

impl Field<'_> {
    /// Takes `value`, or says what is allowed.
    fn set(self, value: &str) -> Result<(), &'static str> {
        match self {
            Field::Bool(field) => *field = value.parse().map_err(|_| "true or false")?,
            Field::U16(field) => *field = value.parse().map_err(|_| "port number")?,
            Field::U64(field) => *field = value.parse().map_err(|_| "number from 0 up")?,
            Field::Usize(field) => *field = value.parse().map_err(|_| "number from 0 up")?,
            Field::Path(field) => *field = PathBuf::from(value),
        }
        Ok(())
    }

    fn show(&self) -> String {
        match self {
            Field::Bool(field) => field.to_string(),
            Field::U16(field) => field.to_string(),
            Field::U64(field) => field.to_string(),
            Field::Usize(field) => field.to_string(),
            Field::Path(field) => field.display().to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> PropertiesFile {
        PropertiesFile::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_file_overrides_defaults_and_unknown_keys_are_named() {
        let mut config = NamesrvConfig::default();
        let text = "listenPort = 19876\r\nkvConfigPath=/data/kv.json\nclusterTest: false\n";
        let unknown = config.apply(&file(text)).unwrap();
        let unknown: Vec<_> = unknown.iter().map(|entry| (entry.line, &*entry.key)).collect();
        assert_eq!(unknown, [(3, "clusterTest")]);
        assert_eq!(config.listen_port, 19876);
        assert_eq!(config.kv_config_path, PathBuf::from("/data/kv.json"));
        assert!(!config.order_message_enable);
    }

    #[test]
    fn a_value_that_does_not_parse_is_an_error_with_its_line() {
        let error =
            NamesrvConfig::default().apply(&file("# ports\nlistenPort=98765\n")).unwrap_err();
        assert_eq!(error.to_string(), "line 2: listenPort = \"98765\" is no port number");
    }

    #[test]
    fn what_is_printed_is_read_again() {
        let mut config = NamesrvConfig::default();
        config.apply(&file("kvConfigBytesMax=7\nserverConnectionsMax=3\nlistenPort=1")).unwrap();
        assert_eq!((config.limits.kv_bytes_max, config.server.connections_max), (7, 3));
        let mut again = NamesrvConfig::default();
        assert_eq!(again.apply(&file(&config.to_properties())).unwrap(), []);
        assert_eq!(again, config);
    }
}
