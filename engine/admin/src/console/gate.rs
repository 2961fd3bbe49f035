//! [`Gate`]: who may ask the console, and who may have it change something.
//!
//! A browser carries any page's requests to any address. Three things keep other pages out:
//! * **Host**: the request names this machine by an address or as `localhost`. A page whose name was made to lead
//!   here (DNS rebinding) names itself.
//! * **No CORS**: no answer permits another origin to read it, and the page itself loads nothing from elsewhere
//!   (`Content-Security-Policy`).
//! * **Origin and token**: what changes something is a POST from the page's own origin, and carries the token that
//!   stands in the page, new with each start.

use std::net::{IpAddr, SocketAddr};

use mq_env::rng::Rng;
use mq_http::{Request, Response};
use rand::RngCore;

use super::refusal::Refusal;

/// Where dead letters are sent again: the one path that changes something.
pub(super) const RESEND_PATH: &str = "/api/dead-letters/resend";

/// The header with the token.
pub(super) const TOKEN_HEADER: &str = "x-console-token";

/// Headers of every answer.
const HEADERS: [(&str, &str); 4] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
];

/// Who may ask.
pub(super) struct Gate {
    token: String,
    allow_changes: bool,
}

impl Gate {
    pub(super) fn new(rng: &Rng, allow_changes: bool) -> Self {
        let mut draws = rng.stream("console token");
        let token = format!("{:016x}{:016x}", draws.next_u64(), draws.next_u64());
        Gate { token, allow_changes }
    }

    /// What the page is to send with what changes something; nothing where nothing may.
    pub(super) fn token_of_page(&self) -> &str {
        if self.allow_changes { &self.token } else { "" }
    }

    /// Whether the request may be answered.
    pub(super) fn admit(&self, request: &Request) -> Result<(), Refusal> {
        let host = request.header("host").unwrap_or_default();
        if !names_this_machine(host) {
            return Err(Refusal::Forbidden(format!(
                "the request is for the host \"{host}\"; the console answers to IP addresses and to localhost, as a \
                 name may have been made to lead here"
            )));
        }
        let allowed = if request.path == RESEND_PATH { "POST" } else { "GET" };
        match (request.method.as_str(), allowed) {
            ("POST", "POST") => self.admit_change(request, host),
            ("GET" | "HEAD", "GET") => Ok(()),
            (method, allowed) => {
                let (path, method) = (request.path.clone(), method.to_owned());
                Err(Refusal::Method { path, method, allowed })
            }
        }
    }

    fn admit_change(&self, request: &Request, host: &str) -> Result<(), Refusal> {
        let reason = if !self.allow_changes {
            "this console only shows: it was started without --allow-changes"
        } else if request.header("origin").is_some_and(|it| it != format!("http://{host}")) {
            "the request comes from another page than the console's"
        } else if request.header(TOKEN_HEADER) != Some(&self.token) {
            "the request has not got the token of the page; load the page again"
        } else {
            return Ok(());
        };
        Err(Refusal::Forbidden(reason.to_owned()))
    }
}

/// `localhost` or an IP address, with a port or without.
fn names_this_machine(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|it| it.is_ascii_digit()) { name } else { host }
    });
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|it| it.is_ipv4())
        || host.parse::<SocketAddr>().is_ok()
        || host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).is_some_and(is_ip)
}

fn is_ip(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// The answer with what keeps other pages out.
pub(super) fn guarded(response: Response) -> Response {
    HEADERS.iter().fold(response, |response, (name, value)| response.with_header(name, value))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request {
        let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Request {
            method: method.into(),
            path: path.into(),
            query: vec![],
            headers: headers.collect(),
            body: Bytes::new(),
        }
    }

    #[test]
    fn only_addresses_and_localhost_are_hosts() {
        for host in
            ["localhost", "LocalHost:1", "127.0.0.1:8080", "10.0.0.1", "[::1]:8080", "[::1]"]
        {
            assert!(names_this_machine(host), "{host}");
        }
        for host in
            ["", "evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.a", ":"]
        {
            assert!(!names_this_machine(host), "{host}");
        }
    }

    #[test]
    fn changes_want_permission_origin_and_token() {
        let gate = Gate::new(&Rng::from_seed(1), true);
        let (host, token) = (("host", "localhost:1"), (TOKEN_HEADER, gate.token.as_str()));
        let origin = ("origin", "http://localhost:1");
        let asked = |gate: &Gate, headers: &[_]| {
            gate.admit(&request("POST", RESEND_PATH, headers)).map_err(|error| error.to_string())
        };
        assert_eq!(asked(&gate, &[host, origin, token]), Ok(()));
        // A program sends no origin.
        assert_eq!(asked(&gate, &[host, token]), Ok(()));
        for (headers, says) in [
            (&[host, origin][..], "token"),
            (&[host, origin, (TOKEN_HEADER, "")], "token"),
            (&[host, ("origin", "http://evil.example"), token], "another page"),
            (&[host, ("origin", "null"), token], "another page"),
            (&[("host", "evil.example"), ("origin", "http://evil.example"), token], "host"),
            (&[origin, token], "host"),
        ] {
            let error = asked(&gate, headers).unwrap_err();
            assert!(error.contains(says), "{headers:?}: {error}");
        }
        let gate = Gate::new(&Rng::from_seed(1), false);
        assert_eq!(gate.token_of_page(), "");
        let token = (TOKEN_HEADER, gate.token.as_str());
        assert!(asked(&gate, &[host, origin, token]).unwrap_err().contains("--allow-changes"));
        assert!(asked(&gate, &[host, origin, (TOKEN_HEADER, "")]).is_err());
    }

    #[test]
    fn methods_are_those_of_the_path() {
        let gate = Gate::new(&Rng::from_seed(1), true);
        let headers = [("host", "localhost"), (TOKEN_HEADER, gate.token.as_str())];
        let asked = |method, path| gate.admit(&request(method, path, &headers)).is_ok();
        assert!(asked("GET", "/") && asked("HEAD", "/api/topics"));
        assert!(!asked("POST", "/api/topics") && !asked("GET", RESEND_PATH));
        assert!(!asked("DELETE", "/api/topic") && !asked("OPTIONS", RESEND_PATH));
    }
}
