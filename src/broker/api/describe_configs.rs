//! DescribeConfigs: every setting of a topic or broker, its value and where that comes from.

use super::Asked;
use crate::broker::connection::{Ended, Reply};
use crate::broker::core::Core;
use crate::broker::loggers::{Level, Levels, ROOT};
use crate::config::describe::{self, Row};
use crate::config::layers::Source;
use crate::controller::image::resource;
use crate::controller::{Refusal, names};
use crate::wire::error::ErrorCode;
use crate::wire::schema::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};

/// The least bytes that a resource takes in a request.
const RESOURCE: usize = 4;
/// The most memory that one resource takes in an answer: a broker's settings with their documentation.
const ANSWER_PART: usize = 512 << 10;
/// What a row takes in memory besides its text, and a synonym.
const ROW: usize = 300;

/// How much memory an answer to a request of this many bytes may take.
pub fn memory(core: &Core, request_bytes: usize) -> usize {
    (request_bytes / RESOURCE + 1).saturating_mul(ANSWER_PART).min(2 * core.answer_memory)
}

/// Describes each resource by itself.
pub async fn answer(mut asked: Asked) -> Result<Reply, Ended> {
    let request: DescribeConfigsRequest = asked.decode()?;
    let core = asked.client.core.clone();
    let mut results = Vec::with_capacity(request.resources.len());
    let mut bytes = 0;
    let most = core.answer_memory;
    for wanted in &request.resources {
        let described = describe(&core, wanted, &request);
        bytes += size(&described);
        if bytes > most {
            return Err(Ended::because(format!(
                "its DescribeConfigs request asks for settings that take more than {most} bytes: ask for fewer topics \
                 or brokers at once"
            )));
        }
        results.push(described);
        core.reactor.yield_now().await;
    }
    asked.reply(&DescribeConfigsResponse { results, ..DescribeConfigsResponse::default() })
}

/// About how many bytes of memory it takes.
fn size(described: &DescribeConfigsResult) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let rows = described.configs.iter().map(|row| {
        let synonyms: usize = row.synonyms.iter().map(|s| s.name.len() + text(&s.value) + ROW / 2).sum();
        row.name.len() + text(&row.value) + text(&row.documentation) + synonyms + ROW
    });
    described.resource_name.len() + text(&described.error_message) + ROW + rows.sum::<usize>()
}

fn describe(
    core: &Core,
    wanted: &DescribeConfigsResource,
    request: &DescribeConfigsRequest,
) -> DescribeConfigsResult {
    let (error_code, error_message, rows) = match rows(core, wanted) {
        // Kafka has an empty message here, not none.
        Ok(rows) => (ErrorCode::NONE, Some(String::new()), rows),
        Err(refusal) => (refusal.error, Some(refusal.message), Vec::new()),
    };
    let keys = wanted.configuration_keys.as_deref().unwrap_or_default();
    let told = rows.into_iter().filter(|row| keys.is_empty() || keys.contains(&row.name));
    DescribeConfigsResult {
        error_code,
        error_message,
        resource_type: wanted.resource_type,
        resource_name: wanted.resource_name.clone(),
        configs: told.map(|row| setting(row, request)).collect(),
    }
}

fn rows(core: &Core, wanted: &DescribeConfigsResource) -> Result<Vec<Row>, Refusal> {
    let name = wanted.resource_name.as_str();
    match wanted.resource_type {
        resource::TOPIC => topic_rows(core, name),
        resource::BROKER => broker_rows(core, name),
        resource::BROKER_LOGGER => logger_rows(core, name),
        resource::CLIENT_METRICS if name.is_empty() => {
            invalid("Client metrics subscription name must not be empty".to_owned())
        }
        resource::CLIENT_METRICS => Ok(describe::client_metrics(
            &core.image().configs(wanted.resource_type, name).cloned().unwrap_or_default(),
        )),
        resource::GROUP if name.is_empty() => invalid("Group name must not be empty".to_owned()),
        resource::GROUP => {
            let image = core.image();
            let layers = image.broker_layers(core.settings.node_id, &core.config.layers);
            let set = image.configs(wanted.resource_type, name).cloned().unwrap_or_default();
            Ok(describe::group(&set, &layers))
        }
        other => invalid(format!(
            "resources of type {other} have no settings: topics (2), brokers (4), broker loggers (8), client metrics \
             (16) and groups (32) do"
        )),
    }
}

fn invalid(what: String) -> Result<Vec<Row>, Refusal> {
    Err(Refusal::new(ErrorCode::INVALID_REQUEST, what))
}

fn logger_rows(core: &Core, name: &str) -> Result<Vec<Row>, Refusal> {
    let node = core.settings.node_id;
    match name.parse::<i32>() {
        _ if name.is_empty() => invalid("Broker id must not be empty".to_owned()),
        Ok(id) if id == node => Ok(level_rows(&core.loggers().levels())),
        Ok(id) => invalid(format!("Unexpected broker id, expected {node} but received {id}")),
        Err(_) => invalid(format!("Broker id must be an integer, but it is: {name}")),
    }
}

fn level_rows(levels: &Levels) -> Vec<Row> {
    let all = std::iter::once((ROOT, levels.root())).chain(levels.all());
    let row = |(logger, level): (&str, Level)| Row {
        name: logger.to_owned(),
        value: Some(level.name().to_owned()),
        source: Source::BrokerLogger,
        read_only: false,
        sensitive: false,
        kind: 0,
        doc: None,
        synonyms: Vec::new(),
    };
    all.map(row).collect()
}

fn topic_rows(core: &Core, name: &str) -> Result<Vec<Row>, Refusal> {
    names::check(name).map_err(|what| Refusal::new(ErrorCode::INVALID_TOPIC_EXCEPTION, what))?;
    let image = core.image();
    let unknown =
        || Refusal::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, format!("there is no topic '{name}'"));
    let topic = image.topic_named(name).ok_or_else(unknown)?;
    let layers = image.broker_layers(core.settings.node_id, &core.config.layers);
    let replicas = topic.partitions.get(&0).map_or(1, |partition| partition.replicas.len());
    Ok(describe::topic(&topic.configs, &layers, replicas))
}

fn broker_rows(core: &Core, name: &str) -> Result<Vec<Row>, Refusal> {
    let node = core.settings.node_id;
    let layers = core.image().broker_layers(node, &core.config.layers);
    match name.parse::<i32>() {
        _ if name.is_empty() => Ok(describe::all_brokers(&layers)),
        Ok(id) if id == node => Ok(describe::broker(&layers)),
        Ok(id) => {
            invalid(format!("Unexpected broker id, expected {node} or empty string, but received {id}"))
        }
        Err(_) => invalid(format!("Broker id must be an integer, but it is: {name}")),
    }
}

fn setting(row: Row, request: &DescribeConfigsRequest) -> DescribeConfigsResourceResult {
    let synonyms = row.synonyms.into_iter().filter(|_| request.include_synonyms);
    DescribeConfigsResourceResult {
        name: row.name,
        value: row.value,
        read_only: row.read_only,
        config_source: row.source.code(),
        is_sensitive: row.sensitive,
        synonyms: synonyms
            .map(|(name, value, source)| DescribeConfigsSynonym { name, value, source: source.code() })
            .collect(),
        config_type: row.kind,
        documentation: row.doc.filter(|_| request.include_documentation).map(str::to_string),
    }
}
