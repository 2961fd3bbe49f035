//! [`NamesrvConfig`], the settings of a name server.

use std::net::SocketAddr;
use std::path::PathBuf;

use mq_env::net::any_addr;
use mq_protocol::properties_file::{PropertiesError, PropertiesFile};

/// Settings of a name server, with RocketMQ's defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamesrvConfig {
    /// Port listened on, on every address (`listenPort`); 0 lets the machine choose.
    pub listen_port: u16,
    /// Where the key-value table is kept (`kvConfigPath`).
    pub kv_config_path: PathBuf,
    /// Whether routes carry the order configuration of their topic (`orderMessageEnable`).
    pub order_message_enable: bool,
}

impl Default for NamesrvConfig {
    fn default() -> Self {
        NamesrvConfig {
            listen_port: 9876,
            kv_config_path: PathBuf::from("namesrv/kvConfig.json"),
            order_message_enable: false,
        }
    }
}

/// Why a configuration file is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamesrvConfigError {
    /// The file is not in the format of Java properties.
    #[error(transparent)]
    Properties(#[from] PropertiesError),
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
    /// Takes over what the bytes of a `.properties` file say; keys it does not know are returned.
    ///
    /// # Errors
    /// See [`NamesrvConfigError`].
    pub fn apply(&mut self, properties: &[u8]) -> Result<Vec<String>, NamesrvConfigError> {
        let mut unknown = Vec::new();
        for entry in PropertiesFile::parse(properties)?.entries() {
            let value = entry.value.trim();
            let refuse = |expected| NamesrvConfigError::Value {
                line: entry.line,
                key: entry.key.clone(),
                value: entry.value.clone(),
                expected,
            };
            match entry.key.as_str() {
                "listenPort" => {
                    self.listen_port = value.parse().map_err(|_| refuse("port number"))?;
                }
                "kvConfigPath" => self.kv_config_path = PathBuf::from(value),
                "orderMessageEnable" => {
                    self.order_message_enable =
                        value.parse().map_err(|_| refuse("true or false"))?;
                }
                _ => unknown.push(entry.key.clone()),
            }
        }
        Ok(unknown)
    }

    pub(crate) fn listen_addr(&self) -> SocketAddr {
        any_addr(self.listen_port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_overrides_defaults_and_unknown_keys_are_named() {
        let mut config = NamesrvConfig::default();
        let text = b"listenPort = 19876\r\nkvConfigPath=/data/kv.json\nclusterTest: false\n";
        assert_eq!(config.apply(text).unwrap(), ["clusterTest"]);
        assert_eq!(config.listen_port, 19876);
        assert_eq!(config.kv_config_path, PathBuf::from("/data/kv.json"));
        assert!(!config.order_message_enable);
    }

    #[test]
    fn a_value_that_does_not_parse_is_an_error_with_its_line() {
        let error = NamesrvConfig::default().apply(b"# ports\nlistenPort=98765\n").unwrap_err();
        assert_eq!(error.to_string(), "line 2: listenPort = \"98765\" is no port number");
    }
}
