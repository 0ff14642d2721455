//! What differs is named and nothing else is: on a real server, and by the rules alone.

mod rules;

use std::{process::Command, sync::Arc};

use tokio_postgres::Client;

use super::*;
use crate::{
    postgres::{Cluster, ClusterOptions, Request, Shutdown, Silent, Storage, WorkDir, locate},
    reference::{Reading, Record, Scope, Truth},
};

/// A server with nothing on it.
struct Server {
    cluster: Cluster,
    _work: WorkDir,
}

impl Server {
    async fn new(name: &str) -> Self {
        let work = WorkDir::create(Storage::Memory, name).unwrap();
        let installation = locate(&Request::default(), &Silent).await.unwrap();
        let options = ClusterOptions {
            name: "source".into(),
            durable: false,
            ..ClusterOptions::default()
        };
        let mut cluster = Cluster::create(&installation, &work, &options).await.unwrap();
        cluster.start().await.unwrap();
        Self { cluster, _work: work }
    }

    async fn client(&self, database: &str) -> Client {
        self.cluster.connect("postgres", database).await.unwrap()
    }

    async fn run(&self, database: &str, sql: &str) {
        let client = self.client(database).await;
        for statement in sql.split(';') {
            let done = client.batch_execute(statement).await; // each by itself: some refuse a transaction block
            done.unwrap_or_else(|error| panic!("{statement}: {}", crate::errors::chain(&error)));
        }
    }

    async fn read(&self) -> Content {
        read(&self.cluster, &Reading::default()).await.unwrap()
    }

    /// What is wrong, held against a record alone.
    async fn wrong(&self, recorded: &Content) -> Vec<String> {
        let found = look(&self.cluster, &Reading::default()).await.unwrap();
        let differences = compare(&truth(Scope::Cluster, &[recorded], &[]), &found);
        assert_eq!(differences.unknown, Vec::<String>::new());
        differences.wrong
    }
}

fn truth(scope: Scope, before: &[&Content], after: &[&Content]) -> Truth {
    let records = |contents: &[&Content]| {
        let record = |content: &&Content| Arc::new(Record::for_tests((*content).clone()));
        contents.iter().map(record).collect()
    };
    Truth {
        home: String::new(),
        scope,
        before: records(before),
        after: records(after),
        backup: None,
    }
}

const WORLD: &str = r#"
    CREATE SCHEMA shop; CREATE TABLE shop."Orders" (id int PRIMARY KEY, total int);
    INSERT INTO shop."Orders" SELECT g, g FROM generate_series(1, 1000) g;
    CREATE TABLE visits (day date, page text) PARTITION BY RANGE (day);
    CREATE TABLE visits_1 PARTITION OF visits FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
    CREATE TABLE visits_2 (page text, gone int, day date); ALTER TABLE visits_2 DROP COLUMN gone;
    ALTER TABLE visits ATTACH PARTITION visits_2 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
    INSERT INTO visits SELECT date '2026-01-01' + g, 'p' || g FROM generate_series(0, 50) g;
    CREATE TABLE parent (a int); CREATE TABLE child (b int) INHERITS (parent); INSERT INTO child VALUES (1, 2);
    CREATE MATERIALIZED VIEW daily AS SELECT day, count(*) FROM visits GROUP BY day;
    CREATE MATERIALIZED VIEW never AS SELECT 1 WITH NO DATA;
    CREATE UNLOGGED TABLE scratch AS SELECT 1 AS a; CREATE TABLE bare (); INSERT INTO bare DEFAULT VALUES;
    CREATE TABLE secret (a int); ALTER TABLE secret ENABLE ROW LEVEL SECURITY; ALTER TABLE secret FORCE ROW LEVEL SECURITY;
    INSERT INTO secret VALUES (1);
    CREATE FOREIGN DATA WRAPPER nowhere; CREATE SERVER there FOREIGN DATA WRAPPER nowhere;
    CREATE FOREIGN TABLE abroad (a int) SERVER there;
    SELECT lo_from_bytea(70000, 'one'), lo_from_bytea(70001, 'two');"#;

