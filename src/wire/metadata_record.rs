//! The records of the metadata log as they stand in its batches: frame version, kind and version, then the record.

use super::codec::{DecodeError, EncodeError, Reader, Reason, Writer};
use super::schema::{self, Message, Record};

/// The only layout of what stands before a record.
const FRAME_VERSION: u32 = 1;

macro_rules! metadata_records {
    ($($variant:ident($type:ident),)*) => {
        /// A record of the metadata log.
        #[derive(Clone, Debug, PartialEq)]
        pub enum MetadataRecord {$(
            #[doc = concat!("See [`schema::", stringify!($type), "`].")]
            $variant(schema::$type),
        )*}

        impl MetadataRecord {
            /// Kafka's name of the record.
            pub fn name(&self) -> &'static str {
                match self { $(MetadataRecord::$variant(_) => schema::$type::NAME,)* }
            }

            /// Reads the value of a metadata batch's record.
            pub fn decode(r: &mut Reader) -> Result<MetadataRecord, DecodeError> {
                let (key, version) = frame(r)?;
                let record = match key {
                    $(schema::$type::KEY => schema::$type::decode(r, version).map(MetadataRecord::$variant),)*
                    key => Err(r.fault(Reason::Unknown(key.into())).within("MetadataRecord")),
                }?;
                r.finish().map_err(|e| e.within(record.name()))?;
                Ok(record)
            }

            /// Writes the value of a metadata batch's record, in the highest version: that of `metadata.version`
            /// 4.2-IV1.
            pub fn encode(&self, w: &mut Writer) -> Result<(), EncodeError> {
                match self {$(
                    MetadataRecord::$variant(record) => {
                        let version = *schema::$type::versions().end();
                        w.put_uvarint(FRAME_VERSION);
                        w.put_uvarint(schema::$type::KEY as u32);
                        w.put_uvarint(version as u32);
                        record.encode(w, version)
                    }
                )*}
            }
        }

        $(impl From<schema::$type> for MetadataRecord {
            fn from(record: schema::$type) -> MetadataRecord {
                MetadataRecord::$variant(record)
            }
        })*
    };
}

metadata_records! {
    RegisterBroker(RegisterBrokerRecord),
    UnregisterBroker(UnregisterBrokerRecord),
    Topic(TopicRecord),
    Partition(PartitionRecord),
    Config(ConfigRecord),
    PartitionChange(PartitionChangeRecord),
    FenceBroker(FenceBrokerRecord),
    UnfenceBroker(UnfenceBrokerRecord),
    RemoveTopic(RemoveTopicRecord),
    DelegationToken(DelegationTokenRecord),
    UserScramCredential(UserScramCredentialRecord),
    FeatureLevel(FeatureLevelRecord),
    ClientQuota(ClientQuotaRecord),
    ProducerIds(ProducerIdsRecord),
    BrokerRegistrationChange(BrokerRegistrationChangeRecord),
    AccessControlEntry(AccessControlEntryRecord),
    RemoveAccessControlEntry(RemoveAccessControlEntryRecord),
    NoOp(NoOpRecord),
    ZkMigrationState(ZkMigrationStateRecord),
    RemoveUserScramCredential(RemoveUserScramCredentialRecord),
    BeginTransaction(BeginTransactionRecord),
    EndTransaction(EndTransactionRecord),
    AbortTransaction(AbortTransactionRecord),
    RemoveDelegationToken(RemoveDelegationTokenRecord),
    RegisterController(RegisterControllerRecord),
}

/// Reads what stands before a record: its kind and its version.
fn frame(r: &mut Reader) -> Result<(i16, i16), DecodeError> {
    let read = |r: &mut Reader| {
        match r.uvarint()? {
            FRAME_VERSION => {}
            other => return Err(r.fault(Reason::Unknown(other as i32))),
        }
        let mut number = || {
            let n = r.uvarint()?;
            i16::try_from(n).map_err(|_| r.fault(Reason::Unknown(n as i32)))
        };
        Ok((number()?, number()?))
    };
    read(r).map_err(|e: DecodeError| e.within("MetadataRecord"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::uuid::Uuid;

    fn bytes(record: &MetadataRecord) -> Vec<u8> {
        let mut w = Writer::new();
        record.encode(&mut w).unwrap();
        w.into_bytes().to_vec()
    }

    #[test]
    fn a_topic_record_has_kafkas_bytes() {
        let record: MetadataRecord = schema::TopicRecord { name: "foo".into(), topic_id: Uuid::ONE }.into();
        let mut expected = vec![1, 2, 0, 4];
        expected.extend_from_slice(b"foo");
        expected.extend_from_slice(&Uuid::ONE.0);
        expected.push(0);
        assert_eq!(bytes(&record), expected);
        assert_eq!(MetadataRecord::decode(&mut Reader::new(expected.into())).unwrap(), record);
    }

    #[test]
    fn the_owning_cores_travel_in_a_tagged_field_of_their_own() {
        let record: MetadataRecord =
            schema::PartitionRecord { replicas: vec![1, 2], cores: vec![3, 0], ..Default::default() }.into();
        let bytes = bytes(&record);
        assert_eq!(MetadataRecord::decode(&mut Reader::new(bytes.clone().into())).unwrap(), record);
        // Tag 10000, nine bytes: a compact list of two.
        assert!(bytes.ends_with(&[1, 0x90, 0x4e, 9, 3, 0, 0, 0, 3, 0, 0, 0, 0]));
    }

    #[test]
    fn an_unknown_frame_kind_or_version_and_trailing_bytes_are_refused() {
        for bad in
            [&[2u8, 2, 0][..], &[1, 100, 0], &[1, 2, 1], &[1, 20, 0, 0, 7], &[1, 0xff, 0xff, 0xff, 0x0f, 0]]
        {
            assert!(MetadataRecord::decode(&mut Reader::new(bad.to_vec().into())).is_err(), "{bad:?}");
        }
        assert!(MetadataRecord::decode(&mut Reader::new(vec![1, 20, 0, 0].into())).is_ok());
    }
}
