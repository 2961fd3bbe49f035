//! Staticfire: runs a RocketMQ cluster in a simulated world until it breaks, and says which
//! acknowledged messages were lost, and why.

pub mod seeds;
pub mod plan;
pub mod matrix_rows;
pub mod story;
pub mod rows;
pub mod generate;
pub mod history;
pub mod env;
pub mod check;
pub mod report;
pub mod conf;
