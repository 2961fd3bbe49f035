//! Topics by what they have to do with units (requests 311 to 313).

use std::collections::BTreeMap;

use mq_protocol::body::topic_route::QueueData;
use mq_protocol::sys_flag::TopicSysFlag;

use super::RouteInfoManager;

/// Topics that have to do with units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitTopics {
    /// Those of a unit (311).
    Unit,
    /// Those that units subscribe to (312).
    UnitSub,
    /// Those that units subscribe to, and that are no unit's (313).
    UnitSubOnly,
}

impl UnitTopics {
    fn has(self, topic_sys_flag: i32) -> bool {
        let unit = topic_sys_flag & TopicSysFlag::UNIT != 0;
        let unit_sub = topic_sys_flag & TopicSysFlag::UNIT_SUB != 0;
        match self {
            UnitTopics::Unit => unit,
            UnitTopics::UnitSub => unit_sub,
            UnitTopics::UnitSubOnly => unit_sub && !unit,
        }
    }
}

impl RouteInfoManager {
    /// Topics by the bits that one of their brokers registered.
    #[must_use]
    pub fn unit_topic_list(&self, which: UnitTopics) -> Vec<String> {
        let flag = |brokers: &BTreeMap<String, QueueData>| {
            brokers.values().next().map_or(0, |queues| queues.topic_sys_flag)
        };
        let topics = self.topic_queue_table.iter();
        topics
            .filter(|(_, brokers)| which.has(flag(brokers)))
            .map(|(topic, _)| topic.to_string())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use mq_protocol::body::topic_config::{TopicConfig, TopicConfigSerializeWrapper};
    use mq_protocol::header::namesrv::RegisterBrokerRequestHeader;
    use mq_remoting::ChannelId;
    use tokio::time::Instant;

    use super::*;
    use crate::limits::NamesrvLimits;

    #[test]
    fn topics_are_told_by_their_bits() {
        let mut routes = RouteInfoManager::new(NamesrvLimits::default());
        let broker = RegisterBrokerRequestHeader {
            broker_name: "a".into(),
            broker_addr: "h:1".into(),
            cluster_name: "C".into(),
            ..RegisterBrokerRequestHeader::default()
        };
        let topics = (0..4).map(|topic_sys_flag| {
            let name = format!("T{topic_sys_flag}");
            (name.clone(), TopicConfig { topic_sys_flag, ..TopicConfig::new(name, 1, 6) })
        });
        let topics = TopicConfigSerializeWrapper {
            topic_config_table: topics.collect(),
            ..TopicConfigSerializeWrapper::default()
        };
        routes.register_broker(&broker, &topics, ChannelId(1), Instant::now()).unwrap();
        assert_eq!(routes.unit_topic_list(UnitTopics::Unit), ["T1", "T3"]);
        assert_eq!(routes.unit_topic_list(UnitTopics::UnitSub), ["T2", "T3"]);
        assert_eq!(routes.unit_topic_list(UnitTopics::UnitSubOnly), ["T2"]);
    }
}
