//! Panics of simulated processes: caught, kept off the terminal, and told with their place.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo};
use std::path::Path;
use std::sync::Once;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `act` as code of a simulated process: panics on this thread are remembered, not printed.
pub(super) fn inside<R>(act: impl FnOnce() -> R) -> R {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let outside = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if INSIDE.get() {
                LAST.set(Some(describe(info)));
            } else {
                outside(info);
            }
        }));
    });
    let before = INSIDE.replace(true);
    let result = std::panic::catch_unwind(AssertUnwindSafe(act));
    INSIDE.set(before);
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Message and place of the last panic, once.
pub(super) fn take_last() -> Option<String> {
    LAST.take()
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let message = payload.downcast_ref::<&str>().copied();
    let message = message.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let message = message.unwrap_or("a value that is no text");
    let Some(place) = info.location() else { return message.to_owned() };
    // Paths of dependencies are absolute and differ between machines.
    let path = Path::new(place.file());
    let file = if path.is_absolute() { path.file_name().map(Path::new) } else { Some(path) };
    format!("{message} ({}:{})", file.unwrap_or(path).display(), place.line())
}
