//! [`Browser`]: whoever asks the console over HTTP, one request a connection.

use std::fmt::Write as _;
use std::pin::pin;

use futures::future::{Either, select};
use mq_env::Env;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::desk::Desk;

/// Where the console listens unless told otherwise.
const ADDR: &str = "127.0.0.1:8080";

/// Somebody at the desk.
pub(super) struct Browser {
    env: Env,
    origin: String,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    /// Status line and headers.
    pub(super) head: String,
    body: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn facts(&self) -> Result<Value, (u16, String)> {
        match self.status {
            200 => Ok(self.json()),
            status => Err((status, self.json()["error"].as_str().unwrap().to_owned())),
        }
    }
}

/// Tells a story at a desk where `mqadmin console` runs.
pub(super) async fn with_console(desk: &Desk, options: &str, story: impl AsyncFnOnce(&Browser)) {
    let browser = Browser { env: desk.env(), origin: format!("http://{ADDR}") };
    let line = format!("console {options}");
    let console = pin!(desk.call(&line));
    let story = pin!(async {
        // It listens once it has been polled.
        tokio::task::yield_now().await;
        story(&browser).await;
    });
    if let Either::Left(((text, result), _)) = select(console, story).await {
        panic!("the console ended: {result:?}\n{text}");
    }
}

/// As it stands in a query.
pub(super) fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "%{byte:02X}");
        out
    })
}

impl Browser {
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// The facts at a path.
    pub(super) async fn get(&self, path: &str) -> Value {
        self.ask("GET", path, &[]).await.facts().unwrap_or_else(|it| panic!("{path}: {it:?}"))
    }

    /// Why there are none.
    pub(super) async fn refused(&self, path: &str) -> (u16, String) {
        self.ask("GET", path, &[]).await.facts().unwrap_err()
    }

    /// What came of an order to send a dead letter again, given as the page gives it.
    pub(super) async fn post(&self, order: &Value) -> Result<Value, (u16, String)> {
        let token = self.token().await;
        let headers = [("X-Console-Token", &*token), ("Origin", self.origin())];
        let path = "/api/dead-letters/resend";
        self.send("POST", path, &headers, &order.to_string()).await.facts()
    }

    /// The token in the page.
    pub(super) async fn token(&self) -> String {
        let page = self.ask("GET", "/", &[]).await.body;
        let (_, rest) = page.split_once("name=\"console-token\" content=\"").unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    }

    pub(super) async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(method, path, headers, "").await
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut text = format!("{method} {path} HTTP/1.1\r\nContent-Length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| *name == "Host") {
            let _ = write!(text, "Host: {ADDR}\r\n");
        }
        for (name, value) in headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        text += &format!("\r\n{body}");
        let mut stream = self.env.net.connect(ADDR).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }
}
