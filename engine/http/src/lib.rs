//! A small HTTP/1.1 server over the sockets of [`mq_env::Env`]: what answers scrapers, probes and browsers.
//!
//! ```text
//! let server = serve(&env, listener, |request| async move { Response::text(request.path) }, Limits::default())?;
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`limits`] | what peers may cost: bytes, connections, time |
//! | [`request`] | [`Request`]: method, path, query, headers, body, all read and bounded |
//! | [`response`] | [`Response`]: status, content type, body |
//! | [`server`] | [`serve`] and [`HttpServer`] |
//!
//! Invariants
//! * One request a connection, then it is closed: there is one deadline, and nothing to keep alive.
//! * A peer costs no more than [`Limits`] say, whatever it sends and however slowly.
//! * The bytes of HTTP are `hyper`'s business. It gets no clock but tokio's and spawns nothing.
//!
//! Not here: TLS, which is a net before the net (`mq-tls`); files; sessions.

pub mod limits;

pub mod request;

pub mod response;

pub mod server;

pub use limits::Limits;
pub use request::Request;
pub use response::Response;
pub use server::{HttpServer, serve};
