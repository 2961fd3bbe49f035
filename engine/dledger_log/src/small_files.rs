//! `currterm` and `checkpoint`: properties of a line each, replaced as a whole and durably.
//!
//! ```text
//! currterm     voteLeader=n1  currTerm=3            and, ours, isBlank=true
//! checkpoint   committedIndex=285  endIndex=285     and, ours, beginIndex=0  durablePos=230417
//! ```
//!
//! Java ignores what it does not know, and drops it when it writes the file.

use std::path::Path;

use mq_env::disk::Disk;
use mq_env::disk::replaced_file::{Copies, Copy, load_file, read_copies, replace_file};
use mq_protocol::properties_file::PropertiesFile;

use crate::error::LogError;

const CURR_TERM: &str = "currterm";
const CHECKPOINT: &str = "checkpoint";

/// Term and vote as they stand in `currterm`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredTerm {
    /// `currTerm`.
    pub term: i64,
    /// `voteLeader`: the name of whom the node gave its vote in that term.
    pub vote_leader: Option<String>,
    /// Ours: the node has lost its disk and has not caught up since.
    pub is_blank: bool,
}

impl StoredTerm {
    /// What the file in `dir` says; `None` when there was none yet.
    ///
    /// The backup counts only where there is no file at all, as between two renames: an older vote in place of a damaged
    /// one could be given twice.
    pub(crate) fn load(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>, LogError> {
        let path = dir.join(CURR_TERM);
        let damaged = |reason| LogError::SmallFile {
            file: path.clone(),
            reason,
            advice: "the node has forgotten its vote; put the file back, or move the node's directory away and start it \
                     as one that lost its disk",
        };
        match read_copies(disk, &path, Self::parse) {
            Copies { main: Copy::Sound(term), .. } => Ok(Some(term)),
            Copies { main: Copy::Absent { is_empty: false }, backup } => match backup {
                Copy::Sound(term) => Ok(Some(term)),
                Copy::Absent { is_empty: false } => Ok(None),
                Copy::Absent { is_empty: true } => Err(damaged("its backup is empty".to_owned())),
                Copy::Damaged(reason) => Err(damaged(reason)),
            },
            Copies { main: Copy::Absent { is_empty: true }, .. } => {
                Err(damaged("it is empty".to_owned()))
            }
            Copies { main: Copy::Damaged(reason), .. } => Err(damaged(reason)),
        }
    }

    /// Replaces the file durably.
    pub(crate) async fn store(&self, disk: &dyn Disk, dir: &Path) -> Result<(), LogError> {
        replace(disk, &dir.join(CURR_TERM), |it| Self::parse(it).is_ok(), &self.text()).await
    }

    fn parse(content: &[u8]) -> Result<Self, String> {
        let properties = PropertiesFile::parse(content).map_err(|error| error.to_string())?;
        let vote_leader = properties.get("voteLeader").map(|entry| entry.value.trim().to_owned());
        Ok(StoredTerm {
            term: number(&properties, "currTerm")?.ok_or("currTerm is missing")?,
            vote_leader: vote_leader.filter(|name| !name.is_empty()),
            is_blank: properties.get("isBlank").is_some_and(|entry| entry.value.trim() == "true"),
        })
    }

    fn text(&self) -> String {
        let vote_leader = self.vote_leader.as_deref().unwrap_or_default();
        let is_blank = if self.is_blank { "isBlank=true\n" } else { "" };
        format!("voteLeader={vote_leader}\ncurrTerm={}\n{is_blank}", self.term)
    }
}

/// What the checkpoint says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// `committedIndex`: what a majority has; not ahead of what is durable here.
    pub(crate) committed_index: i64,
    /// `endIndex`: of the last entry when this was written.
    pub(crate) end_index: i64,
    /// Where it is ours: everything up to `endIndex` is synced.
    pub(crate) durable: Option<Durable>,
}

/// What is known to be durable: the entries up to the checkpoint's `endIndex`, and their index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Durable {
    /// Of the first entry then; behind `endIndex` when there was none.
    pub(crate) begin_index: i64,
    /// Where the last entry ended, or the first one will be.
    pub(crate) pos: u64,
}

