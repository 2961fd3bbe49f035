//! Where the lines of a program go: to standard error, and into files that rotate where that is asked for.
//!
//! What is written there is outside of every world, as the program's arguments are.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Mutex;

use clap::Args;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::Failure;

/// A file that has so many bytes makes room for the next one with the line that reaches it.
pub const LOG_FILE_BYTES: u64 = 64 << 20;

/// So many older files are kept, numbered from the newest on.
pub const LOG_FILES_KEPT: usize = 10;

/// Below the home directory, as RocketMQ's logback has it.
const DEFAULT_DIR: &str = "logs/rocketmqlogs";

/// Options about the log.
#[derive(Args)]
pub struct LogOptions {
    /// Writes the log into files below DIR as well, which rotate; without DIR below logs/rocketmqlogs in the home
    /// directory.
    #[arg(long, value_name = "DIR", num_args = 0..=1)]
    log_dir: Option<Option<PathBuf>>,
    /// What is logged: off, error, warn, info, debug or trace, and for parts of the program otherwise:
    /// info,mq_store=debug.
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = log_level)]
    log_level: Targets,
}

/// `--log-level`. A word that is neither a level nor `part=level` is a mistake.
fn log_level(text: &str) -> Result<Targets, String> {
    let is_known = |part: &str| part.contains('=') || LevelFilter::from_str(part).is_ok();
    match text.split(',').find(|part| !is_known(part.trim())) {
        Some(part) => {
            Err(format!("{part:?} is no level; allowed: off, error, warn, info, debug, trace"))
        }
        None => text.parse().map_err(|error| format!("{error}")),
    }
}

impl LogOptions {
    /// Has the log of `name` (`broker`, `namesrv`) written to standard error, and into `name.log`. There are no colours
    /// but on a terminal.
    ///
    /// # Errors
    /// When a file is asked for that cannot be written.
    ///
    /// # Panics
    /// When the log is written elsewhere already.
    pub fn begin(&self, name: &str) -> Result<(), Failure> {
        let is_terminal = io::stderr().is_terminal();
        let stderr = fmt::layer().with_ansi(is_terminal).with_writer(io::stderr);
        let file = match self.dir()? {
            Some(dir) => {
                Some(Mutex::new(RotatingFile::create(&dir, name, LOG_FILE_BYTES, LOG_FILES_KEPT)?))
            }
            None => None,
        };
        // A full file system is no reason to say so with every line.
        let file = file
            .map(|file| fmt::layer().with_ansi(false).log_internal_errors(false).with_writer(file));
        let lines = stderr.and_then(file).with_filter(self.log_level.clone());
        tracing_subscriber::registry().with(lines).init();
        Ok(())
    }

    #[expect(clippy::disallowed_methods, reason = "RocketMQ's logs are below the home directory")]
    fn dir(&self) -> Result<Option<PathBuf>, Failure> {
        let Some(dir) = &self.log_dir else { return Ok(None) };
        if let Some(dir) = dir {
            return Ok(Some(dir.clone()));
        }
        let home = std::env::home_dir().ok_or_else(|| {
            Failure::new(Failure::INPUT, "there is no home directory: --log-dir takes a directory")
        })?;
        Ok(Some(home.join(DEFAULT_DIR)))
    }
}

/// A file that makes room for the next one when it is full.
///
/// Nothing that happens to the files ends the program: what cannot be written is lost here, and tried again with the next
/// line. (The crates that rotate by size and keep a number of files assert that nobody else renames or removes one.)
struct RotatingFile {
    path: PathBuf,
    file_bytes: u64,
    files_kept: usize,
    open: Option<Open>,
}

struct Open {
    file: File,
    bytes: u64,
}

