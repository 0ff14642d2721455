//! The parts of `pg_catalog` that an inventory leaves out, and why. Everything that is not named here is in it.

/// A catalogue, a column of it (`*`: all of them), and the reason.
type Exception = (&'static str, &'static str, &'static str);

/// Never compared.
pub const EXCEPTIONS: &[Exception] = &[
    ("pg_statistic", "*", "statistics: ANALYZE makes them anew"),
    ("pg_statistic_ext_data", "*", "statistics: ANALYZE makes them anew"),
    ("pg_largeobject", "*", "rows, not definitions: part of the content"),
    ("pg_attribute", "attcacheoff", "-1 on disk: used in memory only"),
    (
        "pg_attribute",
        "atthasmissing",
        "how a later column is stored: a dump stores it in the rows",
    ),
    (
        "pg_attribute",
        "attmissingval",
        "how a later column is stored: its values are part of the content",
    ),
    (
        "pg_attribute",
        "attisdropped",
        "dropped columns are left out, and the others counted without them",
    ),
    (
        "pg_class",
        "relfilenode",
        "where the rows lie: page-checksums looks at the file",
    ),
    ("pg_class", "relpages", "an estimate of VACUUM and ANALYZE"),
    ("pg_class", "reltuples", "an estimate of VACUUM and ANALYZE"),
    ("pg_class", "relallvisible", "an estimate of VACUUM and ANALYZE"),
    ("pg_class", "relallfrozen", "an estimate of VACUUM and ANALYZE"),
    (
        "pg_class",
        "reltoastrelid",
        "where long values lie: part of the content",
    ),
    ("pg_class", "relrewrite", "only while a table is rewritten"),
    ("pg_class", "relfrozenxid", "VACUUM moves it on"),
    ("pg_class", "relminmxid", "VACUUM moves it on"),
    (
        "pg_class",
        "relhasindex",
        "may be true without an index; that it is false with one is recorded",
    ),
    (
        "pg_class",
        "relhasrules",
        "may be true without a rule; that it is false with one is recorded",
    ),
    (
        "pg_class",
        "relhastriggers",
        "may be true without a trigger; that it is false with one is recorded",
    ),
    (
        "pg_class",
        "relhassubclass",
        "may be true without a child; that it is false with one is recorded",
    ),
    (
        "pg_class",
        "relchecks",
        "that it is less than the checks there are is recorded",
    ),
    (
        "pg_collation",
        "collversion",
        "the check of collations compares versions",
    ),
    (
        "pg_database",
        "datcollversion",
        "the check of collations compares versions",
    ),
    ("pg_database", "datfrozenxid", "VACUUM moves it on"),
    ("pg_database", "datminmxid", "VACUUM moves it on"),
    ("pg_database", "dathasloginevt", "may be true without an event trigger"),
    (
        "pg_index",
        "indcheckxmin",
        "only for snapshots from before the index was made",
    ),
    (
        "pg_largeobject_metadata",
        "oid",
        "large objects come and go as people work: part of the content",
    ),
    (
        "pg_replication_origin",
        "roident",
        "a number inside the server: its name tells it",
    ),
    (
        "pg_rewrite",
        "ev_qual",
        "part of the rule's text, which stands for ev_action",
    ),
    ("pg_subscription", "subskiplsn", "the apply worker resets it"),
    ("pg_subscription", "subtwophasestate", "the apply worker moves it on"),
    ("pg_subscription_rel", "srsubstate", "the apply worker moves it on"),
    ("pg_subscription_rel", "srsublsn", "the apply worker moves it on"),
];

/// Not compared where a dump was loaded into another cluster.
pub const NOT_IN_DUMPS: &[Exception] = &[
    (
        "pg_attribute",
        "attndims",
        "the text form of a type knows of one dimension only",
    ),
    (
        "pg_type",
        "typndims",
        "the text form of a type knows of one dimension only",
    ),
    (
        "pg_type",
        "typdefault",
        "the words for typdefaultbin, which is compared as a text",
    ),
    (
        "pg_replication_origin",
        "*",
        "the position of a subscription belongs to a cluster",
    ),
    (
        "pg_subscription",
        "subenabled",
        "a subscription comes back disabled, so that two do not apply the same",
    ),
    (
        "pg_subscription_rel",
        "*",
        "a subscription comes back without its tables' states",
    ),
    (
        "pg_shdepend",
        "*",
        "what it says follows from owners, rights and policies",
    ),
    ("pg_init_privs", "*", "CREATE EXTENSION makes it anew"),
];

/// Kinds of dependency that a dump brings: members of extensions, and what goes with something else. Any other follows
/// from definitions, which are compared.
pub(super) const DEPENDENCIES_IN_DUMPS: [&str; 4] = ["e", "a", "i", "x"];

/// Settings that say where a server lies, how it is watched and how it was recovered. They belong to the place where a server
/// runs, not to the service.
pub const SETTINGS: &[(&str, &str)] = &[
    ("archive_", "a restored cluster must not archive into production"),
    ("restore_command", "how it was restored"),
    ("recovery_", "how it was restored"),
    ("primary_", "how it was restored"),
    ("synchronous_standby_names", "a restored cluster has no standby"),
    ("cluster_name", "a name of the place"),
    ("config_file", "a path of the place"),
    ("data_directory", "a path of the place"),
    ("external_pid_file", "a path of the place"),
    (
        "hba_file",
        "a path of the place: what is in the data directory is compared",
    ),
    (
        "ident_file",
        "a path of the place: what is in the data directory is compared",
    ),
    ("listen_addresses", "an address of the place"),
    ("port", "an address of the place"),
    ("unix_socket_", "an address of the place"),
    ("dynamic_shared_memory_type", "how drill runs servers"),
    ("fsync", "how drill runs servers"),
    ("restart_after_crash", "how drill runs servers"),
    ("log_destination", "where a server's log goes"),
    ("logging_collector", "where a server's log goes"),
    ("in_hot_standby", "a state"),
    ("transaction_", "a state of the session"),
];

/// Whether a list names a column.
pub(crate) fn named(list: &[Exception], catalogue: &str, column: &str) -> bool {
    let names = |(table, field, _): &Exception| *table == catalogue && (*field == "*" || *field == column);
    list.iter().any(names)
}

/// Whether a setting belongs to a place.
pub(super) fn of_a_place(setting: &str) -> bool {
    let names = |(name, _): &(&str, &str)| setting == *name || name.ends_with('_') && setting.starts_with(name);
    SETTINGS.iter().any(names)
}
