//! [`Subscription`]: what a group wants of a topic, by tags or by SQL92 (RocketMQ 4.9 `SubscriptionData`,
//! `ConsumerFilterData`).
//!
//! 4.9 keeps compiled expressions in a table of their own, for a day after the last consumer, and writes them down for
//! the bit maps that it calculates ahead. There are no bit maps here (`enableCalcFilterBitMap`), so an expression
//! lives as long as its subscription, and neither can be older than the other (FILTER_DATA_NOT_LATEST).

use std::collections::BTreeMap;
use std::sync::Arc;

use mq_filter::Expression;
use mq_protocol::body::heartbeat::{SQL92, SubscriptionData};
use mq_protocol::message::MessageConst;
use mq_store::{MessageFilter, PropertiesFilter};

/// What a group wants of a topic.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    /// Version of the subscription (ms).
    pub(crate) sub_version: i64,
    /// How it is said.
    pub(crate) kind: SubscriptionKind,
    /// The messages that pass.
    pub(crate) filter: Arc<MessageFilter>,
}

/// How a group says what it wants.
#[derive(Clone, Debug)]
pub(crate) enum SubscriptionKind {
    /// By tags.
    Tag,
    /// By properties.
    Sql92(Arc<Expression>),
    /// By an expression that does not compile, or of a type that is not known: nothing passes, and nobody is
    /// served. 4.9 lets everything pass where a pull carries it.
    Broken(String),
}

/// The expressions of a group's subscriptions by topic: what its retried messages are asked.
pub(crate) type Expressions = BTreeMap<String, Arc<Expression>>;

impl Subscription {
    /// What it counts for: itself, and its tags.
    pub(crate) fn count(&self) -> usize {
        match (&self.kind, &*self.filter) {
            (SubscriptionKind::Sql92(expression), _) => 1 + expression.size(),
            (_, MessageFilter::TagsCodes(codes)) => 1 + codes.len(),
            _ => 1,
        }
    }

    pub(crate) fn is_tag_type(&self) -> bool {
        matches!(self.kind, SubscriptionKind::Tag)
    }

    /// Asks retried messages what the subscription to the topic that they came from asks
    /// (`filterSupportRetry`). Those of other topics pass.
    pub(crate) fn with_retried(mut self, expressions: Arc<Expressions>) -> Self {
        if *self.filter == MessageFilter::All {
            let size = expressions.values().map(|expression| expression.size()).max();
            let filter = PropertiesFilter::new(size.unwrap_or(0), move |properties| {
                let topic = properties.get(MessageConst::RETRY_TOPIC);
                let expression = topic.and_then(|topic| expressions.get(topic));
                expression.is_none_or(|expression| expression.matches(properties))
            });
            self.filter = Arc::new(MessageFilter::Properties(filter));
        }
        self
    }
}

impl From<&SubscriptionData> for Subscription {
    fn from(subscription: &SubscriptionData) -> Self {
        let (kind, filter) = match subscription.expression_type.as_deref() {
            _ if subscription.is_tag_type() => (SubscriptionKind::Tag, by_tags(subscription)),
            Some(SQL92) => by_sql(subscription),
            other => {
                let name: String = other.unwrap_or_default().chars().take(32).collect();
                let what = format!("no filter of type {name}");
                (SubscriptionKind::Broken(what), MessageFilter::default())
            }
        };
        Subscription { sub_version: subscription.sub_version, kind, filter: Arc::new(filter) }
    }
}

fn by_tags(subscription: &SubscriptionData) -> MessageFilter {
    if subscription.is_all() || subscription.class_filter_mode {
        return MessageFilter::All;
    }
    MessageFilter::TagsCodes(subscription.code_set.iter().copied().collect())
}

fn by_sql(subscription: &SubscriptionData) -> (SubscriptionKind, MessageFilter) {
    let expression = match Expression::compile(&subscription.sub_string) {
        Ok(expression) => Arc::new(expression),
        Err(error) => return (SubscriptionKind::Broken(error.to_string()), MessageFilter::All),
    };
    let asked = Arc::clone(&expression);
    let filter = match subscription.class_filter_mode {
        true => MessageFilter::All,
        false => {
            MessageFilter::Properties(PropertiesFilter::new(expression.size(), move |properties| {
                asked.matches(properties)
            }))
        }
    };
    (SubscriptionKind::Sql92(expression), filter)
}

#[cfg(test)]
pub(crate) mod tests {
    use mq_protocol::message_codec::{MESSAGE_MAGIC_CODE, RECORD_BYTES_MIN};

    use super::*;

    /// A record without body and topic.
    pub(crate) fn record(properties: &str) -> Vec<u8> {
        let mut bytes = vec![0; RECORD_BYTES_MIN];
        bytes[..4].copy_from_slice(&((RECORD_BYTES_MIN + properties.len()) as i32).to_be_bytes());
        bytes[4..8].copy_from_slice(&MESSAGE_MAGIC_CODE.to_be_bytes());
        bytes[89..].copy_from_slice(&(properties.len() as i16).to_be_bytes());
        bytes.extend(properties.as_bytes());
        bytes
    }

    fn by_expression(expression_type: &str, expression: &str) -> Subscription {
        let data = SubscriptionData::by_expression("T", expression_type, expression, 1);
        Subscription::from(&data)
    }

    #[test]
    fn an_expression_is_read_once_and_counts() {
        let subscription = by_expression(SQL92, "a IN ('1', '2', '3') AND b IS NULL");
        assert!(matches!(subscription.kind, SubscriptionKind::Sql92(_)));
        assert!(!subscription.is_tag_type());
        assert_eq!(subscription.count(), 1 + 7 + 3);
        assert!(subscription.filter.matches_record(&record("a\u{1}2")));
        assert!(!subscription.filter.matches_record(&record("a\u{1}2\u{2}b\u{1}1")));
        assert!(subscription.filter.matches_record(b"rotten"), "nobody decides about what is none");
    }

    #[test]
    fn what_cannot_be_read_is_told_apart() {
        for (expression_type, expression, why) in [
            (SQL92, "a >", "Invalid MessageSelector"),
            (SQL92, "*", "Invalid MessageSelector"),
            (SQL92, "", "Invalid MessageSelector"),
            ("XPATH", "a", "no filter of type XPATH"),
        ] {
            match by_expression(expression_type, expression).kind {
                SubscriptionKind::Broken(said) => assert!(said.contains(why), "{said}"),
                other => panic!("{expression}: {other:?}"),
            }
        }
        let long = "X".repeat(10_000);
        match by_expression(&long, "a").kind {
            SubscriptionKind::Broken(said) => assert!(said.len() < 100, "{said}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn retried_messages_are_asked_what_their_topic_is() {
        let expression = Arc::new(Expression::compile("a = 1").unwrap());
        let expressions = Arc::new(Expressions::from([("T".to_owned(), expression)]));
        let all = Subscription::from(&SubscriptionData::by_tags("%RETRY%G", "*", 1).unwrap());
        let filter = all.with_retried(expressions).filter;
        let passes = |properties: &str| filter.matches_record(&record(properties));
        assert!(passes("RETRY_TOPIC\u{1}T\u{2}a\u{1}1"));
        assert!(!passes("RETRY_TOPIC\u{1}T\u{2}a\u{1}2"));
        assert!(passes("RETRY_TOPIC\u{1}U\u{2}a\u{1}2") && passes("a\u{1}2"));
    }
}
