//! Filters, and requests.

use super::*;

fn deny(story: &mut Story) {
    let is_denied = |it: &Delivery| &*it.consumer_group == AUDIT && it.number == Some(1);
    story.history.deliveries.retain(|it| !is_denied(it));
}

#[test]
fn a_group_is_owed_what_its_filter_lets_pass_and_nothing_else() {
    let without = |number: u32| {
        move |story: &mut Story| {
            deny(story);
            story.history.unwanted.insert(AUDIT.into(), [number].into());
        }
    };
    assert_eq!(complaint("never", without(1)), "");
    let text = complaint("never", without(0));
    assert!(text.contains("message 1 never reached audit"), "{text}");
    assert!(text.contains("audit does not subscribe to k000000"), "{text}");
    // What waits for a group that is cut off is only what it wants.
    let text = complaint("never", |story| {
        without(1)(story);
        story.committed.remove(&(AUDIT.into(), queue(0)));
        let nobody = Absence::NobodyLeft("audit-1 does not run".into());
        story.cut_off.insert((AUDIT.into(), "a".into()), nobody);
    });
    assert_eq!(text, "");
}
