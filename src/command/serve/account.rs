//! The short account of what a broker found and what it does.

use std::io::Write;
use std::path::Path;

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
            Event::Folders(cluster_id, dirs) => {
                for (dir, told) in dirs {
                    self.folder(dir, told);
                }
                self.line("node", &format!("{} of cluster {cluster_id}", self.node.config.node_id));
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

    fn folder(&self, dir: &Path, told: &Result<(DiskReport, bool), String>) {
        let (disk, clean) = match told {
            Ok(told) => told,
            Err(_) => return self.line("data", &format!("{} is offline", dir.display())),
        };
        let state =
            if *clean { "stopped cleanly" } else { "new, or not stopped cleanly: logs are recovered" };
        let on = format!("on {}, {} free", disk.file_system, human_bytes(disk.free));
        self.line("data", &format!("{} {on}; {state}", dir.display()));
        self.line("disk", &disk_text(disk));
        if disk.no_barrier {
            tracing::error!(
                "flushes do not reach the disk of {}: a power failure loses acknowledged records",
                dir.display()
            );
        }
    }

    fn json(&self, event: &Event) -> serde_json::Value {
        match event {
            Event::Folders(cluster_id, dirs) => json!({
                "event": "starting",
                "version": env!("CARGO_PKG_VERSION"),
                "cluster_id": cluster_id,
                "node_id": self.node.config.node_id,
                "stopped_cleanly": dirs.iter().all(|(_, told)| matches!(told, Ok((_, true)))),
                "log_dirs": dirs.iter().map(|(dir, told)| dir_json(dir, told)).collect::<Vec<_>>(),
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

fn dir_json(dir: &Path, told: &Result<(DiskReport, bool), String>) -> serde_json::Value {
    match told {
        Ok((disk, clean)) => json!({
            "path": dir,
            "stopped_cleanly": clean,
            "file_system": disk.file_system,
            "one_flush": disk.one_flush,
            "direct_io": disk.direct,
            "free_bytes": disk.free,
        }),
        Err(why) => json!({"path": dir, "error": why}),
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
