//! Tokens of an expression (the tokens of RocketMQ 4.9 `SelectorParser.jj`).

use crate::error::CompileError;

/// Most characters of a text that an error repeats.
const SHOWN_CHARS_MAX: usize = 32;

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: TokenKind<'a>,
    /// Where it begins, in bytes.
    pub(crate) at: usize,
}

/// What a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind<'a> {
    /// A property's name, as written.
    Identifier(&'a str),
    /// Digits, without the `L` that may follow them.
    Decimal(&'a str),
    /// A number with a point or an exponent.
    Float(&'a str),
    /// A text, without its quotes and with `''` as one.
    Text(String),
    /// A reserved word, in capitals.
    Word(&'static str),
    /// A sign.
    Sign(&'static str),
    /// Behind the last one.
    End,
}

impl TokenKind<'_> {
    /// The token as an error shows it.
    pub(crate) fn shown(&self) -> String {
        match self {
            TokenKind::Identifier(text) | TokenKind::Decimal(text) | TokenKind::Float(text) => {
                text.chars().take(SHOWN_CHARS_MAX).collect()
            }
            TokenKind::Text(text) => {
                format!("'{}'", text.chars().take(SHOWN_CHARS_MAX).collect::<String>())
            }
            TokenKind::Word(text) | TokenKind::Sign(text) => (*text).to_owned(),
            TokenKind::End => "the end".to_owned(),
        }
    }
}

/// The reserved words, in any case.
const WORDS: [&str; 9] = ["NOT", "AND", "OR", "BETWEEN", "IN", "TRUE", "FALSE", "NULL", "IS"];

/// The signs; of those that begin alike the longer first.
const SIGNS: [&str; 11] = ["<>", "<=", ">=", "<", ">", "=", "(", ")", ",", "+", "-"];

/// The tokens of `text`, with [`TokenKind::End`] at last.
///
/// # Errors
/// At the first character that begins none, or a text or comment without end.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token<'_>>, CompileError> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks()?;
        let at = lexer.at;
        let kind = lexer.next()?;
        let is_end = kind == TokenKind::End;
        tokens.push(Token { kind, at });
        if is_end {
            return Ok(tokens);
        }
        assert!(lexer.at > at, "every token has a length");
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Passes over blanks and comments. A line comment may end with the text: 4.9 wants a line end there,
    /// and else takes `--` for two signs.
    fn skip_blanks(&mut self) -> Result<(), CompileError> {
        loop {
            let rest = self.rest();
            let rest = rest.trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']);
            self.at = self.text.len() - rest.len();
            let comment_bytes = if rest.starts_with("--") {
                rest.find(['\n', '\r']).unwrap_or(rest.len())
            } else if let Some(comment) = rest.strip_prefix("/*") {
                let end = comment.find("*/");
                end.ok_or_else(|| CompileError::at(self.text, self.at, "a comment without end"))?
                    + 4
            } else {
                return Ok(());
            };
            self.at += comment_bytes;
        }
    }

    fn next(&mut self) -> Result<TokenKind<'a>, CompileError> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(TokenKind::End) };
        match first {
            'a'..='z' | 'A'..='Z' | '_' | '$' => Ok(self.word()),
            '0'..='9' => Ok(self.number()),
            '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => Ok(self.number()),
            '\'' => self.quoted(),
            _ => {
                let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign));
                let sign = sign.ok_or_else(|| {
                    CompileError::at(self.text, self.at, format!("the character '{first}'"))
                })?;
                self.at += sign.len();
                Ok(TokenKind::Sign(sign))
            }
        }
    }

    fn word(&mut self) -> TokenKind<'a> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
        let word = self.take_while(is_part);
        let reserved = WORDS.into_iter().find(|reserved| word.eq_ignore_ascii_case(reserved));
        reserved.map_or(TokenKind::Identifier(word), TokenKind::Word)
    }

    fn number(&mut self) -> TokenKind<'a> {
        let begin = self.at;
        self.take_while(|c| c.is_ascii_digit());
        let has_point = self.rest().starts_with('.');
        if has_point {
            self.at += 1;
            self.take_while(|c| c.is_ascii_digit());
        }
        if self.exponent() || has_point {
            return TokenKind::Float(&self.text[begin..self.at]);
        }
        let digits = &self.text[begin..self.at];
        if self.rest().starts_with(['l', 'L']) {
            self.at += 1;
        }
        TokenKind::Decimal(digits)
    }

    /// Takes `E`, a sign and digits, if they are there.
    fn exponent(&mut self) -> bool {
        let Some(behind) = self.rest().strip_prefix(['e', 'E']) else { return false };
        let digits = behind.strip_prefix(['+', '-']).unwrap_or(behind);
        if !digits.starts_with(|c: char| c.is_ascii_digit()) {
            return false;
        }
        self.at += self.rest().len() - digits.len();
        self.take_while(|c| c.is_ascii_digit());
        true
    }

    fn quoted(&mut self) -> Result<TokenKind<'a>, CompileError> {
        let begin = self.at;
        let mut value = String::new();
        self.at += 1;
        loop {
            let Some(end) = self.rest().find('\'') else {
                return Err(CompileError::at(self.text, begin, "a text without end"));
            };
            value.push_str(&self.rest()[..end]);
            self.at += end + 1;
            if !self.rest().starts_with('\'') {
                return Ok(TokenKind::Text(value));
            }
            value.push('\'');
            self.at += 1;
        }
    }

    fn take_while(&mut self, is_part: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }
}
