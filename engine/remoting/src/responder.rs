//! [`Responder`], which answers one request, and `InWork`, a request's place among those being answered.

use std::sync::Arc;

use mq_protocol::remoting_command::RemotingCommand;
use mq_protocol::serialize::SerializeType;

use crate::channel::Channel;

/// Answers one request, at once or later; clones answer the same request, which is to be answered
/// at most once. The reply to a one-way request goes nowhere.
///
/// Until the last clone is gone the request counts as one in work; a connection with too many of them is
/// not read from. Who keeps responders makes no replies for a channel that is not
/// [writable](Channel::is_writable), and drops those whose channel [is closed](Channel::is_closed).
#[derive(Clone, Debug)]
pub struct Responder {
    channel: Channel,
    opaque: i32,
    serialize_type: SerializeType,
    oneway: bool,
    _in_work: Option<Arc<InWork>>,
}

impl Responder {
    /// Of `request`, which came by `channel`.
    pub(crate) fn new(
        channel: &Channel,
        request: &RemotingCommand,
        in_work: Option<Arc<InWork>>,
    ) -> Self {
        Responder {
            channel: channel.clone(),
            opaque: request.opaque,
            serialize_type: request.serialize_type,
            oneway: request.is_oneway(),
            _in_work: in_work,
        }
    }

    /// The connection by which the request came.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Sends `response` with the request's opaque, in the request's serialization. Without effect
    /// when the connection has ended.
    pub fn respond(&self, mut response: RemotingCommand) {
        if self.oneway {
            return;
        }
        response.opaque = self.opaque;
        response.serialize_type = self.serialize_type;
        response.mark_response();
        if let Err(error) = self.channel.send(&response) {
            tracing::debug!(%error, code = response.code, "reply not sent");
        }
    }
}

/// A request that is being answered; dropped when it is.
#[derive(Debug)]
pub(crate) struct InWork {
    channel: Channel,
    request_bytes: usize,
}

impl InWork {
    /// Of a request of `request_bytes`.
    pub(crate) fn enter(channel: &Channel, request_bytes: usize) -> Self {
        channel.entered(request_bytes);
        InWork { channel: channel.clone(), request_bytes }
    }
}

impl Drop for InWork {
    fn drop(&mut self) {
        self.channel.left(self.request_bytes);
    }
}
