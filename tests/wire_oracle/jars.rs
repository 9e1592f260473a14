//! Held against the generated classes of Kafka 4.2's jars: fields, defaults, bytes, versions and error codes.

use std::collections::VecDeque;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bytes::Bytes;
use ottla::wire::api::ApiKey;
use ottla::wire::error::ErrorCode;
use ottla::wire::schema::{Field, Kind};

use crate::batches;
use crate::generate::{Chance, all_versions, message};

const JAVA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wire_oracle/java");

/// Kafka's jars, fetched once by Maven.
fn jars() -> PathBuf {
    let jars = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wire-oracle-jars");
    let arguments = [
        "-q".to_owned(),
        "-f".to_owned(),
        format!("{JAVA}/pom.xml"),
        "dependency:copy-dependencies".to_owned(),
        format!("-DoutputDirectory={}", jars.display()),
    ];
    // Made last, so that what a broken run has fetched is not taken for all of it.
    let done = jars.join("all-fetched");
    if !done.exists() {
        let run = Command::new("mvn").args(&arguments).output();
        let fetched = run.as_ref().is_ok_and(|run| run.status.success());
        let line = format!("mvn {}", arguments.join(" "));
        assert!(fetched, "Kafka's jars could not be fetched (Maven and Java 17 are needed): {line}: {run:?}");
        std::fs::File::create(done).unwrap();
    }
    jars
}

