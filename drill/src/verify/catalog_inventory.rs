//! `catalog-inventory`: everything that a restore can lose besides rows, against the inventory taken with the backup.
//!
//! Tables with their columns, constraints (and whether they are validated), triggers (and whether they are enabled),
//! indexes, views, functions, sequences, domains, extensions, comments, settings of database and roles. The inventory is
//! a set of lines, one an object, so that a difference names what it is about. Large objects are held against the rows
//! that refer to them, which no foreign key does. Roles and grants are recorded with it and judged by
//! [`super::privileges`]. What it cannot see: contents.

use std::collections::BTreeSet;

use reports::{CheckId, CheckResult, Phase};
use serde::{Deserialize, Serialize};
use tokio_postgres::Client;

use super::{Found, first_few, privileges, texts, timed};
use crate::postgres::{Cluster, connection};

/// One line an object: `kind name: definition`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory(pub BTreeSet<String>);

/// Queries that return one text column, a line each. Live numbers (large objects) are left out of the definition.
const QUERIES: &[&str] = &[
    // relations and columns
    "SELECT format('%s %I.%I column %s: %s%s%s%s',
            CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
                 WHEN 'p' THEN 'table' ELSE c.relkind::text END,
            n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
            CASE WHEN a.attnotnull THEN ' not null' ELSE '' END,
            CASE a.attidentity WHEN '' THEN '' ELSE ' identity ' || a.attidentity::text END,
            coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), ''))
       FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
       LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
      WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p', 'v', 'm') AND a.attnum > 0 AND NOT a.attisdropped",
    "SELECT format('constraint %s on %s: %s%s', conname, conrelid::regclass, pg_get_constraintdef(o.oid, true),
            CASE WHEN convalidated THEN '' ELSE ' (not validated)' END)
       FROM pg_constraint o JOIN pg_namespace n ON n.oid = o.connamespace WHERE n.nspname = 'public'",
    "SELECT format('trigger %s on %s: %s, enabled %s', tgname, tgrelid::regclass, pg_get_triggerdef(t.oid), tgenabled)
       FROM pg_trigger t WHERE NOT tgisinternal",
    "SELECT format('internal triggers on %s: enabled %s', tgrelid::regclass, tgenabled)
       FROM pg_trigger t WHERE tgisinternal GROUP BY tgrelid, tgenabled",
    "SELECT format('index %s: %s%s', c.relname, pg_get_indexdef(i.indexrelid),
            CASE WHEN i.indisvalid THEN '' ELSE ' (invalid)' END)
       FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = 'public'",
    "SELECT format('view %s: %s', c.oid::regclass, pg_get_viewdef(c.oid, true))
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relkind IN ('v', 'm')",
    "SELECT format('function %s: %s', p.oid::regprocedure, md5(pg_get_functiondef(p.oid)))
       FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'public' AND p.prokind IN ('f', 'p')",
    "SELECT format('sequence %s: %s, increment %s, cycle %s', s.seqrelid::regclass, format_type(s.seqtypid, NULL), s.seqincrement, s.seqcycle)
       FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public'",
    "SELECT format('type %s: %s %s', t.oid::regtype, t.typtype, format_type(t.typbasetype, t.typtypmod))
       FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE n.nspname = 'public' AND t.typtype IN ('d', 'e')",
    "SELECT format('extension %s: %s', extname, extversion) FROM pg_extension",
    "SELECT format('comment on %s: %s', pg_describe_object(classoid, objoid, objsubid), description)
       FROM pg_description WHERE objoid >= 16384 AND classoid <> 'pg_largeobject'::regclass AND classoid <> 'pg_extension'::regclass
        AND NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.classid = classoid AND e.objid = objoid AND e.deptype = 'e')",
    "SELECT format('comment on %s: %s', pg_describe_object(classoid, objoid, 0), description)
       FROM pg_shdescription WHERE classoid = 'pg_authid'::regclass
         OR objoid = (SELECT oid FROM pg_database WHERE datname = current_database())",
    "SELECT format('storage of %s: persistence %s, replica identity %s, options %s', c.oid::regclass, relpersistence, relreplident,
            coalesce(array_to_string(reloptions, ', '), 'none'))
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p', 'v', 'm', 'i')",
    "SELECT format('rule %s on %s: enabled %s', rulename, ev_class::regclass, ev_enabled)
       FROM pg_rewrite WHERE rulename <> '_RETURN' AND ev_class >= 16384",
    "SELECT format('event trigger %s: %s, enabled %s', evtname, evtevent, evtenabled) FROM pg_event_trigger",
    "SELECT format('statistics object %s: %s', stxname, pg_get_statisticsobjdef(oid)) FROM pg_statistic_ext",
    "SELECT format('publication %s: all tables %s', pubname, puballtables) FROM pg_publication",
    "SELECT format('schema %s', nspname) FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'",
    "SELECT format('row security on %s: %s, forced %s', c.oid::regclass, c.relrowsecurity, c.relforcerowsecurity)
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p')",
    "SELECT format('policy %s on %s', polname, polrelid::regclass) FROM pg_policy",
    "SELECT format('setting of %s in %s: %s', coalesce(r.rolname, 'every role'), coalesce(d.datname, 'every database'), setting)
       FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole LEFT JOIN pg_database d ON d.oid = s.setdatabase,
            unnest(s.setconfig) AS setting",
    "SELECT format('server setting %s: %s', name, setting) FROM pg_settings
      WHERE name IN ('server_encoding', 'lc_collate', 'lc_ctype', 'block_size', 'data_checksums', 'TimeZone', 'DateStyle',
                     'standard_conforming_strings', 'default_transaction_isolation', 'default_transaction_read_only', 'search_path',
                     'row_security', 'session_replication_role', 'lo_compat_privileges', 'zero_damaged_pages',
                     'ignore_checksum_failure')",
    "SELECT format('database %s: encoding %s, collate %s, ctype %s', datname, pg_encoding_to_char(encoding), datcollate, datctype)
       FROM pg_database WHERE datname = current_database()",
];

