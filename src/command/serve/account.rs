//! The short account of what a broker found and what it does.

use std::io::Write;

use serde_json::json;

use super::setup::Setup;
use crate::broker::node::{Event, Node};
use crate::command::output::{Style, human_bytes};
use crate::config::broker::Note;
use crate::reactor::DiskReport;
use crate::reactor::real::HostReport;

/// Tells of a node's start and stop on stdout: lines for people, or one JSON object for each event.
pub struct Account {
    style: Style,
    host: HostReport,
    node: Node,
    profile: String,
    notes: Vec<Note>,
}

impl Account {
    /// For a node that is about to start.
    pub fn new(style: Style, host: &HostReport, setup: &Setup) -> Account {
        Account {
            style,
            host: host.clone(),
            node: setup.node.clone(),
            profile: setup.profile.clone(),
            notes: setup.notes.clone(),
        }
    }

    /// What is known before the start.
    pub fn begin(&self) {
        for note in &self.notes {
            tracing::info!("{}: {}: {note}", note.at, note.setting);
        }
        if self.style.json() {
            return;
        }
        self.line("", &format!("Ottla {}", env!("CARGO_PKG_VERSION")));
        self.line("cores", &self.cores());
        self.line("memory", &self.memory());
    }

    /// Tells of an event.
    pub fn tell(&self, event: &Event) {
        match event {
            _ if self.style.json() => write_line(&self.json(event).to_string()),
            Event::Folder(identity, disk, clean) => {
                self.line("data", &self.folder(disk, *clean));
                self.line("disk", &disk_text(disk));
                self.line("node", &format!("{} of cluster {}", identity.node_id, identity.cluster_id));
                if disk.no_barrier {
                    tracing::error!(
                        "flushes do not reach this disk: a power failure loses acknowledged records"
                    );
                }
            }
            Event::Serving(topics, partitions, addresses) => {
                self.line("topics", &format!("{topics} with {partitions} partitions"));
                let endpoints = self.node.config.listeners.iter().zip(addresses);
                for ((listener, address), advertised) in endpoints.zip(&self.node.config.advertised) {
                    let told = match advertised.port {
                        0 => format!("{}:{}", advertised.host, address.port()),
                        port => format!("{}:{port}", advertised.host),
                    };
                    self.line(
                        "listener",
                        &format!("{} on {address}, clients are told {told}", listener.name),
                    );
                }
                self.line("", "Ready. Ctrl-C stops the broker cleanly.");
            }
            Event::Stopping => {
                self.line("", "Stopping: the last appends are flushed, and the logs are closed.")
            }
            Event::Ended(_) => {}
        }
    }

    fn line(&self, label: &str, text: &str) {
        match label {
            "" => write_line(text),
            label => write_line(&format!("  {label:<9} {text}")),
        }
    }

    fn cores(&self) -> String {
        let cpus: Vec<String> =
            self.node.cores.iter().filter_map(|core| core.cpu).map(|cpu| cpu.to_string()).collect();
        let mut text = format!(
            "{} of {} (CPU {}), profile {}",
            self.node.cores.len(),
            self.host.cpus.len(),
            cpus.join(", "),
            self.profile
        );
        if let Some(quota) = self.host.cpu_quota.filter(|quota| *quota < self.node.cores.len() as f64) {
            text += &format!("; the cgroup allows the time of {quota:.1} only: they will be throttled");
        }
        text
    }

    fn memory(&self) -> String {
        let pools: usize = self.node.cores.iter().map(|core| core.memory).sum();
        format!(
            "{} of {} for the cores' pools, {} open files, of which {} may be connections",
            human_bytes(pools as u64),
            human_bytes(self.host.memory),
            self.host.open_files,
            self.node.config.max_connections
        )
    }

    fn folder(&self, disk: &DiskReport, clean: bool) -> String {
        let dir = self.node.config.log_dirs[0].display();
        let state = if clean { "stopped cleanly" } else { "new, or not stopped cleanly: logs are recovered" };
        format!("{dir} on {}, {} free; {state}", disk.file_system, human_bytes(disk.free))
    }

    fn json(&self, event: &Event) -> serde_json::Value {
        match event {
            Event::Folder(identity, disk, clean) => json!({
                "event": "starting",
                "version": env!("CARGO_PKG_VERSION"),
                "cluster_id": identity.cluster_id,
                "node_id": identity.node_id,
                "data_dir": self.node.config.log_dirs[0],
                "stopped_cleanly": clean,
                "file_system": disk.file_system,
                "one_flush": disk.one_flush,
                "direct_io": disk.direct,
                "free_bytes": disk.free,
                "cpus": self.node.cores.iter().map(|core| core.cpu).collect::<Vec<_>>(),
                "memory_bytes": self.node.cores.iter().map(|core| core.memory).sum::<usize>(),
            }),
            Event::Serving(topics, partitions, addresses) => json!({
                "event": "ready", "topics": topics, "partitions": partitions,
                "listeners": addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
            }),
            Event::Stopping => json!({"event": "stopping"}),
            Event::Ended(result) => json!({"event": "ended", "error": result.as_ref().err()}),
        }
    }
}

/// A broker outlives the reader of its words, and a full disk that they were to be written to.
fn write_line(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

fn disk_text(disk: &DiskReport) -> String {
    let io = match disk.direct {
        true => format!("direct I/O in blocks of {} bytes", disk.alignment),
        false => "no direct I/O here: writes go through the page cache".to_owned(),
    };
    let flush = match disk.one_flush {
        true => "one flush for a whole round",
        false => "a flush for each file",
    };
    format!("{io}; {flush} ({})", disk.reason)
}
