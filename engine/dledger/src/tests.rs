//! Tests of the core: stories, an exhaustive model check, random schedules, and the switches that they must see.
//!
//! `cluster` is a group of nodes with disks that forget and a network that delays, `invariants` what must hold
//! after every step of it; `stories*` tell what must happen, `explore` tries every schedule within bounds,
//! `schedules` draws long ones, `switches` proves that both would see what upstream does. `landings` is held against every push.

mod cluster;
mod explore;
mod invariants;
mod landings;
mod log_view;
mod nonsense;
mod schedules;
mod stories;
mod stories_of_disks;
mod stories_of_loss;
mod switches;
