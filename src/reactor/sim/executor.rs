//! The tasks of all cores of all nodes, and the seeded choice of who runs next.
//!
//! Wakers are plain `Arc`s that put a task's key into an inbox; they may be called from anywhere on the
//! world's thread, from within a borrow of anything, and after their task is gone.

use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

use super::options::ScheduleOptions;
use super::rng::Rng;
use crate::reactor::Class;

type Key = (u32, u32);

#[derive(Default)]
struct Inbox {
    woken: Mutex<Vec<Key>>,
}

struct TaskWaker {
    key: Key,
    queued: AtomicBool,
    inbox: Arc<Inbox>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.inbox.woken.lock().expect("nobody panics with the inbox").push(self.key);
        }
    }
}

/// What a task runs, away from its slot while it runs.
pub(super) struct Body {
    pub future: Pin<Box<dyn Future<Output = ()>>>,
    pub waker: Waker,
    handle: Arc<TaskWaker>,
}

struct Task {
    body: Option<Body>,
    core: u32,
    class: Class,
    number: u64,
    is_main: bool,
    place: &'static Location<'static>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    task: Option<Task>,
}

/// A task whose turn it is.
pub(super) struct Turn {
    pub key: Key,
    pub core: u32,
    pub class: Class,
    pub number: u64,
    pub is_main: bool,
    pub place: &'static Location<'static>,
    pub body: Body,
}

/// What the executor chose.
pub(super) enum Choice {
    Run(Turn),
    /// The core rests for so many nanoseconds.
    Pause(u32, u64),
    Nothing,
}

#[derive(Default)]
struct CoreState {
    paused: bool,
    parked: Vec<Key>,
}

/// Who is neglected for a while.
#[derive(Clone, Copy)]
enum Neglect {
    Nobody,
    Core(u32),
    Class(Class),
    OneOfTwo(u64),
}

pub(super) struct Executor {
    slots: Vec<Slot>,
    free: Vec<u32>,
    ready: Vec<Key>,
    cores: Vec<CoreState>,
    inbox: Arc<Inbox>,
    drained: Vec<Key>,
    spawned: u64,
    rng: Rng,
    options: ScheduleOptions,
    neglect: Neglect,
    neglect_for: u32,
}

impl Executor {
    pub fn new(rng: Rng, options: ScheduleOptions) -> Executor {
        Executor {
            slots: Vec::new(),
            free: Vec::new(),
            ready: Vec::new(),
            cores: Vec::new(),
            inbox: Arc::default(),
            drained: Vec::new(),
            spawned: 0,
            rng,
            options,
            neglect: Neglect::Nobody,
            neglect_for: 0,
        }
    }

    /// A core that tasks can be put on; its number is never used again.
    pub fn add_core(&mut self) -> u32 {
        self.cores.push(CoreState::default());
        (self.cores.len() - 1) as u32
    }

