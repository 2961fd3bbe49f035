//! Other processes of this machine: who runs a program, who has locked a file, who listens on a port.
//!
//! `/proc` says it, as far as this user may look; who is not seen is not named. It is asked when something has failed.
#![expect(clippy::disallowed_methods, reason = "other processes are outside of every world")]

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// In `/proc/net/tcp`: the state of a socket that listens.
const LISTENS: &str = "0A";

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub id: i32,
    /// The first bytes of its program's name, as the system has them.
    pub name: String,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.id, self.name)
    }
}

/// The processes whose program is called so.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn running(program: &str) -> io::Result<Vec<i32>> {
    let is_program = |id: &i32| {
        // One that has ended meanwhile, or is not ours to look at, is not it.
        fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| runs(&line, program))
    };
    Ok(ids()?.filter(is_program).collect())
}

/// Who has locked `path`: as brokers lock their stores, RocketMQ's and ours.
#[must_use]
pub fn holder_of(path: &Path) -> Option<Process> {
    let path = fs::canonicalize(path).ok()?;
    find(|id, descriptor, link| {
        // The number of a descriptor says which locks were taken by it.
        let is_locked = || {
            let info = fs::read_to_string(format!("/proc/{id}/fdinfo/{descriptor}"));
            info.is_ok_and(|info| info.lines().any(|line| line.starts_with("lock:")))
        };
        link == path && is_locked()
    })
}

/// Who listens on a port, at whatever address.
#[must_use]
pub fn listener_on(port: u16) -> Option<Process> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let tables = tables.into_iter().filter_map(|path| fs::read_to_string(path).ok());
    let sockets: Vec<PathBuf> = tables.flat_map(|table| listening(&table, port)).collect();
    if sockets.is_empty() {
        return None;
    }
    find(|_, _, link| sockets.iter().any(|socket| socket == link))
}

/// What descriptors of the sockets are called that listen on `port`.
fn listening(table: &str, port: u16) -> Vec<PathBuf> {
    let port = format!(":{port:04X}");
    let lines = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let listening = lines.filter(|columns| {
        columns.get(1).is_some_and(|addr| addr.ends_with(&port)) && columns.get(3) == Some(&LISTENS)
    });
    let inodes = listening.filter_map(|columns| columns.get(9).map(|it| (*it).to_owned()));
    inodes.map(|inode| PathBuf::from(format!("socket:[{inode}]"))).collect()
}

/// The first process with a descriptor of which `is_it` says so: by process, descriptor and what that leads to.
fn find(is_it: impl Fn(i32, &str, &Path) -> bool) -> Option<Process> {
    let id = ids().ok()?.find(|id| {
        let descriptors = fs::read_dir(format!("/proc/{id}/fd")).into_iter().flatten().flatten();
        let mut links = descriptors.filter_map(|entry| {
            let link = fs::read_link(entry.path()).ok()?;
            Some((entry.file_name().into_string().ok()?, link))
        });
        links.any(|(descriptor, link)| is_it(*id, &descriptor, &link))
    })?;
    let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
    Some(Process { id, name: name.trim_end().to_owned() })
}

fn ids() -> io::Result<impl Iterator<Item = i32>> {
    let entries = fs::read_dir("/proc")?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok()))
}

/// Whether a command line (each word with a zero behind it) begins with the path of `program`.
fn runs(command_line: &[u8], program: &str) -> bool {
    let word = command_line.split(|byte| *byte == 0).next().unwrap_or_default();
    let name = word.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    name == program.as_bytes()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use mq_env::Env;

    use super::*;

    fn own_id() -> i32 {
        std::process::id().try_into().unwrap()
    }

    #[test]
    fn a_program_is_known_by_its_name() {
        assert!(runs(b"/opt/mq/mqbroker\0-c\0b.conf\0", "mqbroker"));
        assert!(runs(b"mqbroker\0", "mqbroker"));
        for other in ["", "\0", "/opt/mqbroker-under-test\0", "vi\0mqbroker\0", "mqbroker/\0"] {
            assert!(!runs(other.as_bytes(), "mqbroker"), "{other:?}");
        }
    }

    #[test]
    fn who_listens_is_named() {
        for addr in ["127.0.0.1:0", "0.0.0.0:0"] {
            let listener = TcpListener::bind(addr).unwrap();
            let port = listener.local_addr().unwrap().port();
            assert_eq!(listener_on(port).map(|it| it.id), Some(own_id()), "{addr}");
            drop(listener);
            assert_eq!(listener_on(port), None, "{addr}");
        }
    }

    #[tokio::test]
    async fn who_holds_a_lock_is_named_and_who_has_it_open_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let _open = fs::File::create(&path).unwrap();
        assert_eq!(holder_of(&path), None);
        let lock = Env::os().disk.lock(&path).unwrap();
        assert_eq!(holder_of(&path).map(|it| it.id), Some(own_id()));
        drop(lock);
        assert_eq!(holder_of(&path), None);
    }
}
