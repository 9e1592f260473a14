//! Members of groups, in processes of other languages.
//!
//! Such a process (Members.java, members.py, ...) is given the broker's address and hosts members by their names. It is
//! asked on its standard input, and ends without a word to the broker when that ends:
//!
//! - `join NAME KEY=VALUE...`: a consumer that does not commit by itself. Keys: `group`; `topics` (with commas between)
//!   or `pattern`; `protocol` (`classic` or `consumer`); `assignor`; `reset` (`earliest` or `latest`); `session` in
//!   milliseconds, for the classic protocol; `instance`, for a static member.
//! - `commit NAME [TOPIC PARTITION OFFSET]`: this offset, or all that it read.
//! - `leave NAME`: closes it.
//!
//! It says: `NAME assigned TOPIC:PARTITION,...` and `NAME revoked TOPIC:PARTITION,...` as partitions come and go,
//! `NAME read TOPIC PARTITION OFFSET VALUE`, `NAME committed`, `NAME refused WHY` where a rebalance was in the way of a
//! commit, `NAME left`, and `NAME failed WHY`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::broker::Folder;

/// How long anything may take before the test counts as hanging.
const PATIENCE: Duration = Duration::from_secs(180);

/// A process that hosts members. It is killed at the end.
pub struct Host {
    process: Child,
    stdin: Mutex<ChildStdin>,
    members: Arc<Mutex<BTreeMap<String, State>>>,
    /// What it says beside.
    errors: Folder,
}

/// What a member has and did.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub owned: BTreeSet<(String, i32)>,
    /// How often it was assigned partitions, or none.
    pub rebalances: usize,
    /// Topic, partition, offset and value.
    pub read: Vec<(String, i32, i64, String)>,
    commits: usize,
    refusals: usize,
    left: bool,
    failed: Option<String>,
}

impl Host {
    /// Starts it. `needs` says what must be installed.
    pub fn start(mut command: Command, address: &str, needs: &str) -> Host {
        let errors = Folder::new();
        let log = File::create(errors.0.join("log")).unwrap();
        command.arg(address).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut process = command.spawn().unwrap_or_else(|why| panic!("{command:?}: {why}; {needs}"));
        let (stdin, stdout) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let members = Arc::<Mutex<BTreeMap<String, State>>>::default();
        let heard = members.clone();
        std::thread::spawn(move || listen(stdout, &heard));
        Host { process, stdin: Mutex::new(stdin), members, errors }
    }

    /// Has a member join.
    pub fn join(&self, name: &str, settings: &[(&str, &str)]) -> Member<'_> {
        self.members.lock().unwrap().insert(name.to_owned(), State::default());
        let settings: String = settings.iter().map(|(key, value)| format!(" {key}={value}")).collect();
        self.ask(&format!("join {name}{settings}"));
        Member { host: self, name: name.to_owned() }
    }

    /// Ends it at once, as `kill -9` does; its members say nothing to the broker.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn ask(&self, line: &str) {
        let mut stdin = self.stdin.lock().unwrap();
        if writeln!(stdin, "{line}").and_then(|()| stdin.flush()).is_err() {
            panic!("{line}: the process has ended: {}", self.said());
        }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.errors.0.join("log")).unwrap_or_default()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn listen(stdout: ChildStdout, members: &Mutex<BTreeMap<String, State>>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        let mut words = line.split(' ');
        let (name, what) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let mut members = members.lock().unwrap();
        let Some(member) = members.get_mut(name) else { continue };
        let rest: Vec<&str> = words.collect();
        match (what, rest.as_slice()) {
            ("assigned", parts) => {
                member.rebalances += 1;
                member.owned.extend(partitions(parts));
            }
            ("revoked", parts) => partitions(parts).for_each(|part| _ = member.owned.remove(&part)),
            ("read", [topic, partition, offset, value]) => member.read.push((
                (*topic).to_owned(),
                partition.parse().unwrap(),
                offset.parse().unwrap(),
                (*value).to_owned(),
            )),
            ("committed", _) => member.commits += 1,
            ("refused", _) => member.refusals += 1,
            ("left", _) => {
                member.left = true;
                member.owned.clear();
            }
            _ => member.failed = Some(line.clone()),
        }
    }
}

fn partitions<'a>(parts: &'a [&str]) -> impl Iterator<Item = (String, i32)> + 'a {
    parts.iter().flat_map(|parts| parts.split(',')).filter_map(|part| {
        let (topic, partition) = part.rsplit_once(':')?;
        Some((topic.to_owned(), partition.parse().ok()?))
    })
}

/// A member of a group.
pub struct Member<'a> {
    host: &'a Host,
    name: String,
}

impl Member<'_> {
    pub fn state(&self) -> State {
        self.host.members.lock().unwrap()[&self.name].clone()
    }

    /// Commits all that it read.
    #[track_caller]
    pub fn commit(&self) {
        self.commit_with("");
    }

    /// Commits an offset.
    #[track_caller]
    pub fn commit_at(&self, topic: &str, partition: i32, offset: i64) {
        self.commit_with(&format!(" {topic} {partition} {offset}"));
    }

    /// A rebalance that goes on is waited for.
    #[track_caller]
    fn commit_with(&self, what: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let before = self.state();
            self.host.ask(&format!("commit {}{what}", self.name));
            until(&[self], "a commit is answered", |states| {
                states[0].commits + states[0].refusals > before.commits + before.refusals
            });
            if self.state().commits > before.commits {
                return;
            }
            assert!(Instant::now() < deadline, "{} cannot commit: {}", self.name, self.host.said());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Closes it; gives what it did.
    #[track_caller]
    pub fn leave(self) -> State {
        self.host.ask(&format!("leave {}", self.name));
        until(&[&self], "it leaves", |states| states[0].left);
        self.state()
    }
}

/// Waits until something holds of these members.
#[track_caller]
pub fn until(members: &[&Member<'_>], what: &str, holds: impl Fn(&[State]) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let states: Vec<State> = members.iter().map(|member| member.state()).collect();
        if holds(&states) {
            return;
        }
        let late = Instant::now() >= deadline;
        if let Some(at) = states.iter().position(|state| state.failed.is_some() || late) {
            let have: Vec<_> =
                states.iter().map(|state| (&state.owned, state.rebalances, state.read.len())).collect();
            let (member, failed) = (&members[at], &states[at].failed);
            panic!("{}: {what}: {failed:?}, {have:?}: {}", member.name, member.host.said());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
