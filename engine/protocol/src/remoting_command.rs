//! The unit of conversation: a request, or the response to one (RocketMQ 4.9 `RemotingCommand`).

use bytes::Bytes;

use crate::codes::{LanguageCode, MqVersion};
use crate::ext_fields::ExtFields;
use crate::header::{CustomHeader, HeaderError};
use crate::serialize::SerializeType;

const RESPONSE_BIT: i32 = 0x1;
const ONEWAY_BIT: i32 = 0x2;

/// One request or response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemotingCommand {
    /// [`RequestCode`](crate::codes::RequestCode) of a request,
    /// [`ResponseCode`](crate::codes::ResponseCode) of a response.
    pub code: i32,
    /// Language of the sender.
    pub language: LanguageCode,
    /// Release of the sender, see [`MqVersion`].
    pub version: i32,
    /// Correlates a response with its request; counted by the side that asks.
    pub opaque: i32,
    /// Bit 0: response; bit 1: one-way request.
    pub flag: i32,
    /// Error text of a response.
    pub remark: Option<String>,
    /// The flattened custom header.
    pub ext_fields: ExtFields,
    /// The body; empty means absent, the wire does not tell them apart.
    pub body: Bytes,
    /// How the header was, or will be, serialized.
    pub serialize_type: SerializeType,
}

impl RemotingCommand {
    /// A request with `header` flattened into its ext fields; `&()` for a request without header.
    /// The sender sets `opaque`.
    #[must_use]
    pub fn request(code: i32, header: &impl CustomHeader) -> Self {
        let mut command = Self::bare(code, 0);
        header.encode(&mut command.ext_fields);
        command
    }

    /// A response without header; [`RemotingCommand::reply_to`] addresses it.
    #[must_use]
    pub fn response(code: i32, remark: impl Into<Option<String>>) -> Self {
        let mut command = Self::bare(code, RESPONSE_BIT);
        command.remark = remark.into();
        command
    }

    /// A response with code SUCCESS, without remark, and with `header` in its ext fields.
    #[must_use]
    pub fn success(header: &impl CustomHeader) -> Self {
        Self::response(crate::codes::ResponseCode::SUCCESS, None).with_header(header)
    }

    /// Addresses a response: takes the request's opaque and its way of serializing headers.
    #[must_use]
    pub fn reply_to(mut self, request: &RemotingCommand) -> Self {
        self.opaque = request.opaque;
        self.serialize_type = request.serialize_type;
        self
    }

    /// Adds the fields of `header`.
    #[must_use]
    pub fn with_header(mut self, header: &impl CustomHeader) -> Self {
        header.encode(&mut self.ext_fields);
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Reads the ext fields as a custom header.
    ///
    /// # Errors
    /// Names the first field that is required and missing, or that does not parse.
    pub fn header<H: CustomHeader>(&self) -> Result<H, HeaderError> {
        H::decode(&self.ext_fields)
    }

    /// Whether this is a response.
    #[must_use]
    pub fn is_response(&self) -> bool {
        self.flag & RESPONSE_BIT != 0
    }

    /// Whether this is a request that wants no response.
    #[must_use]
    pub fn is_oneway(&self) -> bool {
        self.flag & ONEWAY_BIT != 0
    }

    /// Marks this as a response.
    pub fn mark_response(&mut self) {
        self.flag |= RESPONSE_BIT;
    }

    /// Marks this as a request that wants no response.
    pub fn mark_oneway(&mut self) {
        self.flag |= ONEWAY_BIT;
    }

    fn bare(code: i32, flag: i32) -> Self {
        RemotingCommand {
            code,
            language: LanguageCode::default(),
            version: MqVersion::CURRENT,
            opaque: 0,
            flag,
            remark: None,
            ext_fields: ExtFields::absent(),
            body: Bytes::new(),
            serialize_type: SerializeType::default(),
        }
    }
}
