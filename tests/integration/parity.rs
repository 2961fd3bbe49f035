//! Parity: one body runs against the operating system and against the simulator, and both must show
//! the same. What the simulator gets wrong here it would get wrong in every world.

mod disk;
mod net;
