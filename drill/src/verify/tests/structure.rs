//! The whole suite on a healthy cluster; pages, indexes, references and sequences of damaged ones.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt as _,
    path::PathBuf,
};

use reports::{Phase, Verdict};

use super::{World, fails, passes};
use crate::{
    postgres::Shutdown,
    verify::{index_integrity, page_checksums, referential_integrity, sequences, suite},
};

impl World {
    async fn file(&self, relation: &str) -> PathBuf {
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
    for result in suite::restored(&world.subject(Some(&truth)), suite::Known::default()).await {
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
    let (objects, rights) = suite::inventory(&world.subject(None)).await;
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

    // A zero page is accepted by checksums, and mentioned.
    open.write_all_at(&[0; 8192], 8192).unwrap();
    let result = page_checksums::check(&world.subject(None)).await;
    passes(&result);
    assert!(
        result.detail.contains("block 1: zeroed (\"AuditEvents\")"),
        "{result:#?}"
    );
    fs::remove_file(world.file(r#""IX_AuditEvents_ScriptId""#).await).unwrap();
    fails(
        &page_checksums::check(&world.subject(None)).await,
        &["the file of \"IX_AuditEvents_ScriptId\" is missing"],
    );
}

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
    fails(
        &index_integrity::check(&world.subject(None)).await,
        &["\"IX_AuditEvents_ScriptId\" is invalid"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_and_constraints_out_of_force_are_named() {
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
            ": 7",
            "1 orphans by child_a_b_fkey on child: 3, 4",
            "a trigger of child_a_b_fkey on child is disabled",
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
    let result = referential_integrity::check(&world.subject(None)).await;
    fails(
        &result,
        &[
            "again on \"ScriptAttachments\" is NOT VALID",
            "TR_TransformationScripts_TouchUpdatedAt on \"TransformationScripts\" is disabled",
        ],
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
        .cure(sequences::cures(&world.admin, Some(largest + 1)).await.unwrap())
        .await;
    passes(&sequences::check(&world.subject(None), Some(largest + 1)).await);
    world
        .sql(r#"SELECT setval(pg_get_serial_sequence('"AuditEvents"', 'Id'), max("Id") - 1) FROM "AuditEvents""#)
        .await;
    fails(
        &sequences::check(&world.subject(None), None).await,
        &["AuditEvents_Id_seq", "is in use"],
    );
}
