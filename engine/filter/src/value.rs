//! [`Value`]: what properties and literals are worth, and how they compare (RocketMQ 4.9
//! `ComparisonExpression`, over Java's `Integer`, `Long`, `Double`, `String` and `Boolean`).

use std::cmp::Ordering;

use crate::error::EvaluateError;

/// A longer text is no number. 4.9 would read it; whoever repeats a comparison a thousand times would have a
/// broker read a long property as often.
const NUMBER_BYTES_MAX: usize = 512;

/// A value while an expression runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Boolean(bool),
    /// A whole number of 32 bits, as small literals are.
    Int(i32),
    Long(i64),
    Double(f64),
    /// A literal, or the value of a property.
    Text(&'a str),
}

/// `=`, or `IS NULL` where `right` is the literal: two nulls are equal, a null to the left makes the answer unknown,
/// one to the right makes it false.
///
/// # Errors
/// When a text is no number and had to be one.
pub(crate) fn equal<'a>(left: Value<'a>, right: Value<'a>) -> Result<Value<'a>, EvaluateError> {
    Ok(match (left, right) {
        (Value::Null, Value::Null) => Value::Boolean(true),
        (Value::Null, _) => Value::Null,
        (_, Value::Null) => Value::Boolean(false),
        _ => Value::Boolean(compare(left, right)? == Ordering::Equal),
    })
}

/// The order of two values for `<` and its kin; `None` if one of them is null. Two properties are compared as
/// numbers.
///
/// # Errors
/// When a text is no number of the other one's kind.
pub(crate) fn order(left: Value<'_>, right: Value<'_>) -> Result<Option<Ordering>, EvaluateError> {
    match (left, right) {
        (Value::Null, _) | (_, Value::Null) => Ok(None),
        (Value::Text(left), Value::Text(right)) => {
            Ok(Some(compare_doubles(double(left)?, double(right)?)))
        }
        _ => compare(left, right).map(Some),
    }
}

/// Compares what is not null. A text becomes what it is compared with; a boolean and a number are not
/// equal, and the left one is the lesser, whichever it is.
///
/// # Errors
/// When a text is no number of the other one's kind.
pub(crate) fn compare(left: Value<'_>, right: Value<'_>) -> Result<Ordering, EvaluateError> {
    use Value::{Boolean, Double, Int, Long, Text};
    Ok(match (left, right) {
        (Boolean(left), Boolean(right)) => left.cmp(&right),
        // Only whether they are equal is ever asked.
        (Text(left), Text(right)) => left.cmp(right),
        (Boolean(_), Text(_)) => return Err(EvaluateError::BooleanFirst),
        (Text(left), Boolean(right)) => left.eq_ignore_ascii_case("true").cmp(&right),
        (Int(left), Int(right)) => left.cmp(&right),
        (Int(left), Long(right)) => i64::from(left).cmp(&right),
        (Long(left), Int(right)) => left.cmp(&i64::from(right)),
        (Long(left), Long(right)) => left.cmp(&right),
        (Int(left), Text(right)) => left.cmp(&whole(right)?),
        (Text(left), Int(right)) => whole::<i32>(left)?.cmp(&right),
        (Long(left), Text(right)) => left.cmp(&whole(right)?),
        (Text(left), Long(right)) => whole::<i64>(left)?.cmp(&right),
        (Double(left), Double(right)) => compare_doubles(left, right),
        (Double(left), Int(right)) => compare_doubles(left, f64::from(right)),
        (Int(left), Double(right)) => compare_doubles(f64::from(left), right),
        (Double(left), Long(right)) => compare_doubles(left, right as f64),
        (Long(left), Double(right)) => compare_doubles(left as f64, right),
        (Double(left), Text(right)) => compare_doubles(left, double(right)?),
        (Text(left), Double(right)) => compare_doubles(double(left)?, right),
        (Boolean(_), _) | (_, Boolean(_)) | (Value::Null, _) | (_, Value::Null) => Ordering::Less,
    })
}

/// `-value`: unknown for whatever is no number, texts that look like one included.
pub(crate) fn negate(value: Value<'_>) -> Value<'_> {
    match value {
        Value::Int(value) => Value::Int(value.wrapping_neg()),
        Value::Long(value) => Value::Long(value.wrapping_neg()),
        Value::Double(value) => Value::Double(-value),
        _ => Value::Null,
    }
}

/// Java's `Integer.valueOf` and `Long.valueOf`.
fn whole<N: std::str::FromStr>(text: &str) -> Result<N, EvaluateError> {
    if text.len() > NUMBER_BYTES_MAX {
        return Err(EvaluateError::NoNumber);
    }
    text.parse().map_err(|_| EvaluateError::NoNumber)
}

/// Java's `Double.valueOf`, without its hexadecimal numbers: blanks around it and a `d` or `f` behind it are
/// nothing.
fn double(text: &str) -> Result<f64, EvaluateError> {
    if text.len() > NUMBER_BYTES_MAX {
        return Err(EvaluateError::NoNumber);
    }
    let text = text.trim_matches(|c: char| c <= ' ');
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, "NaN" | "Infinity") {
        return text.parse().map_err(|_| EvaluateError::NoNumber);
    }
    let digits = text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text);
    // Rust knows "inf" and "nan", too.
    if digits.contains(|c: char| c.is_ascii_alphabetic() && !matches!(c, 'e' | 'E')) {
        return Err(EvaluateError::NoNumber);
    }
    digits.parse().map_err(|_| EvaluateError::NoNumber)
}

/// Java's `Double.compareTo`: −0 is less than 0, NaN is equal to itself and above everything.
fn compare_doubles(left: f64, right: f64) -> Ordering {
    let canonical = |value: f64| if value.is_nan() { f64::NAN.abs() } else { value };
    canonical(left).total_cmp(&canonical(right))
}
