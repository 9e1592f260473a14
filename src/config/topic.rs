//! What a partition's log goes by: the topic's settings over the broker's.

use super::layers::{Layers, Overrides};
use super::nearest::did_you_mean;
use super::settings::{self, Setting};
use super::value::{Value, parse};

/// What becomes of old records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Whole segments are deleted by age and size.
    pub delete: bool,
    /// Only the last record of each key is kept.
    pub compact: bool,
}

/// How batches are compressed on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionType {
    /// As the producer chose.
    Producer,
    /// Not at all.
    Uncompressed,
    /// By gzip.
    Gzip,
    /// By snappy.
    Snappy,
    /// By lz4.
    Lz4,
    /// By zstd.
    Zstd,
}

/// Whose clock stamps records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's, at the append.
    LogAppendTime,
}

/// The settings of one topic, as they hold on one broker. See the table's rows for what each means.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    /// `cleanup.policy`
    pub cleanup_policy: CleanupPolicy,
    /// `compression.type`
    pub compression_type: CompressionType,
    /// `compression.gzip.level`
    pub compression_gzip_level: i32,
    /// `compression.lz4.level`
    pub compression_lz4_level: i32,
    /// `compression.zstd.level`
    pub compression_zstd_level: i32,
    /// `delete.retention.ms`
    pub delete_retention_ms: u64,
    /// `file.delete.delay.ms`
    pub file_delete_delay_ms: u64,
    /// `flush.messages`
    pub flush_messages: u64,
    /// `flush.ms`
    pub flush_ms: u64,
    /// `index.interval.bytes`
    pub index_interval_bytes: u32,
    /// `max.compaction.lag.ms`
    pub max_compaction_lag_ms: u64,
    /// `max.message.bytes`
    pub max_message_bytes: u32,
    /// `message.timestamp.after.max.ms`
    pub message_timestamp_after_max_ms: i64,
    /// `message.timestamp.before.max.ms`
    pub message_timestamp_before_max_ms: i64,
    /// `message.timestamp.type`
    pub message_timestamp_type: TimestampType,
    /// `min.cleanable.dirty.ratio`
    pub min_cleanable_dirty_ratio: f64,
    /// `min.compaction.lag.ms`
    pub min_compaction_lag_ms: u64,
    /// `min.insync.replicas`
    pub min_insync_replicas: u32,
    /// `preallocate`
    pub preallocate: bool,
    /// `retention.bytes`; none for no limit.
    pub retention_bytes: Option<u64>,
    /// `retention.ms`; none for ever.
    pub retention_ms: Option<u64>,
    /// `segment.bytes`
    pub segment_bytes: u32,
    /// `segment.index.bytes`
    pub segment_index_bytes: u32,
    /// `segment.jitter.ms`
    pub segment_jitter_ms: u64,
    /// `segment.ms`
    pub segment_ms: u64,
    /// `unclean.leader.election.enable`
    pub unclean_leader_election: bool,
}

