//! The records of `__share_group_state`.

use crate::wire::uuid::Uuid;

messages! {
    /// The key of a share-partition's whole state.
    record ShareSnapshotKey(key 0, versions 0..=0, flexible 32767..) {
        group_id: String, ..;
        topic_id: Uuid, ..;
        partition: i32, ..;
    }

    /// A share-partition's whole state.
    record ShareSnapshotValue(key 0, versions 0..=0, flexible 0..) {
        snapshot_epoch: i32, ..;
        state_epoch: i32, ..;
        leader_epoch: i32, ..;
        start_offset: i64, ..;
        create_timestamp: i64, ..;
        write_timestamp: i64, ..;
        state_batches: Vec<ShareSnapshotStateBatch>, ..;
        delivery_complete_count: i32, .., default -1, tag 0;
    }

    part ShareSnapshotStateBatch(ShareSnapshotValue) {
        first_offset: i64, ..;
        last_offset: i64, ..;
        delivery_state: i8, ..;
        delivery_count: i16, ..;
    }

    /// The key of a change of a share-partition's state.
    record ShareUpdateKey(key 1, versions 0..=0, flexible 32767..) {
        group_id: String, ..;
        topic_id: Uuid, ..;
        partition: i32, ..;
    }

    /// A change of a share-partition's state.
    record ShareUpdateValue(key 1, versions 0..=0, flexible 0..) {
        snapshot_epoch: i32, ..;
        leader_epoch: i32, ..;
        start_offset: i64, ..;
        state_batches: Vec<ShareUpdateStateBatch>, ..;
        delivery_complete_count: i32, .., default -1, tag 0;
    }

    part ShareUpdateStateBatch(ShareUpdateValue) {
        first_offset: i64, ..;
        last_offset: i64, ..;
        delivery_state: i8, ..;
        delivery_count: i16, ..;
    }
}
