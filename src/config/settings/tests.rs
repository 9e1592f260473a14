use super::*;
use crate::config::value::parse;

/// A row of the facts about Kafka.
struct Fact<'a> {
    name: &'a str,
    kind: &'a str,
    default: Option<&'a str>,
    importance: &'a str,
    mode: &'a str,
    internal: bool,
    synonyms: Vec<&'a str>,
}

fn facts(of: &str) -> Vec<Fact<'static>> {
    let lines = include_str!("kafka-4.2.tsv").lines().filter(|line| !line.starts_with('#'));
    let fields = lines.map(|line| line.split('\t').collect::<Vec<_>>()).filter(|fields| fields[0] == of);
    fields
        .map(|f| Fact {
            name: f[1],
            kind: f[2],
            default: (f[3] != "-").then_some(f[3]),
            importance: f[4],
            mode: f[5],
            internal: f[6] == "true",
            synonyms: f[7].split(',').filter(|name| !name.is_empty()).collect(),
        })
        .collect()
}

/// Settings of brokers that exist at run time only, and so are not among the facts.
const RUN_TIME_ONLY: [&str; 3] = [
    "follower.replication.throttled.rate",
    "leader.replication.throttled.rate",
    "replica.alter.log.dirs.io.max.bytes.per.second",
];

#[test]
fn every_setting_of_kafka_is_in_the_table_with_kafkas_facts() {
    for (of, table) in [("topic", topic()), ("broker", broker())] {
        let facts = facts(of);
        for fact in &facts {
            let name = fact.name;
            let row = table.get(name).unwrap_or_else(|| panic!("{of} setting {name} is missing"));
            assert_eq!(row.kind.name(), fact.kind, "{name}");
            assert_eq!(format!("{:?}", row.importance).to_lowercase(), fact.importance, "{name}");
            let mode = match row.dynamic {
                Dynamic::ReadOnly => "read-only",
                Dynamic::PerBroker => "per-broker",
                Dynamic::ClusterWide => "cluster-wide",
                Dynamic::Topic => "topic",
            };
            assert_eq!(mode, fact.mode, "{name}");
            assert_eq!(row.internal, fact.internal, "{name}");
            match row.differs {
                None => assert_eq!(row.default, fact.default, "{name}"),
                Some(difference) => {
                    assert!(!difference.why.is_empty());
                    let kafka = fact.default.unwrap_or("none: it must be set");
                    assert_eq!(difference.kafka, kafka, "{name}: what is said of Kafka's default is wrong");
                }
            }
            let synonyms: Vec<_> = row.broker_synonyms.iter().map(|s| s.name).collect();
            assert_eq!(synonyms, fact.synonyms, "{name}");
        }
        for row in table.rows() {
            let known = facts.iter().any(|fact| fact.name == row.name) || RUN_TIME_ONLY.contains(&row.name);
            assert!(known, "{of} setting {} is not Kafka's", row.name);
        }
    }
}

#[test]
fn every_row_is_whole() {
    for row in topic().rows().iter().chain(broker().rows()) {
        assert!(row.doc.ends_with('.') && row.doc.len() > 15, "{}: {:?}", row.name, row.doc);
        assert!(!row.doc.contains("  "), "{}: {:?}", row.name, row.doc);
        if let Some(default) = row.default {
            let value = parse(row, default).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(value.to_string(), default, "{}", row.name);
        }
        for synonym in row.broker_synonyms {
            assert!(broker().get(synonym.name).is_some(), "{}", synonym.name);
        }
    }
    let mut names: Vec<_> = broker().rows().iter().map(|row| row.name).collect();
    names.dedup();
    assert_eq!(names.len(), broker().rows().len(), "a name stands in the table twice");
}

#[test]
fn topic_and_broker_have_the_same_default() {
    for row in topic().rows() {
        for synonym in row.broker_synonyms {
            let broker = broker().get(synonym.name).unwrap();
            if let (Some(own), Some(default)) = (row.default, broker.default) {
                let default = match synonym.factor {
                    1 => default.to_owned(),
                    factor => (default.parse::<i64>().unwrap() * factor).to_string(),
                };
                assert_eq!(own, default, "{} and {}", row.name, synonym.name);
            }
            assert_eq!(row.effect, broker.effect, "{} and {}", row.name, synonym.name);
        }
    }
}

