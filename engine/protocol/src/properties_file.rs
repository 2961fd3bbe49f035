//! Java `.properties` files, as `java.util.Properties.load` reads them, with line numbers kept.
//!
//! A logical line is `key`, a separator (`=`, `:` or blanks) and a value. `#` and `!` open a comment
//! line, an odd number of backslashes at the end joins the next line, `\uXXXX` and `\t \n \r \f` are
//! escapes, any other escaped character stands for itself. Bytes are ISO-8859-1, lines end with LF,
//! CR or CR LF. Blanks at the end of a value belong to the value: whoever uses it decides. Unlike in
//! Java, a lone backslash on the last line is no entry.

mod edit;

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::slice::Iter;

use thiserror::Error;

use crate::steps::{self, Counted};

pub use edit::with_values;

/// The line number of a value that did not come from the file ([`PropertiesFile::set`]).
pub const NOT_FROM_FILE: usize = 0;

/// A key or value as its writer sees it. Bytes are ISO-8859-1 to Java, but files are written in UTF-8:
/// where the characters are the bytes of such text, that text is shown; where they are not, the numbers of
/// all bytes above ASCII. Control characters are shown as escapes.
#[must_use]
pub fn as_written(text: &str) -> String {
    let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
    let chars = match bytes.map(String::from_utf8) {
        // An escape has made a character that is no byte.
        None => text.to_owned(),
        Some(Ok(utf_8)) => utf_8,
        Some(Err(other)) => {
            let shown = |byte: &u8| match byte.is_ascii() {
                true => char::from(*byte).to_string(),
                false => format!("\\x{byte:02X}"),
            };
            other.as_bytes().iter().map(shown).collect()
        }
    };
    let shown = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    chars.chars().map(shown).collect()
}

/// One key with its value and the place where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyEntry {
    /// The key, unescaped.
    pub key: String,
    /// The value, unescaped; blanks at its end are kept.
    pub value: String,
    /// The line on which the key stands, from 1; [`NOT_FROM_FILE`] for a value set from outside.
    pub line: usize,
}

/// An entry without effect, because the same key is written again further down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverriddenEntry {
    /// What was written first.
    pub entry: PropertyEntry,
    /// The line that wins.
    pub by_line: usize,
}

/// A file that cannot be read as Java properties. Java refuses such a file as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PropertiesError {
    /// `\u` is not followed by four hexadecimal digits.
    #[error("line {line}: \\u must be followed by four hexadecimal digits, found {found:?}")]
    MalformedEscape {
        /// The line of the key of this entry.
        line: usize,
        /// What follows the `\u`, at most four characters.
        found: String,
    },
    /// `\uD800` to `\uDFFF` stand for a character only in pairs.
    #[error("line {line}: a surrogate escape without its other half")]
    LoneSurrogate {
        /// The line of the key of this entry.
        line: usize,
    },
}

impl PropertiesError {
    /// The line of the entry that cannot be read, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        match self {
            PropertiesError::MalformedEscape { line, .. }
            | PropertiesError::LoneSurrogate { line } => *line,
        }
    }
}

/// The entries of one `.properties` file. Every key occurs once: the last one wins, as in Java.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PropertiesFile {
    entries: Vec<PropertyEntry>,
    overridden: Vec<OverriddenEntry>,
}

impl PropertiesFile {
    /// Reads the bytes of a `.properties` file.
    ///
    /// # Errors
    /// On a malformed `\u` escape; everything else is some key and some value.
    pub fn parse(bytes: &[u8]) -> Result<Self, PropertiesError> {
        let mut written = Vec::new();
        let mut lines = LogicalLines { bytes: bytes.iter().peekable(), line: 1 };
        while let Some((line, text)) = lines.next_line() {
            let (key, value) = split_key(&text);
            let key = unescape(key, line)?;
            let value = unescape(value, line)?;
            written.push(PropertyEntry { key, value, line });
        }
        Ok(PropertiesFile::of_written(written))
    }

