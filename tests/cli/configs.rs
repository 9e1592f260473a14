//! `ottla config` and `ottla topic alter` against a broker.

use serde_json::Value;

use crate::support::{Broker, run};

/// The settings that are shown, by name: value and source.
fn shown(broker: &Broker, whose: &[&str]) -> Vec<(String, String)> {
    let described = broker.ottla(&[&["config", "describe", "--output", "json"], whose].concat()).json();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let settings = described[0]["settings"].as_array().unwrap().iter();
    settings.map(|s| (text(&s["name"]), format!("{} {}", text(&s["value"]), text(&s["source"])))).collect()
}

fn value(broker: &Broker, whose: &[&str], name: &str) -> Option<String> {
    shown(broker, whose).into_iter().find(|(found, _)| found == name).map(|(_, value)| value)
}

/// A broker of others than this test takes a moment until it shows a change.
fn shows(broker: &Broker, whose: &[&str], name: &str, expected: Option<&str>) {
    for _ in 0..50 {
        if value(broker, whose, name).as_deref() == expected {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(if broker.data().is_some() { 0 } else { 100 }));
    }
    assert_eq!(value(broker, whose, name).as_deref(), expected, "{whose:?} {name}");
}

#[test]
fn settings_of_topics_are_shown_set_and_taken_back() {
    let broker = Broker::start();
    let name = broker.topic("config");
    broker.ottla(&["topic", "create", &name]).ok();
    let whose = ["--topic", &name[..]];
    assert_eq!(value(&broker, &whose, "retention.ms"), None, "what is not set is not shown");
    let set = ["config", "set", "retention.ms=5000", "cleanup.policy+=compact", "-t", &name];
    assert_eq!(broker.ottla(&set).ok(), format!("changed topic {name}\n"));
    shows(&broker, &whose, "retention.ms", Some("5000 topic"));
    shows(&broker, &whose, "cleanup.policy", Some("delete,compact topic"));
    broker.ottla(&["config", "set", "cleanup.policy-=delete", "--topic", &name]).ok();
    shows(&broker, &whose, "cleanup.policy", Some("compact topic"));
    let text = broker.ottla(&["config", "describe", "--topic", &name]).ok();
    assert!(text.contains("retention.ms") && text.contains("5000") && text.contains("at run time"), "{text}");
    let explained = broker.ottla(&["config", "describe", "--topic", &name, "--explain"]).ok();
    assert!(explained.contains("retention.ms = 5000  (long, topic)"), "{explained}");
    let all = shown(&broker, &["--topic", &name, "--all"]);
    assert!(all.len() > 30 && all.iter().any(|(_, value)| value.ends_with(" default")));
    assert_eq!(shown(&broker, &["--topic", &name, "segment.bytes"]).len(), 1);

    let valid = ["config", "set", "retention.ms=7", "-t", &name, "--validate-only"];
    assert_eq!(broker.ottla(&valid).ok(), format!("valid topic {name}\n"));
    shows(&broker, &whose, "retention.ms", Some("5000 topic"));
    broker.ottla(&["config", "delete", "retention.ms", "cleanup.policy", "--topic", &name]).ok();
    shows(&broker, &whose, "retention.ms", None);
}

#[test]
fn settings_of_brokers_and_of_all_of_them_lie_one_over_the_other() {
    let broker = Broker::start();
    let (one, all) = (["--broker", "1"], ["--cluster"]);
    let set = ["config", "set", "log.retention.ms=7000"];
    assert_eq!(broker.ottla(&[&set[..], &all].concat()).ok(), "changed all brokers\n");
    shows(&broker, &one, "log.retention.ms", Some("7000 cluster (dynamic)"));
    let done =
        broker.ottla(&["config", "set", "log.retention.ms=8000", "--broker", "1", "--output", "json"]).json();
    assert_eq!(
        (&done[0]["kind"], &done[0]["name"], &done[0]["result"]),
        (&"broker".into(), &"1".into(), &"changed".into())
    );
    shows(&broker, &one, "log.retention.ms", Some("8000 broker (dynamic)"));
    shows(&broker, &all, "log.retention.ms", Some("7000 cluster (dynamic)"));
    broker.ottla(&["config", "delete", "log.retention.ms", "--broker", "1"]).ok();
    shows(&broker, &one, "log.retention.ms", Some("7000 cluster (dynamic)"));
    broker.ottla(&["config", "delete", "log.retention.ms", "--cluster"]).ok();
    shows(&broker, &one, "log.retention.ms", None);
    let file = broker.ottla(&["config", "describe", "--broker", "1", "node.id"]);
    assert!(file.ok().contains("with a restart"));
}

