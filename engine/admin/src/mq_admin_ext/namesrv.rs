//! Requests to name servers.

use mq_protocol::body::cluster::{ClusterInfo, TopicList};
use mq_protocol::body::topic_route::TopicRouteData;
use mq_protocol::codes::RequestCode;
use mq_protocol::fastjson::Json;
use mq_protocol::header::CustomHeader;
use mq_protocol::header::namesrv::{
    AddWritePermOfBrokerResponseHeader, DeleteTopicRequestHeader, GetKvConfigResponseHeader,
    GetTopicsByClusterRequestHeader, KvConfigRequestHeader, PutKvConfigRequestHeader,
    WipeWritePermOfBrokerResponseHeader, WritePermOfBrokerRequestHeader,
};
use mq_protocol::remoting_command::RemotingCommand;

use super::{MqAdminExt, read_body, read_header};
use crate::error::AdminError;

/// The namespace of the pairs that say how many queues of ordered topics brokers have.
pub(crate) const NAMESPACE_ORDER_TOPIC_CONFIG: &str = "ORDER_TOPIC_CONFIG";

impl MqAdminExt {
    /// Clusters and brokers (106).
    ///
    /// # Errors
    /// When no name server answers.
    pub async fn examine_broker_cluster_info(&self) -> Result<ClusterInfo, AdminError> {
        self.ask_name_server(RequestCode::GET_BROKER_CLUSTER_INFO, &()).await
    }

    /// Every topic (206).
    ///
    /// # Errors
    /// When no name server answers.
    pub async fn fetch_all_topic_list(&self) -> Result<Vec<String>, AdminError> {
        let code = RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER;
        let list: TopicList = self.ask_name_server(code, &()).await?;
        Ok(list.topic_list)
    }

    /// The topics of a cluster (224).
    ///
    /// # Errors
    /// When no name server answers.
    pub async fn fetch_topics_by_cluster(&self, cluster: &str) -> Result<Vec<String>, AdminError> {
        let header = GetTopicsByClusterRequestHeader { cluster: cluster.to_owned() };
        let list: TopicList =
            self.ask_name_server(RequestCode::GET_TOPICS_BY_CLUSTER, &header).await?;
        Ok(list.topic_list)
    }

    /// Where a topic is (105).
    ///
    /// # Errors
    /// When no name server answers, or none knows the topic.
    pub async fn examine_topic_route_info(
        &self,
        topic: &str,
    ) -> Result<TopicRouteData, AdminError> {
        Ok(self.instance.topic_route(topic).await?)
    }

    /// The value of a key (101).
    ///
    /// # Errors
    /// When no name server answers, or it has no such key.
    pub async fn get_kv_config(&self, namespace: &str, key: &str) -> Result<String, AdminError> {
        let header = KvConfigRequestHeader { namespace: namespace.to_owned(), key: key.to_owned() };
        let request = RemotingCommand::request(RequestCode::GET_KV_CONFIG, &header);
        let (addr, response) = self.instance.ask_name_server(request, self.timeout).await?;
        let header: GetKvConfigResponseHeader = read_header(&addr, &response)?;
        Ok(header.value.unwrap_or_default())
    }

    /// Sets the value of a key on every name server (100).
    ///
    /// # Errors
    /// With the first one that does not take it; the others were asked all the same.
    pub async fn put_kv_config(
        &self,
        namespace: &str,
        key: &str,
        value: &str,
    ) -> Result<(), AdminError> {
        let header = PutKvConfigRequestHeader {
            namespace: namespace.to_owned(),
            key: key.to_owned(),
            value: value.to_owned(),
        };
        self.tell_name_servers(RequestCode::PUT_KV_CONFIG, &header).await
    }

    /// Removes a key from every name server (102).
    ///
    /// # Errors
    /// As [`MqAdminExt::put_kv_config`].
    pub async fn delete_kv_config(&self, namespace: &str, key: &str) -> Result<(), AdminError> {
        let header = KvConfigRequestHeader { namespace: namespace.to_owned(), key: key.to_owned() };
        self.tell_name_servers(RequestCode::DELETE_KV_CONFIG, &header).await
    }

    /// Takes the right to write from all topics of a broker at one name server (205); says of how many.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn wipe_write_perm_of_broker(
        &self,
        namesrv_addr: &str,
        broker_name: &str,
    ) -> Result<i32, AdminError> {
        let header = WritePermOfBrokerRequestHeader { broker_name: broker_name.to_owned() };
        let code = RequestCode::WIPE_WRITE_PERM_OF_BROKER;
        let header: WipeWritePermOfBrokerResponseHeader =
            self.ask_header(namesrv_addr, code, &header).await?;
        Ok(header.wipe_topic_count)
    }

    /// Gives it back (327); says to how many.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn add_write_perm_of_broker(
        &self,
        namesrv_addr: &str,
        broker_name: &str,
    ) -> Result<i32, AdminError> {
        let header = WritePermOfBrokerRequestHeader { broker_name: broker_name.to_owned() };
        let code = RequestCode::ADD_WRITE_PERM_OF_BROKER;
        let header: AddWritePermOfBrokerResponseHeader =
            self.ask_header(namesrv_addr, code, &header).await?;
        Ok(header.add_topic_count)
    }

    /// The settings of a name server, as lines of a `.properties` file (319).
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn get_name_server_config(&self, namesrv_addr: &str) -> Result<String, AdminError> {
        self.ask_text(namesrv_addr, RequestCode::GET_NAMESRV_CONFIG).await
    }

    /// Changes settings of a name server (318).
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn update_name_server_config(
        &self,
        namesrv_addr: &str,
        properties: String,
    ) -> Result<(), AdminError> {
        self.tell_body(namesrv_addr, RequestCode::UPDATE_NAMESRV_CONFIG, &(), properties).await
    }

    /// Has every name server forget a topic in a cluster (216).
    ///
    /// # Errors
    /// As [`MqAdminExt::put_kv_config`].
    pub async fn delete_topic_in_name_server(
        &self,
        topic: &str,
        cluster: Option<&str>,
    ) -> Result<(), AdminError> {
        let header = DeleteTopicRequestHeader {
            topic: topic.to_owned(),
            cluster_name: cluster.map(str::to_owned),
        };
        self.tell_name_servers(RequestCode::DELETE_TOPIC_IN_NAMESRV, &header).await
    }

    async fn ask_name_server<B: Json>(
        &self,
        code: i32,
        header: &impl CustomHeader,
    ) -> Result<B, AdminError> {
        let request = RemotingCommand::request(code, header);
        let (addr, response) = self.instance.ask_name_server(request, self.timeout).await?;
        read_body(&addr, &response)
    }

    /// Tells each of them, and fails with the first that fails.
    async fn tell_name_servers(
        &self,
        code: i32,
        header: &impl CustomHeader,
    ) -> Result<(), AdminError> {
        if self.name_servers().is_empty() {
            return Err(AdminError::NoNameServer);
        }
        let told = self.name_servers().iter().map(|addr| self.tell(addr, code, header));
        futures::future::join_all(told).await.into_iter().collect()
    }
}
