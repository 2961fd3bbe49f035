//! [`Surroundings`]: what a program has that its arguments do not say.

use std::io;
use std::path::Path;

use mq_client::SessionCredentials;
use mq_env::disk::Disk;

use crate::error::AdminError;

/// The file below ROCKETMQ_HOME that says whose requests tools sign.
const TOOLS_FILE: &str = "conf/tools.yml";

/// What a program has that its arguments do not say.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `NAMESRV_ADDR`.
    pub namesrv_addr: Option<String>,
    /// What requests are signed with.
    pub session_credentials: Option<SessionCredentials>,
}

impl Surroundings {
    /// Those of a program that was started with `namesrv_addr` in its environment; below `home` the file
    /// `conf/tools.yml` may name the account, as in RocketMQ.
    ///
    /// # Errors
    /// When that file is there and cannot be read, or has one of `accessKey` and `secretKey` alone.
    pub fn new(
        disk: &dyn Disk,
        namesrv_addr: Option<String>,
        home: Option<&Path>,
    ) -> Result<Self, AdminError> {
        let Some(path) = home.map(|home| home.join(TOOLS_FILE)) else {
            return Ok(Surroundings { namesrv_addr, session_credentials: None });
        };
        let session_credentials = match disk.read(&path) {
            Ok(text) => credentials(&String::from_utf8_lossy(&text)).ok_or_else(|| {
                let reason = "one of accessKey and secretKey is not there".to_owned();
                AdminError::File { path, reason }
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(AdminError::file(&path, &error)),
        };
        Ok(Surroundings { namesrv_addr, session_credentials })
    }
}

/// The two lines that count; `None` if there is only one of them, `Some(None)` without either.
fn credentials(text: &str) -> Option<Option<SessionCredentials>> {
    let value = |name: &str| {
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        let (_, value) = lines.into_iter().find(|(key, _)| key.trim() == name)?;
        let value = value.trim().trim_matches(['"', '\'']);
        (!value.is_empty()).then(|| value.to_owned())
    };
    match (value("accessKey"), value("secretKey")) {
        (Some(access_key), Some(secret_key)) => {
            Some(Some(SessionCredentials { access_key, secret_key, security_token: None }))
        }
        (None, None) => Some(None),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_a_name_and_a_secret() {
        let account = credentials("# tools\naccessKey: admin\nsecretKey: \"12345678\"\n");
        let account = account.flatten().unwrap();
        assert_eq!((&*account.access_key, &*account.secret_key), ("admin", "12345678"));
        assert_eq!(credentials("# accessKey\n"), Some(None));
        assert_eq!(credentials("accessKey: admin\nsecretKey:\n"), None);
    }
}
