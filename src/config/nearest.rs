//! "Did you mean": the known name that is nearest to a mistyped one.

/// The candidate with the fewest edits from `name`, if it is near enough to be worth naming.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name: Vec<char> = name.to_lowercase().replace('_', ".").chars().take(128).collect();
    let near_enough = (name.len() / 3).clamp(1, 6);
    candidates
        .into_iter()
        // Each character more or less is an edit; hostile requests hold very many unknown names.
        .filter(|candidate| candidate.len().abs_diff(name.len()) <= near_enough)
        .map(|candidate| (edits(&name, &candidate.to_lowercase().replace('_', ".")), candidate))
        .filter(|(edits, _)| *edits <= near_enough)
        .min()
        .map(|(_, candidate)| candidate)
}

/// ` Did you mean ...?`, or nothing where no candidate is near.
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, candidates).map(|meant| format!(" Did you mean '{meant}'?")).unwrap_or_default()
}

/// How many characters must be put in, taken out, replaced or swapped with their neighbour.
fn edits(a: &[char], b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before_last: Vec<usize> = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1; b.len() + 1];
        for j in 0..b.len() {
            let replaced = last[j] + usize::from(a[i] != b[j]);
            row[j + 1] = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                row[j + 1] = row[j + 1].min(before_last[j - 1] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 4] = ["retention.ms", "retention.bytes", "segment.bytes", "io_depth"];

    #[test]
    fn a_slip_finds_its_name() {
        for (typed, meant) in [
            ("retention.mss", "retention.ms"),
            ("retenton.ms", "retention.ms"),
            ("Retention.MS", "retention.ms"),
            ("retention_bytes", "retention.bytes"),
            ("segment.byets", "segment.bytes"),
            ("io-depth", "io_depth"),
        ] {
            assert_eq!(nearest(typed, NAMES), Some(meant), "{typed}");
        }
    }

    #[test]
    fn a_name_far_from_all_finds_none() {
        assert_eq!(nearest("colour", NAMES), None);
        assert_eq!(nearest("", NAMES), None);
        assert_eq!(did_you_mean("colour", NAMES), "");
    }
}
