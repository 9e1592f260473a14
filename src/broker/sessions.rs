//! Incremental fetch sessions (KIP-227): what a client reads is remembered, and only changes are told.
//!
//! Pure. A cache lives on its core as long as the node runs; a connection stays on one core, and so does its
//! session. The id says which core made it, so one core's id is never found on another, and a client that comes
//! back elsewhere begins anew. [`Sessions::open`] turns a request into the partitions to read, in the order in
//! which the bytes are to be spent; [`Sessions::close`] says which of them the reply has to name, and moves
//! those that gave records behind the others, so that a busy partition cannot starve the rest.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::collections::{Map, Set};
use crate::reactor::Nanos;
use crate::wire::error::ErrorCode;
use crate::wire::uuid::Uuid;

/// The epoch of a request that wants a full answer and a new session.
const INITIAL: i32 = 0;
/// The epoch of a request that wants a full answer and no session.
const FINAL: i32 = -1;

/// A topic as the client names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TopicKey {
    /// Up to Fetch version 12.
    Name(Rc<str>),
    /// From version 13 on.
    Id(Uuid),
}

/// A partition as the client names it.
pub type PartKey = (TopicKey, i32);

/// A partition that the client reads, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Which.
    pub key: PartKey,
    /// From which offset on.
    pub offset: i64,
    /// Bytes at most.
    pub max_bytes: i32,
    /// The leader epoch that the client goes by, -1 for none.
    pub current_leader_epoch: i32,
    /// The epoch of the last record that the client has, -1 for none.
    pub last_fetched_epoch: i32,
}

/// What a fetch request says of sessions.
#[derive(Clone, Debug, Default)]
pub struct Opening {
    /// The session's id, 0 for none.
    pub id: i32,
    /// The number of the request within its session.
    pub epoch: i32,
    /// Whether the request names topics by their ids.
    pub by_id: bool,
    /// The partitions that the request names.
    pub parts: Vec<Wanted>,
    /// Partitions that the client no longer reads.
    pub forgotten: Vec<PartKey>,
}

/// What was read of a partition, as far as sessions care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct News {
    /// Whether the reply names it in any case: an error, or a log that parts from the client's.
    pub must_tell: bool,
    /// Whether there are records.
    pub records: bool,
    /// The partition's high watermark.
    pub high_watermark: i64,
    /// The partition's first offset.
    pub log_start_offset: i64,
}

/// How a request stands to sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// It is told everything, and has no session.
    Sessionless,
    /// It is told everything, and gets a session.
    Create {
        /// Whether it names topics by their ids.
        by_id: bool,
    },
    /// It is told what has changed.
    Continue {
        /// The session.
        id: i32,
        /// Its next epoch, if nobody else goes on with it meanwhile.
        epoch: i32,
    },
}

/// What a reply says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// The session to go on with, 0 for none.
    pub id: i32,
    /// For each partition that was read, whether the reply names it.
    pub tell: Vec<bool>,
}

/// How many sessions there may be, and how long they are safe.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// Sessions in this cache.
    pub sessions: usize,
    /// Partitions in all of them.
    pub partitions: usize,
    /// Unused for so long, a session may be evicted for another
    /// (`min.incremental.fetch.session.eviction.ms`).
    pub eviction: Duration,
}

/// The sessions of one core.
pub struct Sessions {
    limits: SessionLimits,
    core: i32,
    cores: i32,
    sessions: BTreeMap<i32, Session>,
    partitions: usize,
}

struct Session {
    by_id: bool,
    epoch: i32,
    created: Nanos,
    used: Nanos,
    /// In the order in which bytes are spent.
    parts: BTreeMap<u64, Cached>,
    places: Map<PartKey, u64>,
    next_place: u64,
}

struct Cached {
    wanted: Wanted,
    /// What the client was last told; none after an error, so that the end of it is told too.
    told: Option<(i64, i64)>,
}

