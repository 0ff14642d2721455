//! What people see of a drill at a terminal, and what comes of what they answer: through a terminal of its own, and an
//! emulator that shows what is written there.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::ExitCode;

use reports::Step;
use rustix::process::Signal;
use tests::{Need, Place, SIZE, Terminal, row, trial};

/// The questions of a drill, each with the step that it belongs to.
const QUESTIONS: [(Step, &str); 4] = [
    (Step::Confirm, "Give the database up and restore it? [y/N] "),
    (
        Step::ChooseBackup,
        "Restore basebackup-2 to the end of the archive? [y/N] ",
    ),
    (Step::UpdateConnection, "Switch the application over to it? [y/N] "),
    (Step::Declare, "Declare the service restored? [y/N] "),
];
/// Anything but a yes: what is typed, the question to which, and how the drill ends.
const REFUSALS: [(&str, &str, usize, &str); 4] = [
    ("the-end-of-input", "\x04", 0, "refused"),
    ("return-alone", "\n", 1, "refused"),
    ("a-no", "n\n", 2, "refused"),
    ("a-no-at-the-end", "No\n", 3, "not-recovered"),
];
/// What turns in a row while something runs.
const SPINNER: &str = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏";

fn main() -> ExitCode {
    let mut trials = vec![
        trial("an-answered-drill", &[Need::Postgres], answered),
        trial("an-interrupted-question", &[Need::Postgres], interrupted),
        trial("several-drills", &[Need::Postgres], several),
    ];
    for (name, typed, question, outcome) in REFUSALS {
        let name = format!("{name}-is-a-refusal");
        trials.push(trial(name, &[Need::Postgres], move || {
            refused(typed, question, outcome);
        }));
    }
    for rows in [10, 24, 30] {
        trials.push(trial(format!("a-table-in-{rows}-rows"), &[Need::Postgres], move || {
            table(rows);
        }));
    }
    tests::run(trials)
}

fn started(place: &Place, rows: u16, more: &[&str]) -> Terminal {
    let always = ["run", "--storage", "memory", "--out", "out"];
    Terminal::start(place.drill(always.iter().chain(more)), (rows, SIZE.1))
}

fn asked(place: &Place) -> Terminal {
    started(place, SIZE.0, &["--operator", "ask"])
}

/// How often there is a row of a step, running or over.
fn rows_of(step: Step, rows: &[String]) -> usize {
    let starts = format!("{:>2} {}", step.number(), step.name());
    let of_step = |row: &&String| row.chars().skip(2).collect::<String>().starts_with(&starts);
    rows.iter().filter(of_step).count()
}

/// Nothing was there twice at any moment, and nothing is left but a row for each of these steps, in their order.
fn shown_once(terminal: &Terminal, steps: &[Step]) {
    for screen in terminal.screens() {
        for step in Step::ALL {
            assert!(rows_of(step, &screen) <= 1, "{step} is doubled:\n{}", screen.join("\n"));
        }
    }
    let rows = terminal.scrolled_back();
    let all = rows.join("\n");
    let place = |step: Step| {
        assert_eq!(rows_of(step, &rows), 1, "{step}:\n{all}");
        rows.iter()
            .position(|row| rows_of(step, std::slice::from_ref(row)) == 1)
    };
    assert!(
        steps.iter().map(|&step| place(step)).is_sorted(),
        "out of order:\n{all}"
    );
    for step in Step::ALL.iter().filter(|step| !steps.contains(step)) {
        assert_eq!(rows_of(*step, &rows), 0, "{step} never began:\n{all}");
    }
    assert!(
        !all.contains(|char| SPINNER.contains(char)),
        "something still turns:\n{all}"
    );
    assert!(terminal.shows_cursor());
    let wrapped = terminal.wrapped();
    let is_cut = |row: &String| !row.starts_with(['✓', '✗', ' ']) && !row.starts_with(|char| SPINNER.contains(char));
    assert!(wrapped.iter().all(is_cut), "wider than the terminal: {wrapped:#?}");
}

fn answered() {
    let place = Place::new();
    let mut terminal = asked(&place);
    let (_, first) = QUESTIONS[0];
    terminal.writes(first, 1);
    let screen = terminal.screen();
    assert_eq!(
        rows_of(Step::Confirm, &screen),
        0,
        "the table is not suspended:\n{}",
        screen.join("\n")
    );
    assert!(
        screen
            .iter()
            .any(|row| row.starts_with("── data-directory-lost, step 2 of 14"))
    );
    assert!(
        screen.iter().any(|row| row.starts_with("  - unreachable: ")),
        "{screen:#?}"
    );
    terminal.types("?\n");
    terminal.writes(first, 2);
    terminal.types("maybe\n");
    terminal.writes(first, 3);
    terminal.types("y\n");
    for (_, question) in &QUESTIONS[1..] {
        terminal.writes(question, 1);
        terminal.types("y\n");
    }
    let code = terminal.ends();
    let screen = terminal.screen().join("\n");
    assert_eq!(code, Some(0), "{screen}");
    assert!(
        screen.contains("Declare the service restored? [y/N] y\n✓ 14 declared restored"),
        "{screen}"
    );
    assert!(screen.contains("\nReport: out/report.md\n"), "{screen}");
    shown_once(&terminal, &Step::ALL);

    // What was written between a question and its answer is nothing.
    let written = terminal.written();
    for dialogue in [
        "[y/N] ?\r\n  y  The failed server is kept from serving",
        "[y/N] maybe\r\n  \"maybe\" is no answer. Type y or n, or ? to see what each leads to.\r\nGive the database up",
        "[y/N] y\r\n",
    ] {
        assert!(written.contains(dialogue), "not {dialogue:?} in\n{written:?}");
    }
    assert_eq!(written.matches("[y/N] ").count(), QUESTIONS.len() + 2, "{written:?}");
    place.nothing_left(terminal.pid());
}

