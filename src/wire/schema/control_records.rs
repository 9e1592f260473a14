//! Records that logs keep for themselves: markers, and the frame of snapshots.

use crate::wire::uuid::Uuid;

messages! {
    /// The value of a marker that ends a transaction.
    data EndTxnMarker(versions 0..=0, flexible 32767..) {
        coordinator_epoch: i32, ..;
    }

    /// A new leader of the metadata quorum.
    data LeaderChangeMessage(versions 0..=1, flexible 0..) {
        version: i16, ..;
        leader_id: i32, ..;
        voters: Vec<LeaderChangeVoter>, ..;
        granting_voters: Vec<LeaderChangeVoter>, ..;
    }

    part LeaderChangeVoter(LeaderChangeMessage) {
        voter_id: i32, ..;
        voter_directory_id: Uuid, 1..;
    }

    /// How a snapshot begins.
    data SnapshotHeaderRecord(versions 0..=0, flexible 0..) {
        version: i16, ..;
        last_contained_log_timestamp: i64, ..;
    }

    /// How a snapshot ends.
    data SnapshotFooterRecord(versions 0..=0, flexible 0..) {
        version: i16, ..;
    }

    /// The level of the quorum's own feature.
    data KRaftVersionRecord(versions 0..=0, flexible 0..) {
        version: i16, ..;
        kraft_version: i16, ..;
    }

    /// The voters of the quorum.
    data VotersRecord(versions 0..=0, flexible 0..) {
        version: i16, ..;
        voters: Vec<VotersVoter>, ..;
    }

    part VotersVoter(VotersRecord) {
        voter_id: i32, ..;
        voter_directory_id: Uuid, ..;
        endpoints: Vec<VotersEndpoint>, ..;
        kraft_version_feature: VotersKRaftVersionFeature, ..;
    }

    part VotersEndpoint(VotersRecord) {
        name: String, ..;
        host: String, ..;
        port: u16, ..;
    }

    part VotersKRaftVersionFeature(VotersRecord) {
        min_supported_version: i16, ..;
        max_supported_version: i16, ..;
    }
}
