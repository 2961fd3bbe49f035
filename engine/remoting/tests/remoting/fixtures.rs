//! One constructor per component, and a processor that understands a few verbs.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mq_env::Env;
use mq_protocol::codes::ResponseCode;
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{
    Channel, CloseReason, ConnectionListener, ProcessOutcome, ProcessResult, ProcessorTable,
    RemotingClient, RemotingClientConfig, RemotingServer, RemotingServerConfig, RequestProcessor,
    Responder,
};

pub(crate) const ECHO: i32 = 1001;
pub(crate) const SLEEP: i32 = 1002;
pub(crate) const HOLD: i32 = 1003;
pub(crate) const FAIL: i32 = 1004;
pub(crate) const LARGE: i32 = 1005;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Answers the verbs above and records what it saw.
#[derive(Default)]
pub(crate) struct Verbs {
    pub(crate) held: Mutex<Vec<Responder>>,
    pub(crate) seen: Mutex<Vec<String>>,
}

impl RequestProcessor for Verbs {
    fn process(&self, channel: &Channel, request: RemotingCommand) -> ProcessResult {
        let text = String::from_utf8_lossy(&request.body).into_owned();
        self.seen.lock().unwrap().push(text.clone());
        let mut reply = RemotingCommand::response(ResponseCode::SUCCESS, None);
        reply.body = request.body.clone();
        reply.ext_fields = request.ext_fields.clone();
        match request.code {
            ECHO => Ok(reply.into()),
            // The body says how many milliseconds the answer takes.
            SLEEP => {
                let wait = Duration::from_millis(text.parse()?);
                Ok(ProcessOutcome::later(async move {
                    tokio::time::sleep(wait).await;
                    Ok(Some(reply))
                }))
            }
            HOLD => {
                self.held.lock().unwrap().push(channel.responder(&request));
                Ok(ProcessOutcome::Silent)
            }
            LARGE => Ok(reply.with_body(vec![7_u8; text.parse()?]).into()),
            _ => Err(std::io::Error::other("the disk is gone").into()),
        }
    }
}

/// Records the beginnings and ends of connections.
#[derive(Default)]
pub(crate) struct Connections {
    pub(crate) events: Mutex<Vec<String>>,
}

impl ConnectionListener for Connections {
    fn connected(&self, channel: &Channel) {
        self.events.lock().unwrap().push(format!("{} connected", channel.id()));
    }

    fn closed(&self, channel: &Channel, reason: &CloseReason) {
        self.events.lock().unwrap().push(format!("{} {reason}", channel.id()));
    }
}

/// A server on `addrs` with its processor and its listener.
pub(crate) struct TestServer {
    pub(crate) server: RemotingServer,
    pub(crate) verbs: Arc<Verbs>,
    pub(crate) connections: Arc<Connections>,
}

impl TestServer {
    pub(crate) async fn start(env: &Env, addrs: &[&str]) -> TestServer {
        TestServer::start_with(env, addrs, RemotingServerConfig::default()).await
    }

    pub(crate) async fn start_with(
        env: &Env,
        addrs: &[&str],
        config: RemotingServerConfig,
    ) -> TestServer {
        let (verbs, connections) = (Arc::new(Verbs::default()), Arc::new(Connections::default()));
        let codes = [ECHO, SLEEP, HOLD, FAIL, LARGE];
        let table =
            Arc::new(ProcessorTable::default().register(&codes, Arc::clone(&verbs) as Arc<_>));
        let endpoints =
            addrs.iter().map(|addr| (addr.parse().unwrap(), Arc::clone(&table))).collect();
        let listener = Some(Arc::clone(&connections) as Arc<_>);
        let server = RemotingServer::start(env.clone(), config, endpoints, listener).await.unwrap();
        TestServer { server, verbs, connections }
    }

    pub(crate) fn addr(&self) -> String {
        self.addrs()[0].to_string()
    }

    pub(crate) fn addrs(&self) -> &[SocketAddr] {
        self.server.local_addrs()
    }

    pub(crate) fn events(&self) -> Vec<String> {
        self.connections.events.lock().unwrap().clone()
    }
}

pub(crate) fn client(env: &Env) -> RemotingClient {
    RemotingClient::new(env.clone(), RemotingClientConfig::default(), ProcessorTable::default())
}

pub(crate) fn request(code: i32, body: &str) -> RemotingCommand {
    RemotingCommand::request(code, &()).with_body(body.to_owned())
}

pub(crate) fn body(response: &RemotingCommand) -> &str {
    std::str::from_utf8(&response.body).unwrap()
}
