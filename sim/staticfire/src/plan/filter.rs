//! [`FilterPlan`]: which messages of its topic a consumer group subscribes to, by what producers write on them
//! ([`Labels`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use mq_filter::Expression;
use mq_protocol::message::{MessageConst, Properties, PropertiesView};
use serde::{Deserialize, Serialize};
use staticfire_judge::history::drawn;

/// What a consumer group wants of its topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "a filter is tags, \"TagA || TagB\", or an expression over properties, { sql = \"price > 5\" }"
)]
pub enum FilterPlan {
    /// Tags separated by `||`, or `*`.
    Tags(String),
    /// An SQL92 expression over properties.
    Sql {
        /// The expression.
        sql: String,
    },
}

impl fmt::Display for FilterPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FilterPlan::Tags(text) | FilterPlan::Sql { sql: text } => f.write_str(text),
        }
    }
}

/// Least and greatest value of a property, by its name.
pub type PropertiesPlan = BTreeMap<String, [i64; 2]>;

/// What is written on messages: for each its tag and its properties are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a> {
    /// The tags; an empty one is none.
    pub tags: &'a [String],
    /// The properties.
    pub properties: &'a PropertiesPlan,
}

impl Labels<'_> {
    /// Writes on `properties` what message `number` of a run with `seed` has.
    pub fn write(&self, seed: u64, number: u32, properties: &mut Properties) {
        let of_tags = u64::try_from(self.tags.len()).unwrap_or(u64::MAX);
        if let Some(place) = drawn(seed, MessageConst::TAGS, number).checked_rem(of_tags) {
            let tag = &self.tags[usize::try_from(place).unwrap_or_default()];
            if !tag.is_empty() {
                properties.insert(MessageConst::TAGS, tag);
            }
        }
        for (name, [least, greatest]) in self.properties {
            let values = greatest.abs_diff(*least).saturating_add(1);
            let value = least.saturating_add_unsigned(drawn(seed, name, number) % values);
            properties.insert_display(name, value);
        }
    }
}

/// A filter, ready to be asked. An expression is run by the code that brokers run, which has tests of its own; who is
/// given what is judged.
#[derive(Clone, Debug)]
pub enum Filter {
    /// These tags; everything if there are none.
    Tags(BTreeSet<String>),
    /// What the expression holds of.
    Sql(Expression),
}

impl FilterPlan {
    /// The filter.
    ///
    /// # Errors
    /// Why there is none.
    pub fn compile(&self) -> Result<Filter, String> {
        match self {
            FilterPlan::Tags(text) if text.trim() == "*" => Ok(Filter::Tags(BTreeSet::new())),
            FilterPlan::Tags(text) => {
                let tags: BTreeSet<String> =
                    text.split("||").map(|tag| tag.trim().to_owned()).collect();
                if tags.contains("") {
                    return Err(format!(
                        "{text:?} names an empty tag (allowed: \"TagA || TagB\", \"*\")"
                    ));
                }
                Ok(Filter::Tags(tags))
            }
            FilterPlan::Sql { sql } => {
                let compiled = Expression::compile(sql);
                compiled.map(Filter::Sql).map_err(|error| format!("{sql:?}: {error}"))
            }
        }
    }
}

impl Filter {
    /// Whether it lets a message with these properties pass.
    #[must_use]
    pub fn passes(&self, properties: &str) -> bool {
        let properties = PropertiesView::new(properties);
        match self {
            Filter::Tags(tags) if tags.is_empty() => true,
            Filter::Tags(tags) => {
                properties.get(MessageConst::TAGS).is_some_and(|tag| tags.contains(tag))
            }
            Filter::Sql(expression) => expression.matches(properties),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(tags: &[&str], properties: &PropertiesPlan, number: u32) -> String {
        let tags: Vec<String> = tags.iter().map(ToString::to_string).collect();
        let mut on = Properties::new();
        Labels { tags: &tags, properties }.write(7, number, &mut on);
        on.to_string()
    }

    #[test]
    fn labels_follow_from_seed_and_number_and_reach_every_value() {
        let price = PropertiesPlan::from([("price".to_owned(), [-1, 2])]);
        let values: BTreeSet<String> = (0..200).map(|it| written(&["A", ""], &price, it)).collect();
        assert_eq!(values.len(), 2 * 4, "{values:?}");
        assert!(values.iter().any(|it| it.contains("price\u{1}-1") && !it.contains("TAGS")));
        assert_eq!(written(&["A", "B"], &price, 9), written(&["A", "B"], &price, 9));
        assert_eq!(written(&[], &PropertiesPlan::new(), 9), "");
        let any = PropertiesPlan::from([("any".to_owned(), [i64::MIN + 1, i64::MAX])]);
        assert!(written(&[], &any, 1).starts_with("any"));
    }

    #[test]
    fn filters_pass_what_they_say() {
        let passes =
            |plan: FilterPlan, properties: &str| plan.compile().unwrap().passes(properties);
        let tags = |text: &str| FilterPlan::Tags(text.to_owned());
        let sql = |text: &str| FilterPlan::Sql { sql: text.to_owned() };
        assert!(passes(tags("Aa || C"), "TAGS\u{1}Aa\u{2}"));
        assert!(!passes(tags("Aa||C"), "TAGS\u{1}BB\u{2}"), "hashes are equal, tags are not");
        assert!(!passes(tags("Aa"), "") && passes(tags("*"), ""));
        assert!(passes(sql("price >= 5"), "price\u{1}5\u{2}"));
        assert!(!passes(sql("price >= 5"), "price\u{1}4\u{2}") && !passes(sql("price >= 5"), ""));
        assert!(tags("A || ").compile().is_err() && tags("").compile().is_err());
        assert!(sql("price >").compile().is_err());
    }
}
