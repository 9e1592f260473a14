//! What `ottla serve` understands.

use std::path::PathBuf;
use std::str::FromStr;

/// What `ottla serve` understands.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  ottla serve                                    Kafka on 127.0.0.1:9092, data in ./ottla-data
  ottla serve --listen 0.0.0.0:9092 --data-dir /var/lib/ottla
  ottla serve --config /etc/ottla/server.properties --profile laptop
  ottla serve --cores 2-5                        run on these CPUs only

Arguments go before the settings of --config. The broker stops cleanly on SIGTERM and Ctrl-C.")]
pub struct ServeArgs {
    /// The broker's settings, in the form of Kafka's server.properties
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// What each core does and how: the name of a ready-made profile, or a file
    #[arg(long, value_name = "NAME|FILE")]
    pub profile: Option<String>,

    /// Where topics are kept [default: ./ottla-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// Where Kafka's protocol is served [default: 127.0.0.1:9092]
    #[arg(long, value_name = "HOST:PORT", value_parser = host_port)]
    pub listen: Option<String>,

    /// How many cores to use, or which: 4, 0-3 or 0,2,4-6 (a list names CPUs) [default: all this process may use]
    #[arg(long, value_name = "N|LIST")]
    pub cores: Option<Cores>,

    /// Serve this partition although records that were acknowledged are damaged on disk: everything from the
    /// damage on is dropped. May be given several times
    #[arg(long, value_name = "TOPIC-PARTITION")]
    pub accept_loss: Vec<TopicPartition>,

    /// Start on a file system that is mounted so that flushes do not reach the disk (nobarrier): a power failure
    /// then loses records that were acknowledged
    #[arg(long)]
    pub accept_no_barrier: bool,
}

/// An address with its port, in the form that `listeners` takes.
fn host_port(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']')) => {
            Ok(text.to_owned())
        }
        _ => Err("write HOST:PORT, for example 127.0.0.1:9092, or 0.0.0.0:9092 for every address".into()),
    }
}

/// Which cores to run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cores {
    /// The first so many of those that the process may use.
    Count(usize),
    /// These CPUs, in this order.
    List(Vec<usize>),
}

/// The most CPUs a list may name; the kernel's own mask holds no more.
const CPU_MAX: usize = 8192;

impl FromStr for Cores {
    type Err = String;

    fn from_str(text: &str) -> Result<Cores, String> {
        let number = |digits: &str| match digits.trim().parse::<usize>() {
            Ok(n) if n < CPU_MAX => Ok(n),
            _ => Err(format!("'{digits}' is no CPU number below {CPU_MAX}")),
        };
        if !text.contains([',', '-']) {
            return match number(text)? {
                0 => Err("a broker needs at least one core".into()),
                n => Ok(Cores::Count(n)),
            };
        }
        let mut cpus = Vec::new();
        for item in text.split(',') {
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(format!("the range '{item}' runs backwards"));
            }
            cpus.extend(first..=last);
        }
        let mut sorted = cpus.clone();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted.len() < cpus.len() {
            return Err(format!("'{text}' names a CPU twice"));
        }
        Ok(Cores::List(cpus))
    }
}

/// A partition as its directory is named: `orders-3`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
}

impl FromStr for TopicPartition {
    type Err = String;

    fn from_str(text: &str) -> Result<TopicPartition, String> {
        text.rsplit_once('-')
            .filter(|(topic, _)| !topic.is_empty())
            .and_then(|(topic, digits)| {
                let partition = digits.parse().ok().filter(|p| *p >= 0)?;
                Some(TopicPartition { topic: topic.to_string(), partition })
            })
            .ok_or_else(|| {
                format!("'{text}' is not TOPIC-PARTITION, for example orders-3 (the name of its directory)")
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_a_count_or_a_list() {
        assert_eq!("4".parse(), Ok(Cores::Count(4)));
        assert_eq!("0-2".parse(), Ok(Cores::List(vec![0, 1, 2])));
        assert_eq!("6,0-1".parse(), Ok(Cores::List(vec![6, 0, 1])));
        for bad in ["0", "", "a", "3-1", "1,1", "0-2,2", "1,", "0-99999999999"] {
            assert!(bad.parse::<Cores>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_listener_has_a_port() {
        for good in ["127.0.0.1:0", "localhost:9092", ":9092", "[::1]:9092"] {
            assert_eq!(host_port(good), Ok(good.to_owned()));
        }
        for bad in ["", "localhost", "9092", "localhost:", "localhost:99999", "::1"] {
            assert!(host_port(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_partition_is_named_as_its_directory() {
        let parsed: TopicPartition = "my-topic-12".parse().unwrap();
        assert_eq!((parsed.topic.as_str(), parsed.partition), ("my-topic", 12));
        for bad in ["orders", "orders-", "-1", "orders-x", "orders--"] {
            assert!(bad.parse::<TopicPartition>().is_err(), "{bad}");
        }
    }
}
