//! The file system without its page cache: inodes, names, and what of both is on the platter.
//!
//! Every directory and file exists twice: as processes see it, and as the platter holds it. What
//! lies between the two is the [journal](super::journal) for names and sizes, and pages for content.
//! A file's content comes in *generations*: truncation begins a new one, and the platter keeps the
//! old one until the truncation itself is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use mq_env::disk::PAGE_SIZE;

use super::blocks::Blocks;
use super::damage::DeviceDamage;
use super::errno::Errno;
use super::journal::Entry;
use super::memory::Page;

/// Names an inode; never used twice on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeId(pub(super) u64);

/// The root directory.
pub(super) const ROOT: NodeId = NodeId(0);

/// All inodes and the pending journal.
#[derive(Clone, PartialEq)]
pub(super) struct Tree {
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) journal: Vec<Entry>,
    next_node: u64,
    next_seq: u64,
    /// Pages that live files occupy, and removed ones that are still mapped.
    pub(super) used_pages: u64,
    /// Removed files whose pages are not free yet.
    pub(super) unlinked: BTreeSet<NodeId>,
    /// Whether the device has ever damaged a page.
    pub(super) was_damaged: bool,
}

/// An inode.
#[derive(Clone, PartialEq)]
pub(super) struct Node {
    /// Where it is, or was when it was removed.
    pub(super) path: PathBuf,
    /// Whether processes find it at `path`.
    pub(super) linked: bool,
    /// Names it has on the platter.
    pub(super) durable_links: u32,
    /// Pending journal entries that speak of it.
    pub(super) pending_ops: u32,
    pub(super) modified_ms: u64,
    pub(super) durable_modified_ms: u64,
    pub(super) body: Body,
}

/// What an inode is.
#[derive(Clone, PartialEq)]
pub(super) enum Body {
    Dir(Dir),
    File(File),
}

/// Entries of a directory, as processes see them and as the platter holds them.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Dir {
    pub(super) entries: BTreeMap<String, NodeId>,
    pub(super) durable: BTreeMap<String, NodeId>,
}

/// Sizes and platter content of a file.
#[derive(Clone, PartialEq)]
pub(super) struct File {
    /// Length that processes see.
    pub(super) len: u64,
    /// Length on the platter.
    pub(super) durable_len: u64,
    /// Length that `Disk::write` gave the newest generation and that no journal entry carries.
    pub(super) late_len: Option<u64>,
    /// Oldest generation first: that one is on the platter; the newest is what processes see.
    pub(super) contents: Vec<Content>,
    /// Where the content has its place on the device; absent when all of it has.
    pub(super) blocks: Option<Blocks>,
    /// What the device did to pages of the platter, by page.
    pub(super) damaged: BTreeMap<u32, Vec<DeviceDamage>>,
}

/// One generation of a file's content on the platter. Absent pages are zeros. Shared with images.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Content {
    pub(super) generation: u64,
    pub(super) pages: Arc<BTreeMap<u32, Durable>>,
}

/// A page on the platter.
#[derive(Clone, PartialEq)]
pub(super) struct Durable {
    /// When it was captured; an older capture never overwrites a newer one.
    pub(super) seq: u64,
    /// The machine's wall clock when it landed.
    pub(super) at_ms: u64,
    pub(super) bytes: Arc<Page>,
}

impl File {
    fn new() -> Self {
        File {
            len: 0,
            durable_len: 0,
            late_len: None,
            contents: vec![Content::default()],
            blocks: None,
            damaged: BTreeMap::new(),
        }
    }

    /// Pages that the file occupies.
    pub(super) fn used_pages(&self) -> u64 {
        self.blocks.as_ref().map_or_else(|| pages_of(self.len), Blocks::count)
    }

    /// The generation that processes see.
    pub(super) fn live(&self) -> &Content {
        self.contents.last().expect("a file has a generation")
    }

    /// The generation on the platter.
    pub(super) fn on_platter(&self) -> &Content {
        self.contents.first().expect("a file has a generation")
    }

    /// Whether the platter holds the generation that processes see.
    pub(super) fn is_settled(&self) -> bool {
        self.contents.len() == 1
    }

