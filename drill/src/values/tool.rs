//! What a client program says, without values of rows.
//!
//! Its own messages stay. A server's message in them has no SQLSTATE, so that only the server's fixed words are kept, and
//! nothing of what follows: details, the statement, a row.

use fixtures::{WITHHELD, known_words};

/// What follows is a row, a statement with values in it, or says what was in one.
const QUOTING: [&str; 9] = [
    "STATEMENT:",
    "QUERY:",
    "DETAIL:",
    "CONTEXT:",
    "HINT:",
    "LINE ",
    "LOCATION:",
    "Command was:",
    "Query was:",
];
/// PostgreSQL's programs: each begins its messages with its name.
const PROGRAMS: [&str; 14] = [
    "pg_restore",
    "pg_dump",
    "pg_dumpall",
    "pg_basebackup",
    "pg_receivewal",
    "pg_amcheck",
    "pg_waldump",
    "pg_verifybackup",
    "pg_controldata",
    "pg_ctl",
    "pg_checksums",
    "initdb",
    "psql",
    "createdb",
];

pub(super) fn withhold(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut within = false; // what a server said
    for line in text.lines() {
        if let Some(end) = quoting(line) {
            lines.push(format!("{} {WITHHELD}", line[..end].trim_end()));
            within = true;
        } else if let Some(at) = behind_severity(line) {
            lines.push(format!("{}{}", &line[..at], known_words(&line[at..], false)));
            within = true;
        } else if !within || begins_a_message(line) {
            lines.push(line.to_owned());
            within = false;
        }
    }
    let mut kept = lines.join("\n");
    if text.ends_with('\n') && !kept.is_empty() {
        kept.push('\n');
    }
    kept
}

/// Where the word ends after which a row or a statement stands.
fn quoting(line: &str) -> Option<usize> {
    QUOTING.iter().find_map(|word| {
        let at = if word.ends_with("was:") {
            line.find(word)?
        } else {
            line.starts_with(word).then_some(0)?
        };
        Some(at + word.trim_end().len())
    })
}

/// Where a server's message begins: after its severity and two blanks, whatever its language.
fn behind_severity(line: &str) -> Option<usize> {
    line.match_indices(":  ").find_map(|(at, mark)| {
        let word = line[..at].rsplit(' ').next()?;
        let is_severity = word.chars().count() > 2 && word.chars().all(char::is_uppercase);
        is_severity.then_some(at + mark.len())
    })
}

fn begins_a_message(line: &str) -> bool {
    line.split_once(':')
        .is_some_and(|(program, _)| PROGRAMS.contains(&program))
}

#[cfg(test)]
mod tests {
    use super::withhold;

    #[test]
    fn what_a_tool_says_of_a_value_is_left_out_however_many_lines_it_has() {
        let said = "pg_restore: error: COPY failed for table \"orders\": ERROR:  invalid input syntax for type json\n\
                    DETAIL:  Token \"hunter2\" is invalid.\n\
                    CONTEXT:  JSON data, line 1: hunter2\n\
                    COPY orders, line 1, column j: \"{hunter2\n\
                    hunter2}\"\n\
                    pg_restore: error: could not execute query: ERROR:  relation \"hunter2\" does not exist\n\
                    Command was: INSERT INTO x VALUES ('hunter2',\n\
                    'hunter2');\n\
                    pg_restore: error: COPY failed for table \"c\": ERROR:  no good\n\
                    hunter2 is bad\n\
                    pg_hunter2\n\
                    pg_dump: error: query failed: FEHLER:  hunter2\n\
                    LINE 1: SELECT 'hunter2'\n\
                    \x20               ^\n\
                    pg_dump: detail: Query was: SELECT 'hunter2'\n\
                    psql:/x.sql:3: ERROR:  function hunter2() does not exist\n\
                    pg_restore: warning: errors ignored on restore: 2";
        let kept = withhold(said);
        assert!(!kept.contains("hunter2"), "{kept}");
        for told in [
            "COPY failed for table \"orders\": ERROR:  invalid input syntax for type json\n",
            "could not execute query: ERROR:  relation [withheld] does not exist\nCommand was: [withheld]\n",
            "COPY failed for table \"c\": ERROR:  no [withheld]\npg_dump: error: query failed: FEHLER:  [withheld]\n",
            "pg_dump: detail: Query was: [withheld]\n",
            "psql:/x.sql:3: ERROR:  function [withheld] does not exist\n",
        ] {
            assert!(kept.contains(told), "{told}: {kept}");
        }
        assert!(kept.ends_with("errors ignored on restore: 2"), "{kept}");
    }

    #[test]
    fn what_other_programs_say_stays() {
        let said = "P00  ERROR: [056]: unable to find primary cluster - cannot proceed\ntar: x: Cannot open\n";
        assert_eq!(withhold(said), said);
        assert_eq!(withhold(""), "");
    }
}