#[tokio::test]
async fn whatever_table_of_whatever_database_is_changed_it_is_named() {
    let server = Server::new("content-world").await;
    server.run("postgres", "CREATE DATABASE other").await;
    server.run("other", WORLD).await;
    server
        .run("template1", "CREATE TABLE handed_down AS SELECT 1 AS a")
        .await;
    server
        .run(
            "postgres",
            "ALTER DATABASE other SET extra_float_digits = 0; \
                            ALTER DATABASE other SET enable_seqscan = off",
        )
        .await;
    let recorded = server.read().await;
    assert_eq!(
        recorded.databases.keys().collect::<Vec<_>>(),
        ["other", "postgres", "template1"]
    );
    let rows = |name: &str| recorded.table("other", name).unwrap().rows.clone();
    assert_eq!(rows(r#""public"."scratch""#), Rows::Unlogged);
    assert_eq!(rows(r#""public"."abroad""#), Rows::Foreign);
    assert_eq!(rows(r#""public"."never""#), Rows::Unpopulated);
    assert_eq!(
        recorded.table("other", r#""public"."visits""#),
        None,
        "it has no rows of its own"
    );
    let count = |name: &str| match rows(name) {
        Rows::Sums(sums) => sums.rows,
        other => panic!("{other:?}"),
    };
    let counts = [
        r#""public"."parent""#,
        r#""public"."child""#,
        r#""public"."bare""#,
        r#""public"."secret""#,
    ]
    .map(count);
    assert_eq!(counts, [0, 1, 1, 1]);
    assert_eq!(server.wrong(&recorded).await, Vec::<String>::new());

    for (database, damage, told) in [
        (
            "other",
            r#"DELETE FROM shop."Orders" WHERE id = 5"#,
            r#"other."shop"."Orders": 999 rows, 1,000 expected"#,
        ),
        (
            "other",
            "UPDATE visits SET page = 'p' WHERE day = '2026-02-03'",
            r#"other."public"."visits_2": 20 rows, and not all are what they were"#,
        ),
        (
            "other",
            "REFRESH MATERIALIZED VIEW daily WITH NO DATA",
            r#"other."public"."daily": is not computed, 51 rows expected"#,
        ),
        (
            "other",
            "DELETE FROM secret",
            r#"other."public"."secret": 0 rows, 1 expected"#,
        ),
        (
            "other",
            "SELECT lo_put(70000, 1, 'N')",
            "other, large object 70000: is not what it was",
        ),
        (
            "other",
            "SELECT lo_unlink(70001), lo_from_bytea(70002, 'new')",
            "other, large object 70001: is missing",
        ),
        ("other", "", "other, large object 70002: was not there"),
        (
            "template1",
            "DROP TABLE handed_down",
            r#"template1."public"."handed_down": is not there, with its 1 row"#,
        ),
        (
            "postgres",
            "DROP DATABASE other",
            "database other is not there, with its 8 tables",
        ),
    ] {
        server.run(database, damage).await;
        let wrong = server.wrong(&recorded).await;
        assert!(wrong.iter().any(|line| line == told), "{told} is not in {wrong:?}");
    }
}

/// A column of each kind of type, named after what a dump or a restore does to it.
const TYPES: &str = r#"
    CREATE TYPE mood AS ENUM ('fair', 'foul'); CREATE DOMAIN humour AS mood; CREATE TYPE pair AS (m mood, n numeric);
    CREATE TYPE span AS RANGE (subtype = mood); CREATE TABLE other_one (a int); CREATE ROLE somebody;
    CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    CREATE TABLE typed (gone int, m mood, h humour, ms mood[], p pair, s span, rc regclass, rt regtype, ro regrole, acl aclitem,
                        o oid, n numeric, f float8, i interval, c char(5), j jsonb, t text COLLATE loose, v int[], "q""q" money,
                        g int GENERATED ALWAYS AS (1 + 1) STORED);
    ALTER TABLE typed DROP COLUMN gone;
    INSERT INTO typed SELECT 'foul', 'fair', '{fair,foul}', '(foul,1.00)', '[fair,foul]', 'other_one', 'mood', 'somebody',
                             'somebody=r/postgres', 11, 1.00, '-0', '1 day', 'x', '{"a": 1.0}', 'Ab', '{1,2}', 7;
    CREATE TABLE spread (m mood, a int) PARTITION BY HASH (m);
    CREATE TABLE spread_0 PARTITION OF spread FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE spread_1 PARTITION OF spread FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    INSERT INTO spread SELECT (ARRAY['fair', 'foul'])[1 + g % 2]::mood, g FROM generate_series(1, 100) g;
    CREATE TABLE later AS SELECT 1 AS a; CREATE MATERIALIZED VIEW stale AS SELECT count(*) FROM later; INSERT INTO later VALUES (2);
    SELECT lo_create(70010), lo_put(70010, 5000, 'behind a hole');"#;

#[tokio::test]
async fn a_dump_changes_nothing_that_is_compared() {
    let server = Server::new("content-dump").await;
    server.run("postgres", "CREATE DATABASE origin").await;
    server.run("origin", TYPES).await;
    let reading = Reading {
        database: Some("origin".into()),
        ..Reading::default()
    };
    let recorded = read(&server.cluster, &reading).await.unwrap();
    server
        .run(
            "postgres",
            "ALTER DATABASE origin RENAME TO before; CREATE DATABASE origin",
        )
        .await;
    let tool = |name: &str| server.cluster.installation().tool(name);
    let copied = Command::new("sh")
        .args([
            "-c",
            "set -e; \"$0\" -d before | \"$1\" -qX -v ON_ERROR_STOP=1 -d origin >/dev/null",
        ])
        .args([tool("pg_dump"), tool("psql")])
        .envs(server.cluster.client_environment("postgres", "origin", None))
        .status();
    assert!(copied.unwrap().success());
    let held = async || {
        let found = look(&server.cluster, &reading).await.unwrap();
        compare(&truth(Scope::Database("origin".into()), &[&recorded], &[]), &found)
    };
    let restored = held().await;
    assert_eq!((&restored.wrong, &restored.unknown), (&vec![], &vec![]));
    assert_eq!(
        (restored.alike.tables, restored.alike.large_objects),
        (4, 1),
        "{restored:?}"
    );
    let anew = vec![r#"origin."public"."stale""#.to_owned()];
    assert_eq!(restored.not_compared.into_values().collect::<Vec<_>>(), [anew]);

    // What PostgreSQL holds for equal is not what was there.
    for change in [
        "n = 1.0",
        "f = 0",
        "i = '24 hours'",
        "t = 'aB'",
        "v = '[0:1]={1,2}'",
        "m = 'fair'",
        "rc = 'typed'",
        "c = 'y'",
        "ro = 'postgres'",
        "p = '(foul,1.0)'",
        "j = '{\"a\": 1.00}'",
    ] {
        let column = change.split(' ').next().unwrap();
        server
            .run(
                "origin",
                &format!("CREATE TABLE kept AS TABLE typed; UPDATE typed SET {change}"),
            )
            .await;
        let told = r#"origin."public"."typed": 1 row, and not all are what they were"#;
        assert_eq!(held().await.wrong, [told], "{change}");
        server
            .run(
                "origin",
                &format!("UPDATE typed SET {column} = k.{column} FROM kept k; DROP TABLE kept"),
            )
            .await;
    }
    server.run("origin", "DELETE FROM spread WHERE a = 1").await;
    assert_eq!(held().await.wrong, ["origin.public.spread: 99 rows, 100 expected"]);
    server
        .run("origin", "REFRESH MATERIALIZED VIEW stale WITH NO DATA")
        .await;
    assert!(
        held()
            .await
            .wrong
            .contains(&r#"origin."public"."stale": was not computed"#.to_owned())
    );
}

#[tokio::test]
async fn damage_is_a_fact_of_its_table_and_no_record() {
    let mut server = Server::new("content-damage").await;
    server
        .run(
            "postgres",
            "CREATE TABLE cut AS SELECT g FROM generate_series(1, 10000) g; CREATE TABLE whole AS SELECT 1 AS a;
                            CREATE DATABASE lost; CHECKPOINT",
        )
        .await;
    let recorded = server.read().await;
    let locks = server.client("postgres").await;
    locks.batch_execute("BEGIN; LOCK TABLE whole").await.unwrap();
    let found = look(&server.cluster, &Reading::default()).await.unwrap();
    let differences = compare(&truth(Scope::Cluster, &[&recorded], &[]), &found);
    assert_eq!(differences.wrong, Vec::<String>::new(), "a lock is no damage");
    assert!(
        differences.unknown[0].starts_with(r#"postgres."public"."whole": cannot be read: "#),
        "{differences:?}"
    );
    locks.batch_execute("ROLLBACK").await.unwrap();

    let sql = "SELECT pg_relation_filepath('cut'), 'base/' || (SELECT oid FROM pg_database WHERE datname = 'lost') || '/PG_VERSION'";
    let row = locks.query_one(sql, &[]).await.unwrap();
    let paths: [String; 2] = [row.get(0), row.get(1)];
    server.cluster.stop(Shutdown::Fast).await.unwrap();
    for path in paths {
        std::fs::remove_file(server.cluster.data_directory().join(path)).unwrap();
    }
    server.cluster.start().await.unwrap();
    let wrong = server.wrong(&recorded).await;
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    assert!(wrong[0].starts_with("lost: cannot be read: "), "{wrong:?}");
    assert!(
        wrong[1].starts_with(r#"postgres."public"."cut": cannot be read: could not open file "#),
        "{wrong:?}"
    );
    assert!(
        read(&server.cluster, &Reading::default()).await.is_err(),
        "a record is whole or none"
    );
}

#[tokio::test]
async fn a_reading_leaves_out_what_it_is_told_to() {
    let server = Server::new("content-reading").await;
    server
        .run(
            "postgres",
            "CREATE TABLE large AS SELECT g FROM generate_series(1, 10000) g; CREATE TABLE small AS SELECT 1 AS a;
                            CREATE TABLE theirs AS SELECT 1 AS a",
        )
        .await;
    let client = server.client("postgres").await;
    client
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        .await
        .unwrap();
    let exported = client.query_one("SELECT pg_export_snapshot()", &[]).await.unwrap();
    server.run("postgres", "DELETE FROM small").await;
    let reading = Reading {
        database: Some("postgres".into()),
        snapshot: Some(exported.get(0)),
        largest_bytes: Some(65536),
        answered_elsewhere: vec![("postgres".into(), r#""public"."theirs""#.into())],
        ..Reading::default()
    };
    let read = read(&server.cluster, &reading).await.unwrap();
    let rows = |name: &str| {
        read.table("postgres", &format!("\"public\".\"{name}\""))
            .unwrap()
            .rows
            .clone()
    };
    assert_eq!((rows("large"), rows("theirs")), (Rows::TooLarge, Rows::Elsewhere));
    assert!(
        matches!(rows("small"), Rows::Sums(sums) if sums.rows == 1),
        "as the snapshot has it"
    );
    assert_eq!(read.databases.len(), 1);
    assert_eq!(read.answered_elsewhere(), reading.answered_elsewhere);
}
