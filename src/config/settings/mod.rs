//! The one table of settings: every topic setting of Kafka 4.2, every broker setting that stands in a
//! `server.properties`, and where Ottla differs.
//!
//! Validation, DescribeConfigs, the broker's file and the documentation all read it. The rows stand in
//! `topic.rs` and in the `broker_*.rs` files beside it, by subject.

mod broker_cluster;
mod broker_groups;
mod broker_log;
mod broker_network;
mod broker_remote;
mod broker_security;
mod group;
mod rows;
mod topic;

use std::sync::LazyLock;

use super::nearest::nearest;
use crate::collections::Map;

/// The type of a value, as Kafka names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `true` or `false`.
    Boolean,
    /// Text.
    String,
    /// 32 bits.
    Int,
    /// 16 bits.
    Short,
    /// 64 bits.
    Long,
    /// A number with a fraction.
    Double,
    /// Values between commas.
    List,
    /// The name of a Java class.
    Class,
    /// A secret: never shown.
    Password,
}

impl Type {
    /// Its number in a DescribeConfigs response.
    pub fn code(self) -> i8 {
        match self {
            Type::Boolean => 1,
            Type::String => 2,
            Type::Int => 3,
            Type::Short => 4,
            Type::Long => 5,
            Type::Double => 6,
            Type::List => 7,
            Type::Class => 8,
            Type::Password => 9,
        }
    }

    /// Kafka's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Type::Boolean => "boolean",
            Type::String => "string",
            Type::Int => "int",
            Type::Short => "short",
            Type::Long => "long",
            Type::Double => "double",
            Type::List => "list",
            Type::Class => "class",
            Type::Password => "password",
        }
    }
}

/// How much an operator should care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Importance {
    /// Look at it first.
    High,
    /// Look at it when something is to be improved.
    Medium,
    /// Most never touch it.
    Low,
}

/// How a setting can be changed while the broker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dynamic {
    /// Only by a restart with another file.
    ReadOnly,
    /// For one broker.
    PerBroker,
    /// For one broker or for all of them at once.
    ClusterWide,
    /// For one topic, group or subscription.
    Topic,
}

/// Which values are allowed beyond those of the type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Allowed {
    /// All of the type's.
    Any,
    /// At least this.
    AtLeast(i64),
    /// From the first to the second.
    Between(i64, i64),
    /// From the first to the second, or this third.
    BetweenOr(i64, i64, i64),
    /// From the first to the second, with a fraction.
    Fraction(f64, f64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// One of these words, in capitals or not.
    OneOfAnyCase(&'static [&'static str]),
    /// A list of these words.
    EachOf(&'static [&'static str]),
    /// A list of `partition:broker`, or `*`.
    ThrottledReplicas,
    /// A list of `address:count`.
    CountsByAddress,
    /// Text that is not empty.
    NotEmpty,
}

/// What a setting does here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// What Kafka's documentation says.
    Acts,
    /// Nothing yet: what it governs is not built. It is kept, shown and checked.
    Later,
    /// Nothing, for this reason. It is accepted, kept and shown.
    Ignored(&'static str),
    /// The broker refuses to start while it is set, for this reason: to ignore it would be unsafe.
    Refused(&'static str),
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// The type of its value.
    pub kind: Type,
    /// The value where none is given; none where Kafka has null, or demands one.
    pub default: Option<&'static str>,
    /// Which values are allowed.
    pub allowed: Allowed,
    /// How much it matters.
    pub importance: Importance,
    /// How it can be changed while the broker runs.
    pub dynamic: Dynamic,
    /// What it does here.
    pub effect: Effect,
    /// What it is for.
    pub doc: &'static str,
    /// Kafka's default and the reason for another, where Ottla's differs.
    pub differs: Option<Difference>,
    /// Whether Kafka keeps it out of its documentation and out of DescribeConfigs.
    pub internal: bool,
    /// For a topic's setting: the broker settings that give its default, the strongest first.
    pub broker_synonyms: &'static [Synonym],
}

/// A default that is not Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Kafka's default.
    pub kafka: &'static str,
    /// Why Ottla has another.
    pub why: &'static str,
}

