//! Record batches that are built once and sent many times, and the requests that carry them.
//!
//! A batch's base offset and leader epoch lie outside its CRC and are the broker's to set, so the same bytes can be
//! sent again and again. An idempotent producer's sequence lies inside; it is patched in the batch's header, and
//! the CRC of the header is joined with that of the records, which does not change.

use std::io::IoSlice;
use std::ops::Range;

use bytes::Bytes;

use super::super::client::CLIENT_ID;
use crate::wire::api::ApiKey;
use crate::wire::batch::{Batch, HEADER};

const CRC_AT: usize = 17;
const CRC_FROM: usize = 21;
const PRODUCER_AT: usize = 43;
const SEQUENCE_AT: usize = 53;

/// What a stamped record's value starts with: eight bytes of nanoseconds since the run began.
pub const STAMP: usize = 8;

/// The lowest and highest version of Produce in the form that is written here.
pub const PRODUCE_VERSIONS: (i16, i16) = (9, 12);

/// A batch, ready to be sent to one partition.
#[derive(Clone, Debug)]
pub struct Template {
    header: [u8; HEADER],
    records: Bytes,
    records_crc: u32,
    /// How many records it holds.
    pub count: u32,
    /// Where in `records` the stamp of the only record is.
    stamp_at: Option<usize>,
}

/// What is patched into a template before it is sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patch {
    /// Producer id, epoch and base sequence.
    pub idempotent: Option<(i64, i16, i32)>,
    /// The time to stamp the record with, and the timestamp to give it.
    pub stamp: Option<(u64, i64)>,
}

impl Template {
    /// Takes a batch apart. With `stamped` it holds one record, without headers, whose value of `value` bytes
    /// begins with a stamp.
    pub fn new(batch: &Bytes, stamped: Option<usize>) -> Template {
        let header: [u8; HEADER] = batch[..HEADER].try_into().expect("a batch is longer than its header");
        let records = batch.slice(HEADER..);
        let count = Batch::first(batch).expect("the bench makes whole batches").count() as u32;
        assert!(stamped.is_none() || count == 1, "a stamped batch has one record");
        Template {
            header,
            records_crc: crc32c::crc32c(&records),
            count,
            // The value is followed by the number of headers, one byte.
            stamp_at: stamped.map(|value| records.len() - 1 - value),
            records,
        }
    }

    /// The length of the whole batch.
    pub fn len(&self) -> usize {
        HEADER + self.records.len()
    }

