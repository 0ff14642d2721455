//! Inventory and privileges: what is changed is named, what can be put right is, and what a dump changes is known.

use std::collections::BTreeSet;

use super::{World, fails, passes};
use crate::{
    postgres::{Cluster, ClusterOptions, Tool},
    reference::{
        Reading, Record, SharedLog, Truth,
        inventory::{self, Cure, EXCEPTIONS},
    },
    verify::{catalog_inventory, plan, privileges},
};

impl World {
    async fn put_right(&self, cures: Option<Vec<Cure>>) {
        let cures = cures.unwrap();
        assert!(!cures.is_empty());
        for cure in cures {
            let database = if cure.database.is_empty() {
                "postgres"
            } else {
                &cure.database
            };
            let client = self.cluster.connect("postgres", database).await.unwrap();
            let done = client.batch_execute(&cure.statement).await;
            done.unwrap_or_else(|error| panic!("{cure:?}: {error:?}"));
        }
    }

    /// Fails unless both checks pass.
    async fn is_as(&self, truth: &Truth) {
        let (objects, rights) = plan::inventory(&self.subject(Some(truth))).await;
        passes(&objects);
        passes(&rights);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_column_of_every_catalogue_is_read_or_excused() {
    let world = World::new("catalogues", &[]).await;
    let covered = inventory::covered(&world.admin).await.unwrap();
    let sql = "SELECT c.relname::text, a.attname::text, format_type(a.atttypid, NULL) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
                WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped";
    let rows = world.admin.query(sql, &[]).await.unwrap();
    assert!(rows.len() > 500, "{}", rows.len());
    let mut forgotten = BTreeSet::new();
    for row in &rows {
        let (table, column, kind): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        let excused = EXCEPTIONS.iter().any(|(catalogue, name, reason)| {
            assert!(!reason.is_empty());
            *catalogue == table && (*name == "*" || *name == column)
        });
        let read = covered.get(&(table.clone(), column.clone()));
        // Numbers of objects say nothing in another cluster: each must be known for what it refers to.
        let number = ["oid", "oid[]", "oidvector", "regproc"].contains(&kind.as_str());
        let unresolved = number && read.is_some_and(|read| read.starts_with("Plain"));
        if unresolved || read.is_none() && !excused {
            forgotten.insert(format!("{table}.{column}: {read:?}"));
        }
    }
    assert!(forgotten.is_empty(), "{forgotten:#?}");
    // And no exception speaks of what is not there in any version.
    let known = [
        "pg_class.relallfrozen",
        "pg_attribute.attcacheoff",
        "pg_database.dathasloginevt",
    ];
    for (catalogue, name, _) in EXCEPTIONS {
        let there = rows
            .iter()
            .any(|row| row.get::<_, &str>(0) == *catalogue && (*name == "*" || row.get::<_, &str>(1) == *name));
        assert!(
            there || known.contains(&format!("{catalogue}.{name}").as_str()),
            "{catalogue}.{name}"
        );
    }
}

/// A schema with something of everything.
const RICH: &str = r"
CREATE TABLE r (i int, t text); CREATE RULE rr AS ON INSERT TO r DO ALSO SELECT 1; ALTER TABLE r ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON r FOR SELECT TO transformation_app USING (i > 0); CREATE TYPE mood AS ENUM ('a', 'b');
CREATE AGGREGATE mysum(int) (sfunc = int4pl, stype = int, initcond = '0'); CREATE OPERATOR public.=== (leftarg = int, rightarg = int, function = int4eq);
CREATE TEXT SEARCH CONFIGURATION public.mycfg (COPY = simple); CREATE PUBLICATION pub FOR TABLE r; CREATE TYPE comp AS (a int, b text);
CREATE COLLATION ci (locale = 'C'); CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;
CREATE USER MAPPING FOR transformation_app SERVER s OPTIONS (password 'x'); CREATE FOREIGN TABLE ft (a int OPTIONS (x 'y')) SERVER s OPTIONS (b 'c');
CREATE TABLE parent (k int, v text) PARTITION BY LIST (k); CREATE TABLE part1 PARTITION OF parent FOR VALUES IN (1);
CREATE TABLE part2 PARTITION OF parent FOR VALUES IN (2); CREATE FUNCTION evt() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER et ON ddl_command_start WHEN TAG IN ('DROP TABLE') EXECUTE FUNCTION evt(); CREATE TABLE base (a int);
CREATE TABLE child () INHERITS (base); CREATE CAST (mood AS int) WITH INOUT AS ASSIGNMENT; CREATE SEQUENCE sq MINVALUE 1 MAXVALUE 1000000 START 5;
CREATE MATERIALIZED VIEW mv AS SELECT count(*) FROM parent; CREATE UNLOGGED TABLE un AS SELECT generate_series(1, 100) g;
CREATE TABLE ck (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, s varchar(10) DEFAULT 'a'::varchar CHECK (s IN ('a', 'b')), CHECK (s NOT IN ('x', 'y')),
  g text GENERATED ALWAYS AS (CASE WHEN s IN ('a', 'b') THEN 'x' ELSE 'y' END) STORED, dropme int, e mood[] NOT NULL DEFAULT '{a}', m int[][]);
ALTER TABLE ck DROP COLUMN dropme; CREATE INDEX cki ON ck (lower(s), (s IN ('q', 'r'))) WHERE s IN ('a', 'b'); CREATE UNIQUE INDEX ON ck (s) INCLUDE (g);
CREATE TABLE fk (id int REFERENCES ck ON DELETE SET NULL (id), part int); CREATE TABLE fkp (a int REFERENCES ck) PARTITION BY RANGE (a);
CREATE TABLE fkp1 PARTITION OF fkp FOR VALUES FROM (1) TO (10); CREATE VIEW vv AS SELECT * FROM ck WHERE s IN ('a', 'b');
CREATE VIEW v2 WITH (security_barrier) AS SELECT id FROM vv; GRANT SELECT (id) ON vv TO transformation_app; GRANT ALL ON ck TO transformation_app WITH GRANT OPTION;
CREATE FUNCTION f(a varchar DEFAULT 'x', b int DEFAULT 1) RETURNS bool LANGUAGE sql BEGIN ATOMIC SELECT a IN ('a', 'b'); END;
REVOKE ALL ON FUNCTION f FROM PUBLIC; ALTER FUNCTION f SET search_path = public; CREATE FUNCTION trg() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER tg BEFORE UPDATE OF s ON ck FOR EACH ROW WHEN (NEW.s IN ('a', 'b')) EXECUTE FUNCTION trg('arg');
CREATE TRIGGER tgp AFTER INSERT ON parent FOR EACH ROW EXECUTE FUNCTION trg();
CREATE CONSTRAINT TRIGGER ctg AFTER INSERT ON ck DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION trg();
CREATE DOMAIN dom AS varchar(5) DEFAULT 'q' CHECK (VALUE IN ('q', 'r')); CREATE STATISTICS st (ndistinct) ON id, s FROM ck;
CREATE STATISTICS st2 ON (lower(s)), id FROM ck; ALTER TABLE ck ALTER s SET STATISTICS 500; CREATE TYPE rng AS RANGE (subtype = float8);
CREATE SCHEMA sch AUTHORIZATION app_admin; GRANT USAGE ON SCHEMA sch TO drill_validator;
ALTER DEFAULT PRIVILEGES FOR ROLE app_admin REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
CREATE POLICY p2 ON r AS RESTRICTIVE FOR INSERT TO transformation_app, drill_validator WITH CHECK (t::varchar IN ('a', 'b'));
CREATE TABLE exc (r int4range, EXCLUDE USING gist (r WITH &&)); COMMENT ON COLUMN ck.s IS 'col'; COMMENT ON SCHEMA public IS 'mine';
ALTER TABLE r REPLICA IDENTITY FULL; CREATE PUBLICATION pub2 FOR TABLES IN SCHEMA sch; CREATE PUBLICATION pub3 FOR TABLE ck (id, s) WHERE (id > 5);
CREATE OPERATOR CLASS public.myops FOR TYPE int USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 btint4cmp(int, int);
CREATE TABLE typed OF comp; GRANT SET ON PARAMETER work_mem TO drill_validator; ALTER ROLE ALL SET log_min_duration_statement = 1000;
ALTER ROLE drill_validator IN DATABASE transformations SET search_path = 'a b', public
";

#[tokio::test(flavor = "multi_thread")]
async fn every_definition_that_changes_is_named() {
    let world = World::new("definitions", &[]).await;
    world.sql(RICH).await;
    let truth = world.truth().await;
    let again = world.truth().await;
    assert!(truth.before[0].inventory == again.before[0].inventory, "the same twice");
    for system_rows in [false, true] {
        let reading = Reading {
            system_rows,
            ..Reading::default()
        };
        let began = std::time::Instant::now();
        inventory::read(&world.cluster, &reading).await.unwrap();
        println!("system rows {system_rows}: {:?}", began.elapsed());
    }
    world.is_as(&truth).await;
    let changes = [
        (
            "CREATE OR REPLACE RULE rr AS ON INSERT TO r DO ALSO DELETE FROM parent",
            "changed: rule rr on public.r (ev_action)",
        ),
        (
            "ALTER POLICY p ON r TO PUBLIC USING (true)",
            "changed: policy p on public.r (polroles role transformation_app, now -; polqual)",
        ),
        (
            "ALTER TYPE mood RENAME VALUE 'a' TO 'zz'",
            "missing: value a of type public.mood",
        ),
        (
            "CREATE OR REPLACE AGGREGATE mysum(int) (sfunc = int4pl, stype = int, initcond = '100')",
            "(agginitval)",
        ),
        (
            "DROP OPERATOR public.=== (int, int)",
            "missing: operator public.===(integer,integer)",
        ),
        (
            "DROP TEXT SEARCH CONFIGURATION public.mycfg",
            "missing: text search configuration public.mycfg",
        ),
        (
            "ALTER PUBLICATION pub DROP TABLE r",
            "missing: publication relation public.r in publication pub",
        ),
        (
            "ALTER PUBLICATION pub SET (publish = 'insert')",
            "changed: publication pub (pubupdate t, now f; pubdelete t, now f",
        ),
        ("DROP COLLATION ci", "missing: collation public.ci"),
        (
            "DROP USER MAPPING FOR transformation_app SERVER s",
            "missing: user mapping transformation_app on server s",
        ),
        ("DROP SERVER s CASCADE", "missing: server s"),
        ("DROP FOREIGN DATA WRAPPER w CASCADE", "missing: foreign-data wrapper w"),
        (
            "ALTER TABLE parent DETACH PARTITION part2",
            "missing: parent 1 of table public.part2",
        ),
        ("DROP EVENT TRIGGER et", "missing: event trigger et"),
        (
            "ALTER TABLE child NO INHERIT base",
            "missing: parent 1 of table public.child",
        ),
        ("DROP CAST (mood AS int)", "missing: cast (public.mood AS integer)"),
        (
            "ALTER SEQUENCE sq MAXVALUE 10 START 1 CACHE 500",
            "changed: sequence public.sq (pg_sequence) (seqstart 5, now 1; seqmax 1000000, now 10",
        ),
        ("ALTER SEQUENCE sq MINVALUE -5", "seqmin 1, now -5"),
        (
            "REFRESH MATERIALIZED VIEW mv WITH NO DATA",
            "changed: materialized view public.mv (relispopulated t, now f)",
        ),
        (
            "ALTER TABLE exc ALTER r SET STORAGE EXTERNAL",
            "changed: column r of table public.exc (attstorage x, now e)",
        ),
        (
            "ALTER TABLE base ADD later text COLLATE \"C\"",
            "not recorded: column later of table public.base",
        ),
        (
            "ALTER DOMAIN script_name SET DEFAULT 'gone'",
            "changed: type public.script_name (typdefaultbin",
        ),
        (
            "ALTER DOMAIN script_name SET NOT NULL",
            "changed: type public.script_name (typnotnull f, now t)",
        ),
        (
            "ALTER DATABASE transformations CONNECTION LIMIT 60",
            "changed: database transformations (datconnlimit -1, now 60)",
        ),
        (
            "UPDATE pg_class SET relhastriggers = false WHERE relname = 'ScriptAttachments'",
            r#"not recorded: relhastriggers of table public."ScriptAttachments""#,
        ),
        (
            r#"SELECT lo_unlink("LargeObject") FROM "ScriptAttachments" WHERE "Id" = 3"#,
            "row 3 of ScriptAttachments refers to large object",
        ),
        (
            r#"DROP TABLE "ScriptAttachments" CASCADE"#,
            r#"missing: table public."ScriptAttachments""#,
        ),
        (
            r#"DROP VIEW "ActiveScripts""#,
            r#"missing: view public."ActiveScripts""#,
        ),
        (
            r#"DROP FUNCTION "ContentMatchesHash""#,
            r#"missing: function public."ContentMatchesHash"(pg_catalog.text,pg_catalog.bytea)"#,
        ),
        (
            r#"COMMENT ON FUNCTION "TouchUpdatedAt"() IS NULL"#,
            r#"missing: comment on function public."TouchUpdatedAt"()"#,
        ),
        (
            "COMMENT ON DATABASE transformations IS NULL",
            "missing: comment on database transformations",
        ),
        (
            "ALTER ROLE transformation_app RESET statement_timeout",
            "missing: setting statement_timeout of role transformation_app",
        ),
        (r#"ALTER TABLE "AuditEvents" SET UNLOGGED"#, "relpersistence p, now u"),
        (
            r#"ALTER TABLE "TransformationScripts" ALTER "IsDeleted" DROP DEFAULT"#,
            "IsDeleted",
        ),
        (
            "UPDATE pg_class SET relchecks = 0 WHERE relname = 'TransformationScripts'",
            r#"not recorded: relchecks of table public."TransformationScripts""#,
        ),
        (
            "UPDATE pg_operator SET oprcode = 'int8mi' WHERE oid = 684",
            "changed: rows of pg_operator that come with the server",
        ),
        ("CREATE TABLE extra ()", "not recorded: table public.extra"),
        (
            "CREATE FUNCTION pg_temp.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "",
        ),
    ];
    for (change, named) in changes {
        let before = world.truth().await;
        world.sql(change).await;
        let (objects, _) = plan::inventory(&world.subject(Some(&before))).await;
        println!("{change}\n    {}", objects.detail);
        if named.is_empty() {
            passes(&objects);
        } else {
            fails(&objects, &[named]);
        }
    }
    // All of them at once are named, too.
    let (objects, _) = plan::inventory(&world.subject(Some(&truth))).await;
    fails(
        &objects,
        &[
            "operator public.===",
            "rows of pg_operator",
            "server s",
            "table public.extra",
        ],
    );
    world.sql("CREATE DATABASE other").await;
    let with_other = world.truth().await;
    world.sql("DROP DATABASE other; ").await;
    let (objects, _) = plan::inventory(&world.subject(Some(&with_other))).await;
    fails(&objects, &["missing: database other"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_and_added_rights_are_named_and_put_right() {
    let world = World::new("privileges", &[]).await;
    world.sql(RICH).await;
    let truth = world.truth().await;
    world.is_as(&truth).await;
    world
        .sql(
            r#"REVOKE DELETE ON "ScriptAttachments" FROM transformation_app; GRANT UPDATE ON "AuditEvents" TO drill_validator;
               ALTER ROLE recovery_operator NOREPLICATION CONNECTION LIMIT 3; GRANT SELECT ON pg_authid TO PUBLIC;
               GRANT EXECUTE ON FUNCTION pg_read_file(text) TO drill_validator; GRANT ALTER SYSTEM ON PARAMETER archive_command TO drill_validator;
               GRANT ALL ON DATABASE postgres TO drill_validator; GRANT CREATE ON TABLESPACE pg_default TO drill_validator;
               REVOKE pg_monitor FROM recovery_operator; GRANT pg_read_all_data TO drill_validator; ALTER FUNCTION trg() OWNER TO app_admin;
               REVOKE SELECT (id) ON vv FROM transformation_app; GRANT EXECUTE ON FUNCTION f TO PUBLIC; REVOKE USAGE ON TYPE mood FROM PUBLIC;
               REVOKE GRANT OPTION FOR SELECT ON ck FROM transformation_app; GRANT CREATE ON SCHEMA public TO PUBLIC; REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC;
               REVOKE SET ON PARAMETER work_mem FROM drill_validator; ALTER VIEW v2 OWNER TO app_admin;
               ALTER DEFAULT PRIVILEGES FOR ROLE app_admin GRANT EXECUTE ON FUNCTIONS TO PUBLIC;
               ALTER DEFAULT PRIVILEGES FOR ROLE app_admin IN SCHEMA public REVOKE SELECT ON TABLES FROM drill_validator;
               DO $$ DECLARE lo oid; BEGIN FOR lo IN SELECT oid FROM pg_largeobject_metadata LOOP
                 EXECUTE format('REVOKE SELECT ON LARGE OBJECT %s FROM drill_validator', lo); END LOOP; END $$"#,
        )
        .await;
    let subject = world.subject(Some(&truth));
    let look = catalog_inventory::look(&subject).await;
    passes(&catalog_inventory::check(&subject, &look).await);
    let result = privileges::check(&subject, &look).await;
    println!("{}", result.detail.replace("; ", "\n"));
    fails(
        &result,
        &[
            r#"missing: DELETE on table public."ScriptAttachments" to transformation_app"#,
            r#"not recorded: UPDATE on table public."AuditEvents" to drill_validator"#,
            r#"drill_validator may: UPDATE public."AuditEvents""#,
            "role recovery_operator (rolreplication t, now f; rolconnlimit -1, now 3)",
            "not recorded: SELECT on table pg_catalog.pg_authid to PUBLIC",
            "not recorded: EXECUTE on function pg_catalog.pg_read_file(pg_catalog.text) to drill_validator",
            "not recorded: ALTER SYSTEM on parameter ACL archive_command to drill_validator",
            "not recorded: CONNECT on database postgres to drill_validator",
            "not recorded: CREATE on tablespace pg_default to drill_validator",
            "missing: membership of role recovery_operator in role pg_monitor",
            "owner of function public.trg()",
            "missing: SELECT on column id of view public.vv to transformation_app",
            "no longer withdrawn: EXECUTE on function public.f(",
            "withdrawn: USAGE on type public.mood to PUBLIC",
        ],
    );
    world.put_right(privileges::cures(&look)).await;
    world.is_as(&truth).await;
    world.sql("ALTER ROLE transformation_app PASSWORD 'another'").await;
    let (_, result) = plan::inventory(&world.subject(Some(&truth))).await;
    fails(
        &result,
        &[
            "transformation_app cannot log in",
            "role transformation_app (rolpassword)",
        ],
    );
    let look = catalog_inventory::look(&subject).await;
    assert_eq!(privileges::cures(&look), None, "a password is not made up");
    fixtures::schema::set_passwords(&world.admin, &world.credentials)
        .await
        .unwrap();
    world
        .sql("DROP OWNED BY recovery_operator; DROP ROLE recovery_operator")
        .await;
    let look = catalog_inventory::look(&subject).await;
    assert_eq!(privileges::cures(&look), None, "a role that is gone is not made up");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_switched_off_is_switched_on_again() {
    let world = World::new("switches", &[]).await;
    world.sql(RICH).await;
    let truth = world.truth().await;
    world
        .sql(
            r#"ALTER TABLE "TransformationScripts" DISABLE TRIGGER USER; ALTER TABLE "ScriptAttachments" DISABLE TRIGGER ALL;
               ALTER TABLE "ScriptAttachments" DROP CONSTRAINT "CK_ScriptAttachments_SizeBytes",
                 ADD CONSTRAINT "CK_ScriptAttachments_SizeBytes" CHECK ("SizeBytes" >= 0) NOT VALID;
               UPDATE pg_index SET indisvalid = false WHERE indexrelid = '"IX_AuditEvents_ScriptId"'::regclass;
               ALTER TABLE r DISABLE RULE rr; ALTER TABLE r DISABLE ROW LEVEL SECURITY; ALTER EVENT TRIGGER et DISABLE;
               ALTER ROLE drill_validator IN DATABASE transformations RESET search_path; ALTER ROLE transformation_app SET statement_timeout = '1s';
               ALTER DATABASE transformations RESET timezone; ALTER ROLE ALL SET work_mem = '5MB'"#,
        )
        .await;
    let subject = world.subject(Some(&truth));
    let look = catalog_inventory::look(&subject).await;
    let cures = catalog_inventory::cures(&subject, &look).await.unwrap();
    assert!(
        !format!("{cures:?}").contains("a b"),
        "values of settings are not told: {cures:?}"
    );
    world.put_right(cures).await;
    world.is_as(&truth).await;
    world.sql(r#"DROP VIEW "ActiveScripts""#).await;
    let look = catalog_inventory::look(&subject).await;
    assert_eq!(
        catalog_inventory::cures(&subject, &look).await.unwrap(),
        None,
        "a view that is gone is not made up"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_brings_everything_back_but_what_is_known() {
    let world = World::new("dumped", &[]).await;
    world.sql(RICH).await;
    let database = fixtures::DATABASE;
    let reading = Reading {
        database: Some(database.to_owned()),
        ..Reading::default()
    };
    let record = Record::take(&world.cluster, "b-1", &reading, None).await.unwrap();
    let log = SharedLog::of(database);
    let truth = log.with(|log| {
        log.add_dump("b-1", record);
        log.of_dump("b-1", database)
    });
    let installation = world.cluster.installation();
    let options = ClusterOptions {
        name: "again".to_owned(),
        durable: false,
        ..ClusterOptions::default()
    };
    let mut again = Cluster::create(installation, &world.work, &options).await.unwrap();
    again.start().await.unwrap();
    let file = |name: &str| world.work.path().join(name);
    let of_source = world.cluster.client_environment("postgres", database, None);
    let of_again = again.client_environment("postgres", "postgres", None);
    let dump = Tool::new(installation, "pg_dump").envs(of_source.clone());
    dump.args(["--format=custom", "--file"])
        .arg(file("dump"))
        .run()
        .await
        .unwrap();
    let globals = Tool::new(installation, "pg_dumpall").envs(of_source);
    globals
        .args(["--globals-only", "--file"])
        .arg(file("globals.sql"))
        .run()
        .await
        .unwrap();
    let psql = Tool::new(installation, "psql").envs(of_again.clone());
    psql.args(["--no-psqlrc", "--quiet", "--file"])
        .arg(file("globals.sql"))
        .run()
        .await
        .unwrap();
    let restore = Tool::new(installation, "pg_restore").envs(of_again);
    restore
        .args(["--create", "--dbname=postgres"])
        .arg(file("dump"))
        .run()
        .await
        .unwrap();
    let mut subject = world.subject(Some(&truth));
    subject.cluster = &again;
    let look = catalog_inventory::look(&subject).await;
    let (objects, rights) = (
        catalog_inventory::check(&subject, &look).await,
        privileges::check(&subject, &look).await,
    );
    println!(
        "{}\n{}",
        objects.detail.replace("; ", "\n"),
        rights.detail.replace("; ", "\n")
    );
    // Settings of every role are in no dump; a repair puts them back.
    fails(&objects, &["missing: setting log_min_duration_statement of every role"]);
    let cures = catalog_inventory::cures(&subject, &look).await.unwrap().unwrap();
    assert_eq!(cures.len(), 1);
    let put_back = again.connect("postgres", "postgres").await.unwrap();
    put_back.batch_execute(&cures[0].statement).await.unwrap();
    let look = catalog_inventory::look(&subject).await;
    passes(&catalog_inventory::check(&subject, &look).await);
    passes(&rights);
    // A text that means something else is noticed all the same.
    let client = again.connect("postgres", database).await.unwrap();
    let change = "ALTER TABLE ck DROP CONSTRAINT ck_s_check, ADD CONSTRAINT ck_s_check CHECK (s IN ('a', 'c')) NOT VALID; ALTER TABLE ck VALIDATE CONSTRAINT ck_s_check;
                  CREATE OR REPLACE VIEW vv AS SELECT * FROM ck WHERE s IN ('a', 'c')";
    client.batch_execute(change).await.unwrap();
    let look = catalog_inventory::look(&subject).await;
    fails(
        &catalog_inventory::check(&subject, &look).await,
        &["constraint ck_s_check on public.ck (conbin)", "_RETURN"],
    );
}
