//! Texts that a dump changes. A server deparses `varchar IN (…)` with casts, and what it reads back from that it deparses
//! with other casts: the same definition, another text. Where texts are all that differs, one round trip decides: what
//! was recorded is loaded into the restored cluster, in a transaction that is rolled back, and deparsed again. The source
//! is never asked.

use tokio_postgres::Client;

use super::{Compared, Difference, Handle, What};
use crate::{
    postgres::Cluster,
    reference::{ReferenceError, Scope, Truth},
};

/// Leaves out the differences that a round trip explains. Only a dump changes texts.
///
/// # Errors
/// If the restored database cannot be connected to.
pub async fn without_equivalent_texts(
    cluster: &Cluster,
    truth: &Truth,
    mut compared: Compared,
) -> Result<Compared, ReferenceError> {
    let Scope::Database(database) = &truth.scope else {
        return Ok(compared);
    };
    if !compared.differences.iter().any(only_texts) {
        return Ok(compared);
    }
    let client = cluster.connect("postgres", database).await?;
    let session = async { client.batch_execute(super::SESSION).await };
    let failed = |source| ReferenceError::Query {
        what: "the session",
        database: database.clone(),
        source,
    };
    session.await.map_err(failed)?;
    // All of the rest runs in one transaction that is rolled back.
    let mut kept = Vec::new();
    for difference in compared.differences {
        if !(only_texts(&difference) && same_again(&client, &difference).await) {
            kept.push(difference);
        }
    }
    compared.differences = kept;
    Ok(compared)
}

/// Whether nothing but deparsed texts differ.
fn only_texts(difference: &Difference) -> bool {
    let (What::Changed(columns), Some(recorded), Some(found)) =
        (&difference.what, &difference.recorded, &difference.found)
    else {
        return false;
    };
    let is_text = |column: &String| {
        let both = [recorded.value(column), found.value(column)];
        both.iter()
            .all(|value| value.is_some_and(|value| !value.shown && value.clear.is_some()))
    };
    !columns.is_empty() && columns.iter().all(is_text)
}

/// Whether the recorded text, loaded and deparsed again, is what was found, or what that becomes in the same way.
async fn same_again(client: &Client, difference: &Difference) -> bool {
    let (What::Changed(columns), Some(recorded), Some(found)) =
        (&difference.what, &difference.recorded, &difference.found)
    else {
        return false;
    };
    for column in columns {
        let (Some(was), Some(is)) = (recorded.clear(column), found.clear(column)) else {
            return false;
        };
        let Some(again) = loaded(client, difference, column, was).await else {
            return false;
        };
        if again != is && loaded(client, difference, column, is).await.as_ref() != Some(&again) {
            return false;
        }
    }
    true
}

/// A text as the server deparses it after it was loaded; none if it cannot be loaded.
async fn loaded(client: &Client, difference: &Difference, column: &str, text: &str) -> Option<String> {
    let steps = steps(difference, column, text)?;
    client
        .batch_execute("BEGIN; SET LOCAL statement_timeout = '30s'; SET LOCAL session_replication_role = replica")
        .await
        .ok()?;
    let again = async {
        client.batch_execute(&steps.load).await.ok()?;
        let rows = client.query(&steps.read, &[]).await.ok()?;
        rows.first()?.try_get::<_, Option<String>>(0).ok()?
    };
    let again = again.await;
    client.batch_execute("ROLLBACK").await.ok()?;
    again
}

/// What loads a text, and what reads it back.
struct Steps {
    load: String,
    read: String,
}

/// An empty table with the same columns: expressions mean the same there, and nothing is checked or rewritten.
const COPY: &str = "pg_temp.drill_again";

