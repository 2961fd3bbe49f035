//! Apache RocketMQ 4.9.7 itself, run with the machine's Java, where somebody asks for it: nothing is
//! fetched by a test that nobody told to. `STATICFIRE_JAVA=fetch` fetches the jars with Maven, once per
//! target folder; `STATICFIRE_JAVA=DIR` takes the jars of a release that is there already.
#![expect(clippy::disallowed_methods, reason = "runs Java")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::broker_process::{BrokerProcess, BrokerSettings, free_port};
use crate::rig::tmp_dir;
use mq_env::Env;

const VERSION: &str = "4.9.7";

/// What Java must open for RocketMQ's unmapping on the versions that have modules.
const OPENS: [&str; 3] = [
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED",
    "--add-exports=java.base/sun.nio.ch=ALL-UNNAMED",
];

/// Starts quickly rather than runs fast; never deletes messages because the machine's disk is full.
const OPTIONS: [&str; 5] = [
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-Drocketmq.serialize.type=JSON",
    "-Drocketmq.broker.diskSpaceWarningLevelRatio=0.99",
    "-Drocketmq.broker.diskSpaceCleanForciblyRatio=0.99",
];

/// The clients of tests, in this folder: what is compiled against the jars.
const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/reality/java");

/// The jars of one release.
#[derive(Clone)]
pub struct RocketMq {
    lib: PathBuf,
}

impl RocketMq {
    /// The release that was asked for. Says why there is none where nobody asked.
    ///
    /// # Panics
    /// When somebody asked and it cannot be had: a run that was to show something must not pass without.
    pub fn get() -> Result<RocketMq, &'static str> {
        static LIB: OnceLock<Option<PathBuf>> = OnceLock::new();
        let lib = LIB.get_or_init(|| asked_for().map(|asked| asked.unwrap()));
        lib.clone().map(|lib| RocketMq { lib }).ok_or(
            "not asked for; STATICFIRE_JAVA=fetch fetches Apache RocketMQ with Maven, \
             STATICFIRE_JAVA=DIR takes the jars in DIR",
        )
    }

    /// The same for tests that take minutes each.
    ///
    /// # Panics
    /// As [`RocketMq::get`].
    #[expect(
        clippy::disallowed_methods,
        reason = "what may take long is said to the test, not to an engine"
    )]
    pub fn get_nightly() -> Result<RocketMq, &'static str> {
        match std::env::var("STATICFIRE_NIGHTLY").is_ok_and(|it| it == "1") {
            true => RocketMq::get(),
            false => Err("takes minutes; STATICFIRE_NIGHTLY=1 beside STATICFIRE_JAVA runs it"),
        }
    }

    /// A name server with its files in `dir`; returns its address.
    pub fn name_server(&self, dir: &Path) -> (BrokerProcess, String) {
        let port = free_port();
        let config = dir.join("namesrv.properties");
        let kv_config = dir.join("kvConfig.json");
        let text = format!("listenPort={port}\nkvConfigPath={}\n", kv_config.display());
        Env::os().disk.write(&config, text.as_bytes()).unwrap();
        let mut command = self.java(dir, "namesrv");
        command.args(["-Xmx128m", "org.apache.rocketmq.namesrv.NamesrvStartup", "-c"]).arg(config);
        (BrokerProcess::run(command, dir.join("namesrv.log")), format!("127.0.0.1:{port}"))
    }

    /// A broker with `settings`.
    pub fn broker(&self, settings: &BrokerSettings) -> BrokerProcess {
        let mut command = self.java(&settings.dir, "broker");
        command.args(["-Xmx256m", "-XX:MaxDirectMemorySize=256m"]).args(OPENS);
        command.args(["org.apache.rocketmq.broker.BrokerStartup", "-c"]).arg(settings.write());
        BrokerProcess::run(command, settings.dir.join("java-broker.log"))
    }

    /// A client, `Peer`, that keeps its logs in `dir`. What is measured is `warm`: compiled as well as Java can.
    pub fn peer(&self, dir: &Path, warm: bool) -> Command {
        static CLASSES: OnceLock<PathBuf> = OnceLock::new();
        let classes = CLASSES.get_or_init(|| self.compile_clients());
        let options = if warm { &OPTIONS[2..] } else { &OPTIONS };
        let mut command = Command::new("java");
        command.args(options).args(["-Xmx256m", "-XX:+UseSerialGC"]);
        command.arg(format!("-Duser.home={}", dir.join("home").display()));
        let jars = self.lib.join("*");
        command.arg("-cp").arg(format!("{}:{}", classes.display(), jars.display())).arg("Peer");
        command
    }

    /// Compiles the clients; returns where to.
    fn compile_clients(&self) -> PathBuf {
        let classes = tmp_dir().join("rocketmq-clients");
        let mut command = Command::new("javac");
        command.arg("-d").arg(&classes).arg("-cp").arg(self.lib.join("*"));
        command.args(["Peer", "Figures"].map(|name| format!("{CLIENTS}/{name}.java")));
        runs(&mut command).unwrap();
        classes
    }

    /// Java with the jars and a home for the server's log settings.
    fn java(&self, dir: &Path, server: &str) -> Command {
        let home = dir.join("home");
        let disk = Env::os().disk;
        disk.create_dir_all(&home.join("conf")).unwrap();
        let log_settings = b"<configuration><root level=\"WARN\"/></configuration>";
        disk.write(&home.join(format!("conf/logback_{server}.xml")), log_settings).unwrap();
        let mut command = Command::new("java");
        command.args(OPTIONS).arg(format!("-Duser.home={}", home.display()));
        command.arg("-cp").arg(self.lib.join("*")).env("ROCKETMQ_HOME", &home);
        command
    }
}

