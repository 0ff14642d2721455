//! The JSON Schema of scenario files, by which editors complete and check them while they are written.
//!
//! Each table and each kind of fault describes itself: schemars derives that from the struct that is read. Here they are put
//! together, with the names that stand elsewhere. What only the parser sees (contradictions, durations, patterns) it says
//! with its place.

use reports::{CheckId, Outcome, Role};
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema, transform};
use serde_json::{Value, json};

use super::{
    Expect, FaultTarget, Given, KnownKind, Moment, Needs, ObjectivesOverride, RecoveryWish, Selection, Text,
    Vocabulary,
    parse::{Id, Operator},
};

/// The schema of files that name what is in `words`.
pub fn schema(words: &Vocabulary<'_>) -> Value {
    let systems = words.system_names();
    let text = |about: &str| described(of::<Text>(), about);
    let mut given = of::<Given>();
    let list = json!({ "type": "array", "minItems": 1, "items": { "enum": systems } });
    given["properties"]["backup"]["anyOf"] = json!([{ "enum": systems }, list]);
    let about = given["properties"]["methods"]["description"].take();
    given["properties"]["methods"] = described(list, about);
    let faults: Vec<Value> = words.kinds.iter().map(fault).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "drill scenario",
        "type": "object",
        "description": "A drill's scenario",
        "properties": {
            "id": of::<Id>(),
            "title": text("One line: what breaks, and what becomes of it"),
            "why": text("Why it is worth drilling: what it teaches"),
            "source": text("A requirement, an incident, a manual"),
            "given": given,
            "operator": of::<Operator>(),
            "recovery": of::<RecoveryWish>(),
            "objectives": of::<ObjectivesOverride>(),
            "fault": { "type": "array", "items": { "oneOf": faults } },
            "expect": of::<Expect>(),
        },
        "required": ["id", "title", "why", "source", "expect"],
        "additionalProperties": false,
    })
}

/// What a type says of itself, with everything that it refers to in its place.
pub(super) fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.remove("title");
    tidy(&mut schema);
    schema.to_value()
}

/// Takes away what TOML has not got, the null of keys that may be absent, and the ends of lines within a sentence.
fn tidy(schema: &mut Schema) {
    transform::transform_subschemas(&mut tidy, schema);
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(names)) = schema.get_mut("enum") {
        names.retain(|name| !name.is_null());
    }
    if let Some(Value::Array(either)) = schema.get_mut("anyOf") {
        either.retain(|one| *one != json!({ "type": "null" }));
        if let [Value::Object(only)] = either.as_slice() {
            let only = only.clone();
            schema.remove("anyOf");
            for (key, value) in only {
                schema.ensure_object().entry(key).or_insert(value);
            }
        }
    }
    if schema.get("default") == Some(&Value::Null) {
        schema.remove("default");
    }
    if let Some(Value::String(about)) = schema.get_mut("description") {
        *about = about.replace('\n', " ");
    }
}

fn described(mut schema: Value, about: impl Into<Value>) -> Value {
    schema["description"] = about.into();
    schema
}

/// One `[[fault]]` of a kind: the keys of every fault, those that say which files, and the kind's own.
fn fault(kind: &KnownKind) -> Value {
    let mut schema = kind.schema.clone();
    let name = json!({ "const": kind.name, "description": kind.about });
    let mut keys = vec![
        ("at".to_owned(), described(of::<Moment>(), "When")),
        ("kind".to_owned(), name),
        ("target".to_owned(), targets(kind.needs)),
    ];
    if kind.needs == Needs::Files {
        if let Value::Object(files) = of::<Selection>()["properties"].take() {
            keys.extend(files);
        }
        schema["oneOf"] = json!([{ "required": ["path"] }, { "required": ["relation"] }, { "required": ["segment"] }]);
    }
    if let Some(own) = schema["properties"].as_object() {
        keys.extend(own.clone());
    }
    let own = schema["required"].as_array().into_iter().flatten().cloned();
    let required: Vec<Value> = ["at", "kind", "target"]
        .into_iter()
        .map(Value::from)
        .chain(own)
        .collect();
    schema["required"] = json!(required);
    schema["properties"] = keys.into_iter().collect();
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

/// The outcomes of a drill.
pub(super) fn outcome(_: &mut SchemaGenerator) -> Schema {
    let all = [
        Outcome::Recovered,
        Outcome::RecoveredRpoMissed,
        Outcome::RecoveredRtoMissed,
        Outcome::RecoveredBothMissed,
        Outcome::NotRecovered,
        Outcome::Refused,
        Outcome::FalseAlarm,
    ];
    json_schema!({ "enum": all })
}

/// A list of checks.
pub(super) fn checks(_: &mut SchemaGenerator) -> Schema {
    let checks = CheckId::ALL.iter();
    let checks: Vec<Value> = checks
        .map(|check| json!({ "const": check.id(), "description": check.about() }))
        .collect();
    json_schema!({ "type": "array", "items": { "oneOf": checks } })
}

/// A list of roles of the operator.
pub(super) fn roles(_: &mut SchemaGenerator) -> Schema {
    let roles = [Role::RecoveryOperator, Role::AppAdmin, Role::Validator];
    json_schema!({ "type": "array", "items": { "enum": roles } })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#[path = "schema_tests.rs"]
mod tests;
