//! [`Peers`]: what the core says to the others, in order, and what they answer.
//!
//! One task a peer, with a queue that has an end: what does not fit is dropped, and the core says it again. A peer that
//! has answered nothing for as long as an answer may take gets a new connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use mq_dledger::{Message, NodeId};
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{RemotingClient, RemotingError};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::host::Input;
use crate::node::Shared;
use crate::wire::decode_answer;

/// Requests that wait to be sent to a peer: a push window, and what else there is.
const QUEUED_MAX: usize = 2_048;
/// Requests that wait for a peer's answer.
const IN_FLIGHT_MAX: usize = 4_096;

/// Ways to the other members.
pub(crate) struct Peers {
    queues: BTreeMap<NodeId, mpsc::Sender<(Message, RemotingCommand)>>,
}

impl Peers {
    /// Starts a task for each.
    pub(crate) fn start(
        shared: &Arc<Shared>,
        client: &RemotingClient,
        host: &mpsc::Sender<Input>,
    ) -> Self {
        let mut queues = BTreeMap::new();
        for peer in &shared.config.settings.peers {
            let (queue, waiting) = mpsc::channel(QUEUED_MAX);
            let link = Link {
                client: client.clone(),
                addr: shared.members.addr_of(peer.id).to_owned(),
                timeout: shared.rpc_timeout(),
                heard: Instant::now(),
            };
            shared.env.tasks.spawn_until_cancelled("dledger peer", link.run(waiting, host.clone()));
            queues.insert(peer.id, queue);
        }
        Peers { queues }
    }

    /// Queues a request, or drops it.
    pub(crate) fn send(&self, message: Message, request: RemotingCommand) {
        let queue = self.queues.get(&message.to);
        if queue.is_none_or(|queue| queue.try_send((message, request)).is_err()) {
            tracing::debug!("a request to a peer is dropped: too many wait");
        }
    }
}

/// The way to one peer.
struct Link {
    client: RemotingClient,
    addr: String,
    timeout: Duration,
    /// When it last answered.
    heard: Instant,
}

impl Link {
    async fn run(
        mut self,
        mut waiting: mpsc::Receiver<(Message, RemotingCommand)>,
        host: mpsc::Sender<Input>,
    ) {
        let mut in_flight = FuturesUnordered::new();
        loop {
            let (request, answer) = mq_env::select! {
                next = waiting.recv(), if in_flight.len() < IN_FLIGHT_MAX => match next {
                    Some((message, request)) => {
                        in_flight.push(self.ask(message, request));
                        continue;
                    }
                    None => return,
                },
                Some(answered) = in_flight.next(), if !in_flight.is_empty() => answered,
            };
            let Some(message) = self.answered(&request, answer) else { continue };
            let (entries, responder, queued) = (Vec::new(), None, None);
            let input = Input::Received { message, entries, responder, queued };
            if host.send(input).await.is_err() {
                return;
            }
        }
    }

    /// The request is queued on the connection when this is first polled.
    fn ask(
        &self,
        message: Message,
        request: RemotingCommand,
    ) -> impl Future<Output = (Message, Result<RemotingCommand, RemotingError>)> + Send + use<>
    {
        let (client, addr, timeout) = (self.client.clone(), self.addr.clone(), self.timeout);
        async move {
            let answer = client.invoke_async(&addr, request, timeout).await;
            (message, answer)
        }
    }

    fn answered(
        &mut self,
        request: &Message,
        answer: Result<RemotingCommand, RemotingError>,
    ) -> Option<Message> {
        match answer {
            Ok(answer) => {
                self.heard = Instant::now();
                let message = decode_answer(request, &answer);
                message.inspect_err(|error| tracing::warn!(%error, "an answer is no answer")).ok()
            }
            Err(error) => {
                let is_silent = self.heard.elapsed() >= self.timeout;
                if matches!(error, RemotingError::Timeout { .. }) && is_silent {
                    self.client.close(&self.addr);
                }
                tracing::debug!(%error, addr = self.addr, "no answer");
                None
            }
        }
    }
}
