//! What a crash or a loss of power leaves of a disk.

use super::calls::Call;
use super::content::BLOCK;
use super::control::Flip;
use super::mood::Mood;
use super::state::{DiskState, Operation};
use crate::reactor::sim::world::CrashKind;

impl DiskState {
    /// The process ended by itself.
    pub fn end_process(&mut self) {
        self.crash(CrashKind::Process);
    }

    /// The process or the machine goes down. Gives lines for the trace.
    pub fn crash(&mut self, kind: CrashKind) -> Vec<String> {
        self.stalled_until = 0;
        let mut operations: Vec<_> = std::mem::take(&mut self.operations).into_iter().collect();
        self.rng.shuffle(&mut operations);
        let options = self.options.clone();
        self.options.forbid_changed_buffers = false;
        for (id, operation) in operations {
            self.interrupt(id, operation, kind);
        }
        self.options = options;
        // Whoever held a lock is gone, and so is he whose call for one was under way.
        self.locks.clear();
        let mut lines = Vec::new();
        if kind == CrashKind::Power {
            self.read_only = false;
            lines.push(self.power_loss());
        }
        self.used = 0;
        self.flushes = 0;
        for (_, content) in self.tree.files_mut() {
            content.in_flight.clear();
            content.opens = 0;
            content.linked = false;
        }
        for (_, file) in self.tree.paths(false) {
            if let Ok(content) = self.tree.file_mut(file) {
                content.linked = true;
                self.used += content.mapped();
            }
        }
        if kind == CrashKind::Power && self.rng.chance(self.options.flip_at_power_loss) {
            let flip = self.flip_any();
            lines.extend(
                flip.map(|f| format!("flip {:#04x} at {} of {}", f.mask, f.position, f.path.display())),
            );
        }
        lines
    }

    /// An operation that was in flight had any part of its effect.
    fn interrupt(&mut self, id: u64, operation: Operation, kind: CrashKind) {
        let ends = self.rng.coin();
        match operation {
            Operation::Write { .. } if self.read_only => {}
            Operation::Write { file, position, data, .. } if !ends => match kind {
                CrashKind::Process => {
                    let len = self.rng.index(data.len() / BLOCK as usize + 1) * BLOCK as usize;
                    let _ = self.put(file, position, &data[..len], false);
                }
                CrashKind::Power => {
                    self.finished_writes += 1;
                    let sequence = self.finished_writes;
                    if let Ok(content) = self.tree.file_mut(file) {
                        content.write_in_flight(position, &data, sequence);
                    }
                }
            },
            Operation::Call { call: Call::RemoveDirs(path), .. } if !ends && !self.read_only => {
                let limit = self.rng.index(8);
                let _ = self.remove_dirs(&path, limit);
            }
            operation if ends => {
                self.operations.insert(id, operation);
                self.finish(id);
                self.operations.clear();
            }
            _ => {}
        }
    }

    fn power_loss(&mut self) -> String {
        let mut mood = Mood::new(&mut self.rng);
        for (_, content) in self.tree.files_mut().filter(|(_, content)| content.is_unsettled()) {
            content.power_loss(&mut mood);
        }
        self.tree.power_loss(&mut mood);
        mood.name()
    }

    /// Flips one bit of what is durable.
    pub(super) fn flip_any(&mut self) -> Option<Flip> {
        let mut paths = self.tree.paths(true);
        paths.retain(|(_, file)| self.tree.file(*file).is_ok_and(|file| !file.durable_blocks().is_empty()));
        if paths.is_empty() {
            return None;
        }
        let (path, file) = self.rng.pick(&paths).clone();
        let blocks = self.tree.file(file).ok()?.durable_blocks();
        let position = self.rng.pick(&blocks) * BLOCK + self.rng.below(BLOCK);
        let mask = 1 << self.rng.below(8);
        self.tree.file_mut(file).ok()?.corrupt(position, mask);
        let flip = Flip { path, position, mask };
        self.flips.push(flip.clone());
        Some(flip)
    }
}
