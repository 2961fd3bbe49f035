//! Names and sizes on their way to the platter.
//!
//! Each change of a name or size is an [`Entry`] of one journal per disk. Three things commit entries:
//! * a sync of a directory: all entries up to the call that concern the directory, and the earlier
//!   ones that these build on (a rename out of another directory drags along what that directory had
//!   pending before it). Neither the directory's own name in its parent nor file sizes: POSIX
//!   promises no more, although ext4 and XFS commit everything;
//! * a sync or flush of a file: the file's truncations and sizes up to the call, no names;
//! * writeback and power loss: a seeded prefix of what is left.
//!
//! The size that `Disk::write` gives a file is in no entry: it is allocated late and reaches the
//! platter with a sync, in the background or at the cut, or not. So a file renamed into place before
//! its sync may be found empty, as on ext4.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use super::tree::{Body, Content, NodeId, Tree};

/// A pending change.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) seq: u64,
    change: Change,
    /// The same in words, for reports.
    pub(super) op: MetadataOp,
}

#[derive(Clone, Debug, PartialEq)]
enum Change {
    Create { at: Place, node: NodeId },
    Remove { at: Place, node: NodeId, is_dir: bool },
    Rename { from: Place, to: Place, node: NodeId },
    Truncate { node: NodeId, generation: u64 },
    SetLen { node: NodeId, len: u64 },
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) dir: NodeId,
    pub(super) name: String,
}

/// A change of a name or size, as reports tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataOp {
    /// A file or directory was created.
    Create(PathBuf),
    /// A file or directory was removed.
    Remove(PathBuf),
    /// A file was renamed, replacing what was there.
    Rename {
        /// Its old path.
        from: PathBuf,
        /// Its new path.
        to: PathBuf,
    },
    /// A file was cut to nothing.
    Truncate(PathBuf),
    /// A file grew to a length in bytes.
    SetLen(PathBuf, u64),
}

impl fmt::Display for MetadataOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MetadataOp::Create(path) => write!(f, "create {}", path.display()),
            MetadataOp::Remove(path) => write!(f, "remove {}", path.display()),
            MetadataOp::Rename { from, to } => {
                write!(f, "rename {} to {}", from.display(), to.display())
            }
            MetadataOp::Truncate(path) => write!(f, "truncate {}", path.display()),
            MetadataOp::SetLen(path, len) => write!(f, "size {len} of {}", path.display()),
        }
    }
}

impl Entry {
    /// The directories it concerns. A directory is removed empty, so its removal builds on those
    /// that emptied it.
    fn dirs(&self) -> [Option<NodeId>; 2] {
        match &self.change {
            Change::Create { at, .. } => [Some(at.dir), None],
            Change::Remove { at, node, is_dir } => [Some(at.dir), is_dir.then_some(*node)],
            Change::Rename { from, to, .. } => [Some(from.dir), Some(to.dir)],
            Change::Truncate { .. } | Change::SetLen { .. } => [None, None],
        }
    }

    fn node(&self) -> NodeId {
        match self.change {
            Change::Create { node, .. }
            | Change::Remove { node, .. }
            | Change::Rename { node, .. }
            | Change::Truncate { node, .. }
            | Change::SetLen { node, .. } => node,
        }
    }
}

impl Tree {
    /// Links a new inode at `at`.
    pub(super) fn create(&mut self, at: Place, path: &Path, is_dir: bool, now_ms: u64) -> NodeId {
        let node = self.new_node(path, is_dir, now_ms);
        self.dir_mut(at.dir).entries.insert(at.name.clone(), node);
        self.node_mut(at.dir).modified_ms = now_ms;
        self.push(Change::Create { at, node }, MetadataOp::Create(path.to_path_buf()));
        node
    }

    /// Unlinks `node` from `at`.
    pub(super) fn unlink(&mut self, at: Place, node: NodeId, now_ms: u64) {
        self.dir_mut(at.dir).entries.remove(&at.name);
        self.node_mut(at.dir).modified_ms = now_ms;
        let path = self.node(node).path.clone();
        self.set_unlinked(node);
        let is_dir = self.is_dir(node);
        self.push(Change::Remove { at, node, is_dir }, MetadataOp::Remove(path));
    }

