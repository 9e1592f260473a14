//! The features of the cluster and their levels, for ApiVersions and for the metadata log.

use super::image::Image;
use crate::wire::metadata_record::MetadataRecord;
use crate::wire::schema::FeatureLevelRecord;

/// A feature of Kafka 4.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its name.
    pub name: &'static str,
    /// The lowest level that a broker supports.
    pub min: i16,
    /// The highest, which is also the one that is finalized in a new cluster.
    pub max: i16,
    /// Whether it is built here. What is not is neither offered nor finalized, so that clients leave it alone.
    pub built: bool,
}

/// `metadata.version` 4.2-IV1, as its level.
pub const METADATA_VERSION: i16 = 29;

const METADATA: &str = "metadata.version";
const KRAFT: &str = "kraft.version";

/// All of Kafka 4.2's.
pub const FEATURES: [Feature; 7] = [
    // The lowest is 3.3-IV3, the first that Kafka 4 can start from.
    Feature { name: METADATA, min: 7, max: METADATA_VERSION, built: true },
    Feature { name: KRAFT, min: 0, max: 1, built: true },
    Feature { name: "transaction.version", min: 0, max: 2, built: true },
    Feature { name: "group.version", min: 0, max: 1, built: true },
    Feature { name: "eligible.leader.replicas.version", min: 0, max: 1, built: false },
    Feature { name: "share.version", min: 0, max: 1, built: false },
    Feature { name: "streams.version", min: 0, max: 1, built: false },
];

/// The features that this broker supports.
pub fn supported() -> impl Iterator<Item = Feature> {
    FEATURES.into_iter().filter(|feature| feature.built)
}

/// The finalized levels as ApiVersions tells them: those of the image, and the quorum's own.
pub fn finalized(image: &Image) -> Vec<(String, i16)> {
    let mut levels: Vec<(String, i16)> = image.features().iter().map(|(n, l)| (n.clone(), *l)).collect();
    // The quorum keeps its level itself: it is not a record of the metadata log.
    levels.extend(supported().filter(|f| f.name == KRAFT).map(|f| (f.name.to_owned(), f.max)));
    levels.sort();
    levels
}

/// The records that finalize what is built and stands lower in the image: everything in a new cluster, and after an
/// upgrade what came with it.
pub fn finalize(image: &Image) -> Vec<MetadataRecord> {
    let lower = |f: &Feature| image.features().get(f.name).is_none_or(|level| *level < f.max);
    supported()
        .filter(|f| f.name != KRAFT && lower(f))
        .map(|f| FeatureLevelRecord { name: f.name.to_owned(), feature_level: f.max }.into())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_cluster_is_finalized_once() {
        let image = Image::empty("c");
        let records = finalize(&image);
        let image = image.apply(&records, 0).unwrap();
        assert_eq!(image.features().get(METADATA), Some(&29));
        assert_eq!(finalize(&image), []);
        let levels = [("group.version", 1), (KRAFT, 1), (METADATA, 29), ("transaction.version", 2)];
        assert_eq!(finalized(&image), levels.map(|(name, level)| (name.to_owned(), level)));
    }
}
