//! What a node is to be, from the arguments, the broker's file, the profile and the machine.

use std::fs;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;

use super::args::{Cores, ServeArgs};
use crate::broker::node::Node;
use crate::command::failure::{Failure, Result};
use crate::config::broker::Note;
use crate::config::listeners::Endpoint;
use crate::config::profile::ready_made;
use crate::config::{BrokerConfig, Profile};
use crate::reactor::real::HostReport;

/// The profile where none is named.
const PROFILE: &str = "default";

/// A node, and what the operator should know of how it came about.
pub struct Setup {
    /// The node.
    pub node: Node,
    /// The name of the profile.
    pub profile: String,
    /// What is to be said of the broker's file.
    pub notes: Vec<Note>,
}

/// Reads all there is.
pub fn read(args: &ServeArgs, host: &HostReport) -> Result<Setup> {
    let mut config = read_config(args)?;
    // Clients name them, and do not know where the broker was started.
    let absolute = |dir: &PathBuf| std::path::absolute(dir).unwrap_or_else(|_| dir.clone());
    config.log_dirs = config.log_dirs.iter().map(absolute).collect();
    config.metadata_log_dir = absolute(&config.metadata_log_dir);
    let cpus = cpus(args, host)?;
    let (profile, name) = read_profile(args)?;
    let profile = match &args.cores {
        Some(_) => Profile { cores: Some(cpus.len()), ..profile },
        None => profile,
    };
    let memory = usize::try_from(host.memory).unwrap_or(usize::MAX);
    let cores =
        profile.resolve(&cpus, memory).map_err(|bad| Failure::new(format!("profile {name}: {}", bad.0)))?;
    config.advertise_as(&host_name());
    let addresses: Result<Vec<_>> = config.listeners.iter().map(resolve).collect();
    // The logs need open files too, and a broker that cannot open one loses its folder.
    let half = usize::try_from(host.open_files / 2).unwrap_or(usize::MAX);
    config.max_connections_most = half;
    config.max_connections = config.max_connections.min(half);
    let accept_loss = args.accept_loss.iter().map(|lost| (lost.topic.clone(), lost.partition)).collect();
    let notes = std::mem::take(&mut config.notes);
    let node = Node {
        config: Arc::new(config),
        addresses: addresses?,
        cores,
        accept_loss,
        accept_no_barrier: args.accept_no_barrier,
        loggers: Arc::default(),
    };
    Ok(Setup { node, profile: name, notes })
}

fn read_config(args: &ServeArgs) -> Result<BrokerConfig> {
    let (text, file) = match &args.config {
        None => (String::new(), String::new()),
        Some(path) => {
            let file = path.display().to_string();
            let text = fs::read_to_string(path).map_err(|error| {
                Failure::new(format!("{file} cannot be read: {error}"))
                    .advice("--config names the broker's settings")
            })?;
            (text, file)
        }
    };
    let mut given = Vec::new();
    if let Some(dir) = &args.data_dir {
        given.push(("log.dirs".to_owned(), dir.display().to_string()));
    }
    if let Some(listen) = &args.listen {
        given.push(("listeners".to_owned(), format!("PLAINTEXT://{listen}")));
    }
    BrokerConfig::read(&text, &file, &given).map_err(|problems| Failure::new(problems.to_string()))
}

fn read_profile(args: &ServeArgs) -> Result<(Profile, String)> {
    let name = args.profile.clone().unwrap_or_else(|| PROFILE.to_owned());
    let text = match ready_made(&name) {
        Some(text) => text.to_owned(),
        None => fs::read_to_string(&name).map_err(|error| {
            let known: Vec<_> = crate::config::profile::READY_MADE.iter().map(|(name, _)| *name).collect();
            Failure::new(format!("the profile {name} cannot be read: {error}"))
                .advice(format!("--profile takes a file, or one of: {}", known.join(", ")))
        })?,
    };
    let profile = Profile::read(&text, &name).map_err(|bad| Failure::new(bad.0))?;
    Ok((profile, name))
}

/// The CPUs that the cores are pinned to.
fn cpus(args: &ServeArgs, host: &HostReport) -> Result<Vec<usize>> {
    let may_use = || {
        let list: Vec<_> = host.cpus.iter().map(usize::to_string).collect();
        format!("this process may use the CPUs {}", list.join(", "))
    };
    match &args.cores {
        None => Ok(host.cpus.clone()),
        Some(Cores::Count(count)) if *count > host.cpus.len() => {
            Err(Failure::usage(format!("--cores {count}: {}", may_use())))
        }
        Some(Cores::Count(count)) => Ok(host.cpus[..*count].to_vec()),
        Some(Cores::List(list)) => match list.iter().find(|cpu| !host.cpus.contains(cpu)) {
            Some(cpu) => Err(Failure::usage(format!("--cores names CPU {cpu}, and {}", may_use()))),
            None => Ok(list.clone()),
        },
    }
}

/// The address that a listener is bound to.
fn resolve(endpoint: &Endpoint) -> Result<SocketAddr> {
    let host = if endpoint.host.is_empty() { "0.0.0.0" } else { &endpoint.host };
    let found = (host, endpoint.port).to_socket_addrs().map(|mut found| found.next());
    match found {
        Ok(Some(address)) => Ok(address),
        Ok(None) => Err(Failure::new(format!("listener {endpoint}: {host} has no address"))),
        Err(error) => Err(Failure::new(format!("listener {endpoint}: {host} cannot be resolved: {error}"))),
    }
}

/// What this machine calls itself.
fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}
