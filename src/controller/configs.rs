//! Changing the settings of topics and brokers.

use std::sync::Arc;

use super::image::resource;
use super::{Answer, Controller, Refusal, names};
use crate::collections::Set;
use crate::config::nearest::did_you_mean;
use crate::config::settings::{self, Dynamic, Setting, Type, listener_base};
use crate::config::value::{Value, parse};
use crate::config::{Layers, Overrides, resources, topic};
use crate::limits::METADATA_BATCH_RECORDS;
use crate::wire::error::ErrorCode;
use crate::wire::metadata_record::MetadataRecord;
use crate::wire::schema::*;

/// The longest value of a setting, as its length fits into a record.
const VALUE_MAX: usize = i16::MAX as usize;

const PER_IP_OVERRIDES: &str = "max.connections.per.ip.overrides";

/// What is to become of a setting.
enum Op<'a> {
    Set(&'a str),
    Delete,
    Append(&'a str),
    Subtract(&'a str),
}

impl Controller {
    /// Changes single settings of resources, each resource by itself: all of its changes or none.
    pub fn incremental_alter_configs(
        &self,
        request: &IncrementalAlterConfigsRequest,
    ) -> Answer<Vec<IncrementalAlterConfigsResourceResponse>> {
        let twice = named_twice(request.resources.iter().map(|r| (r.resource_type, &*r.resource_name)));
        let mut records = Vec::new();
        let mut reply = Vec::new();
        for wanted in &request.resources {
            let (kind, name) = (wanted.resource_type, &*wanted.resource_name);
            let result =
                few(request.resources.len()).and_then(|()| once(&twice, kind, name)).and_then(|()| {
                    unique(wanted.configs.iter().map(|config| &*config.name))?;
                    let mut ops = Vec::with_capacity(wanted.configs.len());
                    for config in &wanted.configs {
                        ops.push((config.name.as_str(), op(config)?));
                    }
                    self.alter(kind, name, &ops)
                });
            let (error_code, error_message) = gather(&mut records, result);
            reply.push(IncrementalAlterConfigsResourceResponse {
                error_code,
                error_message,
                resource_type: kind,
                resource_name: wanted.resource_name.clone(),
            });
        }
        if request.validate_only {
            records.clear();
        }
        Answer { reply, records }
    }

    /// Replaces all settings of resources, each resource by itself: what is not in the request goes back to its
    /// default.
    pub fn alter_configs(&self, request: &AlterConfigsRequest) -> Answer<Vec<AlterConfigsResourceResponse>> {
        let twice = named_twice(request.resources.iter().map(|r| (r.resource_type, &*r.resource_name)));
        let mut records = Vec::new();
        let mut reply = Vec::new();
        for wanted in &request.resources {
            let (kind, name) = (wanted.resource_type, &*wanted.resource_name);
            let result = few(request.resources.len())
                .and_then(|()| once(&twice, kind, name))
                .and_then(|()| self.replace(kind, name, &wanted.configs));
            let (error_code, error_message) = gather(&mut records, result);
            reply.push(AlterConfigsResourceResponse {
                error_code,
                error_message,
                resource_type: kind,
                resource_name: wanted.resource_name.clone(),
            });
        }
        if request.validate_only {
            records.clear();
        }
        Answer { reply, records }
    }

    fn replace(
        &self,
        kind: i8,
        name: &str,
        configs: &[AlterableConfig],
    ) -> Result<Vec<MetadataRecord>, Refusal> {
        let named = unique(configs.iter().map(|config| &*config.name))?;
        let before = self.overrides(kind, name)?;
        let mut ops = Vec::with_capacity(configs.len());
        for config in configs {
            ops.push((config.name.as_str(), Op::Set(set_value(&config.name, &config.value)?)));
        }
        let gone = before.keys().filter(|setting| !named.contains(setting.as_str()));
        ops.extend(gone.map(|setting| (setting.as_str(), Op::Delete)));
        self.alter(kind, name, &ops)
    }

    /// What is set for a resource, if it is one that settings can be set for here.
    fn overrides(&self, kind: i8, name: &str) -> Result<Arc<Overrides>, Refusal> {
        match kind {
            resource::TOPIC => {
                if name.is_empty() {
                    return Err(invalid_request("Default topic resources are not allowed."));
                }
                names::check(name).map_err(|what| Refusal::new(ErrorCode::INVALID_TOPIC_EXCEPTION, what))?;
                let topic = self.image().topic_named(name).ok_or_else(|| {
                    let what = format!("The topic '{name}' does not exist.");
                    Refusal::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, what)
                })?;
                return Ok(topic.configs.clone());
            }
            resource::BROKER if name.is_empty() => {}
            resource::BROKER => self.check_broker_id(name)?,
            resource::CLIENT_METRICS if name.is_empty() => {
                return Err(invalid_request("Subscription name can't be empty"));
            }
            resource::GROUP if name.is_empty() => {
                return Err(invalid_request("Default group resources are not allowed."));
            }
            resource::CLIENT_METRICS | resource::GROUP if name.len() > VALUE_MAX => {
                return Err(invalid_request(format!("the name is longer than {VALUE_MAX} bytes")));
            }
            resource::CLIENT_METRICS | resource::GROUP => {}
            other => {
                return Err(invalid_request(format!(
                    "Unknown resource type {other}: settings are those of topics (2), brokers (4), client metrics \
                     (16) and groups (32), and the levels of loggers (8) change one by one"
                )));
            }
        }
        Ok(self.image().configs(kind, name).cloned().unwrap_or_default())
    }

    fn check_broker_id(&self, name: &str) -> Result<(), Refusal> {
        let Ok(id) = name.parse::<i32>() else {
            return Err(invalid_request(format!("Node id must be an integer, but it is: {name}")));
        };
        match self.image().broker(id) {
            Some(_) => Ok(()),
            None => {
                let node = self.defaults.node_id;
                Err(invalid_request(format!("Unexpected broker id, expected {node}, but received {id}")))
            }
        }
    }

    fn alter(&self, kind: i8, name: &str, ops: &[(&str, Op)]) -> Result<Vec<MetadataRecord>, Refusal> {
        let before = self.overrides(kind, name)?;
        let mut after = (*before).clone();
        for (setting, op) in ops {
            match op {
                Op::Delete => {
                    after.remove(*setting);
                }
                Op::Set(value) => {
                    after.insert((*setting).to_owned(), (*value).to_owned());
                }
                Op::Append(values) => {
                    let mut list = self.list(kind, name, setting, &before, "APPEND")?;
                    list.extend(items(values).filter(|item| !list.contains(item)).collect::<Vec<_>>());
                    after.insert((*setting).to_owned(), list.join(","));
                }
                Op::Subtract(values) => {
                    let mut list = self.list(kind, name, setting, &before, "SUBTRACT")?;
                    list.retain(|item| !items(values).any(|gone| gone == *item));
                    after.insert((*setting).to_owned(), list.join(","));
                }
            }
        }
        if let Some((long, _)) = after.iter().find(|(_, value)| value.len() > VALUE_MAX) {
            let what = format!("The value of {long} exceeds the maximum value size of {VALUE_MAX} bytes.");
            return Err(Refusal::new(ErrorCode::INVALID_CONFIG, what));
        }
        match kind {
            resource::TOPIC => self.check_topic(name, &after)?,
            resource::BROKER => {
                check_broker(name, &before, &after)?;
                self.check_limits(name, &before, &after)?;
            }
            resource::GROUP => resources::check_group(&after, &self.layers()).map_err(invalid_config)?,
            _ => resources::check_client_metrics(&after).map_err(|bad| match bad {
                resources::Bad::Value(what) => invalid_config(what),
                resources::Bad::Name(what) => invalid_request(what),
            })?,
        }
        Ok(difference(kind, name, &before, &after))
    }

    /// What single values do not tell: limits that would let nobody in, and memory in which nothing can be done.
    fn check_limits(&self, name: &str, before: &Overrides, after: &Overrides) -> Result<(), Refusal> {
        let after = Arc::new(after.clone());
        let layers = match name.is_empty() {
            true => Layers { dynamic_default: after.clone(), ..self.layers() },
            false => Layers { dynamic: after.clone(), ..self.layers() },
        };
        let number = |name: &str| layers.value(name).and_then(|text| text.trim().parse::<i64>().ok());
        for (setting, value) in after.iter().filter(|(s, value)| before.get(*s) != Some(*value)) {
            let base = listener_base(setting).unwrap_or(setting);
            let is_zero = value.trim().parse() == Ok(0);
            let what = match base {
                "max.connections" | "max.connection.creation.rate" if is_zero => {
                    format!("Invalid {base} 0: nobody could connect any more, not even to take it back")
                }
                "max.connections.per.ip"
                    if is_zero && layers.value(PER_IP_OVERRIDES).is_none_or(str::is_empty) =>
                {
                    format!("{base} can be set to zero only if {PER_IP_OVERRIDES} property is set.")
                }
                "log.cleaner.threads" if is_zero => format!("{base} should be at least 1"),
                "log.cleaner.dedupe.buffer.size" | "log.cleaner.threads"
                    if number("log.cleaner.dedupe.buffer.size").unwrap_or(i64::MAX)
                        / number("log.cleaner.threads").unwrap_or(1).max(1)
                        <= 1 << 20 =>
                {
                    "log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.".to_owned()
                }
                _ => continue,
            };
            return Err(invalid_request(what));
        }
        Ok(())
    }

    fn check_topic(&self, name: &str, after: &Overrides) -> Result<(), Refusal> {
        let partition = self.image().topic_named(name).and_then(|topic| topic.partitions.get(&0));
        let replicas = partition.map_or(1, |partition| partition.replicas.len());
        topic::validate(after, &self.layers(), replicas).map_err(invalid_config)
    }

    /// The list that a setting holds now: what is set, or else what holds without.
    fn list(
        &self,
        kind: i8,
        name: &str,
        setting: &str,
        before: &Overrides,
        verb: &str,
    ) -> Result<Vec<String>, Refusal> {
        let row = match kind {
            resource::TOPIC => settings::topic().get(setting),
            resource::BROKER => settings::broker().get(setting),
            _ => None,
        };
        let row = row.filter(|row| row.kind == Type::List).ok_or_else(|| {
            invalid_config(format!("Can't {verb} to key {setting} because its type is not LIST."))
        })?;
        let value = match kind {
            resource::TOPIC => topic::effective(row, before, &self.layers(), 1),
            _ => broker_value(row, name, before, &self.layers()),
        };
        Ok(match value {
            Some(Value::List(list)) => list,
            _ => Vec::new(),
        })
    }
}

/// Whether each setting is named once, and has a value unless it is deleted.
pub fn check_changes(changes: &[IncrementalAlterableConfig]) -> Result<(), Refusal> {
    unique(changes.iter().map(|change| &*change.name))?;
    let without = changes.iter().filter(|change| change.config_operation != 1);
    without.map(|change| set_value(&change.name, &change.value)).collect::<Result<Vec<_>, _>>().map(drop)
}

/// Brokers have settings that only a restart changes, and some that each broker has of its own.
fn check_broker(name: &str, before: &Overrides, after: &Overrides) -> Result<(), Refusal> {
    let changed = after.iter().filter(|(setting, value)| before.get(*setting) != Some(*value));
    let mut rows = Vec::new();
    for (setting, value) in changed {
        let own_name = settings::broker().get(setting);
        let Some(row) = own_name.or_else(|| settings::broker().get(listener_base(setting)?)) else {
            let names = settings::broker().rows().iter().map(|row| row.name);
            return Err(invalid_request(format!(
                "Unknown broker config name: {setting}.{}",
                did_you_mean(setting, names)
            )));
        };
        rows.push((setting.as_str(), value, row));
    }
    let none_is = |what: &str, is: &dyn Fn(&str, &Setting) -> bool| {
        let bad: Vec<&str> = rows.iter().filter(|(s, _, row)| is(s, row)).map(|(s, ..)| *s).collect();
        match bad.is_empty() {
            true => Ok(()),
            false => Err(invalid_request(format!("{what}: Set({})", bad.join(", ")))),
        }
    };
    none_is("Cannot update these configs dynamically", &|_, row| row.dynamic == Dynamic::ReadOnly)?;
    none_is(
        "These security configs can be dynamically updated only per-listener using the listener prefix",
        &|setting, _| setting.starts_with("ssl."),
    )?;
    for (_, value, row) in &rows {
        parse(row, value).map_err(|bad| invalid_request(bad.to_string()))?;
    }
    if name.is_empty() {
        none_is("Cannot update these configs at default cluster level", &|_, row| {
            row.dynamic == Dynamic::PerBroker
        })?;
    }
    // Kafka opens and closes listeners while it runs; what would do nothing here is not taken.
    none_is("Listeners open when the broker starts: change its file and restart it", &|setting, _| {
        matches!(setting, "listeners" | "listener.security.protocol.map")
    })
}

fn broker_value(row: &Setting, name: &str, before: &Overrides, layers: &Layers) -> Option<Value> {
    let mut layers = layers.clone();
    match name.is_empty() {
        true => layers = Layers { dynamic_default: Arc::new(before.clone()), ..Layers::default() },
        false => layers.dynamic = Arc::new(before.clone()),
    }
    layers.value(row.name).and_then(|text| parse(row, text).ok())
}

fn items(text: &str) -> impl Iterator<Item = String> {
    text.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty())
}

