//! Log directories.

use crate::wire::error::ErrorCode;
use crate::wire::uuid::Uuid;

messages! {
    /// Asks what the log directories hold.
    request DescribeLogDirsRequest(DescribeLogDirs -> DescribeLogDirsResponse) {
        topics: Option<Vec<DescribableLogDirTopic>>, .., null ..;
    }

    part DescribableLogDirTopic(DescribeLogDirsRequest) {
        topic: String, ..;
        partitions: Vec<i32>, ..;
    }

    /// The answer to [`DescribeLogDirsRequest`].
    response DescribeLogDirsResponse(DescribeLogDirs) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, 3.., else ignore;
        results: Vec<DescribeLogDirsResult>, ..;
    }

    part DescribeLogDirsResult(DescribeLogDirsResponse) {
        error_code: ErrorCode, ..;
        log_dir: String, ..;
        topics: Vec<DescribeLogDirsTopic>, ..;
        total_bytes: i64, 4.., default -1, else ignore;
        usable_bytes: i64, 4.., default -1, else ignore;
    }

    part DescribeLogDirsTopic(DescribeLogDirsResponse) {
        name: String, ..;
        partitions: Vec<DescribeLogDirsPartition>, ..;
    }

    part DescribeLogDirsPartition(DescribeLogDirsResponse) {
        partition_index: i32, ..;
        partition_size: i64, ..;
        offset_lag: i64, ..;
        is_future_key: bool, ..;
    }

    /// Moves replicas to another log directory.
    request AlterReplicaLogDirsRequest(AlterReplicaLogDirs -> AlterReplicaLogDirsResponse) {
        dirs: Vec<AlterReplicaLogDir>, ..;
    }

    part AlterReplicaLogDir(AlterReplicaLogDirsRequest) {
        path: String, ..;
        topics: Vec<AlterReplicaLogDirTopic>, ..;
    }

    part AlterReplicaLogDirTopic(AlterReplicaLogDirsRequest) {
        name: String, ..;
        partitions: Vec<i32>, ..;
    }

    /// The answer to [`AlterReplicaLogDirsRequest`].
    response AlterReplicaLogDirsResponse(AlterReplicaLogDirs) {
        throttle_time_ms: i32, ..;
        results: Vec<AlterReplicaLogDirTopicResult>, ..;
    }

    part AlterReplicaLogDirTopicResult(AlterReplicaLogDirsResponse) {
        topic_name: String, ..;
        partitions: Vec<AlterReplicaLogDirPartitionResult>, ..;
    }

    part AlterReplicaLogDirPartitionResult(AlterReplicaLogDirsResponse) {
        partition_index: i32, ..;
        error_code: ErrorCode, ..;
    }

    /// Tells the controller which directory holds which replica.
    request AssignReplicasToDirsRequest(AssignReplicasToDirs -> AssignReplicasToDirsResponse) {
        broker_id: i32, ..;
        broker_epoch: i64, .., default -1;
        directories: Vec<AssignReplicasToDirsDirectoryData>, ..;
    }

    part AssignReplicasToDirsDirectoryData(AssignReplicasToDirsRequest) {
        id: Uuid, ..;
        topics: Vec<AssignReplicasToDirsTopicData>, ..;
    }

    part AssignReplicasToDirsTopicData(AssignReplicasToDirsRequest) {
        topic_id: Uuid, ..;
        partitions: Vec<AssignReplicasToDirsPartitionData>, ..;
    }

    part AssignReplicasToDirsPartitionData(AssignReplicasToDirsRequest) {
        partition_index: i32, ..;
    }

    /// The answer to [`AssignReplicasToDirsRequest`].
    response AssignReplicasToDirsResponse(AssignReplicasToDirs) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, ..;
        directories: Vec<AssignReplicasToDirsResponseDirectoryData>, ..;
    }

    part AssignReplicasToDirsResponseDirectoryData(AssignReplicasToDirsResponse) {
        id: Uuid, ..;
        topics: Vec<AssignReplicasToDirsResponseTopicData>, ..;
    }

    part AssignReplicasToDirsResponseTopicData(AssignReplicasToDirsResponse) {
        topic_id: Uuid, ..;
        partitions: Vec<AssignReplicasToDirsResponsePartitionData>, ..;
    }

    part AssignReplicasToDirsResponsePartitionData(AssignReplicasToDirsResponse) {
        partition_index: i32, ..;
        error_code: ErrorCode, ..;
    }
}
