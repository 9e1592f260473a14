//! From the text of a profile to its keys, with a place and a remedy in every message.

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::{BadProfile, CoreKeys, Memory, Profile};
use crate::config::nearest::did_you_mean;

const TOP: [&str; 3] = ["cores", "memory", "core"];
const CORE: [&str; 13] = [
    "cpu",
    "partitions",
    "connections",
    "controller",
    "admin",
    "ring_depth",
    "spin_before_park_us",
    "preempt_us",
    "memory",
    "cache",
    "growth_min",
    "growth_max",
    "shares",
];
const SHARES: [&str; 5] = ["request", "fetch", "replication", "coordination", "background"];

/// The most cores that a profile may name.
const CORES_MAX: usize = 1024;

type Key<'i> = Spanned<DeString<'i>>;
type Val<'i> = Spanned<DeValue<'i>>;

pub(super) fn profile(text: &str, file: &str) -> Result<Profile, BadProfile> {
    let at = At { text, file };
    let table = DeTable::parse(text).map_err(|e| {
        let start = e.span().map_or(0, |span| span.start);
        at.wrong(start, e.message().trim().replace('\n', ", "))
    })?;
    let mut profile = Profile::default();
    for (key, value) in table.get_ref().iter() {
        let name: &str = key.get_ref();
        match name {
            "cores" => match value.get_ref() {
                DeValue::String(word) if word == "all" => profile.cores = None,
                _ => profile.cores = Some(at.number(key, value, 1, CORES_MAX as u64)? as usize),
            },
            "memory" => profile.memory = at.memory(key, value)?,
            "core" => {
                for (key, value) in at.table(key, value)?.iter() {
                    if key.get_ref().bytes().all(|b| b.is_ascii_digit()) {
                        let number = key.get_ref().parse().ok().filter(|n| *n < CORES_MAX);
                        let number =
                            number.ok_or_else(|| at.wrong(key.span().start, "no such core".into()))?;
                        let mut own = CoreKeys::default();
                        for (key, value) in at.table(key, value)?.iter() {
                            at.core_key(&mut own, key, value, false)?;
                        }
                        profile.own.push((number, own));
                    } else {
                        at.core_key(&mut profile.core, key, value, true)?;
                    }
                }
            }
            _ => return Err(at.unknown(key, &TOP)),
        }
    }
    profile.own.sort_by_key(|(number, _)| *number);
    Ok(profile)
}

/// Where things stand in the file.
struct At<'a> {
    text: &'a str,
    file: &'a str,
}

