//! Metadata files that cannot be read.

use std::path::Path;

use mq_protocol::fastjson::Value;

use super::{Severity, Verdict};
use crate::doctor::{DoctorError, StoreDir};

impl StoreDir {
    /// Looks at every table in `config/`.
    pub(super) fn check_configs(&self, verdict: &mut Verdict) -> Result<(), DoctorError> {
        let files = self.files(Path::new("config"))?;
        for file in files.iter().filter(|file| file.name.ends_with(".json")) {
            let bytes = self.disk.read(&file.path).map_err(DoctorError::io(&file.path))?;
            let trouble = match std::str::from_utf8(&bytes) {
                Ok("") => "is empty".to_owned(),
                Ok(text) => match Value::parse(text) {
                    Ok(_) => continue,
                    Err(error) => format!("is damaged ({error})"),
                },
                Err(_) => "is not UTF-8".to_owned(),
            };
            let backup = format!("{}.bak", file.name);
            let has_backup = files.iter().any(|file| file.name == backup && file.len > 0);
            let instead = if has_backup {
                "a start takes the older .bak"
            } else {
                "a start goes on without it"
            };
            let place = format!("config/{}", file.name);
            verdict.add(Severity::Damage, place, format!("{trouble}; {instead}"));
        }
        Ok(())
    }
}
