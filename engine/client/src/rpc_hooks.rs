//! What a client adds to all its requests (RocketMQ 4.9 `StreamTypeRPCHook`, `AclClientRPCHook`).

use std::fmt;
use std::sync::Arc;

use mq_protocol::acl::{ACCESS_KEY, SECURITY_TOKEN, SIGNATURE, signature};
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::RpcHook;

use crate::client_config::ClientConfig;

/// The hooks that the settings ask for, in the order in which they are called.
pub(crate) fn rpc_hooks(config: &ClientConfig) -> Vec<Arc<dyn RpcHook>> {
    let mut hooks: Vec<Arc<dyn RpcHook>> = Vec::new();
    if config.enable_stream_request_type {
        hooks.push(Arc::new(StreamTypeRpcHook));
    }
    if let Some(credentials) = &config.session_credentials {
        hooks.push(Arc::new(AclClientRpcHook(credentials.clone())));
    }
    hooks
}

/// Says that the client reads streams.
struct StreamTypeRpcHook;

impl RpcHook for StreamTypeRpcHook {
    fn do_before_request(&self, _: &str, request: &mut RemotingCommand) {
        request.ext_fields.insert("ReqT", "0");
    }
}

/// Who a client is, to servers that control access (RocketMQ 4.9 `SessionCredentials`).
#[derive(Clone, PartialEq, Eq)]
pub struct SessionCredentials {
    /// The name.
    pub access_key: String,
    /// What proves it; it is never sent.
    pub secret_key: String,
    /// The token of a temporary access key.
    pub security_token: Option<String>,
}

/// The secret is in no log.
impl fmt::Debug for SessionCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionCredentials")
            .field("access_key", &self.access_key)
            .finish_non_exhaustive()
    }
}

/// Signs requests. It comes after all that add fields.
struct AclClientRpcHook(SessionCredentials);

impl RpcHook for AclClientRpcHook {
    fn do_before_request(&self, _: &str, request: &mut RemotingCommand) {
        let fields = &mut request.ext_fields;
        fields.insert(ACCESS_KEY, &self.0.access_key);
        if let Some(token) = &self.0.security_token {
            fields.insert(SECURITY_TOKEN, token);
        }
        let signature = signature(fields, &request.body, &self.0.secret_key);
        fields.insert(SIGNATURE, &signature);
    }
}
