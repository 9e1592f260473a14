//! Nodes and the controller.

use bytes::Bytes;

use crate::wire::error::ErrorCode;
use crate::wire::uuid::Uuid;

messages! {
    /// Registers a broker with the controller.
    request BrokerRegistrationRequest(BrokerRegistration -> BrokerRegistrationResponse) {
        broker_id: i32, ..;
        cluster_id: String, ..;
        incarnation_id: Uuid, ..;
        listeners: Vec<BrokerRegistrationListener>, ..;
        features: Vec<BrokerRegistrationFeature>, ..;
        rack: Option<String>, .., null ..;
        is_migrating_zk_broker: bool, 1..;
        log_dirs: Vec<Uuid>, 2.., else ignore;
        previous_broker_epoch: i64, 3.., default -1, else ignore;
    }

    part BrokerRegistrationListener(BrokerRegistrationRequest) {
        name: String, ..;
        host: String, ..;
        port: u16, ..;
        security_protocol: i16, ..;
    }

    part BrokerRegistrationFeature(BrokerRegistrationRequest) {
        name: String, ..;
        min_supported_version: i16, ..;
        max_supported_version: i16, ..;
    }

    /// The answer to [`BrokerRegistrationRequest`].
    response BrokerRegistrationResponse(BrokerRegistration) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, ..;
        broker_epoch: i64, .., default -1;
    }

    /// Tells the controller that a broker is alive.
    request BrokerHeartbeatRequest(BrokerHeartbeat -> BrokerHeartbeatResponse) {
        broker_id: i32, ..;
        broker_epoch: i64, .., default -1;
        current_metadata_offset: i64, ..;
        want_fence: bool, ..;
        want_shut_down: bool, ..;
        offline_log_dirs: Vec<Uuid>, 1.., tag 0;
    }

    /// The answer to [`BrokerHeartbeatRequest`].
    response BrokerHeartbeatResponse(BrokerHeartbeat) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, ..;
        is_caught_up: bool, ..;
        is_fenced: bool, .., default true;
        should_shut_down: bool, ..;
    }

    /// Removes a broker from the cluster.
    request UnregisterBrokerRequest(UnregisterBroker -> UnregisterBrokerResponse) {
        broker_id: i32, ..;
    }

    /// The answer to [`UnregisterBrokerRequest`].
    response UnregisterBrokerResponse(UnregisterBroker) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
    }

    /// Registers a controller.
    request ControllerRegistrationRequest(ControllerRegistration -> ControllerRegistrationResponse) {
        controller_id: i32, ..;
        incarnation_id: Uuid, ..;
        zk_migration_ready: bool, ..;
        listeners: Vec<ControllerRegistrationListener>, ..;
        features: Vec<ControllerRegistrationFeature>, ..;
    }

    part ControllerRegistrationListener(ControllerRegistrationRequest) {
        name: String, ..;
        host: String, ..;
        port: u16, ..;
        security_protocol: i16, ..;
    }

    part ControllerRegistrationFeature(ControllerRegistrationRequest) {
        name: String, ..;
        min_supported_version: i16, ..;
        max_supported_version: i16, ..;
    }

    /// The answer to [`ControllerRegistrationRequest`].
    response ControllerRegistrationResponse(ControllerRegistration) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
    }

    /// Asks the controller to change the ISR of partitions.
    request AlterPartitionRequest(AlterPartition -> AlterPartitionResponse) {
        broker_id: i32, ..;
        broker_epoch: i64, .., default -1;
        topics: Vec<AlterPartitionTopicData>, ..;
    }

    part AlterPartitionTopicData(AlterPartitionRequest) {
        topic_id: Uuid, ..;
        partitions: Vec<AlterPartitionPartitionData>, ..;
    }

    part AlterPartitionPartitionData(AlterPartitionRequest) {
        partition_index: i32, ..;
        leader_epoch: i32, ..;
        new_isr: Vec<i32>, ..=2;
        new_isr_with_epochs: Vec<BrokerState>, 3..;
        leader_recovery_state: i8, ..;
        partition_epoch: i32, ..;
    }

    part BrokerState(AlterPartitionRequest) {
        broker_id: i32, ..;
        broker_epoch: i64, .., default -1;
    }

    /// The answer to [`AlterPartitionRequest`].
    response AlterPartitionResponse(AlterPartition) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, ..;
        topics: Vec<AlterPartitionResponseTopicData>, ..;
    }

    part AlterPartitionResponseTopicData(AlterPartitionResponse) {
        topic_id: Uuid, ..;
        partitions: Vec<AlterPartitionResponsePartitionData>, ..;
    }

    part AlterPartitionResponsePartitionData(AlterPartitionResponse) {
        partition_index: i32, ..;
        error_code: ErrorCode, ..;
        leader_id: i32, ..;
        leader_epoch: i32, ..;
        isr: Vec<i32>, ..;
        leader_recovery_state: i8, ..;
        partition_epoch: i32, ..;
    }

    /// Sets the finalized levels of features.
    request UpdateFeaturesRequest(UpdateFeatures -> UpdateFeaturesResponse) {
        timeout_ms: i32, .., default 60000;
        feature_updates: Vec<FeatureUpdateKey>, ..;
        validate_only: bool, 1..;
    }

    part FeatureUpdateKey(UpdateFeaturesRequest) {
        feature: String, ..;
        max_version_level: i16, ..;
        allow_downgrade: bool, ..=0;
        upgrade_type: i8, 1.., default 1;
    }

    /// The answer to [`UpdateFeaturesRequest`].
    response UpdateFeaturesResponse(UpdateFeatures) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
        results: Vec<UpdatableFeatureResult>, ..=1, else ignore;
    }

    part UpdatableFeatureResult(UpdateFeaturesResponse) {
        feature: String, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
    }

    /// Carries a request of a client to the controller.
    request EnvelopeRequest(Envelope -> EnvelopeResponse) {
        request_data: Bytes, ..;
        request_principal: Option<Bytes>, .., null ..;
        client_host_address: Bytes, ..;
    }

    /// The answer to [`EnvelopeRequest`].
    response EnvelopeResponse(Envelope) {
        response_data: Option<Bytes>, .., null ..;
        error_code: ErrorCode, ..;
    }

    /// Asks which client metrics the broker wants.
    request GetTelemetrySubscriptionsRequest(GetTelemetrySubscriptions -> GetTelemetrySubscriptionsResponse) {
        client_instance_id: Uuid, ..;
    }

    /// The answer to [`GetTelemetrySubscriptionsRequest`].
    response GetTelemetrySubscriptionsResponse(GetTelemetrySubscriptions) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, ..;
        client_instance_id: Uuid, ..;
        subscription_id: i32, ..;
        accepted_compression_types: Vec<i8>, ..;
        push_interval_ms: i32, ..;
        telemetry_max_bytes: i32, ..;
        delta_temporality: bool, ..;
        requested_metrics: Vec<String>, ..;
    }

    /// Sends client metrics.
    request PushTelemetryRequest(PushTelemetry -> PushTelemetryResponse) {
        client_instance_id: Uuid, ..;
        subscription_id: i32, ..;
        terminating: bool, ..;
        compression_type: i8, ..;
        metrics: Bytes, ..;
    }

    /// The answer to [`PushTelemetryRequest`].
    response PushTelemetryResponse(PushTelemetry) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, ..;
    }
}
