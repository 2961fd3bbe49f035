//! [`Listed`]: part of a list, and the sentence that says so.

use serde::Serialize;

use super::side_by_side;

/// A part of a list.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Listed<T> {
    /// What is shown.
    pub(super) items: Vec<T>,
    /// How many there are.
    pub(super) total: usize,
    /// Which part it is, from 1.
    pub(super) page: usize,
    /// How many parts there are, at least one.
    pub(super) pages: usize,
    /// Says that this is not all; absent where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
}

impl<T> Listed<T> {
    /// The page of `all` with that number; `what` names its items. A page behind the last one is empty.
    pub(super) fn page_of(all: Vec<T>, page: usize, page_size: usize, what: &str) -> Self {
        let total = all.len();
        let pages = total.div_ceil(page_size).max(1);
        let skipped = (page - 1).saturating_mul(page_size);
        let items: Vec<T> = all.into_iter().skip(skipped).take(page_size).collect();
        let note = (pages > 1).then(|| {
            let shown = items.len();
            format!("{shown} of {total} {what}: page {page} of {pages}. A filter narrows them.")
        });
        Listed { items, total, page, pages, note }
    }

    /// The first `max` of `all`.
    pub(super) fn first_of(mut all: Vec<T>, max: usize, what: &str) -> Self {
        let total = all.len();
        all.truncate(max);
        let note = (total > max).then(|| format!("The first {max} of {total} {what}."));
        Listed { items: all, total, page: 1, pages: 1, note }
    }

    /// The same part, with what `ask` makes of each item; asked side by side.
    pub(super) async fn asked<U, F>(self, ask: impl Fn(T) -> F) -> Listed<U>
    where
        F: Future<Output = U>,
    {
        let Listed { items, total, page, pages, note } = self;
        Listed { items: side_by_side(items, ask).await, total, page, pages, note }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_all_says_so() {
        let all = Listed::page_of(vec![1, 2], 1, 2, "topics");
        assert_eq!((all.pages, all.note), (1, None));
        let last = Listed::page_of(vec![1, 2, 3], 2, 2, "topics");
        assert_eq!(last.items, [3]);
        let note = "1 of 3 topics: page 2 of 2. A filter narrows them.";
        assert_eq!(last.note.as_deref(), Some(note));
        assert!(Listed::page_of(vec![1], usize::MAX, 2, "topics").items.is_empty());
        assert_eq!(Listed::page_of(Vec::<u8>::new(), 1, 2, "topics").pages, 1);
        let first = Listed::first_of(vec![1, 2, 3], 2, "queues");
        assert_eq!(first.note.as_deref(), Some("The first 2 of 3 queues."));
        assert_eq!(Listed::first_of(vec![1], 2, "queues").note, None);
    }
}
