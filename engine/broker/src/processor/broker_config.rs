//! The settings of a broker: shown (26) and changed (25) (RocketMQ 4.9 `AdminBrokerProcessor.getBrokerConfig`,
//! `updateBrokerConfig`).

use std::sync::Arc;

use mq_protocol::codes::ResponseCode;
use mq_protocol::fastjson::to_bytes;
use mq_protocol::header::admin::GetBrokerConfigResponseHeader;
use mq_protocol::properties_file::PropertiesFile;
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{ProcessError, ProcessOutcome, ProcessResult};

use crate::config::RunningValues;
use crate::context::BrokerContext;
use crate::live_config;

/// Answers 26.
pub(super) fn get_broker_config(context: &BrokerContext) -> RemotingCommand {
    let store = context.store.live_config();
    let identity = context.outer_api.identity();
    let host = |addr: &str| addr.rsplit_once(':').map_or(addr, |(host, _)| host).to_owned();
    let running = RunningValues {
        broker_id: context.outer_api.broker_id(),
        broker_role: context.role().name(),
        ips: [host(&identity.broker_addr), host(&identity.ha_server_addr)],
        commit_log_dir: &store.commit_log_dir(),
    };
    let values = context.live().echo(&store, &running).into_iter();
    let body: String = values.map(|(key, value)| format!("{key}={value}\n")).collect();
    let version = to_bytes(&context.live_config.data_version());
    let version = String::from_utf8_lossy(&version).into_owned();
    RemotingCommand::success(&GetBrokerConfigResponseHeader { version }).with_body(body)
}

/// Answers 25. As in 4.9 a request without a body changes nothing.
pub(super) fn update_broker_config(
    context: &Arc<BrokerContext>,
    request: &RemotingCommand,
) -> ProcessResult {
    let wanted = PropertiesFile::parse(&request.body)
        .map_err(|error| ProcessError::system(format!("string2Properties error: {error}")))?;
    let context = Arc::clone(context);
    Ok(ProcessOutcome::later(async move {
        live_config::update(&context, &wanted).await?;
        Ok(Some(RemotingCommand::response(ResponseCode::SUCCESS, None)))
    }))
}
