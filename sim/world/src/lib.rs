//! The simulator's side of the engine's seam: what a machine is made of.

pub mod clock;
pub mod disk;
pub mod net;
pub mod turmoil;
