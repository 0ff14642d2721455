//! How numbers and times are written for people: durations, sizes, instants, lists.
//!
//! Only wording lives here; what files for machines contain is decided in [`crate::csv`] and [`crate::json`].

use chrono::{DateTime, SecondsFormat, Utc};

/// RFC 3339 UTC with milliseconds and `Z`: `2026-03-02T04:00:07.125Z`.
pub(crate) fn utc(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A duration given in milliseconds, in the two largest units that say something: `12 ms`, `2.1 s`, `3 min 20 s`, `4 h`.
pub(crate) fn duration(ms: f64) -> String {
    let ms = ms.max(0.0);
    if ms == 0.0 {
        return "0 s".to_owned();
    }
    if ms < 9.95 {
        return format!("{} ms", trimmed(ms, 1));
    }
    if ms < 999.5 {
        return format!("{ms:.0} ms");
    }
    if ms < 9_995.0 {
        return format!("{} s", trimmed(ms / 1e3, 2));
    }
    if ms < 59_950.0 {
        return format!("{} s", trimmed(ms / 1e3, 1));
    }
    let s = (ms / 1e3).round() as u64;
    let (large, large_unit, small, small_unit) = match s {
        0..3_600 => (s / 60, "min", s % 60, "s"),
        3_600..172_800 => (s / 3_600, "h", s % 3_600 / 60, "min"),
        _ => (s / 86_400, "d", s % 86_400 / 3_600, "h"),
    };
    match small {
        0 => format!("{large} {large_unit}"),
        _ => format!("{large} {large_unit} {small} {small_unit}"),
    }
}

/// [`duration`] of seconds.
pub(crate) fn seconds(s: f64) -> String {
    duration(s * 1e3)
}

/// [`duration`] of whole milliseconds.
pub(crate) fn millis(ms: u64) -> String {
    duration(ms as f64)
}

/// A window of lost work, to the millisecond: `3.012 s`, `0 s`.
pub(crate) fn window(ms: u64) -> String {
    if ms == 0 {
        return "0 s".to_owned();
    }
    format!("{}.{:03} s", ms / 1000, ms % 1000)
}

/// A size: `812 bytes`, `24.1 MiB`.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if n < 1024 {
        return counted(n, "byte");
    }
    let mut size = n as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1023.95 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{} {}", trimmed(size, 1), UNITS[unit])
}

/// `1 commit`, `2 commits`.
pub(crate) fn counted(n: u64, noun: &str) -> String {
    if n == 1 {
        format!("1 {noun}")
    } else {
        format!("{n} {noun}s")
    }
}

/// Part of a whole as a percentage, without decimals.
pub(crate) fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        String::new()
    } else {
        format!("{:.0} %", part as f64 * 100.0 / whole as f64)
    }
}

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn listed<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    match items.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

/// The text as a sentence: with a full stop unless it ends with one of its own.
pub(crate) fn sentence(text: &str) -> String {
    let text = text.trim_end();
    if text.ends_with(['.', '!', '?', '…']) {
        text.to_owned()
    } else {
        format!("{text}.")
    }
}

/// The text with a capital at its beginning.
pub(crate) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// `yes`, `no`, or nothing where it is not known.
pub(crate) fn yes_no(value: Option<bool>) -> &'static str {
    match value {
        Some(true) => "yes",
        Some(false) => "no",
        None => "",
    }
}

/// At most `decimals` decimals, without zeros at the end.
fn trimmed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{bytes, duration, listed, seconds};

    #[test]
    fn durations_use_the_units_people_use() {
        let cases = [
            (0.0, "0 s"),
            (0.42, "0.4 ms"),
            (350.4, "350 ms"),
            (999.7, "1 s"),
            (2_103.0, "2.1 s"),
            (1_524.0, "1.52 s"),
            (59_949.0, "59.9 s"),
            (59_999.0, "1 min"),
            (200_000.0, "3 min 20 s"),
            (3_600_000.0, "1 h"),
            (5_400_000.0, "1 h 30 min"),
            (200_000_000.0, "2 d 7 h"),
        ];
        for (ms, expected) in cases {
            assert_eq!(duration(ms), expected, "{ms} ms");
        }
        assert_eq!(seconds(14_400.0), "4 h");
    }

    #[test]
    fn sizes_are_binary() {
        assert_eq!(bytes(1), "1 byte");
        assert_eq!(bytes(812), "812 bytes");
        assert_eq!(bytes(25_270_682), "24.1 MiB");
        assert_eq!(bytes(1_073_741_824), "1 GiB");
    }

    #[test]
    fn lists_read_as_english() {
        assert_eq!(listed(["a", "b", "c"]), "a, b and c");
        assert_eq!(listed(["a"]), "a");
    }
}
