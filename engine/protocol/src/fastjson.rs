//! The JSON dialect of Java peers (fastjson 1.2): a lenient reader and a writer of the same bytes.
//!
//! Beyond standard JSON the dialect has unquoted integer keys (`{0:"10.0.0.1:10911"}`) and objects
//! as keys (`{{"queueId":0,…}:7}`). Null members are left out. [`JsonWriter`] knows three styles:
//! compact for the wire, pretty for files, standard for peers that want plain JSON.
//!
//! [`Value`] is what a text says; [`Json`] is a type that reads itself from a value and writes
//! itself. Reading is as forgiving as Java peers are: text for numbers, numbers for text, members
//! in any order, unknown ones ignored.

mod json;
mod lexer;
mod value;
mod writer;

pub use json::{Json, JsonKey, JsonReadError, from_slice, to_bytes};
pub use value::Value;
pub use writer::{JsonStyle, JsonWriter, Members};

pub(crate) use lexer::{Lexer, Token};
pub(crate) use writer::{write_integer, write_string};

/// Malformed JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("JSON text is malformed at byte {position}: {expected} expected")]
pub struct JsonError {
    /// Byte index into the text.
    pub position: usize,
    /// What should have been there.
    pub expected: &'static str,
}

#[cfg(test)]
mod tests;
