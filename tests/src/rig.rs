//! What every test here begins with: a name server in this process, an `mqbroker` in another.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use mq_env::Env;
use mq_namesrv::{NamesrvConfig, NamesrvController};

/// A program of this package that cargo built beside the running test.
///
/// # Panics
/// When what runs is not a test that cargo built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let path = profile_dir().join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(Env::os().disk.stat(&path).is_ok(), "{} is not built", path.display());
    path
}

/// A folder below the target folder for what is fetched and built once.
///
/// # Panics
/// When it cannot be made.
#[must_use]
pub fn tmp_dir() -> PathBuf {
    let dir = profile_dir().parent().unwrap().join("tmp");
    Env::os().disk.create_dir_all(&dir).unwrap();
    dir
}

/// Where cargo puts programs: tests lie one folder below.
#[expect(clippy::disallowed_methods, reason = "where the test itself lies")]
fn profile_dir() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().to_path_buf()
}

/// The broker as it is shipped, compiled from its own `main.rs`.
#[must_use]
pub fn mqbroker() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| program("mqbroker-under-test"));
    &PROGRAM
}

/// The load generator, likewise.
#[must_use]
pub fn mqload() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| program("mqload-under-test"));
    &PROGRAM
}

/// The tool of operators, likewise.
#[must_use]
pub fn mqadmin() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| program("mqadmin-under-test"));
    &PROGRAM
}

/// A name server on a free port, its file in `dir`; returns its address.
///
/// # Panics
/// When it cannot be started.
pub async fn name_server(dir: &Path) -> (NamesrvController, String) {
    name_server_in(Env::os(), dir).await
}

/// The same in an environment.
///
/// # Panics
/// As [`name_server`].
pub async fn name_server_in(env: Env, dir: &Path) -> (NamesrvController, String) {
    let kv_config_path = dir.join("kvConfig.json");
    let config = NamesrvConfig { listen_port: 0, kv_config_path, ..NamesrvConfig::default() };
    let namesrv = NamesrvController::start(env, config).await.unwrap();
    let addr = format!("127.0.0.1:{}", namesrv.local_addr().port());
    (namesrv, addr)
}
