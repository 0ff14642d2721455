//! The fixture's service: transformation scripts, their version history, attachments and an audit trail.

use fixtures::enforcement::{REFUSED, TAKEN};

use super::{Rules, Service, StoredHashes};
use crate::reference::{ReferringTable, fingerprint::sections::Changing};

/// The service.
#[derive(Debug, Clone, Copy, Default)]
pub struct Transformations;

const TABLES: [&str; 5] = [
    "TransformationScripts",
    "TransformationScriptVersions",
    "ScriptAttachments",
    "AuditEvents",
    "__EFMigrationsHistory",
];

const HASHES: StoredHashes = StoredHashes {
    table: "TransformationScriptVersions",
    // `convert_to` and not `"Content"::bytea`, which would read a backslash as an escape.
    counts: r#"SELECT count(*), count(*) FILTER (WHERE sha256(convert_to("Content", 'UTF8')) IS DISTINCT FROM "ContentSha256")
    FROM public."TransformationScriptVersions""#,
    mismatches: r#"SELECT format('script %s version %s', "ScriptId", "VersionNumber"), left("Content", 400)
     FROM public."TransformationScriptVersions"
    WHERE sha256(convert_to("Content", 'UTF8')) IS DISTINCT FROM "ContentSha256" ORDER BY "ScriptId", "VersionNumber" LIMIT 5"#,
};

impl Service for Transformations {
    fn database(&self) -> &str {
        fixtures::DATABASE
    }

    fn probe(&self) -> Option<&str> {
        Some(
            r#"SELECT s."Id", v."Id" FROM "TransformationScripts" s
    JOIN "TransformationScriptVersions" v ON v."ScriptId" = s."Id" AND v."VersionNumber" = s."CurrentVersion" LIMIT 1"#,
        )
    }

    fn tables(&self) -> &[&str] {
        &TABLES
    }

    fn answered_tables(&self) -> &[&str] {
        &fixtures::LIVE_TABLES
    }

    fn changing(&self) -> Changing<'static> {
        &[(
            "TransformationScripts",
            &["CurrentVersion", "IsDeleted", "DeletedAt", "UpdatedAt"],
        )]
    }

    fn stored_hashes(&self) -> Option<&StoredHashes> {
        Some(&HASHES)
    }

    fn rules(&self) -> Option<&Rules> {
        Some(&Rules {
            taken: TAKEN,
            refused: REFUSED,
        })
    }

    fn large_objects(&self) -> Option<&ReferringTable> {
        Some(&ReferringTable {
            table: "ScriptAttachments",
            key: "Id",
            column: "LargeObject",
        })
    }

    fn numbered_table(&self) -> Option<&str> {
        Some(r#""TransformationScripts""#)
    }

    fn stray_write(&self) -> Option<&str> {
        Some(
            r#"INSERT INTO "AuditEvents" ("Kind", "Actor", "OccurredAt") VALUES ('pinned-writer', 'pinned-writer', now())"#,
        )
    }
}