fn steps(difference: &Difference, column: &str, text: &str) -> Option<Steps> {
    let found = difference.found.as_ref()?;
    let relation = |column: &str| {
        let called = found.clear(column)?;
        [
            "partitioned table ",
            "foreign table ",
            "materialized view ",
            "table ",
            "view ",
        ]
        .iter()
        .find_map(|kind| called.strip_prefix(kind))
    };
    let copied = |table: &str, then: String| format!("CREATE TEMP TABLE drill_again (LIKE {table}); {then}");
    let of_copy = |what: &str, catalogue: &str, column: &str| {
        format!("SELECT {what} FROM {catalogue} WHERE {column} = '{COPY}'::regclass")
    };
    let own = match &found.handle {
        Handle::Object(name) => Some(name),
        _ => None,
    };
    Some(match (difference.catalogue.as_str(), column) {
        ("pg_constraint", "conbin") => {
            if let Some(table) = relation("conrelid") {
                Steps {
                    load: copied(table, format!("ALTER TABLE {COPY} ADD CHECK ({text})")),
                    read: of_copy(
                        "pg_get_expr(conbin, conrelid)",
                        "pg_constraint",
                        "contype = 'c' AND conrelid",
                    ),
                }
            } else {
                let domain = found.clear("contypid")?.strip_prefix("type ")?;
                Steps {
                    load: format!("ALTER DOMAIN {domain} ADD CONSTRAINT drill_again CHECK ({text}) NOT VALID"),
                    read: format!(
                        "SELECT pg_get_expr(conbin, 0) FROM pg_constraint WHERE conname = 'drill_again' AND contypid = {}::regtype",
                        literal(domain)
                    ),
                }
            }
        }
        ("pg_attrdef", "adbin") => {
            let (table, name) = (relation("adrelid")?, quoted(found.clear("adnum")?));
            Steps {
                load: copied(
                    table,
                    format!("ALTER TABLE {COPY} ADD CHECK (({text}) IS NOT DISTINCT FROM {name})"),
                ),
                // A default and a generated column are read back as a default of a column that may refer to others.
                read: of_copy(
                    "pg_get_expr(conbin, conrelid)",
                    "pg_constraint",
                    "contype = 'c' AND conrelid",
                ),
            }
        }
        ("pg_index", "indexprs" | "indpred") => {
            let table = relation("indrelid")?;
            Steps {
                // Expressions are a list.
                load: copied(table, format!("ALTER TABLE {COPY} ADD CHECK (ROW({text}) IS NOT NULL)")),
                read: of_copy(
                    "pg_get_expr(conbin, conrelid)",
                    "pg_constraint",
                    "contype = 'c' AND conrelid",
                ),
            }
        }
        ("pg_policy", "polqual" | "polwithcheck") => {
            let how = if column == "polqual" {
                "USING"
            } else {
                "FOR INSERT WITH CHECK"
            };
            Steps {
                load: copied(
                    relation("polrelid")?,
                    format!("CREATE POLICY again ON {COPY} {how} ({text})"),
                ),
                read: of_copy(&format!("pg_get_expr({column}, polrelid)"), "pg_policy", "polrelid"),
            }
        }
        ("pg_rewrite", "ev_action") => {
            let (relation, rule) = (relation("ev_class")?, found.clear("rulename")?);
            Steps {
                load: text.replacen("CREATE RULE", "CREATE OR REPLACE RULE", 1),
                read: format!(
                    "SELECT pg_get_ruledef(oid) FROM pg_rewrite WHERE rulename = {} AND ev_class = {}::regclass",
                    literal(rule),
                    literal(relation)
                ),
            }
        }
        ("pg_trigger", "tgqual") => {
            let (relation, trigger) = (relation("tgrelid")?, found.clear("tgname")?);
            Steps {
                load: format!("DROP TRIGGER {} ON {relation}; {text}", quoted(trigger)),
                read: format!(
                    "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = {} AND tgrelid = {}::regclass",
                    literal(trigger),
                    literal(relation)
                ),
            }
        }
        ("pg_proc", "prosqlbody") => {
            let (function, body) = (own?, literal(found.clear("prosqlbody")?));
            let number = format!("{}::regprocedure", literal(&function.name));
            Steps {
                load: format!(
                    "DO $drill$ BEGIN EXECUTE replace(pg_get_functiondef({number}), {body}, {}); END $drill$",
                    literal(text)
                ),
                read: format!("SELECT pg_get_function_sqlbody({number})"),
            }
        }
        ("pg_proc", "proargdefaults") => Steps {
            load: format!("CREATE TEMP VIEW drill_again AS SELECT {text}"),
            read: "SELECT pg_get_viewdef('pg_temp.drill_again'::regclass)".to_owned(),
        },
        ("pg_type", "typdefaultbin") => {
            let name = &own?.name;
            Steps {
                load: format!("ALTER DOMAIN {name} SET DEFAULT {text}"),
                read: format!(
                    "SELECT pg_get_expr(typdefaultbin, 0) FROM pg_type WHERE oid = {}::regtype",
                    literal(name)
                ),
            }
        }
        ("pg_publication_rel", "prqual") => Steps {
            load: copied(relation("prrelid")?, format!("ALTER TABLE {COPY} ADD CHECK ({text})")),
            read: of_copy(
                "pg_get_expr(conbin, conrelid)",
                "pg_constraint",
                "contype = 'c' AND conrelid",
            ),
        },
        _ => return None,
    })
}

fn literal(text: &str) -> String {
    postgres_protocol::escape::escape_literal(text)
}

fn quoted(name: &str) -> String {
    postgres_protocol::escape::escape_identifier(name)
}
