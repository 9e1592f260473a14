//! Messages by chance, written from the table's description of their fields and not with its codecs.

use ottla::wire::codec::Writer;
use ottla::wire::schema::{Entry, Field, Kind};
use ottla::wire::uuid::Uuid;

/// Numbers by chance, the same in every run (splitmix64).
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// Every message of the table in every version.
pub fn all_versions() -> impl Iterator<Item = (Entry, i16)> {
    ottla::wire::schema::all()
        .flat_map(|entry| (entry.versions.0..=entry.versions.1).map(move |v| (entry, v)))
}

/// A message of this version.
pub fn message(entry: &Entry, version: i16, chance: &mut Chance) -> Vec<u8> {
    let mut w = Writer::new();
    let flexible = version >= entry.flexible;
    structure(entry.fields, version, flexible, chance, &mut w);
    w.into_bytes().to_vec()
}

fn structure(fields: &[Field], version: i16, flexible: bool, chance: &mut Chance, w: &mut Writer) {
    for field in fields.iter().filter(|f| f.tag.is_none() && (f.present)(version)) {
        nullable(field, version, flexible, chance, w);
    }
    if flexible {
        let present = fields.iter().filter(|f| f.tag.is_some() && (f.present)(version));
        let tagged: Vec<&Field> = present.filter(|_| !chance.one_in(4)).collect();
        w.put_uvarint(tagged.len() as u32);
        for field in tagged {
            let write = |w: &mut Writer| {
                nullable(field, version, flexible, chance, w);
                Ok(())
            };
            w.put_tagged(field.tag.unwrap(), write).unwrap();
        }
    }
}

fn nullable(field: &Field, version: i16, flexible: bool, chance: &mut Chance, w: &mut Writer) {
    let may = (field.nullable)(version);
    let null = may && chance.one_in(5);
    match (field.kind, null) {
        (Kind::String, true) => w.put_nullable_string(None, flexible).unwrap(),
        (Kind::Bytes | Kind::Records | Kind::List(_), true) => w.put_length(None, flexible).unwrap(),
        (Kind::Struct(_), true) => w.put_i8(-1),
        (_, true) => unreachable!("{} cannot be null", field.name),
        (Kind::Struct(_), false) if may => {
            w.put_i8(1);
            value(field.kind, version, flexible, chance, w);
        }
        (_, false) => value(field.kind, version, flexible, chance, w),
    }
}

fn value(kind: Kind, version: i16, flexible: bool, chance: &mut Chance, w: &mut Writer) {
    match kind {
        Kind::Bool => w.put_bool(chance.one_in(2)),
        Kind::I8 => w.put_i8(chance.next() as i8),
        Kind::I16 => w.put_i16(chance.next() as i16),
        Kind::U16 => w.put_u16(chance.next() as u16),
        Kind::I32 => w.put_i32(chance.next() as i32),
        Kind::U32 => w.put_u32(chance.next() as u32),
        Kind::I64 => w.put_i64(chance.next() as i64),
        Kind::F64 => w.put_f64(chance.below(1000) as f64 / 8.0),
        Kind::Uuid => w.put_uuid(Uuid(chance.bytes(16).try_into().unwrap())),
        Kind::String => {
            let len = if chance.one_in(40) { 130 + chance.below(200) } else { 1 + chance.below(12) };
            let letters = ['a', 'Z', '0', '-', '.', '/', 'é', 'ß', '中', '🪳'];
            let text: String =
                (0..len).map(|_| letters[chance.below(letters.len() as u64) as usize]).collect();
            w.put_nullable_string(Some(&text), flexible).unwrap();
        }
        Kind::Bytes | Kind::Records => {
            let len = if chance.one_in(20) { 130 + chance.below(3000) } else { chance.below(20) };
            let bytes = chance.bytes(len as usize);
            w.put_nullable_bytes(Some(&bytes.into()), flexible).unwrap();
        }
        Kind::List(element) => {
            let count = chance.below(4);
            w.put_length(Some(count as usize), flexible).unwrap();
            (0..count).for_each(|_| value(*element, version, flexible, chance, w));
        }
        Kind::Struct(fields) => structure(fields, version, flexible, chance, w),
    }
}