    /// The entries in force, in the order of their lines.
    #[must_use]
    pub fn entries(&self) -> &[PropertyEntry] {
        &self.entries
    }

    /// The entries without effect, in the order of the lines that win.
    #[must_use]
    pub fn overridden(&self) -> &[OverriddenEntry] {
        &self.overridden
    }

    /// The entry in force for `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&PropertyEntry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Sets `key` as if the file said so; the entry carries the line [`NOT_FROM_FILE`].
    pub fn set(&mut self, key: &str, value: &str) {
        self.entries.retain(|entry| entry.key != key);
        let (key, value) = (key.to_owned(), value.to_owned());
        self.entries.push(PropertyEntry { key, value, line: NOT_FROM_FILE });
    }

    /// Takes out the entries in force that `pick` picks, and with them what they override.
    pub fn take(&mut self, pick: impl Fn(&PropertyEntry) -> bool) -> Vec<PropertyEntry> {
        let (taken, kept) = std::mem::take(&mut self.entries).into_iter().partition(&pick);
        self.entries = kept;
        self.overridden.retain(|overridden| !pick(&overridden.entry));
        taken
    }

    /// Of equal keys the last one is in force, each earlier one is overridden by the next.
    fn of_written(written: Vec<PropertyEntry>) -> Self {
        let mut next_with_key = BTreeMap::new();
        let mut by_line = vec![None; written.len()];
        for (index, entry) in written.iter().enumerate().rev() {
            by_line[index] = next_with_key.insert(Counted(&entry.key), entry.line);
        }
        let mut file = PropertiesFile::default();
        for (entry, by_line) in written.into_iter().zip(by_line) {
            match by_line {
                Some(by_line) => file.overridden.push(OverriddenEntry { entry, by_line }),
                None => file.entries.push(entry),
            }
        }
        file.overridden.sort_by_key(|overridden| overridden.by_line);
        file
    }
}

/// Joins continuation lines and drops comments and empty lines.
struct LogicalLines<'a> {
    bytes: Peekable<Iter<'a, u8>>,
    line: usize,
}

impl LogicalLines<'_> {
    /// The next logical line with the number of its first natural line. Escapes are still in it.
    fn next_line(&mut self) -> Option<(usize, Vec<u8>)> {
        loop {
            self.skip_blanks();
            let first_line = self.line;
            match self.bytes.peek() {
                None => return None,
                Some(b'#' | b'!') => {
                    self.read_to_line_end(&mut Vec::new());
                }
                Some(_) => {
                    if let Some(text) = self.read_joined() {
                        return Some((first_line, text));
                    }
                }
            }
        }
    }

    /// One natural line and, while it ends in an odd number of backslashes, the lines after it.
    /// `None` when there is nothing in it: then the next line begins anew, a comment perhaps.
    fn read_joined(&mut self) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        loop {
            // What was joined before ends in an even number of them.
            let joined = text.len();
            self.read_to_line_end(&mut text);
            let line = text[joined..].iter().rev();
            let backslashes = line.take_while(|byte| **byte == b'\\').count();
            steps::count(backslashes);
            if backslashes % 2 == 0 {
                return (!text.is_empty()).then_some(text);
            }
            text.pop();
            self.skip_blanks();
            if text.is_empty() {
                return None;
            }
        }
    }

    /// Appends the rest of the natural line.
    fn read_to_line_end(&mut self, text: &mut Vec<u8>) {
        for byte in self.bytes.by_ref() {
            match byte {
                b'\n' => {
                    self.line += 1;
                    return;
                }
                b'\r' => {
                    self.bytes.next_if(|next| **next == b'\n');
                    self.line += 1;
                    return;
                }
                byte => text.push(*byte),
            }
        }
    }

    fn skip_blanks(&mut self) {
        while self.bytes.next_if(|byte| is_blank(**byte)).is_some() {}
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\x0c')
}

