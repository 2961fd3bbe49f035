//! [`NameServers`]: which name server is asked (part of RocketMQ 4.9 `NettyRemotingClient`).
//!
//! The list is shuffled once. A client stays with one name server until its connection fails, then
//! goes round. Each question goes to one of them only.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mq_env::plant::{Plant, planted_on_this_thread};
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{RemotingClient, RemotingError};
use rand::Rng;
use rand::seq::SliceRandom;

use crate::error::ClientError;

/// The name servers of a client.
pub(crate) struct NameServers {
    addrs: Vec<String>,
    chosen: AtomicUsize,
}

impl NameServers {
    pub(crate) fn new(mut addrs: Vec<String>, rng: &mut impl Rng) -> Self {
        addrs.shuffle(rng);
        let chosen = rng.random_range(0..addrs.len().max(1));
        NameServers { addrs, chosen: AtomicUsize::new(chosen) }
    }

    /// Asks the chosen name server; moves on to the next while none can be connected to.
    pub(crate) async fn invoke(
        &self,
        remoting: &RemotingClient,
        request: RemotingCommand,
        timeout: Duration,
    ) -> Result<(String, RemotingCommand), ClientError> {
        if self.addrs.is_empty() {
            return Err(ClientError::NoNameServer);
        }
        let mut addr = self.current();
        if !remoting.is_connected(addr) {
            addr = self.next();
        }
        let mut others_left = self.addrs.len() - 1;
        loop {
            match remoting.invoke(addr, request.clone(), timeout).await {
                Err(RemotingError::Connect { .. }) if others_left > 0 => {
                    others_left -= 1;
                    addr = self.next();
                }
                result => return Ok((addr.to_owned(), result?)),
            }
        }
    }

    fn current(&self) -> &str {
        &self.addrs[self.chosen.load(Ordering::Relaxed) % self.addrs.len()]
    }

    fn next(&self) -> &str {
        let moves_on = !planted_on_this_thread(Plant::StaysWithItsNameServer);
        self.chosen.fetch_add(usize::from(moves_on), Ordering::Relaxed);
        self.current()
    }
}