fn op(config: &IncrementalAlterableConfig) -> Result<Op<'_>, Refusal> {
    match config.config_operation {
        1 => Ok(Op::Delete),
        0 => Ok(Op::Set(set_value(&config.name, &config.value)?)),
        2 => Ok(Op::Append(set_value(&config.name, &config.value)?)),
        3 => Ok(Op::Subtract(set_value(&config.name, &config.value)?)),
        other => Err(invalid_request(format!("{}: there is no operation {other} on a setting", config.name))),
    }
}

fn set_value<'a>(name: &str, value: &'a Option<String>) -> Result<&'a str, Refusal> {
    value.as_deref().ok_or_else(|| invalid_request(format!("Null value not supported for : {name}")))
}

fn invalid_request(what: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::INVALID_REQUEST, what)
}

fn invalid_config(what: String) -> Refusal {
    Refusal::new(ErrorCode::INVALID_CONFIG, what)
}

/// Whether so many resources may change in one request, which holds up the controller.
fn few(resources: usize) -> Result<(), Refusal> {
    match resources > METADATA_BATCH_RECORDS {
        true => Err(too_many()),
        false => Ok(()),
    }
}

fn too_many() -> Refusal {
    let what = format!("{METADATA_BATCH_RECORDS} changes fit in one request: send fewer at once");
    Refusal::new(ErrorCode::POLICY_VIOLATION, what)
}