    fn patched_header(&self, patch: &Patch, records_crc: u32) -> [u8; HEADER] {
        let mut header = self.header;
        if let Some((_, timestamp)) = patch.stamp {
            header[27..35].copy_from_slice(&timestamp.to_be_bytes());
            header[35..43].copy_from_slice(&timestamp.to_be_bytes());
        }
        if let Some((id, epoch, sequence)) = patch.idempotent {
            header[PRODUCER_AT..PRODUCER_AT + 8].copy_from_slice(&id.to_be_bytes());
            header[PRODUCER_AT + 8..SEQUENCE_AT].copy_from_slice(&epoch.to_be_bytes());
            header[SEQUENCE_AT..SEQUENCE_AT + 4].copy_from_slice(&sequence.to_be_bytes());
        }
        let crc =
            crc32c::crc32c_combine(crc32c::crc32c(&header[CRC_FROM..]), records_crc, self.records.len());
        header[CRC_AT..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
        header
    }

    /// Writes the batch's beginning into `meta`; gives the records that follow it, if they are sent as they are.
    fn write(&self, patch: &Patch, meta: &mut Vec<u8>) -> Option<Bytes> {
        let (Some((nanos, _)), Some(at)) = (patch.stamp, self.stamp_at) else {
            let unchanged = patch.idempotent.is_none();
            let header = if unchanged { self.header } else { self.patched_header(patch, self.records_crc) };
            meta.extend(header);
            return Some(self.records.clone());
        };
        let mut records = self.records.to_vec();
        records[at..at + STAMP].copy_from_slice(&nanos.to_be_bytes());
        meta.extend(self.patched_header(patch, crc32c::crc32c(&records)));
        meta.extend(records);
        None
    }
}

/// The parts of a Produce request that stay the same.
#[derive(Clone, Debug)]
pub struct RequestForm {
    /// Produce's version, within [`PRODUCE_VERSIONS`].
    pub version: i16,
    /// Who must have it before the broker answers: -1 all, 1 the leader, 0 no answer.
    pub acks: i16,
    /// How long the broker may wait for the replicas.
    pub timeout_ms: i32,
    /// The topic's name.
    pub topic: String,
}

/// A request on its way into a socket.
#[derive(Debug)]
pub struct Outgoing {
    meta: Vec<u8>,
    parts: Vec<Part>,
    len: usize,
    sent: usize,
}

#[derive(Debug)]
enum Part {
    Meta(Range<usize>),
    Records(Bytes),
}

impl RequestForm {
    /// Puts together a request with one batch for each of some partitions.
    pub fn assemble<'a>(
        &self,
        correlation: i32,
        batches: impl ExactSizeIterator<Item = (i32, &'a Template, Patch)>,
    ) -> Outgoing {
        let mut meta = Vec::with_capacity(128 + batches.len() * (HEADER + 16));
        meta.extend([0; 4]);
        meta.extend(ApiKey::Produce.number().to_be_bytes());
        meta.extend(self.version.to_be_bytes());
        meta.extend(correlation.to_be_bytes());
        meta.extend((CLIENT_ID.len() as i16).to_be_bytes());
        meta.extend(CLIENT_ID.as_bytes());
        meta.push(0); // no tagged fields in the header
        meta.push(0); // no transactional id
        meta.extend(self.acks.to_be_bytes());
        meta.extend(self.timeout_ms.to_be_bytes());
        put_uvarint(&mut meta, 2); // one topic
        put_uvarint(&mut meta, self.topic.len() + 1);
        meta.extend(self.topic.as_bytes());
        put_uvarint(&mut meta, batches.len() + 1);
        let mut out = Outgoing { meta, parts: Vec::with_capacity(batches.len() * 2 + 1), len: 0, sent: 0 };
        let mut cut = 0;
        for (partition, template, patch) in batches {
            out.meta.extend(partition.to_be_bytes());
            put_uvarint(&mut out.meta, template.len() + 1);
            if let Some(records) = template.write(&patch, &mut out.meta) {
                out.parts.push(Part::Meta(cut..out.meta.len()));
                cut = out.meta.len();
                out.len += records.len();
                out.parts.push(Part::Records(records));
            }
            out.meta.push(0); // no tagged fields in the partition
        }
        out.meta.extend([0, 0]); // nor in the topic and the request
        out.parts.push(Part::Meta(cut..out.meta.len()));
        out.len += out.meta.len();
        let size = (out.len - 4) as i32;
        out.meta[..4].copy_from_slice(&size.to_be_bytes());
        out
    }
}

impl Outgoing {
    /// What is left to send.
    pub fn slices(&self) -> Vec<IoSlice<'_>> {
        let mut skip = self.sent;
        let mut slices = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            let bytes = match part {
                Part::Meta(range) => &self.meta[range.clone()],
                Part::Records(records) => records,
            };
            if skip < bytes.len() {
                slices.push(IoSlice::new(&bytes[skip..]));
            }
            skip = skip.saturating_sub(bytes.len());
        }
        slices
    }

    /// Notes that so many bytes were sent; says whether that was all.
    pub fn advance(&mut self, bytes: usize) -> bool {
        self.sent += bytes;
        assert!(self.sent <= self.len, "no more is sent than there is");
        self.sent == self.len
    }
}