/// A broker setting that gives a topic setting's default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// The broker setting.
    pub name: &'static str,
    /// By what its value is multiplied to become the topic setting's; 1 leaves text as it is.
    pub factor: i64,
}

impl Setting {
    /// Whether its value is never shown.
    pub fn sensitive(&self) -> bool {
        self.kind == Type::Password
    }

    /// Whether it may be changed while the broker runs.
    pub fn read_only(&self) -> bool {
        self.dynamic == Dynamic::ReadOnly
    }
}

/// A table of settings, sorted by name.
pub struct Table {
    rows: Vec<&'static Setting>,
    by_name: Map<&'static str, &'static Setting>,
}

impl Table {
    fn new(parts: &[&'static [Setting]]) -> Table {
        let mut rows: Vec<&'static Setting> = parts.iter().flat_map(|part| part.iter()).collect();
        rows.sort_by_key(|row| row.name);
        let by_name = rows.iter().map(|row| (row.name, *row)).collect();
        Table { rows, by_name }
    }

    /// The setting of this name.
    pub fn get(&self, name: &str) -> Option<&'static Setting> {
        self.by_name.get(name).copied()
    }

    /// Every setting, sorted by name.
    pub fn rows(&self) -> &[&'static Setting] {
        &self.rows
    }

    /// The name that was probably meant.
    pub fn nearest(&self, name: &str) -> Option<&'static str> {
        nearest(name, self.rows.iter().map(|row| row.name))
    }
}

static TOPIC: LazyLock<Table> = LazyLock::new(|| Table::new(&[topic::ROWS]));

static BROKER: LazyLock<Table> = LazyLock::new(|| {
    Table::new(&[
        broker_cluster::ROWS,
        broker_groups::ROWS,
        broker_log::ROWS,
        broker_network::ROWS,
        broker_remote::ROWS,
        broker_security::ROWS,
    ])
});

static GROUP: LazyLock<Table> = LazyLock::new(|| Table::new(&[group::GROUP]));
static CLIENT_METRICS: LazyLock<Table> = LazyLock::new(|| Table::new(&[group::CLIENT_METRICS]));

/// The settings of single groups.
pub fn group() -> &'static Table {
    &GROUP
}

/// The settings of subscriptions to clients' metrics.
pub fn client_metrics() -> &'static Table {
    &CLIENT_METRICS
}

/// The settings of topics.
pub fn topic() -> &'static Table {
    &TOPIC
}

/// The settings of brokers.
pub fn broker() -> &'static Table {
    &BROKER
}

/// The names under which a broker setting's value can be given, the strongest first: `log.retention.ms` also as
/// minutes and hours.
pub fn broker_synonyms(name: &str) -> Vec<&str> {
    const FAMILIES: &[&[&str]] = &[
        &["log.roll.ms", "log.roll.hours"],
        &["log.roll.jitter.ms", "log.roll.jitter.hours"],
        &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
        &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
    ];
    for family in FAMILIES {
        // The scheduler's interval stands in for the flush interval, not the other way round.
        if family.contains(&name) && name != "log.flush.scheduler.interval.ms" {
            return family.to_vec();
        }
    }
    match listener_base(name) {
        Some(base) => vec![name, base],
        None => vec![name],
    }
}

/// The broker setting that `listener.name.<listener>[.<mechanism>].<setting>` stands in for.
pub fn listener_base(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("listener.name.")?;
    let mut from = 0;
    while let Some(dot) = rest[from..].find('.') {
        from += dot + 1;
        if BROKER.get(&rest[from..]).is_some() {
            return Some(&rest[from..]);
        }
    }
    None
}

#[cfg(test)]
mod tests;