    /// Moves `node`; whatever `to` names is unlinked.
    pub(super) fn rename(
        &mut self,
        node: NodeId,
        from: Place,
        to: Place,
        path: &Path,
        now_ms: u64,
    ) {
        self.dir_mut(from.dir).entries.remove(&from.name);
        if let Some(replaced) = self.dir_mut(to.dir).entries.insert(to.name.clone(), node) {
            self.set_unlinked(replaced);
        }
        self.node_mut(from.dir).modified_ms = now_ms;
        self.node_mut(to.dir).modified_ms = now_ms;
        let op = MetadataOp::Rename { from: self.node(node).path.clone(), to: path.to_path_buf() };
        self.moved(node, path.to_path_buf());
        self.push(Change::Rename { from, to, node }, op);
    }

    fn set_unlinked(&mut self, node: NodeId) {
        self.node_mut(node).linked = false;
        if !self.is_dir(node) {
            self.unlinked.insert(node);
        }
    }

    /// Cuts the file to nothing: a new generation begins.
    pub(super) fn truncate(&mut self, node: NodeId) {
        let file = self.file_mut(node);
        let generation = file.live().generation + 1;
        file.contents.push(Content { generation, ..Content::default() });
        file.len = 0;
        file.late_len = None;
        let op = MetadataOp::Truncate(self.node(node).path.clone());
        self.push(Change::Truncate { node, generation }, op);
    }

    /// Notes that the file has now `len` bytes, reserved ones.
    pub(super) fn extend(&mut self, node: NodeId, len: u64) {
        let file = self.file_mut(node);
        file.len = len;
        file.late_len = None;
        let op = MetadataOp::SetLen(self.node(node).path.clone(), len);
        self.push(Change::SetLen { node, len }, op);
    }

    fn push(&mut self, change: Change, op: MetadataOp) {
        let seq = self.next_seq();
        let entry = Entry { seq, change, op };
        self.node_mut(entry.node()).pending_ops += 1;
        self.journal.push(entry);
    }

    /// Commits what a sync of directory `dir` promises, up to sequence number `below`.
    pub(super) fn commit_dir(&mut self, dir: NodeId, below: u64) {
        let mut dirs = BTreeSet::from([dir]);
        let mut chosen = BTreeSet::new();
        for entry in self.journal.iter().rev().filter(|entry| entry.seq < below) {
            if entry.dirs().iter().flatten().any(|dir| dirs.contains(dir)) {
                dirs.extend(entry.dirs().iter().flatten());
                chosen.insert(entry.seq);
            }
        }
        self.commit(|entry| chosen.contains(&entry.seq));
    }

    /// Commits truncations and sizes of `file` up to sequence number `below`.
    pub(super) fn commit_file(&mut self, file: NodeId, below: u64) {
        self.commit(|entry| {
            entry.node() == file && entry.seq < below && entry.dirs() == [None, None]
        });
    }

    /// Whether a sync of `node` would commit an entry.
    pub(super) fn has_pending(&self, node: NodeId) -> bool {
        let is_dir = self.is_dir(node);
        if !is_dir && self.node(node).pending_ops == 0 {
            return false;
        }
        self.journal.iter().any(|entry| {
            if is_dir {
                entry.dirs().contains(&Some(node))
            } else {
                entry.node() == node && entry.dirs() == [None, None]
            }
        })
    }

    /// Commits the first `count` entries.
    pub(super) fn commit_prefix(&mut self, count: usize) {
        let end = self.journal.get(count).map_or(u64::MAX, |entry| entry.seq);
        self.commit(|entry| entry.seq < end);
    }

