//! Prints the table of planted bugs (`docs/plants.md`): who finds each, how soon, and what is said first.
//!
//! `cargo run --release -p mq-tests --features plants --example plants -- [RUNS] [PART OF A NAME | STORY.toml]...`
//!
//! Stories that are named are tried in place of those who must find a plant.
#![expect(clippy::print_stdout, reason = "a table is to be read")]
#![expect(clippy::disallowed_methods, reason = "an example reads its arguments")]

use mq_store::plant::{Finder, Plant};
use mq_tests::plants::{line, measure};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let runs = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(10);
    let (stories, wanted): (Vec<String>, Vec<String>) =
        arguments.partition(|it| it.ends_with(".toml"));
    let tried: Vec<Finder> = stories.into_iter().map(|it| Finder::Story(it.leak())).collect();
    println!(
        "| plant | where | takes away | found by | red | runs until red | CPU s a run | says why | says first |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|it| name.contains(&**it));
    for row in Plant::ROWS.iter().filter(|row| is_wanted(row.name)) {
        for finder in if tried.is_empty() { row.finders } else { &tried } {
            println!("{}", line(row, measure(row, finder, runs).as_ref(), finder));
        }
    }
}
