//! Settings of topics, brokers and groups.

use crate::wire::error::ErrorCode;

messages! {
    /// Asks for settings, their values and where these come from.
    request DescribeConfigsRequest(DescribeConfigs -> DescribeConfigsResponse) {
        resources: Vec<DescribeConfigsResource>, ..;
        include_synonyms: bool, ..;
        include_documentation: bool, 3..;
    }

    part DescribeConfigsResource(DescribeConfigsRequest) {
        resource_type: i8, ..;
        resource_name: String, ..;
        configuration_keys: Option<Vec<String>>, .., null ..;
    }

    /// The answer to [`DescribeConfigsRequest`].
    response DescribeConfigsResponse(DescribeConfigs) {
        throttle_time_ms: i32, ..;
        results: Vec<DescribeConfigsResult>, ..;
    }

    part DescribeConfigsResult(DescribeConfigsResponse) {
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
        resource_type: i8, ..;
        resource_name: String, ..;
        configs: Vec<DescribeConfigsResourceResult>, ..;
    }

    part DescribeConfigsResourceResult(DescribeConfigsResponse) {
        name: String, ..;
        value: Option<String>, .., null ..;
        read_only: bool, ..;
        config_source: i8, .., default -1;
        is_sensitive: bool, ..;
        synonyms: Vec<DescribeConfigsSynonym>, ..;
        config_type: i8, 3.., else ignore;
        documentation: Option<String>, 3.., null .., else ignore;
    }

    part DescribeConfigsSynonym(DescribeConfigsResponse) {
        name: String, ..;
        value: Option<String>, .., null ..;
        source: i8, ..;
    }

    /// Replaces all settings of a resource.
    request AlterConfigsRequest(AlterConfigs -> AlterConfigsResponse) {
        resources: Vec<AlterConfigsResource>, ..;
        validate_only: bool, ..;
    }

    part AlterConfigsResource(AlterConfigsRequest) {
        resource_type: i8, ..;
        resource_name: String, ..;
        configs: Vec<AlterableConfig>, ..;
    }

    part AlterableConfig(AlterConfigsRequest) {
        name: String, ..;
        value: Option<String>, .., null ..;
    }

    /// The answer to [`AlterConfigsRequest`].
    response AlterConfigsResponse(AlterConfigs) {
        throttle_time_ms: i32, ..;
        responses: Vec<AlterConfigsResourceResponse>, ..;
    }

    part AlterConfigsResourceResponse(AlterConfigsResponse) {
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
        resource_type: i8, ..;
        resource_name: String, ..;
    }

    /// Changes single settings.
    request IncrementalAlterConfigsRequest(IncrementalAlterConfigs -> IncrementalAlterConfigsResponse) {
        resources: Vec<IncrementalAlterConfigsResource>, ..;
        validate_only: bool, ..;
    }

    part IncrementalAlterConfigsResource(IncrementalAlterConfigsRequest) {
        resource_type: i8, ..;
        resource_name: String, ..;
        configs: Vec<IncrementalAlterableConfig>, ..;
    }

    part IncrementalAlterableConfig(IncrementalAlterConfigsRequest) {
        name: String, ..;
        config_operation: i8, ..;
        value: Option<String>, .., null ..;
    }

    /// The answer to [`IncrementalAlterConfigsRequest`].
    response IncrementalAlterConfigsResponse(IncrementalAlterConfigs) {
        throttle_time_ms: i32, ..;
        responses: Vec<IncrementalAlterConfigsResourceResponse>, ..;
    }

    part IncrementalAlterConfigsResourceResponse(IncrementalAlterConfigsResponse) {
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
        resource_type: i8, ..;
        resource_name: String, ..;
    }

    /// Asks which resources have settings.
    request ListConfigResourcesRequest(ListConfigResources -> ListConfigResourcesResponse) {
        resource_types: Vec<i8>, 1..;
    }

    /// The answer to [`ListConfigResourcesRequest`].
    response ListConfigResourcesResponse(ListConfigResources) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, ..;
        config_resources: Vec<ConfigResource>, ..;
    }

    part ConfigResource(ListConfigResourcesResponse) {
        resource_name: String, ..;
        resource_type: i8, 1.., default 16, else ignore;
    }
}