impl Checkpoint {
    /// Of a log that holds nothing.
    pub(crate) const NEW: Checkpoint =
        Checkpoint { committed_index: -1, end_index: -1, durable: None };

    /// What the file in `dir` says; `None` when there was none yet.
    pub(crate) fn load(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>, LogError> {
        load_file(disk, &dir.join(CHECKPOINT), Self::parse).map_err(|damaged| LogError::SmallFile {
            file: damaged.path,
            reason: damaged.reason,
            advice: "put the file back, or move it away to have the log recovered by DLedger's rules, which may drop \
                     what was synced",
        })
    }

    /// Replaces the file durably.
    pub(crate) async fn store(&self, disk: &dyn Disk, dir: &Path) -> Result<(), LogError> {
        replace(disk, &dir.join(CHECKPOINT), |it| Self::parse(it).is_ok(), &self.text()).await
    }

    fn parse(content: &[u8]) -> Result<Self, String> {
        let properties = PropertiesFile::parse(content).map_err(|error| error.to_string())?;
        let (begin_index, pos) =
            (number(&properties, "beginIndex")?, number(&properties, "durablePos")?);
        let pos = pos.map(|pos| u64::try_from(pos).map_err(|_| "durablePos is negative"));
        let end_index = number(&properties, "endIndex")?;
        let durable = begin_index.zip(pos.transpose()?).filter(|_| end_index.is_some());
        Ok(Checkpoint {
            committed_index: number(&properties, "committedIndex")?.unwrap_or(-1),
            end_index: end_index.unwrap_or(-1),
            durable: durable.map(|(begin_index, pos)| Durable { begin_index, pos }),
        })
    }

    fn text(&self) -> String {
        let ours = self.durable.map_or(String::new(), |Durable { begin_index, pos }| {
            format!("beginIndex={begin_index}\ndurablePos={pos}\n")
        });
        format!("committedIndex={}\nendIndex={}\n{ours}", self.committed_index, self.end_index)
    }
}

async fn replace(
    disk: &dyn Disk,
    path: &Path,
    is_sound: impl Fn(&[u8]) -> bool + Send,
    text: &str,
) -> Result<(), LogError> {
    let replaced = replace_file(disk, path, is_sound, text.as_bytes()).await;
    replaced.map_err(LogError::io(format!("write {}", path.display())))
}

fn number(properties: &PropertiesFile, key: &str) -> Result<Option<i64>, String> {
    let Some(entry) = properties.get(key) else { return Ok(None) };
    let value = entry.value.trim();
    value.parse().map(Some).map_err(|_| format!("{key} is {value:?}, not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_have_the_text_of_javas() {
        let term = StoredTerm { term: 1, vote_leader: Some("n1".to_owned()), is_blank: false };
        assert_eq!(term.text(), "voteLeader=n1\ncurrTerm=1\n");
        assert_eq!(StoredTerm::parse(term.text().as_bytes()), Ok(term.clone()));
        let blank = StoredTerm { term: 0, vote_leader: None, is_blank: true };
        assert_eq!(blank.text(), "voteLeader=\ncurrTerm=0\nisBlank=true\n");
        assert_eq!(StoredTerm::parse(blank.text().as_bytes()), Ok(blank));
        let java = Checkpoint { committed_index: 284, end_index: 285, durable: None };
        assert_eq!(java.text(), "committedIndex=284\nendIndex=285\n");
        assert_eq!(Checkpoint::parse(java.text().as_bytes()), Ok(java));
        let ours = Checkpoint { durable: Some(Durable { begin_index: 0, pos: 7 }), ..java };
        assert_eq!(ours.text(), "committedIndex=284\nendIndex=285\nbeginIndex=0\ndurablePos=7\n");
        assert_eq!(Checkpoint::parse(ours.text().as_bytes()), Ok(ours));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let said = StoredTerm::parse(b"voteLeader=n1\ncurrTerm=1x\n");
        assert_eq!(said, Err("currTerm is \"1x\", not a number".to_owned()));
        assert_eq!(StoredTerm::parse(b"voteLeader=n1\n"), Err("currTerm is missing".to_owned()));
        let said = Checkpoint::parse(b"endIndex=1\nbeginIndex=0\ndurablePos=-2");
        assert_eq!(said, Err("durablePos is negative".to_owned()));
    }
}
