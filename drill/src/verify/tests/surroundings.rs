//! Privileges, collations, isolation, inventory.

use std::fs;

use reports::{CheckId, Phase, Verdict};

use super::{World, fails, passes};
use crate::{
    postgres::TimelineId,
    verify::{
        catalog_inventory, collations,
        isolation::{self, Production},
        privileges,
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn lost_and_added_rights_are_named() {
    let world = World::new("privileges", &[]).await;
    let inventory = catalog_inventory::read(&world.cluster).await.unwrap();
    passes(&privileges::check(&world.subject(Some(&inventory))).await);
    world
        .sql(
            r#"REVOKE DELETE ON "ScriptAttachments" FROM transformation_app; GRANT UPDATE ON "AuditEvents" TO drill_validator;
               ALTER ROLE recovery_operator NOREPLICATION; ALTER ROLE transformation_app PASSWORD 'another'"#,
        )
        .await;
    let result = privileges::check(&world.subject(Some(&inventory))).await;
    fails(&result, &["transformation_app cannot log in"]);
    let lines = catalog_inventory::read(&world.cluster).await.unwrap();
    let result = privileges::check(&world.subject(Some(&lines))).await;
    fails(
        &result,
        &[
            "transformation_app cannot log in",
            "drill_validator may: UPDATE \"AuditEvents\"",
        ],
    );
    fixtures::schema::set_passwords(&world.admin, &world.credentials)
        .await
        .unwrap();
    let result = privileges::check(&world.subject(Some(&inventory))).await;
    fails(
        &result,
        &[
            "missing: grant on relation \"ScriptAttachments\" to transformation_app: DELETE",
            "not recorded: grant on relation \"AuditEvents\" to drill_validator: UPDATE",
            "role recovery_operator",
        ],
    );
    let catalog = catalog_inventory::check(&world.cluster, Some(&inventory), Phase::Restored, "x").await;
    passes(&catalog);
    let cures = privileges::cures(&world.admin, Some(&inventory)).await.unwrap();
    world.cure(cures.unwrap()).await;
    passes(&privileges::check(&world.subject(Some(&inventory))).await);
    world
        .sql("DROP OWNED BY recovery_operator; DROP ROLE recovery_operator")
        .await;
    let cures = privileges::cures(&world.admin, Some(&inventory)).await.unwrap();
    assert_eq!(cures, None, "a role that is gone is not made up");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_switched_off_is_switched_on_again() {
    let world = World::new("switches", &[]).await;
    let inventory = catalog_inventory::read(&world.cluster).await.unwrap();
    world
        .sql(
            r#"ALTER TABLE "TransformationScripts" DISABLE TRIGGER USER; ALTER TABLE "ScriptAttachments" DISABLE TRIGGER ALL;
               ALTER TABLE "ScriptAttachments" DROP CONSTRAINT "CK_ScriptAttachments_SizeBytes",
                 ADD CONSTRAINT "CK_ScriptAttachments_SizeBytes" CHECK ("SizeBytes" >= 0) NOT VALID;
               UPDATE pg_index SET indisvalid = false WHERE indexrelid = '"IX_AuditEvents_ScriptId"'::regclass"#,
        )
        .await;
    let cures = catalog_inventory::cures(&world.admin, &inventory).await.unwrap();
    world.cure(cures.unwrap()).await;
    passes(&catalog_inventory::check(&world.cluster, Some(&inventory), Phase::Restored, "x").await);
    world.sql(r#"DROP VIEW "ActiveScripts""#).await;
    let cures = catalog_inventory::cures(&world.admin, &inventory).await.unwrap();
    assert_eq!(cures, None, "a view that is gone is not made up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collation_of_another_version_is_named() {
    let world = World::new("collations", &[]).await;
    passes(&collations::check(&world.subject(None)).await);
    world
        .sql("UPDATE pg_database SET datcollversion = '0' WHERE datname = current_database()")
        .await;
    let result = collations::check(&world.subject(None)).await;
    fails(&result, &["database transformations: recorded 0", "REINDEX"]);
    assert_eq!(result.check, CheckId::Collations);
    world
        .sql(
            r#"UPDATE pg_database SET datcollversion = NULL; CREATE COLLATION mine (locale = 'C.UTF-8');
               CREATE INDEX by_mine ON "AuditEvents" ("Actor" COLLATE mine); UPDATE pg_collation SET collversion = '0' WHERE collname = 'mine'"#,
        )
        .await;
    fails(
        &collations::check(&world.subject(None)).await,
        &["collation mine: recorded 0", "REINDEX by_mine"],
    );
    assert_eq!(
        collations::cures(&world.admin).await.unwrap(),
        ["REINDEX INDEX by_mine", "ALTER COLLATION mine REFRESH VERSION"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_would_archive_into_production_is_named() {
    let settings = [
        ("archive_mode", "on"),
        ("archive_command", "cp %p /production/archive/%f"),
        ("wal_level", "logical"),
    ];
    let world = World::new("isolation", &settings).await;
    let production = Production::record("/production/archive".as_ref(), TimelineId(1)).unwrap();
    fails(
        &isolation::check(&world.subject(None), Some(&production)).await,
        &["writes into production's archive: cp %p"],
    );
    let elsewhere = Production::record("/elsewhere".as_ref(), TimelineId(1)).unwrap();
    fails(
        &isolation::check(&world.subject(None), Some(&elsewhere)).await,
        &["it cannot be told where archive_command archives to"],
    );
    world.sql("ALTER SYSTEM SET archive_command = ''").await;
    world.sql("SELECT pg_reload_conf()").await;
    while isolation::check(&world.subject(None), None).await.verdict == Verdict::Fail {
        tokio::task::yield_now().await; // a session takes the new setting over in its own time
    }
    world
        .sql("CREATE SUBSCRIPTION follows CONNECTION 'host=/nowhere' PUBLICATION p WITH (connect = false)")
        .await;
    passes(&isolation::check(&world.subject(None), None).await);
    world.sql("UPDATE pg_subscription SET subenabled = true").await;
    fails(
        &isolation::check(&world.subject(None), None).await,
        &["subscription follows"],
    );
    world.sql("UPDATE pg_subscription SET subenabled = false").await;
}

#[tokio::test]
async fn what_a_restored_cluster_archived_is_named_and_what_the_failed_primary_did_is_not() {
    let archive = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(archive.path().join(name), text).unwrap();
    put("000000010000000000000001", "");
    put("00000001000000000000000A.00000028.backup", "");
    put("README", "");
    fs::create_dir(archive.path().join("00000002.history")).unwrap();
    let production = Production::record(archive.path(), TimelineId(1)).unwrap();
    for name in [
        "000000010000000000000002",
        ".000000010000000000000003.tmp",
        "00000001000000000000000B.00000028.backup",
    ] {
        put(name, "the last that the primary archived");
    }
    passes(&production.look_again(Phase::AfterCutover, "restored-1").await);
    put("00000003.history", "");
    put("000000030000000000000003", "");
    put("README", "changed");
    let named = [
        "00000003.history is new",
        "000000030000000000000003 is new",
        "README is changed",
    ];
    fails(&production.look_again(Phase::AfterCutover, "restored-1").await, &named);
    let gone = Production::record(&archive.path().join("nowhere"), TimelineId(1)).unwrap();
    passes(&gone.look_again(Phase::AfterCutover, "restored-1").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_object_that_changes_is_named() {
    let world = World::new("inventory", &[]).await;
    let inventory = catalog_inventory::read(&world.cluster).await.unwrap();
    let changes = [
        (
            r#"DROP TABLE "ScriptAttachments" CASCADE"#,
            "missing: table public.\"ScriptAttachments\" column",
        ),
        (
            r#"ALTER TABLE "TransformationScripts" DISABLE TRIGGER "TR_TransformationScripts_TouchUpdatedAt""#,
            "changed: trigger TR_TransformationScripts_TouchUpdatedAt",
        ),
        (
            r#"ALTER TABLE "TransformationScripts" DROP CONSTRAINT "CK_TransformationScripts_CurrentVersion",
               ADD CONSTRAINT "CK_TransformationScripts_CurrentVersion" CHECK ("CurrentVersion" >= 1) NOT VALID"#,
            "now CHECK (\"CurrentVersion\" >= 1) NOT VALID",
        ),
        (r#"DROP VIEW "ActiveScripts""#, "missing: view \"ActiveScripts\""),
        (
            r#"DROP FUNCTION "ContentMatchesHash""#,
            "missing: function \"ContentMatchesHash\"",
        ),
        (
            r#"DROP INDEX "IX_AuditEvents_OccurredAt""#,
            "missing: index IX_AuditEvents_OccurredAt",
        ),
        (
            r#"COMMENT ON FUNCTION "TouchUpdatedAt"() IS NULL"#,
            "missing: comment on function \"TouchUpdatedAt\"()",
        ),
        (
            "COMMENT ON DATABASE transformations IS NULL",
            "missing: comment on database transformations",
        ),
        (
            r#"ALTER TABLE "TransformationScripts" ALTER "IsDeleted" DROP DEFAULT"#,
            "IsDeleted",
        ),
        (
            "ALTER ROLE transformation_app RESET statement_timeout",
            "missing: setting of transformation_app",
        ),
        (
            r#"ALTER TABLE "AuditEvents" SET UNLOGGED"#,
            "changed: storage of \"AuditEvents\"",
        ),
        ("SELECT lo_create(4711)", "large object 4711 belongs to no attachment"),
        (
            r#"SELECT lo_unlink("LargeObject") FROM "ScriptAttachments" WHERE "Id" = 3"#,
            "attachment 3 refers to large object",
        ),
        ("CREATE TABLE extra ()", "not recorded: storage of extra"),
    ];
    for (change, named) in changes {
        world.sql(&format!("BEGIN; {change}")).await;
        let lines = catalog_inventory::compare(&world.admin, &inventory).await.unwrap();
        world.sql("ROLLBACK").await;
        assert!(lines.iter().any(|line| line.contains(named)), "{change}: {lines:#?}");
    }
    passes(&catalog_inventory::check(&world.cluster, Some(&inventory), Phase::Restored, "x").await);
}
