//! Kafka's tools, run by a Java program that stays for the next one.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock};

use crate::stock::RUN;

const JAVA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/java");

/// What a tool did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Its output, if it succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.code == 0 && self.err.is_empty(), "{self:?}");
        self.out
    }
}

/// A JVM that runs one tool after the other.
pub struct Driver {
    process: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
}

impl Driver {
    pub fn start() -> Driver {
        let mut process = java()
            .arg("Driver")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Java 17 or later is needed: tests/setup.sh installs it");
        let (stdin, stdout) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        Driver { process, stdin, stdout }
    }

    /// Runs a class's main with something on standard input.
    pub fn run_with(&mut self, words: &[&str], input: &str) -> Ran {
        let mut bytes = (words.len() as i32).to_be_bytes().to_vec();
        for text in words.iter().chain([&input]) {
            bytes.extend((text.len() as i32).to_be_bytes());
            bytes.extend(text.as_bytes());
        }
        self.stdin.write_all(&bytes).and_then(|()| self.stdin.flush()).expect("the driver takes a tool");
        let code = self.number();
        let mut text = || {
            let mut bytes = vec![0; self.number() as usize];
            self.stdout.read_exact(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Ran { code, out: text(), err: text() }
    }

    /// Runs a class's main.
    pub fn run(&mut self, words: &[&str]) -> Ran {
        self.run_with(words, "")
    }

    fn number(&mut self) -> i32 {
        let mut bytes = [0; 4];
        self.stdout.read_exact(&mut bytes).expect("the driver answers");
        i32::from_be_bytes(bytes)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs a class's main in a JVM of its own.
pub fn alone(words: &[&str]) -> Ran {
    let output = java().args(words).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
}

/// A class's main in a JVM of its own, to be started.
pub fn program(class: &str) -> Command {
    let mut java = java();
    java.arg(class);
    java
}

/// A JVM with Kafka's classes. What the tools log is no part of their output.
fn java() -> Command {
    let (jars, classes) = class_path();
    let mut java = Command::new("java");
    java.args(["-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
        .args(["-Dorg.apache.logging.log4j.level=OFF", "-Dlog4j2.level=OFF", "-cp"])
        .arg(format!("{}:{jars}", classes.display()));
    java
}

/// Kafka's jars, and the classes of these tests; each is made once.
fn class_path() -> (String, PathBuf) {
    static MADE: OnceLock<Mutex<(String, PathBuf)>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let said = Command::new(RUN).arg("classpath").output().unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        let jars = String::from_utf8(said.stdout).unwrap().trim().to_owned();
        let classes = compile(&jars);
        Mutex::new((jars, classes))
    });
    made.lock().unwrap().clone()
}

/// Compiles the Java programs, unless these very ones were compiled before.
fn compile(jars: &str) -> PathBuf {
    let entries = std::fs::read_dir(JAVA).unwrap().map(|entry| entry.unwrap().path());
    let mut sources: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "java")).collect();
    sources.sort();
    let mut hasher = DefaultHasher::new();
    sources.iter().for_each(|source| std::fs::read(source).unwrap().hash(&mut hasher));
    let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let classes = base.join(format!("kafka-java-{:x}", hasher.finish()));
    if classes.exists() {
        return classes;
    }
    // Made under another name: a half-made one must not pass for whole.
    let making = base.join(format!("kafka-java-{}", std::process::id()));
    let output = Command::new("javac")
        .args(["-nowarn", "-Xlint:none", "-cp", jars, "-d"])
        .arg(&making)
        .args(&sources)
        .output()
        .expect("a JDK of Java 17 or later is needed: tests/setup.sh installs it");
    assert!(output.status.success(), "javac: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::rename(&making, &classes).unwrap();
    classes
}
