//! `mqadmin`: what operators ask of a cluster.

use std::path::Path;
use std::process::ExitCode;

use mq_admin::{AdminError, MqAdmin, Surroundings};
use mq_env::Env;
use mq_protocol::properties_file::{PropertiesFile, with_values};
use mq_servers::{Failure, exit_code, said};
use mq_tls::{TlsMode, TlsSettings};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match MqAdmin::read(std::env::args_os()) {
        Ok(args) => exit_code("mqadmin", run(&args).await),
        Err(error) => said(&error),
    }
}

async fn run(args: &MqAdmin) -> Result<(), Failure> {
    let env = Env::os();
    let env = encrypted(&env).map_err(|error| Failure::new(Failure::INPUT, error))?;
    let surroundings = surroundings(&env).map_err(|error| failure(&error))?;
    let done = args.run(&env, &surroundings, &mut std::io::stdout()).await;
    done.map_err(|error| failure(&error))
}

/// What 4.9's tool takes from its environment.
fn surroundings(env: &Env) -> Result<Surroundings, AdminError> {
    let home = variable("ROCKETMQ_HOME");
    Surroundings::new(&*env.disk, variable("NAMESRV_ADDR"), home.as_deref().map(Path::new))
}

#[expect(clippy::disallowed_methods, reason = "the program's own environment")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The environment with TLS to servers where `tls.enable` asks for it: in JAVA_OPT (`-Dtls.enable=true`), which 4.9's
/// `tools.sh` hands to Java, or in the file of TLS that is read there as well.
fn encrypted(env: &Env) -> Result<Env, String> {
    let options = variable("JAVA_OPT").unwrap_or_default();
    let text = with_values(b"", &tls_properties(&options)).map_err(|error| error.to_string())?;
    let mut file = PropertiesFile::parse(&text).map_err(|error| error.to_string())?;
    let settings = TlsSettings::take(&mut file, "JAVA_OPT", &*env.disk);
    let settings = settings.map_err(|error| error.to_string())?;
    if !settings.client_enable {
        return Ok(env.clone());
    }
    // What listens here is the console, for browsers.
    let settings = TlsSettings { mode: TlsMode::Disabled, ..settings };
    mq_tls::encrypted(env, settings).map_err(|error| error.to_string())
}

/// The system properties of TLS among options of Java.
fn tls_properties(options: &str) -> Vec<(String, String)> {
    let properties = options.split_whitespace().filter_map(|word| word.strip_prefix("-D"));
    let pairs = properties.filter_map(|property| property.split_once('='));
    let of_tls = pairs.filter(|(name, _)| name.starts_with("tls."));
    of_tls.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn failure(error: &AdminError) -> Failure {
    let code = if error.is_input() { Failure::INPUT } else { Failure::MACHINE };
    Failure::new(code, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_java_name_keys_of_tls() {
        let pairs = tls_properties(
            "-Xmx1g -Dtls.enable=true -Duser.home=/h -Dtls.client.trustCertPath=/a=b",
        );
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(pairs, [("tls.enable", "true"), ("tls.client.trustCertPath", "/a=b")]);
    }
}
