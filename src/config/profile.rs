//! What each core does and how: the per-core profiles of `tuning/`.
//!
//! `[core]` is every core's default, `[core.0]` one core's own. A key that is not known is an error that names the
//! nearest one.

mod parse;

use std::fmt;
use std::time::Duration;

use crate::log::growth::Steps;
use crate::reactor::CoreSpec;

/// A profile as it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// How many cores to use; none for all that the process may use.
    pub cores: Option<usize>,
    /// Bytes of memory for all cores together.
    pub memory: Memory,
    /// The defaults of every core.
    pub core: CoreKeys,
    /// What single cores have of their own, by number.
    pub own: Vec<(usize, CoreKeys)>,
}

/// An amount of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// A share of what there is.
    Auto,
    /// So many bytes.
    Bytes(usize),
}

/// The keys of `[core]` or `[core.N]`; none where a key is not given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CoreKeys {
    /// The CPU to pin to.
    pub cpu: Option<usize>,
    /// Its share of the partitions against other cores; `false` is 0, `true` is 1.
    pub partitions: Option<u32>,
    /// Whether it serves connections.
    pub connections: Option<bool>,
    /// Whether the controller may run on it.
    pub controller: Option<bool>,
    /// Whether it serves the admin pages.
    pub admin: Option<bool>,
    /// Entries of the I/O ring.
    pub ring_depth: Option<u32>,
    /// Microseconds that the core spins for work before it sleeps.
    pub spin_before_park_us: Option<u64>,
    /// Microseconds that a class of tasks may run before the next is looked at.
    pub preempt_us: Option<u64>,
    /// Memory for chunks and read buffers.
    pub memory: Option<Memory>,
    /// How much of it the tails may keep for consumers.
    pub cache: Option<Memory>,
    /// The smallest step in which a file grows ahead of need.
    pub growth_min: Option<usize>,
    /// The largest one.
    pub growth_max: Option<usize>,
    /// CPU shares of each class, in the order of [`crate::reactor::Class::ALL`].
    pub shares: [Option<usize>; 5],
}

/// One core, with nothing left open.
#[derive(Clone, Debug, PartialEq)]
pub struct CoreProfile {
    /// The CPU to pin to.
    pub cpu: Option<usize>,
    /// Its share of the partitions against other cores; 0 for none.
    pub partitions: u32,
    /// Whether it serves connections.
    pub connections: bool,
    /// Whether the controller runs on it: true for exactly one core.
    pub controller: bool,
    /// Whether it serves the admin pages: true for exactly one core.
    pub admin: bool,
    /// Entries of the I/O ring.
    pub ring_depth: u32,
    /// How long the core spins for work before it sleeps.
    pub spin_before_park: Duration,
    /// How long a class of tasks may run before the next is looked at.
    pub preempt: Duration,
    /// Bytes for chunks and read buffers.
    pub memory: usize,
    /// How much of them the tails may keep for consumers; none for all that tails may have.
    pub cache: Option<usize>,
    /// The steps in which files grow ahead of need.
    pub growth: Steps,
    /// CPU shares of each class, in the order of [`crate::reactor::Class::ALL`].
    pub shares: [usize; 5],
}

impl CoreProfile {
    /// What the reactor needs to set the core up.
    pub fn core_spec(&self) -> CoreSpec {
        CoreSpec {
            cpu: self.cpu,
            ring_depth: self.ring_depth,
            spin_before_park: self.spin_before_park,
            preempt: self.preempt,
            memory: self.memory,
            shares: self.shares,
        }
    }
}

/// Why a profile cannot be used: where, what, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadProfile(pub String);

impl fmt::Display for BadProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadProfile {}

impl Default for Profile {
    /// What a file without a line says.
    fn default() -> Self {
        Profile { cores: None, memory: Memory::Auto, core: CoreKeys::default(), own: Vec::new() }
    }
}

/// The profiles of `tuning/`, by name.
pub const READY_MADE: [(&str, &str); 5] = [
    ("default", include_str!("../../tuning/default.toml")),
    ("throughput", include_str!("../../tuning/throughput.toml")),
    ("latency", include_str!("../../tuning/latency.toml")),
    ("many-partitions", include_str!("../../tuning/many-partitions.toml")),
    ("small", include_str!("../../tuning/small.toml")),
];

/// The text of the profile of `tuning/` that has this name.
pub fn ready_made(name: &str) -> Option<&'static str> {
    READY_MADE.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// The least memory with which a core can work.
pub const CORE_MEMORY_MIN: usize = 16 << 20;

impl Profile {
    /// Reads a profile; `file` is what messages call it.
    pub fn read(text: &str, file: &str) -> Result<Profile, BadProfile> {
        parse::profile(text, file)
    }

