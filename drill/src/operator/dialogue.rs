//! One question and its answer: shows what is known, asks, explains where that is wanted, and repeats until there is an answer.
//!
//! It reads and writes whatever it is given, and decides nothing but what counts as a yes.

use std::io::{self, BufRead, Write};

use unicode_width::UnicodeWidthStr as _;

use super::Question;

/// Longer lines are hard to read, however wide the terminal is.
const WIDEST: usize = 100;
/// So much of an answer that is none is repeated.
const REPEATED: usize = 30;

/// What somebody typed.
enum Answer {
    Yes,
    No,
    /// Return alone: the default.
    Nothing,
    Explain,
    Other(String),
    /// The end of input, or why there is none.
    End(Option<io::Error>),
}

/// Puts the question until it is answered. Anything but a yes counts as a no in the end.
pub(super) fn ask_until_answered(
    question: &Question,
    drill: &str,
    columns: usize,
    keyboard: &mut impl BufRead,
    screen: &mut impl Write,
) -> bool {
    let columns = columns.min(WIDEST);
    let mut text = opening(question, drill, columns);
    loop {
        text += &wrapped(&format!("{} [y/N] ", question.asks), "", columns);
        let asked = screen.write_all(text.as_bytes()).and_then(|()| screen.flush());
        let answer = match asked {
            Ok(()) => read(keyboard),
            Err(error) => Answer::End(Some(error)), // nobody saw the question
        };
        text = match answer {
            Answer::Yes => return true,
            Answer::No => return false,
            Answer::Nothing => {
                let _ = writeln!(screen, "  Return alone is the N of [y/N]: no."); // it is decided
                return false;
            }
            Answer::End(error) => {
                let why = error.map_or_else(String::new, |error| format!(" ({error})"));
                let _ = writeln!(screen, "\n  End of input{why}: no."); // it is decided
                return false;
            }
            Answer::Explain => explanation(question, columns),
            Answer::Other(said) => {
                let said = format!("{said:?} is no answer. Type y or n, or ? to see what each leads to.");
                wrapped(&said, "  ", columns) + "\n"
            }
        };
    }
}

fn read(keyboard: &mut impl BufRead) -> Answer {
    let mut line = Vec::new();
    match keyboard.read_until(b'\n', &mut line) {
        Err(error) => return Answer::End(Some(error)),
        Ok(_) if line.last() != Some(&b'\n') => return Answer::End(None), // not even return was pressed
        Ok(_) => {}
    }
    let line = String::from_utf8_lossy(&line);
    match line.trim().to_lowercase().as_str() {
        "y" | "yes" => Answer::Yes,
        "n" | "no" => Answer::No,
        "" => Answer::Nothing,
        "?" => Answer::Explain,
        _ => Answer::Other(line.trim().chars().take(REPEATED).collect()),
    }
}

fn opening(question: &Question, drill: &str, columns: usize) -> String {
    let place = if drill.is_empty() {
        "Step".to_owned()
    } else {
        format!("{drill}, step")
    };
    let heading = format!("── {place} {} of 14: you decide (? explains)", question.step.number());
    let known = question.known.iter().map(|remark| {
        let remark = wrapped(remark, "    ", columns);
        format!("  - {}\n", remark.trim_start())
    });
    format!("\n{}\n{}", wrapped(&heading, "", columns), known.collect::<String>())
}

fn explanation(question: &Question, columns: usize) -> String {
    let leads_to = |answer, to| format!("  {answer}  {}\n", wrapped(to, "     ", columns).trim_start());
    let rest = "Return alone is n. The time that you take counts as part of the recovery.";
    let answers = leads_to("y", &question.yes) + &leads_to("n", &question.no);
    answers + &wrapped(rest, "     ", columns) + "\n"
}

/// The text in lines of at most so many columns, each indented; only a word that is longer stands out. A blank at its end
/// stays.
fn wrapped(text: &str, indent: &str, columns: usize) -> String {
    let mut lines = String::new();
    let mut used = 0;
    for word in text.split_whitespace() {
        let width = word.width();
        if used > 0 && used + 1 + width > columns {
            lines.push('\n');
            used = 0;
        }
        let between = if used == 0 { indent } else { " " };
        lines.push_str(between);
        lines.extend(word.chars().filter(|char| !char.is_control()));
        used += between.width() + width;
    }
    if text.ends_with(' ') {
        lines.push(' ');
    }
    lines
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use reports::Step;

    use super::{Question, ask_until_answered, wrapped};

    fn question() -> Question {
        Question {
            step: Step::Confirm,
            known: vec!["unreachable: FATAL could not open file".to_owned(), "503".to_owned()],
            asks: "Give the database up?".to_owned(),
            yes: "a backup is restored".to_owned(),
            no: "nothing is restored".to_owned(),
        }
    }

    /// The answer that comes of what is typed, and what was on the screen.
    fn held(typed: &[u8], columns: usize) -> (bool, String) {
        let mut screen = Vec::new();
        let yes = ask_until_answered(&question(), "drop-table", columns, &mut &*typed, &mut screen);
        (yes, String::from_utf8(screen).unwrap())
    }

    #[test]
    fn only_a_yes_is_a_yes() {
        for typed in ["y\n", "Y\n", "yes\n", " YES \r\n", "?\nperhaps\ny\n"] {
            assert!(held(typed.as_bytes(), 80).0, "{typed:?}");
        }
        for typed in [
            "n\n",
            "No\n",
            "\n",
            "  \n",
            "",
            "y",
            "yes",
            "maybe\n",
            "maybe\nn\ny\n",
            "?\n",
        ] {
            assert!(!held(typed.as_bytes(), 80).0, "{typed:?}");
        }
        assert!(held(b"\xff\xfe\ny\n", 80).0, "what is no text is no answer either");
    }

    #[test]
    fn it_is_asked_again_until_there_is_an_answer() {
        let (yes, screen) = held(b"?\nmaybe\ny\n", 80);
        assert!(yes);
        let expected = "
── drop-table, step 2 of 14: you decide (? explains)
  - unreachable: FATAL could not open file
  - 503
Give the database up? [y/N]   y  a backup is restored
  n  nothing is restored
     Return alone is n. The time that you take counts as part of the recovery.
Give the database up? [y/N]   \"maybe\" is no answer. Type y or n, or ? to see what each leads to.
Give the database up? [y/N] ";
        assert_eq!(screen, expected); // return is echoed by the terminal
    }

    #[test]
    fn a_refusal_that_nobody_typed_is_said() {
        assert!(
            held(b"\n", 80)
                .1
                .ends_with("[y/N]   Return alone is the N of [y/N]: no.\n")
        );
        assert!(held(b"", 80).1.ends_with("[y/N] \n  End of input: no.\n"));
        assert!(held(b"y", 80).1.ends_with("[y/N] \n  End of input: no.\n"));
    }

    #[test]
    fn nothing_is_wider_than_the_terminal() {
        for columns in [20, 40, 80] {
            let (_, screen) = held(b"?\nn\n", columns);
            let widest = screen.lines().flat_map(|line| line.split("[y/N] ")).map(str::len).max();
            assert!(widest.unwrap() <= columns + 6, "{columns} columns:\n{screen}"); // the rules are three bytes each
        }
        assert_eq!(wrapped("a \x1b[2Jb\tc\n", "  ", 80), "  a [2Jb c");
    }
}
