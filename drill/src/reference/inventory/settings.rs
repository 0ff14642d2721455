//! What no WAL carries: the server's configuration and its access lists.

use super::{exceptions::of_a_place, sql::Raw};

/// Settings that somebody made or left as they are for everybody: name, value, and whether it may be shown. What the
/// command line of this server or its environment says belongs to the place; what waits for a restart says nothing yet.
pub(super) const SETTINGS: &str = "SELECT name, reset_val, vartype <> 'string' FROM pg_settings
  WHERE context <> 'internal' AND NOT pending_restart AND source IN ('default', 'configuration file') AND strpos(name, '.') = 0";

/// The access lists that lie in the data directory, comments left out.
pub(super) const ACCESS_LISTS: &str = "SELECT f, (SELECT string_agg(btrim(line, E' \\t\\r'), E'\\n' ORDER BY n)
     FROM regexp_split_to_table(pg_read_file(current_setting('data_directory') || '/' || f, 0, 16000000, true), E'\\n') WITH ORDINALITY AS l (line, n)
    WHERE btrim(line, E' \\t\\r') NOT LIKE '#%' AND btrim(line, E' \\t\\r') <> '')
  FROM (VALUES ('pg_hba.conf'), ('pg_ident.conf')) AS files (f)";

/// Whether a row of [`SETTINGS`] is the service's.
pub(super) fn of_the_service(row: &Raw) -> bool {
    !of_a_place(row.text(0))
}
