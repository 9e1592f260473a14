//! Sizes and durations as they are written on a command line.

use std::time::{Duration, SystemTime};

/// Reads a number of bytes: `65536`, `64KiB`, `4GB`. kB, MB and GB are powers of 1000; KiB, MiB and GiB of 1024.
pub fn bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1u64,
        "k" | "kb" => 1000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return Err(format!("'{unit}' is no unit of size; kB, MB, GB, KiB, MiB and GiB are")),
    };
    let number: f64 = number.parse().map_err(|_| format!("'{text}' is not a size, for example 4GB"))?;
    Ok((number * factor as f64).round() as u64)
}

/// Reads a rate in bytes per second: a size, with or without `/s`.
pub fn rate(text: &str) -> Result<u64, String> {
    match bytes(text.trim_end_matches("/s"))? {
        0 => Err("a rate must be more than nothing".into()),
        n => Ok(n),
    }
}

/// Reads seconds, whole or not.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.trim_end_matches('s');
    match number.parse::<f64>() {
        Ok(s) if s.is_finite() && (0.0..1e9).contains(&s) => Ok(Duration::from_secs_f64(s)),
        _ => Err(format!("'{text}' is not a number of seconds")),
    }
}

/// The time by the clock on the wall, in milliseconds since 1970.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, value) in [
            ("65536", 65_536),
            ("64KiB", 65_536),
            ("4GB", 4_000_000_000),
            ("1.5mb", 1_500_000),
            ("2 GiB", 2 << 30),
        ] {
            assert_eq!(bytes(text), Ok(value));
        }
        for bad in ["", "GB", "4 apples", "-1", "1e3"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
        assert_eq!(rate("600MB/s"), Ok(600_000_000));
        assert!(rate("0").is_err());
    }
}
