//! The whole suite on a healthy cluster; pages, references and sequences of damaged ones.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt as _,
    path::PathBuf,
};

use reports::{Phase, Verdict};

use super::{World, fails, passes};
use crate::{
    postgres::Shutdown,
    service::transformations,
    verify::{
        content_fingerprint::{self, Against},
        enforcement, page_checksums, plan, referential_integrity, sequences,
    },
};

impl World {
    pub(super) async fn file(&self, relation: &str) -> PathBuf {
        self.sql("CHECKPOINT").await;
        let row = self
            .admin
            .query_one("SELECT pg_relation_filepath(to_regclass($1))", &[&relation])
            .await
            .unwrap();
        self.cluster.data_directory().join(row.get::<_, &str>(0))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_cluster_passes_and_stays_as_it_was() {
    let world = World::new("healthy", &[]).await;
    let truth = world.truth().await;
    let seeded = content_fingerprint::of_seed(
        &world.cluster.config("postgres", fixtures::DATABASE),
        transformations::any(),
    )
    .await
    .unwrap();
    let seed = Against::Serving {
        reference: &seeded,
        theirs: &[],
    };
    let subject = world.subject(Some(&truth));
    let known = crate::verify::Knowledge {
        service: transformations::any(),
        seed: Some(seed),
        is_restored: true,
        production: None,
    };
    for result in Box::pin(crate::verify::run(&crate::verify::plan(&known), &subject, known)).await {
        println!(
            "{:24} {:8.1} ms  {} {}",
            result.check.id(),
            result.duration_ms,
            result.actual,
            result.detail
        );
        passes(&result);
        assert!(!result.expected.is_empty() && !result.actual.is_empty());
    }
    let again = world.truth().await;
    assert!(
        truth.before[0].inventory == again.before[0].inventory,
        "checks leave nothing behind"
    );
    let left = "SELECT count(*) FROM pg_extension WHERE extname = 'amcheck'";
    assert_eq!(world.admin.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 0);
    // Without anything recorded, nothing can be said.
    let (objects, rights) = plan::inventory(&world.subject(None)).await;
    assert_eq!([objects.verdict, rights.verdict], [Verdict::Unknown; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_is_found_on_a_stopped_and_on_a_running_server() {
    let mut world = World::new("checksum", &[]).await;
    let file = world.file(r#""AuditEvents""#).await;
    world.cluster.stop(Shutdown::Fast).await.unwrap();
    let data = world.cluster.data_directory().to_owned();
    let directory = async |world: &World| {
        page_checksums::check_directory(world.cluster.installation(), &data, Phase::Backup, "x").await
    };
    passes(&directory(&world).await);
    let open = OpenOptions::new().read(true).write(true).open(&file).unwrap();
    let mut byte = [0];
    open.read_exact_at(&mut byte, 8192 + 5000).unwrap();
    open.write_all_at(&[byte[0] ^ 1], 8192 + 5000).unwrap();
    let name = file.strip_prefix(&data).unwrap().display().to_string();
    fails(&directory(&world).await, &[&format!("{name} block 1: checksum")]);
    world.restart().await;
    let result = page_checksums::check(&world.subject(None)).await;
    fails(&result, &[&name, "block 1", "AuditEvents"]);

    // A zero page is accepted by checksums; index entries that point into it tell that it had rows.
    open.write_all_at(&[0; 8192], 8192).unwrap();
    let result = page_checksums::check(&world.subject(None)).await;
    fails(
        &result,
        &[&format!("{name} block 1: the page is zero, and"), "points into it"],
    );
    fs::remove_file(world.file(r#""IX_AuditEvents_ScriptId""#).await).unwrap();
    fails(
        &page_checksums::check(&world.subject(None)).await,
        &["the file of \"IX_AuditEvents_ScriptId\" is missing"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_others_speak_of_must_be_there_in_every_database() {
    let mut world = World::new("spoken", &[]).await;
    world.sql("CREATE DATABASE billing").await;
    let billing = world.cluster.connect("postgres", "billing").await.unwrap();
    let rows = "FROM generate_series(1, 3000) i";
    billing
        .batch_execute(&format!(
            "CREATE TABLE keyed (i int PRIMARY KEY, t text); INSERT INTO keyed SELECT i, 'x' {rows};
             CREATE TABLE short (i int PRIMARY KEY, t text); INSERT INTO short SELECT i, 'x' {rows};
             CREATE TABLE bare (i int); INSERT INTO bare SELECT i {rows}; CREATE TABLE gone (i int);
             CREATE TABLE marked (i int); INSERT INTO marked SELECT i {rows}"
        ))
        .await
        .unwrap();
    billing.batch_execute("VACUUM marked").await.unwrap();
    billing
        .batch_execute("UPDATE marked SET i = i; CHECKPOINT")
        .await
        .unwrap();
    let mut restored = world.subject(None);
    restored.phase = Phase::Restored;
    passes(&page_checksums::check(&restored).await);
    let mut files = Vec::new();
    for table in ["keyed", "short", "bare", "gone", "marked"] {
        let path = "SELECT pg_relation_filepath(to_regclass($1))";
        let row = billing.query_one(path, &[&table]).await.unwrap();
        files.push(world.cluster.data_directory().join(row.get::<_, &str>(0)));
    }
    world.cluster.stop(Shutdown::Fast).await.unwrap();
    let write = |file: &PathBuf| OpenOptions::new().write(true).open(file).unwrap();
    // A crash leaves zero pages in a table, rightly: nobody knows them.
    write(&files[2]).write_all_at(&[0; 8192], 3 * 8192).unwrap();
    world.restart().await;
    let mut restored = world.subject(None);
    restored.phase = Phase::Restored;
    let result = page_checksums::check(&restored).await;
    passes(&result);
    assert!(result.detail.contains("block 3: zeroed"), "{result:#?}");
    world.cluster.stop(Shutdown::Fast).await.unwrap();
    write(&files[0]).write_all_at(&[0; 8192], 2 * 8192).unwrap();
    write(&files[1]).set_len(4 * 8192).unwrap();
    fs::remove_file(&files[3]).unwrap();
    let map = PathBuf::from(format!("{}_vm", files[4].display()));
    let mut page = fs::read(&map).unwrap();
    page[24] = 0x01;
    let sum = page_checksums::checksum(&page[..8192], 0).to_ne_bytes();
    page[8..10].copy_from_slice(&sum);
    fs::write(&map, &page).unwrap();
    world.restart().await;
    let mut restored = world.subject(None);
    restored.phase = Phase::Restored;
    let result = page_checksums::check(&restored).await;
    fails(
        &result,
        &[
            "block 2: the page is zero, and keyed_pkey of database billing points into it",
            "the page is not there, and short_pkey of database billing points into it",
            "the file of gone of database billing is missing",
            "the visibility map of marked of database billing says more than its page",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_under_a_valid_key_are_named_in_every_database() {
    let world = World::new("references", &[]).await;
    passes(&referential_integrity::check(&world.subject(None)).await);
    world
        .sql(
            r#"SET session_replication_role = replica; DELETE FROM "TransformationScripts" WHERE "Id" = 7; RESET session_replication_role;
               CREATE TABLE parent (a int, b int, UNIQUE (a, b)); CREATE TABLE child (a int, b int, FOREIGN KEY (a, b) REFERENCES parent (a, b));
               INSERT INTO child VALUES (NULL, 5), (NULL, NULL);
               ALTER TABLE child DISABLE TRIGGER ALL; INSERT INTO child VALUES (3, 4)"#,
        )
        .await;
    let result = referential_integrity::check(&world.subject(None)).await;
    fails(
        &result,
        &[
            "orphans by \"FK_TransformationScriptVersions_TransformationScripts_ScriptId\"",
            "1 orphan by child_a_b_fkey on child, at child (0,3)",
        ],
    );
    world
        .sql(
            r#"DROP TABLE child; DELETE FROM "TransformationScriptVersions" WHERE "ScriptId" = 7; DELETE FROM "ScriptAttachments" WHERE "ScriptId" = 7;
               ALTER TABLE "ScriptAttachments" DROP CONSTRAINT "FK_ScriptAttachments_TransformationScripts_ScriptId",
                 ADD CONSTRAINT again FOREIGN KEY ("ScriptId") REFERENCES "TransformationScripts" ("Id") NOT VALID;
               ALTER TABLE "TransformationScripts" DISABLE TRIGGER "TR_TransformationScripts_TouchUpdatedAt""#,
        )
        .await;
    passes(&referential_integrity::check(&world.subject(None)).await);
    world
        .sql(
            "CREATE TABLE loose (a int, b int); INSERT INTO loose VALUES (8, 8);
               ALTER TABLE loose ADD FOREIGN KEY (a, b) REFERENCES parent (a, b) NOT VALID",
        )
        .await;
    world.sql("CREATE DATABASE billing").await;
    passes(&referential_integrity::check(&world.subject(None)).await);
    let billing = world.cluster.connect("postgres", "billing").await.unwrap();
    billing
        .batch_execute("CREATE TABLE a (i int PRIMARY KEY); CREATE TABLE b (i int REFERENCES a); SET session_replication_role = replica; INSERT INTO b VALUES (1)")
        .await
        .unwrap();
    fails(
        &referential_integrity::check(&world.subject(None)).await,
        &["in database billing: 1 orphan by b_i_fkey on b, at b (0,1)"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_that_is_behind_is_named() {
    let world = World::new("sequences", &[]).await;
    let plan = super::plan();
    let largest = i64::try_from(plan.scripts).unwrap();
    passes(&sequences::check(&world.subject(None), Some(largest)).await);
    let result = sequences::check(&world.subject(None), Some(largest + 1)).await;
    fails(&result, &["TransformationScripts_Id_seq", "was acknowledged"]);
    world
        .cure(sequences::cures(&world.subject(None), Some(largest + 1)).await.unwrap())
        .await;
    passes(&sequences::check(&world.subject(None), Some(largest + 1)).await);
    world
        .sql(r#"SELECT setval(pg_get_serial_sequence('"AuditEvents"', 'Id'), max("Id") - 1) FROM "AuditEvents""#)
        .await;
    fails(
        &sequences::check(&world.subject(None), None).await,
        &["AuditEvents_Id_seq", "is in use"],
    );
    world
        .sql(
            r#"SELECT setval(pg_get_serial_sequence('"AuditEvents"', 'Id'), max("Id")) FROM "AuditEvents";
               CREATE SEQUENCE shared; CREATE TABLE fed (n bigint DEFAULT nextval('shared'), t text DEFAULT 'no. ' || nextval('shared')); INSERT INTO fed VALUES (5, '')"#,
        )
        .await;
    fails(
        &sequences::check(&world.subject(None), None).await,
        &["shared gives 1 next, but 5 is in use in fed.n"],
    );
}

/// The catalogue says that they are there, and a flag of the table that there is nothing to act by.
#[tokio::test(flavor = "multi_thread")]
async fn rules_that_are_not_in_force_are_tried_out() {
    let world = World::new("enforcement", &[]).await;
    passes(&enforcement::check(&world.subject(None)).await.unwrap());
    world
        .sql("UPDATE pg_class SET relchecks = 0 WHERE relname = 'TransformationScripts'")
        .await;
    fails(
        &enforcement::check(&world.subject(None)).await.unwrap(),
        &["is not in force: what it forbids was taken"],
    );
}

/// What recovery leaves of an unlogged sequence on some versions, and damage leaves of another: a page of zeros.
#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_without_its_row_is_named() {
    let mut world = World::new("rowless", &[]).await;
    world
        .sql("CREATE UNLOGGED SEQUENCE passing; CREATE SEQUENCE lasting")
        .await;
    let files = [world.file("passing").await, world.file("lasting").await];
    for (file, verdict) in files.iter().zip([Verdict::Pass, Verdict::Fail]) {
        world.cluster.stop(Shutdown::Fast).await.unwrap();
        fs::write(file, [0; 8192]).unwrap();
        world.restart().await;
        let result = sequences::check(&world.subject(None), None).await;
        assert_eq!(result.verdict, verdict, "{result:#?}");
        assert!(result.detail.contains("passing"), "{result:#?}");
        assert_eq!(
            result.detail.contains("lasting cannot be read: its row is not there"),
            verdict == Verdict::Fail
        );
    }
}
