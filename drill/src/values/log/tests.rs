use super::withhold;

/// What is kept of a line of a session, whose prefix is left out, and of what follows it.
fn of_session(code: &str, lines: &[&str]) -> Vec<String> {
    let prefix = format!("2026-03-02 04:00:00.123 UTC [7] {code} client backend app@db ");
    let log: String = lines
        .iter()
        .map(|line| match line.strip_prefix('\t') {
            Some(_) => format!("{line}\n"),
            None => format!("{prefix}{line}\n"),
        })
        .collect();
    let kept = withhold(&log);
    kept.lines()
        .map(|line| line.strip_prefix(&prefix).unwrap_or(line).to_owned())
        .collect()
}

const RAISED: &str = "CONTEXT:  PL/pgSQL function f() line 3 at RAISE";
const STATEMENT: &str = "STATEMENT:  SELECT 'hunter2'";

#[test]
fn of_a_session_the_message_is_kept_as_far_as_its_sqlstate_allows() {
    for (code, line, kept) in [
        ("00000", "LOG:  A hunter2", "LOG:  [withheld]"),
        ("00000", "LOG:  statement: select 'hunter2'", "LOG:  [withheld]"),
        ("00000", "LOG:  execute <unnamed>: select 4711", "LOG:  [withheld]"),
        ("00000", "LOG:  plan:", "LOG:  [withheld]"),
        ("00000", "NOTICE:  hunter2", "NOTICE:  [withheld]"),
        (
            "00000",
            "LOG:  duration: 0.032 ms  statement: select 'hunter2'",
            "LOG:  duration: 0.032 ms",
        ),
        (
            "00000",
            "LOG:  process 12 still waiting for RowShareLock on relation 5 of database 6 after 1000.1 ms",
            "LOG:  process 12 still waiting for RowShareLock on relation 5 of database 6 after 1000.1 ms",
        ),
        ("01000", "WARNING:  B hunter2", "WARNING:  [withheld]"),
        ("P0001", "ERROR:  D first", "ERROR:  [withheld]"),
        ("P0004", "ERROR:  hunter2", "ERROR:  [withheld]"),
        ("P0001", "ERROR:  E terse hunter2", "ERROR:  [withheld]"),
        (
            "22P02",
            "ERROR:  invalid input syntax for type integer: \"hunter2\"",
            "ERROR:  [withheld]",
        ),
        (
            "22023",
            "ERROR:  unit \"hunter2\" not recognized for type timestamp",
            "ERROR:  [withheld]",
        ),
        (
            "42P01",
            "ERROR:  relation \"hunter2\" does not exist at character 15",
            "ERROR:  relation [withheld] does not exist at character 15",
        ),
        (
            "42883",
            "ERROR:  function hunter2() does not exist at character 8",
            "ERROR:  function [withheld] does not exist at character 8",
        ),
        (
            "42P01",
            "ERROR:  42P01: relation \"hunter2\" does not exist",
            "ERROR:  [withheld]: relation [withheld] does not exist",
        ),
        (
            "58P01",
            "ERROR:  could not open directory \"/tmp/hunter2\": No such file or directory",
            "ERROR:  could not open directory [withheld]: No such file or directory",
        ),
        (
            "42P01",
            "FATAL:  relation \"hunter2\" does not exist",
            "FATAL:  relation [withheld] does not exist",
        ),
        ("ZZZZZ", "ERROR:  hunter2", "ERROR:  [withheld]"),
    ] {
        assert_eq!(of_session(code, &[line]), [kept], "{code} {line}");
    }
    for (code, line) in [
        (
            "23505",
            "ERROR:  duplicate key value violates unique constraint \"IX_Name\"",
        ),
        ("42501", "ERROR:  permission denied for table AuditEvents"),
        ("25006", "ERROR:  cannot execute INSERT in a read-only transaction"),
        ("57P03", "FATAL:  the database system is starting up"),
        (
            "28P01",
            "FATAL:  password authentication failed for user \"transformation_app\"",
        ),
        ("3D000", "FATAL:  database \"transformations\" does not exist"),
        ("08006", "LOG:  could not send data to client: Broken pipe"),
        (
            "58P01",
            "PANIC:  could not create file \"/x/y\": No such file or directory",
        ),
        ("40P01", "ERROR:  deadlock detected"),
        ("XX002", "ERROR:  item order invariant violated for index \"i\""),
    ] {
        assert_eq!(of_session(code, &[line]), [line]);
    }
}

