//! Staticfire: runs a RocketMQ cluster in a simulated world until it breaks, and says which
//! acknowledged messages were lost, and why.

#[cfg(not(tokio_unstable))]
compile_error!(
    "staticfire needs `--cfg tokio_unstable` (see .cargo/config.toml; a RUSTFLAGS variable \
     overrides that file): without it the runtime cannot be seeded and runs do not repeat"
);

pub mod seeds;
pub mod plan;
pub mod matrix_rows;
pub mod story;
pub mod rows;
pub mod generate;
pub mod conf;
pub mod history;
pub mod trace;
pub mod env;
pub mod world;
pub mod stage;
pub mod check;
pub mod report;
pub mod ledger;
pub mod workload;
pub mod cluster;
pub mod forensics;
pub mod run;
pub mod sweep;
pub mod subject;
pub mod campaign;
pub mod determinism;
