//! What clients tell about themselves (34, 46), and lists of clients (38).

use std::collections::BTreeSet;

use crate::message::java_hash_code;
use crate::steps::{self, Counted};

/// Subscribes to every tag.
pub const SUBSCRIPTION_ALL: &str = "*";
/// The type of expressions of tags.
pub const TAG: &str = "TAG";
/// The type of expressions over properties.
pub const SQL92: &str = "SQL92";

json_enum! {
    /// Whether consumers pull on their own account.
    ConsumeType {
        /// A pull consumer.
        ConsumeActively = "CONSUME_ACTIVELY",
        /// A push consumer.
        #[default]
        ConsumePassively = "CONSUME_PASSIVELY",
    }

    /// Whether consumers of a group share its messages.
    MessageModel {
        /// Each gets all.
        Broadcasting = "BROADCASTING",
        /// They share.
        #[default]
        Clustering = "CLUSTERING",
    }

    /// Where a group without offset begins.
    ConsumeFromWhere {
        /// At the end.
        #[default]
        ConsumeFromLastOffset = "CONSUME_FROM_LAST_OFFSET",
        /// Deprecated.
        ConsumeFromLastOffsetAndFromMinWhenBootFirst =
            "CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST",
        /// Deprecated.
        ConsumeFromMinOffset = "CONSUME_FROM_MIN_OFFSET",
        /// Deprecated.
        ConsumeFromMaxOffset = "CONSUME_FROM_MAX_OFFSET",
        /// At the beginning.
        ConsumeFromFirstOffset = "CONSUME_FROM_FIRST_OFFSET",
        /// At a store time.
        ConsumeFromTimestamp = "CONSUME_FROM_TIMESTAMP",
    }
}

json_body! {
    /// Body of HEART_BEAT (34).
    #[derive(Eq)]
    HeartbeatData {
        /// Client id.
        client_id: String = "clientID",
        /// Its consumers.
        consumer_data_set: Vec<ConsumerData> = "consumerDataSet",
        /// Its producers.
        producer_data_set: Vec<ProducerData> = "producerDataSet",
    }

    /// A producer.
    #[derive(Eq)]
    ProducerData {
        /// Producer group.
        group_name: String = "groupName",
    }

    /// A consumer.
    #[derive(Eq)]
    ConsumerData {
        /// Where the group begins.
        consume_from_where: ConsumeFromWhere = "consumeFromWhere",
        /// Push or pull.
        consume_type: ConsumeType = "consumeType",
        /// Consumer group.
        group_name: String = "groupName",
        /// Whether the group shares.
        message_model: MessageModel = "messageModel",
        /// Subscriptions.
        subscription_data_set: Vec<SubscriptionData> = "subscriptionDataSet",
        /// Unit mode.
        unit_mode: bool = "unitMode",
    }

    /// What a group wants of a topic.
    #[derive(Eq)]
    SubscriptionData {
        /// Dead feature.
        class_filter_mode: bool = "classFilterMode",
        /// Hashes of the tags; some clients send them as text.
        code_set: Vec<i32> = "codeSet",
        /// `TAG` or `SQL92`; absent means `TAG`.
        expression_type: Option<String> = "expressionType" or Some(String::from(TAG)),
        /// The expression as written.
        sub_string: String = "subString",
        /// Version of the subscription (ms).
        sub_version: i64 = "subVersion",
        /// Tags; none for all.
        tags_set: Vec<String> = "tagsSet",
        /// Topic.
        topic: String = "topic",
    }

    /// Body of CHECK_CLIENT_CONFIG (46).
    #[derive(Eq)]
    CheckClientRequestBody {
        /// Client id.
        client_id: String = "clientId",
        /// Consumer group.
        group: String = "group",
        /// Its subscription.
        subscription_data: SubscriptionData = "subscriptionData",
    }

    /// Response to GET_CONSUMER_LIST_BY_GROUP (38).
    #[derive(Eq)]
    GetConsumerListByGroupResponseBody {
        /// Client ids.
        consumer_id_list: Vec<String> = "consumerIdList",
    }
}

