//! The account that is given before anything is changed, and what is said at the end.

use std::io::{self, Write};

use serde_json::json;

use super::found::{Found, FoundDir, KEPT};
use super::plan::Plan;
use super::work::Mode;
use crate::broker::coordinator::is_internal;
use crate::command::output::{Style, Table, human_bytes, json_line};
use crate::config::settings;
use crate::controller::image::resource;

/// Names of `metadata.version` by its level.
const RELEASES: [(i16, &str); 11] = [
    (7, "3.3"),
    (8, "3.4"),
    (9, "3.5"),
    (12, "3.6"),
    (15, "3.7"),
    (20, "3.8"),
    (21, "3.9"),
    (22, "4.0"),
    (26, "4.1"),
    (28, "4.2"),
    (i16::MAX, ""),
];

/// What is told.
pub struct Told<'a> {
    /// What was found.
    pub found: &'a Found,
    /// What is to be done.
    pub plan: &'a Plan,
    /// Where to.
    pub mode: &'a Mode,
    /// Whether the operator has said how it is to be adopted.
    pub chosen: bool,
}

impl Told<'_> {
    /// Writes the account.
    pub fn write(&self, out: &mut impl Write, style: Style) -> io::Result<()> {
        if style.json() {
            return json_line(out, &self.json());
        }
        let (found, identity) = (self.found, self.found.identity());
        writeln!(out, "A stopped Kafka:")?;
        line(out, "cluster", &identity.cluster_id)?;
        line(
            out,
            "node",
            &format!("{}, metadata.version {}", identity.node_id, release(found.metadata.version())),
        )?;
        for dir in &found.dirs {
            line(out, "folder", &folder(dir))?;
        }
        line(out, "topics", &self.topics())?;
        line(out, "settings", &self.settings())?;
        line(
            out,
            "producers",
            &format!(
                "{} known to the snapshots; new ones begin with the id {}",
                found.partitions().map(|(_, p)| p.producers).sum::<usize>(),
                self.plan.next_producer_id
            ),
        )?;
        self.table(out)?;
        if !self.plan.cautions.is_empty() {
            writeln!(out, "\nTo know before:")?;
        }
        self.plan.cautions.iter().try_for_each(|caution| writeln!(out, "  - {caution}."))?;
        if !self.plan.problems.is_empty() {
            writeln!(out, "\nIn the way:")?;
            return self.plan.problems.iter().try_for_each(|problem| writeln!(out, "  - {problem}."));
        }
        if self.chosen {
            writeln!(out, "\nWhat comes now:")?;
            self.next_steps().iter().try_for_each(|step| writeln!(out, "  - {step}."))?;
        }
        Ok(())
    }

    fn topics(&self) -> String {
        let image = &self.found.metadata.image;
        let internal = image.topics().filter(|topic| is_internal(&topic.name)).count();
        let files: usize = self.plan.partitions.iter().map(|p| p.files.len()).sum();
        let bytes: u64 = self.plan.partitions.iter().map(|p| p.bytes()).sum();
        format!(
            "{} ({internal} of Kafka's own) with {} partitions, {} in {files} files",
            image.topic_count(),
            image.partition_count(),
            human_bytes(bytes)
        )
    }

    fn settings(&self) -> String {
        let image = &self.found.metadata.image;
        let topics: Vec<usize> =
            image.topics().map(|topic| topic.configs.len()).filter(|count| *count > 0).collect();
        let set = |kind: i8| -> usize {
            let of = image.configured().filter(|(k, _)| *k == kind);
            of.filter_map(|(kind, name)| image.configs(kind, name)).map(|configs| configs.len()).sum()
        };
        let mut text = format!(
            "{} on {} topics, {} on brokers, {} on others",
            topics.iter().sum::<usize>(),
            topics.len(),
            set(resource::BROKER),
            set(resource::GROUP) + set(resource::CLIENT_METRICS)
        );
        let names = image.topics().flat_map(|topic| topic.configs.keys());
        let mut unknown: Vec<&str> = names.map(|name| &name[..]).filter(|name| !acts(name)).collect();
        unknown.sort_unstable();
        unknown.dedup();
        if !unknown.is_empty() {
            text += &format!("; kept without effect: {}", unknown.join(", "));
        }
        text
    }

    /// A line for each topic, the largest first.
    fn table(&self, out: &mut impl Write) -> io::Result<()> {
        const MOST: usize = 20;
        let mut topics = self.by_topic();
        topics.sort_by(|a, b| b.2.cmp(&a.2).then(a.0.cmp(&b.0)));
        if topics.is_empty() {
            return Ok(());
        }
        writeln!(out)?;
        let mut table = Table::new(&["TOPIC", ">PARTITIONS", ">SIZE", "SETTINGS"]);
        for (name, partitions, bytes, settings) in topics.iter().take(MOST) {
            table.row([name.clone(), partitions.to_string(), human_bytes(*bytes), settings.join(" ")]);
        }
        table.write(out, 2)?;
        match topics.len().saturating_sub(MOST) {
            0 => Ok(()),
            more => writeln!(out, "  and {more} smaller ones (--output json names all)"),
        }
    }

    fn by_topic(&self) -> Vec<(String, usize, u64, Vec<String>)> {
        let image = &self.found.metadata.image;
        let mut bytes = std::collections::BTreeMap::<&str, u64>::new();
        for (_, p) in self.found.partitions() {
            *bytes.entry(&p.topic).or_default() += p.bytes();
        }
        let of = |topic: &crate::controller::Topic| {
            let set = topic.configs.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let size = bytes.get(&*topic.name).copied().unwrap_or(0);
            (topic.name.to_string(), topic.partitions.len(), size, set)
        };
        image.topics().map(|topic| of(topic)).collect()
    }

    fn next_steps(&self) -> Vec<String> {
        match self.mode {
            Mode::Copy(targets) => {
                let names: Vec<String> = targets.iter().map(|dir| dir.display().to_string()).collect();
                vec![
                    format!("all of it is copied to {}, checked on the way and made durable", names.join(", ")),
                    "Kafka's folders stay as they are, and Kafka can be started on them at any time; what it writes then is \
                     not in the copy"
                        .to_owned(),
                ]
            }
            Mode::InPlace if self.found.half_done() => {
                vec!["an import in place was cut short here: it is brought to its end".to_owned()]
            }
            Mode::InPlace => vec![
                "up to where __cluster_metadata-0 is renamed, Kafka can be started as ever".to_owned(),
                format!(
                    "from there on neither broker starts until this import has ended (run it again if it is cut short); \
                     Kafka's metadata stays as {KEPT}"
                ),
                "the way back is open until Ottla has written: give that folder its name again, in place of Ottla's, and \
                 take the line ottla.format out of meta.properties"
                    .to_owned(),
            ],
        }
    }

    fn json(&self) -> serde_json::Value {
        let (found, identity) = (self.found, self.found.identity());
        let topics = self.by_topic();
        let unserved = &found.metadata.unserved;
        json!({
            "kind": "account",
            "cluster_id": identity.cluster_id,
            "node_id": identity.node_id,
            "metadata_version": found.metadata.version(),
            "half_done": found.half_done(),
            "folders": found.dirs.iter().map(|dir| json!({
                "path": dir.path,
                "directory_id": dir.identity.directory_id.to_string(),
                "stopped_cleanly": dir.clean,
                "partitions": dir.partitions.len(),
            })).collect::<Vec<_>>(),
            "topics": topics.iter().map(|(name, partitions, bytes, settings)| json!({
                "topic": name, "partitions": partitions, "bytes": bytes, "settings": settings,
            })).collect::<Vec<_>>(),
            "bytes": self.plan.partitions.iter().map(|p| p.bytes()).sum::<u64>(),
            "next_producer_id": self.plan.next_producer_id,
            "acls": unserved.acls.len(),
            "users": unserved.users.len(),
            "quotas": unserved.quotas.len(),
            "cautions": self.plan.cautions,
            "problems": self.plan.problems,
        })
    }
}

