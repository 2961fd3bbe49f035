//! [`ClientChannelInfo`]: a client as its heartbeats describe it.

use std::sync::Arc;
use std::time::Duration;

use mq_protocol::codes::LanguageCode;
use mq_remoting::Channel;
use tokio::time::Instant;

/// A client without a heartbeat for this long is forgotten and its connection closed.
pub(crate) const CHANNEL_EXPIRED_TIMEOUT: Duration = Duration::from_secs(120);

/// One connection of a client.
#[derive(Clone, Debug)]
pub(crate) struct ClientChannelInfo {
    /// The connection.
    pub(crate) channel: Channel,
    /// What the client calls itself.
    pub(crate) client_id: Arc<str>,
    /// Of its latest heartbeat.
    pub(crate) language: LanguageCode,
    /// The same.
    pub(crate) version: i32,
    /// Its latest heartbeat.
    pub(crate) last_update: Instant,
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Mutex;

    use mq_env::Env;
    use mq_protocol::codes::{MqVersion, RequestCode};
    use mq_protocol::remoting_command::RemotingCommand;
    use mq_remoting::{
        ProcessOutcome, ProcessResult, ProcessorTable, RemotingClient, RemotingClientConfig,
        RemotingServer, RemotingServerConfig, RequestProcessor,
    };

    use super::*;
    use crate::lock;

    /// Keeps the channels of whoever asks, and the codes of what it is asked.
    #[derive(Default)]
    pub(crate) struct Recorder {
        channels: Mutex<Vec<Channel>>,
        codes: Mutex<Vec<i32>>,
    }

    impl Recorder {
        pub(crate) fn codes(&self) -> Vec<i32> {
            lock(&self.codes).clone()
        }
    }

    impl RequestProcessor for Recorder {
        fn process(&self, channel: &Channel, request: RemotingCommand) -> ProcessResult {
            lock(&self.channels).push(channel.clone());
            lock(&self.codes).push(request.code);
            Ok(ProcessOutcome::Reply(RemotingCommand::success(&())))
        }
    }

    /// What keeps the connections of [`clients`] open.
    pub(crate) struct Connections {
        _server: RemotingServer,
        _clients: Vec<RemotingClient>,
        /// What each client was asked by the server.
        pub(crate) asked: Vec<Arc<Recorder>>,
    }

    /// Connections on loopback, one per client id, as the server side sees them.
    pub(crate) async fn clients<const N: usize>(
        client_ids: [&str; N],
    ) -> (Connections, Vec<ClientChannelInfo>) {
        let env = Env::os();
        let recorder = Arc::new(Recorder::default());
        let table = Arc::new(ProcessorTable::default().register_default(recorder.clone()));
        let endpoints = vec![("127.0.0.1:0".parse().unwrap(), table)];
        let server =
            RemotingServer::start(env.clone(), RemotingServerConfig::default(), endpoints, None);
        let server = server.await.unwrap();
        let addr = server.local_addrs()[0].to_string();
        let (mut clients, mut asked) = (Vec::new(), Vec::new());
        for _ in client_ids {
            let recorder = Arc::new(Recorder::default());
            let table = ProcessorTable::default().register_default(recorder.clone());
            let client = RemotingClient::new(env.clone(), RemotingClientConfig::default(), table);
            let hello = RemotingCommand::request(RequestCode::HEART_BEAT, &());
            client.invoke(&addr, hello, Duration::from_secs(5)).await.unwrap();
            clients.push(client);
            asked.push(recorder);
        }
        let channels = lock(&recorder.channels).clone();
        let infos =
            channels.into_iter().zip(client_ids).map(|(channel, client_id)| ClientChannelInfo {
                channel,
                client_id: client_id.into(),
                language: LanguageCode::Java,
                version: MqVersion::CURRENT,
                last_update: Instant::now(),
            });
        (Connections { _server: server, _clients: clients, asked }, infos.collect())
    }
}