/// A tag expression that names no tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("subString split error")]
pub struct SubscriptionParseError;

/// Up to so many items a repetition is looked for among all of them.
const SCANNED_ITEMS_MAX: usize = 16;

/// The items in their order, each once.
fn distinct<T: Copy + Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut once: Vec<T> = Vec::new();
    let mut known = BTreeSet::new();
    for item in items {
        let is_known = if once.len() < SCANNED_ITEMS_MAX {
            steps::count(once.len());
            once.contains(&item)
        } else {
            if known.is_empty() {
                known.extend(once.iter().copied().map(Counted));
            }
            !known.insert(Counted(item))
        };
        if !is_known {
            once.push(item);
        }
    }
    once
}

impl SubscriptionData {
    /// The subscription of `topic` by tags: `*` or nothing for all, else tags joined by `||`
    /// (RocketMQ 4.9 `FilterAPI.buildSubscriptionData`).
    ///
    /// # Errors
    /// When the expression consists of separators only.
    pub fn by_tags(
        topic: &str,
        expression: &str,
        sub_version: i64,
    ) -> Result<Self, SubscriptionParseError> {
        let mut subscription = SubscriptionData {
            sub_string: expression.to_owned(),
            sub_version,
            topic: topic.to_owned(),
            ..Self::default()
        };
        if expression.is_empty() || expression == SUBSCRIPTION_ALL {
            subscription.sub_string = SUBSCRIPTION_ALL.to_owned();
            return Ok(subscription);
        }
        if expression.split("||").all(str::is_empty) {
            return Err(SubscriptionParseError);
        }
        let tags = expression.split("||").map(str::trim).filter(|tag| !tag.is_empty());
        let tags = distinct(tags);
        subscription.code_set = distinct(tags.iter().map(|tag| java_hash_code(tag)));
        subscription.tags_set = tags.into_iter().map(str::to_owned).collect();
        Ok(subscription)
    }

    /// The subscription of `topic` by an expression of another type than [`TAG`] (RocketMQ 4.9
    /// `FilterAPI.build`). Nothing is checked: brokers compile it.
    #[must_use]
    pub fn by_expression(
        topic: &str,
        expression_type: impl Into<String>,
        expression: &str,
        sub_version: i64,
    ) -> Self {
        SubscriptionData {
            sub_string: expression.to_owned(),
            sub_version,
            topic: topic.to_owned(),
            expression_type: Some(expression_type.into()),
            ..Self::default()
        }
    }

    /// Whether every message is wanted.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.sub_string == SUBSCRIPTION_ALL
    }

    /// Whether the expression consists of tags.
    #[must_use]
    pub fn is_tag_type(&self) -> bool {
        self.expression_type.as_deref().is_none_or(|name| name.is_empty() || name == TAG)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_kept_once_in_their_order_however_many() {
        let expression: String = (0..100).map(|n| format!("t{}||", n % 40)).collect();
        let subscription = SubscriptionData::by_tags("T", &expression, 1).unwrap();
        let expected: Vec<_> = (0..40).map(|n| format!("t{n}")).collect();
        assert_eq!(subscription.tags_set, expected);
        assert_eq!(subscription.code_set.len(), 40);
        // "Aa" and "BB" have one hash.
        let subscription = SubscriptionData::by_tags("T", " Aa || BB||Aa", 1).unwrap();
        assert_eq!((subscription.tags_set.len(), subscription.code_set.len()), (2, 1));
    }

    #[test]
    fn many_tags_take_few_comparisons() {
        let tags = |n| (0..n).map(|n| format!("tag{n}||")).collect::<String>();
        steps::assert_n_log_n(tags, |tags| SubscriptionData::by_tags("T", tags, 1));
    }
}
