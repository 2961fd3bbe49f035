//! Flushes on their way: capture at the call, landing after the drawn latency.
//!
//! A flush *captures* the dirty pages of its range when it is called and marks them clean; bytes
//! written later belong to the next flush. When its time is over it *lands*: its pages and those that
//! earlier flushes of the range still hold become durable. So overlapping flushes may end in any
//! order, and each keeps its promise. A flush whose process dies is *abandoned*: its pages count as
//! dirty again, and until something newer lands power loss may find what it had captured.

use std::ops::Range;
use std::sync::Arc;

use mq_env::disk::PAGE_SIZE;
use rand::{Rng as _, RngCore};

use super::damage::DamageKind;
use super::faults::{self, FlushErrorMode};
use super::memory::{Page, ZERO_PAGE};
use super::observe::FlushOutcome;
use super::region::EpochId;
use super::state::State;
use super::tree::{Body, Durable, NodeId};

/// A flush between capture and landing.
#[derive(Clone, PartialEq)]
pub(super) struct Flight {
    pub(super) seq: u64,
    pub(super) node: NodeId,
    pub(super) epoch: EpochId,
    /// Bytes asked for; empty for a directory.
    pub(super) range: Range<u64>,
    /// What it captured.
    pub(super) pages: Vec<(u32, Arc<Page>)>,
    /// The content that it captured them from.
    pub(super) generation: u64,
    /// The file's length at the call.
    len: u64,
    abandoned: bool,
}

/// What a flush turned out to be when it was called.
pub(super) enum Begun {
    /// There is nothing to write; `true` when an earlier error is to be reported.
    Idle { late_error: bool },
    /// It ends after `latency_ms`.
    Flying { seq: u64, latency_ms: u64, pages: usize },
}

/// A flush that landed.
pub(super) struct Landed {
    pub(super) outcome: FlushOutcome,
    pub(super) node: NodeId,
    pub(super) range: Range<u64>,
    pub(super) pages: usize,
    pub(super) is_dir: bool,
}

impl State {
    /// Captures the dirty pages of `range` of file `id`.
    pub(super) fn begin_flush(
        &mut self,
        id: NodeId,
        epoch: EpochId,
        range: Range<u64>,
        now_ms: u64,
    ) -> Begun {
        let bounds = page_range(&range);
        let mut pages = Vec::new();
        if let Some(memory) = self.memory_of(id) {
            for page in memory.dirty_pages(bounds.clone()) {
                memory.clear_dirty(page);
                pages.push((page, memory.snapshot(page)));
            }
        }
        let file = self.tree.file(id);
        let (generation, len) = (file.live().generation, file.len);
        let sized = file.durable_len != len || !file.is_settled() || self.tree.has_pending(id);
        let awaited = self.flights.iter().any(|flight| {
            flight.node == id && flight.pages.iter().any(|(page, _)| bounds.contains(page))
        });
        if pages.is_empty() && !sized && !awaited {
            return Begun::Idle { late_error: self.take_late_error(id) };
        }
        if !pages.is_empty() {
            self.tree.node_mut(id).modified_ms = now_ms;
        }
        let count = pages.len();
        let seq = self.tree.next_seq();
        let abandoned = false;
        self.flights.push(Flight {
            seq,
            node: id,
            epoch,
            range,
            pages,
            generation,
            len,
            abandoned,
        });
        let latency_ms = self.draw_ms(self.latency.flush_ms.clone());
        Begun::Flying { seq, latency_ms, pages: count }
    }

    /// Begins a sync of directory `id`.
    pub(super) fn begin_dir_sync(&mut self, id: NodeId, epoch: EpochId) -> Begun {
        if !self.tree.has_pending(id) {
            return Begun::Idle { late_error: self.take_late_error(id) };
        }
        let seq = self.tree.next_seq();
        let (pages, range) = (Vec::new(), 0..0);
        let flight =
            Flight { seq, node: id, epoch, range, pages, generation: 0, len: 0, abandoned: false };
        self.flights.push(flight);
        let latency_ms = self.draw_ms(self.latency.dir_sync_ms.clone());
        Begun::Flying { seq, latency_ms, pages: 0 }
    }

    /// Lands flight `seq`, or lets it fail. `None` when it is in the air no more.
    pub(super) fn land(&mut self, seq: u64, now_ms: u64) -> Option<Landed> {
        let at = self.flights.iter().position(|f| f.seq == seq && !f.abandoned)?;
        let flight = self.flights.remove(at);
        let (range, pages) = (flight.range.clone(), flight.pages.len());
        let is_dir = self.tree.is_dir(flight.node);
        let fault = faults::take(&mut self.faults, &self.tree.node(flight.node).path);
        let outcome = match fault {
            Some(mode) => {
                self.stats.flush_errors += 1;
                self.fail(&flight, mode, now_ms);
                FlushOutcome::Failed(mode)
            }
            None if is_dir => {
                self.tree.commit_dir(flight.node, flight.seq);
                self.outcome(flight.node)
            }
            None => {
                self.make_durable(&flight, now_ms);
                self.outcome(flight.node)
            }
        };
        if is_dir {
            self.stats.dir_syncs += 1;
        } else {
            self.stats.flushes += 1;
        }
        Some(Landed { outcome, node: flight.node, range, pages, is_dir })
    }

