//! Changing the settings of topics and brokers.

use std::sync::Arc;

use super::image::resource;
use super::{Answer, Controller, Refusal};
use crate::config::nearest::did_you_mean;
use crate::config::settings::{self, Dynamic, Setting, Type, listener_base};
use crate::config::value::{Value, parse};
use crate::config::{Layers, Overrides, topic};
use crate::limits::METADATA_BATCH_RECORDS;
use crate::wire::error::ErrorCode;
use crate::wire::metadata_record::MetadataRecord;
use crate::wire::schema::*;

/// The longest value of a setting, as its length fits into a record.
const VALUE_MAX: usize = i16::MAX as usize;

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
        let names: Vec<_> = request.resources.iter().map(|r| (r.resource_type, &*r.resource_name)).collect();
        let mut records = Vec::new();
        let mut reply = Vec::new();
        for (at, wanted) in request.resources.iter().enumerate() {
            let result = once(&names, at).and_then(|()| {
                let mut ops = Vec::with_capacity(wanted.configs.len());
                for config in &wanted.configs {
                    ops.push((config.name.as_str(), op(config)?));
                }
                self.alter(wanted.resource_type, &wanted.resource_name, &ops)
            });
            let (error_code, error_message) = gather(&mut records, result);
            reply.push(IncrementalAlterConfigsResourceResponse {
                error_code,
                error_message,
                resource_type: wanted.resource_type,
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
        let names: Vec<_> = request.resources.iter().map(|r| (r.resource_type, &*r.resource_name)).collect();
        let mut records = Vec::new();
        let mut reply = Vec::new();
        for (at, wanted) in request.resources.iter().enumerate() {
            let result = once(&names, at).and_then(|()| {
                let before = self.overrides(wanted.resource_type, &wanted.resource_name)?;
                let mut ops = Vec::with_capacity(wanted.configs.len());
                for config in &wanted.configs {
                    ops.push((config.name.as_str(), Op::Set(set_value(&config.name, &config.value)?)));
                }
                let gone = before.keys().filter(|name| !wanted.configs.iter().any(|c| c.name == **name));
                ops.extend(gone.map(|name| (name.as_str(), Op::Delete)));
                self.alter(wanted.resource_type, &wanted.resource_name, &ops)
            });
            let (error_code, error_message) = gather(&mut records, result);
            reply.push(AlterConfigsResourceResponse {
                error_code,
                error_message,
                resource_type: wanted.resource_type,
                resource_name: wanted.resource_name.clone(),
            });
        }
        if request.validate_only {
            records.clear();
        }
        Answer { reply, records }
    }

    /// What is set for a resource, if it is one that settings can be set for here.
    fn overrides(&self, kind: i8, name: &str) -> Result<Arc<Overrides>, Refusal> {
        match kind {
            resource::TOPIC => {
                let topic = self.image().topic_named(name).ok_or_else(|| {
                    let what = format!("The topic '{name}' does not exist.");
                    Refusal::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, what)
                })?;
                Ok(topic.configs.clone())
            }
            resource::BROKER => {
                if !name.is_empty() {
                    let id = name.parse::<i32>().map_err(|_| {
                        let what =
                            format!("'{name}' is not a broker: give its node.id, or nothing for all brokers");
                        Refusal::new(ErrorCode::INVALID_REQUEST, what)
                    })?;
                    if self.image().broker(id).is_none() {
                        let what = format!("No broker with id {id} found.");
                        return Err(Refusal::new(ErrorCode::BROKER_ID_NOT_REGISTERED, what));
                    }
                }
                Ok(self.image().configs(kind, name).cloned().unwrap_or_default())
            }
            other => {
                let what = format!("settings of the resource type {other} cannot be changed here");
                Err(Refusal::new(ErrorCode::INVALID_REQUEST, what))
            }
        }
    }

    fn alter(&self, kind: i8, name: &str, ops: &[(&str, Op)]) -> Result<Vec<MetadataRecord>, Refusal> {
        let before = self.overrides(kind, name)?;
        let mut after = (*before).clone();
        for (at, (setting, op)) in ops.iter().enumerate() {
            if ops[..at].iter().any(|(other, _)| other == setting) {
                let what = format!("Error due to duplicate config keys: {setting}");
                return Err(Refusal::new(ErrorCode::INVALID_REQUEST, what));
            }
            match op {
                Op::Delete => {
                    after.remove(*setting);
                }
                Op::Set(value) => {
                    after.insert((*setting).to_owned(), (*value).to_owned());
                }
                Op::Append(values) => {
                    let mut list = self.list(kind, name, setting, &before)?;
                    list.extend(items(values).filter(|item| !list.contains(item)).collect::<Vec<_>>());
                    after.insert((*setting).to_owned(), list.join(","));
                }
                Op::Subtract(values) => {
                    let mut list = self.list(kind, name, setting, &before)?;
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
            _ => self.check_broker(name, &before, &after)?,
        }
        Ok(difference(kind, name, &before, &after))
    }

    fn check_topic(&self, name: &str, after: &Overrides) -> Result<(), Refusal> {
        let partition = self.image().topic_named(name).and_then(|topic| topic.partitions.get(&0));
        let replicas = partition.map_or(1, |partition| partition.replicas.len());
        topic::validate(after, &self.layers(), replicas)
            .map_err(|what| Refusal::new(ErrorCode::INVALID_CONFIG, what))
    }

    /// Brokers have settings that only a restart changes, and some that each broker has of its own.
    fn check_broker(&self, name: &str, before: &Overrides, after: &Overrides) -> Result<(), Refusal> {
        let invalid = |what: String| Err(Refusal::new(ErrorCode::INVALID_REQUEST, what));
        for (setting, value) in after.iter().filter(|(setting, value)| before.get(*setting) != Some(*value)) {
            let own_name = settings::broker().get(setting);
            let Some(row) = own_name.or_else(|| settings::broker().get(listener_base(setting)?)) else {
                let names = settings::broker().rows().iter().map(|row| row.name);
                return invalid(format!(
                    "Unknown broker config name: {setting}.{}",
                    did_you_mean(setting, names)
                ));
            };
            match row.dynamic {
                Dynamic::ReadOnly => {
                    return invalid(format!(
                        "Cannot update these configs dynamically: {setting}. Change the broker's file and restart it"
                    ));
                }
                Dynamic::PerBroker if name.is_empty() => {
                    return invalid(format!(
                        "Cannot update these configs at default cluster level: {setting}. Set it for each broker"
                    ));
                }
                _ => {}
            }
            if let Err(bad) = parse(row, value) {
                return invalid(bad.to_string());
            }
        }
        Ok(())
    }

    /// The list that a setting holds now: what is set, or else what holds without.
    fn list(&self, kind: i8, name: &str, setting: &str, before: &Overrides) -> Result<Vec<String>, Refusal> {
        let table = if kind == resource::TOPIC { settings::topic() } else { settings::broker() };
        let row = table.get(setting).filter(|row| row.kind == Type::List).ok_or_else(|| {
            let what = format!("Can't append to or subtract from {setting}, because its type is not LIST.");
            Refusal::new(ErrorCode::INVALID_CONFIG, what)
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
        other => {
            let what = format!("{}: there is no operation {other} on a setting", config.name);
            Err(Refusal::new(ErrorCode::INVALID_REQUEST, what))
        }
    }
}

fn set_value<'a>(name: &str, value: &'a Option<String>) -> Result<&'a str, Refusal> {
    value.as_deref().ok_or_else(|| {
        Refusal::new(ErrorCode::INVALID_REQUEST, format!("Null value not supported for : {name}"))
    })
}

fn once(names: &[(i8, &str)], at: usize) -> Result<(), Refusal> {
    match names.iter().filter(|name| **name == names[at]).count() {
        1 => Ok(()),
        _ => Err(Refusal::new(ErrorCode::INVALID_REQUEST, "Each resource must appear at most once.")),
    }
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
            let what = format!("{METADATA_BATCH_RECORDS} changes fit in one request: send fewer at once");
            (ErrorCode::POLICY_VIOLATION, Some(what))
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
