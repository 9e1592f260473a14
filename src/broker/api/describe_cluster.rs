//! DescribeCluster: the brokers.

use super::Asked;
use super::metadata::CLUSTER_OPERATIONS;
use crate::broker::connection::{Ended, Reply};
use crate::wire::error::ErrorCode;
use crate::wire::schema::{DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse};

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// Names the brokers that can be reached through the client's listener.
pub fn answer(mut asked: Asked) -> Result<Reply, Ended> {
    let request: DescribeClusterRequest = asked.decode()?;
    let refused = match request.endpoint_type {
        BROKERS => None,
        CONTROLLERS => Some((
            ErrorCode::MISMATCHED_ENDPOINT_TYPE,
            "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER"
                .to_string(),
        )),
        other => Some((ErrorCode::UNSUPPORTED_ENDPOINT_TYPE, format!("Unsupported endpoint type {other}"))),
    };
    if let Some((error_code, message)) = refused {
        let error_message = Some(message);
        return asked.reply(&DescribeClusterResponse { error_code, error_message, ..Default::default() });
    }
    let core = &asked.client.core;
    let image = core.image();
    let listener = &core.settings.listeners[asked.client.listener];
    let brokers = image.brokers().filter(|broker| !broker.fenced || request.include_fenced_brokers);
    let brokers = brokers.filter_map(|broker| {
        let endpoint = broker.endpoint(listener)?;
        Some(DescribeClusterBroker {
            broker_id: broker.id,
            host: endpoint.host.clone(),
            port: i32::from(endpoint.port),
            rack: broker.rack.clone(),
            is_fenced: broker.fenced,
        })
    });
    let operations = request.include_cluster_authorized_operations;
    asked.reply(&DescribeClusterResponse {
        cluster_id: image.cluster_id().to_string(),
        controller_id: core.settings.node_id,
        brokers: brokers.collect(),
        cluster_authorized_operations: if operations { CLUSTER_OPERATIONS } else { i32::MIN },
        ..DescribeClusterResponse::default()
    })
}
