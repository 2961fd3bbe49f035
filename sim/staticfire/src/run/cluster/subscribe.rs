//! The members of a consumer group are told to subscribe to something else, as whoever runs the application does.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Cluster;
use super::operator::PATIENCE;
use crate::plan::FilterPlan;
use crate::run::traffic::Changing;

impl Cluster {
    /// Has the members of a group subscribe to `filter`, and waits until those that run have.
    pub(super) async fn subscribe(&self, group: &str, filter: &FilterPlan) {
        let Some(traffic) = self.traffic.get() else { return };
        let Some(changing) = traffic.changing(group) else { return };
        changing.change(filter, self.trace().now_us(), &mut traffic.history());
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if self.follow(group, changing) {
                changing.settled(self.trace().now_us(), &mut traffic.history());
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
        self.had_no_effect(&format!("subscribe {group} ({filter})"), "not every member followed");
    }

    /// Whether all members that run do.
    fn follow(&self, group: &str, changing: &Changing) -> bool {
        let mut members = self.workloads.iter().flat_map(|work| {
            let groups = work.all_consumer_groups().into_iter().filter(|it| it.name == group);
            groups.flat_map(|it| work.consumer_names(&it).collect::<Vec<_>>())
        });
        members.all(|it| changing.is_followed_by(&it) || !self.node(&it).is_running())
    }
}