#[test]
fn of_a_session_nothing_is_kept_of_what_follows_its_message() {
    let detail = "DETAIL:  Key (\"Name\")=(hunter2) already exists.";
    let withheld = ["DETAIL:  [withheld]", "STATEMENT:  [withheld]"];
    assert_eq!(
        of_session(
            "23505",
            &["ERROR:  no row", detail, "\thunter2", STATEMENT, "\thunter2"]
        )[1..],
        withheld
    );
    for code in ["00000", "57014", "42P01", "23505", "XX000", "P0001"] {
        for severity in ["LOG", "WARNING", "ERROR"] {
            let first = format!("{severity}:  could not open hunter2");
            let kept = of_session(code, &[&first, "\thunter2", RAISED, STATEMENT]);
            let expected = [
                &*format!("{severity}:  [withheld]"),
                "CONTEXT:  [withheld]",
                withheld[1],
            ];
            assert_eq!(kept, expected, "{code}");
        }
    }
}

#[test]
fn whatever_runs_statements_is_taken_for_a_session() {
    for process in [
        "autovacuum worker",
        "parallel worker",
        "logical replication apply worker",
        "an extension's",
    ] {
        let log =
            format!("2026-03-02 04:00:00.123 UTC [7] 42P01 {process} ERROR:  relation \"hunter2\" does not exist\n");
        let kept = withhold(&log);
        assert!(kept.ends_with("ERROR:  relation [withheld] does not exist\n"), "{kept}");
        assert!(kept.starts_with(&log[..50]), "{kept}");
    }
}

#[test]
fn of_the_server_itself_all_is_kept_but_rows_and_statements() {
    let log = r#"2026-03-02 04:00:00.001 UTC [1] 00000 postmaster LOG:  listening on Unix socket "/dev/shm/x/.s.PGSQL.1"
2026-03-02 04:00:04.001 UTC [8] 58P01 startup FATAL:  could not restore file "1" from archive: child process exited with exit code 137
2026-03-02 04:00:05.001 UTC [8] 22023 startup FATAL:  recovery aborted because of insufficient parameter settings
2026-03-02 04:00:05.001 UTC [8] 22023 startup DETAIL:  max_connections = 10 is a lower setting than on the primary server, where its value was 100.
2026-03-02 04:00:06.001 UTC [9] 00000 archiver LOG:  archive command failed with exit code 1
2026-03-02 04:00:06.001 UTC [9] 00000 archiver DETAIL:  The failed archive command was: cp "pg_wal/1" '/a/1'
2026-03-02 04:00:06.001 UTC [9] 01000 archiver WARNING:  archiving write-ahead log file "1" failed too many times, will try again later
2026-03-02 04:00:07.001 UTC [8] XX000 startup PANIC:  could not locate a valid checkpoint record
2026-03-02 04:00:07.001 UTC [6] 00000 checkpointer LOG:  checkpoint starting: immediate
postgres: could not find the database system
"#;
    assert_eq!(withhold(log), log);
    let redo = "2026-03-02 04:00:07.001 UTC [8] XX000 startup PANIC:  invalid\n\
                2026-03-02 04:00:07.001 UTC [8] XX000 startup CONTEXT:  WAL redo at 0/3000028 for LogicalMessage/MESSAGE: payload (7 bytes): 68 75\n\
                2026-03-02 04:00:07.001 UTC [1] 00000 postmaster LOG:  server process (PID 7) was terminated by signal 9: Killed\n\
                2026-03-02 04:00:07.001 UTC [1] 00000 postmaster DETAIL:  Failed process was running: select 'hunter2'\n\
                \tfrom hunter2\n";
    let kept = withhold(redo);
    assert!(
        kept.contains("WAL redo at 0/3000028 for LogicalMessage/MESSAGE: [withheld]\n"),
        "{kept}"
    );
    assert!(kept.ends_with("signal 9: Killed\n2026-03-02 04:00:07.001 UTC [1] 00000 postmaster DETAIL:  [withheld]\n"));
}

#[test]
fn of_a_line_that_begins_otherwise_only_the_severity_is_kept() {
    for (line, kept) in [
        ("ERROR:  hunter2", "ERROR:  [withheld]"),
        ("[7] hunter2 LOG:  redo done", "LOG:  [withheld]"),
        (
            "2026-03-02 04:00:00.123 UTC [7] app@db PANIC:  hunter2",
            "PANIC:  [withheld]",
        ),
        ("hunter2\nhunter2", "[withheld]"),
        ("\thunter2", "[withheld]"),
        (
            "2026-03-02 04:00:00.123 UTC [7] 42P01 client backend app@db FEHLER:  hunter2",
            "[withheld]",
        ),
        ("", ""),
    ] {
        assert_eq!(withhold(line), kept);
    }
}