impl At<'_> {
    fn wrong(&self, position: usize, what: String) -> BadProfile {
        let line = self.text.bytes().take(position).filter(|b| *b == b'\n').count() + 1;
        BadProfile(format!("{}, line {line}: {what}", self.file))
    }

    fn wrong_value(&self, key: &Key, value: &Val, allowed: &str) -> BadProfile {
        self.wrong(value.span().start, format!("'{}' is {allowed}", key.get_ref()))
    }

    fn unknown(&self, key: &Key, known: &[&'static str]) -> BadProfile {
        let meant = did_you_mean(key.get_ref(), known.iter().copied());
        let what =
            format!("there is no key '{}' here.{meant} The keys are: {}", key.get_ref(), known.join(", "));
        self.wrong(key.span().start, what)
    }

    fn table<'t, 'i>(&self, key: &Key, value: &'t Val<'i>) -> Result<&'t DeTable<'i>, BadProfile> {
        value.get_ref().as_table().ok_or_else(|| self.wrong_value(key, value, "a table: write it as [core]"))
    }

    fn number(&self, key: &Key, value: &Val, least: u64, most: u64) -> Result<u64, BadProfile> {
        let number = value.get_ref().as_integer();
        number
            .and_then(|number| u64::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok())
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| self.wrong_value(key, value, &format!("a whole number from {least} to {most}")))
    }

    fn flag(&self, key: &Key, value: &Val) -> Result<bool, BadProfile> {
        value.get_ref().as_bool().ok_or_else(|| self.wrong_value(key, value, "true or false"))
    }

    /// A size: a number of bytes, or text with a unit.
    fn size(&self, key: &Key, value: &Val) -> Result<usize, BadProfile> {
        let bytes = match value.get_ref() {
            DeValue::String(text) => size(text),
            DeValue::Integer(_) => self.number(key, value, 0, i64::MAX as u64).ok(),
            _ => None,
        };
        bytes
            .and_then(|bytes| usize::try_from(bytes).ok())
            .ok_or_else(|| self.wrong_value(key, value, "a size such as \"512MiB\", or a number of bytes"))
    }

    fn memory(&self, key: &Key, value: &Val) -> Result<Memory, BadProfile> {
        match value.get_ref() {
            DeValue::String(text) if text == "auto" => Ok(Memory::Auto),
            _ => match self.size(key, value) {
                Ok(bytes) => Ok(Memory::Bytes(bytes)),
                Err(_) => {
                    let allowed = "\"auto\", a size such as \"512MiB\", or a number of bytes";
                    Err(self.wrong_value(key, value, allowed))
                }
            },
        }
    }

    fn core_key(&self, keys: &mut CoreKeys, key: &Key, value: &Val, all: bool) -> Result<(), BadProfile> {
        match &**key.get_ref() {
            "cpu" if all => {
                return Err(
                    self.wrong(key.span().start, "'cpu' belongs to one core: write it in [core.0]".into())
                );
            }
            "cpu" => keys.cpu = Some(self.number(key, value, 0, 4095)? as usize),
            "partitions" => {
                keys.partitions = Some(match value.get_ref() {
                    DeValue::Boolean(yes) => u32::from(*yes),
                    _ => match self.number(key, value, 0, 1000) {
                        Ok(weight) => weight as u32,
                        Err(_) => {
                            let allowed = "true, false, or a weight from 0 to 1000 against other cores";
                            return Err(self.wrong_value(key, value, allowed));
                        }
                    },
                });
            }
            "connections" => keys.connections = Some(self.flag(key, value)?),
            "controller" => keys.controller = Some(self.flag(key, value)?),
            "admin" => keys.admin = Some(self.flag(key, value)?),
            "ring_depth" => {
                let depth = self.number(key, value, 16, 32768)?;
                if !depth.is_power_of_two() {
                    return Err(self.wrong_value(key, value, "a power of two from 16 to 32768"));
                }
                keys.ring_depth = Some(depth as u32);
            }
            "spin_before_park_us" => keys.spin_before_park_us = Some(self.number(key, value, 0, 1_000_000)?),
            "preempt_us" => keys.preempt_us = Some(self.number(key, value, 10, 100_000)?),
            "memory" => keys.memory = Some(self.memory(key, value)?),
            "cache" => keys.cache = Some(self.memory(key, value)?),
            "growth_min" => keys.growth_min = Some(self.blocks(key, value)?),
            "growth_max" => keys.growth_max = Some(self.blocks(key, value)?),
            "shares" => {
                for (key, value) in self.table(key, value)?.iter() {
                    let Some(class) = SHARES.iter().position(|class| class == key.get_ref()) else {
                        return Err(self.unknown(key, &SHARES));
                    };
                    keys.shares[class] = Some(self.number(key, value, 1, 1000)? as usize);
                }
            }
            _ => return Err(self.unknown(key, &CORE)),
        }
        Ok(())
    }

    /// A size in whole blocks.
    fn blocks(&self, key: &Key, value: &Val) -> Result<usize, BadProfile> {
        let bytes = self.size(key, value)?;
        if bytes == 0 || !bytes.is_multiple_of(crate::limits::BLOCK) || bytes > 1 << 30 {
            return Err(self.wrong_value(key, value, "a multiple of 4KiB, up to 1GiB"));
        }
        Ok(bytes)
    }
}

/// `512MiB`, `2 GiB`, `4096`.
fn size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let shift = match text[digits.len()..].trim() {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}
