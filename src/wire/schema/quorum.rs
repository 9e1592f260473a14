//! The metadata quorum.

use crate::wire::codec::Records;
use crate::wire::error::ErrorCode;
use crate::wire::uuid::Uuid;

messages! {
    /// Asks for a vote.
    request VoteRequest(Vote -> VoteResponse) {
        cluster_id: Option<String>, .., null ..;
        voter_id: i32, 1.., default -1, else ignore;
        topics: Vec<VoteTopicData>, ..;
    }

    part VoteTopicData(VoteRequest) {
        topic_name: String, ..;
        partitions: Vec<VotePartitionData>, ..;
    }

    part VotePartitionData(VoteRequest) {
        partition_index: i32, ..;
        replica_epoch: i32, ..;
        replica_id: i32, ..;
        replica_directory_id: Uuid, 1.., else ignore;
        voter_directory_id: Uuid, 1.., else ignore;
        last_offset_epoch: i32, ..;
        last_offset: i64, ..;
        pre_vote: bool, 2..;
    }

    /// The answer to [`VoteRequest`].
    response VoteResponse(Vote) {
        error_code: ErrorCode, ..;
        topics: Vec<VoteResponseTopicData>, ..;
        node_endpoints: Vec<VoteNodeEndpoint>, 1.., tag 0;
    }

    part VoteResponseTopicData(VoteResponse) {
        topic_name: String, ..;
        partitions: Vec<VoteResponsePartitionData>, ..;
    }

    part VoteResponsePartitionData(VoteResponse) {
        partition_index: i32, ..;
        error_code: ErrorCode, ..;
        leader_id: i32, ..;
        leader_epoch: i32, ..;
        vote_granted: bool, ..;
    }

    part VoteNodeEndpoint(VoteResponse) {
        node_id: i32, ..;
        host: String, ..;
        port: u16, ..;
    }

    /// Tells of a new leader.
    request BeginQuorumEpochRequest(BeginQuorumEpoch -> BeginQuorumEpochResponse) {
        cluster_id: Option<String>, .., null ..;
        voter_id: i32, 1.., default -1, else ignore;
        topics: Vec<BeginQuorumEpochTopicData>, ..;
        leader_endpoints: Vec<BeginQuorumEpochLeaderEndpoint>, 1.., else ignore;
    }

    part BeginQuorumEpochTopicData(BeginQuorumEpochRequest) {
        topic_name: String, ..;
        partitions: Vec<BeginQuorumEpochPartitionData>, ..;
    }

    part BeginQuorumEpochPartitionData(BeginQuorumEpochRequest) {
        partition_index: i32, ..;
        voter_directory_id: Uuid, 1.., else ignore;
        leader_id: i32, ..;
        leader_epoch: i32, ..;
    }

    part BeginQuorumEpochLeaderEndpoint(BeginQuorumEpochRequest) {
        name: String, ..;
        host: String, ..;
        port: u16, ..;
    }

    /// The answer to [`BeginQuorumEpochRequest`].
    response BeginQuorumEpochResponse(BeginQuorumEpoch) {
        error_code: ErrorCode, ..;
        topics: Vec<BeginQuorumEpochResponseTopicData>, ..;
        node_endpoints: Vec<BeginQuorumEpochNodeEndpoint>, 1.., tag 0;
    }

    part BeginQuorumEpochResponseTopicData(BeginQuorumEpochResponse) {
        topic_name: String, ..;
        partitions: Vec<BeginQuorumEpochResponsePartitionData>, ..;
    }

    part BeginQuorumEpochResponsePartitionData(BeginQuorumEpochResponse) {
        partition_index: i32, ..;
        error_code: ErrorCode, ..;
        leader_id: i32, ..;
        leader_epoch: i32, ..;
    }

    part BeginQuorumEpochNodeEndpoint(BeginQuorumEpochResponse) {
        node_id: i32, ..;
        host: String, ..;
        port: u16, ..;
    }

    /// Tells that a leader resigns.
    request EndQuorumEpochRequest(EndQuorumEpoch -> EndQuorumEpochResponse) {
        cluster_id: Option<String>, .., null ..;
        topics: Vec<EndQuorumEpochTopicData>, ..;
        leader_endpoints: Vec<EndQuorumEpochLeaderEndpoint>, 1.., else ignore;
    }

    part EndQuorumEpochTopicData(EndQuorumEpochRequest) {
        topic_name: String, ..;
        partitions: Vec<EndQuorumEpochPartitionData>, ..;
    }

    part EndQuorumEpochPartitionData(EndQuorumEpochRequest) {
        partition_index: i32, ..;
        leader_id: i32, ..;
        leader_epoch: i32, ..;
        preferred_successors: Vec<i32>, ..=0, else ignore;
        preferred_candidates: Vec<EndQuorumEpochReplicaInfo>, 1.., else ignore;
    }

    part EndQuorumEpochReplicaInfo(EndQuorumEpochRequest) {
        candidate_id: i32, ..;
        candidate_directory_id: Uuid, ..;
    }

    part EndQuorumEpochLeaderEndpoint(EndQuorumEpochRequest) {
        name: String, ..;
        host: String, ..;
        port: u16, ..;
    }

    /// The answer to [`EndQuorumEpochRequest`].
    response EndQuorumEpochResponse(EndQuorumEpoch) {
        error_code: ErrorCode, ..;
        topics: Vec<EndQuorumEpochResponseTopicData>, ..;
        node_endpoints: Vec<EndQuorumEpochNodeEndpoint>, 1.., tag 0;
    }

    part EndQuorumEpochResponseTopicData(EndQuorumEpochResponse) {
        topic_name: String, ..;
        partitions: Vec<EndQuorumEpochResponsePartitionData>, ..;
    }

    part EndQuorumEpochResponsePartitionData(EndQuorumEpochResponse) {
        partition_index: i32, ..;
        error_code: ErrorCode, ..;
        leader_id: i32, ..;
        leader_epoch: i32, ..;
    }

    part EndQuorumEpochNodeEndpoint(EndQuorumEpochResponse) {
        node_id: i32, ..;
        host: String, ..;
        port: u16, ..;
    }

    /// Asks for the state of the quorum.
    request DescribeQuorumRequest(DescribeQuorum -> DescribeQuorumResponse) {
        topics: Vec<DescribeQuorumTopicData>, ..;
    }

    part DescribeQuorumTopicData(DescribeQuorumRequest) {
        topic_name: String, ..;
        partitions: Vec<DescribeQuorumPartitionData>, ..;
    }

    part DescribeQuorumPartitionData(DescribeQuorumRequest) {
        partition_index: i32, ..;
    }

    /// The answer to [`DescribeQuorumRequest`].
    response DescribeQuorumResponse(DescribeQuorum) {
        error_code: ErrorCode, ..;
        error_message: Option<String>, 2.., null .., else ignore;
        topics: Vec<DescribeQuorumResponseTopicData>, ..;
        nodes: Vec<DescribeQuorumNode>, 2..;
    }

    part DescribeQuorumResponseTopicData(DescribeQuorumResponse) {
        topic_name: String, ..;
        partitions: Vec<DescribeQuorumResponsePartitionData>, ..;
    }

    part DescribeQuorumResponsePartitionData(DescribeQuorumResponse) {
        partition_index: i32, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, 2.., null .., else ignore;
        leader_id: i32, ..;
        leader_epoch: i32, ..;
        high_watermark: i64, ..;
        current_voters: Vec<DescribeQuorumReplicaState>, ..;
        observers: Vec<DescribeQuorumReplicaState>, ..;
    }

    part DescribeQuorumReplicaState(DescribeQuorumResponse) {
        replica_id: i32, ..;
        replica_directory_id: Uuid, 2..;
        log_end_offset: i64, ..;
        last_fetch_timestamp: i64, 1.., default -1, else ignore;
        last_caught_up_timestamp: i64, 1.., default -1, else ignore;
    }

    part DescribeQuorumNode(DescribeQuorumResponse) {
        node_id: i32, ..;
        listeners: Vec<DescribeQuorumListener>, ..;
    }

    part DescribeQuorumListener(DescribeQuorumResponse) {
        name: String, ..;
        host: String, ..;
        port: u16, ..;
    }

    /// Reads a snapshot of the metadata.
    request FetchSnapshotRequest(FetchSnapshot -> FetchSnapshotResponse) {
        replica_id: i32, .., default -1;
        max_bytes: i32, .., default i32::MAX;
        topics: Vec<FetchSnapshotTopicSnapshot>, ..;
        cluster_id: Option<String>, .., null .., tag 0;
    }

    part FetchSnapshotTopicSnapshot(FetchSnapshotRequest) {
        name: String, ..;
        partitions: Vec<FetchSnapshotPartitionSnapshot>, ..;
    }

    part FetchSnapshotPartitionSnapshot(FetchSnapshotRequest) {
        partition: i32, ..;
        current_leader_epoch: i32, ..;
        snapshot_id: FetchSnapshotSnapshotId, ..;
        position: i64, ..;
        replica_directory_id: Uuid, 1.., tag 0, else ignore;
    }

    part FetchSnapshotSnapshotId(FetchSnapshotRequest) {
        end_offset: i64, ..;
        epoch: i32, ..;
    }

    /// The answer to [`FetchSnapshotRequest`].
    response FetchSnapshotResponse(FetchSnapshot) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, ..;
        topics: Vec<FetchSnapshotResponseTopicSnapshot>, ..;
        node_endpoints: Vec<FetchSnapshotNodeEndpoint>, 1.., tag 0;
    }

    part FetchSnapshotResponseTopicSnapshot(FetchSnapshotResponse) {
        name: String, ..;
        partitions: Vec<FetchSnapshotResponsePartitionSnapshot>, ..;
    }

    part FetchSnapshotResponsePartitionSnapshot(FetchSnapshotResponse) {
        index: i32, ..;
        error_code: ErrorCode, ..;
        snapshot_id: FetchSnapshotSnapshotId, ..;
        size: i64, ..;
        position: i64, ..;
        unaligned_records: Records, ..;
        current_leader: FetchSnapshotLeaderIdAndEpoch, .., tag 0;
    }

    part FetchSnapshotLeaderIdAndEpoch(FetchSnapshotResponse) {
        leader_id: i32, ..;
        leader_epoch: i32, ..;
    }

    part FetchSnapshotNodeEndpoint(FetchSnapshotResponse) {
        node_id: i32, ..;
        host: String, ..;
        port: u16, ..;
    }

    /// Adds a voter.
    request AddRaftVoterRequest(AddRaftVoter -> AddRaftVoterResponse) {
        cluster_id: Option<String>, .., null ..;
        timeout_ms: i32, ..;
        voter_id: i32, ..;
        voter_directory_id: Uuid, ..;
        listeners: Vec<AddRaftVoterListener>, ..;
        ack_when_committed: bool, 1.., default true;
    }

    part AddRaftVoterListener(AddRaftVoterRequest) {
        name: String, ..;
        host: String, ..;
        port: u16, ..;
    }

    /// The answer to [`AddRaftVoterRequest`].
    response AddRaftVoterResponse(AddRaftVoter) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
    }

    /// Removes a voter.
    request RemoveRaftVoterRequest(RemoveRaftVoter -> RemoveRaftVoterResponse) {
        cluster_id: Option<String>, .., null ..;
        voter_id: i32, ..;
        voter_directory_id: Uuid, ..;
    }

    /// The answer to [`RemoveRaftVoterRequest`].
    response RemoveRaftVoterResponse(RemoveRaftVoter) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
    }

    /// Updates a voter's endpoints.
    request UpdateRaftVoterRequest(UpdateRaftVoter -> UpdateRaftVoterResponse) {
        cluster_id: Option<String>, .., null ..;
        current_leader_epoch: i32, ..;
        voter_id: i32, ..;
        voter_directory_id: Uuid, ..;
        listeners: Vec<UpdateRaftVoterListener>, ..;
        kraft_version_feature: UpdateRaftVoterKRaftVersionFeature, ..;
    }

    part UpdateRaftVoterListener(UpdateRaftVoterRequest) {
        name: String, ..;
        host: String, ..;
        port: u16, ..;
    }

    part UpdateRaftVoterKRaftVersionFeature(UpdateRaftVoterRequest) {
        min_supported_version: i16, ..;
        max_supported_version: i16, ..;
    }

    /// The answer to [`UpdateRaftVoterRequest`].
    response UpdateRaftVoterResponse(UpdateRaftVoter) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, ..;
        current_leader: UpdateRaftVoterCurrentLeader, .., tag 0;
    }

    part UpdateRaftVoterCurrentLeader(UpdateRaftVoterResponse) {
        leader_id: i32, .., default -1;
        leader_epoch: i32, .., default -1;
        host: String, ..;
        port: i32, ..;
    }
}
