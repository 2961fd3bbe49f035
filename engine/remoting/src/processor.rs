//! [`RequestProcessor`], what answers requests, [`RequestGuard`], who may ask at all, and [`ProcessorTable`], which one
//! answers which code.

use std::collections::BTreeMap;
use std::sync::Arc;

use mq_env::BoxFuture;
use mq_protocol::codes::ResponseCode;
use mq_protocol::remoting_command::RemotingCommand;

use crate::channel::Channel;

/// Answers requests (Java `NettyRequestProcessor`).
///
/// Called on the task of the connection, which reads nothing else meanwhile: what may wait returns
/// [`ProcessOutcome::Later`]. Requests of one connection that answer later run concurrently and
/// may be answered in any order.
pub trait RequestProcessor: Send + Sync {
    /// Answers `request`, which came by `channel`.
    ///
    /// # Errors
    /// A [`ProcessError`] is sent as the reply.
    fn process(&self, channel: &Channel, request: RemotingCommand) -> ProcessResult;
}

/// What a processor made of a request, or the error reply it wants sent.
pub type ProcessResult = Result<ProcessOutcome, ProcessError>;

/// What a processor made of a request.
pub enum ProcessOutcome {
    /// The reply. Opaque, response flag and serialization are filled in.
    Reply(RemotingCommand),
    /// The reply comes when this future ends; `None` means as [`ProcessOutcome::Silent`]. It is polled
    /// once at once and becomes a task of its own only when it has to wait. It runs to its end
    /// even when the connection has ended meanwhile: a topic that is being made, or a transaction between its
    /// message and the end of its half, must not stop halfway. What only waits for others' sake asks
    /// [`Channel::closed`].
    Later(BoxFuture<'static, Result<Option<RemotingCommand>, ProcessError>>),
    /// No reply, or one that a kept [`Responder`](crate::Responder) sends.
    Silent,
}

impl From<RemotingCommand> for ProcessOutcome {
    fn from(response: RemotingCommand) -> Self {
        ProcessOutcome::Reply(response)
    }
}

impl ProcessOutcome {
    /// Answers with what `future` gives.
    pub fn later(
        future: impl Future<Output = Result<Option<RemotingCommand>, ProcessError>> + Send + 'static,
    ) -> Self {
        ProcessOutcome::Later(Box::pin(future))
    }
}

/// An error reply. Every `std` error turns into SYSTEM_ERROR with its text, as an uncaught
/// exception does in Java, so that processors may use `?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessError {
    /// Response code.
    pub code: i32,
    /// Remark.
    pub remark: String,
}

impl ProcessError {
    /// An error reply with `code` and `remark`.
    pub fn new(code: i32, remark: impl Into<String>) -> Self {
        ProcessError { code, remark: remark.into() }
    }

    /// SYSTEM_ERROR with `remark`.
    pub fn system(remark: impl Into<String>) -> Self {
        ProcessError::new(ResponseCode::SYSTEM_ERROR, remark)
    }
}

impl<E: std::error::Error> From<E> for ProcessError {
    fn from(error: E) -> Self {
        ProcessError::system(error.to_string())
    }
}

impl From<ProcessError> for RemotingCommand {
    fn from(error: ProcessError) -> Self {
        RemotingCommand::response(error.code, Some(error.remark))
    }
}

/// Looks at every request before it is answered (what Java does with `RPCHook.doBeforeRequest` at a server).
pub trait RequestGuard: Send + Sync {
    /// Whether `request`, which came by `channel`, may be answered.
    ///
    /// # Errors
    /// A [`ProcessError`] is sent as the reply, and the request is dropped.
    fn admit(&self, channel: &Channel, request: &RemotingCommand) -> Result<(), ProcessError>;
}

/// Which processor answers which request code.
#[derive(Clone, Default)]
pub struct ProcessorTable {
    guard: Option<Arc<dyn RequestGuard>>,
    by_code: BTreeMap<i32, Arc<dyn RequestProcessor>>,
    default: Option<Arc<dyn RequestProcessor>>,
}

impl ProcessorTable {
    /// Lets `processor` answer the requests of `codes`.
    #[must_use]
    pub fn register(mut self, codes: &[i32], processor: Arc<dyn RequestProcessor>) -> Self {
        for code in codes {
            self.by_code.insert(*code, Arc::clone(&processor));
        }
        self
    }

    /// Lets nothing pass that `guard` does not admit, whatever its code is.
    #[must_use]
    pub fn guarded_by(mut self, guard: Arc<dyn RequestGuard>) -> Self {
        self.guard = Some(guard);
        self
    }

    /// Lets `processor` answer every other request. Without one they are answered
    /// REQUEST_CODE_NOT_SUPPORTED.
    #[must_use]
    pub fn register_default(mut self, processor: Arc<dyn RequestProcessor>) -> Self {
        self.default = Some(processor);
        self
    }

    /// Lets the table's processor answer `request`.
    pub(crate) fn process(&self, channel: &Channel, request: RemotingCommand) -> ProcessResult {
        if let Some(guard) = &self.guard {
            guard.admit(channel, &request)?;
        }
        match self.by_code.get(&request.code).or(self.default.as_ref()) {
            Some(processor) => processor.process(channel, request),
            None => Err(not_supported(request.code)),
        }
    }
}

/// The reply to a request code that nobody serves, in Java's words.
#[must_use]
pub fn not_supported(code: i32) -> ProcessError {
    let remark = format!(" request type {code} not supported");
    ProcessError::new(ResponseCode::REQUEST_CODE_NOT_SUPPORTED, remark)
}