/// Reads the inventory as superuser.
///
/// # Errors
/// If the database cannot be read.
pub async fn read(cluster: &Cluster) -> Result<Inventory, tokio_postgres::Error> {
    read_with(&connect(cluster).await?).await
}

async fn connect(cluster: &Cluster) -> Result<Client, tokio_postgres::Error> {
    connection::verifying(&cluster.config("postgres", fixtures::DATABASE)).await
}

async fn read_with(client: &Client) -> Result<Inventory, tokio_postgres::Error> {
    let mut lines = texts(client, QUERIES).await?;
    lines.extend(privileges::read(client).await?);
    Ok(Inventory(lines))
}

impl Inventory {
    /// The lines that this check judges.
    fn objects(&self) -> BTreeSet<&str> {
        self.0
            .iter()
            .map(String::as_str)
            .filter(|line| !line.starts_with(privileges::PREFIX))
            .collect()
    }
}

/// What an inventory's line is about: everything up to its first colon and blank.
fn about(line: &str) -> &str {
    line.split_once(": ").map_or(line, |(about, _)| about)
}

/// What is different, an object a text: changed, missing, or not recorded.
fn differences(recorded: &BTreeSet<&str>, found: &BTreeSet<&str>) -> Vec<String> {
    let mut extra: Vec<&str> = found.difference(recorded).copied().collect();
    let mut differences = Vec::new();
    for line in recorded.difference(found) {
        match extra.iter().position(|other| about(other) == about(line)) {
            Some(at) => {
                let now = extra.remove(at);
                let definition = now.get(about(now).len() + 2..).unwrap_or_default();
                differences.push(format!("changed: {line}, now {definition}"));
            }
            None => differences.push(format!("missing: {line}")),
        }
    }
    differences.extend(extra.into_iter().map(|line| format!("not recorded: {line}")));
    differences
}

/// What is different in a database from what was recorded; each text names its object.
///
/// # Errors
/// If the database cannot be read.
pub async fn compare(client: &Client, recorded: &Inventory) -> Result<Vec<String>, tokio_postgres::Error> {
    let found = read_with(client).await?;
    let mut differences = differences(&recorded.objects(), &found.objects());
    differences.extend(large_objects(client).await?);
    // What people look for first: whole tables; comments and storage options go with them.
    differences.sort_by_key(|text| match text {
        text if text.contains(": table ") => 0,
        text if text.contains(": comment on ") || text.contains(": storage of ") => 2,
        _ => 1,
    });
    Ok(differences)
}

/// What is switched off and can be switched on again where it is: the line as it is now, the line as it was recorded, and
/// the statement that leads from one to the other.
const SWITCHED_OFF: &str = r"
SELECT format('trigger %s on %s: %s, enabled %s', tgname, tgrelid::regclass, pg_get_triggerdef(t.oid), tgenabled),
       format('trigger %s on %s: %s, enabled %s', tgname, tgrelid::regclass, pg_get_triggerdef(t.oid), 'O'),
       format('ALTER TABLE %s ENABLE TRIGGER %I', tgrelid::regclass, tgname)
  FROM pg_trigger t WHERE NOT tgisinternal AND tgenabled <> 'O'
UNION ALL
SELECT format('internal triggers on %s: enabled %s', tgrelid::regclass, tgenabled), format('internal triggers on %s: enabled O', tgrelid::regclass),
       format('ALTER TABLE %s ENABLE TRIGGER %I', tgrelid::regclass, tgname)
  FROM pg_trigger t WHERE tgisinternal AND tgenabled <> 'O'
UNION ALL
SELECT format('constraint %s on %s: %s (not validated)', conname, conrelid::regclass, pg_get_constraintdef(o.oid, true)),
       format('constraint %s on %s: %s', conname, conrelid::regclass, regexp_replace(pg_get_constraintdef(o.oid, true), ' NOT VALID$', '')),
       format('ALTER TABLE %s VALIDATE CONSTRAINT %I', conrelid::regclass, conname)
  FROM pg_constraint o JOIN pg_namespace n ON n.oid = o.connamespace WHERE n.nspname = 'public' AND NOT convalidated
