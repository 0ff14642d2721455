//! The application under drill: what nobody else may know of it.

mod answering;
mod identity;

pub use answering::Failing;
pub use identity::Identity;

/// The query that stands for "the application can work".
pub const PROBE: &str = r#"SELECT s."Id", v."Id" FROM "TransformationScripts" s
    JOIN "TransformationScriptVersions" v ON v."ScriptId" = s."Id" AND v."VersionNumber" = s."CurrentVersion" LIMIT 1"#;
