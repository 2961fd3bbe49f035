//! Nothing: what a stranger builds is his own business. His test is `tests/stories.rs`.
