//! How a coordinator's records stand in the batches of its log.

use bytes::Bytes;

use crate::broker::messages::ShardReply;
use crate::coordinator::records::{Form, Producer, Record};
use crate::coordinator::runtime::Machine;
use crate::coordinator::transaction::{self, Transactions};
use crate::coordinator::{Groups, Reply};
use crate::wire::batch::{Batch, BatchBuilder, BatchError, control_key};
use crate::wire::codec::{Reader, Writer};
use crate::wire::schema::{EndTxnMarker, Message};

/// Bytes that the records of one batch may have when read.
const BATCH_MAX: usize = 64 << 20;
/// The keys of control records: what they do to the transaction.
const ABORT: i16 = 0;
const COMMIT: i16 = 1;

/// A machine whose records stand in a log.
pub trait Journal: Machine + 'static {
    /// What it coordinates, for messages to a person.
    const WHAT: &'static str;

    /// A batch.
    fn write(form: &Self::Form, records: &[Self::Record], now_ms: i64) -> Result<Bytes, String>;
    /// Hands each record of a batch to `load`, and passes over what is of a kind that is not known here.
    fn read(batch: &Batch<'_>, load: &mut dyn FnMut(&Self::Form, &Self::Record)) -> Result<(), String>;
    /// What a shard answers with.
    fn answer(reply: Self::Reply) -> ShardReply;
}

impl Journal for Groups {
    const WHAT: &'static str = "consumer groups";

    fn write(form: &Form, records: &[Record], now_ms: i64) -> Result<Bytes, String> {
        let mut builder = match form {
            Form::Plain => BatchBuilder::new(),
            Form::Transactional(p) => BatchBuilder::new().producer(p.id, p.epoch, -1).transactional(),
            Form::Marker(p) => BatchBuilder::new().producer(p.id, p.epoch, -1).transactional().control(),
        };
        for record in records {
            match record {
                Record::EndTransaction { commit, coordinator_epoch } => {
                    let kind = if *commit { COMMIT } else { ABORT };
                    let value = marker(*coordinator_epoch)?;
                    builder.append(now_ms, Some(&control_key(kind)), Some(&value), &[]);
                }
                record => {
                    let (key, value) = record.encode().map_err(|error| error.to_string())?;
                    builder.append(now_ms, Some(&key), value.as_deref(), &[]);
                }
            }
        }
        builder.build().map(Bytes::from).map_err(|error| error.to_string())
    }

    fn read(batch: &Batch<'_>, load: &mut dyn FnMut(&Form, &Record)) -> Result<(), String> {
        let producer = Producer { id: batch.producer_id(), epoch: batch.producer_epoch() };
        let form = match (batch.is_control(), batch.is_transactional()) {
            (true, _) => Form::Marker(producer),
            (false, true) => Form::Transactional(producer),
            (false, false) => Form::Plain,
        };
        each_record(batch, |key, value| {
            let read = match form {
                Form::Marker(_) => read_marker(key, value)?,
                _ => read_record(key, value)?,
            };
            read.iter().for_each(|record| load(&form, record));
            Ok(())
        })
    }

    fn answer(reply: Reply) -> ShardReply {
        ShardReply::Group(Box::new(reply))
    }
}

impl Journal for Transactions {
    const WHAT: &'static str = "transactions";

    fn write((): &(), records: &[transaction::Record], now_ms: i64) -> Result<Bytes, String> {
        let mut builder = BatchBuilder::new();
        for record in records {
            let (key, value) = record.encode().map_err(|error| error.to_string())?;
            builder.append(now_ms, Some(&key), value.as_deref(), &[]);
        }
        builder.build().map(Bytes::from).map_err(|error| error.to_string())
    }

    fn read(batch: &Batch<'_>, load: &mut dyn FnMut(&(), &transaction::Record)) -> Result<(), String> {
        if batch.is_control() {
            return Ok(());
        }
        each_record(batch, |key, value| {
            let (key, value) = owned(key, value)?;
            let read = transaction::Record::decode(key, value).map_err(|error| error.to_string())?;
            read.iter().for_each(|record| load(&(), record));
            Ok(())
        })
    }

