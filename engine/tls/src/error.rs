//! [`TlsError`]: why there is no TLS, in sentences for operators.

use std::path::PathBuf;

/// Why a server that was to speak TLS does not start.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A line says what it must not.
    #[error("{place}{text}")]
    Setting {
        /// File and line, with a colon behind; empty for what is missing.
        place: String,
        /// The sentence.
        text: String,
    },
    /// A file cannot be used.
    #[error("{} cannot be used for TLS: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Keys and certificates do not go together.
    #[error("TLS is not possible with what {what} names: {reason}")]
    Material {
        /// Which keys of the configuration.
        what: &'static str,
        /// Why not.
        reason: String,
    },
}
