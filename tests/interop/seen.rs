//! What a client's program says, without ids and times, and what it must say of each feature.

use mq_tests::peers::{Peer, Said};

/// Lines, sorted: how often each was said counts, in which order not.
pub(crate) type Seen = Vec<String>;

/// What was said of features.
pub(crate) fn seen(peer: &Peer) -> Seen {
    let mut seen: Seen = peer.said().iter().filter(|said| said.word != "left").map(line).collect();
    // A broker asks until it has an answer.
    seen.sort();
    seen.dedup_by(|one, other| one == other && one.starts_with("checked "));
    seen
}

fn line(said: &Said) -> String {
    format!("{} {}", said.word, said.fields.join("|"))
}

/// What must be seen of `features`.
pub(crate) fn expected(features: &[&str]) -> Seen {
    let mut lines: Seen = features.iter().flat_map(|feature| of_feature(feature)).collect();
    lines.sort();
    lines
}

fn of_feature(feature: &str) -> Seen {
    let sent = |key: &str| format!("sent {feature}|{key}|SEND_OK");
    let sent_all = |count: u32| (0..count).map(|number| sent(&format!("{feature}{number}")));
    let got = |number: u32, reconsume_times: u32| {
        let tag = number % 2;
        format!(
            "got {feature}|{feature}{number}|Tag{tag}|body {number}|{reconsume_times}|color {number}"
        )
    };
    let got_all = |count: u32| (0..count).map(|number| got(number, 0));
    match feature {
        // Consumed by a tag.
        "send" => sent_all(6).chain([0, 2, 4].map(|number| got(number, 0))).collect(),
        "oneway" => got_all(3).collect(),
        "batch" => std::iter::once(sent("all")).chain(got_all(3)).collect(),
        "delayed" => sent_all(3).chain(got_all(3)).collect(),
        "ordered" => sent_all(12).chain(got_all(12)).collect(),
        "transaction" => {
            let checked = format!("checked {feature}|{feature}2");
            sent_all(3).chain([got(0, 0), got(2, 0), checked]).collect()
        }
        "request" => {
            let replied = format!("got {feature}|reply||re: body 0|0|");
            vec![got(0, 0), replied, sent("reply")]
        }
        // Two members, each of which is given all.
        "broadcast" => sent_all(3).chain(got_all(3)).chain(got_all(3)).collect(),
        "pull" => sent_all(4).chain(got_all(4)).collect(),
        // Given back twice.
        "retry" => {
            let tries = (0..2).flat_map(|number| (0..3).map(move |times| got(number, times)));
            sent_all(2).chain(tries).collect()
        }
        _ => panic!("no feature {feature}"),
    }
}

/// Asserts that what belongs together was given in the order in which it was sent.
pub(crate) fn assert_in_order(peer: &Peer) {
    let number = |said: &Said| said.fields[1].trim_start_matches("ordered").parse::<u32>().unwrap();
    let given = peer.said_of("got").into_iter().filter(|said| said.fields[0] == "ordered");
    let given: Vec<u32> = given.map(|said| number(&said)).collect();
    for sharding_key in 0..3 {
        let of_one = given.iter().filter(|number| *number % 3 == sharding_key);
        assert!(of_one.is_sorted(), "{}: given in the order {given:?}", peer.name);
    }
}
