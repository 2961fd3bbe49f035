//! What tools for operators ask in the name of a client: any request of any server.

use std::time::Duration;

use mq_protocol::body::topic_route::TopicRouteData;
use mq_protocol::remoting_command::RemotingCommand;

use crate::error::ClientError;
use crate::instance::ClientInstance;

impl ClientInstance {
    /// The answer of the server at `addr`.
    ///
    /// # Errors
    /// When there is none within `timeout`, or its code is not SUCCESS.
    pub async fn ask(
        &self,
        addr: &str,
        request: RemotingCommand,
        timeout: Duration,
    ) -> Result<RemotingCommand, ClientError> {
        self.api().invoke(addr, request, timeout).await
    }

    /// The answer of the name server that this client asks, whose address comes first.
    ///
    /// # Errors
    /// As [`ClientInstance::ask`], and when no name server is configured.
    pub async fn ask_name_server(
        &self,
        request: RemotingCommand,
        timeout: Duration,
    ) -> Result<(String, RemotingCommand), ClientError> {
        self.api().invoke_name_server(request, timeout).await
    }

    /// The route of `topic` as a name server has it now.
    ///
    /// # Errors
    /// When none answers, or none knows the topic.
    pub async fn topic_route(&self, topic: &str) -> Result<TopicRouteData, ClientError> {
        let route = self.api().get_topic_route_info(topic).await?;
        route.ok_or_else(|| ClientError::NoRoute(topic.to_owned()))
    }

    /// The name servers that it was told of, in the order in which it was.
    #[must_use]
    pub fn name_servers(&self) -> &[String] {
        self.namesrv_addrs()
    }
}
