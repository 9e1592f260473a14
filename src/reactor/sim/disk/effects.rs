//! What operations on files do when they end.

use std::io;
use std::ops::Range;

use super::content::{self, BLOCK, Manner};
use super::control::IoKind;
use super::state::{DiskState, Operation, Scope, os};
use super::tree::InodeId;
use crate::reactor::Chunk;

const SECTOR: u64 = content::SECTOR as u64;

impl DiskState {
    pub(super) fn finish_write(
        &mut self,
        id: u64,
        file: InodeId,
        position: u64,
        data: &[u8],
        sum: u32,
    ) -> io::Result<()> {
        if self.options.forbid_changed_buffers && crc32c::crc32c(data) != sum {
            let path = self.path_of(file);
            panic!("the memory of a write at {position} of {path} changed while it was in flight");
        }
        let fault = self.fault(IoKind::Write);
        let writable = self.writable();
        let content = self.tree.file_mut(file)?;
        let mixes = content.land(id);
        writable?;
        // A write that fails has done any part of its work.
        let mut len = data.len() as u64;
        if fault.is_err() {
            len = self.rng.below(len / BLOCK + 1) * BLOCK;
        }
        if mixes.is_empty() {
            self.put(file, position, &data[..len as usize], false)?;
            return fault;
        }
        let mut mixed = vec![0; len as usize];
        content.read(position, &mut mixed, false);
        for (sector, (old, new)) in
            (0..).zip(mixed.chunks_mut(content::SECTOR).zip(data.chunks(content::SECTOR)))
        {
            let at = position + sector * SECTOR;
            if !mixes.iter().any(|range| range.contains(&at)) || self.rng.coin() {
                old.copy_from_slice(new);
            }
        }
        self.put(file, position, &mixed, false)?;
        fault
    }

    /// Writes what there is room for.
    pub(super) fn put(
        &mut self,
        file: InodeId,
        position: u64,
        data: &[u8],
        buffered: bool,
    ) -> io::Result<()> {
        let through = !self.options.write_cache && !buffered;
        let room = (self.options.capacity / BLOCK).saturating_sub(self.used);
        let content = self.tree.file_mut(file)?;
        let mut len = data.len() as u64;
        let full = content.holes(position..position + len) > room;
        while content.holes(position..position + len) > room {
            len = (len - 1) / BLOCK * BLOCK;
        }
        self.finished_writes += 1;
        self.dirty.insert(file);
        let before = content.mapped();
        if len > 0 {
            let manner =
                Manner { sequence: self.finished_writes, buffered, through, may_forget: self.flushes == 0 };
            content.write(position, &data[..len as usize], &manner);
        }
        self.used += content.mapped() - before;
        if full { Err(os(libc::ENOSPC)) } else { Ok(()) }
    }

    pub(super) fn finish_read(&mut self, file: InodeId, position: u64, into: &mut Chunk) -> io::Result<()> {
        self.fault(IoKind::Read)?;
        let content = self.tree.file(file)?;
        let len = content.size().saturating_sub(position).min(into.room() as u64);
        let range = position..position + len;
        if content.unreadable.iter().any(|bad| bad.start < range.end && range.start < bad.end) {
            return Err(os(libc::EIO));
        }
        let buffer = &mut into.spare()[..len as usize];
        content.read(position, buffer, false);
        // A read beside a write sees any mixture of old and new sectors.
        for write in &content.in_flight {
            let Some(common) = write.common(&range) else { continue };
            let Some(Operation::Write { data, .. }) = self.operations.get(&write.operation) else { continue };
            for at in common.clone().step_by(content::SECTOR).filter(|_| self.rng.coin()) {
                let part = SECTOR.min(common.end - at) as usize;
                let (from, to) = ((at - write.range.start) as usize, (at - range.start) as usize);
                buffer[to..to + part].copy_from_slice(&data[from..from + part]);
            }
        }
        into.advance(len as usize);
        Ok(())
    }

    pub(super) fn finish_flush(&mut self, file: InodeId, scope: &Scope) -> io::Result<()> {
        self.flushes = self.flushes.saturating_sub(1);
        self.writable()?;
        if let Err(error) = self.fault(IoKind::Flush) {
            for (owner, block) in &scope.blocks {
                if let Ok(content) = self.tree.file_mut(*owner) {
                    content.doom_data(*block, scope.writes);
                }
            }
            if self.tree.file(file).is_ok_and(|content| content.has_changes(scope.changes)) {
                self.journal_fault();
            }
            return Err(error);
        }
        if self.options.void_flushes {
            return Ok(());
        }
        for (owner, block) in &scope.blocks {
            if let Ok(content) = self.tree.file_mut(*owner) {
                content.settle_data(*block, scope.writes, *owner == file);
            }
        }
        self.tree.file_mut(file)?.settle_changes(scope.changes);
        Ok(())
    }

    pub(super) fn finish_allocate(&mut self, file: InodeId, range: Range<u64>) -> io::Result<()> {
        self.writable()?;
        self.fault(IoKind::Metadata)?;
        let room = (self.options.capacity / BLOCK).saturating_sub(self.used);
        self.finished_writes += 1;
        let content = self.tree.file_mut(file)?;
        if content.holes(range.clone()) > room {
            return Err(os(libc::ENOSPC));
        }
        let before = content.mapped();
        content.reserve(range, self.finished_writes);
        self.used += content.mapped() - before;
        Ok(())
    }

    pub(super) fn finish_truncate(&mut self, file: InodeId, len: u64) -> io::Result<()> {
        self.writable()?;
        self.fault(IoKind::Metadata)?;
        self.finished_writes += 1;
        let content = self.tree.file_mut(file)?;
        let before = content.mapped();
        if len < content.size() {
            content.cut(len, self.finished_writes);
        } else {
            content.grow(len, self.finished_writes);
        }
        self.used -= before - content.mapped();
        Ok(())
    }
}