    /// Puts a page of `generation` on the platter unless a newer capture is there already.
    pub(super) fn land(&mut self, generation: u64, page: u32, durable: Durable) {
        let Some(index) = self.contents.iter().position(|c| c.generation == generation) else {
            return;
        };
        let present = self.contents[index].pages.get(&page);
        if present.is_none_or(|present| present.seq < durable.seq) {
            if index == 0 {
                self.overwritten(page, &durable.bytes);
            }
            Arc::make_mut(&mut self.contents[index].pages).insert(page, durable);
        }
    }

    /// Puts a page of the generation that processes see on the platter, newer than all captures.
    pub(super) fn overwrite(&mut self, page: u32, seq: u64, at_ms: u64, bytes: &Page) {
        if self.is_settled() {
            self.overwritten(page, bytes);
        }
        let live = self.contents.last_mut().expect("a file has a generation");
        let pages = Arc::make_mut(&mut live.pages);
        match pages.get_mut(&page) {
            Some(present) => {
                (present.seq, present.at_ms) = (seq, at_ms);
                match Arc::get_mut(&mut present.bytes) {
                    Some(own) => own.copy_from_slice(bytes),
                    None => present.bytes = Arc::new(*bytes),
                }
            }
            None => {
                pages.insert(page, Durable { seq, at_ms, bytes: Arc::new(*bytes) });
            }
        }
    }
}

impl Tree {
    /// An empty file system whose root is durable.
    pub(super) fn new() -> Self {
        let root = Node {
            path: PathBuf::from("/"),
            linked: true,
            durable_links: 1,
            pending_ops: 0,
            modified_ms: 0,
            durable_modified_ms: 0,
            body: Body::Dir(Dir::default()),
        };
        Tree {
            nodes: BTreeMap::from([(ROOT, root)]),
            journal: Vec::new(),
            next_node: 1,
            next_seq: 1,
            used_pages: 0,
            unlinked: BTreeSet::new(),
            was_damaged: false,
        }
    }

    /// Next number of the one sequence that orders captures and journal entries.
    pub(super) fn next_seq(&mut self) -> u64 {
        self.next_seq += 1;
        self.next_seq - 1
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        self.nodes.get(&id).expect("inode exists")
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(&id).expect("inode exists")
    }

    /// The file `id`.
    ///
    /// # Panics
    /// When it is a directory.
    pub(super) fn file(&self, id: NodeId) -> &File {
        match &self.node(id).body {
            Body::File(file) => file,
            Body::Dir(_) => panic!("inode {id:?} is a directory"),
        }
    }

    pub(super) fn file_mut(&mut self, id: NodeId) -> &mut File {
        match &mut self.node_mut(id).body {
            Body::File(file) => file,
            Body::Dir(_) => panic!("inode {id:?} is a directory"),
        }
    }

    pub(super) fn dir(&self, id: NodeId) -> io::Result<&Dir> {
        match &self.node(id).body {
            Body::Dir(dir) => Ok(dir),
            Body::File(_) => Err(Errno::NOTDIR.into()),
        }
    }

    pub(super) fn dir_mut(&mut self, id: NodeId) -> &mut Dir {
        match &mut self.node_mut(id).body {
            Body::Dir(dir) => dir,
            Body::File(_) => panic!("inode {id:?} is a file"),
        }
    }

    pub(super) fn is_dir(&self, id: NodeId) -> bool {
        matches!(self.node(id).body, Body::Dir(_))
    }

    /// The inode at `path` as processes see it.
    pub(super) fn resolve(&self, path: &Path) -> io::Result<NodeId> {
        let mut at = ROOT;
        for name in names(path) {
            at = *self.dir(at)?.entries.get(name?).ok_or(Errno::NOENT)?;
        }
        Ok(at)
    }

    /// The inode at `path` on the platter.
    pub(super) fn resolve_durable(&self, path: &Path) -> Option<NodeId> {
        let mut at = ROOT;
        for name in names(path) {
            at = *self.dir(at).ok()?.durable.get(name.ok()?)?;
        }
        Some(at)
    }

