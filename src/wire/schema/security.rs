//! Authentication, access control and delegation tokens.

use bytes::Bytes;

use crate::wire::error::ErrorCode;

messages! {
    /// Chooses a SASL mechanism.
    request SaslHandshakeRequest(SaslHandshake -> SaslHandshakeResponse) {
        mechanism: String, ..;
    }

    /// The answer to [`SaslHandshakeRequest`].
    response SaslHandshakeResponse(SaslHandshake) {
        error_code: ErrorCode, ..;
        mechanisms: Vec<String>, ..;
    }

    /// Carries one step of a SASL exchange.
    request SaslAuthenticateRequest(SaslAuthenticate -> SaslAuthenticateResponse) {
        auth_bytes: Bytes, ..;
    }

    /// The answer to [`SaslAuthenticateRequest`].
    response SaslAuthenticateResponse(SaslAuthenticate) {
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
        auth_bytes: Bytes, ..;
        session_lifetime_ms: i64, 1.., else ignore;
    }

    /// Asks for access control entries.
    request DescribeAclsRequest(DescribeAcls -> DescribeAclsResponse) {
        resource_type_filter: i8, ..;
        resource_name_filter: Option<String>, .., null ..;
        pattern_type_filter: i8, .., default 3;
        principal_filter: Option<String>, .., null ..;
        host_filter: Option<String>, .., null ..;
        operation: i8, ..;
        permission_type: i8, ..;
    }

    /// The answer to [`DescribeAclsRequest`].
    response DescribeAclsResponse(DescribeAcls) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
        resources: Vec<DescribeAclsResource>, ..;
    }

    part DescribeAclsResource(DescribeAclsResponse) {
        resource_type: i8, ..;
        resource_name: String, ..;
        pattern_type: i8, .., default 3;
        acls: Vec<AclDescription>, ..;
    }

    part AclDescription(DescribeAclsResponse) {
        principal: String, ..;
        host: String, ..;
        operation: i8, ..;
        permission_type: i8, ..;
    }

    /// Creates access control entries.
    request CreateAclsRequest(CreateAcls -> CreateAclsResponse) {
        creations: Vec<AclCreation>, ..;
    }

    part AclCreation(CreateAclsRequest) {
        resource_type: i8, ..;
        resource_name: String, ..;
        resource_pattern_type: i8, .., default 3;
        principal: String, ..;
        host: String, ..;
        operation: i8, ..;
        permission_type: i8, ..;
    }

    /// The answer to [`CreateAclsRequest`].
    response CreateAclsResponse(CreateAcls) {
        throttle_time_ms: i32, ..;
        results: Vec<AclCreationResult>, ..;
    }

    part AclCreationResult(CreateAclsResponse) {
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
    }

    /// Deletes access control entries.
    request DeleteAclsRequest(DeleteAcls -> DeleteAclsResponse) {
        filters: Vec<DeleteAclsFilter>, ..;
    }

    part DeleteAclsFilter(DeleteAclsRequest) {
        resource_type_filter: i8, ..;
        resource_name_filter: Option<String>, .., null ..;
        pattern_type_filter: i8, .., default 3;
        principal_filter: Option<String>, .., null ..;
        host_filter: Option<String>, .., null ..;
        operation: i8, ..;
        permission_type: i8, ..;
    }

    /// The answer to [`DeleteAclsRequest`].
    response DeleteAclsResponse(DeleteAcls) {
        throttle_time_ms: i32, ..;
        filter_results: Vec<DeleteAclsFilterResult>, ..;
    }

    part DeleteAclsFilterResult(DeleteAclsResponse) {
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
        matching_acls: Vec<DeleteAclsMatchingAcl>, ..;
    }

    part DeleteAclsMatchingAcl(DeleteAclsResponse) {
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
        resource_type: i8, ..;
        resource_name: String, ..;
        pattern_type: i8, .., default 3;
        principal: String, ..;
        host: String, ..;
        operation: i8, ..;
        permission_type: i8, ..;
    }

    /// Creates a delegation token.
    request CreateDelegationTokenRequest(CreateDelegationToken -> CreateDelegationTokenResponse) {
        owner_principal_type: Option<String>, 3.., null ..;
        owner_principal_name: Option<String>, 3.., null ..;
        renewers: Vec<CreatableRenewers>, ..;
        max_lifetime_ms: i64, ..;
    }

    part CreatableRenewers(CreateDelegationTokenRequest) {
        principal_type: String, ..;
        principal_name: String, ..;
    }

    /// The answer to [`CreateDelegationTokenRequest`].
    response CreateDelegationTokenResponse(CreateDelegationToken) {
        error_code: ErrorCode, ..;
        principal_type: String, ..;
        principal_name: String, ..;
        token_requester_principal_type: String, 3..;
        token_requester_principal_name: String, 3..;
        issue_timestamp_ms: i64, ..;
        expiry_timestamp_ms: i64, ..;
        max_timestamp_ms: i64, ..;
        token_id: String, ..;
        hmac: Bytes, ..;
        throttle_time_ms: i32, ..;
    }

    /// Renews a delegation token.
    request RenewDelegationTokenRequest(RenewDelegationToken -> RenewDelegationTokenResponse) {
        hmac: Bytes, ..;
        renew_period_ms: i64, ..;
    }

    /// The answer to [`RenewDelegationTokenRequest`].
    response RenewDelegationTokenResponse(RenewDelegationToken) {
        error_code: ErrorCode, ..;
        expiry_timestamp_ms: i64, ..;
        throttle_time_ms: i32, ..;
    }

    /// Sets when a delegation token expires.
    request ExpireDelegationTokenRequest(ExpireDelegationToken -> ExpireDelegationTokenResponse) {
        hmac: Bytes, ..;
        expiry_time_period_ms: i64, ..;
    }

    /// The answer to [`ExpireDelegationTokenRequest`].
    response ExpireDelegationTokenResponse(ExpireDelegationToken) {
        error_code: ErrorCode, ..;
        expiry_timestamp_ms: i64, ..;
        throttle_time_ms: i32, ..;
    }

    /// Asks for delegation tokens.
    request DescribeDelegationTokenRequest(DescribeDelegationToken -> DescribeDelegationTokenResponse) {
        owners: Option<Vec<DescribeDelegationTokenOwner>>, .., null ..;
    }

    part DescribeDelegationTokenOwner(DescribeDelegationTokenRequest) {
        principal_type: String, ..;
        principal_name: String, ..;
    }

    /// The answer to [`DescribeDelegationTokenRequest`].
    response DescribeDelegationTokenResponse(DescribeDelegationToken) {
        error_code: ErrorCode, ..;
        tokens: Vec<DescribedDelegationToken>, ..;
        throttle_time_ms: i32, ..;
    }

    part DescribedDelegationToken(DescribeDelegationTokenResponse) {
        principal_type: String, ..;
        principal_name: String, ..;
        token_requester_principal_type: String, 3..;
        token_requester_principal_name: String, 3..;
        issue_timestamp: i64, ..;
        expiry_timestamp: i64, ..;
        max_timestamp: i64, ..;
        token_id: String, ..;
        hmac: Bytes, ..;
        renewers: Vec<DescribedDelegationTokenRenewer>, ..;
    }

    part DescribedDelegationTokenRenewer(DescribeDelegationTokenResponse) {
        principal_type: String, ..;
        principal_name: String, ..;
    }

    /// Asks which SCRAM credentials users have.
    request DescribeUserScramCredentialsRequest(
        DescribeUserScramCredentials -> DescribeUserScramCredentialsResponse
    ) {
        users: Option<Vec<DescribeUserScramCredentialsUserName>>, .., null ..;
    }

    part DescribeUserScramCredentialsUserName(DescribeUserScramCredentialsRequest) {
        name: String, ..;
    }

    /// The answer to [`DescribeUserScramCredentialsRequest`].
    response DescribeUserScramCredentialsResponse(DescribeUserScramCredentials) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
        results: Vec<DescribeUserScramCredentialsResult>, ..;
    }

    part DescribeUserScramCredentialsResult(DescribeUserScramCredentialsResponse) {
        user: String, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
        credential_infos: Vec<CredentialInfo>, ..;
    }

    part CredentialInfo(DescribeUserScramCredentialsResponse) {
        mechanism: i8, ..;
        iterations: i32, ..;
    }

    /// Sets and deletes SCRAM credentials.
    request AlterUserScramCredentialsRequest(AlterUserScramCredentials -> AlterUserScramCredentialsResponse) {
        deletions: Vec<ScramCredentialDeletion>, ..;
        upsertions: Vec<ScramCredentialUpsertion>, ..;
    }

    part ScramCredentialDeletion(AlterUserScramCredentialsRequest) {
        name: String, ..;
        mechanism: i8, ..;
    }

    part ScramCredentialUpsertion(AlterUserScramCredentialsRequest) {
        name: String, ..;
        mechanism: i8, ..;
        iterations: i32, ..;
        salt: Bytes, ..;
        salted_password: Bytes, ..;
    }

    /// The answer to [`AlterUserScramCredentialsRequest`].
    response AlterUserScramCredentialsResponse(AlterUserScramCredentials) {
        throttle_time_ms: i32, ..;
        results: Vec<AlterUserScramCredentialsResult>, ..;
    }

    part AlterUserScramCredentialsResult(AlterUserScramCredentialsResponse) {
        user: String, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
    }

    /// Asks for client quotas.
    request DescribeClientQuotasRequest(DescribeClientQuotas -> DescribeClientQuotasResponse) {
        components: Vec<DescribeClientQuotasComponentData>, ..;
        strict: bool, ..;
    }

    part DescribeClientQuotasComponentData(DescribeClientQuotasRequest) {
        entity_type: String, ..;
        match_type: i8, ..;
        r#match: Option<String>, .., null ..;
    }

    /// The answer to [`DescribeClientQuotasRequest`].
    response DescribeClientQuotasResponse(DescribeClientQuotas) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
        entries: Option<Vec<DescribeClientQuotasEntryData>>, .., null ..;
    }

    part DescribeClientQuotasEntryData(DescribeClientQuotasResponse) {
        entity: Vec<DescribeClientQuotasEntityData>, ..;
        values: Vec<DescribeClientQuotasValueData>, ..;
    }

    part DescribeClientQuotasEntityData(DescribeClientQuotasResponse) {
        entity_type: String, ..;
        entity_name: Option<String>, .., null ..;
    }

    part DescribeClientQuotasValueData(DescribeClientQuotasResponse) {
        key: String, ..;
        value: f64, ..;
    }

    /// Sets and deletes client quotas.
    request AlterClientQuotasRequest(AlterClientQuotas -> AlterClientQuotasResponse) {
        entries: Vec<AlterClientQuotasEntryData>, ..;
        validate_only: bool, ..;
    }

    part AlterClientQuotasEntryData(AlterClientQuotasRequest) {
        entity: Vec<AlterClientQuotasEntityData>, ..;
        ops: Vec<AlterClientQuotasOpData>, ..;
    }

    part AlterClientQuotasEntityData(AlterClientQuotasRequest) {
        entity_type: String, ..;
        entity_name: Option<String>, .., null ..;
    }

    part AlterClientQuotasOpData(AlterClientQuotasRequest) {
        key: String, ..;
        value: f64, ..;
        remove: bool, ..;
    }

    /// The answer to [`AlterClientQuotasRequest`].
    response AlterClientQuotasResponse(AlterClientQuotas) {
        throttle_time_ms: i32, ..;
        entries: Vec<AlterClientQuotasResponseEntryData>, ..;
    }

    part AlterClientQuotasResponseEntryData(AlterClientQuotasResponse) {
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
        entity: Vec<AlterClientQuotasEntityData>, ..;
    }
}
