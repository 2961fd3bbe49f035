//! The syntax of the files: YAML as a tree with lines, and back.
//!
//! What makes YAML dangerous or ambiguous is refused by name: anchors that are referred to, tags, several documents, keys that
//! come twice. Comments are lost when a file is written, as they are in 4.9.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write;

use saphyr_parser::{Event, Parser, ScalarStyle};

use crate::file::AclFileError;

/// How deep lists and maps may be nested; the files of 4.9 nest three.
const DEPTH_MAX: usize = 16;

/// A value, and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// From 1.
    pub(crate) line: usize,
    pub(crate) node: Node,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Scalar { text: String, is_plain: bool },
    List(Vec<Item>),
    Map(Vec<(String, Item)>),
}

/// What is not complete yet.
enum Open {
    List(Vec<Item>),
    Map { entries: Vec<(String, Item)>, keys: BTreeSet<String>, key: Option<String> },
}

impl Item {
    /// A text that is written in quotes.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Item { line: 0, node: Node::Scalar { text: text.into(), is_plain: false } }
    }

    /// A number or a truth value.
    pub(crate) fn plain(text: impl ToString) -> Self {
        Item { line: 0, node: Node::Scalar { text: text.to_string(), is_plain: true } }
    }

    /// A list of texts.
    pub(crate) fn texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        Item { line: 0, node: Node::List(texts.into_iter().map(Item::text).collect()) }
    }

    /// Whether nothing stands there.
    pub(crate) fn is_null(&self) -> bool {
        let Node::Scalar { text, is_plain: true } = &self.node else { return false };
        matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }
}

/// The one document of a file; `None` for a file without one.
pub(crate) fn parse(text: &str) -> Result<Option<Item>, AclFileError> {
    let mut open: Vec<(usize, Open)> = Vec::new();
    let mut root: Option<Item> = None;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            AclFileError::new(error.marker().line(), format!("no YAML: {}", error.info()))
        })?;
        let line = span.start.line();
        let refused = |what: &str| Err(AclFileError::new(line, what));
        let done = match event {
            Event::Alias(_) => {
                return refused(
                    "* begins a reference to another value; an address that is * is written in quotes",
                );
            }
            Event::Scalar(.., Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => {
                return refused(
                    "! begins a tag, which is not taken; a text that begins so is written in quotes",
                );
            }
            Event::Scalar(text, style, ..) => scalar(text, style, line),
            Event::SequenceStart(..) | Event::MappingStart(..) if open.len() >= DEPTH_MAX => {
                return refused("lists and maps are nested too deeply");
            }
            Event::SequenceStart(..) => {
                open.push((line, Open::List(Vec::new())));
                continue;
            }
            Event::MappingStart(..) => {
                let map = Open::Map { entries: Vec::new(), keys: BTreeSet::new(), key: None };
                open.push((line, map));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some((line, Open::List(items))) => Item { line, node: Node::List(items) },
                Some((line, Open::Map { entries, .. })) => Item { line, node: Node::Map(entries) },
                None => return refused("no YAML: something ends that did not begin"),
            },
            Event::DocumentStart(_) if root.is_some() => {
                return refused("a second document begins; one is taken");
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => continue,
        };
        match open.last_mut() {
            None => root = Some(done),
            Some((_, parent)) => parent.take(done)?,
        }
    }
    Ok(root.filter(|root| !root.is_null()))
}

fn scalar(text: Cow<'_, str>, style: ScalarStyle, line: usize) -> Item {
    let is_plain = matches!(style, ScalarStyle::Plain);
    Item { line, node: Node::Scalar { text: text.into_owned(), is_plain } }
}

impl Open {
    /// Adds a value, or the key of the next one.
    fn take(&mut self, item: Item) -> Result<(), AclFileError> {
        match self {
            Open::List(items) => items.push(item),
            Open::Map { entries, keys, key } => match key.take() {
                Some(key) => entries.push((key, item)),
                None => {
                    let line = item.line;
                    let Node::Scalar { text, .. } = item.node else {
                        return Err(AclFileError::new(line, "a key is neither a list nor a map"));
                    };
                    if !keys.insert(text.clone()) {
                        return Err(AclFileError::new(line, format!("{text} is written twice")));
                    }
                    *key = Some(text);
                }
            },
        }
        Ok(())
    }
}

/// A file with these entries.
pub(crate) fn write(entries: &[(String, Item)]) -> String {
    let mut out = String::new();
    write_map(&mut out, entries, 0, false);
    out
}

/// `has_begun`: the first line already has its indent.
fn write_map(out: &mut String, entries: &[(String, Item)], indent: usize, has_begun: bool) {
    for (n, (key, item)) in entries.iter().enumerate() {
        if n > 0 || !has_begun {
            out.extend(std::iter::repeat_n(' ', indent));
        }
        if key.chars().all(|it| it.is_ascii_alphanumeric() || it == '_') && !key.is_empty() {
            out.push_str(key);
        } else {
            write_quoted(out, key);
        }
        out.push(':');
        write_value(out, &item.node, indent + 2);
    }
}

