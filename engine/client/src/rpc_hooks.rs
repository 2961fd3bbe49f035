//! What a client adds to all its requests (RocketMQ 4.9 `StreamTypeRPCHook`).

use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::RpcHook;

/// Says that the client reads streams.
pub(crate) struct StreamTypeRpcHook;

impl RpcHook for StreamTypeRpcHook {
    fn do_before_request(&self, _: &str, request: &mut RemotingCommand) {
        request.ext_fields.insert("ReqT", "0");
    }
}