impl RotatingFile {
    /// `name.log` in `dir`, and `files_kept` older ones beside it. One that is there is gone on with.
    fn create(dir: &Path, name: &str, file_bytes: u64, files_kept: usize) -> Result<Self, Failure> {
        assert!(files_kept > 0, "what is full goes somewhere");
        let path = dir.join(format!("{name}.log"));
        let open = open(&path).map_err(|error| {
            let sentence = format!(
                "the log {} cannot be written: {error}; --log-dir takes a directory in which this user may write",
                path.display()
            );
            Failure::new(Failure::MACHINE, sentence)
        })?;
        Ok(RotatingFile { path, file_bytes, files_kept, open: Some(open) })
    }

    /// The place of an older file; 1 is the newest of them.
    fn older(&self, number: usize) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(format!(".{number}"));
        path.into()
    }

    /// Each file takes the place of the next older one.
    #[expect(clippy::disallowed_methods, reason = "the program's own log")]
    fn rotate(&mut self) {
        self.open = None;
        for number in (1..self.files_kept).rev() {
            // One may be missing.
            let _ = std::fs::rename(self.older(number), self.older(number + 1));
        }
        // Where this fails, the file is gone on with.
        let _ = std::fs::rename(&self.path, self.older(1));
    }
}

impl Write for RotatingFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.open.as_ref().is_some_and(|open| open.bytes >= self.file_bytes) {
            self.rotate();
        }
        let open = match &mut self.open {
            Some(open) => open,
            closed => closed.insert(open(&self.path)?),
        };
        open.file.write_all(line)?;
        open.bytes += line.len() as u64;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.open.as_mut().map_or(Ok(()), |open| open.file.flush())
    }
}

#[expect(clippy::disallowed_methods, reason = "the program's own log")]
fn open(path: &Path) -> io::Result<Open> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let file = File::options().append(true).create(true).open(path)?;
    let bytes = file.metadata()?.len();
    Ok(Open { file, bytes })
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests look at files")]
mod tests {
    use super::*;

    #[test]
    fn files_rotate_by_size_and_the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("made/on/the/way");
        let line = |number: usize| format!("line {number:03}\n");
        for half in [0..50, 50..100] {
            // A program that starts again goes on in the same file.
            let mut log = RotatingFile::create(&dir, "broker", 100, 3).unwrap();
            for number in half {
                log.write_all(line(number).as_bytes()).unwrap();
            }
        }
        let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
        let names = ["broker.log.3", "broker.log.2", "broker.log.1", "broker.log"];
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), names.len());
        let kept: String = names.into_iter().map(read).collect();
        let first = 100 - kept.len() / line(0).len();
        assert_eq!(kept, (first..100).map(line).collect::<String>());
        assert!(names[..3].iter().all(|name| (100..200).contains(&read(name).len())));
    }

    #[test]
    fn files_that_others_take_away_are_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("logs");
        let mut log = RotatingFile::create(&dir, "broker", 10, 3).unwrap();
        for _ in 0..5 {
            log.write_all(b"ten bytes\n").unwrap();
        }
        std::fs::remove_file(dir.join("broker.log.2")).unwrap();
        std::fs::write(dir.join("broker.log.3"), "somebody's").unwrap();
        log.write_all(b"ten bytes\n").unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        log.write_all(b"again\n").unwrap();
        assert_eq!(std::fs::read_to_string(dir.join("broker.log")).unwrap(), "again\n");
    }

    #[test]
    fn a_directory_that_cannot_be_is_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let failed = RotatingFile::create(file.path(), "namesrv", 1, 1).err().unwrap();
        assert_eq!(failed.code, Failure::MACHINE);
        let path = file.path().join("namesrv.log");
        assert!(failed.sentence.contains(&format!("{} cannot be", path.display())), "{failed:?}");
    }

    #[test]
    fn a_level_that_is_none_is_refused() {
        assert!(log_level("info,mq_store=debug").is_ok() && log_level("OFF").is_ok());
        assert_eq!(
            log_level("info,wran").unwrap_err(),
            "\"wran\" is no level; allowed: off, error, warn, info, debug, trace"
        );
        assert!(log_level("mq_store=loud").is_err());
    }
}
