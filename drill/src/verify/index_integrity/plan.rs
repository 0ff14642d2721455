//! Whether a plan reads each part of a statement as it must.

use std::collections::BTreeMap;

use serde_json::Value;

/// The parts of a statement (`WITH name AS …`), and the indexes that each uses.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parts(BTreeMap<String, Vec<String>>);

impl Parts {
    /// What `EXPLAIN (FORMAT JSON)` says of a statement.
    pub(super) fn of(plan: &Value) -> Self {
        let mut parts = Self::default();
        parts.visit(plan, "");
        parts
    }

    fn visit(&mut self, plan: &Value, within: &str) {
        match plan {
            Value::Object(fields) => {
                let name = fields.get("Subplan Name").and_then(Value::as_str);
                let within = name.and_then(|name| name.strip_prefix("CTE ")).unwrap_or(within);
                let used = self.0.entry(within.to_owned()).or_default();
                if let Some(index) = fields.get("Index Name").and_then(Value::as_str) {
                    used.push(index.to_owned());
                }
                for value in fields.values() {
                    self.visit(value, within);
                }
            }
            Value::Array(items) => {
                for item in items {
                    self.visit(item, within);
                }
            }
            _ => {}
        }
    }

    /// Whether the probe with this number reads the table without an index, and otherwise this index and no other.
    pub(super) fn prove(&self, number: usize, index: &str) -> bool {
        let suffix = format!("_{number}");
        let mut by_index = false;
        let as_it_must = self
            .0
            .iter()
            .filter(|(part, _)| part.ends_with(&suffix))
            .all(|(part, used)| {
                if part.starts_with("heap") {
                    return used.is_empty();
                }
                by_index = true;
                !used.is_empty() && used.iter().all(|name| name == index)
            });
        as_it_must && by_index
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Parts;

    #[test]
    fn a_probe_proves_something_if_its_parts_are_read_as_they_must() {
        let scan = |name: &str, index: &str| json!({ "Subplan Name": name, "Plans": [{ "Index Name": index }] });
        let heap = json!({ "Subplan Name": "CTE heap_1", "Node Type": "Seq Scan" });
        let plan = |parts: &[serde_json::Value]| Parts::of(&json!([{ "Plan": { "Plans": parts } }]));
        assert!(plan(&[heap.clone(), scan("CTE index_1", "a"), scan("CTE index_2", "b")]).prove(1, "a"));
        assert!(
            !plan(&[heap.clone(), scan("CTE index_1", "b")]).prove(1, "a"),
            "another index"
        );
        assert!(
            !plan(&[scan("CTE heap_1", "a"), scan("CTE index_1", "a")]).prove(1, "a"),
            "the table by the index"
        );
        assert!(
            !plan(&[heap.clone(), json!({ "Subplan Name": "CTE index_1" })]).prove(1, "a"),
            "no index"
        );
        assert!(!plan(&[heap]).prove(1, "a"), "nothing");
    }
}
