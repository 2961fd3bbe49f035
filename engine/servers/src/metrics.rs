//! Figures as OpenMetrics text, which Prometheus scrapes: [`Family`] is one of them, [`text`] writes all.
//!
//! `broker` and `namesrv` say which figures there are. Nothing is kept here: they are put together when they are asked for.

pub mod broker;
pub mod namesrv;

use std::fmt::Error;

use mq_remoting::Used;
use mq_store::stats::{LATENCY_ENDS_US, LatencyCounts};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

/// How what [`text`] writes is called.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const US_PER_SECOND: f64 = 1e6;

/// A figure with its help.
#[derive(Clone, Debug)]
pub struct Family {
    name: &'static str,
    help: &'static str,
    samples: Samples,
}

/// Names and values of labels.
type Labels = Vec<(&'static str, String)>;

#[derive(Clone, Debug)]
enum Samples {
    /// What only grows, until the program begins anew. The text has `_total` behind its name.
    Counters(Vec<(Labels, u64)>),
    Gauges(Vec<(Labels, f64)>),
    Latency(LatencyCounts),
}

impl Family {
    fn counter(name: &'static str, help: &'static str, count: u64) -> Self {
        Family::counters(name, help, [(Labels::new(), count)])
    }

    fn counters(
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (Labels, u64)>,
    ) -> Self {
        Family { name, help, samples: Samples::Counters(samples.into_iter().collect()) }
    }

    fn gauge(name: &'static str, help: &'static str, value: u64) -> Self {
        Family::gauges(name, help, [(Labels::new(), value as f64)])
    }

    fn gauges(
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (Labels, f64)>,
    ) -> Self {
        Family { name, help, samples: Samples::Gauges(samples.into_iter().collect()) }
    }

    fn latency(name: &'static str, help: &'static str, counts: LatencyCounts) -> Self {
        Family { name, help, samples: Samples::Latency(counts) }
    }

    /// Two families: how much there is of each bounded thing, and how much there may be.
    fn resources(used: &[(&'static str, Used)]) -> [Self; 2] {
        let of = |pick: fn(&Used) -> usize| {
            let labels = |name: &'static str| vec![("resource", name.to_owned())];
            used.iter().map(move |(name, used)| (labels(name), pick(used) as f64))
        };
        [
            Family::gauges(
                "rocketmq_resource_used",
                "How much there is of what peers may make the server hold.",
                of(|used| used.count),
            ),
            Family::gauges(
                "rocketmq_resource_limit",
                "How much of it there may be.",
                of(|used| used.max),
            ),
        ]
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let metric_type = match &self.samples {
            Samples::Counters(samples) if samples.is_empty() => return Ok(()),
            Samples::Gauges(samples) if samples.is_empty() => return Ok(()),
            Samples::Counters(_) => MetricType::Counter,
            Samples::Gauges(_) => MetricType::Gauge,
            Samples::Latency(_) => MetricType::Histogram,
        };
        let mut metric = encoder.encode_descriptor(self.name, self.help, None, metric_type)?;
        match &self.samples {
            Samples::Counters(samples) => samples.iter().try_for_each(|(labels, count)| {
                labelled(&mut metric, labels, |metric| {
                    metric.encode_counter::<NoLabelSet, u64, f64>(count, None)
                })
            }),
            Samples::Gauges(samples) => samples.iter().try_for_each(|(labels, value)| {
                labelled(&mut metric, labels, |metric| metric.encode_gauge(value))
            }),
            Samples::Latency(counts) => encode_latency(&mut metric, counts),
        }
    }
}

/// Encodes a sample with its labels, or without any.
fn labelled(
    metric: &mut MetricEncoder<'_>,
    labels: &Labels,
    encode: impl FnOnce(&mut MetricEncoder<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    match labels.is_empty() {
        true => encode(metric),
        false => encode(&mut metric.encode_family(&escaped(labels))?),
    }
}

/// Values as the text has them between its quotes: the encoder writes them as they are.
fn escaped(labels: &Labels) -> Labels {
    let escaped =
        |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    labels.iter().map(|(name, value)| (*name, escaped(value))).collect()
}

fn encode_latency(metric: &mut MetricEncoder<'_>, latency: &LatencyCounts) -> Result<(), Error> {
    let ends = LATENCY_ENDS_US.iter().map(|end_us| *end_us as f64 / US_PER_SECOND);
    // The greatest number stands for +Inf.
    let classes = ends.chain([f64::MAX]).zip(latency.counts).collect::<Vec<_>>();
    let sum = latency.sum_us as f64 / US_PER_SECOND;
    metric.encode_histogram::<NoLabelSet>(sum, latency.total(), &classes, None)
}

#[derive(Debug)]
struct Families(Vec<Family>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        self.0.iter().try_for_each(|family| family.encode(&mut encoder))
    }
}

/// All figures, as a scraper reads them.
#[must_use]
pub fn text(families: Vec<Family>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Families(families)));
    let mut text = String::new();
    encode(&mut text, &registry).expect("a String takes whatever is written");
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mq_store::stats::LatencyHistogram;

    use super::*;

    #[test]
    fn figures_are_written_as_openmetrics() {
        let latency = LatencyHistogram::default();
        latency.record(Duration::from_micros(700));
        latency.record(Duration::from_secs(11));
        let quoted = vec![("topic", "a\"b\\c\nd".to_owned())];
        let written = text(vec![
            Family::counters("puts", "What was put.", [(quoted, 3)]),
            Family::gauges("nothing", "Without samples nothing is said.", []),
            Family::gauge("open", "Open ones.", 2),
            Family::latency("took_seconds", "How long.", latency.counts()),
        ]);
        let lines: Vec<&str> = written.lines().collect();
        assert_eq!(
            lines[..6],
            [
                "# HELP puts What was put.",
                "# TYPE puts counter",
                "puts_total{topic=\"a\\\"b\\\\c\\nd\"} 3",
                "# HELP open Open ones.",
                "# TYPE open gauge",
                "open 2.0",
            ]
        );
        for line in [
            "took_seconds_sum 11.0007",
            "took_seconds_count 2",
            "took_seconds_bucket{le=\"0.0005\"} 0",
            "took_seconds_bucket{le=\"0.001\"} 1",
            "took_seconds_bucket{le=\"10.0\"} 1",
            "took_seconds_bucket{le=\"+Inf\"} 2",
        ] {
            assert!(lines.contains(&line), "{line} in {written}");
        }
        assert_eq!(lines.last(), Some(&"# EOF"));
    }
}
