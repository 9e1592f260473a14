//! The records of the metadata log.

use bytes::Bytes;

use crate::wire::uuid::Uuid;

messages! {
    /// A broker registered.
    ///
    /// Ottla adds `core_weights`: how much of the partitions each of its cores takes against the others.
    record RegisterBrokerRecord(key 0, versions 0..=3, flexible 0..) {
        broker_id: i32, ..;
        is_migrating_zk_broker: bool, 2..;
        incarnation_id: Uuid, ..;
        broker_epoch: i64, ..;
        end_points: Vec<BrokerEndpoint>, ..;
        features: Vec<BrokerFeature>, ..;
        rack: Option<String>, .., null ..;
        fenced: bool, .., default true;
        in_controlled_shutdown: bool, 1..;
        log_dirs: Vec<Uuid>, 3.., tag 0;
        core_weights: Vec<i32>, .., tag 10000;
    }

    part BrokerEndpoint(RegisterBrokerRecord) {
        name: String, ..;
        host: String, ..;
        port: u16, ..;
        security_protocol: i16, ..;
    }

    part BrokerFeature(RegisterBrokerRecord) {
        name: String, ..;
        min_supported_version: i16, ..;
        max_supported_version: i16, ..;
    }

    /// A broker was removed.
    record UnregisterBrokerRecord(key 1, versions 0..=0, flexible 0..) {
        broker_id: i32, ..;
        broker_epoch: i64, ..;
    }

    /// A topic was created.
    record TopicRecord(key 2, versions 0..=0, flexible 0..) {
        name: String, ..;
        topic_id: Uuid, ..;
    }

    /// A partition was created, with its state.
    ///
    /// Ottla adds `cores`: which core of each replica's broker owns the partition, in the order of `replicas`; and
    /// in snapshots `revision`: the offset at which the partition was created.
    record PartitionRecord(key 3, versions 0..=2, flexible 0..) {
        partition_id: i32, .., default -1;
        topic_id: Uuid, ..;
        replicas: Vec<i32>, ..;
        isr: Vec<i32>, ..;
        removing_replicas: Vec<i32>, ..;
        adding_replicas: Vec<i32>, ..;
        leader: i32, .., default -1;
        leader_epoch: i32, .., default -1;
        partition_epoch: i32, .., default -1;
        directories: Vec<Uuid>, 1..;
        leader_recovery_state: i8, .., tag 0;
        eligible_leader_replicas: Option<Vec<i32>>, 2.., null .., tag 1;
        last_known_elr: Option<Vec<i32>>, 2.., null .., tag 2;
        cores: Vec<i32>, .., tag 10000;
        revision: i64, .., default -1, tag 10001;
    }

    /// A setting was set, or deleted where the value is null.
    record ConfigRecord(key 4, versions 0..=0, flexible 0..) {
        resource_type: i8, ..;
        resource_name: String, ..;
        name: String, ..;
        value: Option<String>, .., null ..;
    }

    /// A partition's state changed; what is absent stays.
    ///
    /// Ottla adds `cores`, as in [`PartitionRecord`].
    record PartitionChangeRecord(key 5, versions 0..=2, flexible 0..) {
        partition_id: i32, .., default -1;
        topic_id: Uuid, ..;
        isr: Option<Vec<i32>>, .., null .., tag 0;
        leader: i32, .., default -2, tag 1;
        replicas: Option<Vec<i32>>, .., null .., tag 2;
        removing_replicas: Option<Vec<i32>>, .., null .., tag 3;
        adding_replicas: Option<Vec<i32>>, .., null .., tag 4;
        leader_recovery_state: i8, .., default -1, tag 5;
        eligible_leader_replicas: Option<Vec<i32>>, 2.., null .., tag 6;
        last_known_elr: Option<Vec<i32>>, 2.., null .., tag 7;
        directories: Option<Vec<Uuid>>, 1.., null .., tag 8;
        cores: Option<Vec<i32>>, .., null .., tag 10000;
    }

    /// An access control entry was created.
    record AccessControlEntryRecord(key 18, versions 0..=0, flexible 0..) {
        id: Uuid, ..;
        resource_type: i8, ..;
        resource_name: String, ..;
        pattern_type: i8, ..;
        principal: String, ..;
        host: String, ..;
        operation: i8, ..;
        permission_type: i8, ..;
    }

    /// A broker was fenced, in the form of old versions.
    record FenceBrokerRecord(key 7, versions 0..=0, flexible 0..) {
        id: i32, ..;
        epoch: i64, ..;
    }

    /// A broker was unfenced, in the form of old versions.
    record UnfenceBrokerRecord(key 8, versions 0..=0, flexible 0..) {
        id: i32, ..;
        epoch: i64, ..;
    }

    /// A topic and its partitions were deleted.
    record RemoveTopicRecord(key 9, versions 0..=0, flexible 0..) {
        topic_id: Uuid, ..;
    }

    /// A delegation token was created or renewed.
    record DelegationTokenRecord(key 10, versions 0..=0, flexible 0..) {
        owner: String, ..;
        requester: String, ..;
        renewers: Vec<String>, ..;
        issue_timestamp: i64, ..;
        max_timestamp: i64, ..;
        expiration_timestamp: i64, ..;
        token_id: String, ..;
    }

    /// A SCRAM credential was set.
    record UserScramCredentialRecord(key 11, versions 0..=0, flexible 0..) {
        name: String, ..;
        mechanism: i8, ..;
        salt: Bytes, ..;
        stored_key: Bytes, ..;
        server_key: Bytes, ..;
        iterations: i32, ..;
    }

    /// The level of a feature was finalized; zero removes it.
    record FeatureLevelRecord(key 12, versions 0..=0, flexible 0..) {
        name: String, ..;
        feature_level: i16, ..;
    }

    /// A client quota was set or removed.
    record ClientQuotaRecord(key 14, versions 0..=0, flexible 0..) {
        entity: Vec<ClientQuotaEntityData>, ..;
        key: String, ..;
        value: f64, ..;
        remove: bool, ..;
    }

    part ClientQuotaEntityData(ClientQuotaRecord) {
        entity_type: String, ..;
        entity_name: Option<String>, .., null ..;
    }

    /// A block of producer ids was given out.
    record ProducerIdsRecord(key 15, versions 0..=0, flexible 0..) {
        broker_id: i32, ..;
        broker_epoch: i64, .., default -1;
        next_producer_id: i64, ..;
    }

    /// An access control entry was deleted.
    record RemoveAccessControlEntryRecord(key 19, versions 0..=0, flexible 0..) {
        id: Uuid, ..;
    }

    /// A part of a broker's registration changed.
    record BrokerRegistrationChangeRecord(key 17, versions 0..=2, flexible 0..) {
        broker_id: i32, ..;
        broker_epoch: i64, ..;
        fenced: i8, .., tag 0;
        in_controlled_shutdown: i8, 1.., tag 1;
        log_dirs: Vec<Uuid>, 2.., tag 2;
    }

    /// Nothing happened; it only moves the end of the log.
    record NoOpRecord(key 20, versions 0..=0, flexible 0..) {}

    /// The state of a migration from ZooKeeper.
    record ZkMigrationStateRecord(key 21, versions 0..=0, flexible 0..) {
        zk_migration_state: i8, ..;
    }

    /// A SCRAM credential was deleted.
    record RemoveUserScramCredentialRecord(key 22, versions 0..=0, flexible 0..) {
        name: String, ..;
        mechanism: i8, ..;
    }

    /// Records follow that count only together.
    record BeginTransactionRecord(key 23, versions 0..=0, flexible 0..) {
        name: Option<String>, .., null .., tag 0;
    }

    /// The records since the beginning count.
    record EndTransactionRecord(key 24, versions 0..=0, flexible 0..) {}

    /// The records since the beginning do not count.
    record AbortTransactionRecord(key 25, versions 0..=0, flexible 0..) {
        reason: Option<String>, .., null .., tag 0;
    }

    /// A delegation token was deleted.
    record RemoveDelegationTokenRecord(key 26, versions 0..=0, flexible 0..) {
        token_id: String, ..;
    }

    /// A controller registered.
    record RegisterControllerRecord(key 27, versions 0..=0, flexible 0..) {
        controller_id: i32, ..;
        incarnation_id: Uuid, ..;
        zk_migration_ready: bool, ..;
        end_points: Vec<ControllerEndpoint>, ..;
        features: Vec<ControllerFeature>, ..;
    }

    part ControllerEndpoint(RegisterControllerRecord) {
        name: String, ..;
        host: String, ..;
        port: u16, ..;
        security_protocol: i16, ..;
    }

    part ControllerFeature(RegisterControllerRecord) {
        name: String, ..;
        min_supported_version: i16, ..;
        max_supported_version: i16, ..;
    }
}
