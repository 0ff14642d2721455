//! One damage after the other: each is seen, named, and gone when it is repaired.

use super::*;

#[tokio::test]
async fn whatever_happens_to_a_row_is_seen_and_the_row_is_named() {
    let seeded = Seeded::new("fingerprint").await;
    let unchanged = seeded.fingerprint(&History::default()).await;
    assert_eq!(unchanged.verdict, Verdict::Pass, "{unchanged:?}");
    let as_text = "Hashed in their text form: Odd.A json, Odd.a, Odd.c, Odd.d, Odd.f, Odd.m, Odd.p, Odd.r, Odd.x";
    assert!(unchanged.detail.ends_with(as_text), "{}", unchanged.detail);

    // One byte, and the hash made right by the same statement: content-hash cannot see it.
    let flip = r#"UPDATE "TransformationScriptVersions" SET "Content" = overlay("Content" PLACING 'Q' FROM 5),
        "ContentSha256" = sha256(convert_to(overlay("Content" PLACING 'Q' FROM 5), 'UTF8')) WHERE "Id" = 900"#;
    seeded
        .run(r#"CREATE TEMP TABLE kept AS TABLE "TransformationScriptVersions""#)
        .await;
    let back = r#"UPDATE "TransformationScriptVersions" v SET "Content" = k."Content", "ContentSha256" = k."ContentSha256"
        FROM kept k WHERE k."Id" = v."Id" AND v."ContentSha256" <> k."ContentSha256""#;
    seeded
        .caught(flip, back, &["TransformationScriptVersions 900 is not what it was."])
        .await;

    let both =
        ["TransformationScriptVersions 7 is not what it was; TransformationScriptVersions 1207 is not what it was."];
    seeded.caught(SWAP, SWAP, &both).await;

    let delete = r#"DELETE FROM "TransformationScriptVersions" WHERE "Id" = 500"#;
    let insert = r#"INSERT INTO "TransformationScriptVersions" TABLE kept EXCEPT TABLE "TransformationScriptVersions""#;
    seeded
        .caught(delete, insert, &["TransformationScriptVersions 500 is missing."])
        .await;

    seeded.run(delete).await;
    let mut phantom = Seeded {
        reference: Reference::default(),
        ..seeded
    };
    phantom.reference = content_fingerprint::of_seed(
        &phantom.cluster.config("postgres", fixtures::DATABASE),
        transformations::any(),
    )
    .await
    .unwrap();
    phantom
        .caught(insert, delete, &["TransformationScriptVersions 500 was not there."])
        .await;
    let seeded = phantom;

    let replace = format!(r#"{delete}; UPDATE "TransformationScriptVersions" SET "Id" = 500 WHERE "Id" = 501"#);
    let back = r#"UPDATE "TransformationScriptVersions" SET "Id" = 501 WHERE "Id" = 500"#;
    seeded
        .caught(
            &replace,
            back,
            &["TransformationScriptVersions 501 is missing", "500 was not there"],
        )
        .await;

    let json = r#"UPDATE "Odd" SET "A json" = '{"a":1}' WHERE id = 2"#;
    seeded
        .caught(
            json,
            r#"UPDATE "Odd" SET "A json" = '{"a": 1}' WHERE id = 2"#,
            &["Odd 2 is not what it was"],
        )
        .await;
    let domain = r#"UPDATE "Odd" SET d = NULL WHERE id = 3"#;
    seeded
        .caught(
            domain,
            r#"UPDATE "Odd" SET d = '[2]' WHERE id = 3"#,
            &["Odd 3 is not what it was"],
        )
        .await;

    let migration = r#"UPDATE "__EFMigrationsHistory" SET "ProductVersion" = '9' || "ProductVersion""#;
    let back = r#"UPDATE "__EFMigrationsHistory" SET "ProductVersion" = substr("ProductVersion", 2)"#;
    seeded
        .caught(
            migration,
            back,
            &["__EFMigrationsHistory differs; it has no integer key"],
        )
        .await;

    let put =
        |byte: &str| format!(r#"SELECT lo_put("LargeObject", 3, '{byte}') FROM "ScriptAttachments" WHERE "Id" = 4"#);
    let read = r#"SELECT lo_get("LargeObject", 3, 1)::text, "LargeObject" FROM "ScriptAttachments" WHERE "Id" = 4"#;
    let row = seeded.admin.query_one(read, &[]).await.unwrap();
    let named = format!("large objects {} is not what it was", row.get::<_, u32>(1));
    seeded.caught(&put(r"\x99"), &put(row.get(0)), &[&named]).await;

    seeded.run(r#"ALTER TABLE "AuditEvents" RENAME TO gone"#).await;
    let gone = seeded.fingerprint(&History::default()).await;
    assert_eq!(
        (gone.verdict, gone.actual.as_str()),
        (Verdict::Fail, "differs: AuditEvents"),
        "{gone:?}"
    );
    assert!(
        gone.detail
            .contains("AuditEvents is not there with the columns that were seeded"),
        "{gone:?}"
    );
    seeded
        .run(r#"ALTER TABLE gone RENAME TO "AuditEvents"; REVOKE SELECT ON "AuditEvents" FROM drill_validator"#)
        .await;
    // It reads as the reference was read, whatever other roles may.
    let forbidden = seeded.fingerprint(&History::default()).await;
    assert_eq!(forbidden.verdict, Verdict::Pass, "{forbidden:?}");
}