/// The jars that STATICFIRE_JAVA asks for, if it does.
#[expect(
    clippy::disallowed_methods,
    reason = "what may be fetched is said to the test, not to an engine"
)]
fn asked_for() -> Option<Result<PathBuf, String>> {
    match std::env::var("STATICFIRE_JAVA").ok()?.as_str() {
        "" => None,
        "fetch" => Some(fetch()),
        dir => Some(runs(Command::new("java").arg("-version")).map(|()| PathBuf::from(dir))),
    }
}

/// Puts the jars into the target folder; says why not.
fn fetch() -> Result<PathBuf, String> {
    for tool in ["java", "mvn"] {
        runs(Command::new(tool).arg("-version"))?;
    }
    let dir = tmp_dir().join(format!("rocketmq-{VERSION}"));
    let (lib, whole) = (dir.join("lib"), dir.join("whole"));
    let disk = Env::os().disk;
    if disk.stat(&whole).is_ok() {
        return Ok(lib);
    }
    disk.create_dir_all(&dir).unwrap();
    disk.write(&dir.join("pom.xml"), pom().as_bytes()).unwrap();
    let mut command = Command::new("mvn");
    command.args(["-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime"]);
    command.arg(format!("-DoutputDirectory={}", lib.display())).current_dir(&dir);
    runs(&mut command)?;
    disk.write(&whole, b"").unwrap();
    Ok(lib)
}

fn pom() -> String {
    let dependency = |artifact: &str| {
        format!(
            "<dependency><groupId>org.apache.rocketmq</groupId><artifactId>{artifact}</artifactId>\
             <version>{VERSION}</version></dependency>"
        )
    };
    let dependencies = ["rocketmq-namesrv", "rocketmq-broker"].map(dependency).concat();
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
         <groupId>staticfire</groupId><artifactId>rocketmq</artifactId><version>1</version>\
         <dependencies>{dependencies}</dependencies></project>"
    )
}

/// Runs a command to its end.
///
/// # Errors
/// Why it failed, with the first line that it said.
pub fn runs(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    Err(format!("{name} ended with {}: {}", output.status, said.lines().next().unwrap_or("")))
}
