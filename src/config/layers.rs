//! Where a broker setting's value comes from.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::settings::{self, broker_synonyms};

/// Settings that were given, by name.
pub type Overrides = BTreeMap<String, String>;

/// Where a value comes from, with its number in DescribeConfigs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Set for the topic.
    DynamicTopic = 1,
    /// Set at run time for this broker.
    DynamicBroker = 2,
    /// Set at run time for all brokers.
    DynamicDefaultBroker = 3,
    /// In the broker's file.
    StaticBroker = 4,
    /// Set by nobody.
    Default = 5,
    /// The level of a broker's logger.
    BrokerLogger = 6,
    /// Set for a subscription to clients' metrics.
    ClientMetrics = 7,
    /// Set for a group.
    Group = 8,
}

impl Source {
    /// Its number in a response.
    pub fn code(self) -> i8 {
        self as i8
    }
}

/// What was given for one broker, the strongest layer first. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layers {
    /// At run time, for this broker.
    pub dynamic: Arc<Overrides>,
    /// At run time, for all brokers.
    pub dynamic_default: Arc<Overrides>,
    /// In the broker's file and on the command line.
    pub file: Arc<Overrides>,
}

impl Layers {
    /// Only a file.
    pub fn of_file(file: Overrides) -> Layers {
        Layers { file: Arc::new(file), ..Layers::default() }
    }

    /// What was given under exactly this name, and where.
    pub fn given(&self, name: &str) -> Option<(&str, Source)> {
        [
            (&self.dynamic, Source::DynamicBroker),
            (&self.dynamic_default, Source::DynamicDefaultBroker),
            (&self.file, Source::StaticBroker),
        ]
        .into_iter()
        .find_map(|(layer, source)| layer.get(name).map(|value| (value.as_str(), source)))
    }

    /// What was given for a setting under its own name, or its default.
    pub fn value(&self, name: &str) -> Option<&str> {
        let default = || settings::broker().get(name).and_then(|row| row.default);
        self.given(name).map(|(value, _)| value).or_else(default)
    }

    /// Everything that gives the setting a value, under its name and its synonyms: `(name, value, source)`, the
    /// strongest first, as DescribeConfigs lists them.
    pub fn synonyms(&self, name: &str) -> Vec<(String, String, Source)> {
        let names = broker_synonyms(name);
        let layers = [
            (&self.dynamic, Source::DynamicBroker),
            (&self.dynamic_default, Source::DynamicDefaultBroker),
            (&self.file, Source::StaticBroker),
        ];
        let mut found = Vec::new();
        for (layer, source) in layers {
            for name in &names {
                if let Some(value) = layer.get(*name) {
                    found.push(((*name).to_owned(), value.clone(), source));
                }
            }
        }
        for name in &names {
            if let Some(default) = settings::broker().get(name).and_then(|row| row.default) {
                found.push(((*name).to_owned(), default.to_owned(), Source::Default));
            }
        }
        found
    }
}