impl TopicConfig {
    /// The settings of a topic with `replicas` replicas and these `overrides`, on a broker with these layers.
    ///
    /// What does not fit the table is passed over: values were checked when they were set, and a broker must not
    /// stop over a value that another version allowed.
    pub fn resolve(overrides: &Overrides, broker: &Layers, replicas: usize) -> TopicConfig {
        let find = Finder { overrides, broker, replicas };
        let text = |name| find.value(name).to_string();
        let policy = text("cleanup.policy");
        TopicConfig {
            cleanup_policy: CleanupPolicy {
                delete: policy.split(',').any(|word| word == "delete"),
                compact: policy.split(',').any(|word| word == "compact"),
            },
            compression_type: compression_type(&text("compression.type")),
            compression_gzip_level: find.number("compression.gzip.level") as i32,
            compression_lz4_level: find.number("compression.lz4.level") as i32,
            compression_zstd_level: find.number("compression.zstd.level") as i32,
            delete_retention_ms: find.unsigned("delete.retention.ms"),
            file_delete_delay_ms: find.unsigned("file.delete.delay.ms"),
            flush_messages: find.unsigned("flush.messages").max(1),
            flush_ms: find.unsigned("flush.ms"),
            index_interval_bytes: find.unsigned("index.interval.bytes") as u32,
            max_compaction_lag_ms: find.unsigned("max.compaction.lag.ms"),
            max_message_bytes: find.unsigned("max.message.bytes") as u32,
            message_timestamp_after_max_ms: find.number("message.timestamp.after.max.ms"),
            message_timestamp_before_max_ms: find.number("message.timestamp.before.max.ms"),
            message_timestamp_type: match text("message.timestamp.type").as_str() {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            min_cleanable_dirty_ratio: match find.value("min.cleanable.dirty.ratio") {
                Value::Double(ratio) => ratio,
                _ => 0.5,
            },
            min_compaction_lag_ms: find.unsigned("min.compaction.lag.ms"),
            min_insync_replicas: find.unsigned("min.insync.replicas") as u32,
            preallocate: find.value("preallocate") == Value::Boolean(true),
            retention_bytes: find.limit("retention.bytes"),
            retention_ms: find.limit("retention.ms"),
            segment_bytes: match find.number("internal.segment.bytes") {
                0 => find.unsigned("segment.bytes") as u32,
                bytes => bytes.max(1) as u32,
            },
            segment_index_bytes: find.unsigned("segment.index.bytes") as u32,
            segment_jitter_ms: find.unsigned("segment.jitter.ms"),
            segment_ms: find.unsigned("segment.ms"),
            unclean_leader_election: find.value("unclean.leader.election.enable") == Value::Boolean(true),
        }
    }

    /// After how long a segment is closed at most: a compacted topic's records must get out of the open segment
    /// before they are due for compaction. `chance` takes its share of the jitter off.
    pub fn segment_age_ms(&self, chance: u64) -> u64 {
        let jitter = self.segment_jitter_ms.min(self.segment_ms);
        let age = self.segment_ms - chance % (jitter.saturating_add(1));
        match self.cleanup_policy.compact {
            true => age.min(self.max_compaction_lag_ms),
            false => age,
        }
    }
}

impl Default for TopicConfig {
    /// What a topic of one replica has where nothing at all was set.
    fn default() -> Self {
        TopicConfig::resolve(&Overrides::new(), &Layers::default(), 1)
    }
}

/// What a word of `compression.type` means.
pub fn compression_type(word: &str) -> CompressionType {
    match word {
        "uncompressed" => CompressionType::Uncompressed,
        "gzip" => CompressionType::Gzip,
        "snappy" => CompressionType::Snappy,
        "lz4" => CompressionType::Lz4,
        "zstd" => CompressionType::Zstd,
        _ => CompressionType::Producer,
    }
}

/// The value that a topic has for a setting on a broker.
pub fn effective(row: &Setting, overrides: &Overrides, broker: &Layers, replicas: usize) -> Option<Value> {
    if let Some(value) = overrides.get(row.name).and_then(|text| parse(row, text).ok()) {
        return Some(value);
    }
    for synonym in row.broker_synonyms {
        let Some((text, _)) = broker.given(synonym.name) else { continue };
        let Some(broker_row) = settings::broker().get(synonym.name) else { continue };
        match parse(broker_row, text) {
            // Any negative time or size means "no limit", and stays -1 in another unit.
            Ok(Value::Number(n)) if synonym.factor != 1 && n < 0 => return Some(Value::Number(-1)),
            Ok(Value::Number(n)) => return Some(Value::Number(n.saturating_mul(synonym.factor))),
            Ok(value) => return Some(value),
            Err(_) => {}
        }
    }
    if row.name == "min.insync.replicas" && replicas >= 3 {
        return Some(Value::Number(2));
    }
    row.default.and_then(|text| parse(row, text).ok())
}

struct Finder<'a> {
    overrides: &'a Overrides,
    broker: &'a Layers,
    replicas: usize,
}

impl Finder<'_> {
    fn value(&self, name: &'static str) -> Value {
        let row = settings::topic().get(name).expect("a topic setting of the table");
        effective(row, self.overrides, self.broker, self.replicas).unwrap_or(Value::Number(0))
    }

    fn number(&self, name: &'static str) -> i64 {
        self.value(name).number()
    }

    fn unsigned(&self, name: &'static str) -> u64 {
        u64::try_from(self.number(name)).unwrap_or(0)
    }

    fn limit(&self, name: &'static str) -> Option<u64> {
        u64::try_from(self.number(name)).ok()
    }
}

