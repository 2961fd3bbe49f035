//! Every rule of the grammar and of comparing, by tables; and what holds for any text.

use mq_protocol::message::{PropertiesView, append_property};
use proptest::prelude::*;

use super::*;

fn properties(items: &[(&str, &str)]) -> String {
    let mut text = String::new();
    items.iter().for_each(|(name, value)| append_property(&mut text, name, value));
    text
}

/// Yes, no, unknown, or no answer at all.
fn answer(expression: &str, items: &[(&str, &str)]) -> &'static str {
    let compiled = Expression::compile(expression);
    let compiled = compiled.unwrap_or_else(|error| panic!("{expression}: {error}"));
    let properties = properties(items);
    let view = PropertiesView::new(&properties);
    let answer = match compiled.evaluate(view) {
        Ok(Some(true)) => "yes",
        Ok(Some(false)) => "no",
        Ok(None) => "unknown",
        Err(_) => "error",
    };
    assert_eq!(compiled.matches(view), answer == "yes", "only what is known passes: {expression}");
    answer
}

fn assert_answers(items: &[(&str, &str)], rows: &[(&str, &str)]) {
    let answers: Vec<_> = rows.iter().map(|(text, _)| (*text, answer(text, items))).collect();
    assert_eq!(answers, rows, "with {items:?}");
}

