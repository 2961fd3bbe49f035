//! What [`DLedgerCore::landing`] says of a push, held against what comes of it, wherever a cluster runs.

use crate::{Body, Command, DLedgerCore, EntrySource, Event, Landing, Message};

/// Where a push says that its entries are going to be written.
pub(super) fn landing_of(core: &DLedgerCore, event: &Event) -> Landing {
    match event {
        Event::Received(Message { term, body: Body::PushRequest(request), .. }) => {
            core.landing(*term, request)
        }
        _ => Landing::Nowhere,
    }
}

/// Whatever is written of a push is written where that was said.
pub(super) fn check_landing(landing: Landing, commands: &[Command]) {
    let mut is_emptied = false;
    for command in commands {
        match command {
            Command::Truncate { is_emptied: true, .. } => is_emptied = true,
            Command::Append { first_index, source: EntrySource::Push, .. } => {
                let is_foretold = match landing {
                    Landing::Nowhere => false,
                    Landing::At(index) => index == *first_index && !is_emptied,
                    Landing::Anew(index) => index == *first_index,
                };
                assert!(is_foretold, "{landing:?}, and then {commands:?}");
            }
            _ => {}
        }
    }
}