/// Behind `key:` or `-`.
fn write_value(out: &mut String, node: &Node, indent: usize) {
    match node {
        Node::Scalar { text, is_plain } => {
            if *is_plain && !text.contains('\n') {
                if !text.is_empty() {
                    out.push(' ');
                    out.push_str(text);
                }
            } else {
                out.push(' ');
                write_quoted(out, text);
            }
            out.push('\n');
        }
        Node::List(items) if items.is_empty() => out.push_str(" []\n"),
        Node::Map(entries) if entries.is_empty() => out.push_str(" {}\n"),
        Node::Map(entries) => {
            out.push('\n');
            write_map(out, entries, indent, false);
        }
        Node::List(items) => {
            out.push('\n');
            for item in items {
                out.extend(std::iter::repeat_n(' ', indent));
                out.push('-');
                match &item.node {
                    Node::Map(entries) if !entries.is_empty() => {
                        out.push(' ');
                        write_map(out, entries, indent + 2, true);
                    }
                    node => write_value(out, node, indent + 2),
                }
            }
        }
    }
}

/// In double quotes, with JSON's escapes, which YAML has as well.
fn write_quoted(out: &mut String, text: &str) {
    out.push('"');
    for it in text.chars() {
        match it {
            '"' | '\\' => out.extend(['\\', it]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            it if it.is_control() || matches!(it, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                // Writing to a `String` cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(it));
            }
            it => out.push(it),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(text: &str) -> String {
        parse(text).expect_err(text).to_string()
    }

    #[test]
    fn what_is_dangerous_or_ambiguous_is_refused_with_its_line() {
        assert!(error("a: &x 1\nb: *x").starts_with("line 2: * begins a reference"));
        assert!(error("list:\n- *").starts_with("line 2: "), "an address that is not quoted");
        assert!(
            error("a: !!javax.script.ScriptEngineManager []").starts_with("line 1: ! begins a tag")
        );
        assert_eq!(error("a: 1\nb: 2\na: 3"), "line 3: a is written twice");
        assert_eq!(error("a: 1\n---\nb: 2"), "line 2: a second document begins; one is taken");
        assert_eq!(error("[a]: 1"), "line 1: a key is neither a list nor a map");
        assert_eq!(error(&"[".repeat(20)), "line 1: lists and maps are nested too deeply");
        assert!(error("a: [1").contains("no YAML"));
        for empty in ["", "# nothing\n", "---\n", "~"] {
            assert_eq!(parse(empty), Ok(None), "{empty:?}");
        }
    }

    #[test]
    fn what_is_written_is_what_was_read() {
        let text = "a: 1\nb:\n- x: \"y z\"\n  n: ~\n- [p, q]\n- 'two\n\n  lines'\nc: {}\nd: []\n'e: f': ''\n";
        let written = "a: 1\nb:\n  - x: \"y z\"\n    n: ~\n  -\n    - p\n    - q\n  - \"two\\nlines\"\nc: {}\n\
                       d: []\n\"e: f\": \"\"\n";
        let Some(Item { node: Node::Map(entries), .. }) = parse(text).expect("readable") else {
            panic!("no map")
        };
        assert_eq!(write(&entries), written);
        assert_eq!(reread(&entries), entries.into_iter().map(without_lines).collect::<Vec<_>>());
    }

    fn without_lines((key, item): (String, Item)) -> (String, Item) {
        (key, strip(item))
    }

    fn strip(item: Item) -> Item {
        let node = match item.node {
            Node::List(items) => Node::List(items.into_iter().map(strip).collect()),
            Node::Map(entries) => Node::Map(entries.into_iter().map(without_lines).collect()),
            node => node,
        };
        Item { line: 0, node }
    }

    fn reread(entries: &[(String, Item)]) -> Vec<(String, Item)> {
        match parse(&write(entries)).expect("what was written") {
            Some(Item { node: Node::Map(entries), .. }) => {
                entries.into_iter().map(without_lines).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    fn trees() -> impl Strategy<Value = Item> {
        let leaf = any::<String>().prop_map(Item::text);
        leaf.prop_recursive(4, 32, 4, |inner| {
            let list = prop::collection::vec(inner.clone(), 0..4).prop_map(Node::List);
            let map = prop::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|map| Node::Map(map.into_iter().collect()));
            prop_oneof![list, map].prop_map(|node| Item { line: 0, node })
        })
    }

    proptest! {
        #[test]
        fn every_text_comes_back(key in any::<String>(), tree in trees()) {
            let entries = vec![(key, tree)];
            prop_assert_eq!(reread(&entries), entries);
        }

        #[test]
        fn nothing_that_is_read_panics(text in "[-a\\[\\]{}:,*&!|>'\"# \n0]{0,60}") {
            let _ = parse(&text);
        }
    }
}
