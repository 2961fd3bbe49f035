//! What every command has: where it prints, and which brokers it is about.

use std::io::Write;

use clap::Args;

use crate::error::AdminError;
use crate::mq_admin_ext::MqAdminExt;
use crate::text::LocalTime;

/// A command with its arguments.
pub(crate) trait SubCommand {
    /// Asks, and prints what it is told.
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError>;
}

/// Whom a command asks, and where it prints.
pub(crate) struct Terminal<'a> {
    pub(crate) admin: MqAdminExt,
    pub(crate) time: LocalTime,
    out: &'a mut dyn Write,
}

impl<'a> Terminal<'a> {
    pub(crate) fn new(admin: MqAdminExt, time: LocalTime, out: &'a mut dyn Write) -> Self {
        Terminal { admin, time, out }
    }

    /// Prints `text` at once: a command that goes on for long is watched.
    pub(crate) fn print(&mut self, text: &str) -> Result<(), AdminError> {
        self.out.write_all(text.as_bytes())?;
        Ok(self.out.flush()?)
    }

    /// Prints what each of `addrs` makes of `ask`, and fails with those that failed; a broker that does not
    /// answer keeps none of the others from being asked.
    pub(crate) async fn print_each(
        &mut self,
        addrs: &[String],
        ask: impl AsyncFn(&MqAdminExt, &str) -> Result<String, AdminError>,
    ) -> Result<(), AdminError> {
        let mut failures = Vec::new();
        for addr in addrs {
            match ask(&self.admin, addr).await {
                Ok(text) => self.print(&text)?,
                Err(error) => failures.push(error),
            }
        }
        all_done(failures)
    }
}

/// Nothing, or what failed: one failure as it is, several in one sentence.
pub(crate) fn all_done(mut failures: Vec<AdminError>) -> Result<(), AdminError> {
    match failures.len() {
        0 => Ok(()),
        1 => Err(failures.remove(0)),
        count => {
            let sentences: Vec<String> = failures.iter().map(ToString::to_string).collect();
            Err(AdminError::Failed(format!("{count} failures: {}", sentences.join("; "))))
        }
    }
}

/// One broker, or a cluster.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Target {
    /// The broker, HOST:PORT.
    #[arg(short = 'b', long = "brokerAddr", value_name = "ADDRESS")]
    pub(crate) broker_addr: Option<String>,
    /// Every master of the cluster.
    #[arg(short = 'c', long = "clusterName", value_name = "CLUSTER")]
    pub(crate) cluster_name: Option<String>,
}

impl Target {
    /// The broker, or the masters of the cluster.
    pub(crate) async fn masters(&self, admin: &MqAdminExt) -> Result<Vec<String>, AdminError> {
        match (&self.broker_addr, &self.cluster_name) {
            (None, Some(cluster)) => admin.masters_of_cluster(cluster).await,
            (addr, _) => Ok(addr.iter().cloned().collect()),
        }
    }

    /// The broker, or all brokers of the cluster.
    pub(crate) async fn brokers(&self, admin: &MqAdminExt) -> Result<Vec<String>, AdminError> {
        match (&self.broker_addr, &self.cluster_name) {
            (None, Some(cluster)) => admin.addrs_of_cluster(cluster).await,
            (addr, _) => Ok(addr.iter().cloned().collect()),
        }
    }
}
