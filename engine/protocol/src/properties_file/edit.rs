//! Other values in a `.properties` file whose comments and order stay.

use super::{LogicalLines, PropertiesError, split_key, unescape};

/// The bytes of a file with other values: a key that it has keeps its place (the last one of several, which is the one
/// that counts; the others go), and one that it has not comes at its end.
///
/// # Errors
/// As for [`PropertiesFile::parse`](super::PropertiesFile::parse).
pub fn with_values(bytes: &[u8], values: &[(String, String)]) -> Result<Vec<u8>, PropertiesError> {
    let mut places = vec![None; values.len()];
    let mut lines = LogicalLines { bytes: bytes.iter().peekable(), line: 1 };
    let mut written = Vec::new();
    while let Some((line, text)) = lines.next_line() {
        let key = unescape(split_key(&text).0, line)?;
        let value = values.iter().position(|(changed, _)| *changed == key);
        if let Some(value) = value {
            places[value] = Some(written.len());
        }
        written.push((line, lines.line, value));
    }
    let natural = natural_lines(bytes);
    let mut edited = Vec::with_capacity(bytes.len());
    let mut next_line = 1;
    for (index, (first, behind, value)) in written.iter().enumerate() {
        let Some(value) = *value else { continue };
        copy(&natural, next_line, *first, &mut edited);
        if places[value] == Some(index) {
            write_entry(&values[value], &mut edited);
        }
        // The last line may have no end.
        next_line = (*behind).max(first + 1);
    }
    copy(&natural, next_line, usize::MAX, &mut edited);
    let added = values.iter().zip(&places).filter(|(_, place)| place.is_none());
    for (value, _) in added {
        if !edited.is_empty() && !edited.ends_with(b"\n") && !edited.ends_with(b"\r") {
            edited.push(b'\n');
        }
        write_entry(value, &mut edited);
    }
    Ok(edited)
}

/// Natural lines with their ends.
fn natural_lines(bytes: &[u8]) -> Vec<&[u8]> {
    let (mut lines, mut begin, mut at) = (Vec::new(), 0, 0);
    while at < bytes.len() {
        let is_end = match bytes[at] {
            b'\n' => true,
            b'\r' => bytes.get(at + 1) != Some(&b'\n'),
            _ => false,
        };
        at += 1;
        if is_end {
            lines.push(&bytes[begin..at]);
            begin = at;
        }
    }
    if begin < bytes.len() {
        lines.push(&bytes[begin..]);
    }
    lines
}

/// Copies the lines from number `from` on and before number `to`; they begin with 1.
fn copy(lines: &[&[u8]], from: usize, to: usize, out: &mut Vec<u8>) {
    let (from, to) = (from.max(1) - 1, to.max(1) - 1);
    for line in &lines[from.min(lines.len())..to.min(lines.len())] {
        out.extend_from_slice(line);
    }
}

/// `key=value` in the words of `java.util.Properties.store`.
fn write_entry((key, value): &(String, String), out: &mut Vec<u8>) {
    escape(key, true, out);
    out.push(b'=');
    escape(value, false, out);
    out.push(b'\n');
}

fn escape(text: &str, is_key: bool, out: &mut Vec<u8>) {
    let mut is_first = true;
    for unit in text.encode_utf16() {
        let byte = u8::try_from(unit).ok().filter(u8::is_ascii);
        match byte {
            Some(b'\t') => out.extend_from_slice(b"\\t"),
            Some(b'\n') => out.extend_from_slice(b"\\n"),
            Some(b'\r') => out.extend_from_slice(b"\\r"),
            Some(b'\x0c') => out.extend_from_slice(b"\\f"),
            Some(b' ') if is_key || is_first => out.extend_from_slice(b"\\ "),
            Some(byte @ (b'\\' | b'=' | b':' | b'#' | b'!')) => out.extend([b'\\', byte]),
            Some(byte) if !byte.is_ascii_control() => out.push(byte),
            _ => out.extend_from_slice(format!("\\u{unit:04X}").as_bytes()),
        }
        is_first = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::properties_file::PropertiesFile;

    fn edited(text: &str, values: &[(&str, &str)]) -> String {
        let values: Vec<_> =
            values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let bytes = with_values(text.as_bytes(), &values).unwrap();
        let file = PropertiesFile::parse(&bytes).unwrap();
        for (key, value) in &values {
            assert_eq!(file.get(key).map(|entry| &entry.value), Some(value), "{text:?}");
        }
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_value_changes_where_it_stands() {
        let text = "# the broker\na=1\n\n  b = 2\n! end\n";
        assert_eq!(edited(text, &[("b", "3")]), "# the broker\na=1\n\nb=3\n! end\n");
        assert_eq!(edited(text, &[("c", "x")]), format!("{text}c=x\n"));
        assert_eq!(edited(text, &[]), text);
        assert_eq!(edited("", &[("a", "1")]), "a=1\n");
        assert_eq!(edited("a=1", &[("b", "2")]), "a=1\nb=2\n");
        assert_eq!(edited("a=1\r\nb=2\r\nc=3", &[("b", "9"), ("c", "8")]), "a=1\r\nb=9\nc=8\n");
    }

    #[test]
    fn all_lines_of_a_value_are_replaced() {
        assert_eq!(edited("a=1,\\\n  2\nb=3\n", &[("a", "7")]), "a=7\nb=3\n");
        assert_eq!(edited("x=0\na=1\\", &[("a", "7")]), "x=0\na=7\n");
        assert_eq!(edited("a=1\nb=2\na=3\n", &[("a", "7")]), "b=2\na=7\n");
    }

    #[test]
    fn what_would_be_read_otherwise_is_escaped() {
        let odd = " =a:\\ #b\t中😀é";
        let text = edited("k=1\n", &[("k", odd), ("a b", "c d")]);
        assert_eq!(text, "k=\\ \\=a\\:\\\\ \\#b\\t\\u4E2D\\uD83D\\uDE00\\u00E9\na\\ b=c d\n");
    }
}
