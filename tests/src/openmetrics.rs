//! The grammar of OpenMetrics text, read strictly: what a scraper would pass over is an error here.

use std::collections::{BTreeMap, BTreeSet};

/// Values by their names with labels, as they are written: `name{label="value"}`.
pub type Figures = BTreeMap<String, f64>;

/// A family whose samples are being read.
struct Family<'a> {
    name: &'a str,
    kind: &'a str,
    /// Upper bound and cumulative count of the last class of a histogram.
    class: Option<(f64, f64)>,
}

/// Reads a whole text.
///
/// # Errors
/// The first line that is not as it should be, and why.
pub fn parse(text: &str) -> Result<Figures, String> {
    let body = text.strip_suffix("# EOF\n").ok_or("it does not end with # EOF")?;
    let mut figures = Figures::new();
    let mut known = BTreeSet::new();
    let mut family: Option<Family<'_>> = None;
    for line in body.lines() {
        let wrong = |why: &str| format!("{line:?} {why}");
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').ok_or_else(|| wrong("helps nobody"))?;
            if !is_name(name) || text.is_empty() || !known.insert(name) {
                return Err(wrong("begins no new family"));
            }
            family = Some(Family { name, kind: "", class: None });
        } else if let Some(typed) = line.strip_prefix("# TYPE ") {
            let of_family = family.as_mut().filter(|it| it.kind.is_empty());
            let of_family = of_family.ok_or_else(|| wrong("is no family's"))?;
            let kind = typed.strip_prefix(of_family.name).and_then(|rest| rest.strip_prefix(' '));
            let kind = kind.filter(|kind| ["counter", "gauge", "histogram"].contains(kind));
            of_family.kind = kind.ok_or_else(|| wrong("is no type"))?;
        } else {
            let family = family.as_mut().ok_or_else(|| wrong("is no family's"))?;
            let (name, value) = sample(line).ok_or_else(|| wrong("is no sample"))?;
            family.check(name, value).map_err(|why| wrong(&why))?;
            if figures.insert(name.to_owned(), value).is_some() {
                return Err(wrong("was there before"));
            }
        }
    }
    Ok(figures)
}

/// Name with labels, and value.
fn sample(line: &str) -> Option<(&str, f64)> {
    let (name, value) = line.rsplit_once(' ')?;
    Some((name, value.parse().ok()?))
}

impl Family<'_> {
    fn check(&mut self, sample: &str, value: f64) -> Result<(), String> {
        let (name, labels) = match sample.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').ok_or("has no }")?),
            None => (sample, ""),
        };
        let labels = labels_of(labels).ok_or("has labels that are none")?;
        let suffix = name.strip_prefix(self.name).ok_or("is of another family")?;
        match (self.kind, suffix) {
            ("counter", "_total") if value >= 0.0 => Ok(()),
            ("gauge", "") | ("histogram", "_sum") => Ok(()),
            ("histogram", "_count") => Ok(()),
            ("histogram", "_bucket") => self.check_class(&labels, value),
            _ => Err(format!("is no sample of a {}", self.kind)),
        }
    }

    /// Classes grow, and so do their counts.
    fn check_class(&mut self, labels: &[(String, String)], count: f64) -> Result<(), String> {
        let [(name, bound)] = labels else { return Err("has other labels than le".to_owned()) };
        let bound: f64 = bound.parse().map_err(|_| "has no bound".to_owned())?;
        let is_next = self.class.is_none_or(|(before, less)| before < bound && less <= count);
        self.class = Some((bound, count));
        if name == "le" && is_next { Ok(()) } else { Err("is out of order".to_owned()) }
    }
}

/// Names and values of labels, `a="b",c="d"`; nothing where they are not written so.
fn labels_of(mut text: &str) -> Option<Vec<(String, String)>> {
    let mut labels = Vec::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = rest.char_indices();
        let end = loop {
            match characters.next()? {
                (at, '"') => break at,
                (_, '\\') => value.push(match characters.next()?.1 {
                    'n' => '\n',
                    escaped @ ('"' | '\\') => escaped,
                    _ => return None,
                }),
                (_, character) => value.push(character),
            }
        };
        if !is_name(name) || name.contains(':') {
            return None;
        }
        labels.push((name.to_owned(), value));
        let rest = &rest[end + 1..];
        text = if rest.is_empty() {
            rest
        } else {
            rest.strip_prefix(',').filter(|it| !it.is_empty())?
        };
    }
    Some(labels)
}

fn is_name(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
    name.bytes().all(is_part) && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "# HELP a_seconds How long.\n# TYPE a_seconds histogram\n";

    #[test]
    fn what_is_right_is_read() {
        let text = "# HELP a A.\n# TYPE a counter\na_total{t=\"x\\\"y\",g=\"\"} 3\n# HELP b B.\n# TYPE b gauge\nb 2.5\n# EOF\n";
        let figures = parse(text).unwrap();
        assert_eq!(figures.len(), 2);
        assert_eq!((figures["b"], figures["a_total{t=\"x\\\"y\",g=\"\"}"]), (2.5, 3.0));
        let classes = "a_seconds_bucket{le=\"0.5\"} 1\na_seconds_bucket{le=\"+Inf\"} 2\n";
        assert!(parse(&format!("{HEAD}{classes}# EOF\n")).is_ok());
    }

    #[test]
    fn what_is_wrong_is_not() {
        for (body, why) in [
            ("a 1\n", "no family"),
            ("# HELP 1a A.\n", "no new family"),
            ("# HELP a A.\n# TYPE a counter\na 1\n", "no sample of a counter"),
            ("# HELP a A.\n# TYPE a gauge\na x\n", "no sample"),
            ("# HELP a A.\n# TYPE a gauge\na 1\na 1\n", "before"),
            ("# HELP a A.\n# TYPE a gauge\na{t=x} 1\n", "labels"),
            ("# HELP a A.\n# TYPE a gauge\na{t=\"x\",} 1\n", "labels"),
            ("# HELP a A.\n# TYPE a gauge\nb 1\n", "another family"),
        ] {
            let error = parse(&format!("{body}# EOF\n")).unwrap_err();
            assert!(error.contains(why), "{body:?}: {error}");
        }
        assert!(parse("# HELP a A.\n").unwrap_err().contains("EOF"));
        let fewer = "a_seconds_bucket{le=\"0.5\"} 2\na_seconds_bucket{le=\"+Inf\"} 1\n";
        assert!(parse(&format!("{HEAD}{fewer}# EOF\n")).unwrap_err().contains("out of order"));
    }
}