#[test]
fn listener_settings_are_known_by_their_base() {
    assert_eq!(listener_base("listener.name.internal.ssl.keystore.location"), Some("ssl.keystore.location"));
    assert_eq!(listener_base("listener.name.a.scram-sha-256.sasl.jaas.config"), Some("sasl.jaas.config"));
    assert_eq!(listener_base("listener.name.internal.nothing"), None);
    assert_eq!(listener_base("ssl.keystore.location"), None);
    assert_eq!(
        broker_synonyms("listener.name.a.max.connections"),
        ["listener.name.a.max.connections", "max.connections"]
    );
    assert_eq!(broker_synonyms("log.roll.hours"), ["log.roll.ms", "log.roll.hours"]);
}

#[test]
fn types_have_kafkas_numbers() {
    for code in 1..=9 {
        assert_eq!(Type::from_code(code).unwrap().code(), code);
    }
    assert_eq!(Type::from_code(0), None);
}

/// What an operator who comes from Kafka should know of the table.
fn document() -> String {
    let mut text = String::from(
        "# Settings that are not as in Kafka 4.2\n\n\
         Every setting of Kafka 4.2 is accepted, checked and shown, in a `server.properties` and at run time. Those that \
         are not listed here do what Kafka's documentation says. `ottla serve` tells at its start which lines of the \
         file do nothing; `ottla config describe` shows every setting with its source.\n\n\
         A test holds this page against the table in `src/config/settings`; OTTLA_WRITE_DOCS=1 writes it anew.\n\n\
         - A setting that neither Kafka nor Ottla has is told at the start with the nearest name and passed over where \
         it stands in the file, for Java plugins have settings of their own; on the command line and at run time it is \
         an error.\n\
         - `listeners` change with a restart only.\n\
         - Loggers are named after Ottla's rooms (`ottla config describe --broker-logger ID` lists them; `ottla.broker` is \
         `ottla::broker` in OTTLA_LOG). Nothing is logged at FATAL, so that FATAL silences a logger.\n\
         - Names in `max.connections.per.ip.overrides` are addresses, not host names.\n",
    );
    for (title, rows) in [("topics", topic().rows()), ("brokers", broker().rows())] {
        let differ = rows.iter().filter_map(|row| Some((row, row.differs?)));
        text.push_str(&format!(
            "\n## Other defaults of {title}\n\n| setting | Ottla | Kafka | why |\n|---|---|---|---|\n"
        ));
        for (row, differs) in differ {
            let own = row.default.unwrap_or("none");
            text.push_str(&format!("| `{}` | `{own}` | `{}` | {} |\n", row.name, differs.kafka, differs.why));
        }
        let ignored = rows.iter().filter(|row| !row.internal).filter_map(|row| match row.effect {
            Effect::Ignored(why) => Some((row.name, why)),
            _ => None,
        });
        let title_of =
            format!("\n## Settings of {title} that do nothing here\n\n| setting | why |\n|---|---|\n");
        text.push_str(&title_of);
        ignored.for_each(|(name, why)| text.push_str(&format!("| `{name}` | {why} |\n")));
        let refused = rows.iter().filter_map(|row| match row.effect {
            Effect::Refused(why) => Some((row.name, why)),
            _ => None,
        });
        let refused: Vec<_> = refused.collect();
        if !refused.is_empty() {
            let head = format!(
                "\n## Settings of {title} with which a broker does not start\n\n| setting | why |\n|---|---|\n"
            );
            text.push_str(&head);
            refused.iter().for_each(|(name, why)| text.push_str(&format!("| `{name}` | {why} |\n")));
        }
        let later: Vec<_> = rows.iter().filter(|row| row.effect == Effect::Later && !row.internal).collect();
        text.push_str(&format!("\n## Settings of {title} for what is not built yet\n\n"));
        later.iter().for_each(|row| text.push_str(&format!("- `{}`\n", row.name)));
    }
    text
}

#[test]
#[expect(clippy::disallowed_methods, reason = "writes a page of the repository when asked to")]
fn the_page_for_operators_says_what_the_table_says() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/settings.md");
    if std::env::var("OTTLA_WRITE_DOCS").is_ok() {
        std::fs::write(&page, document()).unwrap();
    }
    let found = String::from_utf8(std::fs::read(&page).unwrap_or_default()).unwrap();
    assert!(
        found == document(),
        "deploy/settings.md is out of date: OTTLA_WRITE_DOCS=1 cargo test --lib page_for"
    );
}
