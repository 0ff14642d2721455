//! Rights on large objects. Objects come and go as people work, so only kinds of them are recorded: an owner with a list of
//! rights. Where one kind is missing and another of the same owner is extra, the cure gives the objects of the extra kind the
//! rights of the missing one.

use postgres_protocol::escape::escape_literal;

use super::{Cure, Difference, What};

/// The catalogue.
pub(super) const CATALOGUE: &str = "pg_largeobject_metadata";

/// Name of a kind.
pub(super) fn identity(owner: &str, rights: Option<&str>) -> String {
    format!(
        "large objects of {owner} with {}",
        rights.unwrap_or("their owner's rights only")
    )
}

/// The statement that gives them their rights back, if that is all that differs.
pub(super) fn cure(differences: &[&Difference]) -> Option<Cure> {
    let kind = |what: &What| {
        let mut of_it = differences.iter().filter(|other| other.what == *what);
        let one = of_it.next().filter(|_| of_it.next().is_none())?;
        let (owner, list) = one.identity.strip_prefix("large objects of ")?.split_once(" with ")?;
        let list = list.strip_prefix('{')?.strip_suffix('}')?;
        Some((one.database.clone(), owner, list))
    };
    let ((database, owner, was), (_, other, is)) = (kind(&What::Missing)?, kind(&What::Extra)?);
    if owner != other || format!("{was}{is}").contains(['"', '%', '\'']) {
        return None;
    }
    let mut steps = String::new();
    for (verb, link, list) in [("REVOKE", "FROM", is), ("GRANT", "TO", was)] {
        for item in list.split(',') {
            let (grantee, rights) = item.split_once('=')?;
            let grantee = if grantee.is_empty() { "PUBLIC" } else { grantee };
            for letter in rights.split_once('/')?.0.chars() {
                let privilege = match letter {
                    'r' => "SELECT",
                    'w' => "UPDATE",
                    _ => return None,
                };
                let step = format!("EXECUTE format('{verb} {privilege} ON LARGE OBJECT %s {link} {grantee}', lo); ");
                steps.push_str(&step);
            }
        }
    }
    let (owner, is) = (escape_literal(owner), escape_literal(&format!("{{{is}}}")));
    let statement = format!(
        "DO $drill$ DECLARE lo oid; BEGIN FOR lo IN SELECT oid FROM pg_largeobject_metadata WHERE lomowner = {owner}::regrole
           AND (SELECT array_agg(x::text ORDER BY x::text) FROM unnest(lomacl) AS x)::text = {is} LOOP {steps}END LOOP; END $drill$"
    );
    Some(Cure::new(&database, statement))
}
