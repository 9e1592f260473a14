//! Configuration: the broker's file, profiles, the values of settings, and what the command line reads.

use ottla::command::consume::Offset;
use ottla::command::{config::change, topic::key_value, units};
use ottla::config::listeners::{self, ProtocolMap};
use ottla::config::settings::{self, Setting, Table};
use ottla::config::value::{self, Value};
use ottla::config::{BrokerConfig, Layers, Overrides, Profile, TopicConfig, describe, properties, topic};

use super::input::Input;

/// The first byte says what the rest is the text of.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let which = input.u8();
    match which % 8 {
        0 => file(&text(input)),
        1 => profile(&text(input)),
        2 => setting(settings::topic(), input),
        3 => setting(settings::broker(), input),
        4 => overrides(input),
        5 => endpoints(&text(input)),
        6 => command_line(&text(input)),
        _ => layers(input),
    }
}

fn text(mut input: Input<'_>) -> String {
    String::from_utf8_lossy(input.rest()).into_owned()
}

fn escaped(text: &str) -> String {
    let escape = |c: char| match c {
        '\\' => "\\\\".to_owned(),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        '\x0c' => "\\f".to_owned(),
        ' ' | '=' | ':' | '#' | '!' => format!("\\{c}"),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

/// The broker's file. Written anew from what was read of it, it says the same.
fn file(text: &str) {
    let Ok(entries) = properties::parse(text) else {
        let why = BrokerConfig::read(text, "server.properties", &[]).expect_err("it cannot be read");
        return assert!(why.to_string().contains("line"));
    };
    let plain: String =
        entries.iter().map(|e| format!("{}={}\n", escaped(&e.key), escaped(&e.value))).collect();
    let pairs = |entries: &[properties::Entry]| -> Vec<_> {
        entries.iter().map(|e| (e.key.clone(), e.value.clone())).collect()
    };
    let again = properties::parse(&plain).expect("what is escaped can be read");
    assert_eq!(pairs(&again), pairs(&entries), "{plain:?}");

    let (one, other) = (BrokerConfig::read(text, "f", &[]), BrokerConfig::read(&plain, "f", &[]));
    let (config, other) = match (one, other) {
        (Ok(one), Ok(other)) => (one, other),
        (Err(one), Err(other)) => {
            assert_eq!(one.0.len(), other.0.len());
            return assert!(!one.to_string().is_empty());
        }
        (one, other) => panic!("{one:?}, and written anew {other:?}"),
    };
    assert_eq!(config.layers, other.layers);
    assert_eq!(config.listeners, other.listeners);
    for note in &config.notes {
        assert!(!note.to_string().is_empty());
    }
    check_layers(&config.layers);
}

fn check_layers(layers: &Layers) {
    describe::broker(layers);
    describe::all_brokers(layers);
    describe::group(&Overrides::new(), layers);
    TopicConfig::resolve(&Overrides::new(), layers, 3);
}

fn profile(text: &str) {
    let read = match Profile::read(text, "file") {
        Ok(read) => read,
        Err(why) => return assert!(why.to_string().contains("file"), "it says where: {why}"),
    };
    for cpus in [&[0][..], &[0, 1, 2, 3]] {
        let Ok(cores) = read.resolve(cpus, 8 << 30) else { continue };
        assert!(cores.len() <= cpus.len() && !cores.is_empty());
        assert_eq!(cores.iter().filter(|core| core.controller).count(), 1);
        assert_eq!(cores.iter().filter(|core| core.admin).count(), 1);
        assert!(cores.iter().map(|core| core.memory).sum::<usize>() <= 8 << 30);
    }
}

fn setting(table: &Table, mut input: Input<'_>) {
    let row: &Setting = table.rows()[usize::from(input.u16()) % table.rows().len()];
    let text = text(input);
    match value::parse(row, &text) {
        Ok(read) => {
            let shown = read.to_string();
            // An item without a letter cannot be told from none.
            let is_empty_item = matches!(&read, Value::List(items) if items.iter().any(String::is_empty));
            if !is_empty_item {
                assert_eq!(value::parse(row, &shown).as_ref(), Ok(&read), "{}={text:?}", row.name);
            }
        }
        Err(why) => {
            assert!(why.to_string().contains(row.name), "{why}");
            assert!(why.to_string().len() < 4096, "{why}");
        }
    }
    table.nearest(&text);
}

/// Lines of `name=value`, names as numbers of rows, or as they stand.
fn pairs(mut input: Input<'_>, table: &Table) -> Overrides {
    let mut overrides = Overrides::new();
    let row = input.u8();
    for (i, line) in text(input).lines().enumerate() {
        match line.split_once('=') {
            Some((name, value)) => overrides.insert(name.to_owned(), value.to_owned()),
            None => {
                let row = table.rows()[(usize::from(row) + i) % table.rows().len()];
                overrides.insert(row.name.to_owned(), line.to_owned())
            }
        };
    }
    overrides
}

fn overrides(input: Input<'_>) {
    let overrides = pairs(input, settings::topic());
    let layers = Layers::default();
    let is_valid = topic::validate(&overrides, &layers, 1);
    if let Err(why) = &is_valid {
        assert!(!why.is_empty());
    }
    let config = TopicConfig::resolve(&overrides, &layers, 1);
    config.segment_age_ms(u64::MAX);
    for row in describe::topic(&overrides, &layers, 1) {
        let Some(setting) = settings::topic().get(&row.name) else { continue };
        if is_valid.is_ok()
            && let Some(shown) = &row.value
            && !setting.sensitive()
        {
            assert!(value::parse(setting, shown).is_ok(), "{}={shown}", row.name);
        }
    }
}

fn layers(mut input: Input<'_>) {
    let length = input.below(1000);
    let dynamic = pairs(Input::new(input.take(length)), settings::broker());
    let file = pairs(input, settings::broker());
    let mut layers = Layers::of_file(file);
    layers.dynamic = dynamic.into();
    check_layers(&layers);
}

fn endpoints(text: &str) {
    let (map, text) = text.split_once('\n').unwrap_or(("", text));
    let Ok(map) = ProtocolMap::parse(map) else { return };
    let controllers = ["CONTROLLER".to_owned()];
    let Ok(read) = listeners::parse(text, &map, &controllers) else { return };
    let shown: Vec<_> = read.iter().map(ToString::to_string).collect();
    let again = listeners::parse(&shown.join(","), &map, &controllers);
    assert_eq!(again.as_ref(), Ok(&read), "{text:?}");
    listeners::same_port(&read);
}

fn command_line(text: &str) {
    if let Ok(bytes) = units::bytes(text) {
        assert_eq!(units::bytes(&bytes.to_string()).map(|b| b as f64), Ok(bytes as f64));
    }
    if let Ok(rate) = units::rate(text) {
        assert!(rate > 0);
    }
    if let Ok(time) = units::seconds(text) {
        assert_eq!(units::seconds(&format!("{}s", time.as_secs_f64())), Ok(time));
    }
    if let Ok(read) = change(text) {
        let sign = ["=", "", "+=", "-="][read.operation as usize];
        let shown = format!("{}{sign}{}", read.name, read.value.as_deref().unwrap_or_default());
        assert_eq!(change(&shown), Ok(read));
    }
    if let Ok((key, value)) = key_value(text) {
        assert_eq!(format!("{key}={value}"), text);
    }
    if let Ok(offset) = text.parse::<Offset>() {
        let shown = match offset {
            Offset::Beginning => "beginning".to_owned(),
            Offset::End => "end".to_owned(),
            Offset::At(n) => n.to_string(),
            Offset::Last(n) => format!("-{n}"),
            Offset::Since(n) => format!("@{n}"),
            Offset::Until(n) => format!("e@{n}"),
        };
        assert_eq!(shown.parse(), Ok(offset));
    }
}