fn put_uvarint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::api::RequestHeader;
    use crate::wire::batch::BatchBuilder;
    use crate::wire::codec::Reader;
    use crate::wire::schema::ProduceRequest;

    const FORM: &str = "bench";

    fn template(records: usize, stamped: Option<usize>) -> Template {
        let mut builder = BatchBuilder::new();
        for n in 0..records {
            builder.append(1000, Some(b"key"), Some(format!("a value of many bytes {n:04}").as_bytes()), &[]);
        }
        Template::new(&builder.build().unwrap().into(), stamped)
    }

    fn sent(version: i16, acks: i16, batches: &[(i32, &Template, Patch)]) -> (RequestHeader, ProduceRequest) {
        let form = RequestForm { version, acks, timeout_ms: 1234, topic: FORM.into() };
        let mut outgoing = form.assemble(77, batches.iter().copied());
        let mut bytes = Vec::new();
        // In pieces, as a socket takes them.
        loop {
            let piece: Vec<u8> = outgoing.slices().iter().flat_map(|s| s.to_vec()).take(13).collect();
            bytes.extend(&piece);
            if outgoing.advance(piece.len()) {
                break;
            }
        }
        let size = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
        assert_eq!(size, bytes.len() - 4);
        let mut reader = Reader::new(Bytes::from(bytes).slice(4..));
        let header = RequestHeader::decode(&mut reader).unwrap();
        let request = ProduceRequest::decode(&mut reader, header.version).unwrap();
        reader.finish().unwrap();
        (header, request)
    }

    #[test]
    fn requests_are_what_the_protocol_says() {
        let (one, other) = (template(3, None), template(200, None));
        for version in PRODUCE_VERSIONS.0..=PRODUCE_VERSIONS.1 {
            let batches = [(0, &one, Patch::default()), (7, &other, Patch::default())];
            let (header, request) = sent(version, -1, &batches);
            assert_eq!((header.api, header.version, header.correlation_id), (ApiKey::Produce, version, 77));
            assert_eq!((request.acks, request.timeout_ms), (-1, 1234));
            let topic = &request.topic_data[0];
            assert_eq!(topic.name, FORM);
            let sizes: Vec<_> = topic.partition_data.iter().map(|p| p.index).collect();
            assert_eq!(sizes, [0, 7]);
            for (p, count) in topic.partition_data.iter().zip([3, 200]) {
                let records = p.records.clone().unwrap();
                let batch = Batch::first(&records).unwrap();
                batch.check_from_client().unwrap();
                assert_eq!((batch.count(), batch.bytes().len()), (count, records.len()));
            }
        }
    }

    #[test]
    fn a_patched_sequence_keeps_the_crc_right() {
        let template = template(50, None);
        for sequence in [0, 50, i32::MAX - 3] {
            let patch = Patch { idempotent: Some((4711, 3, sequence)), stamp: None };
            let (_, request) = sent(9, -1, &[(0, &template, patch)]);
            let records = request.topic_data[0].partition_data[0].records.clone().unwrap();
            let batch = Batch::first(&records).unwrap();
            batch.check_from_client().unwrap();
            assert_eq!((batch.producer_id(), batch.producer_epoch()), (4711, 3));
            assert_eq!(batch.base_sequence(), sequence);
        }
    }

    #[test]
    fn a_stamp_is_the_values_beginning() {
        let value = "a value of many bytes 0000".len();
        let template = template(1, Some(value));
        let patch = Patch { idempotent: None, stamp: Some((0x0102_0304_0506_0708, 1_700_000_000_000)) };
        let (_, request) = sent(9, 1, &[(2, &template, patch)]);
        let records = request.topic_data[0].partition_data[0].records.clone().unwrap();
        let batch = Batch::first(&records).unwrap();
        batch.check_from_client().unwrap();
        let set = batch.open(1000).unwrap();
        let record = set.iter().next().unwrap().unwrap();
        assert_eq!(record.value.unwrap()[..STAMP], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(record.value.unwrap()[STAMP..], b"a value of many bytes 0000"[STAMP..]);
        assert_eq!((record.timestamp, batch.max_timestamp()), (1_700_000_000_000, 1_700_000_000_000));
        // Where a consumer of the bench looks for it.
        let bytes = batch.bytes();
        assert_eq!(bytes[bytes.len() - 1 - value..][..STAMP], [1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
