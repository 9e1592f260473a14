//! ApiVersions: what the broker speaks.

use super::{Asked, SERVED};
use crate::broker::connection::{Ended, Reply};
use crate::controller::{Image, features};
use crate::wire::api::ApiKey;
use crate::wire::error::ErrorCode;
use crate::wire::schema::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};

/// The first version in which the client says its name.
const NAMES_CLIENT: i16 = 3;
/// The first version whose readers bear a feature that starts at level 0 (KAFKA-17492).
const MAY_START_AT_ZERO: i16 = 4;

/// Answers in the version of the request; in version 0 where that is not known (KIP-511).
pub fn answer(mut asked: Asked) -> Result<Reply, Ended> {
    if !ApiKey::ApiVersions.versions().contains(&asked.version) {
        let response = ApiVersionsResponse {
            error_code: ErrorCode::UNSUPPORTED_VERSION,
            api_keys: vec![range(ApiKey::ApiVersions)],
            ..ApiVersionsResponse::default()
        };
        return asked.reply_in(&response, 0);
    }
    let request: ApiVersionsRequest = asked.decode()?;
    let names = [&request.client_software_name, &request.client_software_version];
    if asked.version >= NAMES_CLIENT && !names.iter().all(|name| is_software_name(name)) {
        let error_code = ErrorCode::INVALID_REQUEST;
        return asked.reply(&ApiVersionsResponse { error_code, ..ApiVersionsResponse::default() });
    }
    asked.reply(&response(&asked.client.core.image(), asked.version))
}

fn response(image: &Image, version: i16) -> ApiVersionsResponse {
    let supported = features::supported().filter(|f| f.min > 0 || version >= MAY_START_AT_ZERO);
    let supported = supported.map(|f| SupportedFeatureKey {
        name: f.name.to_string(),
        min_version: f.min,
        max_version: f.max,
    });
    let finalized = features::finalized(image).into_iter().map(|(name, level)| FinalizedFeatureKey {
        name,
        max_version_level: level,
        min_version_level: level,
    });
    ApiVersionsResponse {
        api_keys: SERVED.iter().map(|api| range(*api)).collect(),
        supported_features: supported.collect(),
        finalized_features_epoch: image.version(),
        finalized_features: finalized.collect(),
        ..ApiVersionsResponse::default()
    }
}

fn range(api: ApiKey) -> ApiVersion {
    let (min_version, max_version) = api.advertised().into_inner();
    ApiVersion { api_key: api.number(), min_version, max_version }
}

/// Letters, digits, dots and dashes, with a letter or digit at both ends.
fn is_software_name(name: &str) -> bool {
    let ends = [name.chars().next(), name.chars().last()];
    ends.iter().all(|c| c.is_some_and(|c| c.is_ascii_alphanumeric()))
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn produce_is_told_from_zero() {
        let keys = response(&Image::empty("c"), 3).api_keys;
        let produce = keys.iter().find(|k| k.api_key == 0).unwrap();
        assert_eq!((produce.min_version, produce.max_version), (0, 13));
        assert!(keys.iter().is_sorted_by_key(|k| k.api_key), "clients search it");
        assert!(keys.iter().all(|k| k.min_version <= k.max_version));
    }

    #[test]
    fn names_of_software() {
        for good in ["a", "librdkafka", "2.14.0", "confluent-kafka-python", "A-1.b"] {
            assert!(is_software_name(good), "{good}");
        }
        for bad in ["", "-a", "a.", "a b", "ü", "a_b"] {
            assert!(!is_software_name(bad), "{bad}");
        }
    }
}
