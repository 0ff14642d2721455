//! Indexes of every kind, whole and damaged.

use std::{fs, path::PathBuf};

use reports::Verdict;

use super::{World, fails, passes};
use crate::{
    postgres::Shutdown,
    verify::{index_integrity, page_checksums},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_lacks_rows_is_found_whatever_its_kind() {
    const INDEXES: [&str; 5] = [
        r#""PK_TransformationScripts""#,
        r#""IX_TransformationScripts_Active""#,
        r#""IX_TransformationScripts_Description""#,
        r#""IX_TransformationScriptVersions_ContentSha256""#,
        r#""IX_TransformationScriptVersions_CreatedAt""#,
    ];
    let mut world = World::new("index", &[]).await;
    // Fast updates of GIN sit in a pending list; the copies should hold them in the tree.
    world.sql("VACUUM").await;
    world
        .sql("SELECT brin_summarize_new_values('\"IX_TransformationScriptVersions_CreatedAt\"')")
        .await;
    let mut files = Vec::new();
    for index in INDEXES {
        files.push(world.file(index).await);
    }
    let copies: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    world
        .sql(
            r#"INSERT INTO "TransformationScripts" ("Name", "Description", "CurrentVersion", "CreatedAt", "UpdatedAt")
                 SELECT 'late ' || n, 'lateword', 1, now(), now() FROM generate_series(1, 50) n;
               INSERT INTO "TransformationScriptVersions" ("ScriptId", "VersionNumber", "Content", "ContentSha256", "CreatedBy", "CreatedAt")
                 SELECT "Id", 1, 'x', sha256(convert_to("Name", 'UTF8')), 'x', now() FROM "TransformationScripts" WHERE "Name" LIKE 'late %'"#,
        )
        .await;
    world.sql("VACUUM").await;
    passes(&index_integrity::check(&world.subject(None)).await);
    world.sql("CHECKPOINT").await;
    world.cluster.stop(Shutdown::Fast).await.unwrap();
    for (file, copy) in files.iter().zip(&copies) {
        fs::write(file, copy).unwrap();
    }
    world.restart().await;
    let result = index_integrity::check(&world.subject(None)).await;
    assert_eq!(result.verdict, Verdict::Fail, "{result:#?}");
    let named = index_integrity::problems(&world.subject(None)).await.unwrap();
    for index in INDEXES {
        assert!(
            named.iter().any(|problem| problem.starts_with(index)),
            "{index}: {named:#?}"
        );
    }
    let cures = index_integrity::cures(&world.subject(None)).await.unwrap();
    world.cure(cures.unwrap()).await;
    passes(&index_integrity::check(&world.subject(None)).await);
    world
        .sql(r#"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '"IX_AuditEvents_ScriptId"'::regclass"#)
        .await;
    let result = index_integrity::check(&world.subject(None)).await;
    passes(&result);
    assert!(
        result
            .detail
            .contains("\"IX_AuditEvents_ScriptId\" is invalid and was not compared"),
        "{result:#?}"
    );
}

/// Whatever PostgreSQL can index, one of each.
const EXOTIC: &str = r#"
CREATE TABLE geo AS SELECT point(i, i) p, box(point(i, i), point(i + 1, i + 1)) b, circle(point(i, i), 2) c,
       polygon(box(point(i, i), point(i + 1, i + 2))) g, int4range(i, i + 5) r, i::text t, inet '10.0.0.1' + i n FROM generate_series(1, 500) i;
CREATE INDEX ON geo USING gist (p); CREATE INDEX ON geo USING gist (b); CREATE INDEX ON geo USING gist (c); CREATE INDEX ON geo USING gist (g);
CREATE INDEX ON geo USING gist (r); CREATE INDEX ON geo USING gist (n inet_ops); CREATE INDEX ON geo USING spgist (p); CREATE INDEX ON geo USING spgist (p kd_point_ops);
CREATE INDEX ON geo USING spgist (b); CREATE INDEX ON geo USING spgist (g); CREATE INDEX ON geo USING spgist (r); CREATE INDEX ON geo USING spgist (t);
CREATE INDEX ON geo USING spgist (n); CREATE INDEX ON geo USING brin (n inet_inclusion_ops, b, r);
CREATE INDEX ON geo USING brin (n inet_minmax_multi_ops); CREATE INDEX ON geo USING gist ((circle(b)), r) INCLUDE (n);
CREATE TABLE kinds (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a text, u uuid DEFAULT gen_random_uuid(), j jsonb, l int[], w tsvector, q tsquery,
  m int4multirange, y bytea, f float8, k int, x xid, h char(5), v varchar(10), s name, o bool, e interval, z timestamptz, UNIQUE NULLS NOT DISTINCT (a, id));
INSERT INTO kinds (a, j, l, w, q, m, y, f, k, x, h, v, s, o, e, z)
  SELECT CASE WHEN i % 7 <> 0 THEN 'T' || i END, jsonb_build_object('k', i, 'l', ARRAY[i, i % 5]), ARRAY[i, i % 10], to_tsvector('simple', 'word' || i || ' y' || i % 4),
         ('w' || i)::tsquery, int4multirange(int4range(i, i + 2), int4range(i + 9, i + 11)), decode(lpad(to_hex(i), 8, '0'), 'hex'), i * 1.5, nullif(i % 11, 0),
         i::text::xid, 'c' || i, 'v' || i, 'n' || i, i % 2 = 0, i * interval '1 min', now() + i * interval '1 s' FROM generate_series(1, 1500) i;
CREATE INDEX ON kinds (lower(a)); CREATE INDEX ON kinds (a DESC NULLS LAST, id) INCLUDE (k) WHERE k > 3; CREATE INDEX ON kinds (a text_pattern_ops);
CREATE INDEX ON kinds USING hash (x); CREATE INDEX ON kinds USING gin (j); CREATE INDEX ON kinds USING gin (j jsonb_path_ops); CREATE INDEX ON kinds USING gin (l, w);
CREATE INDEX ON kinds USING gist (w); CREATE INDEX ON kinds USING gist (q); CREATE INDEX ON kinds USING gist (m); CREATE INDEX ON kinds USING brin (y, u, f, k);
CREATE INDEX ON kinds USING brin (u uuid_bloom_ops, f float8_minmax_multi_ops); CREATE INDEX ON kinds (v varchar_pattern_ops, h, s DESC, o NULLS FIRST);
CREATE INDEX ON kinds (a COLLATE "C" DESC); CREATE INDEX ON kinds (e, z, j, l, w, q); CREATE INDEX ON kinds (a); CREATE INDEX ON kinds (a, k);
CREATE TABLE parts (k int PRIMARY KEY, v text) PARTITION BY RANGE (k); CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (1000);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (1000) TO (3000); INSERT INTO parts SELECT i, 'p' || i FROM generate_series(1, 2500) i; CREATE INDEX ON parts (v);
CREATE TABLE apart (r int4range, EXCLUDE USING gist (r WITH &&)); INSERT INTO apart SELECT int4range(i * 10, i * 10 + 9) FROM generate_series(1, 200) i;
CREATE TABLE nothing (k int PRIMARY KEY, p point); CREATE INDEX ON nothing USING gist (p); CREATE INDEX ON nothing USING brin (k); CREATE INDEX ON nothing USING gin ((ARRAY[k]));
CREATE MATERIALIZED VIEW seen AS SELECT id, a FROM kinds; CREATE UNIQUE INDEX ON seen (id); CREATE MATERIALIZED VIEW unseen AS SELECT id FROM kinds WITH NO DATA; CREATE INDEX ON unseen (id);
CREATE UNLOGGED TABLE passing (k int PRIMARY KEY); INSERT INTO passing VALUES (1)"#;

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_index_is_compared_or_named() {
    let world = World::new("exotic", &[]).await;
    for statement in EXOTIC.split(';') {
        world.sql(statement).await;
    }
    world.sql("CREATE DATABASE billing").await;
    let result = index_integrity::check(&world.subject(None)).await;
    passes(&result);
    let (_, not_planned) = result.detail.split_once("not planned: ").unwrap_or_default();
    let not_planned: Vec<_> = not_planned
        .split("; ")
        .filter(|one| !one.is_empty() && !one.contains("amcheck") && !one.contains("holds nothing of its own"))
        .collect();
    assert_eq!(not_planned, Vec::<&str>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_a_scan_of_the_index_alone_or_of_a_catalogue_sees_is_named() {
    let mut world = World::new("alone", &[]).await;
    world
        .sql("CREATE TABLE twice (k int, n int); CREATE UNIQUE INDEX once ON twice (k)")
        .await;
    world.sql(r#"VACUUM "AuditEvents""#).await;
    let map = world.file(r#""AuditEvents""#).await;
    let catalogue = world.file("pg_class_relname_nsp_index").await;
    let copy = fs::read(&catalogue).unwrap();
    world
        .sql(r#"DELETE FROM "AuditEvents" WHERE "Id" % 2 = 0; CREATE TABLE new_in_the_catalogue (); CHECKPOINT"#)
        .await;
    // Two rows under one key of a unique index.
    world
        .sql("UPDATE pg_index SET indisready = false WHERE indexrelid = 'once'::regclass")
        .await;
    world.sql("INSERT INTO twice VALUES (1), (1), (NULL), (NULL)").await;
    world
        .sql("UPDATE pg_index SET indisready = true WHERE indexrelid = 'once'::regclass; UPDATE pg_index SET indisunique = false WHERE indexrelid = 'once'::regclass")
        .await;
    world.sql("REINDEX INDEX once").await;
    world
        .sql("UPDATE pg_index SET indisunique = true WHERE indexrelid = 'once'::regclass; CHECKPOINT")
        .await;
    world.cluster.stop(Shutdown::Fast).await.unwrap();
    fs::write(&catalogue, &copy).unwrap();
    let map = PathBuf::from(format!("{}_vm", map.display()));
    let mut page = fs::read(&map).unwrap();
    page[24..8192].fill(0x55);
    let sum = page_checksums::checksum(&page[..8192], 0).to_ne_bytes();
    page[8..10].copy_from_slice(&sum);
    fs::write(&map, &page).unwrap();
    world.restart().await;
    let result = index_integrity::check(&world.subject(None)).await;
    fails(&result, &["the visibility map of \"AuditEvents\" is wrong"]);
    let named = index_integrity::problems(&world.subject(None)).await.unwrap();
    for part in [
        "pg_class_relname_nsp_index: ",
        "once: it is unique, and its table has keys more than once: 1",
    ] {
        assert!(named.iter().any(|problem| problem.contains(part)), "{part}: {named:#?}");
    }
    assert!(
        index_integrity::cures(&world.subject(None)).await.unwrap().is_none(),
        "no statement says which of two rows is right"
    );
}