impl Sessions {
    /// Empty, for one of a node's cores.
    pub fn new(limits: SessionLimits, core: usize, cores: usize) -> Sessions {
        let number = |n| i32::try_from(n).expect("a node has few cores");
        let (core, cores) = (number(core), number(cores));
        Sessions { limits, core, cores, sessions: BTreeMap::new(), partitions: 0 }
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// How many partitions a session has.
    pub fn partitions_of(&self, id: i32) -> usize {
        self.sessions.get(&id).map_or(0, |session| session.parts.len())
    }

    /// What a request is to read, and how it will be answered.
    pub fn open(&mut self, opening: Opening, now: Nanos) -> Result<(Context, Vec<Wanted>), ErrorCode> {
        if opening.epoch == INITIAL || opening.epoch == FINAL {
            self.remove(opening.id);
            let context = match opening.epoch {
                INITIAL => Context::Create { by_id: opening.by_id },
                _ => Context::Sessionless,
            };
            return Ok((context, without_doubles(opening.parts)));
        }
        let id = opening.id;
        let session = self.sessions.get_mut(&id).ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
        if session.epoch != opening.epoch {
            return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        if session.by_id != opening.by_id {
            return Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
        }
        let before = session.parts.len();
        opening.parts.into_iter().for_each(|wanted| session.want(wanted));
        opening.forgotten.iter().for_each(|key| session.forget(key));
        session.epoch = next_epoch(session.epoch);
        session.used = now;
        let context = Context::Continue { id, epoch: session.epoch };
        let wanted: Vec<_> = session.parts.values().map(|cached| cached.wanted.clone()).collect();
        self.partitions = self.partitions + wanted.len() - before;
        if wanted.is_empty() {
            self.remove(id);
            return Ok((Context::Sessionless, wanted));
        }
        if self.partitions > self.limits.partitions {
            self.remove(id);
            return Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
        }
        Ok((context, wanted))
    }

    /// What the reply says, given what was read of each of the `parts` that [`Sessions::open`] gave. `chance`
    /// is where a new session's id comes from.
    pub fn close(
        &mut self,
        context: Context,
        parts: &[Wanted],
        news: &[News],
        now: Nanos,
        chance: u64,
    ) -> Result<Closing, ErrorCode> {
        assert_eq!(parts.len(), news.len(), "each partition was read");
        let everything = vec![true; parts.len()];
        match context {
            Context::Sessionless => Ok(Closing { id: 0, tell: everything }),
            Context::Create { by_id } => {
                let id = self.create(by_id, parts, news, now, chance).unwrap_or(0);
                Ok(Closing { id, tell: everything })
            }
            Context::Continue { id, epoch } => {
                let session = self.sessions.get_mut(&id).ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
                if session.epoch != epoch {
                    return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
                }
                let tell =
                    parts.iter().zip(news).map(|(part, news)| session.tell(&part.key, *news)).collect();
                Ok(Closing { id, tell })
            }
        }
    }

    fn create(
        &mut self,
        by_id: bool,
        parts: &[Wanted],
        news: &[News],
        now: Nanos,
        chance: u64,
    ) -> Option<i32> {
        if parts.is_empty() || parts.len() + self.partitions > self.limits.partitions {
            return None;
        }
        if self.sessions.len() >= self.limits.sessions {
            let victim = self.victim(parts.len(), now)?;
            self.remove(victim);
        }
        let id = self.new_id(chance);
        let mut session = Session {
            by_id,
            epoch: next_epoch(INITIAL),
            created: now,
            used: now,
            parts: BTreeMap::new(),
            places: Map::default(),
            next_place: 0,
        };
        parts.iter().for_each(|wanted| session.want(wanted.clone()));
        for (wanted, news) in parts.iter().zip(news) {
            session.tell(&wanted.key, *news);
        }
        self.partitions += session.parts.len();
        self.sessions.insert(id, session);
        Some(id)
    }

    /// A session that may go for a new one of this size: the one unused for longest, if that is long; else the
    /// smallest, if it is smaller and had its time.
    fn victim(&self, size: usize, now: Nanos) -> Option<i32> {
        let (oldest, session) = self.sessions.iter().min_by_key(|(_, s)| s.used)?;
        if now.since(session.used) > self.limits.eviction {
            return Some(*oldest);
        }
        let (smallest, session) = self.sessions.iter().min_by_key(|(_, s)| (s.parts.len(), s.created))?;
        let had_its_time = now.since(session.created) > self.limits.eviction;
        (session.parts.len() < size && had_its_time).then_some(*smallest)
    }

    /// An id that no session has, and that only this core gives.
    fn new_id(&self, chance: u64) -> i32 {
        let places = i32::MAX / self.cores;
        let mut place = (chance % places as u64) as i32;
        loop {
            let id = place * self.cores + self.core;
            if id > 0 && !self.sessions.contains_key(&id) {
                return id;
            }
            place = (place + 1) % places;
        }
    }

    fn remove(&mut self, id: i32) {
        if let Some(session) = self.sessions.remove(&id) {
            self.partitions -= session.parts.len();
        }
    }
}

impl Session {
    fn want(&mut self, wanted: Wanted) {
        if let Some(place) = self.places.get(&wanted.key) {
            self.parts.get_mut(place).expect("each place has its part").wanted = wanted;
            return;
        }
        let place = self.new_place();
        self.places.insert(wanted.key.clone(), place);
        self.parts.insert(place, Cached { wanted, told: None });
    }

    fn forget(&mut self, key: &PartKey) {
        if let Some(place) = self.places.remove(key) {
            self.parts.remove(&place);
        }
    }

    /// Notes what there is of a partition; says whether the client has to hear of it.
    fn tell(&mut self, key: &PartKey, news: News) -> bool {
        let Some(place) = self.places.get(key).copied() else { return true };
        let cached = self.parts.get_mut(&place).expect("each place has its part");
        let now = (news.high_watermark, news.log_start_offset);
        let tell = news.must_tell || news.records || cached.told != Some(now);
        cached.told = (!news.must_tell).then_some(now);
        if news.records {
            self.move_back(key, place);
        }
        tell
    }

    fn move_back(&mut self, key: &PartKey, place: u64) {
        let cached = self.parts.remove(&place).expect("each place has its part");
        let back = self.new_place();
        self.parts.insert(back, cached);
        *self.places.get_mut(key).expect("it has a place") = back;
    }

    fn new_place(&mut self) -> u64 {
        self.next_place += 1;
        self.next_place
    }
}

fn next_epoch(epoch: i32) -> i32 {
    epoch.checked_add(1).unwrap_or(INITIAL + 1)
}

/// Each partition once, as it was named last, in the place where it was named first.
fn without_doubles(parts: Vec<Wanted>) -> Vec<Wanted> {
    let mut keys = Set::default();
    if parts.iter().all(|part| keys.insert(&part.key)) {
        return parts;
    }
    let mut places: Map<PartKey, usize> = Map::default();
    let mut once: Vec<Wanted> = Vec::new();
    for part in parts {
        match places.get(&part.key) {
            Some(place) => once[*place] = part,
            None => {
                places.insert(part.key.clone(), once.len());
                once.push(part);
            }
        }
    }
    once
}

#[cfg(test)]
mod tests;
