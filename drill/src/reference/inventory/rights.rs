//! Rights: what every access control list grants beyond the server's default, or short of it, one fact per object, grantee and
//! privilege. The grantor is left out: it only decides what a cascading REVOKE takes away.

use std::collections::BTreeSet;

use super::{
    Inventory,
    catalogue::{Catalogues, Whose},
    sql::Raw,
};

/// Catalogues of which the rows are nothing but rights or settings, recorded as these, and the columns that this takes in.
pub(super) const INSTEAD_OF_ROWS: [(&str, &[&str]); 4] = [
    ("pg_db_role_setting", &["setdatabase", "setrole", "setconfig"]),
    (
        "pg_default_acl",
        &["oid", "defaclrole", "defaclnamespace", "defaclobjtype"],
    ),
    ("pg_largeobject_metadata", &["lomowner"]),
    ("pg_parameter_acl", &["oid", "parname"]),
];
/// Which letter `acldefault` knows a catalogue's objects by, and who owns them.
const DEFAULTS: [(&str, &str); 11] = [
    (
        "pg_class",
        "CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::\"char\", c.relowner",
    ),
    ("pg_proc", "'f', c.proowner"),
    ("pg_namespace", "'n', c.nspowner"),
    ("pg_type", "'T', c.typowner"),
    ("pg_database", "'d', c.datdba"),
    ("pg_language", "'l', c.lanowner"),
    ("pg_foreign_data_wrapper", "'F', c.fdwowner"),
    ("pg_foreign_server", "'S', c.srvowner"),
    ("pg_tablespace", "'t', c.spcowner"),
    ("pg_parameter_acl", "'p', 10"),
    (
        "pg_default_acl",
        "CASE WHEN c.defaclnamespace = 0 THEN CASE c.defaclobjtype WHEN 'S' THEN 's' ELSE c.defaclobjtype END END, c.defaclrole",
    ),
];

/// Whether a column of that type holds rights that are in force; initial privileges only say what an extension gave.
pub(super) fn is_acl(catalogue: &str, kind: &str) -> bool {
    kind == "aclitem[]" && catalogue != "pg_init_privs"
}

/// Reads the rights of every object: catalogue, object, column number, grantee, privilege, whether it is there, by default
/// there, and with grant option.
pub(super) fn grants(catalogues: &Catalogues, whose: Whose) -> Vec<String> {
    let of = |shared: bool| whose == Whose::Both || shared == (whose == Whose::Cluster);
    let read = |(table, _, column): &(String, bool, String)| {
        let default = DEFAULTS.iter().find(|(name, _)| name == table);
        let default = default.map_or("NULL::aclitem[]".to_owned(), |(_, what)| format!("acldefault({what})"));
        let (object, sub) = if table == "pg_attribute" {
            ("c.attrelid", "c.attnum")
        } else {
            ("c.oid", "0")
        };
        format!(
            "SELECT '{table}', o.object, o.sub, x.grantee, x.privilege_type, bool_or(x.now), bool_or(NOT x.now), bool_or(x.is_grantable AND x.now)
               FROM (SELECT {object} AS object, {sub} AS sub, c.{column} AS acl, {default} AS def
                       FROM pg_catalog.{table} AS c WHERE c.{column} IS NOT NULL) AS o,
                    LATERAL (SELECT true AS now, a.* FROM aclexplode(o.acl) AS a UNION ALL SELECT false, a.* FROM aclexplode(o.def) AS a) AS x
              GROUP BY 1, 2, 3, 4, 5
             HAVING bool_or(x.now) <> bool_or(NOT x.now) OR bool_or(x.is_grantable AND x.now)"
        )
    };
    let listed = catalogues.rights.iter().filter(|(table, shared, _)| {
        of(*shared) && table != "pg_largeobject_metadata" // one fact a kind: see below
    });
    listed.map(read).collect()
}

/// One row a kind of large object: their number changes as people work. Its owner's rights alone are the same, written out or
/// not: a dump leaves them out.
pub(super) const LARGE_OBJECTS: &str = "SELECT DISTINCT lomowner::regrole,
       (SELECT array_agg(x::text ORDER BY x::text) FROM unnest(nullif(lomacl, acldefault('L', lomowner))) AS x)
  FROM pg_largeobject_metadata";

/// Settings of databases and roles, a row each.
pub(super) const ROLE_SETTINGS: &str = "SELECT coalesce(d.datname, ''), coalesce(r.rolname, ''), split_part(x, '=', 1), substr(x, strpos(x, '=') + 1)
   FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_authid r ON r.oid = s.setrole, unnest(s.setconfig) AS x
  WHERE (s.setdatabase = 0 OR d.oid IS NOT NULL) AND (s.setrole = 0 OR r.oid IS NOT NULL)";

/// Which flags of relations say less than the catalogues that they summarise: what stands there is then not enforced.
pub(super) const SWITCHED_OFF: &str = "SELECT c.oid, f.flag FROM pg_class AS c, LATERAL (VALUES
   ('relhastriggers', NOT c.relhastriggers AND EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid)),
   ('relhasrules', NOT c.relhasrules AND EXISTS (SELECT FROM pg_rewrite w WHERE w.ev_class = c.oid)),
   ('relhassubclass', NOT c.relhassubclass AND EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid)),
   ('relhasindex', NOT c.relhasindex AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid)),
   ('relchecks', c.relchecks < (SELECT count(*) FROM pg_constraint o WHERE o.conrelid = c.oid AND o.contype = 'c'))) AS f (flag, off)
  WHERE f.off";

/// A right as one row of [`grants`] says it.
pub(super) fn state(row: &Raw) -> &'static str {
    match (row.flag(5), row.flag(7)) {
        (false, _) => super::WITHDRAWN,
        (true, true) => super::GRANTABLE,
        (true, false) => super::GRANTED,
    }
}

impl Inventory {
    /// Roles of it that a script of pg_dumpall does not create.
    pub fn roles_missing(&self, globals: &str) -> Vec<String> {
        missing(self.roles(), globals)
    }
}

fn missing(recorded: Vec<String>, globals: &str) -> Vec<String> {
    let created: BTreeSet<String> = globals
        .lines()
        .filter_map(|line| line.strip_prefix("CREATE ROLE ")?.strip_suffix(';'))
        .map(
            |name| match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
                Some(quoted) => quoted.replace("\"\"", "\""),
                None => name.to_owned(),
            },
        )
        .collect();
    recorded.into_iter().filter(|role| !created.contains(role)).collect()
}

#[cfg(test)]
mod tests {
    use super::missing;

    #[test]
    fn roles_that_a_script_does_not_create_are_named() {
        let recorded = || ["app_admin", "a \"b\": c"].map(str::to_owned).into();
        let whole = "CREATE ROLE app_admin;\nALTER ROLE app_admin WITH LOGIN;\nCREATE ROLE \"a \"\"b\"\": c\";\n";
        assert!(missing(recorded(), whole).is_empty());
        assert_eq!(
            missing(recorded(), "-- CREATE ROLE app_admin;"),
            ["app_admin", r#"a "b": c"#]
        );
    }
}
