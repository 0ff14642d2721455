//! Logs of earlier formats: each event in the form that it has today.

use serde_json::{Map, Value, json};

/// What was seeded, in format 1 three numbers by these names.
const SEEDED: [(&str, &str); 3] = [
    ("scripts", "TransformationScripts"),
    ("versions", "TransformationScriptVersions"),
    ("attachments", "ScriptAttachments"),
];
/// Windows of time, at the beginning of format 1 in seconds.
const WINDOWS: [(&str, &str); 2] = [
    ("data_loss_window_s", "data_loss_window_ns"),
    ("given_up_window_s", "given_up_window_ns"),
];

/// Puts an event of format 1 into today's form.
pub(super) fn upgrade(event: &mut Value) {
    let Some(event) = event.as_object_mut() else { return };
    match event.get("event").and_then(Value::as_str) {
        Some("seeded") => seeded(event),
        Some("ledger-compared") => ledger_compared(event),
        _ => {}
    }
}

fn seeded(event: &mut Map<String, Value>) {
    let tables = SEEDED.iter().filter_map(|(number, table)| {
        let rows = event.remove(*number)?;
        Some(json!({ "table": table, "rows": rows }))
    });
    let tables: Vec<Value> = tables.collect();
    if !tables.is_empty() {
        event.insert("tables".to_owned(), tables.into());
    }
}

fn ledger_compared(event: &mut Map<String, Value>) {
    for (seconds, nanoseconds) in WINDOWS {
        if let Some(window_s) = event.remove(seconds).as_ref().and_then(Value::as_f64) {
            event.insert(nanoseconds.to_owned(), json!((window_s * 1e9).ceil() as u64));
        }
    }
}