/// Cuts a logical line at its first separator that no backslash escapes.
fn split_key(text: &[u8]) -> (&[u8], &[u8]) {
    let mut escaped = false;
    let key_end = text
        .iter()
        .position(|&byte| {
            let ends_key = !escaped && (is_blank(byte) || matches!(byte, b'=' | b':'));
            escaped = byte == b'\\' && !escaped;
            ends_key
        })
        .unwrap_or(text.len());
    let (key, rest) = text.split_at(key_end);
    let mut rest = without_leading_blanks(rest);
    if let Some((b'=' | b':', value)) = rest.split_first() {
        rest = without_leading_blanks(value);
    }
    (key, rest)
}

fn without_leading_blanks(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !is_blank(*byte)).unwrap_or(text.len());
    &text[start..]
}

/// Replaces escapes. Goes through UTF-16, because two `\u` escapes may form one character.
fn unescape(text: &[u8], line: usize) -> Result<String, PropertiesError> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            units.push(u16::from(byte));
            continue;
        }
        match bytes.next() {
            None => {}
            Some(b'u') => units.push(hex_unit(bytes.by_ref().take(4), line)?),
            Some(b't') => units.push(u16::from(b'\t')),
            Some(b'n') => units.push(u16::from(b'\n')),
            Some(b'r') => units.push(u16::from(b'\r')),
            Some(b'f') => units.push(0x0c),
            Some(other) => units.push(u16::from(other)),
        }
    }
    String::from_utf16(&units).map_err(|_| PropertiesError::LoneSurrogate { line })
}

