//! The records of streams groups in `__consumer_offsets`.

messages! {
    /// The key of a streams group's epoch.
    record StreamsGroupMetadataKey(key 17, versions 0..=0, flexible 32767..) {
        group_id: String, ..;
    }

    /// A streams group's epoch.
    record StreamsGroupMetadataValue(key 17, versions 0..=0, flexible 0..) {
        epoch: i32, ..;
        metadata_hash: i64, ..;
        validated_topology_epoch: i32, .., default -1, tag 0;
        last_assignment_configs: Option<Vec<LastAssignmentConfig>>, .., null .., default Some(Vec::new()), tag 1;
    }

    part LastAssignmentConfig(StreamsGroupMetadataValue) {
        key: String, ..;
        value: String, ..;
    }

    /// The key of a member of a streams group.
    record StreamsGroupMemberMetadataKey(key 19, versions 0..=0, flexible 32767..) {
        group_id: String, ..;
        member_id: String, ..;
    }

    /// A member of a streams group.
    record StreamsGroupMemberMetadataValue(key 19, versions 0..=0, flexible 0..) {
        instance_id: Option<String>, .., null ..;
        rack_id: Option<String>, .., null ..;
        client_id: String, ..;
        client_host: String, ..;
        rebalance_timeout_ms: i32, .., default -1;
        topology_epoch: i32, ..;
        process_id: String, ..;
        user_endpoint: Option<StreamsGroupMemberMetadataEndpoint>, .., null ..;
        client_tags: Vec<StreamsGroupMemberMetadataKeyValue>, ..;
    }

    part StreamsGroupMemberMetadataEndpoint(StreamsGroupMemberMetadataValue) {
        host: String, ..;
        port: u16, ..;
    }

    part StreamsGroupMemberMetadataKeyValue(StreamsGroupMemberMetadataValue) {
        key: String, ..;
        value: String, ..;
    }

    /// The key of the epoch of a streams group's target assignment.
    record StreamsGroupTargetAssignmentMetadataKey(key 20, versions 0..=0, flexible 32767..) {
        group_id: String, ..;
    }

    /// The epoch of a streams group's target assignment.
    record StreamsGroupTargetAssignmentMetadataValue(key 20, versions 0..=0, flexible 0..) {
        assignment_epoch: i32, ..;
    }

    /// The key of the target assignment of a member of a streams group.
    record StreamsGroupTargetAssignmentMemberKey(key 21, versions 0..=0, flexible 32767..) {
        group_id: String, ..;
        member_id: String, ..;
    }

    /// The target assignment of a member of a streams group.
    record StreamsGroupTargetAssignmentMemberValue(key 21, versions 0..=0, flexible 0..) {
        active_tasks: Vec<StreamsGroupTargetAssignmentMemberTaskIds>, ..;
        standby_tasks: Vec<StreamsGroupTargetAssignmentMemberTaskIds>, ..;
        warmup_tasks: Vec<StreamsGroupTargetAssignmentMemberTaskIds>, ..;
    }

    part StreamsGroupTargetAssignmentMemberTaskIds(StreamsGroupTargetAssignmentMemberValue) {
        subtopology_id: String, ..;
        partitions: Vec<i32>, ..;
    }

    /// The key of the current assignment of a member of a streams group.
    record StreamsGroupCurrentMemberAssignmentKey(key 22, versions 0..=0, flexible 32767..) {
        group_id: String, ..;
        member_id: String, ..;
    }

    /// The current assignment of a member of a streams group.
    record StreamsGroupCurrentMemberAssignmentValue(key 22, versions 0..=0, flexible 0..) {
        member_epoch: i32, ..;
        previous_member_epoch: i32, ..;
        state: i8, ..;
        active_tasks: Vec<StreamsGroupCurrentMemberAssignmentTaskIds>, ..;
        standby_tasks: Vec<StreamsGroupCurrentMemberAssignmentTaskIds>, ..;
        warmup_tasks: Vec<StreamsGroupCurrentMemberAssignmentTaskIds>, ..;
        active_tasks_pending_revocation: Vec<StreamsGroupCurrentMemberAssignmentTaskIds>, ..;
        standby_tasks_pending_revocation: Vec<StreamsGroupCurrentMemberAssignmentTaskIds>, ..;
        warmup_tasks_pending_revocation: Vec<StreamsGroupCurrentMemberAssignmentTaskIds>, ..;
    }

    part StreamsGroupCurrentMemberAssignmentTaskIds(StreamsGroupCurrentMemberAssignmentValue) {
        subtopology_id: String, ..;
        partitions: Vec<i32>, ..;
        assignment_epochs: Option<Vec<i32>>, .., null .., default Some(Vec::new()), tag 0;
    }

    /// The key of the topology of a streams group.
    record StreamsGroupTopologyKey(key 23, versions 0..=0, flexible 32767..) {
        group_id: String, ..;
    }

    /// The topology of a streams group.
    record StreamsGroupTopologyValue(key 23, versions 0..=0, flexible 0..) {
        epoch: i32, ..;
        subtopologies: Vec<StreamsGroupTopologySubtopology>, ..;
    }

    part StreamsGroupTopologySubtopology(StreamsGroupTopologyValue) {
        subtopology_id: String, ..;
        source_topics: Vec<String>, ..;
        source_topic_regex: Vec<String>, ..;
        state_changelog_topics: Vec<StreamsGroupTopologyTopicInfo>, ..;
        repartition_sink_topics: Vec<String>, ..;
        repartition_source_topics: Vec<StreamsGroupTopologyTopicInfo>, ..;
        copartition_groups: Vec<StreamsGroupTopologyCopartitionGroup>, ..;
    }

    part StreamsGroupTopologyTopicInfo(StreamsGroupTopologyValue) {
        name: String, ..;
        partitions: i32, ..;
        replication_factor: i16, ..;
        topic_configs: Vec<StreamsGroupTopologyTopicConfig>, ..;
    }

    part StreamsGroupTopologyTopicConfig(StreamsGroupTopologyValue) {
        key: String, ..;
        value: String, ..;
    }

    part StreamsGroupTopologyCopartitionGroup(StreamsGroupTopologyValue) {
        source_topics: Vec<i16>, ..;
        source_topic_regex: Vec<i16>, ..;
        repartition_source_topics: Vec<i16>, ..;
    }
}
