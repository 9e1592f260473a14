use super::*;

fn given(pairs: &[(&str, &str)]) -> Overrides {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn row<'a>(rows: &'a [Row], name: &str) -> &'a Row {
    rows.iter().find(|row| row.name == name).unwrap_or_else(|| panic!("{name} is missing"))
}

fn synonyms(row: &Row) -> Vec<(&str, &str, i8)> {
    row.synonyms.iter().map(|(n, v, s)| (n.as_str(), v.as_deref().unwrap_or("-"), s.code())).collect()
}

#[test]
fn a_topic_shows_every_setting_once() {
    let rows = topic(&Overrides::new(), &Layers::default(), 1);
    assert_eq!(rows.len(), 33);
    assert!(rows.windows(2).all(|pair| pair[0].name < pair[1].name));
    assert!(rows.iter().all(|row| row.source == Source::Default && !row.read_only && row.value.is_some()));
    assert!(rows.iter().all(|row| row.doc.is_some() && row.kind > 0));
}

#[test]
fn values_come_with_all_their_sources_the_strongest_first() {
    let mut layers =
        Layers::of_file(given(&[("log.retention.hours", "2"), ("log.cleanup.policy", "compact")]));
    layers.dynamic_default = given(&[("log.retention.ms", "500")]).into();
    layers.dynamic = given(&[("log.retention.ms", "400")]).into();
    let rows = topic(&given(&[("retention.ms", "300"), ("segment.bytes", " 2000000 ")]), &layers, 1);
    let retention = row(&rows, "retention.ms");
    assert_eq!((retention.value.as_deref(), retention.source), (Some("300"), Source::DynamicTopic));
    assert_eq!(
        synonyms(retention),
        [
            ("retention.ms", "300", 1),
            ("log.retention.ms", "400", 2),
            ("log.retention.ms", "500", 3),
            ("log.retention.hours", "2", 4),
            ("log.retention.hours", "168", 5),
        ]
    );
    let policy = row(&rows, "cleanup.policy");
    assert_eq!((policy.value.as_deref(), policy.source), (Some("compact"), Source::StaticBroker));
    assert_eq!(row(&rows, "segment.bytes").value.as_deref(), Some("2000000"));
    let hours = topic(&Overrides::new(), &Layers::of_file(given(&[("log.retention.hours", "2")])), 1);
    assert_eq!(row(&hours, "retention.ms").value.as_deref(), Some("7200000"));
    assert_eq!(row(&hours, "retention.ms").source, Source::StaticBroker);
}

#[test]
fn a_broker_shows_its_file_the_defaults_and_no_secrets() {
    let mut layers = Layers::of_file(given(&[
        ("log.retention.hours", "2"),
        ("ssl.key.password", "abc"),
        ("my.plugin.key", "secret?"),
        ("listener.name.a.max.connections", "5"),
    ]));
    layers.dynamic = given(&[("leader.replication.throttled.rate", "7")]).into();
    let rows = broker(&layers);
    let hours = row(&rows, "log.retention.hours");
    assert_eq!(
        (hours.value.as_deref(), hours.source, hours.read_only),
        (Some("2"), Source::StaticBroker, true)
    );
    let secret = row(&rows, "ssl.key.password");
    assert_eq!((secret.value.as_deref(), secret.sensitive, secret.kind), (None, true, 9));
    assert_eq!(synonyms(secret), [("ssl.key.password", "-", 4)]);
    let plugin = row(&rows, "my.plugin.key");
    assert_eq!((plugin.value.as_deref(), plugin.sensitive, plugin.kind), (None, true, 0));
    let listener = row(&rows, "listener.name.a.max.connections");
    assert_eq!((listener.value.as_deref(), listener.read_only), (Some("5"), true));
    assert_eq!(row(&rows, "log.segment.bytes").value.as_deref(), Some("1073741824"));
    assert!(!row(&rows, "log.segment.bytes").read_only);
    assert_eq!(row(&rows, "log.retention.ms").value, None);
    assert_eq!(row(&rows, "leader.replication.throttled.rate").value.as_deref(), Some("7"));
    assert!(rows.iter().all(|row| row.name != "group.share.enable"), "internal settings are not shown");
    let shown = settings::broker().rows().iter().filter(|row| !row.internal).count();
    assert_eq!(rows.len(), shown + 3);
}

#[test]
fn all_brokers_together_show_what_was_set_for_all_of_them() {
    let mut layers = Layers::of_file(given(&[("message.max.bytes", "1")]));
    layers.dynamic_default = given(&[("message.max.bytes", "2"), ("log.retention.ms", "3")]).into();
    layers.dynamic = given(&[("message.max.bytes", "4")]).into();
    let rows = all_brokers(&layers);
    let shown: Vec<_> = rows.iter().map(|r| (r.name.as_str(), r.value.as_deref(), r.source.code())).collect();
    assert_eq!(shown, [("log.retention.ms", Some("3"), 3), ("message.max.bytes", Some("2"), 3)]);
}