/// Checks settings that are to hold for a topic. The message names the setting and what is allowed.
pub fn validate(overrides: &Overrides, broker: &Layers, replicas: usize) -> Result<(), String> {
    for (name, text) in overrides {
        let Some(row) = settings::topic().get(name) else {
            let names = settings::topic().rows().iter().map(|row| row.name);
            return Err(format!("Unknown topic config name: {name}.{}", did_you_mean(name, names)));
        };
        parse(row, text).map_err(|e| e.to_string())?;
    }
    if overrides.get("remote.storage.enable").is_some_and(|text| text.trim().eq_ignore_ascii_case("true")) {
        return Err(
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log \
             storage."
                .to_owned()
        );
    }
    let config = TopicConfig::resolve(overrides, broker, replicas);
    if config.min_compaction_lag_ms > config.max_compaction_lag_ms {
        return Err(format!(
            "conflict topic config setting min.compaction.lag.ms ({}) > max.compaction.lag.ms ({})",
            config.min_compaction_lag_ms, config.max_compaction_lag_ms
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overrides(pairs: &[(&str, &str)]) -> Overrides {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn resolve(topic: &[(&str, &str)], broker: &[(&str, &str)]) -> TopicConfig {
        TopicConfig::resolve(&overrides(topic), &Layers::of_file(overrides(broker)), 1)
    }

    #[test]
    fn defaults_are_kafkas_except_the_flush() {
        let config = TopicConfig::default();
        assert_eq!(config.flush_messages, 1);
        assert_eq!(config.retention_ms, Some(604_800_000));
        assert_eq!(config.retention_bytes, None);
        assert_eq!(config.segment_bytes, 1 << 30);
        assert_eq!(config.max_message_bytes, 1_048_588);
        assert_eq!(config.cleanup_policy, CleanupPolicy { delete: true, compact: false });
        assert_eq!(config.compression_type, CompressionType::Producer);
        assert_eq!(config.message_timestamp_type, TimestampType::CreateTime);
        assert_eq!(config.min_insync_replicas, 1);
        assert_eq!(config.min_cleanable_dirty_ratio, 0.5);
    }

    #[test]
    fn the_topic_goes_before_the_broker_and_milliseconds_before_hours() {
        assert_eq!(resolve(&[], &[("log.retention.hours", "2")]).retention_ms, Some(7_200_000));
        assert_eq!(resolve(&[], &[("log.retention.hours", "-1")]).retention_ms, None);
        let both = [("log.retention.hours", "2"), ("log.retention.minutes", "3")];
        assert_eq!(resolve(&[], &both).retention_ms, Some(180_000));
        assert_eq!(resolve(&[("retention.ms", "5")], &both).retention_ms, Some(5));
        assert_eq!(resolve(&[], &[("log.flush.scheduler.interval.ms", "7")]).flush_ms, 7);
        assert_eq!(resolve(&[], &[("log.roll.jitter.hours", "1")]).segment_jitter_ms, 3_600_000);
        assert_eq!(resolve(&[("internal.segment.bytes", "9")], &[]).segment_bytes, 9);
    }

    #[test]
    fn what_was_set_at_run_time_goes_before_the_file() {
        let mut layers =
            Layers::of_file(overrides(&[("message.max.bytes", "1"), ("log.segment.bytes", "2000000")]));
        layers.dynamic_default = overrides(&[("message.max.bytes", "2")]).into();
        assert_eq!(TopicConfig::resolve(&Overrides::new(), &layers, 1).max_message_bytes, 2);
        layers.dynamic = overrides(&[("message.max.bytes", "3")]).into();
        let config = TopicConfig::resolve(&Overrides::new(), &layers, 1);
        assert_eq!((config.max_message_bytes, config.segment_bytes), (3, 2_000_000));
    }

    #[test]
    fn three_replicas_want_two_in_sync_unless_told_otherwise() {
        let at = |broker: &[(&str, &str)], replicas| {
            TopicConfig::resolve(&Overrides::new(), &Layers::of_file(overrides(broker)), replicas)
                .min_insync_replicas
        };
        assert_eq!((at(&[], 2), at(&[], 3), at(&[], 5)), (1, 2, 2));
        assert_eq!(at(&[("min.insync.replicas", "1")], 3), 1);
    }

    #[test]
    fn an_unknown_name_is_told_with_the_nearest_one() {
        let error = validate(&overrides(&[("retention.mss", "1")]), &Layers::default(), 1).unwrap_err();
        assert_eq!(error, "Unknown topic config name: retention.mss. Did you mean 'retention.ms'?");
        let crossed = overrides(&[("min.compaction.lag.ms", "9"), ("max.compaction.lag.ms", "8")]);
        assert!(validate(&crossed, &Layers::default(), 1).unwrap_err().contains("min.compaction.lag.ms (9)"));
    }

    #[test]
    fn the_age_of_a_segment_is_shortened_by_jitter_and_by_the_compaction_lag() {
        let config = resolve(&[("segment.ms", "1000"), ("segment.jitter.ms", "100")], &[]);
        for chance in [0, 57, 100, 101, u64::MAX] {
            assert!((900..=1000).contains(&config.segment_age_ms(chance)));
        }
        assert_eq!(config.segment_age_ms(57), 943);
        let compact = resolve(
            &[("segment.ms", "1000"), ("cleanup.policy", "compact"), ("max.compaction.lag.ms", "10")],
            &[],
        );
        assert_eq!(compact.segment_age_ms(0), 10);
    }
}
