//! How disposable clusters are configured: small and quick, yet honest. What a copy should inherit goes into
//! `postgresql.conf`; what binds a cluster to its place (socket, port, log) goes onto the command line, where it also
//! overrules what a restored data directory brings along.

use super::{ClusterOptions, control::PRIMARY_SETTINGS};

/// Appended to the `postgresql.conf` of a cluster that drill makes.
pub(super) fn configuration(options: &ClusterOptions) -> String {
    let segment = options.wal_segment_mb;
    let on_off = |on: bool| if on { "on" } else { "off" }.to_owned();
    let defaults: [(&str, String); 24] = [
        ("max_connections", "60".into()),
        ("shared_buffers", "32MB".into()),
        ("dynamic_shared_memory_type", "mmap".into()), // in the data directory: a killed server leaves nothing elsewhere
        ("fsync", on_off(options.durable)),
        ("synchronous_commit", "on".into()),
        ("full_page_writes", "on".into()),
        ("wal_level", "replica".into()),
        ("max_wal_senders", "10".into()),
        ("max_replication_slots", "10".into()),
        ("max_wal_size", format!("{}MB", (4 * segment).max(256))),
        ("min_wal_size", format!("{}MB", (2 * segment).max(16))),
        ("hot_standby", "on".into()),
        ("restart_after_crash", "off".into()),
        ("autovacuum", "on".into()),
        ("jit", "off".into()),
        ("password_encryption", "scram-sha-256".into()),
        ("logging_collector", "off".into()),
        ("log_destination", "stderr".into()),
        ("log_line_prefix", "%m [%p] %e %b %q%u@%d ".into()), // `values` reads it
        ("log_timezone", "UTC".into()),
        ("timezone", "UTC".into()),
        ("lc_messages", "C".into()),
        ("log_checkpoints", "on".into()),
        ("log_lock_waits", "on".into()),
    ];
    let line = |name: &str, value: &str| format!("{name} = {}\n", conf_quoted(value));
    let mut text = "\n# drill: a disposable cluster\n".to_owned();
    text.extend(defaults.iter().map(|(name, value)| line(name, value)));
    text.extend(options.settings.iter().map(|(name, value)| line(name, value)));
    text
}

/// What an adopted cluster is started with in addition: nothing that it brings along may reach beyond its place.
pub(super) fn adopted(options: &ClusterOptions, hba_file: &str) -> Vec<(String, String)> {
    let mut settings = vec![
        ("hba_file".to_owned(), hba_file.to_owned()),
        ("archive_mode".to_owned(), "off".to_owned()),
        ("logging_collector".to_owned(), "off".to_owned()),
        ("log_destination".to_owned(), "stderr".to_owned()),
        ("dynamic_shared_memory_type".to_owned(), "mmap".to_owned()),
        ("restart_after_crash".to_owned(), "off".to_owned()),
        (
            "fsync".to_owned(),
            if options.durable { "on" } else { "off" }.to_owned(),
        ),
    ];
    for (name, value) in &options.settings {
        set(&mut settings, name, value);
    }
    settings
}

/// Sets one value, in place of an earlier one of that name.
pub(super) fn set(settings: &mut Vec<(String, String)>, name: &str, value: &str) {
    settings.retain(|(existing, _)| existing != name);
    settings.push((name.to_owned(), value.to_owned()));
}

/// Who may connect: the superuser through the private socket without a password (nobody else can reach it), all others with
/// theirs.
pub(super) const HBA: &str = "\
# drill: a disposable cluster
# TYPE  DATABASE     USER               ADDRESS       METHOD
local   all          postgres                         trust
local   replication  postgres                         trust
local   replication  recovery_operator                scram-sha-256
local   all          all                              scram-sha-256
host    all          all                127.0.0.1/32  scram-sha-256
host    all          all                ::1/128       scram-sha-256
";

/// The settings of `needed` (those of the server whose WAL is to be replayed) that are lower in `configuration`, the text of
/// the replaying server's files, of which the last value of a setting wins.
pub(super) fn inherited(needed: &[(&'static str, u32)], configuration: &str) -> Vec<(&'static str, u32)> {
    let configured = |name: &str| {
        let value = |line: &str| -> Option<u32> {
            let rest = line.trim_start().strip_prefix(name)?;
            let rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '=');
            rest.trim_start_matches('\'')
                .split(['\'', ' ', '\t', '#'])
                .next()?
                .parse()
                .ok()
        };
        let default = PRIMARY_SETTINGS.into_iter().find(|(_, known, _)| *known == name);
        let set = configuration.lines().filter_map(value).next_back();
        set.or(default.map(|(.., default)| default)).unwrap_or(0)
    };
    needed
        .iter()
        .copied()
        .filter(|(name, least)| configured(name) < *least)
        .collect()
}

/// Quotes a value for `postgresql.conf`.
pub(crate) fn conf_quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', r"\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_caller_sets_comes_last_and_is_quoted() {
        let options = ClusterOptions {
            settings: vec![("archive_command".into(), r"cp %p 'a\b'".into())],
            durable: false,
            ..ClusterOptions::default()
        };
        let text = configuration(&options);
        assert!(text.contains("fsync = 'off'\n") && text.contains("full_page_writes = 'on'\n"));
        assert!(text.ends_with("archive_command = 'cp %p ''a\\\\b'''\n"), "{text}");
    }

    #[test]
    fn only_what_is_less_than_the_primary_had_is_inherited() {
        let needed = [
            ("max_connections", 60),
            ("max_wal_senders", 20),
            ("max_locks_per_transaction", 64),
        ];
        let none: [(&str, u32); 0] = [];
        assert_eq!(inherited(&needed, ""), [("max_wal_senders", 20)]);
        let files = "#max_connections = 5\nmax_connections = 90\nmax_wal_senders=20 # enough\n";
        assert_eq!(inherited(&needed, files), none);
        let later = format!("{files}max_connections = '50'\n");
        assert_eq!(inherited(&needed, &later), [("max_connections", 60)]);
    }

    #[test]
    fn an_adopted_cluster_archives_nothing_unless_told_to() {
        let value = |options: &ClusterOptions| {
            adopted(options, "/h")
                .into_iter()
                .filter(|(name, _)| name == "archive_mode")
                .map(|(_, v)| v)
                .collect::<Vec<_>>()
        };
        assert_eq!(value(&ClusterOptions::default()), ["off"]);
        let told = ClusterOptions {
            settings: vec![("archive_mode".into(), "on".into())],
            ..ClusterOptions::default()
        };
        assert_eq!(value(&told), ["on"]);
    }
}
