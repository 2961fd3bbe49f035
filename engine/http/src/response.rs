//! [`Response`]: what is answered.

use bytes::Bytes;
use http_body_util::Full;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};

/// An answer, ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// 200 to 599.
    pub status: u16,
    /// As the header says it, `text/plain; charset=utf-8` for instance.
    pub content_type: String,
    /// More headers: names and values.
    pub headers: Vec<(String, String)>,
    /// The body; of a HEAD nothing is sent.
    pub body: Bytes,
}

impl Response {
    /// Of that status, without further headers.
    #[must_use]
    pub fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        let content_type = content_type.to_owned();
        Response { status, content_type, headers: Vec::new(), body: body.into() }
    }

    /// 200 with plain text.
    #[must_use]
    pub fn text(body: impl Into<Bytes>) -> Self {
        Response::new(200, "text/plain; charset=utf-8", body)
    }

    /// A JSON text of that status.
    #[must_use]
    pub fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Response::new(status, "application/json", body)
    }

    /// A sentence that says why there is nothing else.
    #[must_use]
    pub fn error(status: u16, sentence: &str) -> Self {
        Response::new(status, "text/plain; charset=utf-8", format!("{sentence}\n"))
    }

    /// With one header more.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What `hyper` writes. A header or a status that HTTP cannot say is a bug of the handler: 500.
    pub(crate) fn into_hyper(self) -> hyper::Response<Full<Bytes>> {
        let mut builder = hyper::Response::builder()
            .status(self.status)
            .header(CONTENT_TYPE, self.content_type)
            .header(CACHE_CONTROL, "no-store")
            .header(X_CONTENT_TYPE_OPTIONS, "nosniff");
        for (name, value) in self.headers {
            builder = builder.header(name, value);
        }
        builder.body(Full::new(self.body)).unwrap_or_else(|error| {
            tracing::error!(%error, "an answer over HTTP cannot be written");
            let mut response = hyper::Response::new(Full::new(Bytes::new()));
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        })
    }
}
