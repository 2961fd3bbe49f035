//! The figures of a name server.

use mq_namesrv::controller::NamesrvMetrics;

use super::Family;

/// All of them.
#[must_use]
pub fn families(metrics: &NamesrvMetrics) -> Vec<Family> {
    let load = metrics.load;
    let mut families = vec![
        Family::gauge(
            "rocketmq_namesrv_brokers",
            "Registered brokers, slaves included.",
            metrics.brokers as u64,
        ),
        Family::gauge(
            "rocketmq_namesrv_topics",
            "Topics that have a route.",
            metrics.topics as u64,
        ),
        Family::gauge(
            "rocketmq_namesrv_routes",
            "Topics on broker names, counted once per broker name.",
            metrics.routes as u64,
        ),
        Family::counter(
            "rocketmq_namesrv_registrations",
            "Registrations that were taken.",
            metrics.registrations,
        ),
    ];
    families.extend(Family::resources(&[
        ("connections", load.connections),
        ("out_bytes", load.out_bytes),
        ("partial_frame_bytes", load.partial_frame_bytes),
    ]));
    families
}
