//! Why a program does not start, in sentences: which file, directory, port or key, and what to do.

use std::io::{Error, ErrorKind};
use std::path::Path;

use mq_broker::BrokerError;
use mq_mapped_file::LoadError;
use mq_store::StoreError;

use crate::Failure;
use crate::processes::{holder_of, listener_on};

/// Of a broker whose store is below `root`.
#[must_use]
pub fn of_broker(error: &BrokerError, root: &Path) -> Failure {
    match error {
        BrokerError::Store(StoreError::Locked) => {
            let holder = holder_of(&root.join("lock"));
            let holder = holder.map_or("another process".to_owned(), |it| it.to_string());
            let sentence = format!(
                "Lock failed, MQ already started: the store {} is in use by {holder}; stop that one or set another \
                 storePathRootDir",
                root.display()
            );
            Failure::new(Failure::MACHINE, sentence)
        }
        BrokerError::Store(error) => {
            let advice = match error {
                StoreError::Io { source, .. } | StoreError::Load(LoadError::Io { source, .. }) => {
                    advice(source, "storePathRootDir")
                }
                _ => String::new(),
            };
            let root = root.display();
            let sentence = format!("the store {root} cannot be opened: {error}{advice}");
            Failure::new(Failure::MACHINE, sentence)
        }
        BrokerError::ListenPort(_) | BrokerError::Acl(_) => {
            Failure::new(Failure::INPUT, error.to_string())
        }
        BrokerError::Listen { port, .. } => {
            Failure::new(Failure::MACHINE, format!("{error}{}", who_has(*port)))
        }
        BrokerError::Table(_) => Failure::new(Failure::MACHINE, error.to_string()),
    }
}

/// Of a port that is needed for `purpose`, where `remedy` says how to choose another one.
#[must_use]
pub fn of_port(port: u16, purpose: &str, remedy: &str, error: &Error) -> Failure {
    let what_to_do = match error.kind() {
        ErrorKind::AddrInUse => "another process listens there: stop it, or choose another port",
        ErrorKind::PermissionDenied => "ports below 1024 need privileges: choose another one",
        _ => "choose another port",
    };
    let sentence = format!(
        "port {port} cannot be listened on ({error}), which is needed for {purpose}: {what_to_do} ({remedy}){}",
        who_has(port)
    );
    Failure::new(Failure::MACHINE, sentence)
}

/// What ends a sentence about a port.
fn who_has(port: u16) -> String {
    listener_on(port).map(|it| format!("; {it} listens there")).unwrap_or_default()
}

/// What an operator does about a path that `key` sets.
#[must_use]
pub fn advice(error: &Error, key: &str) -> String {
    let what_to_do = match error.kind() {
        ErrorKind::PermissionDenied => {
            "give the user that runs the program the right to write there"
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free space on its file system",
        ErrorKind::ReadOnlyFilesystem => {
            "its file system is mounted for reading only: mount it for writing"
        }
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            "a file is where a directory should be: move it away"
        }
        _ => return format!("; {key} says where it is"),
    };
    format!("; {what_to_do}, or set another {key}")
}
