//! `mqadmin`: what operators ask of a cluster.

use std::path::Path;
use std::process::ExitCode;

use mq_admin::{AdminError, MqAdmin, Surroundings};
use mq_env::Env;
use mq_servers::{Failure, exit_code, said};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match MqAdmin::read(std::env::args_os()) {
        Ok(args) => exit_code("mqadmin", run(&args).await.map_err(|error| failure(&error))),
        Err(error) => said(&error),
    }
}

async fn run(args: &MqAdmin) -> Result<(), AdminError> {
    let env = Env::os();
    let surroundings = surroundings(&env)?;
    args.run(&env, &surroundings, &mut std::io::stdout()).await
}

/// What 4.9's tool takes from its environment.
#[expect(clippy::disallowed_methods, reason = "the program's own environment")]
fn surroundings(env: &Env) -> Result<Surroundings, AdminError> {
    let variable = |name| std::env::var(name).ok();
    let home = variable("ROCKETMQ_HOME");
    Surroundings::new(&*env.disk, variable("NAMESRV_ADDR"), home.as_deref().map(Path::new))
}

fn failure(error: &AdminError) -> Failure {
    let code = if error.is_input() { Failure::INPUT } else { Failure::MACHINE };
    Failure::new(code, error.to_string())
}
