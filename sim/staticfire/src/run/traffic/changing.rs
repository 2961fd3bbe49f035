//! [`Changing`]: a consumer group whose members subscribe to something else while they run: what they are to want, who
//! wants it already, and what each of the filters does not let pass.

use std::collections::BTreeSet;
use std::sync::Mutex;

use mq_env::watched::Watched;
use staticfire_judge::history::{History, Subscribed};
use staticfire_world::trace::Name;

use crate::lock;
use crate::plan::{Filter, FilterPlan};

/// A pull that was sent before is answered, or given up, within this time.
const UNDER_WAY_US: u64 = 40_000_000;

/// What members are to want.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Counts the changes.
    pub version: u32,
    /// The filter; everything without one.
    pub filter: Option<FilterPlan>,
    /// The members that want it.
    followed: BTreeSet<Name>,
}

impl Wanted {
    /// What members are to want first.
    #[must_use]
    pub fn of(filter: Option<FilterPlan>) -> Self {
        Wanted { filter, ..Wanted::default() }
    }
}

/// See the module.
pub struct Changing {
    /// Its topic.
    pub(super) topic: String,
    group: Name,
    wanted: Watched<Wanted>,
    filters: Mutex<Filters>,
}

#[derive(Default)]
struct Filters {
    /// One after the other; `None` lets everything pass.
    compiled: Vec<Option<Filter>>,
    /// Numbers and properties of what was sent to the topic.
    sent: Vec<(u32, String)>,
}

impl Changing {
    /// A group that begins with `filter`.
    pub(super) fn new(
        topic: &str,
        group: Name,
        filter: Option<FilterPlan>,
        history: &mut History,
    ) -> Self {
        let compiled = vec![compile(filter.as_ref())];
        let filters = Mutex::new(Filters { compiled, sent: Vec::new() });
        history.changed_filters.insert(Name::clone(&group), vec![Subscribed::default()]);
        let wanted = Watched::new(Wanted::of(filter));
        Changing { topic: topic.to_owned(), group, wanted, filters }
    }

    /// A message is sent to the topic.
    pub(super) fn sent(&self, number: u32, properties: &str, now_us: u64, history: &mut History) {
        let mut filters = lock(&self.filters);
        let History { changed_filters, unwanted, .. } = history;
        let subscribed = changed_filters.entry(Name::clone(&self.group)).or_default();
        for (filter, subscribed) in filters.compiled.iter().zip(subscribed) {
            if passes(filter.as_ref(), properties) {
                continue;
            }
            subscribed.refused.insert(number);
            if subscribed.may_have_held(now_us, now_us) {
                unwanted.entry(Name::clone(&self.group)).or_default().insert(number);
            }
        }
        filters.sent.push((number, properties.to_owned()));
    }

    /// From now on members are to want what `filter` lets pass. Nobody is owed what it does not, of what was sent before:
    /// a member may not have come to it.
    pub fn change(&self, filter: &FilterPlan, now_us: u64, history: &mut History) {
        let mut filters = lock(&self.filters);
        let compiled = compile(Some(filter));
        let refused = filters.sent.iter().filter(|(_, on)| !passes(compiled.as_ref(), on));
        let refused: BTreeSet<u32> = refused.map(|(number, _)| *number).collect();
        let History { changed_filters, unwanted, .. } = history;
        unwanted.entry(Name::clone(&self.group)).or_default().extend(&refused);
        let by_properties = matches!(filter, FilterPlan::Sql { .. });
        let subscribed = Subscribed { from_us: now_us, until_us: None, refused, by_properties };
        changed_filters.entry(Name::clone(&self.group)).or_default().push(subscribed);
        filters.compiled.push(compiled);
        self.wanted.modify(|wanted| {
            let version = wanted.version + 1;
            *wanted = Wanted { version, filter: Some(filter.clone()), ..Wanted::default() };
        });
    }

    /// Everybody wants the present filter: what was asked for by others is over soon.
    pub fn settled(&self, now_us: u64, history: &mut History) {
        let subscribed = history.changed_filters.entry(Name::clone(&self.group)).or_default();
        let before = subscribed.len().saturating_sub(1);
        for it in subscribed[..before].iter_mut().filter(|it| it.until_us.is_none()) {
            it.until_us = Some(now_us + UNDER_WAY_US);
        }
    }

    /// What a member that starts is to want.
    #[must_use]
    pub fn now(&self) -> Wanted {
        self.wanted.get()
    }

    /// Resolves once members are to want something else than in `version`.
    pub async fn changed(&self, version: u32) -> Wanted {
        self.wanted.wait_for(|wanted| wanted.version > version).await
    }

    /// A member wants what it is to want in `version`.
    pub fn follows(&self, member: &Name, version: u32) {
        self.wanted.modify(|wanted| {
            if wanted.version == version {
                wanted.followed.insert(Name::clone(member));
            }
        });
    }

    /// Whether a member wants what it is to want.
    #[must_use]
    pub fn is_followed_by(&self, member: &str) -> bool {
        self.wanted.read(|wanted| wanted.followed.iter().any(|it| **it == *member))
    }
}

/// Plans with filters that do not compile are refused.
fn compile(filter: Option<&FilterPlan>) -> Option<Filter> {
    filter.and_then(|filter| filter.compile().ok())
}

fn passes(filter: Option<&Filter>, properties: &str) -> bool {
    filter.is_none_or(|filter| filter.passes(properties))
}