fn refused(text: &str) -> String {
    match Expression::compile(text) {
        Ok(_) => panic!("{text} is no expression"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn properties_are_compared_as_what_they_are_compared_with() {
    let items =
        [("n", "10"), ("m", "9"), ("big", "3000000000"), ("f", "5.5"), ("s", "x"), ("t", "True")];
    assert_answers(
        &items,
        &[
            ("n = 10", "yes"),
            ("10 = n", "yes"),
            ("n = 10L", "yes"),
            ("n = 10.0", "yes"),
            ("n <> 10", "no"),
            ("n > 9 AND n >= 10 AND n < 11 AND n <= 10", "yes"),
            ("9 < n", "yes"),
            ("n > -1 AND n > +1 AND n = - - 10", "yes"),
            // Two properties: as texts for =, as numbers for <.
            ("n > m", "yes"),
            ("n = m", "no"),
            ("n = f", "no"),
            ("s = s AND s <> n", "yes"),
            ("s = 'x' AND s <> 'y' AND 'x' = s", "yes"),
            ("n = '10'", "yes"),
            ("n = '10.0'", "no"),
            // A whole number is as large as the literal.
            ("big > 5", "error"),
            ("big > 5000000000", "no"),
            ("big > 5.0", "yes"),
            ("f > 5", "error"),
            ("f > 5.4", "yes"),
            ("f = 5.50", "yes"),
            ("f > 54E-1 AND f < .6e1", "yes"),
            ("s > 1", "error"),
            ("s = 1", "error"),
            ("s > m", "error"),
            ("t = TRUE", "yes"),
            ("t = FALSE", "no"),
            ("s = FALSE", "yes"),
            ("TRUE = t", "error"),
            ("TRUE = TRUE AND TRUE <> FALSE", "yes"),
            ("1 = 1.0 AND 1 < 2 AND 2147483648 > 2147483647", "yes"),
            ("1 = 'x'", "error"),
            // The sign is for numbers: a property is a text.
            ("-n = 10", "unknown"),
            ("-n < 10", "unknown"),
            ("n = -10", "no"),
        ],
    );
}

#[test]
fn numbers_are_read_as_java_reads_them() {
    let is_double = |text: &str| answer("a > 1.5", &[("a", text)]) != "error";
    for text in ["2", " 2 ", "+2", "-2.", ".2", "2e3", "2E-3", "2d", "2.5F", "NaN", "-Infinity"] {
        assert!(is_double(text), "{text}");
    }
    for text in ["x", "inf", "nan", "infinity", "1_0", "0x1p3", "2L", "2 3", "-", "e5", "."] {
        assert!(!is_double(text), "{text}");
    }
    let is_int = |text: &str| answer("a > 1", &[("a", text)]) != "error";
    for (text, is) in [("+2", true), ("-2", true), ("007", true), (" 2", false), ("2.0", false)] {
        assert_eq!(is_int(text), is, "{text}");
    }
    // NaN is above everything and like itself; minus nothing is below nothing.
    assert_eq!(answer("a > 1E300", &[("a", "NaN")]), "yes");
    assert_eq!(answer("a >= b AND a <= b", &[("a", "NaN"), ("b", "-NaN")]), "yes");
    assert_eq!(answer("a < b", &[("a", "-0"), ("b", "0.0")]), "yes");
    let long = "1".repeat(1_000);
    assert!(!is_double(&long) && !is_int(&long));
    assert_eq!(answer(&format!("a = '{long}'"), &[("a", &long)]), "yes");
}

#[test]
fn what_is_unknown_is_not_known() {
    assert_answers(
        &[("b", "1")],
        &[
            ("a = 1", "unknown"),
            ("a <> 1", "unknown"),
            ("a > 1", "unknown"),
            ("1 < a", "unknown"),
            // A null to the right of = is something else: it is not equal.
            ("1 = a", "no"),
            ("b = a", "no"),
            ("b <> a", "yes"),
            ("a = c", "yes"),
            ("NOT (a > 1)", "unknown"),
            ("a > 1 AND b = 1", "unknown"),
            ("b = 1 AND a > 1", "unknown"),
            ("a > 1 AND b = 2", "no"),
            ("a > 1 OR b = 1", "yes"),
            ("a > 1 OR b = 2", "unknown"),
            ("a BETWEEN 1 AND 2", "unknown"),
            ("a NOT BETWEEN 1 AND 2", "unknown"),
            ("a IN ('1')", "unknown"),
            ("a NOT IN ('1')", "unknown"),
            ("a IS NULL", "yes"),
            ("a IS NOT NULL", "no"),
            ("b IS NULL", "no"),
            ("b IS NOT NULL", "yes"),
            ("(a > 1) IS NULL", "yes"),
            ("NULL IS NULL", "yes"),
            ("NULL", "unknown"),
            ("NOT NULL", "unknown"),
            ("TRUE", "yes"),
            ("FALSE", "no"),
            // A property by itself is a text, and no text is true.
            ("b", "no"),
            ("a", "unknown"),
            ("NOT b", "yes"),
        ],
    );
}

#[test]
fn words_bind_as_in_rocketmq() {
    assert_answers(
        &[("a", "1"), ("b", "2"), ("x", "text")],
        &[
            ("a = 1 OR b = 3 AND b = 4", "yes"),
            ("(a = 1 OR b = 3) AND b = 4", "no"),
            // (NOT a) = 1: a condition is no number.
            ("NOT a = 1", "no"),
            ("NOT (a = 1)", "no"),
            ("NOT NOT a IS NULL", "no"),
            ("a = b > 1", "no"),
            ("a = 1 = TRUE", "yes"),
            ("a BETWEEN 1 AND 2 AND b BETWEEN 2 AND 3", "yes"),
            ("a NOT BETWEEN 2 AND 3 AND b NOT BETWEEN 3 AND 1", "yes"),
            ("a BETWEEN b AND 5", "no"),
            ("a BETWEEN -1 AND b", "yes"),
            ("x BETWEEN 1 AND 2", "error"),
            ("a IN ('1', '2') AND a NOT IN ('2', '3')", "yes"),
            // What decides saves the rest, errors included; what does not, does not.
            ("a = 1 OR x > 1", "yes"),
            ("x > 1 OR a = 1", "error"),
            ("a = 2 AND x > 1", "no"),
            ("x > 1 AND a = 2", "error"),
            ("NOT (x > 1)", "error"),
            ("a BETWEEN 5 AND x", "no"),
        ],
    );
}

#[test]
fn texts_are_read_as_they_are_written() {
    let items = [("TAGS", "it's"), ("_a$1", "é\n"), ("empty", "-")];
    assert_answers(
        &items,
        &[
            ("TAGS = 'it''s'", "yes"),
            ("TAGS IN ('x', 'it''s')", "yes"),
            ("tags = 'it''s'", "unknown"),
            ("_a$1 = 'é\n'", "yes"),
            ("TAGS Is nOt nUlL aNd TAGS in('it''s')", "yes"),
            ("empty <> ''", "yes"),
            ("/* a * b ** */ TAGS -- to the end\n = -- and more\r 'it''s' -- the last", "yes"),
            ("TAGS\t=\u{c}\r\n'it''s'", "yes"),
            ("CONTAINS IS NULL AND LIKE IS NULL", "yes"),
        ],
    );
    // The last value of a repeated name counts.
    assert_eq!(answer("a = 2", &[("a", "1"), ("b", "7"), ("a", "2")]), "yes");
}

#[test]
fn what_is_no_expression_is_refused_with_its_place() {
    let rows = [
        ("", "the end, where a property, a literal or ( should be at line 1, column 1"),
        ("a >", "the end, where a property, a literal or ( should be at line 1, column 4"),
        ("a = 1 b", "b, where AND, OR or the end should be at line 1, column 7"),
        ("a LIKE 'x'", "LIKE, where AND, OR or the end should be at line 1, column 3"),
        ("a CONTAINS 'x'", "CONTAINS, where AND, OR or the end should be at line 1, column 3"),
        ("a = 1 ;", "the character ';' at line 1, column 7"),
        ("a == 1", "=, where a property, a literal or ( should be at line 1, column 4"),
        ("(a = 1", "the end, where ) should be at line 1, column 7"),
        ("a = 1)", "), where AND, OR or the end should be at line 1, column 6"),
        ("a\n= 'x", "a text without end at line 2, column 3"),
        ("a /* b", "a comment without end at line 1, column 3"),
        ("a = NULL", "NULL, which cannot be compared (IS NULL is) at line 1, column 5"),
        ("null <> a", "NULL, which cannot be compared (IS NULL is) at line 1, column 1"),
        ("TRUE = 1", "a literal that TRUE or FALSE is compared with at line 1, column 8"),
        ("a > 'x'", "what is no number and cannot be ordered at line 1, column 5"),
        ("a > TRUE", "what is no number and cannot be ordered at line 1, column 5"),
        ("a > NULL", "what is no number and cannot be ordered at line 1, column 5"),
        ("a < 1 < 2", "what is no number and cannot be ordered at line 1, column 1"),
        ("NOT a > 1", "what is no number and cannot be ordered at line 1, column 1"),
        ("a BETWEEN 2 AND 1", "the lower bound, which is above the upper one at line 1, column 11"),
        ("a BETWEEN 'a' AND 'b'", "what is no number and cannot be ordered at line 1, column 11"),
        ("a BETWEEN 1 OR 2", "OR, where AND should be at line 1, column 13"),
        ("a NOT b", "b, where BETWEEN or IN should be at line 1, column 7"),
        ("a IS b", "b, where NULL should be at line 1, column 6"),
        ("a IN ()", "), where a text should be at line 1, column 7"),
        ("a IN (1)", "1, where a text should be at line 1, column 7"),
        ("a IN ('1'", "the end, where , or ) should be at line 1, column 10"),
        ("a IN '1'", "'1', where ( should be at line 1, column 6"),
        ("'a' IN ('1')", "what is no property, before IN at line 1, column 1"),
        ("1", "what is no condition at line 1, column 1"),
        ("a = 1 AND 'x'", "what is no condition at line 1, column 11"),
        ("-a", "what is no condition at line 1, column 1"),
        ("a = 007", "a whole number that begins with 0 at line 1, column 5"),
        ("a = 9223372036854775808", "a whole number above 9223372036854775807 at line 1, column 5"),
        ("a > 0.0", "a number less than 4.9E-324 (write 0) at line 1, column 5"),
        ("a = 12abc", "abc, where AND, OR or the end should be at line 1, column 7"),
        ("é = 1", "the character 'é' at line 1, column 1"),
        ("a = ü", "the character 'ü' at line 1, column 5"),
    ];
    for (text, what) in rows {
        assert_eq!(refused(text), format!("Invalid MessageSelector. {what}"), "{text}");
    }
    assert!(refused("a > 1E400").contains("a number greater than"));
}

#[test]
fn expressions_are_bounded() {
    let nested = |depth: usize| format!("{}a = 1{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Expression::compile(&nested(DEPTH_MAX - 1)).is_ok());
    assert!(refused(&nested(DEPTH_MAX)).contains("nested more than 128 deep"));
    assert!(refused(&"NOT ".repeat(10_000)).contains("nested more than 128 deep"));
    assert!(refused(&"(".repeat(60_000)).contains("nested more than 128 deep"));

    let joined = |count: usize| vec!["a=1"; count].join(" OR ");
    let small = Expression::compile(&joined(500)).unwrap();
    assert_eq!(small.size(), 500 * 5 - 2);
    assert!(refused(&joined(5_000)).contains("more than 4096 steps"));

    let list = |count: usize| format!("a IN ({})", vec!["''"; count].join(","));
    assert_eq!(Expression::compile(&list(IN_ITEMS_MAX)).unwrap().size(), IN_ITEMS_MAX + 2);
    assert!(refused(&list(IN_ITEMS_MAX + 1)).contains("one more text than 10000 in lists"));

    let long = format!("a = '{}'", "x".repeat(EXPRESSION_BYTES_MAX));
    assert!(refused(&long).contains("more than 65536 bytes"));
    // What is between bounds is there once, or it would double with every level.
    let twice = (0..30).fold("a".to_owned(), |inner, _| format!("-({inner} BETWEEN 1 AND 2)"));
    let size = Expression::compile(&format!("{twice} = 1")).unwrap().size();
    assert!(size < 400, "{size} steps");
}

/// Pieces of which texts are made that are often expressions.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a",
        "b",
        "TAGS",
        "1",
        "2L",
        "3000000000",
        "1.5",
        "'x'",
        "'1'",
        "TRUE",
        "FALSE",
        "NULL",
        "NOT",
        "AND",
        "OR",
        "BETWEEN",
        "IN",
        "IS",
        "=",
        "<>",
        "<",
        "<=",
        ">",
        ">=",
        "(",
        ")",
        ",",
        "+",
        "-",
        "('x','1')",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.join(" "))
}

/// Expressions that compile.
fn conditions() -> impl Strategy<Value = String> {
    let operand = prop::sample::select(vec!["a", "b", "1", "2L", "1.5", "-1", "- - 2"]);
    let sign = prop::sample::select(vec!["=", "<>", "<", "<=", ">", ">="]);
    let leaf = prop_oneof![
        (operand.clone(), sign, operand.clone()).prop_map(|(l, s, r)| format!("{l} {s} {r}")),
        (operand.clone(), operand)
            .prop_map(|(value, high)| format!("{value} NOT BETWEEN b AND {high}")),
        Just("a IN ('1','x')".to_owned()),
        Just("b IS NOT NULL".to_owned()),
        Just("a".to_owned()),
    ];
    leaf.prop_recursive(5, 40, 2, |inner| {
        let both =
            (inner.clone(), prop::sample::select(vec!["AND", "OR", "=", "<>"]), inner.clone());
        prop_oneof![
            both.prop_map(|(l, word, r)| format!("({l}) {word} ({r})")),
            inner.clone().prop_map(|inner| format!("NOT ({inner})")),
            inner.prop_map(|inner| format!("-({inner}) = 1")),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_is_read_and_run(text in any::<String>(), values in any::<String>()) {
        if let Ok(expression) = Expression::compile(&text) {
            let _ = expression.evaluate(PropertiesView::new(&values));
        }
    }

    #[test]
    fn what_looks_like_an_expression_is_read_and_run(
        text in pieces(),
        a in prop::option::of("[0-9x.-]{1,4}"),
    ) {
        let items = a.as_deref().map(|a| ("a", a));
        if let Ok(expression) = Expression::compile(&text) {
            let _ = expression.evaluate(PropertiesView::new(&properties(items.as_slice())));
        }
    }

    /// NOT turns the answer round and changes neither what is unknown nor what has none.
    #[test]
    fn conditions_have_one_answer(text in conditions(), a in "[12x]", b in prop::option::of("[12x]")) {
        let mut items = vec![("a", a.as_str())];
        items.extend(b.as_deref().map(|b| ("b", b)));
        let turned = match answer(&text, &items) {
            "yes" => "no",
            "no" => "yes",
            other => other,
        };
        prop_assert_eq!(answer(&format!("NOT ({text})"), &items), turned);
        prop_assert_eq!(answer(&format!("NOT NOT ({text})"), &items), answer(&text, &items));
    }
}
