//! Record batches by chance: good ones, and such as are wrong in one place or two.

use bytes::Bytes;
use ottla::wire::batch::{BatchHeader, Compression, attributes};
use ottla::wire::codec::Writer;

use crate::generate::Chance;
use crate::link::now;

/// The time of most records.
pub const TIME: i64 = 1_700_000_000_000;
/// The ids of producers that nobody was given.
pub const PRODUCER: i64 = 7_000_000;

/// What may stand in a partition of a Produce request.
pub fn draw(chance: &mut Chance, why: &mut Vec<&'static str>) -> Option<Bytes> {
    match chance.below(60) {
        0 | 1 => told(why, "empty").map(|()| Bytes::new()),
        2 => {
            why.push("several");
            Some([one(chance, why), one(chance, why)].concat().into())
        }
        3 => told(why, "longer")
            .map(|()| [one(chance, why), vec![0; 1 + chance.below(30) as usize]].concat().into()),
        4 | 5 => told(why, "old").map(|()| message_set(chance).into()),
        6 => {
            why.push("cut");
            let mut batch = one(chance, why);
            batch.truncate(chance.below(batch.len() as u64) as usize);
            Some(batch.into())
        }
        7 => {
            why.push("bytes");
            let mut batch = one(chance, why);
            let at = chance.below(batch.len() as u64) as usize;
            batch[at] = chance.next() as u8;
            Some(batch.into())
        }
        _ => Some(one(chance, why).into()),
    }
}

fn told(why: &mut Vec<&'static str>, what: &'static str) -> Option<()> {
    why.push(what);
    Some(())
}

fn pick<T: Copy>(chance: &mut Chance, of: &[T]) -> T {
    of[chance.below(of.len() as u64) as usize]
}

/// One batch.
fn one(chance: &mut Chance, why: &mut Vec<&'static str>) -> Vec<u8> {
    let count = 1 + chance.below(4) as i32;
    let start = match chance.below(12) {
        0 => now(),
        1 => pick(chance, &[now() + 7_200_000, -1, 0, i64::MAX - 10, 4_000_000_000_000]),
        _ => TIME + chance.below(10) as i64,
    };
    let deltas: Vec<i64> = (0..count).map(|_| chance.below(6) as i64).collect();
    let wrong = if chance.one_in(2) { chance.below(26) } else { 100 };
    let payload = records(chance, &deltas, wrong, why);
    let compression = match chance.below(4) {
        0 => pick(chance, &Compression::ALL),
        _ => Compression::None,
    };
    let mut payload = compress(compression, &payload);
    if compression != Compression::None {
        why.push("compressed");
    }
    let mut header = BatchHeader {
        base_offset: 0,
        leader_epoch: pick(chance, &[-1, 0, 0, 7]),
        attributes: compression as i16,
        last_offset_delta: count - 1,
        base_timestamp: start,
        max_timestamp: start.saturating_add(*deltas.iter().max().unwrap()),
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        count,
    };
    if chance.one_in(3) {
        header.producer_id = PRODUCER + chance.below(2) as i64;
        header.producer_epoch = pick(chance, &[0, 0, 0, 1]);
        header.base_sequence = pick(chance, &[0, 0, count, 1, 2, 3, 4, 5, 6, i32::MAX, i32::MAX - 1]);
    }
    spoil(chance, &mut header, wrong, why);
    if wrong == 12 && compression != Compression::None {
        why.push("records");
        let at = chance.below(payload.len() as u64) as usize;
        payload[at] ^= 1 + chance.below(255) as u8;
    }
    let mut batch = header.write(&payload);
    spoil_bytes(chance, &mut batch, wrong, why);
    batch
}

/// Makes one field of a header wrong.
fn spoil(chance: &mut Chance, header: &mut BatchHeader, wrong: u64, why: &mut Vec<&'static str>) {
    let count = header.count;
    match wrong {
        0 => {
            why.push("base offset");
            header.base_offset = pick(chance, &[5, -5, 1, i64::MAX, i64::MIN]);
        }
        1 => {
            why.push("compression");
            header.attributes = header.attributes & !7 | pick(chance, &[5, 6, 7]);
        }
        2 => {
            why.push("records");
            header.attributes = header.attributes & !7 | chance.below(5) as i16;
        }
        3 => {
            why.push("append time");
            header.attributes |= attributes::LOG_APPEND_TIME;
        }
        4 => {
            why.push("transactional");
            header.attributes |= attributes::TRANSACTIONAL;
        }
        5 => {
            why.push("control");
            header.attributes |= attributes::CONTROL;
        }
        6 => {
            why.push("attributes");
            header.attributes |= pick(chance, &[attributes::DELETE_HORIZON, 1 << 7, 1 << 14, 0x7f80]);
        }
        7 => {
            why.push("last offset");
            header.last_offset_delta = pick(chance, &[-1, count, count - 2, i32::MAX, i32::MIN, 1000]);
        }
        8 => {
            why.push("count");
            header.count = pick(chance, &[-1, 0, count + 1, count - 1, i32::MAX, i32::MIN]);
        }
        9 => {
            why.push("records");
            header.count = pick(chance, &[0, -3, count + 1, count - 1, i32::MAX]);
            header.last_offset_delta = header.count - 1;
        }
        10 => {
            let is_compressed = header.attributes & attributes::COMPRESSION != 0;
            why.push(if is_compressed { "records" } else { "max timestamp" });
            let most = header.max_timestamp;
            header.max_timestamp = pick(
                chance,
                &[most.wrapping_add(1), most.wrapping_sub(1), -1, 0, 4_000_000_000_000, i64::MAX],
            );
        }
        11 => {
            why.push("records");
            header.base_timestamp = pick(chance, &[0, -1, TIME + 50, 4_000_000_000_000, i64::MIN, i64::MAX]);
        }
        13 | 14 => {
            why.push("producer");
            header.producer_id = pick(chance, &[-1, PRODUCER + 5, -2, i64::MIN, i64::MAX]);
            header.producer_epoch = pick(chance, &[-1, 0, -2, i16::MAX]);
            header.base_sequence = pick(chance, &[-1, 0, 1, -2, i32::MIN]);
        }
        _ => {}
    }
}

