//! [`Request`]: what a peer asks for, read to its end.

use std::borrow::Cow;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;

use crate::response::Response;

/// A request that has arrived as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// The path, without its percent signs; begins with `/`.
    pub path: String,
    /// Names and values of the query, in order, decoded as forms are.
    pub query: Vec<(String, String)>,
    /// Names, in lower case, and values of the headers; a value that is no text is left out.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Request {
    /// The first value that the query has for `name`.
    #[must_use]
    pub fn query_value(&self, name: &str) -> Option<&str> {
        first(&self.query, name)
    }

    /// The first value of a header; `name` in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        first(&self.headers, name)
    }

    /// Names and values of a body that a form sent (`application/x-www-form-urlencoded`), in order.
    #[must_use]
    pub fn form(&self) -> Vec<(String, String)> {
        pairs(&self.body)
    }

    /// Reads the body. An answer instead: 400 for a path that is no text, 413 for a body above `body_bytes_max`.
    pub(crate) async fn read(
        request: hyper::Request<Incoming>,
        body_bytes_max: usize,
    ) -> Result<Request, Response> {
        let (head, body) = request.into_parts();
        let path = percent_decode_str(head.uri.path()).decode_utf8().map(Cow::into_owned);
        let path = path.map_err(|_| Response::error(400, "the path is not UTF-8"))?;
        let headers = head.headers.iter().filter_map(|(name, value)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        });
        let body = Limited::new(body, body_bytes_max).collect().await;
        Ok(Request {
            method: head.method.as_str().to_owned(),
            path,
            query: pairs(head.uri.query().unwrap_or_default().as_bytes()),
            headers: headers.collect(),
            body: body.map_err(|error| unread(&*error, body_bytes_max))?.to_bytes(),
        })
    }
}

fn unread(error: &(dyn std::error::Error + 'static), body_bytes_max: usize) -> Response {
    if error.is::<LengthLimitError>() {
        return Response::error(413, &format!("a body has at most {body_bytes_max} bytes here"));
    }
    Response::error(400, &format!("the body cannot be read: {error}"))
}

fn first<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
}

fn pairs(encoded: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(encoded).into_owned().collect()
}