fn refused(typed: &str, question: usize, outcome: &str) {
    let place = Place::new();
    let mut terminal = asked(&place);
    for (_, asks) in &QUESTIONS[..question] {
        terminal.writes(asks, 1);
        terminal.types("y\n");
    }
    let (step, asks) = QUESTIONS[question];
    terminal.writes(asks, 1);
    terminal.types(typed);
    let code = terminal.ends();
    let rows = terminal.scrolled_back();
    assert_eq!(code, Some(1), "{}", rows.join("\n")); // the scenario expects another outcome
    if typed == "\x04" {
        assert!(rows.contains(&"  End of input: no.".to_owned()), "{}", rows.join("\n"));
    }
    assert_eq!(row(&place.out(), "drills.csv")["outcome"], outcome);
    shown_once(&terminal, &Step::ALL[..usize::from(step.number())]);
    place.nothing_left(terminal.pid());
}

/// Ctrl-C instead of an answer: what is said of it has a line of its own.
fn interrupted() {
    let place = Place::new();
    let mut terminal = asked(&place);
    let (_, asks) = QUESTIONS[0];
    terminal.writes(asks, 1);
    terminal.signal(Signal::INT);
    assert_eq!(terminal.ends(), Some(3));
    let rows = terminal.scrolled_back();
    let last: Vec<_> = rows.iter().rev().take(2).map(String::as_str).collect();
    let said = "drill: interrupted: the drill was stopped and cleaned up after";
    assert_eq!(last, [said, asks.trim_end()], "{}", rows.join("\n"));
    assert!(terminal.shows_cursor());
    place.nothing_left(terminal.pid());
}

/// A drill that nobody is asked in, with log lines, which go above what runs, each of them whole.
fn table(rows: u16) {
    let place = Place::new();
    let mut terminal = started(&place, rows, &["-v"]);
    terminal.shows("a step that runs", |row| {
        row.starts_with(|char| SPINNER.contains(char)) && row.contains("8 data validated")
    });
    assert_eq!(terminal.ends(), Some(0));
    shown_once(&terminal, &Step::ALL);
    let screen = terminal.screen();
    let last = screen.iter().rfind(|row| !row.is_empty());
    assert_eq!(last.map(String::as_str), Some("Report: out/report.md"));
    let rows = terminal.scrolled_back();
    let logged = rows.iter().filter(|row| row.contains(" INFO drill::fault: removed "));
    assert_eq!(logged.count(), 1, "{}", rows.join("\n"));
    place.nothing_left(terminal.pid());
}

fn several() {
    let place = Place::new();
    let scenarios = drill::scenario::all(&drill::state::Parts::default().vocabulary()).unwrap();
    let right = drill::scenario::find(&scenarios, "false-alarm").unwrap();
    let wrong = right
        .text
        .replace("outcome = \"false-alarm\"\nat_step = 2", "outcome = \"recovered\"");
    place.write("wrong.toml", &wrong.replace("id = \"false-alarm\"", "id = \"wrong\""));
    let drills = ["unauthorised-restore", "./wrong.toml", "data-directory-lost"];
    let mut terminal = started(&place, SIZE.0, &["--jobs", "2", drills[0], drills[1], drills[2]]);
    let runs = |drill: &'static str| move |row: &str| row.contains(drill) && row.contains("validated");
    terminal.shows("a tally", |row| row.starts_with("1 of 3 · ") && row.contains(" s · "));
    terminal.shows("a drill that runs", runs("data-directory-lost"));
    assert_eq!(terminal.ends(), Some(1));

    for screen in terminal.screens() {
        let of = |what: &str| screen.iter().filter(|row| row.contains(what)).count();
        assert!(of(" of 3 · ") <= 1, "a tally is doubled:\n{}", screen.join("\n"));
        let turning = screen
            .iter()
            .filter(|row| row.starts_with(|char| SPINNER.contains(char)));
        assert!(turning.count() <= 2, "no more than two run:\n{}", screen.join("\n"));
    }
    let rows = terminal.scrolled_back();
    let all = rows.join("\n");
    let tally: Vec<_> = rows.iter().filter(|row| row.contains(" of 3 · ")).collect();
    assert!(
        tally.len() == 1 && tally[0].starts_with("3 of 3 · ") && tally[0].ends_with(" · 2 as expected, 1 not"),
        "{all}"
    );
    let not_expected: Vec<_> = rows.iter().filter(|row| row.starts_with("✗ ")).collect();
    assert!(
        not_expected.len() == 1 && not_expected[0].starts_with("✗ wrong: ") && not_expected[0].ends_with('…'),
        "{all}"
    );
    assert!(
        !all.contains(|char| SPINNER.contains(char)),
        "something still turns:\n{all}"
    );
    assert!(terminal.shows_cursor());
    place.nothing_left(terminal.pid());
}
