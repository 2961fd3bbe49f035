//! Namespaces: names of topics and groups that several tenants of a cluster may use side by side (RocketMQ
//! 4.9 `NamespaceUtil`).
//!
//! On the wire a name is `namespace%name`; behind a prefix for retries or dead letters,
//! `%RETRY%namespace%name`. Callers see the plain name. An empty namespace changes nothing.

use mq_protocol::message::{
    DLQ_GROUP_TOPIC_PREFIX, MessageExt, MessageQueue, RETRY_GROUP_TOPIC_PREFIX,
};
use mq_protocol::topic_validator::{SYSTEM_GROUP_PREFIX, is_system_topic};

/// Between a namespace and a name.
const NAMESPACE_SEPARATOR: char = '%';

/// `resource` within `namespace`. What belongs to the system, or has the namespace already, stays.
#[must_use]
pub fn with_namespace(namespace: &str, resource: &str) -> String {
    let (prefix, name) = split_prefix(resource);
    let is_left_alone = namespace.is_empty() || resource.is_empty() || is_system(resource);
    if is_left_alone || strip(namespace, name).is_some() {
        return resource.to_owned();
    }
    format!("{prefix}{namespace}{NAMESPACE_SEPARATOR}{name}")
}

/// `resource` as its users know it: without `namespace`, if it has that.
#[must_use]
pub fn without_namespace(namespace: &str, resource: &str) -> String {
    let (prefix, name) = split_prefix(resource);
    match strip(namespace, name) {
        Some(name) if !is_system(resource) => format!("{prefix}{name}"),
        _ => resource.to_owned(),
    }
}

/// The queue with its topic within `namespace`.
#[must_use]
pub(crate) fn queue_with_namespace(namespace: &str, queue: &MessageQueue) -> MessageQueue {
    MessageQueue { topic: with_namespace(namespace, &queue.topic), ..queue.clone() }
}

/// The queue as users of `namespace` know it.
#[must_use]
pub(crate) fn queue_without_namespace(namespace: &str, queue: &MessageQueue) -> MessageQueue {
    MessageQueue { topic: without_namespace(namespace, &queue.topic), ..queue.clone() }
}

/// The message as users of `namespace` know it.
#[must_use]
pub(crate) fn message_without_namespace(namespace: &str, mut message: MessageExt) -> MessageExt {
    if !namespace.is_empty() {
        message.message.topic = without_namespace(namespace, &message.message.topic);
    }
    message
}

fn is_system(resource: &str) -> bool {
    is_system_topic(resource) || resource.starts_with(SYSTEM_GROUP_PREFIX)
}

fn split_prefix(resource: &str) -> (&str, &str) {
    let prefixes = [RETRY_GROUP_TOPIC_PREFIX, DLQ_GROUP_TOPIC_PREFIX];
    let prefix = prefixes.into_iter().find(|prefix| resource.starts_with(prefix));
    resource.split_at(prefix.map_or(0, str::len))
}

fn strip<'a>(namespace: &str, name: &'a str) -> Option<&'a str> {
    let name = name.strip_prefix(namespace).filter(|_| !namespace.is_empty())?;
    name.strip_prefix(NAMESPACE_SEPARATOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_into_a_namespace_and_come_out_of_it() {
        let names = [
            ("T", "ns%T"),
            ("%RETRY%G", "%RETRY%ns%G"),
            ("%DLQ%G", "%DLQ%ns%G"),
            ("T%ns", "ns%T%ns"),
            ("nsT", "ns%nsT"),
        ];
        for (plain, within) in names {
            assert_eq!(with_namespace("ns", plain), within);
            assert_eq!(with_namespace("ns", within), within, "once is enough");
            assert_eq!(without_namespace("ns", within), plain);
            assert_eq!(without_namespace("ns", plain), plain);
            assert_eq!(
                (&*with_namespace("", plain), &*without_namespace("", plain)),
                (plain, plain)
            );
            assert_eq!(without_namespace("other", within), within);
        }
    }

    #[test]
    fn what_belongs_to_the_system_is_in_no_namespace() {
        for name in ["TBW102", "rmq_sys_x", "CID_RMQ_SYS_TRANS", "SCHEDULE_TOPIC_XXXX", ""] {
            assert_eq!(with_namespace("ns", name), name);
            assert_eq!(without_namespace("ns", name), name);
        }
    }
}