/// The resources that are named more than once.
fn named_twice<'a>(named: impl Iterator<Item = (i8, &'a str)>) -> Set<(i8, &'a str)> {
    let mut seen = Set::default();
    named.filter(|resource| !seen.insert(*resource)).collect()
}

fn once(twice: &Set<(i8, &str)>, kind: i8, name: &str) -> Result<(), Refusal> {
    match twice.contains(&(kind, name)) {
        false => Ok(()),
        true => Err(invalid_request("Each resource must appear at most once.")),
    }
}

/// The settings that are named, each once.
fn unique<'a>(named: impl Iterator<Item = &'a str>) -> Result<Set<&'a str>, Refusal> {
    let mut seen = Set::default();
    for setting in named {
        if !seen.insert(setting) {
            return Err(invalid_request(format!("Error due to duplicate config keys: {setting}")));
        }
    }
    Ok(seen)
}

/// Takes a resource's records in, if they still fit into the batch.
fn gather(
    records: &mut Vec<MetadataRecord>,
    result: Result<Vec<MetadataRecord>, Refusal>,
) -> (ErrorCode, Option<String>) {
    match result {
        Ok(new) if records.len() + new.len() <= METADATA_BATCH_RECORDS => {
            records.extend(new);
            (ErrorCode::NONE, None)
        }
        Ok(_) => {
            let refusal = too_many();
            (refusal.error, Some(refusal.message))
        }
        Err(refusal) => (refusal.error, Some(refusal.message)),
    }
}

/// Records for what differs, and for nothing else.
fn difference(kind: i8, name: &str, before: &Overrides, after: &Overrides) -> Vec<MetadataRecord> {
    let record = |setting: &String, value: Option<&String>| {
        ConfigRecord {
            resource_type: kind,
            resource_name: name.to_owned(),
            name: setting.clone(),
            value: value.cloned(),
        }
        .into()
    };
    let gone = before.keys().filter(|setting| !after.contains_key(*setting)).map(|s| record(s, None));
    let set =
        after.iter().filter(|(s, value)| before.get(*s) != Some(*value)).map(|(s, v)| record(s, Some(v)));
    gone.chain(set).collect()
}
