//! The operating system's backends. The only place of the project that may call it directly.
#![expect(clippy::disallowed_methods, reason = "this is the door itself")]

pub(crate) mod clock;
pub(crate) mod disk;
pub(crate) mod net;
pub(crate) mod task;