    pub fn spawn(
        &mut self,
        core: u32,
        class: Class,
        is_main: bool,
        place: &'static Location<'static>,
        future: Pin<Box<dyn Future<Output = ()>>>,
    ) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        let key = (index, slot.generation);
        let handle = Arc::new(TaskWaker { key, queued: AtomicBool::new(true), inbox: self.inbox.clone() });
        let waker = Waker::from(handle.clone());
        self.spawned += 1;
        let body = Some(Body { future, waker, handle });
        slot.task = Some(Task { body, core, class, number: self.spawned, is_main, place });
        self.ready.push(key);
        self.spawned
    }

    fn collect_woken(&mut self) {
        std::mem::swap(&mut self.drained, &mut self.inbox.woken.lock().expect("nobody panics with it"));
        self.ready.append(&mut self.drained);
    }

    /// Chooses among all tasks that are ready, whose core does not rest.
    pub fn choose(&mut self) -> Choice {
        self.collect_woken();
        loop {
            if self.ready.is_empty() {
                return Choice::Nothing;
            }
            let at = self.draw();
            let key = self.ready.swap_remove(at);
            let slot = &mut self.slots[key.0 as usize];
            if slot.generation != key.1 {
                continue;
            }
            let Some(task) = &mut slot.task else { continue };
            let core = &mut self.cores[task.core as usize];
            if core.paused {
                core.parked.push(key);
                continue;
            }
            if self.rng.chance(self.options.pause) {
                core.paused = true;
                core.parked.push(key);
                // Most pauses are as short as another task's turn, some as long as a bad page fault.
                let max = self.options.pause_max.as_nanos() as u64;
                let scale = *self.rng.pick(&[1000, 100, 100, 10, 1]);
                return Choice::Pause(task.core, self.rng.below(max / scale + 1) + 1);
            }
            let Some(body) = task.body.take() else { continue };
            body.handle.queued.store(false, Ordering::Relaxed);
            return Choice::Run(Turn {
                key,
                core: task.core,
                class: task.class,
                number: task.number,
                is_main: task.is_main,
                place: task.place,
                body,
            });
        }
    }

    fn draw(&mut self) -> usize {
        let len = self.ready.len();
        if len == 1 {
            return 0;
        }
        let mut at = self.rng.index(len);
        if !self.options.starve {
            return at;
        }
        if self.neglect_for == 0 {
            self.neglect_for = 1 + self.rng.below(400) as u32;
            self.neglect = match self.rng.below(5) {
                0 => Neglect::Core(self.rng.below(self.cores.len() as u64) as u32),
                1 => Neglect::Class(*self.rng.pick(&Class::ALL)),
                2 => Neglect::OneOfTwo(self.rng.below(2)),
                _ => Neglect::Nobody,
            };
        }
        self.neglect_for -= 1;
        for _ in 0..4 {
            if !self.is_neglected(self.ready[at]) {
                break;
            }
            at = self.rng.index(len);
        }
        at
    }

    fn is_neglected(&self, key: Key) -> bool {
        let Some(task) = &self.slots[key.0 as usize].task else { return false };
        match self.neglect {
            Neglect::Nobody => false,
            Neglect::Core(core) => task.core == core,
            Neglect::Class(class) => task.class == class,
            Neglect::OneOfTwo(parity) => task.number % 2 == parity,
        }
    }

    /// Takes back a task that is not finished; gives back what is to be dropped if it is gone meanwhile.
    pub fn put_back(&mut self, key: Key, body: Body) -> Option<Body> {
        let slot = &mut self.slots[key.0 as usize];
        match &mut slot.task {
            Some(task) if slot.generation == key.1 => {
                task.body = Some(body);
                None
            }
            _ => Some(body),
        }
    }

    /// Forgets a task that has finished.
    pub fn remove(&mut self, key: Key) {
        let slot = &mut self.slots[key.0 as usize];
        if slot.generation == key.1 && slot.task.take().is_some() {
            slot.generation += 1;
            self.free.push(key.0);
        }
    }

    /// Takes all tasks of these cores out; the caller drops them once nothing is borrowed.
    pub fn take_cores(&mut self, cores: &[u32]) -> Vec<Body> {
        let mut bodies = Vec::new();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if slot.task.as_ref().is_some_and(|task| cores.contains(&task.core)) {
                bodies.extend(slot.task.take().and_then(|task| task.body));
                slot.generation += 1;
                self.free.push(index as u32);
            }
        }
        for core in cores {
            self.cores[*core as usize].parked.clear();
        }
        bodies
    }

    /// Ends the rest of a core.
    pub fn resume(&mut self, core: u32) {
        let state = &mut self.cores[core as usize];
        state.paused = false;
        self.ready.append(&mut state.parked);
    }

    /// Where the tasks that are ready were spawned, for the account of a world that spins.
    pub fn ready_places(&mut self) -> Vec<String> {
        self.collect_woken();
        let tasks = self.ready.iter().filter_map(|key| self.slots[key.0 as usize].task.as_ref());
        tasks.map(|task| format!("task {} from {}", task.number, task.place)).take(8).collect()
    }
}
