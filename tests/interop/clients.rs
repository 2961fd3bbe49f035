//! [`Client`]: clients of RocketMQ in other languages, fetched where somebody asks for it: `STATICFIRE_PEERS=fetch`.
//! Versions are pinned beside each program (`go/go.mod`, `node/package-lock.json`, `python/requirements.txt`).
#![expect(clippy::disallowed_methods, reason = "other programs, and what is said to the test")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use mq_env::Env;
use mq_tests::rig::tmp_dir;
use mq_tests::rocketmq::runs;

/// The programs, each in its folder here.
const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/interop");

/// Programs that have to be there, and how each says that it is.
type Tools = &'static [(&'static str, &'static str)];

/// Fetches or builds a client.
type Fetch = fn() -> Result<(), String>;

/// A client, by the name of its package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// `github.com/apache/rocketmq-client-go/v2` v2.1.2.
    Go,
    /// npm `ali-ons` 3.12.0.
    AliOns,
    /// npm `rocketmq` 2.0.1.
    NpmRocketmq,
    /// PyPI `rocketmq` 0.4.4, a client in C++.
    PypiRocketmq,
}

impl Client {
    /// Has the client ready; says why it cannot be had where it cannot.
    ///
    /// # Panics
    /// When its tools are there, and fetching or building fails: a run that was to show something must not pass
    /// without.
    pub(crate) fn get(self) -> Result<(), String> {
        if !std::env::var("STATICFIRE_PEERS").is_ok_and(|it| it == "fetch") {
            return Err("not asked for; STATICFIRE_PEERS=fetch fetches it".to_owned());
        }
        static GO: OnceLock<()> = OnceLock::new();
        static NODE: OnceLock<()> = OnceLock::new();
        static PYTHON: OnceLock<()> = OnceLock::new();
        let (tools, fetched, fetch): (Tools, _, Fetch) = match self {
            Client::Go => (&[("go", "version")], &GO, build_go),
            Client::AliOns | Client::NpmRocketmq => {
                (&[("node", "--version"), ("npm", "--version")], &NODE, fetch_node)
            }
            Client::PypiRocketmq => (&[("python3", "--version")], &PYTHON, fetch_python),
        };
        for (tool, version) in tools {
            runs(Command::new(tool).arg(version))?;
        }
        fetched.get_or_init(|| fetch().unwrap());
        Ok(())
    }

    /// The program, without arguments; `home` is for files of the library's own.
    pub(crate) fn command(self, home: &Path) -> Command {
        let mut command = match self {
            Client::Go => Command::new(go_program()),
            Client::AliOns | Client::NpmRocketmq => {
                let mut command = Command::new("node");
                command.arg(format!("{PROGRAMS}/node/main.js"));
                command.env("NODE_PATH", dir("node").join("node_modules"));
                let is_old = self == Client::NpmRocketmq;
                command.arg(format!("package={}", if is_old { "rocketmq" } else { "ali-ons" }));
                command
            }
            Client::PypiRocketmq => {
                let mut command = Command::new(python());
                command.arg(format!("{PROGRAMS}/python/main.py"));
                command.env("PYTHONPATH", dir("python")).env("PYTHONDONTWRITEBYTECODE", "1");
                command
            }
        };
        command.env("HOME", home).current_dir(home);
        command
    }
}

/// Where what is fetched for a language lies.
fn dir(language: &str) -> PathBuf {
    tmp_dir().join("interop").join(language)
}

fn go_program() -> PathBuf {
    dir("go").join("peer")
}

/// The interpreter itself: what chooses between several may do so by the home, which is another one here.
fn python() -> String {
    let say = ["-c", "import sys; print(sys.executable)"];
    let output = Command::new("python3").args(say).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Builds the program; what it needs lies in Go's own cache, and go decides what is to be done.
fn build_go() -> Result<(), String> {
    let mut command = Command::new("go");
    command.args(["build", "-mod=readonly", "-o"]).arg(go_program()).arg(".");
    runs(command.current_dir(format!("{PROGRAMS}/go")))
}

fn fetch_node() -> Result<(), String> {
    once("node", &["package.json", "package-lock.json"], |dir| {
        let mut command = Command::new("npm");
        command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(dir);
        command
    })
}

fn fetch_python() -> Result<(), String> {
    once("python", &["requirements.txt"], |dir| {
        let mut command = Command::new("python3");
        command.args(["-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target"]);
        command.arg(dir).arg("-r").arg(dir.join("requirements.txt"));
        command
    })
}

/// Fetches into the folder of `language`, unless what was fetched there was fetched by the same `pins`.
fn once(language: &str, pins: &[&str], fetch: impl Fn(&Path) -> Command) -> Result<(), String> {
    let (disk, dir) = (Env::os().disk, dir(language));
    disk.create_dir_all(&dir).unwrap();
    let pinned = |pin: &&str| disk.read(&Path::new(PROGRAMS).join(language).join(pin)).unwrap();
    let pinned: Vec<Vec<u8>> = pins.iter().map(pinned).collect();
    let whole = dir.join("whole");
    if disk.read(&whole).is_ok_and(|fetched| fetched == pinned.concat()) {
        return Ok(());
    }
    for (pin, bytes) in pins.iter().zip(&pinned) {
        disk.write(&dir.join(pin), bytes).unwrap();
    }
    runs(&mut fetch(&dir))?;
    disk.write(&whole, &pinned.concat()).unwrap();
    Ok(())
}