    fn outcome(&mut self, id: NodeId) -> FlushOutcome {
        if self.take_late_error(id) { FlushOutcome::LateError } else { FlushOutcome::Durable }
    }

    fn take_late_error(&mut self, id: NodeId) -> bool {
        self.open.get_mut(&id).is_some_and(|open| std::mem::take(&mut open.late_error))
    }

    fn make_durable(&mut self, flight: &Flight, now_ms: u64) {
        let bounds = page_range(&flight.range);
        let mut landing: Vec<(u64, u32, Arc<Page>)> = Vec::new();
        let same = |other: &&Flight| {
            other.node == flight.node
                && other.generation == flight.generation
                && other.seq < flight.seq
        };
        for earlier in self.flights.iter().filter(same) {
            let held = earlier.pages.iter().filter(|(page, _)| bounds.contains(page));
            landing.extend(held.map(|(page, bytes)| (earlier.seq, *page, Arc::clone(bytes))));
        }
        let own = flight.pages.iter();
        landing.extend(own.map(|(page, bytes)| (flight.seq, *page, Arc::clone(bytes))));
        for (seq, page, bytes) in landing {
            self.land_page(flight.node, flight.generation, seq, page, bytes, now_ms);
        }
        self.stats.flushed_pages += flight.pages.len() as u64;

        self.tree.commit_file(flight.node, flight.seq);
        let file = self.tree.file_mut(flight.node);
        if file.on_platter().generation == flight.generation {
            file.durable_len = file.durable_len.max(flight.len);
            file.late_len.take_if(|len| *len <= flight.len);
        }
        let node = self.tree.node_mut(flight.node);
        node.durable_modified_ms = node.modified_ms;
        self.forget_landed(flight.node);
        self.release_memory(flight.node);
    }

    fn land_page(
        &mut self,
        id: NodeId,
        generation: u64,
        seq: u64,
        page: u32,
        bytes: Arc<Page>,
        now_ms: u64,
    ) {
        let durable = Durable { seq, at_ms: now_ms, bytes };
        self.tree.file_mut(id).land(generation, page, durable);
        let live = self.tree.file(id).live();
        let Some(memory) = self.memory_of(id).filter(|_| live.generation == generation) else {
            return;
        };
        // Another flush may hold a newer capture, or a failed one have left newer bytes behind.
        if live.pages.get(&page).is_some_and(|durable| *durable.bytes == *memory.page(page)) {
            memory.clear_unsynced(page);
        }
    }

    fn fail(&mut self, flight: &Flight, mode: FlushErrorMode, now_ms: u64) {
        if self.tree.is_dir(flight.node) && mode != FlushErrorMode::ReportedLate {
            return; // Its entries wait in the journal.
        }
        let open = self.open.entry(flight.node).or_default();
        match mode {
            FlushErrorMode::Clean => {}
            FlushErrorMode::NeverReported => self.note_missing(flight, DamageKind::WriteLost),
            FlushErrorMode::ReportedLate => {
                open.late_error = true;
                self.note_missing(flight, DamageKind::WriteLost);
            }
            FlushErrorMode::KeptDirty => self.dirty_again(flight),
            FlushErrorMode::Reverted => self.revert(flight),
            FlushErrorMode::Misdirected => self.misdirect(flight, now_ms),
        }
    }

    /// Sizes and names are durable, the pages are elsewhere.
    fn misdirect(&mut self, flight: &Flight, now_ms: u64) {
        let len = self.tree.file(flight.node).len;
        let pages = flight
            .pages
            .iter()
            .map(|(page, bytes)| (faults::misdirected(*page), Arc::clone(bytes)));
        let inside = pages.filter(|(page, _)| u64::from(*page) * (PAGE_SIZE as u64) < len);
        let astray = Flight { pages: inside.collect(), ..flight.clone() };
        let platter = self.tree.file(flight.node).on_platter();
        let over = |(page, _): &(u32, Arc<Page>)| {
            let old = platter.pages.get(page);
            (*page, old.map_or_else(|| Arc::new(ZERO_PAGE), |old| Arc::clone(&old.bytes)))
        };
        let hit: Vec<_> = astray.pages.iter().map(over).collect();
        self.make_durable(&astray, now_ms);
        let wanted = |page: u32| flight.pages.iter().any(|(own, _)| *own == page);
        let hit = hit.into_iter().filter(|(page, _)| !wanted(*page)).collect();
        self.note_missing(&Flight { pages: hit, ..flight.clone() }, DamageKind::Misdirected);
        self.note_missing(flight, DamageKind::Misdirected);
    }

    /// Notes what the platter does not hold of the pages of `flight`.
    fn note_missing(&mut self, flight: &Flight, kind: DamageKind) {
        if self.tree.is_dir(flight.node) {
            return;
        }
        self.tree.was_damaged = true;
        let file = self.tree.file_mut(flight.node);
        if file.on_platter().generation == flight.generation {
            flight.pages.iter().for_each(|(page, bytes)| file.note_damage(*page, bytes, kind));
        }
    }