UNION ALL
SELECT format('index %s: %s (invalid)', c.relname, pg_get_indexdef(i.indexrelid)), format('index %s: %s', c.relname, pg_get_indexdef(i.indexrelid)),
       format('REINDEX INDEX %s', i.indexrelid::regclass)
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = 'public' AND NOT i.indisvalid
ORDER BY 3";

/// The repair: triggers enabled, constraints validated, invalid indexes rebuilt. `None` if that is not all that differs.
/// The server refuses to validate a constraint that a row violates. What a trigger would have done meanwhile stays undone.
///
/// # Errors
/// If the database cannot be read.
pub async fn cures(client: &Client, recorded: &Inventory) -> Result<Option<Vec<String>>, tokio_postgres::Error> {
    if !large_objects(client).await?.is_empty() {
        return Ok(None);
    }
    let found = read_with(client).await?;
    let rows = client.query(SWITCHED_OFF, &[]).await?;
    let switched_off: Vec<[String; 3]> = rows.iter().map(|row| [row.get(0), row.get(1), row.get(2)]).collect();
    Ok(cured(&recorded.objects(), &found.objects(), &switched_off))
}

/// The statements of those entries (now, recorded, statement) that together explain every difference.
fn cured(recorded: &BTreeSet<&str>, found: &BTreeSet<&str>, entries: &[[String; 3]]) -> Option<Vec<String>> {
    let mut reached = found.clone();
    let mut statements = Vec::new();
    for [now, before, statement] in entries {
        if recorded.contains(before.as_str()) && !recorded.contains(now.as_str()) {
            reached.remove(now.as_str());
            reached.insert(before);
            statements.push(statement.clone());
        }
    }
    (reached == *recorded).then_some(statements)
}

/// Large objects without a row, and rows without their large object, of tables that have such a column.
async fn large_objects(client: &Client) -> Result<Vec<String>, tokio_postgres::Error> {
    let column = r#"SELECT to_regclass('"ScriptAttachments"') IS NOT NULL"#;
    if !client.query_one(column, &[]).await?.get::<_, bool>(0) {
        return Ok(Vec::new()); // its absence is a difference of its own
    }
    let sql = r#"SELECT format('attachment %s refers to large object %s, which is not there', a."Id", a."LargeObject")
                   FROM "ScriptAttachments" a LEFT JOIN pg_largeobject_metadata m ON m.oid = a."LargeObject" WHERE m.oid IS NULL
                 UNION ALL
                 SELECT format('large object %s belongs to no attachment', m.oid)
                   FROM pg_largeobject_metadata m LEFT JOIN "ScriptAttachments" a ON a."LargeObject" = m.oid WHERE a."Id" IS NULL"#;
    Ok(client.query(sql, &[]).await?.iter().map(|row| row.get(0)).collect())
}

/// The check: nothing missing, nothing changed, nothing that was not there.
pub async fn check(cluster: &Cluster, recorded: Option<&Inventory>, phase: Phase, subject: &str) -> CheckResult {
    timed(CheckId::CatalogInventory, phase, subject, async {
        let Some(recorded) = recorded else {
            return Ok::<_, tokio_postgres::Error>(Found::unknown(
                "the inventory recorded with the backup",
                "no inventory was recorded with this backup",
            ));
        };
        let differences = compare(&connect(cluster).await?, recorded).await?;
        let objects = recorded.objects().len();
        let expected = format!("{objects} objects as recorded with the backup, every large object with its row");
        let actual = if differences.is_empty() {
            format!("{objects} objects")
        } else {
            format!("{} differences", differences.len())
        };
        Ok(Found::judge(differences.is_empty(), expected, actual).detail(first_few(&differences)))
    })
    .await
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeSet;

    use super::cured;

    #[test]
    fn only_what_is_switched_off_is_cured_and_only_if_that_is_all() {
        let entries = [
            ["t1: enabled D", "t1: enabled O", "ENABLE t1"],
            ["t2: enabled D", "t2: enabled O", "ENABLE t2"],
        ]
        .map(|entry| entry.map(str::to_owned));
        let recorded: BTreeSet<&str> = ["t1: enabled O", "t2: enabled D", "table a"].into();
        let found: BTreeSet<&str> = ["t1: enabled D", "t2: enabled D", "table a"].into();
        assert_eq!(
            cured(&recorded, &found, &entries).unwrap(),
            ["ENABLE t1"],
            "t2 was recorded as switched off"
        );
        let fewer: BTreeSet<&str> = ["t1: enabled D", "t2: enabled D"].into();
        assert_eq!(
            cured(&recorded, &fewer, &entries),
            None,
            "nothing here brings a table back"
        );
        let more: BTreeSet<&str> = ["t1: enabled O", "t2: enabled D", "table a", "table b"].into();
        assert_eq!(cured(&recorded, &more, &entries), None, "what was not recorded stays");
    }
}