    /// One profile per core, for a machine where the process may use these CPUs and this much memory.
    pub fn resolve(&self, cpus: &[usize], memory: usize) -> Result<Vec<CoreProfile>, BadProfile> {
        let count = self.cores.unwrap_or(cpus.len()).max(1);
        if count > cpus.len().max(1) {
            return Err(BadProfile(format!(
                "the profile wants {count} cores, but this process may use {}: lower 'cores', or allow it more",
                cpus.len()
            )));
        }
        if let Some((number, _)) = self.own.iter().find(|(number, _)| *number >= count) {
            return Err(BadProfile(format!(
                "[core.{number}] is for a core that is not used: the cores are 0 to {}",
                count - 1
            )));
        }
        let total = match self.memory {
            Memory::Bytes(bytes) => bytes,
            // The other half is the page cache's, the kernel's and the heap's.
            Memory::Auto => memory / 2,
        };
        let mut cores: Vec<CoreProfile> =
            (0..count).map(|n| self.one(n, cpus.get(n).copied(), total / count)).collect();
        self.check(&cores, memory)?;
        only_first(&mut cores, |core| &mut core.controller);
        only_first(&mut cores, |core| &mut core.admin);
        Ok(cores)
    }

    fn one(&self, number: usize, cpu: Option<usize>, memory: usize) -> CoreProfile {
        let own =
            self.own.iter().find(|(n, _)| *n == number).map(|(_, keys)| keys.clone()).unwrap_or_default();
        let all = &self.core;
        let (spec, steps) = (CoreSpec::default(), Steps::default());
        let memory = match own.memory.or(all.memory) {
            Some(Memory::Bytes(bytes)) => bytes,
            _ => memory.max(CORE_MEMORY_MIN),
        };
        let micros =
            |own: Option<u64>, all: Option<u64>, default| own.or(all).map_or(default, Duration::from_micros);
        let mut shares = spec.shares;
        for (i, share) in shares.iter_mut().enumerate() {
            *share = own.shares[i].or(all.shares[i]).unwrap_or(*share);
        }
        CoreProfile {
            cpu: own.cpu.or(all.cpu).or(cpu),
            partitions: own.partitions.or(all.partitions).unwrap_or(1),
            connections: own.connections.or(all.connections).unwrap_or(true),
            controller: own.controller.or(all.controller).unwrap_or(true),
            admin: own.admin.or(all.admin).unwrap_or(true),
            ring_depth: own.ring_depth.or(all.ring_depth).unwrap_or(spec.ring_depth),
            spin_before_park: micros(own.spin_before_park_us, all.spin_before_park_us, spec.spin_before_park),
            preempt: micros(own.preempt_us, all.preempt_us, spec.preempt),
            memory,
            cache: match own.cache.or(all.cache) {
                Some(Memory::Bytes(bytes)) => Some(bytes),
                _ => None,
            },
            growth: Steps {
                least: own.growth_min.or(all.growth_min).map_or(steps.least, |bytes| bytes as u64),
                most: own.growth_max.or(all.growth_max).map_or(steps.most, |bytes| bytes as u64),
            },
            shares,
        }
    }

    fn check(&self, cores: &[CoreProfile], memory: usize) -> Result<(), BadProfile> {
        let wrong = |what: String| Err(BadProfile(what));
        for (key, any) in [
            ("partitions", cores.iter().any(|core| core.partitions > 0)),
            ("connections", cores.iter().any(|core| core.connections)),
            ("controller", cores.iter().any(|core| core.controller)),
            ("admin", cores.iter().any(|core| core.admin)),
        ] {
            if !any {
                return wrong(format!("'{key}' is false for every core: at least one must have it"));
            }
        }
        for (number, core) in cores.iter().enumerate() {
            if core.memory < CORE_MEMORY_MIN {
                return wrong(format!("core {number}: memory is {} bytes: the least is 16MiB", core.memory));
            }
            if core.cache.is_some_and(|cache| cache > core.memory) {
                return wrong(format!("core {number}: 'cache' is a part of 'memory' and cannot be larger"));
            }
            if core.growth.least > core.growth.most {
                return wrong(format!("core {number}: 'growth_min' is larger than 'growth_max'"));
            }
        }
        let wanted: usize = cores.iter().map(|core| core.memory).sum();
        if wanted > memory {
            return wrong(format!(
                "the cores want {} MiB of memory together, and there are {} MiB: lower 'memory', or use fewer \
                 'cores', each of which needs 16 MiB",
                wanted >> 20,
                memory >> 20
            ));
        }
        Ok(())
    }
}

/// Leaves the flag with the first core that has it.
fn only_first(cores: &mut [CoreProfile], flag: impl Fn(&mut CoreProfile) -> &mut bool) {
    let mut taken = false;
    for core in cores {
        let flag = flag(core);
        *flag &= !taken;
        taken |= *flag;
    }
}

#[cfg(test)]
mod tests;
