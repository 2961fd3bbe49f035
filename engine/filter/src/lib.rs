//! SQL92 expressions over message properties, as RocketMQ 4.9 reads and evaluates them (its module
//! `filter`). Entry point: [`Expression::compile`].
//!
//! Modules in reading order:
//!
//! - [`error`] why a text is no expression;
//! - `lexer` text to tokens, `parser` tokens to a `program`;
//! - `program` what is kept of an expression, and how it is run;
//! - `value` what properties and literals are worth, and how they compare.
//!
//! ```text
//! or         := and (OR and)*
//! and        := equality (AND equality)*
//! equality   := comparison (= comparison | <> comparison | IS [NOT] NULL)*
//! comparison := unary (> unary | >= unary | < unary | <= unary
//!                     | [NOT] BETWEEN unary AND unary | [NOT] IN ('text', …))*
//! unary      := + unary | - unary | NOT unary | primary
//! primary    := 'text' | 12 | 12L | 1.5E3 | TRUE | FALSE | NULL | property | ( or )
//! ```
//!
//! So `NOT` binds closer than any comparison, as in 4.9: `NOT a = 1` is `(NOT a) = 1`. There is no `LIKE`
//! and no arithmetic; `CONTAINS` came with 5.x.
//!
//! One thing is not as in 4.9, which stops reading where an expression could end and ignores the rest: `a = 1
//! LIKE 'x'` would mean `a = 1`, and a group would get other messages than it asked for. Here the
//! whole text must be the expression.
//!
//! Whoever writes an expression may be hostile: its length, depth and size are bounded, and it runs without
//! recursion, in a time that is proportional to its size and to the properties of the message.

pub mod error;

mod lexer;

mod parser;

mod program;

mod value;

#[cfg(test)]
mod tests;

pub use error::{CompileError, EvaluateError};
pub use program::Expression;

/// Longest text of an expression in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 65_536;
/// How deep parentheses, signs and `NOT` may be nested.
pub const DEPTH_MAX: usize = 128;
/// How many steps a compiled expression may have; a comparison takes about three.
pub const STEPS_MAX: usize = 4_096;
/// How many texts the lists of `IN` may name in all.
pub const IN_ITEMS_MAX: usize = 10_000;
