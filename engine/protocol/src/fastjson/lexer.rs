//! A cursor over JSON text, as lenient as fastjson where peers need it.

use std::borrow::Cow;

use super::JsonError;
use crate::steps;

/// Containers nested deeper than this are refused: the reader recurses.
const DEPTH_MAX: u32 = 64;

/// Letters of a string that are looked at one by one.
const SHORT_BYTES: usize = 8;

/// What kind of value a text came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Null,
    Bool,
    Number,
    String,
    /// An array or object, as its JSON text.
    Container,
}

/// The cursor. Texts are borrowed wherever they hold no escape.
pub(crate) struct Lexer<'a> {
    text: &'a str,
    position: usize,
    depth: u32,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Lexer { text, position: 0, depth: 0 }
    }

    /// The next byte that is no white space, unread.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.position), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.position += 1;
        }
        bytes.get(self.position).copied()
    }

    pub(crate) fn error(&self, expected: &'static str) -> JsonError {
        JsonError { position: self.position, expected }
    }

    /// Nothing but white space may follow.
    pub(crate) fn end(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.error("end of text")),
        }
    }

    /// Takes `byte` if it comes next.
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.position += usize::from(found);
        found
    }

    pub(crate) fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), JsonError> {
        if self.take(byte) { Ok(()) } else { Err(self.error(expected)) }
    }

    /// Takes `null` if it comes next.
    pub(crate) fn take_null(&mut self) -> bool {
        self.peek();
        let found = self.text[self.position..].starts_with("null");
        self.position += if found { 4 } else { 0 };
        found
    }

    /// Reads an object with text keys; `member` has to take the value of each.
    pub(crate) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, &str) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.members(|lexer| {
            let key = lexer.key_text()?;
            lexer.expect(b':', "colon")?;
            member(lexer, &key)
        })
    }

    /// Reads an object; `member` has to take key, colon and value of each member.
    pub(crate) fn members(
        &mut self,
        member: impl FnMut(&mut Self) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.expect(b'{', "object")?;
        self.items(b'}', member)
    }

    /// Reads an array; `element` has to take each element.
    pub(crate) fn array(
        &mut self,
        element: impl FnMut(&mut Self) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.expect(b'[', "array")?;
        self.items(b']', element)
    }

    /// A scalar as text without quotes and escapes, or a container as its JSON text.
    pub(crate) fn value_text(&mut self) -> Result<(Token, Cow<'a, str>), JsonError> {
        match self.peek() {
            Some(b'"' | b'\'') => Ok((Token::String, self.string()?)),
            Some(b'{' | b'[') => {
                let start = self.position;
                self.skip_value()?;
                Ok((Token::Container, Cow::Borrowed(&self.text[start..self.position])))
            }
            _ => {
                let word = self.word("value")?;
                let token = match word {
                    "null" => Token::Null,
                    "true" | "false" => Token::Bool,
                    _ if word.starts_with(|c: char| c.is_ascii_digit() || c == '-') => {
                        Token::Number
                    }
                    _ => return Err(self.error("value")),
                };
                Ok((token, Cow::Borrowed(word)))
            }
        }
    }

    /// Passes over one value.
    pub(crate) fn skip_value(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'{') => self.members(|lexer| {
                // Keys may be objects; whatever they are, they are skipped like values.
                match lexer.peek() {
                    Some(b'{') => lexer.skip_value()?,
                    _ => drop(lexer.key_text()?),
                }
                lexer.expect(b':', "colon")?;
                lexer.skip_value()
            }),
            Some(b'[') => self.array(Self::skip_value),
            _ => self.value_text().map(drop),
        }
    }

    /// A quoted string, or a bare word such as an unquoted integer.
    pub(crate) fn key_text(&mut self) -> Result<Cow<'a, str>, JsonError> {
        match self.peek() {
            Some(b'"' | b'\'') => self.string(),
            _ => self.word("key").map(Cow::Borrowed),
        }
    }

    fn items(
        &mut self,
        close: u8,
        mut item: impl FnMut(&mut Self) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error("less nesting"));
        }
        while !self.take(close) {
            steps::count(1);
            item(self)?;
            if !self.take(b',') {
                self.expect(close, "comma or end of container")?;
                break;
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// Letters, digits and the signs of numbers.
    fn word(&mut self, expected: &'static str) -> Result<&'a str, JsonError> {
        self.peek();
        let rest = &self.text.as_bytes()[self.position..];
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-._$".contains(byte);
        let len = rest.iter().take_while(|byte| is_word(byte)).count();
        steps::count(len);
        if len == 0 {
            return Err(self.error(expected));
        }
        let word = &self.text[self.position..self.position + len];
        self.position += len;
        Ok(word)
    }

    fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        let quote = self.text.as_bytes()[self.position];
        self.position += 1;
        let run = self.run(quote)?;
        if self.text.as_bytes()[self.position] == quote {
            self.position += 1;
            return Ok(Cow::Borrowed(run));
        }
        let mut text = run.to_owned();
        while self.text.as_bytes()[self.position] != quote {
            self.escape(&mut text)?;
            text.push_str(self.run(quote)?);
        }
        self.position += 1;
        Ok(Cow::Owned(text))
    }

    /// The characters up to the next backslash or `quote`, which must come.
    fn run(&mut self, quote: u8) -> Result<&'a str, JsonError> {
        let rest = &self.text.as_bytes()[self.position..];
        // Most strings of a header are a few letters long: the search that is fast for long ones begins behind them.
        let is_end = |byte: &u8| *byte == quote || *byte == b'\\';
        let short = rest.len().min(SHORT_BYTES);
        let found = rest[..short].iter().position(is_end);
        match found.or_else(|| Some(short + memchr::memchr2(quote, b'\\', &rest[short..])?)) {
            Some(len) => {
                let run = &self.text[self.position..self.position + len];
                steps::count(len);
                self.position += len;
                Ok(run)
            }
            None => {
                self.position = self.text.len();
                Err(self.error("end of string"))
            }
        }
    }

    fn escape(&mut self, text: &mut String) -> Result<(), JsonError> {
        steps::count(1);
        self.position += 1;
        let letter = self.text.as_bytes().get(self.position).copied();
        let plain = match letter {
            Some(b'u') => return self.unicode_escape(text),
            Some(b'b') => '\u{8}',
            Some(b't') => '\t',
            Some(b'n') => '\n',
            Some(b'v') => '\u{b}',
            Some(b'f') => '\u{c}',
            Some(b'r') => '\r',
            Some(digit @ b'0'..=b'7') => char::from(digit - b'0'),
            Some(sign @ (b'"' | b'\'' | b'\\' | b'/')) => char::from(sign),
            _ => return Err(self.error("escape")),
        };
        self.position += 1;
        text.push(plain);
        Ok(())
    }

    /// The position is at the `u`. Surrogates that have no partner read as U+FFFD.
    fn unicode_escape(&mut self, text: &mut String) -> Result<(), JsonError> {
        let unit = self.four_digits()?;
        let mut code = u32::from(unit);
        let is_high = (0xd800..0xdc00).contains(&unit);
        if is_high && self.text[self.position..].starts_with("\\u") {
            let back = self.position;
            self.position += 1;
            let low = self.four_digits()?;
            if (0xdc00..0xe000).contains(&low) {
                code = 0x10000 + ((code - 0xd800) << 10) + (u32::from(low) - 0xdc00);
            } else {
                self.position = back;
            }
        }
        text.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        Ok(())
    }

    /// The position is at the `u`.
    fn four_digits(&mut self) -> Result<u16, JsonError> {
        self.position += 1;
        let digits = self.text.as_bytes().get(self.position..self.position + 4);
        let unit = digits
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok())
            .ok_or_else(|| self.error("four hexadecimal digits"))?;
        self.position += 4;
        Ok(unit)
    }
}
