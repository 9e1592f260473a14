//! A damaged log directory is opened on the simulated twin.
//!
//! An input says how the folder came to be, what became of its files, and how it is opened ([`damage`]). Then:
//!
//! - the partition is served, or refused with words that say where and what to do;
//! - no batch is served whose checksum does not hold or that was never written, and their offsets grow;
//! - what only lies past the mark costs nothing that lies below it, and is refused only where a whole batch lies that no
//!   crash leaves there; what no batch hangs on costs nothing at all;
//! - what is served stands: after an append, a loss of power and another start it is there, and nothing more, or the
//!   damage that the first start did not look for is told by the second.

mod damage;
mod folder;

use std::collections::BTreeMap;

use self::damage::Damage;
use self::folder::{Folder, Opening, Served};
use super::input::Input;

/// How many kinds of folders there are.
pub const KINDS: usize = Folder::KINDS;

pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let folder = Folder::of(input.below(Folder::KINDS));
    let flags = input.u8();
    let damage = Damage::read(&mut input, &folder);
    let accept_loss = flags & 1 != 0;
    let opening = Opening { files: damage.files.clone(), accept_loss, again: flags & 2 != 0 };
    match opening.open(&folder) {
        Served::Refused(why) => {
            assert!(why.contains('/') || why.contains("t-0"), "it says where: {why}");
            assert!(!damage.is_harmless || damage.contradicts, "refused: {why}");
        }
        Served::Logs(lives, refused) => {
            if let Some(why) = refused {
                assert!(!damage.is_harmless, "refused at the second start: {why}");
            }
            let first = &lives[0];
            check(&folder, &damage, first);
            if let Some(second) = lives.get(1).filter(|_| !damage.is_strange) {
                let end = first.keys().next_back().copied().unwrap_or(i64::MIN);
                let mut new = second.range(end..).filter(|(at, _)| !first.contains_key(at));
                let appended = new.next().map(|(at, batch)| (*at, batch.clone()));
                assert!(appended.is_some() || !damage.is_harmless, "what was appended is there");
                let expected: BTreeMap<_, _> = first.clone().into_iter().chain(appended).collect();
                assert_eq!(&expected, second, "what stood, and what was appended");
            }
        }
    }
}

fn check(folder: &Folder, damage: &Damage, found: &BTreeMap<i64, Vec<u8>>) {
    for (at, batch) in found {
        // Offset and epoch lie outside of the checksum: there, rot cannot always be told.
        let known = match damage.moves {
            true => folder.written.values().any(|known| known[16..] == batch[16..]),
            false => folder.written.get(at).is_some_and(|known| known == batch),
        };
        assert!(known, "the batch at offset {at} was never written");
    }
    if damage.is_harmless {
        for (at, known) in &folder.batches {
            let below = damage.is_past_mark.is_none_or(|mark| *at < mark);
            assert!(!below || found.get(at) == Some(known), "the batch at offset {at} is gone");
        }
    }
}
