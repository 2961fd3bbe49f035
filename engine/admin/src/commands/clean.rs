//! `cleanExpiredCQ`, `cleanUnusedTopic`, `deleteExpiredCommitLog`: housekeeping of brokers at once.

use clap::Args;
use mq_protocol::codes::RequestCode;

use crate::command::{SubCommand, Terminal};
use crate::error::AdminError;
use crate::mq_admin_ext::MqAdminExt;
use crate::mq_admin_ext::masters;

/// Which brokers; without any, all masters of all clusters.
#[derive(Args)]
#[group(multiple = false)]
struct Where {
    /// The broker, HOST:PORT.
    #[arg(short = 'b', long = "brokerAddr", value_name = "ADDRESS")]
    broker_addr: Option<String>,
    /// Every master of the cluster.
    #[arg(short = 'c', long = "cluster", value_name = "CLUSTER")]
    cluster: Option<String>,
}

/// Has brokers remove units of queues whose messages are gone.
#[derive(Args)]
pub(crate) struct CleanExpiredCq {
    #[command(flatten)]
    brokers: Where,
}

/// Has brokers remove the queues of topics that they do not have any more.
#[derive(Args)]
pub(crate) struct CleanUnusedTopic {
    #[command(flatten)]
    brokers: Where,
}

/// Has brokers remove log files that have expired.
#[derive(Args)]
pub(crate) struct DeleteExpiredCommitLog {
    #[command(flatten)]
    brokers: Where,
}

impl Where {
    async fn clean(&self, terminal: &mut Terminal<'_>, code: i32) -> Result<(), AdminError> {
        let addrs = match (&self.broker_addr, &self.cluster) {
            (Some(addr), _) => vec![addr.clone()],
            (None, Some(cluster)) => terminal.admin.masters_of_cluster(cluster).await?,
            (None, None) => {
                let info = terminal.admin.examine_broker_cluster_info().await?;
                let brokers: Vec<_> = info.broker_addr_table.into_values().collect();
                masters(&brokers).map(str::to_owned).collect()
            }
        };
        let ask = async |admin: &MqAdminExt, addr: &str| {
            admin.clean(addr, code).await.map(|()| String::new())
        };
        terminal.print_each(&addrs, ask).await?;
        terminal.print("success\n")
    }
}

impl SubCommand for CleanExpiredCq {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        self.brokers.clean(terminal, RequestCode::CLEAN_EXPIRED_CONSUMEQUEUE).await
    }
}

impl SubCommand for CleanUnusedTopic {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        self.brokers.clean(terminal, RequestCode::CLEAN_UNUSED_TOPIC).await
    }
}

impl SubCommand for DeleteExpiredCommitLog {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        self.brokers.clean(terminal, RequestCode::DELETE_EXPIRED_COMMITLOG).await
    }
}
