//! The JSON Schema of scenario files, by which editors complete and check them while they are written.
//!
//! Names come from where the parser has them. The keys of each table stand here with what an editor shows of them; a test
//! holds them against the keys that the parser asks for, so that neither can gain one alone. What only the parser sees
//! (contradictions, durations, patterns) it says with its place.

use reports::CheckId;
use serde_json::{Map, Value, json};

use super::{
    Behaviour, Destination, FaultTarget, KINDS, Kind, Moment, Named, Needs, PageChecksum, Pick, Process, ServerDeed,
    SignalName, StorageWish, Streaming, Target, expect::OUTCOMES, parse::ROLES,
};

/// The schema. `systems` are the backup systems that there are.
pub fn schema(systems: &[&str]) -> Value {
    let text = |about: &str| json!({ "type": "string", "minLength": 1, "description": about });
    let id = json!({
        "type": "string", "pattern": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
        "description": "Names the drill and its directory: small letters, digits and `-` between them",
    });
    let mut top = object(
        "A drill's scenario",
        &["id", "title", "why", "source", "expect"],
        [
            ("id", id),
            ("title", text("One line: what breaks, and what becomes of it")),
            ("why", text("Why it is worth drilling: what it teaches")),
            ("source", text("A requirement, an incident, a manual")),
            ("given", given(systems)),
            ("operator", operator()),
            ("recovery", recovery()),
            ("objectives", objectives()),
            (
                "fault",
                json!({ "type": "array", "items": { "oneOf": KINDS.iter().map(fault).collect::<Vec<_>>() } }),
            ),
            ("expect", expect()),
        ],
    );
    top["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    top["title"] = json!("drill scenario");
    top
}

fn given(systems: &[&str]) -> Value {
    let system = json!({ "enum": systems });
    let backup = json!({
        "anyOf": [system, { "type": "array", "minItems": 1, "items": system }],
        "description": "A backup system, or a list: the scenario runs once for each. Absent: --backup, else basebackup",
    });
    let methods = json!({
        "type": "array", "minItems": 1, "items": system,
        "description": "The system that takes each backup, oldest first, in place of `backup` and `backups`",
    });
    let options = json!({
        "type": "array", "items": { "type": "string", "pattern": "^--." },
        "description": "Long options of the tool that takes the backups, their values behind a `=`",
    });
    let role = json!({
        "enum": fixtures::Role::ALL.map(fixtures::Role::name),
        "description": "The role that takes dumps, instead of the superuser",
    });
    let setting = json!({ "type": ["string", "number", "boolean"] });
    let settings = json!({
        "type": "object", "additionalProperties": setting,
        "description": "PostgreSQL settings of the source cluster",
    });
    object(
        "The world before the failure",
        &[],
        [
            ("backup", backup),
            (
                "backups",
                integer(0, "How many backups are taken while the writers run (2)"),
            ),
            ("methods", methods),
            (
                "wal_in_backup",
                boolean("Whether a base backup brings along the WAL that it needs (true)"),
            ),
            ("backup_options", options),
            ("backup_role", role),
            (
                "foreign_backup",
                boolean("A backup of another cluster gets into the repository (false)"),
            ),
            ("archive", boolean("Whether WAL is archived continuously (true)")),
            (
                "streaming",
                choice::<Streaming>("WAL streamed to a second place beside the archive (off)"),
            ),
            ("scripts", integer(1, "Seed data: transformation scripts (--scripts)")),
            (
                "versions",
                integer(1, "Seed data: versions of each script, on average (--versions)"),
            ),
            (
                "content_bytes",
                integer(1, "Seed data: bytes of each version, on average (--content-bytes)"),
            ),
            (
                "seed",
                integer(0, "Seed of every random choice; --seed wins (drawn at the start)"),
            ),
            (
                "commits",
                integer(
                    0,
                    "Acknowledged commits before the failure; 0: nobody writes (--commits)",
                ),
            ),
            ("writers", integer(1, "Concurrent writers (--writers)")),
            ("storage", choice::<StorageWish>("Where the clusters live (--storage)")),
            (
                "storage_size",
                string("A small filesystem of the source cluster's own, such as \"256MiB\"; mounting it takes root"),
            ),
            (
                "restore_size",
                string("A small filesystem for the first restore, such as \"16MiB\"; mounting it takes root"),
            ),
            ("settings", settings),
        ],
    )
}

fn operator() -> Value {
    let roles: Vec<&str> = ROLES.iter().map(|(_, name)| *name).collect();
    let roles = json!({
        "type": "array", "items": { "enum": roles },
        "description": "The roles that the operator holds; absent: all that a recovery needs",
    });
    object("Who recovers", &[], [("roles", roles)])
}

fn recovery() -> Value {
    let lsn = json!({ "type": "string", "pattern": "^[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}$" });
    let place = object("A place in the WAL", &["lsn"], [("lsn", lsn)]);
    let time = object(
        "A time with its offset",
        &["time"],
        [("time", string("2026-01-31T12:00:00Z"))],
    );
    let before: Vec<&str> = Target::MOMENTS.iter().map(|moment| moment.name()).collect();
    let moment = object(
        "The time of a moment of the drill",
        &["moment"],
        [("moment", json!({ "enum": before }))],
    );
    let target = json!({
        "anyOf": [{ "enum": Target::NAMES }, place, time, moment],
        "description": "Where replay shall stop (end)",
    });
    object(
        "What the operator aims for",
        &[],
        [
            ("target", target),
            ("into", choice::<Destination>("Where the restore goes")),
        ],
    )
}

fn objectives() -> Value {
    object(
        "Objectives in place of the service's",
        &[],
        [
            (
                "rpo",
                string("At most this much acknowledged work may be lost: \"1h\", \"2s\""),
            ),
            ("rto", string("Restored within this time after the failure: \"4h\"")),
        ],
    )
}

fn expect() -> Value {
    let outcomes: Vec<&str> = OUTCOMES.iter().map(|(_, name)| *name).collect();
    let checks: Vec<Value> = CheckId::ALL
        .iter()
        .map(|check| json!({ "const": check.id(), "description": check.about() }))
        .collect();
    let detected_by = json!({
        "type": "array", "items": { "oneOf": checks },
        "description": "The checks that must notice the damage; an empty list: none may",
    });
    let findings = json!({
        "type": "array", "items": { "type": "string", "minLength": 1 },
        "description": "Texts that must occur among the findings, as reports display them: \"critical: …\"",
    });
    let at_step = json!({
        "type": "integer", "minimum": 1, "maximum": 14,
        "description": "The step at which a drill must end that does not end in a recovery",
    });
    let is = json!({ "type": "string", "description": "The one value of its one row, as text" });
    let answer = object(
        "A statement, and what it must answer",
        &["sql", "is"],
        [
            ("sql", string("The statement, run as superuser at the end")),
            ("database", string("In which database (transformations)")),
            ("is", is),
        ],
    );
    object(
        "How it must end",
        &["outcome"],
        [
            ("outcome", json!({ "enum": outcomes })),
            ("detected_by", detected_by),
            (
                "only",
                boolean("The checks in `detected_by` are all that may notice anything (false)"),
            ),
            ("rejected", integer(0, "How many backups must be rejected as unusable")),
            ("tries", integer(0, "How often a restore must be begun (step 6)")),
            ("findings", findings),
            (
                "least_commits",
                integer(1, "At least so many commits must be acknowledged"),
            ),
            ("at_step", at_step),
            (
                "answer",
                json!({ "type": "array", "items": answer, "description": "What the cluster in service at the end must answer" }),
            ),
        ],
    )
}

/// One `[[fault]]` of a kind.
fn fault(kind: &Kind) -> Value {
    let mut required = vec!["at", "kind", "target"];
    let mut keys = vec![
        ("at", choice::<Moment>("When")),
        ("kind", json!({ "const": kind.name, "description": kind.about })),
        ("target", targets(kind.needs)),
    ];
    let (own, needed) = keys_of(kind.name);
    keys.extend(own);
    required.extend(needed);
    let mut schema = object(kind.about, &required, keys);
    if kind.needs == Needs::Files {
        schema["oneOf"] = json!([{ "required": ["path"] }, { "required": ["relation"] }, { "required": ["segment"] }]);
    }
    match kind.name {
        "service" => schema["allOf"] = service_conditions(),
        "truncate-file" => {
            let ends = json!([{ "required": ["keep_bytes"] }, { "required": ["keep_percent"] }]);
            schema["allOf"] = json!([{ "oneOf": ends }]);
        }
        "corrupt-page" => {
            let is_break = json!({ "properties": { "checksum": { "const": "break" } }, "required": ["checksum"] });
            schema["allOf"] = json!([{ "if": is_break, "else": { "required": ["offset"] } }]);
            schema["dependentRequired"] = json!({ "offset": ["hex"], "hex": ["offset"] });
        }
        _ => {}
    }
    schema
}

/// What a kind may be aimed at; `backup:N` stands for any number.
fn targets(needs: Needs) -> Value {
    let met = |name: &&&str| FaultTarget::from_name(&name.replace('N', "1")).is_some_and(|target| needs.met_by(target));
    let (numbered, named): (Vec<&str>, Vec<&str>) = FaultTarget::NAMES
        .iter()
        .filter(met)
        .partition(|name| name.ends_with('N'));
    if numbered.is_empty() {
        return json!({ "enum": named, "description": "Where" });
    }
    json!({ "anyOf": [{ "enum": named }, { "pattern": "^backup:[1-9][0-9]*$" }], "description": "Where" })
}

/// The keys of a kind beside `at`, `kind` and `target`, and those of them that must be there.
fn keys_of(kind: &str) -> (Vec<(&'static str, Value)>, Vec<&'static str>) {
    let offset = || integer(0, "Where in the file, in bytes");
    let hex = || string("Bytes as hexadecimal digits: \"de ad be ef\"");
    let bytes = || integer(1, "How many bytes");
    let lines =
        |about: &str| json!({ "type": ["string", "array"], "items": { "type": "string" }, "description": about });
    let on_files = |own: Vec<(&'static str, Value)>, needed: Vec<&'static str>| {
        let mut keys = vec![
            (
                "path",
                string("Relative to the target's directory; `*` stays within a name, `**` is any depth"),
            ),
            (
                "relation",
                string("A table, index or sequence of the application's database, instead of a path"),
            ),
            (
                "segment",
                json!({ "type": "string", "pattern": "^(start of|end of|after) backup:(latest|oldest|[1-9][0-9]*)$", "description": "The WAL segment by a backup, instead of a path" }),
            ),
            ("pick", choice::<Pick>("Which of several files that match")),
        ];
        keys.extend(own);
        (keys, needed)
    };
    match kind {
        "sql" => (
            vec![
                ("statements", lines("One statement a string")),
                ("database", string("In which database (transformations)")),
                (
                    "role",
                    json!({ "enum": fixtures::Role::ALL.map(fixtures::Role::name), "description": "Who runs them, instead of the superuser" }),
                ),
                (
                    "refused",
                    boolean("The server must refuse them for want of permission (false)"),
                ),
            ],
            vec!["statements"],
        ),
        "remove-files" | "alien-segment" => on_files(vec![], vec![]),
        "truncate-file" => on_files(
            vec![
                ("keep_bytes", integer(0, "How many bytes stay")),
                (
                    "keep_percent",
                    json!({ "type": "integer", "minimum": 0, "maximum": 99, "description": "How many hundredths stay" }),
                ),
            ],
            vec![],
        ),
        "flip-bytes" => on_files(vec![("bytes", bytes()), ("offset", offset())], vec!["bytes"]),
        "zero-bytes" => on_files(vec![("offset", offset()), ("bytes", bytes())], vec!["offset", "bytes"]),
        "write-bytes" => on_files(vec![("offset", offset()), ("hex", hex())], vec!["offset", "hex"]),
        "append-bytes" => on_files(vec![("hex", hex())], vec!["hex"]),
        "replace-file" => {
            let path = object(
                "Another file",
                &["path"],
                [("path", string("The first match in the same target"))],
            );
            let text = object("A text", &["text"], [("text", json!({ "type": "string" }))]);
            on_files(
                vec![(
                    "with",
                    json!({ "anyOf": [path, text], "description": "The new content" }),
                )],
                vec!["with"],
            )
        }
        "swap-file" => on_files(
            vec![
                ("from", older("The backup that the older copy comes from")),
                (
                    "keep_tail",
                    boolean("What the file has gained since stays behind it (false)"),
                ),
            ],
            vec!["from"],
        ),
        "corrupt-page" => on_files(
            vec![
                ("block", integer(0, "Which page of 8192 bytes, from 0")),
                (
                    "offset",
                    json!({ "type": "integer", "minimum": 0, "maximum": 8191, "description": "Where in the page" }),
                ),
                ("hex", hex()),
                (
                    "checksum",
                    choice::<PageChecksum>("What becomes of the page's checksum (keep)"),
                ),
            ],
            vec!["block"],
        ),
        "chmod" => on_files(
            vec![(
                "mode",
                json!({ "type": "string", "pattern": "^[0-7]+$", "description": "Permissions, octal: \"0000\"" }),
            )],
            vec!["mode"],
        ),
        "signal" => (
            vec![
                ("process", choice::<Process>("Of the server")),
                ("signal", choice::<SignalName>("Which")),
            ],
            vec!["process", "signal"],
        ),
        "server" => (
            vec![("does", choice::<ServerDeed>("What is done to the server"))],
            vec!["does"],
        ),
        "setting" => (
            vec![
                ("name", string("The setting")),
                (
                    "value",
                    json!({ "type": "string", "description": "Its new value; absent: it is reset" }),
                ),
            ],
            vec!["name"],
        ),
        "restore-cluster" => (
            vec![("from", older("The backup that it is restored from"))],
            vec!["from"],
        ),
        "clock" => (
            vec![(
                "step",
                json!({ "type": "string", "pattern": "^[+-]", "description": "Whole seconds, with the sign: \"-2h\", \"+90s\"" }),
            )],
            vec!["step"],
        ),
        "command" => (vec![("argv", lines("The program and its arguments"))], vec!["argv"]),
        "service" => (
            vec![
                (
                    "does",
                    json!({ "enum": Behaviour::NAMES, "description": "How it misbehaves" }),
                ),
                ("delay", string("How late it answers: \"1s\"")),
                (
                    "status",
                    json!({ "type": "integer", "minimum": 400, "maximum": 599, "description": "The HTTP status that it answers with" }),
                ),
                (
                    "after",
                    integer(1, "So many requests, starts or segments are as always first"),
                ),
                ("times", integer(1, "It lasts for so many; absent: for good")),
            ],
            vec!["does"],
        ),
        _ => (vec![], vec![]),
    }
}

/// Each service misbehaves in its own ways, and some ways need a key.
fn service_conditions() -> Value {
    let services = FaultTarget::NAMES.iter().filter_map(|name| {
        let can = Behaviour::of(FaultTarget::from_name(name)?);
        (!can.is_empty()).then(|| {
            json!({
                "if": { "properties": { "target": { "const": name } } },
                "then": { "properties": { "does": { "enum": can } } },
            })
        })
    });
    let keys = [("slow", "delay"), ("status", "status")].map(|(does, key)| {
        json!({
            "if": { "properties": { "does": { "const": does } } },
            "then": { "required": [key] }, "else": { "properties": { key: false } },
        })
    });
    services.chain(keys).collect()
}

fn object<'k>(about: &str, required: &[&str], keys: impl IntoIterator<Item = (&'k str, Value)>) -> Value {
    let properties: Map<String, Value> = keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    json!({
        "type": "object", "description": about,
        "properties": properties, "required": required, "additionalProperties": false,
    })
}

fn string(about: &str) -> Value {
    json!({ "type": "string", "minLength": 1, "description": about })
}

/// One backup.
fn older(about: &str) -> Value {
    json!({ "type": "string", "pattern": "^backup:(latest|oldest|[1-9][0-9]*)$", "description": about })
}

fn boolean(about: &str) -> Value {
    json!({ "type": "boolean", "description": about })
}

fn integer(least: u32, about: &str) -> Value {
    json!({ "type": "integer", "minimum": least, "description": about })
}

fn choice<T: Named>(about: &str) -> Value {
    let names: Vec<&str> = T::ALL.iter().map(|value| value.name()).collect();
    json!({ "enum": names, "description": about })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#[path = "schema_tests.rs"]
mod tests;
