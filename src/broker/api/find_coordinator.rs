//! FindCoordinator: who coordinates a group or a transactional id. The first one who asks has the topic made that they
//! are kept in.

use super::Asked;
use super::create_topics::create_missing;
use crate::broker::connection::{Ended, Reply};
use crate::broker::coordinator::{GROUPS_TOPIC, TRANSACTIONS_TOPIC, partition_for};
use crate::controller::image::NO_LEADER;
use crate::wire::error::ErrorCode;
use crate::wire::schema::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};

/// The first version that asks for several keys.
const SEVERAL: i16 = 4;
/// What has coordinators: groups, transactions, and from version 6 on share groups.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE_GROUP: i8 = 2;
const KINDS: std::ops::RangeInclusive<i8> = 0..=2;
const NOBODY: i32 = -1;

/// Names the coordinator of each key.
pub async fn answer(mut asked: Asked) -> Result<Reply, Ended> {
    let request: FindCoordinatorRequest = asked.decode()?;
    let keys = match asked.version {
        SEVERAL.. => request.coordinator_keys,
        _ => vec![request.key],
    };
    if let Some(topic) = topic_of(request.key_type).filter(|_| !keys.is_empty()) {
        create_missing(&asked.client.core, std::iter::once(topic)).await;
    }
    let found: Vec<Coordinator> = keys.into_iter().map(|key| find(&asked, request.key_type, key)).collect();
    if asked.version >= SEVERAL {
        return asked.reply(&FindCoordinatorResponse { coordinators: found, ..Default::default() });
    }
    let [found] = <[Coordinator; 1]>::try_from(found).expect("one key was asked for");
    asked.reply(&FindCoordinatorResponse {
        error_code: found.error_code,
        error_message: found.error_message,
        node_id: found.node_id,
        host: found.host,
        port: found.port,
        ..Default::default()
    })
}

/// Whether a key names what a share group knows of a partition: `GROUP:TOPIC_ID:PARTITION`.
fn is_share(key: &str) -> bool {
    let mut parts = key.rsplitn(3, ':');
    let partition = parts.next().is_some_and(|number| number.parse::<i32>().is_ok());
    partition && parts.next().is_some_and(|id| id.len() == 22) && parts.next().is_some()
}

/// The topic that a kind of coordinator keeps.
fn topic_of(kind: i8) -> Option<&'static str> {
    match kind {
        GROUP => Some(GROUPS_TOPIC),
        TRANSACTION => Some(TRANSACTIONS_TOPIC),
        _ => None,
    }
}

fn find(asked: &Asked, kind: i8, key: String) -> Coordinator {
    let core = &asked.client.core;
    let image = core.image();
    let nobody = |key, error_code, why: String| Coordinator {
        key,
        node_id: NOBODY,
        host: String::new(),
        port: NOBODY,
        error_code,
        error_message: Some(why),
    };
    if !KINDS.contains(&kind) || kind == SHARE_GROUP && !is_share(&key) {
        let why = format!("there is no coordinator type {kind} for such a key");
        return nobody(key, ErrorCode::INVALID_REQUEST, why);
    }
    let Some(topic) = topic_of(kind) else {
        let why = "this broker coordinates no share groups".to_string();
        return nobody(key, ErrorCode::COORDINATOR_NOT_AVAILABLE, why);
    };
    let leader = image.topic_named(topic).and_then(|topic| {
        let partition = topic.partitions.get(&partition_for(&key, topic.partitions.len()))?;
        image.broker(partition.leader).filter(|_| partition.leader != NO_LEADER)
    });
    let listener = &core.settings.listeners[asked.client.listener];
    let endpoint = leader.and_then(|leader| Some((leader.id, leader.endpoint(listener)?)));
    match endpoint {
        Some((node_id, endpoint)) => Coordinator {
            key,
            node_id,
            host: endpoint.host.clone(),
            port: i32::from(endpoint.port),
            error_code: ErrorCode::NONE,
            error_message: Some(String::new()),
        },
        None => {
            let why = format!("no broker leads its partition of {topic} at the moment");
            nobody(key, ErrorCode::COORDINATOR_NOT_AVAILABLE, why)
        }
    }
}
