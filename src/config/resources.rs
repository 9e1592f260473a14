//! Checks of the settings of single groups, and of subscriptions to clients' metrics.

use super::layers::{Layers, Overrides};
use super::nearest::did_you_mean;
use super::settings;
use super::topic::effective;
use super::value::parse;

/// What bounds a group's setting: the broker's settings for the least and the most.
const BOUNDS: &[(&str, Option<&str>, Option<&str>)] = &[
    (
        "consumer.heartbeat.interval.ms",
        Some("group.consumer.min.heartbeat.interval.ms"),
        Some("group.consumer.max.heartbeat.interval.ms"),
    ),
    (
        "consumer.session.timeout.ms",
        Some("group.consumer.min.session.timeout.ms"),
        Some("group.consumer.max.session.timeout.ms"),
    ),
    (
        "share.heartbeat.interval.ms",
        Some("group.share.min.heartbeat.interval.ms"),
        Some("group.share.max.heartbeat.interval.ms"),
    ),
    (
        "share.record.lock.duration.ms",
        Some("group.share.min.record.lock.duration.ms"),
        Some("group.share.max.record.lock.duration.ms"),
    ),
    (
        "share.session.timeout.ms",
        Some("group.share.min.session.timeout.ms"),
        Some("group.share.max.session.timeout.ms"),
    ),
    (
        "streams.heartbeat.interval.ms",
        Some("group.streams.min.heartbeat.interval.ms"),
        Some("group.streams.max.heartbeat.interval.ms"),
    ),
    ("streams.num.standby.replicas", None, Some("group.streams.max.standby.replicas")),
    (
        "streams.session.timeout.ms",
        Some("group.streams.min.session.timeout.ms"),
        Some("group.streams.max.session.timeout.ms"),
    ),
];

/// A heartbeat must come well before its absence counts.
const BEFORE: [(&str, &str); 3] = [
    ("consumer.heartbeat.interval.ms", "consumer.session.timeout.ms"),
    ("share.heartbeat.interval.ms", "share.session.timeout.ms"),
    ("streams.heartbeat.interval.ms", "streams.session.timeout.ms"),
];

/// Checks settings that are to hold for a group.
pub fn check_group(overrides: &Overrides, broker: &Layers) -> Result<(), String> {
    let table = settings::group();
    for (name, text) in overrides {
        let Some(row) = table.get(name) else {
            let names = table.rows().iter().map(|row| row.name);
            return Err(format!("Unknown group config name: {name}.{}", did_you_mean(name, names)));
        };
        parse(row, text).map_err(|bad| bad.to_string())?;
    }
    let number = |name: &str| {
        let row = table.get(name).expect("a setting of groups");
        effective(row, overrides, broker, 1).map_or(0, |value| value.number())
    };
    let bound = |name: &str| broker.value(name).and_then(|text| text.trim().parse::<i64>().ok());
    for (name, least, most) in BOUNDS.iter().filter(|(name, ..)| overrides.contains_key(*name)) {
        if let Some(least) = least.filter(|least| bound(least).is_some_and(|bound| number(name) < bound)) {
            return Err(format!("{name} must be greater than or equal to {least}"));
        }
        if let Some(most) = most.filter(|most| bound(most).is_some_and(|bound| number(name) > bound)) {
            return Err(format!("{name} must be less than or equal to {most}"));
        }
    }
    for (heartbeat, session) in BEFORE {
        let set = overrides.contains_key(heartbeat) || overrides.contains_key(session);
        if set && number(heartbeat) >= number(session) {
            return Err(format!("{session} must be greater than {heartbeat}"));
        }
    }
    Ok(())
}

/// What is wrong with a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bad {
    /// It has a setting that there is not, or one out of its range.
    Name(String),
    /// A value cannot be read.
    Value(String),
}

/// By what clients can be told apart.
const MATCHES: [&str; 6] = [
    "client_instance_id",
    "client_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];

/// Checks the settings of a subscription to clients' metrics.
pub fn check_client_metrics(overrides: &Overrides) -> Result<(), Bad> {
    let table = settings::client_metrics();
    for (name, text) in overrides {
        let Some(row) = table.get(name) else {
            let names = table.rows().iter().map(|row| row.name);
            let meant = did_you_mean(name, names);
            return Err(Bad::Name(format!("Unknown client metrics configuration: {name}{meant}")));
        };
        let value = parse(row, text).map_err(|bad| Bad::Value(bad.to_string()))?;
        if name == "interval.ms" && !(100..=3_600_000).contains(&value.number()) {
            return Err(Bad::Name(format!(
                "Invalid value {value} for interval.ms, interval must be between 100 and 3600000 (1 hour)"
            )));
        }
    }
    for pattern in overrides.get("match").map_or("", String::as_str).split(',').filter(|p| !p.is_empty()) {
        let known = pattern.split_once('=').is_some_and(|(by, _)| MATCHES.contains(&by.trim()));
        if !known {
            return Err(Bad::Value(format!("Illegal client matching pattern: {pattern}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(pairs: &[(&str, &str)]) -> Overrides {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_group_keeps_within_the_brokers_bounds() {
        let check = |pairs: &[(&str, &str)], file: &[(&str, &str)]| {
            check_group(&given(pairs), &Layers::of_file(given(file)))
        };
        assert_eq!(check(&[("consumer.session.timeout.ms", "50000")], &[]), Ok(()));
        assert_eq!(check(&[], &[]), Ok(()));
        let low = check(&[("consumer.session.timeout.ms", "1")], &[]).unwrap_err();
        assert!(low.ends_with("than or equal to group.consumer.min.session.timeout.ms"), "{low}");
        let high = [("consumer.session.timeout.ms", "50000")];
        let lowered = [("group.consumer.max.session.timeout.ms", "46000")];
        assert!(check(&high, &lowered).unwrap_err().contains("less than or equal to"));
        let crossed = [("group.consumer.max.heartbeat.interval.ms", "90000")];
        let crossed = check(&[("consumer.heartbeat.interval.ms", "45000")], &crossed).unwrap_err();
        assert_eq!(
            crossed,
            "consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms"
        );
        assert!(check(&[("streams.num.standby.replicas", "3")], &[]).is_err());
        assert!(
            check(&[("no.such", "3")], &[]).unwrap_err().starts_with("Unknown group config name: no.such")
        );
    }

    #[test]
    fn a_subscription_names_clients_by_what_they_can_be_told_apart() {
        let check = |name, value| check_client_metrics(&given(&[(name, value)]));
        assert_eq!(check("match", "client_id=a.*,client_source_port=9.*"), Ok(()));
        assert!(matches!(check("match", "foo=bar"), Err(Bad::Value(_))));
        assert!(matches!(check("interval.ms", "99"), Err(Bad::Name(_))));
        assert_eq!(check("interval.ms", "100"), Ok(()));
        assert!(matches!(check("interval.ms", "x"), Err(Bad::Value(_))));
        assert!(matches!(check("metric", "x"), Err(Bad::Name(_))));
    }
}
