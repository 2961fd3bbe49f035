//! Dialects in, one dialect out.

use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::body::OrderedMap;
use crate::steps;

impl Json for Value {
    fn write(&self, out: &mut JsonWriter) {
        match self {
            Value::Null => out.null(),
            Value::Bool(value) => out.bool(*value),
            Value::Integer(number) => out.integer(*number),
            Value::Double(number) => out.double(*number),
            Value::String(text) => out.string(text),
            Value::Array(elements) => out.array(elements),
            Value::Object(members) => {
                out.object(|out| members.iter().for_each(|(key, value)| out.entry(key, value)));
            }
        }
    }

    fn read(value: &Value) -> Result<Self, JsonReadError> {
        Ok(value.clone())
    }
}

impl JsonKey for Value {
    const IS_TEXT: bool = false;

    fn write_key(&self, out: &mut JsonWriter) {
        match self {
            Value::Integer(number) => out.integer_key(*number),
            other => other.write(out),
        }
    }

    fn from_key(key: &Value) -> Option<Self> {
        Some(key.clone())
    }
}

fn rewrite(text: &str, style: JsonStyle) -> String {
    let mut writer = JsonWriter::new(style);
    Value::parse(text).unwrap().write(&mut writer);
    String::from_utf8(writer.finish().to_vec()).unwrap()
}

