//! Transactions that run out of time are aborted; transactional ids that nobody uses are forgotten.

use super::{Record, Timer, Transactions};
use crate::coordinator::names::Name;
use crate::coordinator::runtime::{Effects, Now};
use crate::limits;

impl Transactions {
    pub(super) fn schedule_upkeep(&mut self, now: Now) {
        self.timers.schedule(Timer::Aborts, after(now, self.settings.abort_interval_ms));
        self.timers.schedule(Timer::Expiry, after(now, self.settings.expiry_interval_ms));
    }

    pub(super) fn abort_late(&mut self, now: Now, effects: &mut Effects<Transactions>) {
        let due = self.deadlines.iter().take_while(|(deadline, _)| *deadline < now.wall);
        let ids: Vec<Name> = due.take(limits::TRANSACTIONS_TURN).map(|(_, id)| id.clone()).collect();
        for id in &ids {
            if let Some((id, known)) = self.find(id) {
                self.fence(now, &id, &known, effects);
            }
        }
        let next = match ids.len() < limits::TRANSACTIONS_TURN {
            true => after(now, self.settings.abort_interval_ms),
            false => now.tick + 1,
        };
        self.timers.schedule(Timer::Aborts, next);
    }

    pub(super) fn begin_sweep(&mut self, now: Now) {
        self.swept = None;
        self.timers.schedule(Timer::Sweep, now.tick);
        self.timers.schedule(Timer::Expiry, after(now, self.settings.expiry_interval_ms));
    }

    pub(super) fn sweep(&mut self, now: Now, effects: &mut Effects<Transactions>) {
        let ids = self.ids_after(self.swept.as_ref());
        let oldest = now.wall.saturating_sub(self.settings.id_expiration_ms);
        for id in &ids {
            let expires =
                self.known.get(id).is_some_and(|known| known.status.may_expire() && known.updated <= oldest);
            if expires {
                effects.records.push(Record { id: id.clone(), value: None, version: 0 });
            }
        }
        self.swept = ids.last().cloned();
        if ids.len() == limits::TRANSACTIONS_TURN {
            // Not in the same turn of the core.
            self.timers.schedule(Timer::Sweep, now.tick + 1);
        }
    }
}

fn after(now: Now, interval_ms: i64) -> u64 {
    now.tick + interval_ms.max(1) as u64
}