    fn commit(&mut self, chosen: impl Fn(&Entry) -> bool) {
        if !self.journal.iter().any(&chosen) {
            return;
        }
        let (committed, pending) = std::mem::take(&mut self.journal).into_iter().partition(chosen);
        self.journal = pending;
        let committed: Vec<Entry> = committed;
        for entry in committed {
            let node = entry.node();
            self.apply(entry.change);
            self.node_mut(node).pending_ops -= 1;
            self.reap(node);
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Create { at, node } => self.link_durably(at, node),
            Change::Remove { at, node, .. } => self.unlink_durably(&at, node),
            Change::Rename { from, to, node } => {
                self.unlink_durably(&from, node);
                self.link_durably(to, node);
            }
            Change::Truncate { node, generation } => {
                let file = self.file_mut(node);
                file.contents.retain(|content| content.generation >= generation);
                file.durable_len = 0;
            }
            Change::SetLen { node, len } => self.file_mut(node).durable_len = len,
        }
    }

    fn link_durably(&mut self, at: Place, node: NodeId) {
        // A directory that a rename replaced may be gone by now.
        let Some(Body::Dir(dir)) = self.nodes.get_mut(&at.dir).map(|node| &mut node.body) else {
            return;
        };
        if let Some(replaced) = dir.durable.insert(at.name, node) {
            self.node_mut(replaced).durable_links -= 1;
            self.reap(replaced);
        }
        self.node_mut(node).durable_links += 1;
    }

    fn unlink_durably(&mut self, at: &Place, node: NodeId) {
        let Some(Body::Dir(dir)) = self.nodes.get_mut(&at.dir).map(|node| &mut node.body) else {
            return;
        };
        if dir.durable.get(&at.name) == Some(&node) {
            dir.durable.remove(&at.name);
            self.node_mut(node).durable_links -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::tree::ROOT;

    fn place(dir: NodeId, name: &str) -> Place {
        Place { dir, name: name.to_owned() }
    }

    fn durable(tree: &Tree, path: &str) -> bool {
        tree.resolve_durable(Path::new(path)).is_some()
    }

    #[test]
    fn a_directory_sync_commits_its_own_names_only() {
        let mut tree = Tree::new();
        let a = tree.create(place(ROOT, "a"), Path::new("/a"), true, 0);
        tree.create(place(ROOT, "b"), Path::new("/b"), true, 0);
        tree.create(place(a, "f"), Path::new("/a/f"), false, 0);
        tree.commit_dir(a, u64::MAX);
        assert!(!durable(&tree, "/a/f"), "its parent's name is not durable");
        tree.commit_dir(ROOT, u64::MAX);
        assert!(durable(&tree, "/a/f") && durable(&tree, "/b") && tree.journal.is_empty());
    }

    #[test]
    fn a_rename_across_directories_drags_along_what_it_builds_on() {
        let mut tree = Tree::new();
        let a = tree.create(place(ROOT, "a"), Path::new("/a"), true, 0);
        let b = tree.create(place(ROOT, "b"), Path::new("/b"), true, 0);
        tree.commit_dir(ROOT, u64::MAX);
        let f = tree.create(place(a, "f"), Path::new("/a/f"), false, 0);
        tree.rename(f, place(a, "f"), place(b, "g"), Path::new("/b/g"), 0);
        tree.create(place(a, "later"), Path::new("/a/later"), false, 0);
        tree.commit_dir(b, u64::MAX);
        assert!(durable(&tree, "/b/g") && !durable(&tree, "/a/f") && !durable(&tree, "/a/later"));
        assert_eq!(tree.journal.len(), 1);
    }

    #[test]
    fn a_sync_commits_nothing_that_came_after_the_call() {
        let mut tree = Tree::new();
        tree.create(place(ROOT, "a"), Path::new("/a"), false, 0);
        let call = tree.next_seq();
        tree.create(place(ROOT, "b"), Path::new("/b"), false, 0);
        tree.commit_dir(ROOT, call);
        assert!(durable(&tree, "/a") && !durable(&tree, "/b"));
    }

    #[test]
    fn an_inode_is_forgotten_once_nothing_reaches_it() {
        let mut tree = Tree::new();
        let f = tree.create(place(ROOT, "f"), Path::new("/f"), false, 0);
        tree.commit_dir(ROOT, u64::MAX);
        tree.unlink(place(ROOT, "f"), f, 0);
        tree.unlinked.clear();
        assert!(tree.nodes.contains_key(&f), "its removal may yet be lost");
        tree.commit_dir(ROOT, u64::MAX);
        assert!(!tree.nodes.contains_key(&f));
    }
}