    /// The directory that holds `path`, and the last name of `path`.
    pub(super) fn resolve_parent<'a>(&self, path: &'a Path) -> io::Result<(NodeId, &'a str)> {
        let mut at = ROOT;
        let mut last = None;
        for name in names(path) {
            if let Some(name) = last.replace(name?) {
                at = *self.dir(at)?.entries.get(name).ok_or(Errno::NOENT)?;
            }
        }
        self.dir(at)?;
        // Only the root has no name, and it is neither made nor moved.
        Ok((at, last.ok_or(Errno::EXIST)?))
    }

    /// The file at `path`, if there is one.
    pub(super) fn find_file(&self, path: &Path) -> io::Result<Option<NodeId>> {
        match self.resolve(path) {
            Ok(id) if self.is_dir(id) => Err(Errno::ISDIR.into()),
            Ok(id) => Ok(Some(id)),
            // Distinguishes a missing file from a missing directory.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.resolve_parent(path).map(|_| None)
            }
            Err(error) => Err(error),
        }
    }

    /// A new inode, linked nowhere yet.
    pub(super) fn new_node(&mut self, path: &Path, is_dir: bool, now_ms: u64) -> NodeId {
        let id = NodeId(self.next_node);
        self.next_node += 1;
        let body = if is_dir { Body::Dir(Dir::default()) } else { Body::File(File::new()) };
        let node = Node {
            path: path.to_path_buf(),
            linked: true,
            durable_links: 0,
            pending_ops: 0,
            modified_ms: now_ms,
            durable_modified_ms: now_ms,
            body,
        };
        self.nodes.insert(id, node);
        id
    }

    /// Forgets inode `id` if nothing can reach it any more.
    pub(super) fn reap(&mut self, id: NodeId) {
        let unreachable = self
            .nodes
            .get(&id)
            .is_some_and(|node| !node.linked && node.durable_links == 0 && node.pending_ops == 0);
        if unreachable && !self.unlinked.contains(&id) {
            self.nodes.remove(&id);
        }
    }

    /// All that can be reached on the platter, with its path there.
    pub(super) fn durable_paths(&self) -> BTreeMap<NodeId, PathBuf> {
        let mut found = BTreeMap::from([(ROOT, PathBuf::from("/"))]);
        let mut dirs = vec![ROOT];
        while let Some(id) = dirs.pop() {
            let Body::Dir(dir) = &self.node(id).body else { continue };
            let at = found[&id].clone();
            for (name, child) in &dir.durable {
                found.insert(*child, at.join(name));
                dirs.push(*child);
            }
        }
        found
    }

    /// Makes the platter's names the only ones, after a cut that left `found`. The files are
    /// settled already.
    pub(super) fn keep_only(&mut self, found: BTreeMap<NodeId, PathBuf>) {
        self.journal.clear();
        self.unlinked.clear();
        self.used_pages = 0;
        self.nodes.retain(|id, _| found.contains_key(id));
        for (id, path) in found {
            let node = self.node_mut(id);
            node.path = path;
            node.linked = true;
            node.durable_links = 1;
            node.pending_ops = 0;
            node.modified_ms = node.durable_modified_ms;
            match &mut node.body {
                Body::Dir(dir) => dir.entries = dir.durable.clone(),
                Body::File(file) => self.used_pages += file.used_pages(),
            }
        }
    }

    /// Removes everything at once, durably.
    pub(super) fn clear(&mut self) {
        let (next_node, next_seq) = (self.next_node, self.next_seq);
        *self = Tree { next_node, next_seq, ..Tree::new() };
    }

    /// Gives the inode `id`, and what lies below it, its new path.
    pub(super) fn moved(&mut self, id: NodeId, path: PathBuf) {
        if let Body::Dir(dir) = &self.node(id).body {
            let below: Vec<_> =
                dir.entries.iter().map(|(name, id)| (path.join(name), *id)).collect();
            for (path, id) in below {
                self.moved(id, path);
            }
        }
        self.node_mut(id).path = path;
    }
}

/// Pages that `len` bytes occupy.
pub(super) fn pages_of(len: u64) -> u64 {
    len.div_ceil(PAGE_SIZE as u64)
}

/// The names that `path` consists of, seen from the root.
fn names(path: &Path) -> impl Iterator<Item = io::Result<&str>> {
    path.components().filter_map(|component| match component {
        Component::RootDir | Component::CurDir => None,
        Component::Normal(name) => Some(utf8(name)),
        Component::ParentDir | Component::Prefix(_) => Some(Err(Errno::INVAL.into())),
    })
}

fn utf8(name: &OsStr) -> io::Result<&str> {
    name.to_str().ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{} is not UTF-8", name.display()))
    })
}
