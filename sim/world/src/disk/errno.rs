//! [`Errno`]: what Linux says when a call fails, on whatever the simulator runs.
//!
//! The number and the words are part of messages that the engine logs, and so of a trace. An `io::Error` made
//! of a number takes its words from the machine that simulates: only Linux has the right ones.

use std::fmt;
use std::io::{self, ErrorKind};

/// An error number of Linux, with its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Errno {
    number: i32,
    kind: ErrorKind,
    text: &'static str,
}

impl Errno {
    pub(super) const NOENT: Errno = errno(2, ErrorKind::NotFound, "No such file or directory");
    pub(super) const IO: Errno = errno(5, ErrorKind::Other, "Input/output error");
    pub(super) const AGAIN: Errno =
        errno(11, ErrorKind::WouldBlock, "Resource temporarily unavailable");
    pub(super) const EXIST: Errno = errno(17, ErrorKind::AlreadyExists, "File exists");
    pub(super) const NOTDIR: Errno = errno(20, ErrorKind::NotADirectory, "Not a directory");
    pub(super) const ISDIR: Errno = errno(21, ErrorKind::IsADirectory, "Is a directory");
    pub(super) const INVAL: Errno = errno(22, ErrorKind::InvalidInput, "Invalid argument");
    pub(super) const MFILE: Errno = errno(24, ErrorKind::Other, "Too many open files");
    pub(super) const NOSPC: Errno = errno(28, ErrorKind::StorageFull, "No space left on device");
    pub(super) const NOTEMPTY: Errno =
        errno(39, ErrorKind::DirectoryNotEmpty, "Directory not empty");
}

const fn errno(number: i32, kind: ErrorKind, text: &'static str) -> Errno {
    Errno { number, kind, text }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (os error {})", self.text, self.number)
    }
}

impl std::error::Error for Errno {}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> io::Error {
        if cfg!(target_os = "linux") {
            io::Error::from_raw_os_error(errno.number)
        } else {
            io::Error::new(errno.kind, errno)
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn they_read_as_those_of_linux() {
        let all = [
            Errno::NOENT,
            Errno::IO,
            Errno::AGAIN,
            Errno::EXIST,
            Errno::NOTDIR,
            Errno::ISDIR,
            Errno::INVAL,
            Errno::MFILE,
            Errno::NOSPC,
            Errno::NOTEMPTY,
        ];
        for errno in all {
            let ours = io::Error::new(errno.kind, errno);
            let theirs = io::Error::from(errno);
            assert_eq!(ours.to_string(), theirs.to_string());
            // The standard library has no name for the kind of the others.
            if errno.kind != ErrorKind::Other {
                assert_eq!(ours.kind(), theirs.kind());
            }
        }
    }
}
