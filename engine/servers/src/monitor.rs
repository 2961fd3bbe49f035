//! The port that watchers ask: `/metrics`, `/health` and `/ready` over HTTP.
//!
//! It answers from before the program serves until it ends: `/health` is 200 while the process had better not be started
//! anew, `/ready` while clients may count on it, each else 503; both with the reasons as JSON.

use std::sync::{Arc, OnceLock};

use mq_broker::BrokerController;
use mq_env::Env;
use mq_env::net::any_addr;
use mq_http::{HttpServer, Limits, Request, Response, serve};
use mq_namesrv::NamesrvController;
use serde_json::json;

use crate::metrics::{self, Family};
use crate::{Failure, refusals};

/// A program that is watched.
pub trait Watched: Send + Sync {
    /// Its figures.
    fn families(&self) -> Vec<Family>;

    /// Why it had better be started anew, in sentences.
    fn ailments(&self) -> Vec<String>;

    /// Why clients should not count on it, in sentences.
    fn hindrances(&self) -> Vec<String>;

    /// As what it serves.
    fn role(&self) -> &'static str;
}

/// The port; without one nobody is answered.
#[derive(Default)]
pub struct Monitor {
    watched: Arc<OnceLock<Box<dyn Watched>>>,
    server: Option<HttpServer>,
}

impl Monitor {
    /// Listens on `port`, on all addresses; not at all where that is 0.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub async fn start(env: &Env, port: u16) -> Result<Self, Failure> {
        if port == 0 {
            return Ok(Monitor::default());
        }
        let refused = |error| {
            let remedy = "metricsListenPort in the configuration file; without it there are none";
            refusals::of_port(port, "metrics", remedy, &error)
        };
        let watched = Arc::<OnceLock<Box<dyn Watched>>>::default();
        let asked = Arc::clone(&watched);
        let answer = move |request: Request| {
            let asked = Arc::clone(&asked);
            async move { answer(&request, asked.get().map(|it| &**it)) }
        };
        let listener = env.net.bind(any_addr(port)).await.map_err(refused)?;
        let server = serve(env, listener, answer, Limits::default()).map_err(refused)?;
        tracing::info!("metrics, health and readiness at port {port} (metricsListenPort)");
        Ok(Monitor { watched, server: Some(server) })
    }

    /// From now on `watched` is told of. Called once.
    pub fn watch(&self, watched: impl Watched + 'static) {
        let is_first = self.watched.set(Box::new(watched)).is_ok();
        assert!(is_first, "a process serves once");
    }

    /// Answers nobody any more.
    pub async fn shutdown(&self) {
        if let Some(server) = &self.server {
            server.shutdown().await;
        }
    }
}

/// The answer to a request while `watched` serves, or nobody does yet.
fn answer(request: &Request, watched: Option<&dyn Watched>) -> Response {
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        return Response::error(405, "ask with GET").with_header("allow", "GET, HEAD");
    }
    let starting = || vec!["the program is starting".to_owned()];
    match request.path.as_str() {
        "/metrics" => {
            let families = watched.map(|it| it.families()).unwrap_or_default();
            Response::new(200, metrics::CONTENT_TYPE, metrics::text(families))
        }
        "/health" => state(watched, &watched.map(|it| it.ailments()).unwrap_or_default()),
        "/ready" => state(watched, &watched.map_or_else(starting, |it| it.hindrances())),
        _ => Response::error(404, "there are /metrics, /health and /ready"),
    }
}

fn state(watched: Option<&dyn Watched>, reasons: &[String]) -> Response {
    let is_well = reasons.is_empty();
    let role = watched.map(|it| it.role());
    let body = json!({ "ok": is_well, "role": role, "reasons": reasons });
    Response::json(if is_well { 200 } else { 503 }, format!("{body}\n"))
}

/// A broker.
pub struct WatchedBroker(pub Arc<BrokerController>);

impl Watched for WatchedBroker {
    fn families(&self) -> Vec<Family> {
        metrics::broker::families(&self.0)
    }

    fn ailments(&self) -> Vec<String> {
        self.0.ailments()
    }

    fn hindrances(&self) -> Vec<String> {
        self.0.hindrances()
    }

    fn role(&self) -> &'static str {
        self.0.role().name()
    }
}

/// A name server.
pub struct WatchedNamesrv(pub NamesrvController);

impl Watched for WatchedNamesrv {
    fn families(&self) -> Vec<Family> {
        metrics::namesrv::families(&self.0.metrics())
    }

    fn ailments(&self) -> Vec<String> {
        Vec::new()
    }

    fn hindrances(&self) -> Vec<String> {
        match self.0.is_stopping() {
            true => vec!["the name server is stopping".to_owned()],
            false => Vec::new(),
        }
    }

    fn role(&self) -> &'static str {
        "NAMESRV"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake {
        ailments: Vec<String>,
        hindrances: Vec<String>,
    }

    impl Watched for Fake {
        fn families(&self) -> Vec<Family> {
            Vec::new()
        }

        fn ailments(&self) -> Vec<String> {
            self.ailments.clone()
        }

        fn hindrances(&self) -> Vec<String> {
            self.hindrances.clone()
        }

        fn role(&self) -> &'static str {
            "SLAVE"
        }
    }

    fn asked(method: &str, path: &str, watched: Option<&dyn Watched>) -> (u16, String) {
        let request = Request {
            method: method.to_owned(),
            path: path.to_owned(),
            query: Vec::new(),
            headers: Vec::new(),
            body: Default::default(),
        };
        let response = answer(&request, watched);
        (response.status, String::from_utf8(response.body.to_vec()).unwrap())
    }

    #[test]
    fn reasons_make_the_difference() {
        let starting = "{\"ok\":false,\"role\":null,\"reasons\":[\"the program is starting\"]}\n";
        assert_eq!(asked("GET", "/ready", None), (503, starting.to_owned()));
        let well = "{\"ok\":true,\"role\":null,\"reasons\":[]}\n";
        assert_eq!(asked("GET", "/health", None), (200, well.to_owned()));
        assert_eq!(asked("GET", "/metrics", None), (200, "# EOF\n".to_owned()));
        let ill = Fake { ailments: vec!["poisoned".to_owned()], hindrances: Vec::new() };
        assert_eq!(asked("HEAD", "/health", Some(&ill)).0, 503);
        let serves = "{\"ok\":true,\"role\":\"SLAVE\",\"reasons\":[]}\n";
        assert_eq!(asked("GET", "/ready", Some(&ill)), (200, serves.to_owned()));
        assert_eq!(asked("POST", "/ready", Some(&ill)).0, 405);
        assert_eq!(asked("GET", "/", Some(&ill)).0, 404);
    }
}
