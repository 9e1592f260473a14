//! The rows of DescribeConfigs: every setting with its value and where it comes from.

use super::layers::{Layers, Overrides, Source};
use super::settings::{self, Dynamic, Setting, Type};
use super::topic::effective;
use super::value::parse;

/// One setting of a resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Its value; none where there is none, or where it is secret.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: Source,
    /// Whether only a restart changes it.
    pub read_only: bool,
    /// Whether it is a secret.
    pub sensitive: bool,
    /// The type's number in a response; 0 for a setting that is not in the table.
    pub kind: i8,
    /// What it is for.
    pub doc: Option<&'static str>,
    /// Everything that gives it a value, the strongest first: name, value, source.
    pub synonyms: Vec<(String, Option<String>, Source)>,
}

/// The rows of a topic on a broker.
pub fn topic(overrides: &Overrides, broker: &Layers, replicas: usize) -> Vec<Row> {
    let shown = |row: &&&'static Setting| !row.internal || overrides.contains_key(row.name);
    let rows = settings::topic().rows().iter().filter(shown);
    rows.map(|row| {
        let value = effective(row, overrides, broker, replicas).map(|value| value.to_string());
        let mut synonyms = Vec::new();
        if overrides.contains_key(row.name) {
            synonyms.push((row.name.to_owned(), value.clone(), Source::DynamicTopic));
        }
        if let Some(first) = row.broker_synonyms.first() {
            // As in Kafka, defaults of other names than the first are not told.
            let other_default = |(name, _, source): &(String, String, Source)| {
                name != first.name && *source == Source::Default
            };
            let found = broker.synonyms(first.name).into_iter();
            synonyms.extend(
                found.skip_while(other_default).map(|(name, value, source)| (name, Some(value), source)),
            );
        }
        Row {
            name: row.name.to_owned(),
            value,
            source: synonyms.first().map_or(Source::Default, |(_, _, source)| *source),
            read_only: false,
            sensitive: false,
            kind: row.kind.code(),
            doc: Some(row.doc),
            synonyms,
        }
    })
    .collect()
}

/// The rows of a group on a broker.
pub fn group(overrides: &Overrides, broker: &Layers) -> Vec<Row> {
    let rows = settings::group().rows().iter();
    rows.map(|row| resource_row(row, overrides, broker, Source::Group, true)).collect()
}

/// The rows of a subscription to clients' metrics.
pub fn client_metrics(overrides: &Overrides) -> Vec<Row> {
    let (rows, none) = (settings::client_metrics().rows().iter(), Layers::default());
    rows.map(|row| resource_row(row, overrides, &none, Source::ClientMetrics, false)).collect()
}

fn resource_row(
    row: &'static Setting,
    overrides: &Overrides,
    broker: &Layers,
    set: Source,
    tells_default: bool,
) -> Row {
    let value = effective(row, overrides, broker, 1).map(|value| value.to_string());
    let source = if overrides.contains_key(row.name) { set } else { Source::Default };
    let told = source == set || tells_default;
    Row {
        name: row.name.to_owned(),
        value: value.clone(),
        source,
        read_only: false,
        sensitive: false,
        kind: row.kind.code(),
        doc: Some(row.doc),
        synonyms: told.then(|| (row.name.to_owned(), value, source)).into_iter().collect(),
    }
}

/// The rows of a broker. Settings of its file that are not in the table are shown as secrets, as nobody knows what
/// they hold.
pub fn broker(layers: &Layers) -> Vec<Row> {
    let shown = |row: &&&'static Setting| !row.internal || layers.given(row.name).is_some();
    let known = settings::broker().rows().iter().filter(shown);
    let mut rows: Vec<Row> = known.map(|row| broker_row(row, layers)).collect();
    let given = layers.file.keys().chain(layers.dynamic_default.keys()).chain(layers.dynamic.keys());
    for name in given.filter(|name| settings::broker().get(name).is_none()) {
        if rows.iter().any(|row| row.name == *name) {
            continue;
        }
        let base = settings::listener_base(name).and_then(|base| settings::broker().get(base));
        let sensitive = base.is_none_or(Setting::sensitive);
        let synonyms: Vec<_> = layers.synonyms(name).into_iter().map(|s| hidden(s, sensitive)).collect();
        rows.push(Row {
            name: name.clone(),
            value: synonyms.first().and_then(|(_, value, _)| value.clone()),
            source: synonyms.first().map_or(Source::Default, |(_, _, source)| *source),
            read_only: true,
            sensitive,
            kind: base.map_or(0, |row| row.kind.code()),
            doc: None,
            synonyms,
        });
    }
    rows
}

/// The rows of what was set at run time for all brokers at once.
pub fn all_brokers(layers: &Layers) -> Vec<Row> {
    let only = Layers { dynamic_default: layers.dynamic_default.clone(), ..Layers::default() };
    let mut rows = broker(&only);
    rows.retain_mut(|row| {
        row.synonyms.retain(|(_, _, source)| *source == Source::DynamicDefaultBroker);
        row.source == Source::DynamicDefaultBroker
    });
    rows
}

fn broker_row(row: &'static Setting, layers: &Layers) -> Row {
    let value =
        layers.value(row.name).map(|text| parse(row, text).map_or(text.to_owned(), |v| v.to_string()));
    // What goes before it under another name is not this setting's value.
    let synonyms = layers.synonyms(row.name).into_iter().skip_while(|(name, _, _)| name != row.name);
    // What exists at run time only is told as Kafka does: without a default, and as if nothing could change it.
    let run_time_only = row.internal && row.dynamic != Dynamic::ReadOnly;
    let synonyms = synonyms.filter(|(_, _, source)| !(run_time_only && *source == Source::Default));
    let synonyms: Vec<_> = synonyms.map(|s| hidden(s, row.sensitive())).collect();
    Row {
        name: row.name.to_owned(),
        value: value.filter(|_| !row.sensitive()),
        source: synonyms.first().map_or(Source::Default, |(_, _, source)| *source),
        read_only: row.read_only() || run_time_only,
        sensitive: row.sensitive(),
        kind: row.kind.code(),
        doc: Some(row.doc),
        synonyms,
    }
}

fn hidden(synonym: (String, String, Source), sensitive: bool) -> (String, Option<String>, Source) {
    (synonym.0, Some(synonym.1).filter(|_| !sensitive), synonym.2)
}

impl Type {
    /// The type of this number in a response.
    pub fn from_code(code: i8) -> Option<Type> {
        use Type::*;
        [Boolean, String, Int, Short, Long, Double, List, Class, Password]
            .into_iter()
            .find(|t| t.code() == code)
    }
}

#[cfg(test)]
mod tests;
