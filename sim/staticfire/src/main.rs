//! The `staticfire` command.

mod cli;

/// Worlds allocate many small short-lived pieces; the C library's allocator costs them a sixth of
/// their time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
