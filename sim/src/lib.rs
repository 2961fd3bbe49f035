//! Staticfire: runs a RocketMQ cluster in a simulated world until it breaks, and says which
//! acknowledged messages were lost, and why.

pub mod check;
pub mod history;
pub mod plan;