/// Asks the Java program all questions at once; an answer for each.
fn ask(questions: &[String]) -> VecDeque<String> {
    let mut child = Command::new("java")
        .args(["-XX:TieredStopAtLevel=1", "-cp", &format!("{}/*", jars().display())])
        .arg(format!("{JAVA}/Oracle.java"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Java 17 or later is needed: apt-get install openjdk-17-jdk-headless");
    let mut stdin = child.stdin.take().unwrap();
    let lines = questions.iter().map(|q| format!("{q}\n")).collect::<String>();
    let feed = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    feed.join().unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let answers: VecDeque<String> = text.lines().map(str::to_owned).collect();
    assert_eq!(answers.len(), questions.len(), "{}", answers.back().unwrap_or(&String::new()));
    answers
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// What of the table is Ottla's own, by tag.
fn is_ottlas(field: &Field) -> bool {
    field.tag.is_some_and(|tag| tag >= 10_000)
}

fn plain(name: &str) -> String {
    name.trim_start_matches("r#").replace('_', "")
}

/// The table's fields in the words of the Java program.
fn describe(fields: &[Field], version: i16, flexible: bool) -> String {
    let mut text = "{".to_owned();
    let here = |f: &&Field| (f.present)(version) && !is_ottlas(f);
    for field in fields.iter().filter(here).filter(|f| f.tag.is_none()) {
        text += &format!("{}:{};", plain(field.name), describe_field(field, version, flexible));
    }
    if flexible {
        text += "tagged;";
        for field in fields.iter().filter(here).filter(|f| f.tag.is_some()) {
            let kind = describe_field(field, version, flexible);
            text += &format!("{}={}:{kind};", field.tag.unwrap(), plain(field.name));
        }
    }
    text + "}"
}

fn describe_field(field: &Field, version: i16, flexible: bool) -> String {
    // Java's description does not say whether structures and records may be null; their bytes do.
    let silent = matches!(field.kind, Kind::Struct(_) | Kind::Records) || is_records(field);
    let null = if (field.nullable)(version) && !silent { "?" } else { "" };
    describe_kind(field.kind, version, flexible, is_records(field)) + null
}

/// A produce request's records are plain bytes here.
fn is_records(field: &Field) -> bool {
    matches!(field.kind, Kind::Records) || (matches!(field.kind, Kind::Bytes) && field.name == "records")
}

fn describe_kind(kind: Kind, version: i16, flexible: bool, records: bool) -> String {
    match kind {
        Kind::Bool => "BOOLEAN".into(),
        Kind::I8 => "INT8".into(),
        Kind::I16 => "INT16".into(),
        Kind::U16 => "UINT16".into(),
        Kind::I32 => "INT32".into(),
        Kind::U32 => "UINT32".into(),
        Kind::I64 => "INT64".into(),
        Kind::F64 => "FLOAT64".into(),
        Kind::Uuid => "UUID".into(),
        Kind::String => "STRING".into(),
        Kind::Bytes if !records => "BYTES".into(),
        Kind::Bytes | Kind::Records => "RECORDS".into(),
        Kind::List(kind) => format!("[{}]", describe_kind(*kind, version, flexible, false)),
        Kind::Struct(fields) => describe(fields, version, flexible),
    }
}

/// One question for each version of each message, and what is wrong with the answers.
fn fields(ask: &mut Asker) -> Vec<String> {
    let mut wrong = Vec::new();
    for (entry, version) in all_versions() {
        let Some(answer) = ask.ask(format!("schema {} {version}", entry.name)) else { continue };
        let ours = describe(entry.fields, version, version >= entry.flexible);
        if ours != answer {
            wrong.push(format!("{} version {version}\n  ours   {ours}\n  Kafka's {answer}", entry.name));
        }
    }
    wrong
}

/// Messages by chance, read and written again by both.
fn bytes(ask: &mut Asker) -> Vec<String> {
    let (mut chance, mut wrong) = (Chance(42), Vec::new());
    for (entry, version) in all_versions() {
        for _ in 0..6 {
            let given = Bytes::from(message(&entry, version, &mut chance));
            let ours = (entry.again)(given.clone(), version);
            let ours = ours.unwrap_or_else(|e| panic!("{} version {version}: {e:?}", entry.name));
            // Java keeps a tagged field that it does not know even where it has its default.
            let given = if entry.fields.iter().any(is_ottlas) { &ours } else { &given };
            let question = format!("again {} {version} {}", entry.name, hex(given));
            let Some(answer) = ask.ask(question.clone()) else { continue };
            if answer != hex(&ours) {
                wrong.push(format!("{question}\n  ours    {}\n  Kafka's {answer}", hex(&ours)));
            }
        }
    }
    wrong
}

/// A field's value where it was not sent.
struct Absent {
    path: String,
    value: Value,
    tagged: bool,
}

#[derive(Debug)]
enum Value {
    /// As the Java program writes numbers and truth values.
    Plain(String),
    /// Whether what may be null is null.
    Null(bool),
}

fn defaults(fields: &[Field], path: &str, list: &mut Vec<Absent>) {
    for field in fields.iter().filter(|f| !is_ottlas(f)) {
        let at = format!("{path}{}", plain(field.name));
        let mut kind = field.kind;
        while let Kind::List(of) = kind {
            kind = *of;
        }
        let text = match (field.kind, field.default) {
            (Kind::Bool, "") => "false",
            (Kind::I8 | Kind::I16 | Kind::U16 | Kind::I32 | Kind::U32 | Kind::I64, "") => "0",
            (Kind::F64, "") => "0.0",
            (_, "i32::MAX") => "2147483647",
            (_, "i32::MIN") => "-2147483648",
            (_, "i64::MAX") => "9223372036854775807",
            (_, other) => other,
        };
        let nullable = (0..100).any(field.nullable);
        let value =
            if nullable { Value::Null(field.default.is_empty()) } else { Value::Plain(text.to_owned()) };
        list.push(Absent { path: at.clone(), value, tagged: nullable && field.tag.is_some() });
        if let Kind::Struct(fields) = kind {
            defaults(fields, &format!("{at}."), list);
        }
    }
}

/// The values of fields that were not sent.
fn absent(ask: &mut Asker) -> Vec<String> {
    let (mut wrong, mut compared) = (Vec::new(), 0);
    for entry in ottla::wire::schema::all() {
        let Some(answer) = ask.ask(format!("defaults {}", entry.name)) else { continue };
        let theirs: Vec<(&str, &str)> =
            answer.split_terminator(';').map(|d| d.split_once('=').expect(&answer)).collect();
        let mut ours = Vec::new();
        defaults(entry.fields, "", &mut ours);
        for Absent { path, value, tagged } in ours {
            let Some((_, theirs)) = theirs.iter().find(|(p, _)| *p == path) else {
                wrong.push(format!("{} has no {path}", entry.name));
                continue;
            };
            let number = theirs.parse::<f64>().is_ok() || theirs.parse::<bool>().is_ok();
            // An absent list, string or structure is none here, whatever it is in Java; but a tagged one is left
            // out where it has its default, so that counts.
            let same = match &value {
                Value::Plain(ours) => !number || ours == theirs,
                Value::Null(null) => !tagged || *null == (*theirs == "null"),
            };
            compared += usize::from(number || tagged);
            if !same {
                wrong.push(format!("{} {path}: ours {value:?}, Kafka's {theirs}", entry.name));
            }
        }
    }
    assert!(!ask.answered() || compared > 800, "only {compared} were compared");
    wrong
}

/// Versions, headers and listeners of the APIs; numbers, names and kinds of the error codes.
fn tables(ask: &mut Asker) -> Vec<String> {
    let mut ours = String::new();
    for api in ApiKey::ALL {
        let (lowest, highest) = api.versions().into_inner();
        ours += &format!("{} {api} {lowest} {highest} ", api.number());
        ours += &format!("{} {}", api.on_broker(), api.on_controller());
        for v in api.versions() {
            ours += &format!(" {}{}", api.request_header_version(v), api.response_header_version(v));
        }
        ours += ";";
    }
    let mut wrong = Vec::new();
    let mut compare = |ours: String, theirs: Option<String>| {
        let Some(theirs) = theirs else { return };
        let (ours, theirs): (Vec<_>, Vec<_>) = (ours.split(';').collect(), theirs.split(';').collect());
        if ours.len() != theirs.len() {
            wrong.push(format!("{} ours, {} Kafka's", ours.len(), theirs.len()));
        }
        let differ = ours.iter().zip(&theirs).filter(|(ours, theirs)| ours != theirs);
        wrong.extend(differ.map(|(ours, theirs)| format!("ours {ours}, Kafka's {theirs}")));
    };
    compare(ours, ask.ask("apis".into()));
    let describe = |e: &ErrorCode| format!("{} {} {};", e.0, e.name(), e.is_retriable());
    compare(ErrorCode::ALL.iter().map(describe).collect(), ask.ask("errors".into()));
    wrong
}

/// Collects the questions of a first run through the checks, and answers those of a second, so that one JVM
/// answers all.
#[derive(Default)]
pub struct Asker {
    questions: Vec<String>,
    answers: Option<VecDeque<String>>,
}

impl Asker {
    pub fn ask(&mut self, question: String) -> Option<String> {
        match &mut self.answers {
            Some(answers) => answers.pop_front(),
            None => {
                self.questions.push(question);
                None
            }
        }
    }

    fn answered(&self) -> bool {
        self.answers.is_some()
    }
}

/// Asks, and says what is wrong with the answers.
type Check = fn(&mut Asker) -> Vec<String>;

#[test]
fn the_table_is_kafkas() {
    let mut asker = Asker::default();
    let checks: [(&str, Check); 6] = [
        ("fields", fields),
        ("bytes", bytes),
        ("values of absent fields", absent),
        ("tables", tables),
        ("batches of ours", batches::ours),
        ("batches of Kafka's", batches::kafkas),
    ];
    checks.iter().for_each(|(_, check)| assert!(check(&mut asker).is_empty()));
    assert!(asker.questions.len() > 5000, "only {} questions", asker.questions.len());
    asker.answers = Some(ask(&asker.questions));
    let mut wrong = String::new();
    for (name, check) in checks {
        let found = check(&mut asker);
        if !found.is_empty() {
            wrong += &format!("{name}: {} differ:\n{}\n", found.len(), found.join("\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
