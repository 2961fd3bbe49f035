//! TLS as a net before the net: whoever gets [`encrypted`]'s environment speaks TLS on the same ports, and knows nothing of it.
//!
//! Modules in reading order:
//!
//! - [`settings`] what operators say (`tls.…`);
//! - [`error`] why there is no TLS;
//! - `material` keys and certificates, read and made ready;
//! - `verify` whose certificate is taken;
//! - `stream` one accepted connection: plain, or TLS;
//! - `net` listening, connecting, and following the files.
//!
//! As in RocketMQ 4.9 the first byte of a connection decides: `0x16` begins a TLS handshake, and no plain frame. Replication
//! is never encrypted ([`Net::unencrypted`](mq_env::net::Net::unencrypted)).
//!
//! rustls draws from the operating system's randomness, which no seed of a simulated world decides: a story over TLS is told, but
//! not the same bytes twice. That is why only the servers' programs depend on this crate.

pub mod settings;

pub mod error;

mod material;
mod verify;

mod net;
mod stream;

pub use error::TlsError;
pub use net::encrypted;
pub use settings::{ClientAuth, KeyPair, TlsMode, TlsSettings};