fn hex_unit(digits: impl Iterator<Item = u8>, line: usize) -> Result<u16, PropertiesError> {
    let found: String = digits.map(char::from).collect();
    let valid = found.len() == 4 && found.bytes().all(|digit| digit.is_ascii_hexdigit());
    match u16::from_str_radix(&found, 16) {
        Ok(unit) if valid => Ok(unit),
        _ => Err(PropertiesError::MalformedEscape { line, found }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Renders a parsed file as `line: key = value` so that tests are text.
    fn check(input: &str, expected: &str) {
        let file = PropertiesFile::parse(input.as_bytes()).expect("readable");
        let lines = file.entries().iter();
        let found: Vec<String> =
            lines.map(|entry| format!("{}: {}={:?}", entry.line, entry.key, entry.value)).collect();
        assert_eq!(found.join("\n"), expected, "input {input:?}");
    }

    #[test]
    fn separators() {
        check("a=1\nb:2\nc 3\nd\t4\n", "1: a=\"1\"\n2: b=\"2\"\n3: c=\"3\"\n4: d=\"4\"");
        check("a = 1\nb  :  2\nc \x0c 3", "1: a=\"1\"\n2: b=\"2\"\n3: c=\"3\"");
        check("a=:1\nb==2\nc : =3", "1: a=\":1\"\n2: b=\"=2\"\n3: c=\"=3\"");
        check("a\nb=\n=c", "1: a=\"\"\n2: b=\"\"\n3: =\"c\"");
        check(r"a\=b\:c\ d=1", "1: a=b:c d=\"1\"");
    }

    #[test]
    fn comments_and_empty_lines() {
        check("# c\n ! d\n\n \t\na=1#x\n#b=2\\\nc=3", "5: a=\"1#x\"\n7: c=\"3\"");
    }

    #[test]
    fn continuation_lines_keep_the_line_of_the_key() {
        check("a=1,\\\n   2\nb=3", "1: a=\"1,2\"\n3: b=\"3\"");
        check("a=1\\\\\nb=2", "1: a=\"1\\\\\"\n2: b=\"2\"");
        check("a=1\\\r\n2\r\nb=3", "1: a=\"12\"\n3: b=\"3\"");
        check("a=1\\\n#2", "1: a=\"1#2\"");
        check("a=1\\\n\nb=2", "1: a=\"1\"\n3: b=\"2\"");
        check("a=1\\", "1: a=\"1\"");
        check("\\\n#a\n\\\n\n  b=2", "5: b=\"2\"");
        check("a=1\n\\\n", "1: a=\"1\"");
    }

    #[test]
    fn line_ends() {
        check("a=1\r\nb=2\rc=3\n\r\nd=4", "1: a=\"1\"\n2: b=\"2\"\n3: c=\"3\"\n5: d=\"4\"");
    }

    #[test]
    fn blanks_at_the_end_belong_to_the_value() {
        check("a=1024 \nb=x\t", "1: a=\"1024 \"\n2: b=\"x\\t\"");
    }

    #[test]
    fn escapes() {
        check(r"a=\t\u0041\u4e2d\z\\", "1: a=\"\\tA中z\\\\\"");
        check(r"a=\ud83d\ude00", "1: a=\"😀\"");
    }

    #[test]
    fn bytes_are_latin_1() {
        let file = PropertiesFile::parse(b"a=\xe9").expect("readable");
        assert_eq!(file.entries()[0].value, "é");
    }

    #[test]
    fn what_is_shown_is_what_the_writer_sees() {
        let shown = |bytes: &[u8]| {
            let file = PropertiesFile::parse(bytes).expect("readable");
            as_written(&file.entries()[0].value)
        };
        assert_eq!(shown("a=0 # 主节点".as_bytes()), "0 # 主节点");
        assert_eq!(shown("a=\\u4e3b".as_bytes()), "主", "an escape is a character already");
        assert_eq!(shown(b"a=x\xd6\xf7 y"), "x\\xD6\\xF7 y", "another encoding");
        assert_eq!(shown(b"a=x\\ny"), "x\\ny");
    }

    #[test]
    fn the_last_of_two_equal_keys_wins_and_the_first_is_noted() {
        let file = PropertiesFile::parse(b"a=1\nb=2\na=3").expect("readable");
        assert_eq!(file.get("a").map(|entry| (entry.value.as_str(), entry.line)), Some(("3", 3)));
        assert_eq!(file.entries().len(), 2);
        let [noted] = file.overridden() else { panic!("one note: {:?}", file.overridden()) };
        assert_eq!((noted.entry.value.as_str(), noted.entry.line, noted.by_line), ("1", 1, 3));
    }

    #[test]
    fn a_value_set_from_outside_replaces_the_one_of_the_file() {
        let mut file = PropertiesFile::parse(b"a=1\nb=2").expect("readable");
        file.set("a", "9");
        assert_eq!(
            file.get("a"),
            Some(&PropertyEntry { key: "a".into(), value: "9".into(), line: NOT_FROM_FILE })
        );
        assert_eq!(file.entries().len(), 2);
        assert!(file.overridden().is_empty());
    }

    #[test]
    fn many_keys_and_many_joined_lines_take_few_steps() {
        let keys = |n| (0..n).map(|n| format!("k{n}=1\n")).collect::<String>();
        steps::assert_n_log_n(keys, |text| PropertiesFile::parse(text.as_bytes()));
        let joined = |n| "\\\\\\\n".repeat(n);
        steps::assert_n_log_n(joined, |text| PropertiesFile::parse(text.as_bytes()));
    }

    #[test]
    fn malformed_escapes_name_their_line() {
        let error = PropertiesFile::parse(b"a=1\nb=\\u12g4").expect_err("malformed");
        assert_eq!((error.line(), error.to_string().contains("\"12g4\"")), (2, true));
        assert_eq!(PropertiesFile::parse(b"\\u12").expect_err("malformed").line(), 1);
        assert_eq!(PropertiesFile::parse(b"a=\\u+123").expect_err("malformed").line(), 1);
        let error = PropertiesFile::parse(b"\n\na=\\ud83d").expect_err("malformed");
        assert_eq!(error, PropertiesError::LoneSurrogate { line: 3 });
    }
}