    fn answer(reply: transaction::Reply) -> ShardReply {
        ShardReply::Transaction(Box::new(reply))
    }
}

/// Reads every record of a batch; an error names its place.
fn each_record(
    batch: &Batch<'_>,
    mut read: impl FnMut(Option<&[u8]>, Option<&[u8]>) -> Result<(), String>,
) -> Result<(), String> {
    let at = |error: BatchError| format!("in the batch at offset {}: {error}", batch.base_offset());
    for record in batch.open(BATCH_MAX).map_err(at)?.iter() {
        let record = record.map_err(at)?;
        read(record.key, record.value)
            .map_err(|why| format!("the record at offset {}: {why}", record.offset))?;
    }
    Ok(())
}

/// Key and value, copied: what is kept of them must not keep the window of the file that they were read with.
fn owned(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<(Bytes, Option<Bytes>), String> {
    let key = key.ok_or("it has no key")?;
    Ok((Bytes::copy_from_slice(key), value.map(Bytes::copy_from_slice)))
}

fn marker(coordinator_epoch: i32) -> Result<Bytes, String> {
    let (version, mut w) = (*EndTxnMarker::versions().end(), Writer::new());
    w.put_i16(version);
    EndTxnMarker { coordinator_epoch }.encode(&mut w, version).map_err(|error| error.to_string())?;
    Ok(w.into_bytes())
}

fn read_record(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Option<Record>, String> {
    let (key, value) = owned(key, value)?;
    Record::decode(key, value).map_err(|error| error.to_string())
}

fn read_marker(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Option<Record>, String> {
    let Some([_, _, high, low]) = key else { return Err("a control record with an impossible key".into()) };
    let commit = match i16::from_be_bytes([*high, *low]) {
        ABORT => false,
        COMMIT => true,
        _ => return Ok(None),
    };
    let mut reader = Reader::new(Bytes::copy_from_slice(value.unwrap_or_default()));
    let marker = reader.i16().and_then(|version| EndTxnMarker::decode(&mut reader, version));
    let EndTxnMarker { coordinator_epoch } = marker.map_err(|error| error.to_string())?;
    Ok(Some(Record::EndTransaction { commit, coordinator_epoch }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::schema::{OffsetCommitKey, OffsetCommitValue};

    fn again(form: &Form, records: &[Record]) -> Vec<(Form, Record)> {
        let bytes = Groups::write(form, records, 7).unwrap();
        let mut read = Vec::new();
        let load = &mut |form: &Form, record: &Record| read.push((*form, record.clone()));
        Groups::read(&Batch::first(&bytes).unwrap(), load).unwrap();
        read
    }

    #[test]
    fn batches_of_every_form_come_back() {
        let key = OffsetCommitKey { group: "g".into(), topic: "t".into(), partition: 2 };
        let offset = Record::Offset(key.clone(), Some(OffsetCommitValue { offset: 5, ..Default::default() }));
        let gone = Record::Offset(key, None);
        let end = Record::EndTransaction { commit: true, coordinator_epoch: 3 };
        let producer = Producer { id: 9, epoch: 1 };
        for (form, records) in [
            (Form::Plain, vec![offset.clone(), gone]),
            (Form::Transactional(producer), vec![offset]),
            (Form::Marker(producer), vec![end]),
        ] {
            let expected: Vec<_> = records.iter().map(|record| (form, record.clone())).collect();
            assert_eq!(again(&form, &records), expected);
        }
    }

    #[test]
    fn a_damaged_record_is_told_with_its_place() {
        let mut builder = BatchBuilder::new().base_offset(40);
        builder.append(0, Some(&[0, 1, 0]), None, &[]);
        let bytes = builder.build().unwrap();
        let told = Groups::read(&Batch::first(&bytes).unwrap(), &mut |_, _| ());
        assert!(told.as_ref().is_err_and(|why| why.contains("offset 40")), "{told:?}");
        let mut builder = BatchBuilder::new();
        builder.append(0, None, Some(b"x"), &[]);
        let bytes = builder.build().unwrap();
        assert!(Groups::read(&Batch::first(&bytes).unwrap(), &mut |_, _| ()).is_err());
    }
}
