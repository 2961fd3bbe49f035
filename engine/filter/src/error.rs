//! [`CompileError`]: why a text is no expression; [`EvaluateError`]: why a message has no answer.

/// A text that is no expression. RocketMQ 4.9 names the place in the same words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid MessageSelector. {what} at line {line}, column {column}")]
pub struct CompileError {
    /// What is wrong.
    pub what: String,
    /// The line, from 1.
    pub line: usize,
    /// The character of the line, from 1.
    pub column: usize,
}

impl CompileError {
    /// `what` is wrong at byte `at` of `text`.
    pub(crate) fn at(text: &str, at: usize, what: impl Into<String>) -> Self {
        let before = text.get(..at).unwrap_or(text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        CompileError {
            what: what.into(),
            line: before.matches('\n').count() + 1,
            column: line.chars().count() + 1,
        }
    }
}

/// A property that cannot be compared with what the expression holds against it. RocketMQ 4.9 throws here,
/// and does not deliver the message, whatever the rest of the expression says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluateError {
    /// A text that had to be a number is none, or none of that kind: whole numbers are as large as the
    /// one that they are compared with, so that `a > 5` has no answer for `3000000000` and `5.5`.
    #[error("a property is no number of the kind that it is compared with")]
    NoNumber,
    /// `TRUE = a`; 4.9 knows `a = TRUE` only.
    #[error("TRUE and FALSE are compared with properties to their left only")]
    BooleanFirst,
}
