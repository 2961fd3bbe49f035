//! What every test here begins with: a name server in this process, an `mqbroker` in another.

use std::path::Path;

use mq_env::Env;
use mq_namesrv::{NamesrvConfig, NamesrvController};

/// The broker as it is shipped, compiled from its own `main.rs`.
pub(crate) fn mqbroker() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_mqbroker-under-test"))
}

/// The load generator, likewise.
pub(crate) fn mqload() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_mqload-under-test"))
}

/// A name server on a free port, its file in `dir`; returns its address.
pub(crate) async fn name_server(dir: &Path) -> (NamesrvController, String) {
    name_server_in(Env::os(), dir).await
}

/// The same in an environment.
pub(crate) async fn name_server_in(env: Env, dir: &Path) -> (NamesrvController, String) {
    let kv_config_path = dir.join("kvConfig.json");
    let config = NamesrvConfig { listen_port: 0, kv_config_path, ..NamesrvConfig::default() };
    let namesrv = NamesrvController::start(env, config).await.unwrap();
    let addr = format!("127.0.0.1:{}", namesrv.local_addr().port());
    (namesrv, addr)
}