    fn dirty_again(&self, flight: &Flight) {
        if let Some(memory) = self.memory_of(flight.node)
            && self.tree.file(flight.node).live().generation == flight.generation
        {
            for (page, _) in &flight.pages {
                memory.set_dirty(*page);
            }
        }
    }

    fn revert(&self, flight: &Flight) {
        let Some(memory) = self.memory_of(flight.node) else { return };
        let live = self.tree.file(flight.node).live();
        if live.generation != flight.generation {
            return;
        }
        for (page, _) in flight.pages.iter().filter(|(page, _)| !memory.is_dirty(*page)) {
            let old = live.pages.get(page).map_or(&ZERO_PAGE, |d| &*d.bytes);
            memory.fill(*page as usize * PAGE_SIZE, old);
            memory.clear_unsynced(*page);
        }
    }

    /// Nobody waits for flight `seq` any more.
    pub(super) fn abandon(&mut self, seq: u64) {
        let Some(at) = self.flights.iter().position(|f| f.seq == seq && !f.abandoned) else {
            return;
        };
        if self.flights[at].pages.is_empty() {
            self.flights.remove(at);
        } else {
            self.flights[at].abandoned = true;
            self.dirty_again(&self.flights[at]);
        }
    }

    /// Drops abandoned captures that something newer has overtaken.
    fn forget_landed(&mut self, id: NodeId) {
        let State { flights, tree, .. } = self;
        let live = tree.file(id).live();
        flights.retain_mut(|flight| {
            if flight.node != id || !flight.abandoned {
                return true;
            }
            flight.pages.retain(|(page, _)| {
                flight.generation == live.generation
                    && live.pages.get(page).is_none_or(|durable| durable.seq < flight.seq)
            });
            !flight.pages.is_empty()
        });
    }

    /// Makes dirty pages durable with probability `share` each, and a prefix of the journal.
    /// Returns how many pages and metadata operations that were.
    pub(super) fn write_back(&mut self, rng: &mut dyn RngCore, now_ms: u64) -> (usize, usize) {
        let share: f64 = rng.random();
        let mut pages = 0;
        let cached: Vec<NodeId> = self.open.keys().copied().collect();
        for id in cached {
            pages += self.write_back_file(id, now_ms, || rng.random_bool(share));
        }
        let ops = rng.random_range(0..=self.tree.journal.len());
        self.tree.commit_prefix(ops);
        let settled = self.commit_late_lens(|| rng.random_bool(share));
        self.stats.written_back_pages += pages as u64;
        (pages, ops + settled)
    }

    /// Makes all dirty pages, what is in the air, and the whole journal durable.
    pub(super) fn write_back_all(&mut self, now_ms: u64) {
        for flight in self.flights.clone() {
            let Flight { node, generation, seq, pages, .. } = flight;
            for (page, bytes) in pages {
                self.land_page(node, generation, seq, page, bytes, now_ms);
            }
        }
        let cached: Vec<NodeId> = self.open.keys().copied().collect();
        for id in cached {
            self.write_back_file(id, now_ms, || true);
        }
        self.tree.commit_prefix(usize::MAX);
        self.commit_late_lens(|| true);
    }

    fn write_back_file(
        &mut self,
        id: NodeId,
        now_ms: u64,
        mut chosen: impl FnMut() -> bool,
    ) -> usize {
        let Some(memory) = self.memory_of(id).cloned() else { return 0 };
        let path = &self.tree.node(id).path;
        if self.faults.iter().any(|fault| fault.matches(path)) {
            return 0;
        }
        let dirty: Vec<u32> = memory.dirty_pages(0..u32::MAX).filter(|_| chosen()).collect();
        for page in &dirty {
            let seq = self.tree.next_seq();
            memory.clear_dirty(*page);
            // The newest capture of all, and nobody can have written since.
            self.tree.file_mut(id).overwrite(*page, seq, now_ms, memory.page(*page));
            memory.clear_unsynced(*page);
        }
        if !dirty.is_empty() {
            self.tree.node_mut(id).modified_ms = now_ms;
            self.forget_landed(id);
            self.release_memory(id);
        }
        dirty.len()
    }

    /// Sizes given by `Disk::write` reach the platter where `chosen` says so.
    pub(super) fn commit_late_lens(&mut self, mut chosen: impl FnMut() -> bool) -> usize {
        let mut count = 0;
        for node in self.tree.nodes.values_mut() {
            let Body::File(file) = &mut node.body else { continue };
            if file.is_settled()
                && let Some(len) = file.late_len
                && chosen()
            {
                file.durable_len = len;
                file.late_len = None;
                node.durable_modified_ms = node.modified_ms;
                count += 1;
            }
        }
        count
    }
}

/// Pages that `range` touches.
pub(super) fn page_range(range: &Range<u64>) -> Range<u32> {
    let page = PAGE_SIZE as u64;
    let end = if range.is_empty() { range.start / page } else { range.end.div_ceil(page) };
    (range.start / page) as u32..end as u32
}
