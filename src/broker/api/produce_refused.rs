//! Produce in the versions that are told of but not served: 0 to 2, with record formats of long ago.
//!
//! librdkafka compresses only where version 0 is told of, and old clients that do not ask may use it. They get
//! UNSUPPORTED_VERSION for each partition, in a response that they can read.

use super::Asked;
use crate::broker::connection::{Answer, Ended, Outcome, Reply};
use crate::limits::PRODUCE_ELEMENTS;
use crate::wire::codec::{DecodeError, EncodeError, Reader, Writer};
use crate::wire::error::ErrorCode;

/// Refuses each partition of the request.
pub fn order(mut asked: Asked) -> Result<Answer, Ended> {
    let version = asked.version;
    asked.body().allow_elements(PRODUCE_ELEMENTS);
    let old = read(asked.body()).map_err(|e| asked.malformed(&e))?;
    if old.acks == 0 {
        return Err(Ended::because(format!(
            "its Produce request is of version {version}; versions 3 to 13 are served here"
        )));
    }
    let reply = write(&old, version, asked.correlation_id())
        .map_err(|e| Ended::because(format!("its Produce request cannot be answered: {e}")))?;
    Ok(Box::pin(async { Ok(Outcome::Reply(reply)) }))
}

/// What the answer to an old request repeats of it.
#[derive(Debug, PartialEq)]
struct Old {
    acks: i16,
    topics: Vec<(String, Vec<i32>)>,
}

fn read(r: &mut Reader) -> Result<Old, DecodeError> {
    let acks = r.i16()?;
    r.skip(4)?;
    let mut topics = Vec::new();
    for _ in 0..r.elements(false, 6)?.unwrap_or(0) {
        let name = r.string(false)?;
        let mut partitions = Vec::new();
        for _ in 0..r.elements(false, 8)?.unwrap_or(0) {
            partitions.push(r.i32()?);
            r.nullable_bytes(false)?;
        }
        topics.push((name, partitions));
    }
    Ok(Old { acks, topics })
}

fn write(old: &Old, version: i16, correlation_id: i32) -> Result<Reply, EncodeError> {
    let mut w = Writer::new();
    w.put_i32(correlation_id);
    w.put_length(Some(old.topics.len()), false)?;
    for (name, partitions) in &old.topics {
        w.put_nullable_string(Some(name), false)?;
        w.put_length(Some(partitions.len()), false)?;
        for partition in partitions {
            w.put_i32(*partition);
            w.put_i16(ErrorCode::UNSUPPORTED_VERSION.0);
            w.put_i64(-1);
            if version >= 2 {
                w.put_i64(-1);
            }
        }
    }
    if version >= 1 {
        w.put_i32(0);
    }
    let mut frame = Writer::new();
    frame.put_length(Some(w.len()), false)?;
    frame.put_slice(&w.into_bytes());
    Ok(frame.into_slices().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    /// A request of version 0: acks 1, a timeout, one topic with partitions 3 and 4.
    const REQUEST: &[u8] = b"\0\x01\0\0\x03\xe8\0\0\0\x01\0\x02ab\0\0\0\x02\
        \0\0\0\x03\0\0\0\x02xy\0\0\0\x04\xff\xff\xff\xff";

    #[test]
    fn each_partition_is_refused_in_its_version() {
        let old = read(&mut Reader::new(Bytes::from_static(REQUEST))).unwrap();
        assert_eq!(old, Old { acks: 1, topics: vec![("ab".to_string(), vec![3, 4])] });
        for (version, part, end) in [(0, 14, 0), (1, 14, 4), (2, 22, 4)] {
            let frame = write(&old, version, 9).unwrap().slices.concat();
            assert_eq!(frame.len(), 4 + 4 + 4 + 4 + 4 + 2 * part + end, "version {version}");
            assert_eq!(frame[..4], ((frame.len() - 4) as i32).to_be_bytes());
            assert_eq!(frame[4..20], *b"\0\0\0\x09\0\0\0\x01\0\x02ab\0\0\0\x02");
            assert_eq!(frame[20..26], *b"\0\0\0\x03\0\x23");
        }
    }

    #[test]
    fn a_cut_request_is_malformed() {
        for end in 0..REQUEST.len() {
            assert!(read(&mut Reader::new(Bytes::from_static(&REQUEST[..end]))).is_err(), "{end}");
        }
    }
}
