//! Where plans come from that nobody wrote: the expected matrix, and the generator.
//!
//! | module | holds |
//! |---|---|
//! | [`matrix_rows`] | the expected matrix, row by row |
//! | [`story`] | from a row's fault and recovery to the events of a plan |
//! | [`elected`] | the same of a DLedger group |
//! | [`rows`] | from a row and a seed to a plan |
//! | [`generate`] | rows with drawn topology, sizes and noise |

pub mod elected;
pub mod generate;
pub mod matrix_rows;
pub mod rows;
pub mod story;
pub mod swarm;