#[test]
fn what_is_logged_changes_while_the_broker_runs() {
    let mut broker = crate::broker::Broker::start();
    let address = broker.address.clone();
    let ask = |arguments: &[&str]| run(&[&["-b", &address], arguments].concat(), b"");
    let whose = ["--broker-logger", "1"];
    let level = |logger: &str| {
        let described = ask(&[&["config", "describe", logger, "--output", "json"][..], &whose].concat());
        let described = described.json();
        assert_eq!(described[0]["settings"][0]["source"], "broker's logger");
        described[0]["settings"][0]["value"].as_str().unwrap().to_owned()
    };
    let told = |broker: &crate::broker::Broker| broker.log().matches("asks for Metadata").count();
    let set = |change: &str| ask(&[&["config", "set", change][..], &whose].concat());
    let (logger, room) = ("ottla.broker.api", "ottla.broker.api.create_topics");
    ask(&["topic", "list"]).ok();
    assert_eq!((told(&broker), level("root"), level(logger)), (0, "INFO".to_owned(), "INFO".to_owned()));
    assert_eq!(set("ottla.broker.api=DEBUG").ok(), "changed the loggers of broker 1\n");
    ask(&["topic", "list"]).ok();
    assert!(told(&broker) > 0, "{}", broker.log());
    assert_eq!((level("root"), level(logger), level(room)), ("INFO".into(), "DEBUG".into(), "DEBUG".into()));
    set("root=TRACE").ok();
    assert_eq!(
        (level("root"), level("ottla.reactor"), level(room)),
        ("TRACE".into(), "TRACE".into(), "DEBUG".into())
    );
    set("root=INFO").ok();
    ask(&[&["config", "delete", logger][..], &whose].concat()).ok();
    let before = told(&broker);
    ask(&["topic", "list"]).ok();
    assert_eq!((told(&broker), level(logger)), (before, "INFO".to_owned()));

    for (change, words) in
        [("ottla.broker.apis=DEBUG", "Did you mean 'ottla.broker.api'?"), ("root=LOUD", "WARN")]
    {
        let err = set(change).fails(1);
        assert!(err.contains("INVALID_CONFIG") && err.contains(words), "{err}");
    }
    set("root=WARN").ok();
    broker.stop();
    broker.begin();
    broker.wait();
    assert_eq!(level("root"), "INFO", "levels are the process's own");
    broker.stop();
}

#[test]
fn what_cannot_be_set_is_told() {
    let broker = Broker::start();
    let name = broker.topic("config");
    broker.ottla(&["topic", "create", &name]).ok();
    let err = broker.ottla(&["config", "set", "retention.ms=soon", "--topic", &name]).fails(1);
    assert!(err.contains("INVALID_CONFIG") && err.contains("retention.ms"), "{err}");
    let err = broker.ottla(&["config", "set", "retention.mss=1", "--topic", &name]).fails(1);
    assert!(err.contains("INVALID_CONFIG") && err.contains("retention.mss"), "{err}");
    if broker.data().is_some() {
        assert!(err.contains("Did you mean 'retention.ms'?"), "{err}");
    }
    let err = broker.ottla(&["config", "set", "num.partitions=3", "--broker", "1"]).fails(1);
    assert!(err.contains("Cannot update these configs dynamically"), "{err}");
    let err = broker.ottla(&["config", "describe", "--topic", "no-such-topic"]).fails(1);
    assert!(err.contains("UNKNOWN_TOPIC_OR_PARTITION"), "{err}");
    let err = broker.ottla(&["config", "describe", "no.such", "--topic", &name]).fails(1);
    assert!(err.contains("has no setting 'no.such'"), "{err}");
    broker.ottla(&["config", "describe", "--broker", "99"]).fails(1);
    run(&["config", "describe"], &[]).fails(2);
    run(&["config", "set", "retention.ms", "--topic", "a"], &[]).fails(2);
    let help = run(&["config", "set", "--help"], &[]).ok();
    assert!(help.contains("cleanup.policy+=compact") && help.contains("--cluster"), "{help}");
}

#[test]
fn topics_are_altered() {
    let broker = Broker::start();
    let name = broker.topic("alter");
    broker.ottla(&["topic", "create", &name, "-p", "2", "-c", "retention.ms=5000"]).ok();
    let alter =
        ["topic", "alter", &name, "-p", "5", "-c", "segment.ms=9000", "--delete-config", "retention.ms"];
    let tried = broker.ottla(&[&alter[..], &["--validate-only"]].concat()).ok();
    assert_eq!(tried, format!("valid {name}\n"));
    let partitions = || {
        let described = broker.ottla(&["topic", "describe", &name, "--output", "json"]).json();
        described[0]["partitions"].as_array().unwrap().len()
    };
    assert_eq!(partitions(), 2);
    let altered = broker.ottla(&[&alter[..], &["--output", "json"]].concat()).json();
    assert_eq!((&altered[0]["result"], &altered[0]["partitions"]), (&"altered".into(), &5.into()));
    let whose = ["--topic", &name[..]];
    shows(&broker, &whose, "segment.ms", Some("9000 topic"));
    shows(&broker, &whose, "retention.ms", None);
    assert_eq!(partitions(), 5);
    let err = broker.ottla(&["topic", "alter", &name, "-p", "3"]).fails(1);
    assert!(err.contains("INVALID_PARTITIONS"), "{err}");
    let err = broker.ottla(&["topic", "alter", &name, "-p", "9", "-c", "segment.ms=x"]).fails(1);
    assert!(err.contains("INVALID_CONFIG"), "{err}");
    assert_eq!(partitions(), 5, "what is refused is refused whole");
    broker.ottla(&["topic", "alter", &name]).fails(2);
}
