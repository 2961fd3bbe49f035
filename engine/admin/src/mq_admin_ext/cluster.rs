//! Who is where: brokers of clusters, topics and groups.

use mq_protocol::body::cluster::ClusterInfo;
use mq_protocol::body::topic_route::{BrokerData, TopicRouteData};
use mq_protocol::message::retry_topic;

use super::MqAdminExt;
use crate::error::AdminError;

impl MqAdminExt {
    /// The brokers of a cluster, by name.
    ///
    /// # Errors
    /// When no name server answers, or it knows no such cluster.
    pub async fn brokers_of_cluster(&self, cluster: &str) -> Result<Vec<BrokerData>, AdminError> {
        brokers_of(&self.examine_broker_cluster_info().await?, cluster)
    }

    /// The addresses of the masters of a cluster.
    ///
    /// # Errors
    /// As [`MqAdminExt::brokers_of_cluster`], and when it has no master.
    pub async fn masters_of_cluster(&self, cluster: &str) -> Result<Vec<String>, AdminError> {
        let brokers = self.brokers_of_cluster(cluster).await?;
        let masters: Vec<String> = masters(&brokers).map(str::to_owned).collect();
        match masters.is_empty() {
            true => Err(AdminError::Failed(format!("no master of the cluster {cluster} is there"))),
            false => Ok(masters),
        }
    }

    /// The addresses of all brokers of a cluster, masters first.
    ///
    /// # Errors
    /// As [`MqAdminExt::brokers_of_cluster`].
    pub async fn addrs_of_cluster(&self, cluster: &str) -> Result<Vec<String>, AdminError> {
        let brokers = self.brokers_of_cluster(cluster).await?;
        let mut addrs: Vec<(i64, &String)> = brokers
            .iter()
            .flat_map(|broker| broker.broker_addrs.iter().map(|(id, addr)| (*id, addr)))
            .collect();
        addrs.sort_by_key(|(id, _)| *id);
        Ok(addrs.into_iter().map(|(_, addr)| addr.clone()).collect())
    }

    /// For each broker that has the group's retry topic an address to ask.
    ///
    /// # Errors
    /// When no name server answers, or none knows the group's retry topic.
    pub async fn addrs_of_group(&self, group: &str) -> Result<Vec<String>, AdminError> {
        let route = self.examine_topic_route_info(&retry_topic(group)).await?;
        Ok(select_broker_addrs(&route))
    }

    /// The name of the broker at `addr`.
    ///
    /// # Errors
    /// When no name server answers, or it knows no broker there.
    pub async fn fetch_broker_name_by_addr(&self, addr: &str) -> Result<String, AdminError> {
        let info = self.examine_broker_cluster_info().await?;
        let mut brokers = info.broker_addr_table.values();
        let found = brokers.find(|broker| broker.broker_addrs.values().any(|it| it == addr));
        found
            .map(|broker| broker.broker_name.clone())
            .ok_or_else(|| AdminError::Failed(format!("the name server knows no broker at {addr}")))
    }
}

/// A broker as name servers know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BrokerAddr {
    pub(crate) cluster: String,
    pub(crate) broker_name: String,
    pub(crate) broker_id: i64,
    pub(crate) addr: String,
}

/// All brokers, by cluster, name and id.
pub(crate) fn broker_addrs(info: &ClusterInfo) -> Vec<BrokerAddr> {
    let mut clusters: Vec<_> = info.cluster_addr_table.iter().collect();
    clusters.sort();
    let mut all = Vec::new();
    for (cluster, names) in clusters {
        let mut names = names.clone();
        names.sort();
        for broker in names.iter().filter_map(|name| info.broker_addr_table.get(name)) {
            all.extend(broker.broker_addrs.iter().map(|(broker_id, addr)| BrokerAddr {
                cluster: cluster.clone(),
                broker_name: broker.broker_name.clone(),
                broker_id: *broker_id,
                addr: addr.clone(),
            }));
        }
    }
    all
}

/// The brokers of a cluster, by name.
///
/// # Errors
/// When there is no such cluster.
pub(crate) fn brokers_of(info: &ClusterInfo, cluster: &str) -> Result<Vec<BrokerData>, AdminError> {
    let mut names = info.cluster_addr_table.get(cluster).cloned().ok_or_else(|| {
        let known: Vec<&str> = info.cluster_addr_table.keys().map(String::as_str).collect();
        AdminError::Failed(format!(
            "the name server knows no cluster {cluster}; it knows: {}",
            known.join(", ")
        ))
    })?;
    names.sort();
    Ok(names.iter().filter_map(|name| info.broker_addr_table.get(name)).cloned().collect())
}

/// Addresses of masters.
pub(crate) fn masters(brokers: &[BrokerData]) -> impl Iterator<Item = &str> {
    brokers.iter().filter_map(BrokerData::master_addr)
}

/// For each broker of a route its master's address, else some slave's.
pub(crate) fn select_broker_addrs(route: &TopicRouteData) -> Vec<String> {
    let brokers = route.broker_datas.iter();
    brokers
        .filter_map(|broker| broker.broker_addrs.first_key_value())
        .map(|(_, addr)| addr.clone())
        .collect()
}