/// Makes something wrong that the checksum does not cover, or the checksum itself.
fn spoil_bytes(chance: &mut Chance, batch: &mut [u8], wrong: u64, why: &mut Vec<&'static str>) {
    let length = batch.len() as i32 - 12;
    match wrong {
        15 => {
            why.push("unreadable");
            let length = pick(chance, &[0, -1, 13, 48, 49, length - 1, length + 1, i32::MAX, i32::MIN]);
            batch[8..12].copy_from_slice(&length.to_be_bytes());
        }
        16 => {
            why.push("unreadable");
            batch[16] = pick(chance, &[0, 1, 3, 127, 255]);
        }
        17 => {
            why.push("checksum");
            batch[17 + chance.below(4) as usize] ^= 1 << chance.below(8);
        }
        _ => {}
    }
}

/// Records, of which one may be wrong.
fn records(chance: &mut Chance, deltas: &[i64], wrong: u64, why: &mut Vec<&'static str>) -> Vec<u8> {
    let mut all = Writer::new();
    let spoiled = chance.below(deltas.len() as u64) as usize;
    for (i, delta) in deltas.iter().enumerate() {
        let wrong = if i == spoiled { wrong } else { 100 };
        let mut w = Writer::new();
        w.put_i8(if wrong == 18 { 5 } else { 0 });
        w.put_varlong(*delta);
        w.put_varint(if wrong == 19 { pick(chance, &[7, -1, i32::MAX]) } else { i as i32 });
        let key = (!chance.one_in(4)).then(|| chance.below(3) as u8);
        match key {
            None => w.put_varint(-1),
            Some(key) => {
                w.put_varint(if wrong == 20 { pick(chance, &[-2, 1000, i32::MAX]) } else { 1 });
                w.put_slice(&[b'a' + key]);
            }
        }
        let length = if chance.one_in(10) { 300 } else { chance.below(12) };
        match chance.one_in(8) {
            true => w.put_varint(-1),
            false => {
                w.put_varint(length as i32);
                w.put_slice(&vec![b'v'; length as usize]);
            }
        }
        let headers = if chance.one_in(5) { 1 + chance.below(2) as i32 } else { 0 };
        w.put_varint(if wrong == 21 { pick(chance, &[-1, headers + 1, i32::MAX]) } else { headers });
        for _ in 0..headers {
            w.put_varint(if wrong == 22 { -1 } else { 1 });
            w.put_slice(b"h");
            w.put_varint(-1);
        }
        let body = w.into_bytes();
        let length = body.len() as i32;
        all.put_varint(if wrong == 23 {
            pick(chance, &[0, -1, length + 1, length - 1, i32::MAX])
        } else {
            length
        });
        all.put_slice(&body);
    }
    if wrong == 24 {
        all.put_slice(b"behind");
    }
    if (18..25).contains(&wrong) {
        why.push("records");
    }
    match wrong {
        25 => {
            why.push("records");
            let length = chance.below(60) as usize;
            chance.bytes(length)
        }
        _ => all.into_bytes().to_vec(),
    }
}

fn compress(compression: Compression, records: &[u8]) -> Vec<u8> {
    match compression {
        Compression::None => records.to_vec(),
        compression => compression.compress(records).unwrap(),
    }
}

/// Messages of the time before batches, with a right checksum or a wrong one.
fn message_set(chance: &mut Chance) -> Vec<u8> {
    let magic = chance.below(2) as u8;
    let timestamp: &[u8] = if magic == 1 { &[0; 8] } else { &[] };
    let codec = pick(chance, &[0, 0, 1, 2, 3]);
    let body = [&[magic, codec][..], timestamp, &[0xff; 4], b"\0\0\0\x05value"].concat();
    let mut crc = flate2::Crc::new();
    crc.update(&body);
    let sum = crc.sum() ^ u32::from(chance.one_in(4));
    let message = [&sum.to_be_bytes()[..], &body].concat();
    [&[0; 8][..], &(message.len() as i32).to_be_bytes(), &message].concat()
}
