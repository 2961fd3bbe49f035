//! The console: a page for operators, and the JSON that it is made of.
//!
//! | module | holds |
//! |---|---|
//! | `gate` | who may ask: hosts, origins, and the token of whoever changes something |
//! | `refusal`, `listed` | why there is no answer; parts of lists, and the sentence that says so |
//! | `brokers`, `topics`, `groups`, `messages`, `dead_letters` | what is asked of the cluster, a module per table |
//! | `page` | the files of the page |
//!
//! Invariants
//! * It asks what the commands ask, and of no server that the name servers do not know.
//! * No list is longer than a constant here says, no broker is waited for longer than [`BROKER_MAX`], no answer takes
//!   longer than [`ANSWER_MAX`]. What is missing is said in the answer.
//! * Only [`dead_letters::resend`] changes anything.

mod brokers;
mod dead_letters;
mod gate;
mod groups;
mod listed;
mod messages;
mod page;
mod refusal;
mod topics;

use std::time::Duration;

use futures::StreamExt;
use futures::stream::iter;
use mq_http::{Request, Response};
use serde::Serialize;

use self::gate::Gate;
use self::refusal::Refusal;
use crate::mq_admin_ext::MqAdminExt;

/// How long a broker is waited for, each time that it is asked.
const BROKER_MAX: Duration = Duration::from_secs(3);

/// How long an answer may take.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(20);

/// Brokers, topics, groups or queues that are asked about side by side.
const ASKED_AT_ONCE: usize = 16;

/// Answers browsers.
pub(crate) struct Console {
    admin: MqAdminExt,
    gate: Gate,
}

impl Console {
    /// A console in the name of `admin`; it changes something only with `allow_changes`.
    pub(crate) fn new(admin: &MqAdminExt, allow_changes: bool) -> Self {
        let gate = Gate::new(&admin.env().rng, allow_changes);
        Console { admin: admin.with_timeout(BROKER_MAX), gate }
    }

    /// The answer to a request; a refusal is one, too.
    pub(crate) async fn answer(&self, request: &Request) -> Response {
        let answer = tokio::time::timeout(ANSWER_MAX, self.asked(request)).await;
        let answer = answer.unwrap_or(Err(Refusal::TooLate(ANSWER_MAX)));
        gate::guarded(answer.unwrap_or_else(|refusal| refusal.response()))
    }

    async fn asked(&self, request: &Request) -> Result<Response, Refusal> {
        self.gate.admit(request)?;
        if let Some(response) = page::file(&request.path, &self.gate) {
            return Ok(response);
        }
        let (admin, query) = (&self.admin, Query(&request.query));
        match request.path.as_str() {
            "/api/brokers" => json(&brokers::all(admin).await?),
            "/api/broker" => json(&brokers::one(admin, query.required("address")?).await?),
            "/api/topics" => json(&topics::all(admin, query).await?),
            "/api/topic" => json(&topics::one(admin, query.required("topic")?).await?),
            "/api/groups" => json(&groups::all(admin, query).await?),
            "/api/group" => json(&groups::one(admin, query.required("group")?).await?),
            "/api/messages" => json(&messages::found(admin, query).await?),
            "/api/message" => json(&messages::one(admin, query).await?),
            "/api/dead-letters" => match query.optional("group") {
                Some(group) => json(&dead_letters::of(admin, group, query.page()?).await?),
                None => json(&dead_letters::groups(admin, query).await?),
            },
            gate::RESEND_PATH => json(&dead_letters::resend(admin, &request.body).await?),
            path => Err(Refusal::NotFound(format!("there is nothing at {path}"))),
        }
    }
}

/// What `ask` makes of each of `items`, in their order; [`ASKED_AT_ONCE`] are under way at a time.
async fn side_by_side<I, T, F>(items: Vec<I>, ask: impl Fn(I) -> F) -> Vec<T>
where
    F: Future<Output = T>,
{
    let asked: Vec<F> = items.into_iter().map(ask).collect();
    iter(asked).buffered(ASKED_AT_ONCE).collect().await
}

fn json(value: &impl Serialize) -> Result<Response, Refusal> {
    let text = serde_json::to_vec(value).map_err(|error| Refusal::Ours(error.to_string()))?;
    Ok(Response::json(200, text))
}

/// Names and values of a request.
#[derive(Clone, Copy)]
struct Query<'a>(&'a [(String, String)]);

impl<'a> Query<'a> {
    /// What is there and not empty.
    fn optional(self, name: &str) -> Option<&'a str> {
        let (_, value) = self.0.iter().find(|(it, value)| it == name && !value.is_empty())?;
        Some(value)
    }

    fn required(self, name: &str) -> Result<&'a str, Refusal> {
        self.optional(name).ok_or_else(|| Refusal::Input(format!("the query lacks {name}=…")))
    }

    fn number(self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.optional(name) else { return Ok(None) };
        let number = text.parse();
        number.map(Some).map_err(|_| Refusal::Input(format!("{name}={text} is no whole number")))
    }

    /// The page that is asked for, the first one unless said.
    fn page(self) -> Result<usize, Refusal> {
        let page = usize::try_from(self.number("page")?.unwrap_or(1)).unwrap_or(0);
        match page {
            0 => Err(Refusal::Input("pages are counted from 1 on".to_owned())),
            page => Ok(page),
        }
    }

    /// Whether a name has the text that is looked for in it, in any case.
    fn lets_pass(self, name: &str) -> bool {
        let filter = self.optional("filter").unwrap_or_default().to_lowercase();
        name.to_lowercase().contains(&filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_as_it_is_meant() {
        let pairs = [("page", "2"), ("filter", "oRd"), ("empty", ""), ("n", "x")];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let query = Query(&pairs);
        assert_eq!((query.page().unwrap(), query.optional("empty")), (2, None));
        assert!(query.lets_pass("Orders") && !query.lets_pass("Other"));
        assert!(query.number("n").is_err() && query.required("topic").is_err());
        for bad in ["0", "-1", "x", "99999999999999999999"] {
            let pairs = [("page".to_owned(), bad.to_owned())];
            assert!(Query(&pairs).page().is_err(), "{bad}");
        }
    }
}