fn folder(dir: &FoundDir) -> String {
    let bytes: u64 = dir.partitions.iter().map(|p| p.bytes()).sum();
    let state = if dir.clean { "stopped cleanly" } else { "not stopped cleanly" };
    format!("{}: {} partitions, {}, {state}", dir.path.display(), dir.partitions.len(), human_bytes(bytes))
}

fn release(level: i16) -> String {
    let at = RELEASES.partition_point(|(from, _)| *from <= level);
    match at.checked_sub(1).map(|at| RELEASES[at].1) {
        Some(release) => format!("{level} (of Kafka {release})"),
        None => level.to_string(),
    }
}

fn line(out: &mut impl Write, label: &str, text: &str) -> io::Result<()> {
    writeln!(out, "  {label:<9}  {text}")
}

/// What is said at the end.
pub fn done(
    out: &mut impl Write,
    style: Style,
    found: &Found,
    mode: &Mode,
    damage: &[String],
) -> io::Result<()> {
    let (dirs, node_id) = (mode.targets(found), found.identity().node_id);
    if style.json() {
        return json_line(
            out,
            &json!({"kind": "done", "data_dirs": dirs, "node_id": node_id, "damage": damage}),
        );
    }
    if !damage.is_empty() {
        writeln!(out, "\nDamaged, as Kafka has left it; Ottla will not serve what is damaged:")?;
        damage.iter().try_for_each(|what| writeln!(out, "  - {what}"))?;
    }
    let names: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
    writeln!(out, "\nDone. To serve it, say so in Ottla's server.properties (Kafka's own is understood):")?;
    writeln!(out, "  node.id={node_id}\n  log.dirs={}", names.join(","))?;
    if let (true, Some(home)) =
        (names.len() > 1, names.get(mode.target(found.metadata_dir)).filter(|_| found.metadata_dir > 0))
    {
        writeln!(out, "  metadata.log.dir={home}")?;
    }
    writeln!(out, "and start it: ottla serve --config server.properties")
}

/// Whether a topic's setting does here what it does in Kafka.
fn acts(name: &str) -> bool {
    settings::topic().get(name).is_some_and(|setting| setting.effect == settings::Effect::Acts)
}
