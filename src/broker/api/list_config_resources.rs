//! ListConfigResources: what has settings, or may have some.

use super::Asked;
use crate::broker::connection::{Ended, Reply};
use crate::broker::core::Core;
use crate::controller::Image;
use crate::controller::image::resource;
use crate::wire::error::ErrorCode;
use crate::wire::schema::{ConfigResource, ListConfigResourcesRequest, ListConfigResourcesResponse};

/// From this version on, any type can be asked for; before, subscriptions to clients' metrics alone.
const KNOWS_TYPES: i16 = 1;
/// All types, in the order in which they are told where none is named.
const TYPES: [i8; 5] =
    [resource::TOPIC, resource::BROKER, resource::BROKER_LOGGER, resource::CLIENT_METRICS, resource::GROUP];
/// What a resource takes in memory, with a name.
const PART: usize = 256;

/// How much memory an answer may take.
pub fn memory(core: &Core) -> usize {
    let image = core.image();
    (image.topic_count() + image.configured().count() + 2 * image.brokers().count()) * PART
}

/// Lists the resources of the types asked for, or of all.
pub async fn answer(mut asked: Asked) -> Result<Reply, Ended> {
    let request: ListConfigResourcesRequest = asked.decode()?;
    let types = match asked.version {
        KNOWS_TYPES.. if request.resource_types.is_empty() => TYPES.to_vec(),
        KNOWS_TYPES.. => request.resource_types,
        _ => vec![resource::CLIENT_METRICS],
    };
    if types.iter().any(|kind| !TYPES.contains(kind)) {
        let error_code = ErrorCode::UNSUPPORTED_VERSION;
        return asked.reply(&ListConfigResourcesResponse { error_code, ..Default::default() });
    }
    let image = asked.client.core.image();
    let mut config_resources = Vec::new();
    for kind in TYPES.iter().filter(|kind| types.contains(kind)) {
        let told = names(&image, *kind);
        config_resources
            .extend(told.map(|resource_name| ConfigResource { resource_name, resource_type: *kind }));
        asked.client.core.reactor.yield_now().await;
    }
    asked.reply(&ListConfigResourcesResponse { config_resources, ..Default::default() })
}

fn names(image: &Image, kind: i8) -> Box<dyn Iterator<Item = String> + '_> {
    match kind {
        resource::TOPIC => Box::new(image.topics().map(|topic| topic.name.to_string())),
        resource::BROKER | resource::BROKER_LOGGER => {
            Box::new(image.brokers().map(|broker| broker.id.to_string()))
        }
        _ => {
            Box::new(image.configured().filter(move |(of, _)| *of == kind).map(|(_, name)| name.to_string()))
        }
    }
}
