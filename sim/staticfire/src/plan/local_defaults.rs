//! What a simulated machine says of itself to a broker's configuration.

use std::path::PathBuf;

use mq_broker::config::LocalDefaults;

/// What RocketMQ takes from a simulated machine where a broker's file says nothing: the host name is
/// the process's, the home directory `/root`, memory 16 GiB.
#[must_use]
pub fn local_defaults(process: &str) -> LocalDefaults {
    LocalDefaults {
        host_name: process.to_owned(),
        home_dir: PathBuf::from("/root"),
        total_memory_bytes: 16 << 30,
    }
}
