//! `console`: a page for browsers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use mq_http::{Limits, serve};

use crate::command::{SubCommand, Terminal};
use crate::console::{ANSWER_MAX, Console as Page};
use crate::error::AdminError;

/// Serves a page for operators: brokers, topics, groups, messages and dead letters of the cluster (not in RocketMQ's mqadmin).
#[derive(Args)]
pub(crate) struct Console {
    /// Where browsers connect to. Whoever reaches it sees the cluster's messages.
    #[arg(long = "listen", value_name = "IP:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Lets browsers have dead letters consumed; without it nothing is changed.
    #[arg(long = "allow-changes")]
    allow_changes: bool,
}

impl SubCommand for Console {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        if terminal.admin.name_servers().is_empty() {
            return Err(AdminError::NoNameServer);
        }
        let env = terminal.admin.env().clone();
        let listener = env.net.bind(self.listen).await.map_err(|error| self.not_bound(&error))?;
        let page = Arc::new(Page::new(&terminal.admin, self.allow_changes));
        let answer = move |request| {
            let page = Arc::clone(&page);
            async move { page.answer(&request).await }
        };
        // The page says that an answer is late before the connection is closed.
        let exchange_max = ANSWER_MAX + Duration::from_secs(5);
        let server = serve(&env, listener, answer, Limits { exchange_max, ..Limits::default() });
        let server = server.map_err(|error| self.not_bound(&error))?;
        terminal.print(&self.greeting(server.local_addr()))?;
        std::future::pending().await
    }
}

impl Console {
    fn not_bound(&self, error: &std::io::Error) -> AdminError {
        let addr = self.listen;
        AdminError::Failed(format!("{addr} cannot be listened on: {error}; --listen names another"))
    }

    fn greeting(&self, addr: SocketAddr) -> String {
        let changes = match self.allow_changes {
            true => "dead letters can be sent again (--allow-changes)",
            false => "nothing can be changed",
        };
        let mut text = format!("The console is at http://{addr}/ ; {changes}.\n");
        if !self.listen.ip().is_loopback() {
            text += &format!(
                "WARNING: whoever reaches {addr} reads this cluster's messages, in this program's name: the console \
                 asks for no password and encrypts nothing. Keep the port to a network of operators.\n"
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_machines_are_warned_of() {
        let greeting = |listen: &str, allow_changes| {
            let listen = listen.parse().unwrap();
            Console { listen, allow_changes }.greeting(listen)
        };
        let text = greeting("127.0.0.1:8080", false);
        assert_eq!(text, "The console is at http://127.0.0.1:8080/ ; nothing can be changed.\n");
        assert!(!greeting("[::1]:1", true).contains("WARNING"));
        assert!(greeting("0.0.0.0:1", false).contains("WARNING: whoever reaches 0.0.0.0:1"));
    }
}
