//! How numbers and times are written for people: durations, sizes, counts, instants, lists.
//!
//! The one place for it, in reports and in everything that a drill says: whoever prints a number in a sentence takes it
//! from here. Files for machines have plain numbers; what they contain is decided in [`crate::csv`] and [`crate::json`].

use std::{fmt, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};

/// RFC 3339 UTC with milliseconds and `Z`: `2026-03-02T04:00:07.125Z`.
pub fn utc(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A duration given in milliseconds, in the two largest units that say something: `12 ms`, `2.1 s`, `3 min 20 s`, `4 h`.
pub fn duration(ms: f64) -> String {
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
pub fn seconds(s: f64) -> String {
    duration(s * 1e3)
}

/// [`duration`] of whole milliseconds.
pub fn millis(ms: u64) -> String {
    duration(ms as f64)
}

/// [`duration`] of a span of time.
pub fn lasting(span: Duration) -> String {
    seconds(span.as_secs_f64())
}

/// A window of lost work: as [`duration`], rounded up, since what is lost is never shown as less.
pub fn window(ms: u64) -> String {
    let step = match ms {
        0..1_000 => 1,
        1_000..10_000 => 10,
        10_000..60_000 => 100,
        60_000..3_600_000 => 1_000,
        3_600_000..172_800_000 => 60_000,
        _ => 3_600_000,
    };
    millis(ms.next_multiple_of(step))
}

/// A size: `812 bytes`, `24.1 MiB`.
pub fn bytes(n: u64) -> String {
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

/// A count with a comma at each thousand: `812`, `1,314`, `34,465,952`.
pub fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 commit`, `2 commits`, `1,314 commits`; of a noun of several words the last one takes the plural. What
/// is no count (a negative number) is none.
pub fn counted(n: impl TryInto<u64>, noun: &str) -> String {
    let n = n.try_into().unwrap_or(0);
    format!("{} {}", number(n), if n == 1 { noun.to_owned() } else { plural(noun) })
}

/// The plural of a noun: `queries`, `keys`, `indexes`, `processes`.
pub fn plural(noun: &str) -> String {
    let ends_in = |endings: &[&str]| endings.iter().any(|ending| noun.ends_with(ending));
    match noun.strip_suffix('y') {
        Some(stem) if !ends_in(&["ay", "ey", "oy", "uy"]) => format!("{stem}ies"),
        _ if ends_in(&["s", "x", "ch", "sh"]) => format!("{noun}es"),
        _ => format!("{noun}s"),
    }
}

/// Part of a whole as a percentage, without decimals: `54 %`. What is more than nothing is never `0 %`, and what is less than
/// the whole never `100 %`.
pub fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return String::new();
    }
    let percent = part as f64 * 100.0 / whole as f64;
    if part > 0 && percent < 0.5 {
        "under 1 %".to_owned()
    } else if part < whole && percent >= 99.5 {
        "over 99 %".to_owned()
    } else {
        format!("{percent:.0} %")
    }
}

/// The first few of many, with a semicolon between, and how many are left out: `a; b; … and 1,314 more`.
pub fn shortened<T: fmt::Display>(all: &[T], most: usize) -> String {
    let told = all.iter().take(most).map(ToString::to_string);
    let more = left_out(all.len().saturating_sub(most) as u64);
    told.chain(more).collect::<Vec<_>>().join("; ")
}

/// The last line of a list that was cut, if it was: `… and 1,314 more`.
pub fn left_out(more: u64) -> Option<String> {
    (more > 0).then(|| format!("… and {} more", number(more)))
}

/// `a`, `a and b`, `a, b and c`.
pub fn listed<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    match items.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

/// A reason in brief, and its particulars. Reasons are written with what they come to first, particulars behind a colon, and
/// a semicolon between several. One that is short enough stays whole.
pub fn in_brief(reason: &str) -> (String, Vec<String>) {
    const SHORT: usize = 120;
    let mut parts = reason.split("; ");
    let first = parts.next().unwrap_or_default();
    let mut particulars: Vec<String> = parts.map(str::to_owned).collect();
    if particulars.is_empty() && first.chars().count() <= SHORT {
        return (first.trim_end_matches('.').to_owned(), particulars);
    }
    match first.split_once(": ") {
        Some((brief, particular)) => {
            particulars.insert(0, particular.to_owned());
            (brief.to_owned(), particulars)
        }
        None => (first.trim_end_matches('.').to_owned(), particulars),
    }
}

/// The text as a sentence: with a full stop unless it ends with one of its own.
pub fn sentence(text: &str) -> String {
    let text = text.trim_end();
    if text.ends_with(['.', '!', '?', '…']) {
        text.to_owned()
    } else {
        format!("{text}.")
    }
}

/// The text with a capital at its beginning.
pub fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// `yes`, `no`, or nothing where it is not known.
pub fn yes_no(value: Option<bool>) -> &'static str {
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
    use std::time::Duration;

    use super::{
        bytes, counted, duration, in_brief, lasting, left_out, listed, number, seconds, share, shortened, window,
    };

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
    fn counts_have_their_thousands_apart_and_their_nouns_in_number() {
        assert_eq!(
            [0, 999, 1_000, 1_314, 34_465_952].map(number),
            ["0", "999", "1,000", "1,314", "34,465,952"]
        );
        for (n, noun, expected) in [
            (1_u64, "connection", "1 connection"),
            (0, "table", "0 tables"),
            (2, "directory", "2 directories"),
            (2, "foreign key", "2 foreign keys"),
            (512, "index", "512 indexes"),
            (3, "process", "3 processes"),
            (5_139, "acknowledged commit", "5,139 acknowledged commits"),
        ] {
            assert_eq!(counted(n, noun), expected);
        }
    }

    #[test]
    fn a_share_is_nothing_or_everything_only_where_it_is() {
        let shares = [(0, 9), (1, 900), (54, 100), (899, 900), (9, 9), (0, 0)].map(|(part, whole)| share(part, whole));
        assert_eq!(shares, ["0 %", "under 1 %", "54 %", "over 99 %", "100 %", ""]);
    }

    #[test]
    fn a_window_is_never_shown_as_less() {
        let windows = [0, 1, 999, 3_012, 10_004, 59_999, 60_001, 3_600_001].map(window);
        assert_eq!(
            windows,
            [
                "0 s",
                "1 ms",
                "999 ms",
                "3.02 s",
                "10.1 s",
                "1 min",
                "1 min 1 s",
                "1 h 1 min"
            ]
        );
        assert_eq!(lasting(Duration::from_millis(1_500)), "1.5 s");
    }

    #[test]
    fn a_list_that_is_cut_says_how_much_it_leaves_out() {
        assert_eq!(shortened(&[1, 2, 3], 3), "1; 2; 3");
        assert_eq!(shortened(&[1, 2, 3, 4], 2), "1; 2; … and 2 more");
        assert_eq!(left_out(1_314).as_deref(), Some("… and 1,314 more"));
        assert_eq!(left_out(0), None);
    }

    #[test]
    fn a_reason_is_brief_and_its_particulars_are_a_list() {
        let brief = |reason: &str| in_brief(reason);
        assert_eq!(brief("no backup can be used: none is there").1, Vec::<String>::new());
        let (reason, particulars) = brief("no backup can be used: a: torn; b: gone");
        assert_eq!(reason, "no backup can be used");
        assert_eq!(particulars, ["a: torn", "b: gone"]);
        let long = format!("it failed: {}", "x".repeat(200));
        assert_eq!(brief(&long), ("it failed".to_owned(), vec!["x".repeat(200)]));
        assert_eq!(brief(""), (String::new(), Vec::new()));
    }

    #[test]
    fn lists_read_as_english() {
        assert_eq!(listed(["a", "b", "c"]), "a, b and c");
        assert_eq!(listed(["a"]), "a");
    }
}
