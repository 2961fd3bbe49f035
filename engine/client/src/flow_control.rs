//! [`FlowControl`]: when a consumer pauses pulling.

/// Limits of what may be cached per queue before pulling pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowControl {
    /// Messages (`pullThresholdForQueue`).
    pub count_max: usize,
    /// Bytes of bodies (`pullThresholdSizeForQueue`).
    pub size_bytes_max: usize,
    /// Distance between the lowest and the highest offset (`consumeConcurrentlyMaxSpan`).
    pub span_max: i64,
    /// Messages of all queues owned, each of which gets an equal part, instead of `count_max`
    /// (`pullThresholdForTopic`).
    pub topic_count_max: Option<usize>,
    /// Bytes of bodies of all queues owned, each of which gets an equal part, instead of `size_bytes_max`
    /// (`pullThresholdSizeForTopic`).
    pub topic_size_bytes_max: Option<usize>,
}

/// The least part of [`FlowControl::topic_size_bytes_max`] that a queue gets: RocketMQ counts whole MiB.
const QUEUE_SIZE_BYTES_MIN: usize = 1 << 20;

impl FlowControl {
    /// The limits of one of `queue_count` queues. As in RocketMQ 4.9 these are the queues of all topics.
    pub(crate) fn per_queue(self, queue_count: usize) -> Self {
        let part = |limit: Option<usize>, min: usize| {
            limit.map(|limit| (limit / queue_count.max(1)).max(min))
        };
        FlowControl {
            count_max: part(self.topic_count_max, 1).unwrap_or(self.count_max),
            size_bytes_max: part(self.topic_size_bytes_max, QUEUE_SIZE_BYTES_MIN)
                .unwrap_or(self.size_bytes_max),
            ..self
        }
    }
}

impl Default for FlowControl {
    fn default() -> Self {
        FlowControl {
            count_max: 1000,
            size_bytes_max: 100 << 20,
            span_max: 2000,
            topic_count_max: None,
            topic_size_bytes_max: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand from `RebalancePushImpl.messageQueueChanged`.
    #[test]
    fn limits_of_all_queues_are_divided() {
        let all = FlowControl {
            topic_count_max: Some(10),
            topic_size_bytes_max: Some(7 << 20),
            ..FlowControl::default()
        };
        let limits = |queue_count| {
            let limits = all.per_queue(queue_count);
            (limits.count_max, limits.size_bytes_max)
        };
        assert_eq!(limits(1), (10, 7 << 20));
        assert_eq!(limits(4), (2, 7 << 18));
        assert_eq!(limits(11), (1, 1 << 20));
        assert_eq!(limits(0), (10, 7 << 20));
        assert_eq!(FlowControl::default().per_queue(4), FlowControl::default());
    }
}
