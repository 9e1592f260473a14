//! UpdateFeatures: the finalized levels of features.
//!
//! A level stands where this version has put it: each feature that is built is finalized at its highest, and the
//! metadata log is written at that level alone. So an update either asks for what is, or is refused.

use super::Asked;
use crate::broker::connection::{Ended, Reply};
use crate::controller::features;
use crate::wire::error::ErrorCode;
use crate::wire::schema::{
    FeatureUpdateKey, UpdatableFeatureResult, UpdateFeaturesRequest, UpdateFeaturesResponse,
};

/// The first version that says in which way a level is to change.
const SAYS_WAY: i16 = 1;
/// Versions before this one are told of each feature.
const TELLS_ALL: i16 = 2;
const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;
const UNSAFE_DOWNGRADE: i8 = 3;

/// Answers for all features together: the first that is refused refuses all.
pub fn answer(mut asked: Asked) -> Result<Reply, Ended> {
    let request: UpdateFeaturesRequest = asked.decode()?;
    let core = &asked.client.core;
    let finalized = features::finalized(&core.image());
    for update in &request.feature_updates {
        let way = match asked.version {
            SAYS_WAY.. => update.upgrade_type,
            _ if update.allow_downgrade => SAFE_DOWNGRADE,
            _ => UPGRADE,
        };
        let level = finalized.iter().find(|(name, _)| *name == update.feature).map(|(_, level)| *level);
        if let Some(why) = refusal(update, way, level.unwrap_or(0), core.settings.node_id) {
            let error_message = Some(format!(
                "The update failed for all features since the following feature had an error: {why}"
            ));
            let error_code = ErrorCode::INVALID_UPDATE_VERSION;
            return asked.reply(&UpdateFeaturesResponse { error_code, error_message, ..Default::default() });
        }
    }
    let results = request.feature_updates.into_iter().map(|update| UpdatableFeatureResult {
        feature: update.feature,
        error_code: ErrorCode::NONE,
        error_message: Some(ErrorCode::NONE.name().to_owned()),
    });
    let results = if asked.version < TELLS_ALL { results.collect() } else { Vec::new() };
    asked.reply(&UpdateFeaturesResponse { results, ..UpdateFeaturesResponse::default() })
}

/// Why a feature cannot be brought to a level.
fn refusal(update: &FeatureUpdateKey, way: i8, current: i16, node: i32) -> Option<String> {
    let (name, level) = (&update.feature, update.max_version_level);
    let invalid = |why: &str| Some(format!("Invalid update version {level} for feature {name}. {why}"));
    if ![UPGRADE, SAFE_DOWNGRADE, UNSAFE_DOWNGRADE].contains(&way) {
        return invalid("The controller does not support the given upgrade type.");
    }
    if level < 0 {
        return invalid("A feature version cannot be less than 0.");
    }
    let Some(feature) = features::supported().find(|feature| feature.name == *name) else {
        return match level {
            0 => invalid(&format!("Feature {name} not found.")),
            _ => invalid(&format!("Local controller {node} does not support this feature.")),
        };
    };
    if !(feature.min..=feature.max).contains(&level) {
        let range = format!("{}-{}", feature.min, feature.max);
        return invalid(&format!("Local controller {node} only supports versions {range}"));
    }
    if level == current {
        return None;
    }
    if level > current {
        return invalid("Can't downgrade to a newer version.").filter(|_| way != UPGRADE);
    }
    if way == UPGRADE {
        return invalid(
            "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe \
             downgrade.",
        );
    }
    Some(format!(
        "Unsupported {name} downgrade from {current} to {level}. Refusing to perform the requested downgrade because \
         it might delete metadata information. This broker writes its metadata at level {current} only."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_may_be_asked_for_and_nothing_else() {
        for feature in features::supported() {
            let update = |level| FeatureUpdateKey {
                feature: feature.name.to_owned(),
                max_version_level: level,
                ..Default::default()
            };
            assert_eq!(refusal(&update(feature.max), UPGRADE, feature.max, 1), None);
            for (level, way) in [
                (feature.max - 1, UPGRADE),
                (feature.max - 1, SAFE_DOWNGRADE),
                (feature.max - 1, UNSAFE_DOWNGRADE),
                (feature.max + 1, UPGRADE),
                (feature.max, 0),
            ] {
                let why = refusal(&update(level), way, feature.max, 1);
                assert!(why.is_some_and(|why| why.contains(feature.name)), "{level} {way}");
            }
        }
    }
}