#[test]
fn the_dialect_is_read_and_written() {
    for text in [
        "null",
        "-9223372036854775808",
        "{}",
        "[[],{}]",
        r#"{0:"a",1:"b"}"#,
        r#"{{"brokerName":"b","queueId":0,"topic":"T"}:7,{"brokerName":"b","queueId":1,"topic":"T"}:[1.2,true,null]}"#,
    ] {
        assert_eq!(rewrite(text, JsonStyle::Compact), text);
    }
    let lenient = " { 'a' : [ 1 , 2L , ] , b : -1.5e3 , \"c\":\"\\x\" } ".replace("\\x", "\\/");
    assert_eq!(rewrite(&lenient, JsonStyle::Compact), r#"{"a":[1,2],"b":-1500.0,"c":"/"}"#);
}

#[test]
fn standard_style_quotes_keys_and_escapes() {
    let text = rewrite(r#"{0:"张 é😀\u007f\"\n/"}"#, JsonStyle::Standard);
    assert_eq!(text, r#"{"0":"\u5F20 \u00E9\uD83D\uDE00\u007F\"\n/"}"#);
}

#[test]
fn doubles_print_as_in_java() {
    for (number, text) in [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.2, "1.2"),
        (1.0 / 3.0, "0.3333333333333333"),
        (0.001, "0.001"),
        (0.0001, "1.0E-4"),
        (1.25e-7, "1.25E-7"),
        (9_999_999.0, "9999999.0"),
        (1e7, "1.0E7"),
        (12_345_678.9, "1.23456789E7"),
        (f64::NAN, "null"),
    ] {
        let mut writer = JsonWriter::new(JsonStyle::Compact);
        writer.double(number);
        assert_eq!(writer.finish(), text);
    }
}

#[test]
fn malformed_texts_are_refused() {
    for text in ["", "{", "[1", "{\"a\"}", "{\"a\":}", "1 2", "abc", "--1", "\"\\u12\"", "{1:2,,}"]
    {
        assert!(Value::parse(text).is_err(), "{text}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(Value::parse(&deep).unwrap_err().expected, "less nesting");
    let keys = "{".repeat(100_000);
    assert_eq!(Value::parse(&keys).unwrap_err().expected, "less nesting");
}

#[test]
fn numbers_text_and_booleans_stand_in_for_each_other() {
    let value = Value::parse(r#"{"n":"12","t":5,"b":"TRUE","z":0,"x":null,"x":null}"#).unwrap();
    assert_eq!(i32::read(value.get("n").unwrap()), Ok(12));
    assert_eq!(String::read(value.get("t").unwrap()).unwrap(), "5");
    assert_eq!(bool::read(value.get("b").unwrap()), Ok(true));
    assert_eq!(bool::read(value.get("z").unwrap()), Ok(false));
    assert_eq!(value.get("x"), None);
    assert_eq!(i32::read(&Value::Integer(1 << 40)), Err(JsonReadError::expected("int")));
    let error = JsonReadError::expected("int").within("perm").within("topicConfigTable");
    assert_eq!(error.to_string(), "<perm>: int expected");
}

proptest! {
    #[test]
    fn strings_come_back(text in any::<String>()) {
        for style in [JsonStyle::Compact, JsonStyle::Pretty, JsonStyle::Standard] {
            let mut writer = JsonWriter::new(style);
            writer.string(&text);
            let written = writer.finish();
            prop_assert_eq!(from_slice::<String>(&written).unwrap(), text.as_str());
        }
    }

    #[test]
    fn integers_come_back(number in any::<i64>()) {
        let mut out = BytesMut::new();
        write_integer(&mut out, number);
        prop_assert_eq!(std::str::from_utf8(&out).unwrap(), number.to_string());
        prop_assert_eq!(from_slice::<i64>(&out).unwrap(), number);
    }

    #[test]
    fn doubles_come_back(number in any::<f64>().prop_filter("finite", |number| number.is_finite())) {
        let mut writer = JsonWriter::new(JsonStyle::Compact);
        writer.double(number);
        let written = writer.finish();
        prop_assert_eq!(from_slice::<f64>(&written).unwrap(), number);
    }

    #[test]
    fn garbage_never_panics(text in "[\\[\\]{}:,\"'\\\\u0-9a-eLnul. -]{0,40}", any_text in any::<String>()) {
        let _ = Value::parse(&text);
        let _ = Value::parse(&any_text);
        let mut lexer = Lexer::new(&text);
        let _ = lexer.skip_value();
        let mut wrapped = BytesMut::from(&b"{\"a\":"[..]);
        wrapped.put_slice(text.as_bytes());
        let _ = from_slice::<Value>(&wrapped);
    }
}

/// A key that counts how often it is compared.
#[derive(Debug)]
struct Counted(String);

impl PartialEq for Counted {
    fn eq(&self, other: &Self) -> bool {
        steps::count(1);
        self.0 == other.0
    }
}

impl Eq for Counted {}

impl std::hash::Hash for Counted {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl JsonKey for Counted {
    const IS_TEXT: bool = true;

    fn write_key(&self, out: &mut JsonWriter) {
        self.0.write_key(out);
    }

    fn from_key(key: &Value) -> Option<Self> {
        String::from_key(key).map(Counted)
    }
}

/// Keys that all have one hash under `rustc-hash`, whose constants anybody can read: the third block of 16
/// bytes begins with what the first is mixed to, which makes the mixing forget the rest of it.
fn colliding_keys(count: usize) -> Vec<String> {
    let mixed = |x: &str, y: &str| {
        let word = |text: &str| u64::from_le_bytes(text.as_bytes().try_into().unwrap());
        let (x, y) = (0x243f_6a88_85a3_08d3 ^ word(x), 0xa409_3822_299f_31d0 ^ word(y));
        let product = u128::from(x) * u128::from(y);
        (product as u64 ^ (product >> 64) as u64).to_le_bytes()
    };
    let firsts = (0..).map(|n| format!("{n:08}"));
    let usable = |first: &String| {
        let mixed = mixed(first, "00000000");
        mixed.iter().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(byte))
    };
    let first = firsts.into_iter().find(usable).unwrap();
    let mixed = String::from_utf8(mixed(&first, "00000000").to_vec()).unwrap();
    let fill = "-".repeat(16);
    (0..count).map(|n| format!("{first}00000000{fill}{mixed}{n:08}{fill}")).collect()
}

#[test]
fn maps_take_few_steps_also_for_keys_that_were_made_to_collide() {
    let text = |count| {
        let members =
            colliding_keys(count).iter().map(|key| format!("\"{key}\":1")).collect::<Vec<_>>();
        format!("{{{}}}", members.join(","))
    };
    let read =
        |text: &String| from_slice::<OrderedMap<Counted, i32>>(text.as_bytes()).unwrap().len();
    assert_eq!(read(&text(3_000)), 3_000);
    steps::assert_n_log_n(text, read);
}

#[test]
fn texts_take_as_many_steps_as_they_are_long() {
    let escapes = |n| format!("\"{}\"", "\\u0041\\n".repeat(n));
    let nested = |n| format!("[{}]", "[[[]],{\"a\":{}}],".repeat(n));
    let keys_as_objects = |n: usize| {
        let member = |n| format!("{{\"brokerName\":\"b\",\"queueId\":{n},\"topic\":\"T\"}}:{n}");
        format!("{{{}}}", (0..n).map(member).collect::<Vec<_>>().join(","))
    };
    steps::assert_n_log_n(escapes, |text| Value::parse(text).unwrap());
    steps::assert_n_log_n(nested, |text| Value::parse(text).unwrap());
    steps::assert_n_log_n(keys_as_objects, |text| {
        from_slice::<OrderedMap<crate::message::MessageQueue, i64>>(text.as_bytes()).unwrap()
    });
    let deep = "[".repeat(1_000_000);
    assert!(steps::of(|| Value::parse(&deep)) < 100, "nesting is refused at once");
}
